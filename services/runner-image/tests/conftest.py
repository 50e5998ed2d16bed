"""A runner as a process of its own, as an executor starts it, and what it leaves to be looked at."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from nexthos_shared.names import digest_of
from nexthos_shared.nats.connection import ConnectOptions
from nexthos_testing.handing_out import handing_out
from nexthos_testing.nats import NatsServer, free_port
from nexthos_testing.wait import eventually

RUNNER = Path(sys.executable).parent / "nexthos-runner"
TICK = b"input: {generate: {mapping: root = 1, interval: 10ms}}\noutput: {drop: {}}\n"


@dataclass
class Run:
    """One process that began as a runner."""

    process: asyncio.subprocess.Process
    log_path: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]

    def text(self) -> str:
        return self.log_path.read_text()

    def errors(self) -> list[str]:
        return [line["msg"] for line in self.lines() if line["level"] == "error"]

    def warnings(self) -> list[str]:
        return [line["msg"] for line in self.lines() if line["level"] == "warning"]

    async def ended(self, within: float = 20.0) -> int:
        """Its exit code; negative if a signal ended it."""
        async with asyncio.timeout(within):
            return await self.process.wait()

    async def says(self, words: str, within: float = 20.0) -> str:
        """A line that holds these words, as soon as it is there."""

        def look() -> str:
            assert self.process.returncode is None or words in self.text(), self.text()
            return next((line for line in self.text().splitlines() if words in line), "")

        return str(await eventually(look, within=within))

    async def engine(self, within: float = 20.0) -> int:
        """PID of the engine, as soon as it says that it runs."""
        await self.says("Launching", within)
        return self.pid

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


@dataclass
class Rig:
    """How runners are started in a test: `await rig.start(NEXTHOS_...=...)`."""

    url: str
    namespace: str
    tmp_path: Path
    runs: list[Run] = field(default_factory=list)
    defaults: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.tmp_path / "execution"

    @property
    def config(self) -> Path:
        return self.folder / "config.yaml"

    def environ(self, **given: str | None) -> dict[str, str]:
        """What an executor gives; None takes a variable away."""
        values = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.tmp_path),
            "NATS_URL": self.url,
            "NEXTHOS_NAMESPACE": self.namespace,
            "NEXTHOS_PIPELINE": "orders",
            "NEXTHOS_VERSION": "1",
            "NEXTHOS_DIR": str(self.folder),
            "NEXTHOS_HTTP_ADDRESS": f"127.0.0.1:{free_port()}",
            "NEXTHOS_FETCH_WITHIN": "0.5",
            **self.defaults,
        }
        return {k: v for k, v in (values | given).items() if v is not None}

    def keep(self, content: bytes) -> str:
        """Put bytes where an earlier start left them; their digest."""
        self.folder.mkdir(exist_ok=True)
        self.config.write_bytes(content)
        return digest_of(content)

    def program(self, name: str, text: str) -> Path:
        """A program that can be given as engine."""
        path = self.tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return path

    async def start(self, *arguments: str, **given: str | None) -> Run:
        log_path = self.tmp_path / f"run-{len(self.runs)}.log"
        with log_path.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                RUNNER,
                *arguments,
                env=self.environ(**given),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.runs.append(Run(process, log_path))
        return self.runs[-1]

    async def close(self) -> None:
        for run in self.runs:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)
            await run.process.wait()


@pytest.fixture
async def alone(tmp_path: Path) -> AsyncIterator[Rig]:
    """Runners whose NATS is not there."""
    rig = Rig(f"nats://127.0.0.1:{free_port()}", "lonely", tmp_path)
    yield rig
    await rig.close()


@pytest.fixture
async def rig(nats_server: NatsServer, namespace: str, tmp_path: Path) -> AsyncIterator[Rig]:
    """Runners on the shared server, in a namespace of their own, whose configurations are handed out."""
    rig = Rig(nats_server.url, namespace, tmp_path)
    async with handing_out(ConnectOptions(nats_server.url), namespace):
        yield rig
        await rig.close()


@pytest.fixture
def tick() -> bytes:
    """A configuration that runs for ever and needs nothing."""
    return TICK
