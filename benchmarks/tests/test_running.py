from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

from benchmarks.tests.running import benchmarks, ended, leftovers


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
