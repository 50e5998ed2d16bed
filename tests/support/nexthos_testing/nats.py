"""A real nats-server for tests: JetStream, its own port and data, to be stopped, killed, restarted."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import ClassVar, Self

from nexthos_testing import guarded
from nexthos_testing.wait import eventually

SERVER = Path(sys.executable).parent / "nats-server"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class NatsServer:
    """`async with NatsServer(folder)`: one server; the same port and data over restarts.

    `config`: more of the configuration file (authorization, tls); `jetstream`: more of its jetstream
    block (domain, max_file_store), None for a server without JetStream. Both may be
    assigned between two starts, or before `reload`.
    Where `config` says nothing of users, the controllers of `namespaces` have one each, and whoever
    shows no credentials may do anything: see `guarded`.
    """

    made: ClassVar[set[NatsServer]] = set()  # and not yet asked what they refused

    def __init__(
        self,
        folder: Path,
        *,
        config: str = "",
        jetstream: str | None = "",
        port: int | None = None,
        host: str = "127.0.0.1",
        namespaces: range | None = None,
    ) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.host = host  # 0.0.0.0: containers reach it too
        self.config = config
        self.jetstream = jetstream
        self._namespaces = guarded.these() if namespaces is None else namespaces
        self._logged = 0  # bytes of the log in which refusals were looked for
        self.made.add(self)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    async def start(self) -> None:
        file = self._write()
        log = (self.folder / "server.log").open("ab")
        self._process = await asyncio.create_subprocess_exec(
            SERVER if SERVER.exists() else shutil.which("nats-server") or "nats-server",
            "-c",
            file,
            stdout=log,
            stderr=log,
            stdin=asyncio.subprocess.DEVNULL,
        )
        log.close()
        await eventually(self._listens, within=15.0)

    def _write(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "nats.conf"
        users = guarded.users_for(self._namespaces, self.config)
        lines = [f"listen: {self.host}:{self.port}", self.config, users]
        if self.jetstream is not None:
            data = self.folder / "data"
            lines.append(f'jetstream {{ store_dir: "{data}"\n{self.jetstream} }}')
        file.write_text("\n".join(lines) + "\n")
        return file

    def refusals(self) -> list[str]:
        """What it refused controllers since it was asked last."""
        path = self.folder / "server.log"
        if not path.exists():
            return []
        with path.open("rb") as log:
            log.seek(self._logged)
            new = log.read()
        self._logged += len(new)
        return guarded.refusals(new.decode(errors="replace"))

    def reload(self) -> None:
        """Let the running server read its configuration again."""
        assert self._process is not None
        self._write()
        self._process.send_signal(signal.SIGHUP)

    async def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.returncode is None, (self.folder / "server.log").read_text()[-2000:]
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        greeting = await reader.readline()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return greeting.startswith(b"INFO")

    async def stop(self) -> None:
        """As an administrator would."""
        await self._end(kill=False)

    async def kill(self) -> None:
        """As `kill -9`."""
        await self._end(kill=True)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP freezes it, SIGCONT thaws it."""
        assert self._process is not None
        self._process.send_signal(number)

    async def freeze(self) -> None:
        """SIGSTOP, and return when none of its threads runs any more."""
        assert self._process is not None
        self.signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{self._process.pid}/task")

        def stopped() -> bool:
            stats = [(task / "stat").read_text() for task in tasks.iterdir()]
            return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)

        await eventually(stopped)

    async def restart(self, *, kill: bool = False) -> None:
        await self._end(kill=kill)
        await self.start()

    async def _end(self, *, kill: bool) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill() if kill else process.terminate()
        async with asyncio.timeout(15.0):
            await process.wait()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end(kill=True)
