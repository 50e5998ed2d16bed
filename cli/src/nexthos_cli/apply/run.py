"""One `apply`, from files to outcome: read, lint, plan, write, wait; printed as it happens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from nexthos_cli.app import App
from nexthos_cli.apply.write import Written, plan_all, write_all
from nexthos_cli.errors import NotInTime, sentence
from nexthos_cli.manifest import resources
from nexthos_cli.manifest.lint import check
from nexthos_cli.manifest.loader import Loaded, load
from nexthos_cli.manifest.sources import read_sources
from nexthos_cli.output.models import Applied, ApplyOutput, SkippedFile, Waited, problem_output
from nexthos_cli.output.render import structured
from nexthos_cli.wait.progress import conclude, wait_and_show
from nexthos_cli.wait.wait import GOAL_OF, Target
from nexthos_shared.errors import ConfigMissing, NexthosError, NotFound, Refused
from nexthos_shared.manifest.manifest import Manifest
from nexthos_shared.plan.change import Change, describe
from nexthos_shared.reasons import Problem, Reason

if TYPE_CHECKING:
    from nexthos_shared.store import Store

Needed = tuple[str, resources.Resources]  # the shown name of a `nats.yaml`, and what it says


@dataclass(frozen=True, slots=True)
class Application:
    """The options of one `apply`."""

    app: App
    dry_run: bool = False
    lint: bool = True
    wait: bool = False
    warnings: list[Problem] = field(default_factory=list)

    async def run(self, paths: Sequence[str], env: Mapping[str, str]) -> None:
        """Do it. Raises Refused with everything that is wrong, before anything is written."""
        loaded, needed = _read(paths, env)
        for skipped in loaded.skipped:
            self.app.note(f"skipped {skipped.file}: {skipped.reason}")
        if not loaded.manifests and not loaded.problems and not needed:
            raise NotFound(f"nothing to apply in {', '.join(paths)}")
        problems = [*loaded.problems, *await self._lint(loaded.manifests)]
        try:
            async with self.app.store() as store:
                absent = await _absent(store, needed, problems)
                changes = await self._plan(store, loaded.manifests, problems)
                await self._ensure(store, needed, absent)
                await self._apply(store, changes, loaded)
        except (Refused, NotInTime):
            raise
        except NexthosError as error:
            raise Refused([*problems, error.problem]) from error

    async def _ensure(self, store: Store, needed: Sequence[Needed], absent: Sequence[str]) -> None:
        """Streams and buckets before the pipelines that need them."""
        if self.dry_run:
            for what in absent:
                self.app.say(f"{what} created (dry run)")
            return
        for _, wanted in needed:
            for made in await resources.ensure(store.link.js, wanted):
                self.app.say(made)

    async def _lint(self, manifests: Sequence[Manifest]) -> list[Problem]:
        if not self.lint:
            return []
        checked = await check(manifests, self.app.options())
        for note in dict.fromkeys(checked.notes):
            self.app.note(note)
        for warning in checked.warnings:
            self.app.note(f"warning: {sentence(warning)}")
        self.warnings.extend(checked.warnings)
        return checked.problems

    async def _plan(
        self, store: Store, manifests: Sequence[Manifest], problems: list[Problem]
    ) -> list[Change]:
        """Plan, lint what only the store has. Raises Refused if anything was or is wrong."""
        changes, refused = await plan_all(store, manifests)
        without = [c.manifest for c in changes if c.manifest.content is None]
        stored = [m for m in [await _from_store(store, m) for m in without] if m is not None]
        problems = [*problems, *refused, *await self._lint(stored)]
        if problems:
            self._nothing_written(manifests, problems)
            raise Refused(problems)
        return changes

    async def _apply(self, store: Store, changes: Sequence[Change], loaded: Loaded) -> None:
        written, problems = [Written(c, 0) for c in changes], list[Problem]()
        if not self.dry_run:
            written, problems = await write_all(store, changes)
        for one in written:
            self.app.say(f"{describe(one.change)}{' (dry run)' if self.dry_run else ''}")
        if problems:
            raise Refused(problems)
        waiting = None
        if self.wait and not self.dry_run:
            waiting = await wait_and_show(self.app, store, {_id(w): _target(w) for w in written})
        results = waiting.results if waiting else {}
        model = ApplyOutput(
            dry_run=self.dry_run,
            pipelines=[_applied(w, results.get(_id(w))) for w in written],
            skipped=[SkippedFile(file=s.file, reason=s.reason) for s in loaded.skipped],
            warnings=[problem_output(warning) for warning in self.warnings],
        )
        structured(self.app, model)
        if waiting:
            conclude(self.app, waiting)
        elif not self.dry_run and not self.app.structured:
            self._hint(written)

    def _nothing_written(self, manifests: Sequence[Manifest], problems: Sequence[Problem]) -> None:
        """One that is refused keeps the others back, which nobody would guess."""
        files = {m.file for m in manifests} | {p.file for p in problems if p.file}
        if len(files) > 1 or len(manifests) > 1:
            self.app.note("nothing was written: one that is refused keeps all of them back")

    def _hint(self, written: Sequence[Written]) -> None:
        if any(w.change.writes for w in written):
            ids = " ".join(_id(w) for w in written[:3]) if len(written) <= 3 else "..."
            self.app.note(f"look further: nexthos ls, nexthos wait {ids}")


def _read(paths: Sequence[str], env: Mapping[str, str]) -> tuple[Loaded, list[Needed]]:
    sources, problems = read_sources(paths)
    needed, wrong = resources.read_all(sources)
    loaded = load([s for s in sources if not resources.is_resources(s)], env)
    loaded.problems[:0] = [*problems, *wrong]
    return loaded, needed


async def _absent(store: Store, needed: Sequence[Needed], problems: list[Problem]) -> list[str]:
    """What is to be made; what exists with other settings goes to `problems`."""
    found = list[str]()
    for file, wanted in needed:
        absent, other = await resources.compare(store.link.js, wanted)
        found += absent
        problems += [Problem(Reason.INVALID_DEFINITION, words, file=file) for words in other]
    return found


async def _from_store(store: Store, manifest: Manifest) -> Manifest | None:
    """The manifest with the stored bytes, so that they can be linted in its environment."""
    version = str(manifest.fields.get("version") or "")
    try:
        content = await store.configs.get(manifest.id, version)
    except ConfigMissing:
        return None
    shown = f"{manifest.id}/{version}"
    return replace(manifest, content=content, config_file=shown, block=None)


def _id(written: Written) -> str:
    return written.change.manifest.id


def _target(written: Written) -> Target:
    pipeline = written.change.pipeline
    return Target(GOAL_OF[pipeline.status], written.revision, pipeline.version)


def _applied(written: Written, waited: Waited | None) -> Applied:
    change = written.change
    return Applied(
        id=change.manifest.id,
        file=change.manifest.file,
        action=change.action,
        version=change.pipeline.version,
        digest=change.pipeline.digest,
        revision=written.revision,
        changes=list(change.differences),
        notes=list(change.notes),
        waited=waited,
    )
