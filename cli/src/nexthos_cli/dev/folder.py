"""The watched folder: what its files say, brought into the store; what they no longer say, removed.

Comes in: files. Goes out: writes to the store, and sentences. A broken file is told with its line and
keeps no other from being applied; what it brought before runs on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from watchfiles import Change as FileChange
from watchfiles import awatch

from nexthos_cli import resources
from nexthos_cli.applying import plan_all, write_all
from nexthos_cli.checking import check
from nexthos_cli.dev.brought import Brought
from nexthos_cli.failures import sentence
from nexthos_cli.manifest import Loaded, Manifest, load
from nexthos_cli.planning import describe
from nexthos_cli.sources import SUFFIXES, Source, read_sources
from nexthos_shared.errors import NexthosError
from nexthos_shared.nats_client import ConnectOptions
from nexthos_shared.reasons import Problem
from nexthos_shared.stores import Store

QUIET_FOR = 100  # milliseconds without another change: editors write a file in several steps


@dataclass(slots=True)
class Folder:
    """One folder and the store that it is brought into."""

    path: Path
    store: Store
    options: ConnectOptions
    engine: Path
    brought: Brought
    say: Callable[[str, str], None]  # sentence, style
    broken: dict[str, list[Problem]] = field(default_factory=dict)  # by file, as of the last look
    _claimed: set[str] = field(default_factory=set)  # configuration files that manifests name

    async def bring(self, *, first: bool = False) -> None:
        """Make the store say what the files say."""
        sources, problems = read_sources([str(self.path)])
        await self._ensure(sources, problems)
        files = [s for s in sources if s.path is None or s.path.name != resources.FILE_NAME]
        loaded = load(files)
        problems += loaded.problems
        manifests = [self._at_home(m) for m in loaded.manifests]
        self._claimed = {m.config_file for m in manifests}
        checked = await check(manifests, self.options, engine=self.engine)
        problems += checked.problems
        good = [m for n, m in enumerate(manifests) if n not in checked.failed]
        if first:
            for skipped in loaded.skipped:
                self.say(f"skipped {skipped.file}: {skipped.reason}", "dim")
        self.brought.note({m.id: m.file for m in good})
        problems += await self._apply(good, quiet=not first)
        self._tell(problems)
        await self._remove_gone(sources, manifests, loaded)

    async def changes(self) -> AsyncIterator[None]:
        """Whenever a file that may matter was saved, added or deleted."""
        async for changes in awatch(self.path, watch_filter=self._matters, debounce=QUIET_FOR):
            if changes:
                yield

    def _matters(self, _: FileChange, path: str) -> bool:
        hidden = any(part.startswith(".") for part in Path(path).relative_to(self.path).parts)
        return not hidden and (path.endswith(SUFFIXES) or path in self._claimed)

    def _at_home(self, manifest: Manifest) -> Manifest:
        """Relative paths in a configuration start at the folder of its file."""
        options = dict(manifest.fields.get("executor_options") or {})
        if "workdir" in options or manifest.fields.get("executor") not in (None, "process"):
            return manifest
        options["workdir"] = str((self.path / manifest.file).parent.resolve())
        return replace(manifest, fields={**manifest.fields, "executor_options": options})

    async def _ensure(self, sources: Sequence[Source], problems: list[Problem]) -> None:
        """Streams and buckets that a `nats.yaml` says are expected."""
        for source in sources:
            if source.path is None or source.path.name != resources.FILE_NAME:
                continue
            try:
                for made in await resources.ensure(self.store.link.js, resources.load(source.path)):
                    self.say(made, "")
            except NexthosError as error:
                problems.append(error.problem)

    async def _apply(self, manifests: list[Manifest], *, quiet: bool) -> list[Problem]:
        changes, problems = await plan_all(self.store, manifests)
        written, refused = await write_all(self.store, changes)
        for done in written:
            if not quiet or done.change.writes:
                self.say(describe(done.change), "")
        return [*problems, *refused]

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
            self.say(f"{file}: is all right now", "green")
        self.broken = now

    async def _remove_gone(
        self, sources: Sequence[Source], manifests: Sequence[Manifest], loaded: Loaded
    ) -> None:
        """Remove what this folder brought and no longer has; a broken file still has it."""
        present = {m.id for m in manifests}
        readable = {s.name for s in sources} - {p.file for p in loaded.problems}
        there = {s.name for s in sources} | self._claimed
        for pipeline_id, file in list(self.brought.files.items()):
            if pipeline_id in present or (file in there and file not in readable):
                continue
            await self.store.pipelines.delete(pipeline_id)
            for info in await self.store.configs.list(pipeline_id):
                await self.store.configs.delete(pipeline_id, info.version)
            self.brought.forget(pipeline_id)
            self.say(f"pipeline/{pipeline_id} deleted ({file} is gone)", "")
