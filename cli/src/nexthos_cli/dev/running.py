"""One `nexthos dev`, from start to end: server, controller, folder, screen.

Comes in: wishes. Goes out: an exit code. What it starts it ends: engines first (a short grace, none
after a second Ctrl-C), then the controller, then the server. What an earlier run that was killed left
behind is ended before anything is started.
"""

from __future__ import annotations

import asyncio
import fcntl
import shutil
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from nexthos_cli.dev.brought import Brought, state_folder
from nexthos_cli.dev.ending import End, Interrupted
from nexthos_cli.dev.folder import Folder
from nexthos_cli.dev.leftovers import end_leftovers
from nexthos_cli.dev.screen import Screen
from nexthos_cli.dev.server import find_server, nats_server
from nexthos_cli.dev.session import Session
from nexthos_cli.errors import INTERRUPTED, FolderInUse
from nexthos_cli.output.terminal import CleanConsole
from nexthos_controller.embedded import Settings, close_to_others, running_controller
from nexthos_shared.engine import locate_engine
from nexthos_shared.errors import SettingsError
from nexthos_shared.nats.connection import ConnectOptions


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
    env: tuple[str, ...] = ()  # of `-e`
    env_files: tuple[str, ...] = ()


async def run(wishes: Wishes, console: CleanConsole) -> int:
    """Everything. Returns 0, or with a duration 1 if something did not get where it should.

    130 if the end was asked for before everything had started.
    """
    close_to_others()
    _log_above_the_table()
    end, screen = End(), Screen(console)
    where = wishes.options.safe_url if wishes.options else ""
    state = state_folder(wishes.environ, wishes.path, f"{wishes.namespace} {where}")
    try:
        with end.listening(), _alone(state):
            return await _run(wishes, state, screen, end)
    except Interrupted:
        screen.say("ended before everything had started")
        return INTERRUPTED


async def _run(wishes: Wishes, state: Path, screen: Screen, end: End) -> int:
    since = time.time()
    engine = locate_engine(wishes.environ)
    async with AsyncExitStack() as stack:
        with end.interrupting():
            options = wishes.options
            if options is None:
                embedded = _embedded(wishes, state, screen, end)
                options = await stack.enter_async_context(embedded)
            settings = Settings(
                namespace=wishes.namespace,
                http="127.0.0.1:0",
                workers=32,
                engine=engine,
                state_dir=None if wishes.options else _controller_folder(state),
            )
            with screen.slow(f"connecting to {options.safe_url}"):
                running = await stack.enter_async_context(running_controller(settings, options))
                await running.leading()
        brought = Brought.load(state)
        folder = Folder(
            wishes.path,
            running.site.store,
            options,
            engine,
            brought,
            screen.say,
            wishes.env,
            wishes.env_files,
        )
        session = Session(
            running,
            folder,
            screen,
            end,
            alone=wishes.options is None,
            since=since,
            duration=wishes.duration,
            clean=wishes.clean,
        )
        return await session.run(wishes.namespace, options.safe_url)


@asynccontextmanager
async def _embedded(
    wishes: Wishes, state: Path, screen: Screen, end: End
) -> AsyncIterator[ConnectOptions]:
    """A server of our own, with nothing of an earlier run beside it."""
    find_server()
    data = state / "nats"
    await end_leftovers(data, _controller_folder(state), end, screen.say)
    if wishes.clean:
        with screen.slow("removing what earlier runs stored"):
            await asyncio.to_thread(shutil.rmtree, state, ignore_errors=True)
    async with AsyncExitStack() as stack:
        with screen.slow("starting NATS, which recovers its data"):
            server = nats_server(data, wishes.port, end.twice, screen.say)
            url = await stack.enter_async_context(server)
        yield ConnectOptions(url=url)


def _controller_folder(state: Path) -> Path:
    """The controller's state folder: it goes with the data that its executions belong to."""
    return state / "controller"


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    """One dev per folder and server. The lock is beside the folder: `--clean` removes that."""
    file = state.with_name(f"{state.name}.lock")
    try:
        state.parent.mkdir(parents=True, exist_ok=True)
        lock = file.open("w")
    except OSError as error:
        words = (
            f"{file}: {error.strerror}: dev keeps its state there; set XDG_STATE_HOME to another"
        )
        raise SettingsError(words, field="XDG_STATE_HOME") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            words = "another `nexthos dev` runs this folder; end it first, or give another folder"
            raise FolderInUse(words) from error
        yield


def _log_above_the_table() -> None:
    """Warnings of the controller go where rich has put stderr, not through the live table."""
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
