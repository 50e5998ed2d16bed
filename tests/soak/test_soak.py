"""That a soak still works: some seconds of it, and what it leaves."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from nexthos_testing.controller import engine_processes, kill_leftovers

ROOT = Path(__file__).parents[2]
Soak = Callable[..., Coroutine[Any, Any, Process]]


@pytest.fixture
async def soak(tmp_path: Path) -> AsyncIterator[Soak]:
    """`python -m tests.soak`, with all its files in one folder."""

    async def started(*args: str) -> Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.soak", "--pipelines", "3", "--seed", "4", *args),
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(tmp_path)},
            stdout=PIPE,
            stderr=PIPE,
        )

    yield started
    kill_leftovers(tmp_path)


@pytest.mark.timeout(180)
async def test_some_seconds_of_it_hold_and_are_told(soak: Soak, tmp_path: Path) -> None:
    file = tmp_path / "kept" / "soak.json"
    out, err = await (process := await soak("--minutes", "0.2", "--json", str(file))).communicate()
    assert process.returncode == 0, err.decode() + out.decode()
    document = json.loads(file.read_text())
    assert (document["holds"], document["problems"], document["seed"]) == (True, [], 4)
    assert document["struck"]
    assert document["messages"] > 50
    assert document["lives"] >= 3
    assert "all of it holds" in out.decode()
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


@pytest.mark.timeout(60)
async def test_ctrl_c_ends_it_and_leaves_nothing(soak: Soak, tmp_path: Path) -> None:
    process = await soak("--minutes", "1")
    assert process.stderr is not None
    while b"all run" not in await process.stderr.readline():
        assert not process.stderr.at_eof()
    assert engine_processes(tmp_path) != {}
    process.send_signal(signal.SIGINT)
    await process.communicate()
    assert process.returncode == 130
    assert engine_processes(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []
