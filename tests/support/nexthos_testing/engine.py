"""A real engine, started by hand as the executors start it, without controller or store."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from nexthos_shared.engine import (
    Readiness,
    is_ready,
    locate_engine,
    overlay,
    profile_of,
    read_shape,
    scrape,
)
from nexthos_testing.nats import free_port

PASSWORD = "f00d" * 8


@dataclass
class RunningEngine:
    """One engine process; its log and its output share a file, as stdout and stderr do."""

    process: asyncio.subprocess.Process
    endpoint: str
    password: str
    config: Path
    log_path: Path
    metrics_file: Path

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    async def until_ready(self, within: float = 20.0) -> None:
        """Wait until every input and output is connected; an end of the process is a failure.

        Said ten times in a row: the engine begins to listen to SIGTERM a moment after it is ready.
        """
        async with (
            asyncio.timeout(within),
            Readiness(self.endpoint, self.password) as probe,
        ):
            times = 0
            while times < 10:
                times = times + 1 if await probe.look() == "ready" else 0
                assert self.process.returncode is None, self.log
                await asyncio.sleep(0.005)

    async def finished(self, within: float = 30.0) -> int:
        """Wait for its end; the exit code."""
        async with asyncio.timeout(within):
            return await self.process.wait()

    async def stop(self, within: float = 20.0) -> int:
        """SIGTERM, and its exit code."""
        self.process.terminate()
        return await self.finished(within)

    async def ready(self) -> str:
        return await is_ready(self.endpoint, self.password)

    async def metrics(self) -> str:
        return await scrape(self.endpoint, self.password)


@asynccontextmanager
async def running_engine(
    config: str | bytes,
    folder: Path,
    *,
    env: Mapping[str, str] | None = None,
    workdir: Path | None = None,
    overrides: Sequence[str] = (),
    port: int | None = None,
) -> AsyncIterator[RunningEngine]:
    """Run `config` with the overlay; nothing of it is left when the block ends."""
    content = config.encode() if isinstance(config, str) else config
    port = port or free_port()
    engine, name = locate_engine(), f"engine-{port}"
    file, metrics_file = folder / f"{name}.yaml", folder / f"{name}.prom"
    file.write_bytes(content)
    given = overlay(
        address=f"127.0.0.1:{port}",
        password=PASSWORD,
        labels={"pipeline": "tried", "version": "1", "replica": "0"},
        stop_timeout=10.0,
        metrics=read_shape(content).takes_metrics,
        metrics_file=metrics_file,
    )
    argv = (await profile_of(engine)).run_command(engine, file, [*given, *overrides])
    with (folder / f"{name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *argv,
            env={"PATH": os.defpath, **(env or {})},
            cwd=workdir or folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield RunningEngine(
            process,
            f"http://127.0.0.1:{port}",
            PASSWORD,
            file,
            folder / f"{name}.log",
            metrics_file,
        )
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
