# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, no-warn-unreachable
"""A job's end counts, so somebody stays who tells finished from stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from nexthos_shared.exit_codes import Exit
from nexthos_testing.wait import eventually

THREE = (
    b'input: {generate: {mapping: root = "hello", interval: "", count: 3}}\noutput: {drop: {}}\n'
)
BROKEN = b"input: {nope: {}}\noutput: {drop: {}}\n"


@pytest.fixture
def job(alone):
    """A job whose bytes are kept already."""
    alone.defaults["NEXTHOS_LIFECYCLE"] = "job"

    async def start(content, **given):
        return await alone.start(NEXTHOS_DIGEST=alone.keep(content), **given)

    return start


def child_of(pid):
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(text[0]) if text else 0


async def test_a_job_that_finishes_is_completed(job, alone):
    run = await job(THREE)
    assert await run.ended() == 0, run.text()
    assert "input_received" in (alone.folder / "metrics.prom").read_text()


async def test_a_job_that_fails_ends_with_the_engines_code(job):
    run = await job(BROKEN)
    assert await run.ended() == 1, run.text()


async def test_an_engine_that_a_signal_kills_is_told_by_the_code(job, tick):
    run = await job(tick)
    await run.engine()
    os.kill(child_of(run.pid), signal.SIGKILL)
    assert await run.ended() == 128 + signal.SIGKILL


@pytest.mark.fault(79)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_job_that_drained_is_not_completed(job, tick, number):
    run = await job(tick)
    await run.engine()
    # No condition tells it: Go catches every signal from its start, and asks for these two a moment after
    # the engine says that it runs; until then it ends without draining.
    await asyncio.sleep(0.1)
    engine = child_of(run.pid)
    run.signal(number)
    assert await run.ended() == Exit.ASKED
    assert "received" in run.text().lower()  # the engine heard of it, and drained
    assert not Path(f"/proc/{engine}").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
async def test_each_signal_is_handed_on_as_it_came(job, alone, number):
    engine = alone.program(
        "bento",
        f'#!/bin/sh\ntrap "echo heard; exit 7" {number.name[3:]}\necho begun\nwhile :; do sleep 0.01; done\n',
    )
    run = await job(b"", NEXTHOS_ENGINE=str(engine))
    await run.says("begun")
    run.signal(number)
    assert await run.ended() == Exit.ASKED
    assert "heard" in run.text()


async def test_asked_before_the_engine_listens_it_was_asked_all_the_same(job, alone):
    # A signal that comes at any moment of the start: never lost, never an orphan.
    engine = alone.program("bento", f"#!/bin/sh\nexec sleep 1000.{os.getpid()}\n")
    for delay in (0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.1, 0.15):
        run = await job(b"", NEXTHOS_ENGINE=str(engine))
        await asyncio.sleep(delay)
        run.signal(signal.SIGTERM)
        # Before Python runs a line of ours, a signal ends the process as it ends any.
        assert await run.ended(within=5) in (Exit.ASKED, -signal.SIGTERM), delay
    assert not [p for p in Path("/proc").glob("[0-9]*/cmdline") if f"1000.{os.getpid()}" in read(p)]


def read(path):
    try:
        return path.read_text()
    except OSError:
        return ""


async def test_nothing_secret_stays_with_the_parent(job, tick):
    secret = "hunter2secret"
    run = await job(
        tick,
        NEXTHOS_STORE_URL=f"nats://user:{secret}@127.0.0.1:1",
        NEXTHOS_ENV='{"REGION": "eu"}',
    )
    await run.engine()
    parent, engine = run.pid, child_of(run.pid)
    theirs, ours = (environ_of(pid) for pid in (engine, parent))
    assert ours == {f"NEXTHOS_JOB_{name}": value for name, value in theirs.items()}
    assert theirs["REGION"] == "eu"
    assert secret not in str(ours)
    pages = int(Path(f"/proc/{parent}/statm").read_text().split()[1])
    assert pages * os.sysconf("SC_PAGESIZE") < 16 * 1024 * 1024


def environ_of(pid):
    pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if pair)


async def test_the_engine_of_a_job_gets_signals_as_a_shell_gives_them(job, alone):
    engine = alone.program("bento", "#!/bin/sh\ncat /proc/self/status\n")
    run = await job(b"", NEXTHOS_ENGINE=str(engine))
    assert await run.ended() == 0
    lines = dict(line.split(":\t", 1) for line in run.text().splitlines() if line.startswith("Sig"))
    libc = 0b11 << 31  # 32 and 33 are glibc's own: its posix_spawn sets them so for everybody
    assert int(lines["SigIgn"], 16) & ~libc == int(lines["SigBlk"], 16) == 0


async def test_orphans_of_the_engine_are_reaped_as_pid_1_must(job, alone, tmp_path):
    # A subreaper inherits orphans as PID 1 does in a container, and stays one across an exec.
    log = tmp_path / "as-pid-1.log"
    engine = alone.program(
        "bento",
        "#!/bin/sh\nfor i in 1 2 3 4 5; do (true & ) ; done\necho begun\nwhile :; do sleep 0.05; done\n",
    )
    argv = [sys.executable, "-I", "-m", "nexthos_runner.job", str(engine)]
    code = (
        f"import ctypes, os; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0); os.execv({argv[0]!r}, {argv})"
    )
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=out)
    await eventually(lambda: "begun" in log.read_text())

    def only_the_engine():
        return (
            len(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()) == 1
        )

    await eventually(only_the_engine)
    process.terminate()
    assert await process.wait() == Exit.ASKED
