"""One `nexthos dev`, from start to end: server, controller, folder, screen.

Comes in: a folder and options. Goes out: an exit code. What it starts it ends: engines first (3 s of
grace, none after a second Ctrl-C), then the controller, then the server. Definitions stay as they are,
so the next start goes on where this one ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from nexthos_cli.dev.brought import Brought, state_folder
from nexthos_cli.dev.folder import Folder
from nexthos_cli.dev.screen import Screen, pipelines_table, subjects_table
from nexthos_cli.dev.server import free_port, nats_server
from nexthos_cli.dev.tally import Tally, messages_by_subject
from nexthos_controller.app import Running, running_controller
from nexthos_controller.executors.base import Execution
from nexthos_controller.settings import Settings
from nexthos_shared.engine import locate_engine
from nexthos_shared.errors import NexthosError, TerminalError
from nexthos_shared.models import Phase, PipelineStatus
from nexthos_shared.nats_client import ConnectOptions
from nexthos_shared.reasons import Reason

GRACE = 3.0  # seconds that engines get to drain, whatever their stop_timeout
PULSE = 0.2  # seconds between looks at statuses and logs
SAMPLE_EVERY = 5  # pulses between readings of the engines' metrics
FIRST_LINES = 20  # of a log that was there before
DONE = {Phase.RUNNING, Phase.COMPLETED}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was asked for on the command line."""

    path: Path
    namespace: str
    options: ConnectOptions | None  # None: the embedded server
    duration: float | None  # seconds; None: until it is ended
    clean: bool
    port: int
    environ: dict[str, str]


@dataclass(slots=True)
class End:
    """Somebody asked for the end: once to drain, twice to kill."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    twice: asyncio.Event = field(default_factory=asyncio.Event)

    def ask(self) -> None:
        """A signal arrived."""
        (self.twice if self.asked.is_set() else self.asked).set()

    def listen(self) -> None:
        """Take SIGINT and SIGTERM as such requests."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.ask)


async def run(wishes: Wishes, console: Console) -> int:
    """Everything; returns 0, or 1 if something published did not become ready or completed."""
    end = End()
    end.listen()
    screen = Screen(console)
    where = wishes.options.safe_url if wishes.options else ""
    state = state_folder(wishes.environ, wishes.path, f"{wishes.namespace} {where}")
    if wishes.clean and not wishes.options:
        with _alone(state):
            shutil.rmtree(state, ignore_errors=True)
    with _alone(state):
        async with AsyncExitStack() as stack:
            options = wishes.options
            if options is None:
                port = free_port(wishes.port)
                url = await stack.enter_async_context(nats_server(state / "nats", port))
                options = ConnectOptions(url=url)
            settings = Settings(namespace=wishes.namespace, http="127.0.0.1:0", workers=32)
            engine = locate_engine(wishes.environ)
            running = await stack.enter_async_context(running_controller(settings, options))
            folder = Folder(
                wishes.path,
                running.store,
                options,
                engine,
                Brought.load(state),
                screen.say,
            )
            return await Session(wishes, running, folder, screen, end).run(options.safe_url)


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    """One dev per folder and server."""
    state.parent.mkdir(parents=True, exist_ok=True)
    with state.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TerminalError(
                "another `nexthos dev` runs this folder; end it first, or give another folder",
                reason=Reason.ANOTHER_CONTROLLER,
            ) from error
        yield


