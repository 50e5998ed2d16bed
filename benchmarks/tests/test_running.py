from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterator
from pathlib import Path

import pytest

from nexthos_testing.controller import engine_processes, kill_leftovers

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """A benchmark that fails to clear up fails its test, and no more than that."""
    yield
    kill_leftovers(tmp_path)


async def benchmarks(folder: Path, *args: str) -> Process:
    """`python -m benchmarks --quick`, with its temporary folder and its results in `folder`."""
    temporary = folder / "tmp"
    temporary.mkdir()
    return await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "benchmarks",
            "--quick",
            "--results",
            str(folder / "results"),
            *args,
        ),
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=PIPE,
        stderr=PIPE,
    )


async def ended(process: Process) -> tuple[int, str, str]:
    async with asyncio.timeout(50.0):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def leftovers(folder: Path) -> list[object]:
    return [*engine_processes(folder / "tmp").values(), *(folder / "tmp").iterdir()]


async def test_a_quick_run_measures_pairs_and_keeps_what_it_prints(tmp_path: Path) -> None:
    code, out, err = await ended(
        await benchmarks(tmp_path, "--only", "publish-ready", "-o", "json")
    )
    assert code == 0, err
    document = json.loads(out)
    first = document["figures"][0]
    assert first["what"] == "publish -> /ready, process"
    assert first["runs"] == len(first["ours"]) == len(first["other"]) == 5
    assert min(first["ours"] + first["other"]) > 0.005  # seconds: no engine starts faster
    (file,) = (tmp_path / "results").iterdir()
    assert json.loads(file.read_text()) == document
    assert leftovers(tmp_path) == []


async def test_ctrl_c_in_the_middle_leaves_neither_processes_nor_files(tmp_path: Path) -> None:
    process = await benchmarks(tmp_path, "--only", "restart")
    assert process.stderr is not None
    async with asyncio.timeout(40.0):
        while b"round 1" not in await process.stderr.readline():
            assert not process.stderr.at_eof()
    assert len(leftovers(tmp_path)) > 20  # engines, nats-server, a folder
    process.send_signal(signal.SIGINT)
    code, out, err = await ended(process)
    assert (code, out) == (130, ""), err
    assert err.endswith("interrupted; nothing was left running\n")
    assert leftovers(tmp_path) == []
