"""A real controller as a process of its own, so that a test can kill it as the world would."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nats
from nats.errors import Error as NatsError

from nexthos_testing import guarded
from nexthos_testing.wait import eventually

CONTROLLER = Path(sys.executable).parent / "nexthos-controller"


@dataclass
class ControllerProcess:
    """`nexthos-controller run` with settings that touch nothing outside of `state_dir`.

    `name` tells those apart that share a state folder.
    """

    url: str
    namespace: str
    state_dir: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None
    name: str = ""
    command: Sequence[str | Path] = (CONTROLLER,)
    born: float = 0.0  # when this process was started, seconds since the epoch

    @property
    def log_path(self) -> Path:
        return self.state_dir.parent / f"controller-{self.state_dir.name}{self.name}.log"

    def log(self) -> list[dict[str, Any]]:
        """The controller's log, a dict per line."""
        lines = self.log_path.read_text().splitlines() if self.log_path.exists() else []
        return [json.loads(line) for line in lines if line.startswith("{")]

    async def spawn(self, **environ: str) -> asyncio.subprocess.Process:
        """Start it and return at once."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("NATS_", "NEXTHOS_"))}
        self.born = time.time()
        with self.log_path.open("a") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.command,
                "run",
                env={
                    **kept,
                    **self._credentials(environ),
                    "NATS_URL": self.url,
                    "NEXTHOS_NAMESPACE": self.namespace,
                    "NEXTHOS_STATE_DIR": str(self.state_dir),
                    "NEXTHOS_HTTP": "127.0.0.1:0",
                    "NEXTHOS_LOG_FORMAT": "json",
                    **self.environ,
                    **environ,
                },
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self.process

    def _credentials(self, more: Mapping[str, str]) -> dict[str, str]:
        """Those of the namespace's controller, unless a test has it connect in another way."""
        given = {**self.environ, **more}
        own = any(name in given for name in ("NATS_USER", "NATS_CREDS", "NATS_TOKEN", "NATS_NKEY"))
        return {} if own or "@" in self.url else guarded.environ_for(self.namespace)

    async def start(self, **environ: str) -> None:
        """Start it, and wait until it acts."""
        process = await self.spawn(**environ)
        nc = await nats.connect(self.url.split(","))
        try:
            await eventually(lambda: self._answers(nc, process), within=20.0)
        finally:
            await nc.close()

    async def _answers(self, nc: Any, process: asyncio.subprocess.Process) -> bool:
        assert process.returncode is None, self.log_path.read_text()[-3000:]
        try:
            reply = await nc.request(f"{self.namespace}.svc.status", b"", timeout=1.0)
        except NatsError:
            return False
        return bool(json.loads(reply.data).get("acts"))

    async def kill(self) -> None:
        """As `kill -9`: nothing is flushed, nothing is cleaned up."""
        await self.signal(signal.SIGKILL)

    async def terminate(self) -> int:
        """As systemd or Ctrl-C would; returns the exit code."""
        return await self.signal(signal.SIGTERM)

    async def signal(self, number: signal.Signals) -> int:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        async with asyncio.timeout(15.0):
            return await self.process.wait()

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.returncode is None


def engine_processes(state_dir: Path) -> dict[int, str]:
    """PIDs of everything alive whose command line names this state folder, shims left out."""
    found = {}
    for proc in Path("/proc").iterdir():
        if not proc.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            argv = (proc / "cmdline").read_bytes().split(b"\0")
            state = (proc / "stat").read_text().rpartition(")")[2].split()[0]
            named = any(str(state_dir).encode() in part for part in argv[1:])
            if named and state != "Z" and not argv[0].endswith(b"sh"):
                found[int(proc.name)] = b" ".join(argv).decode(errors="replace")
    return found


def kill_leftovers(state_dir: Path) -> None:
    """End everything that a failed test left running under this state folder."""
    for proc in Path("/proc").iterdir():
        if not proc.name.isdigit() or int(proc.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            argv = (proc / "cmdline").read_bytes()
            if str(state_dir).encode() in argv:
                os.kill(int(proc.name), signal.SIGKILL)


@asynccontextmanager
async def controller_process(
    url: str, namespace: str, state_dir: Path, **environ: str
) -> AsyncIterator[ControllerProcess]:
    """A started controller; when the test ends, it and everything it started are gone."""
    controller = ControllerProcess(url, namespace, state_dir, environ)
    try:
        await controller.start()
        yield controller
    finally:
        if controller.running:
            await controller.kill()
        kill_leftovers(state_dir)