@dataclass(slots=True)
class Session:
    """What happens between the start and the end of the server."""

    wishes: Wishes
    running: Running
    folder: Folder
    screen: Screen
    end: End
    _readers: dict[tuple[str, str], asyncio.Task[None]] = field(default_factory=dict)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def _executor(self) -> Any:
        return self.running.controller.executors[self.running.controller.default_executor]

    async def run(self, url: str) -> int:
        """Bring the folder, show what happens, end everything; the exit code."""
        self._welcome(url)
        tally = Tally(self._executor)
        js = self.running.store.link.js
        before = await messages_by_subject(js)
        async with self._ending_engines():
            with self.screen:
                await self.folder.bring(first=True)
                async with self._background(self._pulse(tally), self._follow()):
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(self.wishes.duration):
                            await self.end.asked.wait()
            statuses = self._statuses()
            await self._stop_engines()
            await tally.sample((await self._executor.list()).executions)
        self._report(statuses, tally, before, await messages_by_subject(js))
        return self._verdict(statuses)

    def _welcome(self, url: str) -> None:
        command = Path(sys.argv[0])
        shown = str(command) if command.name == "nexthos" else "nexthos"
        own = "" if self.wishes.options else ", data kept for the next start"
        self.screen.say(f"NATS {url}{own}", "bold")
        self.screen.say(f"engine {self.running.about.engine}", "dim")
        self.screen.say("in another terminal:", "dim")
        namespace = self.wishes.namespace
        more = "" if namespace == "nexthos" else f" NEXTHOS_NAMESPACE={namespace}"
        for line in (f"export NATS_URL={url}{more}", f"{shown} ls -w", f"{shown} status ID"):
            self.screen.say(f"  {line}")

    @asynccontextmanager
    async def _background(self, *works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
        self._tasks = [asyncio.create_task(work) for work in works]
        try:
            yield
        finally:
            for task in [*self._tasks, *self._readers.values()]:
                task.cancel()
            await asyncio.gather(*self._tasks, *self._readers.values(), return_exceptions=True)

    async def _follow(self) -> None:
        """Bring the folder again whenever a file of it changes."""
        async for _ in self.folder.changes():
            try:
                await self.folder.bring()
            except NexthosError as error:
                self.screen.say(f"error: {error}", "red")

    async def _pulse(self, tally: Tally) -> None:
        """Statuses, log lines and counts, several times a second."""
        shown: dict[str, PipelineStatus] = {}
        beat = 0
        while True:
            statuses = self._statuses()
            for key in shown.keys() - statuses.keys():
                self.screen.status(key, None)
            for key, status in statuses.items():
                if shown.get(key) is not status:
                    self.screen.status(key, status)
            shown = statuses
            executions = await self._executions()
            self._read_logs(executions)
            if beat % SAMPLE_EVERY == 0:
                await tally.sample(e for e in executions if e.state == "running")
                self.screen.counts({key: tally.of(key) for key in statuses})
            beat += 1
            await asyncio.sleep(PULSE)

    async def _executions(self) -> tuple[Execution, ...]:
        try:
            listing = await self._executor.list()
        except NexthosError:
            return ()
        return tuple(listing.executions)

    def _read_logs(self, executions: tuple[Execution, ...]) -> None:
        """A reader per life of an execution, from its first line on."""
        for execution in executions:
            life = (execution.name, execution.uid)
            if execution.state == "running" and life not in self._readers:
                self._readers[life] = asyncio.create_task(self._read_log(execution))

    async def _read_log(self, execution: Execution) -> None:
        with contextlib.suppress(NexthosError, OSError):
            async for line in self._executor.logs(execution, tail=FIRST_LINES, follow=True):
                self.screen.log(execution.id, line)

    def _statuses(self) -> dict[str, PipelineStatus]:
        return self.running.controller.book.statuses()

    @asynccontextmanager
    async def _ending_engines(self) -> AsyncIterator[None]:
        """However the session ends, no engine is left behind."""
        try:
            yield
        finally:
            await self._stop_engines()

    async def _stop_engines(self) -> None:
        """Stop acting first: what we end now is not to be started again by us."""
        await self.running.controller.queue.close()
        live = [e for e in await self._executions() if e.state == "running"]
        if not live:
            return
        stops = [asyncio.create_task(self._executor.stop(e, GRACE)) for e in live]
        twice = asyncio.create_task(self.end.twice.wait())
        drained = asyncio.create_task(_all(stops))
        await asyncio.wait([drained, twice], return_when=asyncio.FIRST_COMPLETED)
        twice.cancel()
        if not drained.done():
            for stop in stops:
                stop.cancel()
            await drained
            await _all([asyncio.create_task(self._executor.stop(e, 0.0)) for e in live])

    def _report(
        self,
        statuses: dict[str, PipelineStatus],
        tally: Tally,
        before: dict[str, int],
        after: dict[str, int],
    ) -> None:
        if not statuses and not after:
            return
        console = self.screen.console
        console.print()
        console.print(pipelines_table(statuses, {key: tally.of(key) for key in statuses}))
        if subjects := subjects_table(before, after):
            console.print()
            console.print(subjects)

    def _verdict(self, statuses: dict[str, PipelineStatus]) -> int:
        """0 if everything published got where it should, and no file was broken."""
        if self.wishes.duration is None:
            return 0
        desired = self.running.controller.desired
        late = []
        for key in sorted(desired.keys()):
            entry, status = desired.entry(key), statuses.get(key)
            if entry is None or entry.wanted != "published":
                continue
            good = status is not None and status.phase in DONE
            if good and status is not None and status.phase is Phase.RUNNING:
                good = status.ready == status.replicas
            if not good or entry.problem is not None:
                late.append(key)
        if late:
            self.screen.say(f"not ready or completed: {', '.join(late)}", "red")
        return 1 if late or self.folder.broken else 0


async def _all(tasks: list[asyncio.Task[bool]]) -> None:
    """Wait for all of them, whatever becomes of them."""
    await asyncio.gather(*tasks, return_exceptions=True)


__all__ = ["Wishes", "run"]
