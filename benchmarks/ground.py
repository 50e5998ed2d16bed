"""What every benchmark stands on: a nats-server of its own, a connection, a folder.

Whatever is started from here names the folder in its command line, or is ended by who started it: so
nothing is left behind, however a benchmark ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import nats
from nats.aio.client import Client

from nexthos_shared.names import Names
from nexthos_testing.controller import ControllerProcess, engine_processes, kill_leftovers
from nexthos_testing.field import Field
from nexthos_testing.nats import NatsServer, free_port

GONE_WITHIN = 30.0  # seconds, for 200 killed engines to be taken away


@dataclass(frozen=True, slots=True)
class Ground:
    """A server and a folder for one run of one benchmark."""

    folder: Path
    url: str
    nc: Client
    port: int  # of the server
    monitor: str  # URL of its monitoring

    def field(self, namespace: str) -> Field:
        """The store of a namespace as a user writes it."""
        return Field(self.nc, Names(namespace))

    def controller(self, namespace: str, *executors: str, **options: object) -> ControllerProcess:
        """One that is not started yet, with HTTP on a port of its own.

        The first of the executors is its default, `options` are that one's.
        """
        default, *others = executors or ("process",)
        offered = {default: options, **{name: {} for name in others}}
        file = self.folder / f"controller-{namespace}.json"  # JSON is YAML
        file.write_text(json.dumps({"executor": default, "executors": offered}))
        environ = {
            "NEXTHOS_HTTP": f"127.0.0.1:{free_port()}",
            "NEXTHOS_CONFIG": str(file),
            # As installed: compiled. Where a shell forbids it, each start compiles anew for 0.13 s.
            "PYTHONDONTWRITEBYTECODE": "",
        }
        return ControllerProcess(self.url, namespace, self.folder / namespace, environ)


@asynccontextmanager
async def ground(host: str = "127.0.0.1") -> AsyncIterator[Ground]:
    """Start it; when it is left, neither processes nor files are."""
    with tempfile.TemporaryDirectory(prefix="nexthos-bench-") as name:
        folder = Path(name)
        try:
            monitor = f"127.0.0.1:{free_port()}"
            config = f'http: "{monitor}"'
            async with NatsServer(folder / "nats", host=host, config=config) as server:
                nc = await nats.connect(server.url, error_cb=_say_nothing)
                try:
                    yield Ground(folder, server.url, nc, server.port, f"http://{monitor}")
                finally:
                    await nc.close()
        finally:
            await clear(folder)


async def clear(folder: Path) -> None:
    """Kill whatever names `folder` in its command line, and wait until nothing does."""
    async with asyncio.timeout(GONE_WITHIN):
        while True:
            kill_leftovers(folder)
            if not engine_processes(folder):
                return
            await asyncio.sleep(0.02)


@asynccontextmanager
async def ended_after(controller: ControllerProcess) -> AsyncIterator[ControllerProcess]:
    """End the controller when the block ends, if it still runs; what it started is the ground's."""
    try:
        yield controller
    finally:
        if controller.running:
            await controller.kill()


async def _say_nothing(error: Exception) -> None:
    """A Ctrl-C ends the server first, and nats-py would print that it is gone."""


class Progress:
    """Tells on stderr how far it is; a terminal gets one line that changes."""

    def __init__(self) -> None:
        self._redraws = sys.stderr.isatty()

    def __call__(self, words: str) -> None:
        """Say it."""
        start, end = ("\r\033[K", "") if self._redraws else ("", "\n")
        print(f"{start}{words}", end=end, file=sys.stderr, flush=True)

    def done(self) -> None:
        """Leave the line."""
        if self._redraws:
            self("")
