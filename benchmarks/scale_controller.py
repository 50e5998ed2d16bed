"""The controller's process of `scale`, told what to do: the other end of scale_child."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.ground import Ground

WITHIN = 900.0  # seconds for one command
ROOT = Path(__file__).parents[1]


class Child:
    """One process."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    def begin(self, command: str) -> asyncio.Task[dict[str, Any]]:
        """Its answer, to be awaited later."""
        return asyncio.create_task(self.do(command))

    async def do(self, command: str) -> dict[str, Any]:
        """Its answer. Raises RuntimeError if it ended instead."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command}\n".encode())
        async with asyncio.timeout(WITHIN):
            line = await self._process.stdout.readline()
        if not line:
            words = self._log.read_text()[-3000:]
            raise RuntimeError(f"the controller ended during {command}: {words}")
        return dict(json.loads(line))


@asynccontextmanager
async def child(here: Ground, namespace: str, debounce: float, *more: str) -> AsyncIterator[Child]:
    """One that has not booted yet; it is ended with the block."""
    module = ("-m", "benchmarks.scale_child", *more, "--debounce", str(debounce))
    log = here.folder / "child.log"
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *module,
            here.url,
            namespace,
            str(here.folder / "state"),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=out,
        )
    try:
        yield Child(process, log)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
