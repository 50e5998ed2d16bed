"""The watched folder: what its files say, brought into the store; what they no longer say, removed.

Comes in: files. Goes out: writes to the store, and sentences. A broken file is told with its line and
keeps no other from being applied; what it brought before runs on.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from watchfiles import Change as FileChange
from watchfiles import awatch

from nexthos_cli.apply.write import plan_all, write_all
from nexthos_cli.dev.brought import Brought
from nexthos_cli.errors import sentence
from nexthos_cli.manifest import resources
from nexthos_cli.manifest.lint import check
from nexthos_cli.manifest.loader import Loaded, load
from nexthos_cli.manifest.sources import SUFFIXES, Source, read_sources
from nexthos_cli.manifest.variables import read_variables
from nexthos_shared.engine import read_shape
from nexthos_shared.errors import NexthosError, Refused
from nexthos_shared.manifest.manifest import Manifest
from nexthos_shared.nats.connection import ConnectOptions
from nexthos_shared.plan.change import describe
from nexthos_shared.reasons import Problem
from nexthos_shared.store import Store

ENV_FILE = ".env"  # in the folder itself, as docker compose reads it
QUIET_FOR = 100  # milliseconds without another change: editors write a file in several steps
REALLY_GONE_AFTER = 0.3  # seconds: some editors move a file away before they write it anew


@dataclass(slots=True)
class Found:
    """What was read from the folder in one go."""

    sources: list[Source]
    loaded: Loaded
    manifests: list[Manifest]  # as dev runs them
    problems: list[Problem]
    env_is_right: bool  # else nothing is applied: an engine would miss a variable


@dataclass(slots=True)
class Folder:
    """One folder and the store that it is brought into."""

    path: Path
    store: Store
    options: ConnectOptions
    engine: Path
    brought: Brought
    say: Callable[[str, str], None]  # sentence, style
    env: Sequence[str] = ()  # of `-e`
    env_files: Sequence[str] = ()  # of `--env-file`
    broken: dict[str, list[Problem]] = field(default_factory=dict)  # by file, as of the last look
    empty: bool = False  # nothing in it defines a pipeline, as of the last look
    _claimed: set[str] = field(default_factory=set)  # configuration files that manifests name
    _warned: frozenset[Problem] = frozenset()  # as of the last look
    _skipped: dict[str, str] = field(default_factory=dict)  # why, by file

    async def bring(self, *, first: bool = False) -> None:
        """Make the store say what the files say."""
        found = await asyncio.to_thread(self._read)
        problems, manifests = found.problems, found.manifests
        await self._ensure(found.sources, problems)
        self._claimed = {os.path.normpath(m.config_file) for m in manifests}
        self._tell_skipped(found.loaded)
        checked = await check(manifests, self.options, engine=self.engine)
        self._tell_warnings(checked.warnings)
        problems += checked.problems
        good = [
            m for n, m in enumerate(manifests) if n not in checked.failed and found.env_is_right
        ]
        problems += await self._apply(good, quiet=not first)
        self._tell(problems)
        await self._remove_gone(found)
        self.empty = not manifests and not problems

    def _read(self) -> Found:
        sources, problems = read_sources([str(self.path)])
        env, wrong = self._variables()
        loaded = load([s for s in sources if not resources.is_resources(s)], env)
        manifests = [self._at_home(m) for m in loaded.manifests]
        return Found(sources, loaded, manifests, [*problems, *wrong, *loaded.problems], not wrong)

    def _variables(self) -> tuple[dict[str, str], list[Problem]]:
        """`-e` over `--env-file` over the folder's `.env`; none if anything is wrong with them."""
        own = self.path / ENV_FILE
        files = [*([str(own)] if os.path.lexists(own) else []), *self.env_files]
        try:
            return read_variables(self.env, files, os.environ), []
        except Refused as error:
            return {}, list(error.problems)

    async def changes(self) -> AsyncIterator[None]:
        """Whenever a file that may matter was saved, added or deleted."""
        async for changes in awatch(
            self.path,
            watch_filter=self._matters,
            debounce=QUIET_FOR,
            ignore_permission_denied=True,
        ):
            if changes:
                yield

    def _matters(self, change: FileChange, path: str) -> bool:
        if path in {str(self.path / ENV_FILE), *map(os.path.abspath, self.env_files)}:
            return True
        if any(part.startswith(".") for part in Path(path).relative_to(self.path).parts):
            return False
        # Of a folder that comes or goes with files in it only the folder may be told.
        maybe_folder = (
            not Path(path).suffix if change is FileChange.deleted else os.path.isdir(path)
        )
        return path.endswith(SUFFIXES) or path in self._claimed or maybe_folder

    def _at_home(self, manifest: Manifest) -> Manifest:
        """As dev runs it: relative paths start at the folder of its file, and what ends is a job.

        The latter for plain files only, which can't say so: as a service, a configuration that copies a
        file would copy it again and again.
        """
        fields = dict(manifest.fields)
        options = dict(fields.get("executor_options") or {})
        if "workdir" not in options and fields.get("executor") in (None, "process"):
            options["workdir"] = str((self.path / manifest.file).parent.resolve())
            fields["executor_options"] = options
        plain = not manifest.document.value and manifest.content is not None
        if plain and read_shape(manifest.content or b"").finite_input:
            fields["lifecycle"] = "job"
        return replace(manifest, fields=fields)

    async def _ensure(self, sources: Sequence[Source], problems: list[Problem]) -> None:
        """Streams and buckets that a `nats.yaml` says are expected."""
        for source in sources:
            if source.path is None or not resources.is_resources(source):
                continue
            try:
                for made in await resources.ensure(self.store.link.js, resources.load(source.path)):
                    self.say(made, "")
            except NexthosError as error:
                problems.append(replace(error.problem, file=error.problem.file or source.name))

    async def _apply(self, manifests: list[Manifest], *, quiet: bool) -> list[Problem]:
        changes, problems = await plan_all(self.store, manifests)
        # Noted before anything is written: a crash must not lose an id. What was refused is not ours.
        self.brought.note({c.manifest.id: c.manifest.file for c in changes})
        written, refused = await write_all(self.store, changes)
        for done in written:
            if not quiet or done.change.writes:
                self.say(describe(done.change), "")
        return [*problems, *refused]

    def _tell_skipped(self, loaded: Loaded) -> None:
        now = {skipped.file: skipped.reason for skipped in loaded.skipped}
        for file, reason in now.items():
            if self._skipped.get(file) != reason:
                self.say(f"skipped {file}: {reason}", "dim")
        self._skipped = now

    def _tell_warnings(self, warnings: Sequence[Problem]) -> None:
        for warning in dict.fromkeys(warnings):
            if warning not in self._warned:
                self.say(f"warning: {sentence(warning)}", "yellow")
        self._warned = frozenset(warnings)

    def _tell(self, problems: list[Problem]) -> None:
        """Each problem once: not again at every save of another file."""
        now: dict[str, list[Problem]] = {}
        for problem in problems:
            now.setdefault(problem.file or "", []).append(problem)
        for file, found in now.items():
            if self.broken.get(file) != found:
                for problem in found:
                    self.say(f"error: {sentence(problem)}", "red")
        for file in self.broken.keys() - now.keys():
            if file and not _is_gone(file):
                self.say(f"{file}: is all right now", "green")
        self.broken = now

    async def _remove_gone(self, found: Found) -> None:
        """Remove what this folder brought and no longer has; a broken file still has it."""
        gone = self._missing(found)
        if gone:
            await asyncio.sleep(REALLY_GONE_AFTER)
            gone = self._missing(await asyncio.to_thread(self._read))
        for pipeline_id, file in gone.items():
            await self.store.pipelines.delete(pipeline_id)
            await self.store.configs.delete_all(pipeline_id)
            self.brought.forget(pipeline_id)
            why = "is gone" if _is_gone(file) else "no longer defines it"
            self.say(f"pipeline/{pipeline_id} deleted ({file} {why})", "")

    def _missing(self, found: Found) -> dict[str, str]:
        """Ids that are brought and nowhere defined, with the files that they came from."""
        if not self.path.is_dir():
            return {}  # the folder itself went away: that is no wish to remove what is in it
        present = {m.id for m in found.loaded.manifests}
        readable = {s.name for s in found.sources} - {p.file for p in found.problems}
        return {
            pipeline_id: file
            for pipeline_id, file in self.brought.files.items()
            if pipeline_id not in present and (file in readable or _is_gone(file))
        }


def _is_gone(file: str) -> bool:
    """Whether there is no such file; one that can't be looked at is not gone."""
    try:
        os.lstat(file)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass
    return False
