"""`python -m benchmarks` as a process, with its temporary folder where a test can look."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

from nexthos_testing.controller import engine_processes

ROOT = Path(__file__).parents[2]


async def benchmarks(folder: Path, *args: str, module: str = "") -> Process:
    """A quick run; its results are in `folder` too. `module`: another one than the whole."""
    temporary = folder / "tmp"
    temporary.mkdir()
    quick = () if module else ("--quick", "--results", str(folder / "results"))
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"benchmarks.{module}" if module else "benchmarks", *quick, *args),
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=PIPE,
        stderr=PIPE,
    )


async def ended(process: Process) -> tuple[int, str, str]:
    """Its exit code, and what it printed."""
    async with asyncio.timeout(50.0):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def leftovers(folder: Path) -> list[object]:
    """Processes and files."""
    return [*engine_processes(folder / "tmp").values(), *(folder / "tmp").iterdir()]
