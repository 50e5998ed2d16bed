"""Between the start and the end of the server: the folder is brought and followed, the screen shows.

Comes in: a controller that runs, a folder, a screen. Goes out: an exit code, and no engine. Definitions
stay as they are, so the next start goes on where this one ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from nexthos_cli.dev.ending import GRACE, End, stop_all
from nexthos_cli.dev.folder import Folder
from nexthos_cli.dev.report import Outcome, outcome, show
from nexthos_cli.dev.screen import Screen
from nexthos_cli.dev.tally import Tally, messages_by_subject
from nexthos_controller.embedded import (
    Desired,
    Execution,
    Executor,
    ReplicaExecutor,
    Running,
    Site,
    Term,
)
from nexthos_shared.errors import NexthosError
from nexthos_shared.model import PipelineStatus

PULSE = 0.2  # seconds between looks at statuses and logs
COUNT_EVERY = 1.0  # seconds between readings of the engines' metrics
FIRST_LINES = 20  # of a log that was there before
LEADS_WITHIN = (
    15.0  # seconds until a lease that was lost is ours again: some of them are its own life
)
TERMS = 3  # in which engines are ended; one, unless the machine slept just now


@dataclass(slots=True)
class Session:
    """One run. `alone`: the server is ours; `since`: when it began, seconds since the epoch."""

    running: Running
    folder: Folder
    screen: Screen
    end: End
    alone: bool
    since: float
    duration: float | None  # seconds; None: until it is ended
    clean: bool = False  # what was stored before is gone
    site: Site = field(init=False)
    _tally: Tally = field(init=False)
    _known: dict[str, PipelineStatus] = field(init=False)
    _readers: dict[tuple[str, str], asyncio.Task[None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.site = self.running.site
        self._tally = Tally(self.since)
        self._known: dict[str, PipelineStatus] = {}

    @property
    def _executor(self) -> ReplicaExecutor | None:
        """The present term's: a laptop that slept, or that was busy, begins another term."""
        term = self.running.term
        return _executor_of(term) if term is not None else None

    async def _leading(self) -> Term | None:
        """The present term, or the next one; None if it does not come."""
        try:
            async with asyncio.timeout(LEADS_WITHIN):
                while True:
                    term = await self.running.leading()
                    if self.site.lease.held:  # else this term is about to end
                        return term
                    await asyncio.sleep(PULSE)
        except (TimeoutError, NexthosError):
            return None

    async def run(self, namespace: str, url: str) -> int:
        """Bring the folder, show what happens, end the engines; the exit code."""
        self._welcome(namespace, url)
        js, events = self.site.store.link.js, self.site.store.events.stream
        before = await messages_by_subject(js, events)
        try:
            with self.screen:
                await self._live()
            found = self._outcome()
        finally:  # however it ends, no engine is left behind
            await self._stop_engines()
        await self._sample()
        counts = self._counts()
        after = await messages_by_subject(js, events)
        show(self.screen.console, found, counts, before, after, all_subjects=self.alone)
        return self._verdict(found)

    def _welcome(self, namespace: str, url: str) -> None:
        command = Path(sys.argv[0])
        shown = str(command) if command.name == "nexthos" else "nexthos"
        kept = ", data kept for the next start" if self.alone else ""
        if self.clean:
            kept = ", data of earlier runs removed"
        self.screen.say(f"NATS {url}{kept}", "bold")
        self.screen.say(f"engine {self.site.about.engine}", "dim")
        self.screen.say("in another terminal:", "dim")
        more = "" if namespace == "nexthos" else f" NEXTHOS_NAMESPACE={namespace}"
        for line in (f"export NATS_URL={url}{more}", f"{shown} ls -w", f"{shown} status ID"):
            self.screen.say(f"  {line}")

    # ---- while it lives

    async def _live(self) -> None:
        """Until the end is asked for, or the time is over; raises what breaks."""
        ready = asyncio.Event()
        works: list[Coroutine[Any, Any, Any]] = [
            self._follow(ready),
            self._pulse(),
            self._count(),
            self.end.asked.wait(),
        ]
        tasks = [asyncio.create_task(work) for work in works]
        try:
            with self.screen.slow("checking the files"):
                await asyncio.wait(
                    [*tasks, brought := asyncio.create_task(ready.wait())],
                    return_when=asyncio.FIRST_COMPLETED,
                )
            tasks.append(brought)
            if ready.is_set():
                await asyncio.wait(
                    tasks[:-1], timeout=self.duration, return_when=asyncio.FIRST_COMPLETED
                )
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            tasks += self._readers.values()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, ready: asyncio.Event) -> None:
        """Bring the folder, and again whenever a file of it changes.

        The watch begins before the first look: what is saved meanwhile is seen afterwards.
        """
        changes = self.folder.changes()
        change = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        try:
            await self.folder.bring(first=True)
            if self.folder.empty:
                self._nothing_to_run()
            ready.set()
            while True:
                await change
                change = asyncio.ensure_future(anext(changes))
                try:
                    await self.folder.bring()
                except NexthosError as error:
                    self.screen.say(f"error: {error}; tried again at the next save", "red")
        finally:
            change.cancel()
            await asyncio.gather(change, return_exceptions=True)

    def _nothing_to_run(self) -> None:
        self.screen.say(
            f"nothing to run in {self.folder.path}: no manifest and no Benthos configuration "
            "(.yaml, .yml or .json)"
        )

    async def _pulse(self) -> None:
        """Statuses and log lines, several times a second."""
        shown: dict[str, PipelineStatus] = {}
        while True:
            statuses = self._statuses()
            for key in shown.keys() - statuses.keys():
                self.screen.status(key, None)
            for key, status in statuses.items():
                if shown.get(key) is not status:
                    self.screen.status(key, status)
            shown = statuses
            self._read_logs(await self._executions())
            await asyncio.sleep(PULSE)

    async def _count(self) -> None:
        while True:
            await self._sample()
            self.screen.counts(self._counts())
            await asyncio.sleep(COUNT_EVERY)

    def _counts(self) -> dict[str, Any]:
        return {key: self._tally.of(key) for key in self._statuses()}

    async def _sample(self) -> None:
        if (executor := self._executor) is not None:
            await self._tally.sample(executor, await _all_of(executor))

    async def _executions(self) -> tuple[Execution, ...]:
        return await _all_of(self._executor) if self._executor is not None else ()

    def _read_logs(self, executions: tuple[Execution, ...]) -> None:
        """A reader per life of an execution, from its first line on; also of one that ended at once."""
        for execution in executions:
            life = (execution.name, execution.uid)
            fresh = (execution.started_at or 0.0) >= self.since
            reader = self._readers.get(life)
            wanted = execution.state == "running" or fresh
            if wanted and (executor := self._executor) is not None and reader is None:
                reading = self._read_log(executor, execution)
                self._readers[life] = asyncio.create_task(reading)

    async def _read_log(self, executor: Executor, execution: Execution) -> None:
        with contextlib.suppress(NexthosError, OSError):
            async for line in executor.logs(execution, tail=FIRST_LINES, follow=True):
                self.screen.log(execution.id, line)

    def _statuses(self) -> dict[str, PipelineStatus]:
        """As the present term tells them; between two terms as the last one did."""
        if self.running.term is not None:
            self._known = dict(self.running.term.controller.statuses.each(PipelineStatus))
        return self._known

    # ---- the end

    async def _stop_engines(self) -> None:
        """Stop acting first: what we end now is not to be started again by us.

        A term that ends meanwhile starts them again in the next one, so it is done there once more.
        """
        for _ in range(TERMS):
            term = await self._leading()
            if term is None:
                self.screen.say("error: the lease is gone, so engines may run on", "red")
                return
            await term.controller.queue.close()
            executor = _executor_of(term)
            executions = await _all_of(executor)
            live = [e for e in executions if e.state == "running" and self._is_ours(e)]
            if live and self.end.asked.is_set():
                words = f"ending: engines get {GRACE:g} s to drain, Ctrl-C kills them"
                self.screen.say(words, "dim")
            await stop_all(executor, live, self.end, self.screen.say)
            if self.running.term is term and self.site.lease.held:
                return

    def _is_ours(self, execution: Execution) -> bool:
        """On somebody else's server, what ran before us and is not of this folder is left running."""
        before = (execution.started_at or 0.0) < self.since
        return self.alone or not before or execution.id in self.folder.brought.files

    def _outcome(self) -> Outcome:
        term = self.running.term
        desired = term.controller.desired if term is not None else Desired()
        return outcome(desired, self._statuses(), self.folder.broken)

    def _verdict(self, found: Outcome) -> int:
        if self.folder.empty and not found.statuses:
            self._nothing_to_run()
        if self.duration is None:
            return 0
        if found.late:
            self.screen.say(f"not ready or completed: {', '.join(found.late)}", "red")
        if found.broken:
            self.screen.say(f"with errors: {', '.join(found.broken)}", "red")
        return found.code


def _executor_of(term: Term) -> ReplicaExecutor:
    executor = term.controller.executors[term.controller.default_executor]
    return cast(ReplicaExecutor, executor)  # of processes or streams


async def _all_of(executor: Executor) -> tuple[Execution, ...]:
    """What there is, as far as it can be seen."""
    try:
        return (await executor.list()).executions
    except NexthosError:
        return ()
