"""What a soak stands on: a server, two controllers, a user, an ear. Nothing is left when it is closed."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.soak import watched

from nexthos_shared.names import Names
from nexthos_testing.beats import Beats, hearing
from nexthos_testing.changes import User, user_of
from nexthos_testing.controller import ControllerProcess
from nexthos_testing.nats import NatsServer
from nexthos_testing.two import Pair, pair_of

NAMESPACE = "soak"
TASKS = "tasks"


@dataclass
class Ground:
    """All that runs but the pipelines. `keep` leaves the folder with the logs."""

    folder: Path
    server: NatsServer
    pair: Pair
    user: User
    beats: Beats
    keep: bool = False

    @property
    def first(self) -> ControllerProcess:
        """The controller that lives through the whole soak."""
        return self.pair.members[0]

    @property
    def executions(self) -> Path:
        return self.first.state_dir / "executions"


@asynccontextmanager
async def ground() -> AsyncIterator[Ground]:
    """Start it; the first controller leads."""
    folder = Path(tempfile.mkdtemp(prefix="nexthos-soak-"))
    (folder / TASKS).mkdir()
    made: Ground | None = None
    try:
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(NatsServer(folder / "nats"))
            command = (sys.executable, watched.__file__)
            both = pair_of(
                server.url,
                NAMESPACE,
                folder / "state",
                command,
                SOAK_TASKS=str(folder / TASKS),
                NEXTHOS_READY_DEBOUNCE="3s",  # so that what is changed every minute counts as good
            )
            pair = await stack.enter_async_context(both)
            user = await stack.enter_async_context(user_of(server.url, Names(NAMESPACE)))
            beats = await stack.enter_async_context(hearing())
            made = Ground(folder, server, pair, user, beats)
            yield made
    finally:
        if made is None or not made.keep:
            shutil.rmtree(folder, ignore_errors=True)
