"""The log of a process execution: its end, what is added, and its size."""

from __future__ import annotations

import asyncio

import pytest

from nexthos_controller.execution import LogLine
from nexthos_controller.executors.local import logfile
from nexthos_controller.executors.shared.lines import read_line
from nexthos_testing.process_rig import ProcessRig
from nexthos_testing.wait import eventually


@pytest.fixture
def log(tmp_path):
    return tmp_path / "engine.log"


@pytest.mark.parametrize("block", [3, 7, 64, 64 * 1024])
@pytest.mark.parametrize("count", [0, 1, 3, 50, 1000])
def test_the_last_lines_whatever_the_block(log, monkeypatch, block, count):
    monkeypatch.setattr(logfile, "BLOCK", block)
    lines = [f"line {n}".encode() * (n % 3) for n in range(50)]
    log.write_bytes(b"".join(line + b"\n" for line in lines))
    assert logfile.last_lines(log, count) == (lines[-count:] if count else [], log.stat().st_size)


def test_an_unfinished_line_counts_unless_somebody_reads_on(log):
    log.write_bytes(b"one\ntwo")
    assert logfile.last_lines(log, 5) == ([b"one", b"two"], 7)
    assert logfile.last_lines(log, 5, whole=True) == ([b"one"], 4)


def test_lines_reach_into_what_was_cut_off(log):
    logfile.older(log).write_bytes(b"one\ntwo\n")
    log.write_bytes(b"three\n")
    assert logfile.last_lines(log, 2)[0] == [b"two", b"three"]


def test_no_log_has_no_lines(log):
    assert logfile.last_lines(log, 5) == ([], 0)


def test_lines_are_the_engines_own_only_if_they_say_so():
    own = '{"level":"info","msg":"hi","pipeline":"p","time":"2026-11-24T13:28:36Z"}'
    line = read_line(own.encode(), "p")
    assert (line.text, line.stream, line.time) == (own, "log", 1795526916.0)
    for other in ('{"level":"info","msg":"hi"}', "{", "[1]", "", "plain", '{"pipeline":"p"}'):
        assert read_line(other.encode(), "p") == LogLine(other, "output")
    assert read_line(own.encode(), "another").stream == "output"
    assert read_line(b"\xff\xfe", "p").stream == "output"


@pytest.mark.fault(60, 62)
def test_a_cut_keeps_the_newest_half_and_counts_the_rest(log):
    log.write_bytes(b"a" * 650 + b"\n" + b"b" * 349)
    logfile.cut(log, 800, "p")
    kept, note = logfile.older(log).read_bytes().splitlines()
    assert kept == b"b" * 349
    assert b"651 bytes" in note
    assert log.read_bytes() == b""
    assert logfile.older(log).stat().st_mode & 0o777 == 0o600


def test_a_follower_sees_each_line_once_also_over_a_cut(log):
    log.write_bytes(b"old\n")
    follower = logfile.Follower(log, 4, "p")
    assert follower.more() == []
    with log.open("ab") as file:
        file.write(b"one\ntw")
        file.flush()
        assert follower.more() == [b"one"]
        file.write(b"o\n")
        file.flush()
        assert follower.more() == [b"two"]
    log.write_bytes(b"x\n")
    assert follower.more() == [b"x"]


def test_a_follower_that_lags_says_what_it_passed_over(log, monkeypatch):
    monkeypatch.setattr(logfile, "MAX_BEHIND", 1000)
    monkeypatch.setattr(logfile, "BLOCK", 100)
    follower = logfile.Follower(log, 0, "p")
    log.write_bytes(b"123456789\n" * 500)
    first, *rest = follower.more()
    assert b"4900 bytes" in first
    assert rest == [b"123456789"] * 10


def test_a_line_without_end_comes_in_parts(log, monkeypatch):
    monkeypatch.setattr(logfile, "MAX_LINE", 10)
    follower = logfile.Follower(log, 0, "p")
    log.write_bytes(b"x" * 30)
    assert follower.more() == [b"x" * 30]


@pytest.mark.fault(62)
async def test_a_flood_is_bounded_and_blocks_nobody(process_rig: ProcessRig):
    """Row 62."""
    rig = process_rig
    rig.executor._growth.limit = limit = 2_000_000  # type: ignore[attr-defined]
    spec = rig.spec("orders", "puppet", config={"flood": True})
    execution = await rig.executor.start(spec, 0)
    folder = rig.root / execution.name
    assert await turns_during(until_cut(folder, times=3)) > 20
    assert (folder / "engine.log.1").stat().st_size <= limit // 2 + 200
    notes = [line.text async for line in rig.executor.logs(execution, tail=1_000_000)]
    assert any("dropped to keep it small" in text for text in notes)
    seen = 0

    async def follow():
        nonlocal seen
        async for _ in rig.executor.logs(execution, tail=0, follow=True):
            seen += 1

    following = asyncio.create_task(follow())
    assert await turns_during(eventually(lambda: seen > 50_000)) > 20
    await rig.executor.stop(execution, 10.0)
    async with asyncio.timeout(10.0):
        await following


async def until_cut(folder, times):
    cuts = set()

    def cut():
        older = folder / "engine.log.1"
        if older.exists():
            cuts.add(older.stat().st_ino)
        return len(cuts) >= times

    await eventually(cut, within=20.0)


async def turns_during(work) -> int:
    """How often others got their turn while `work` went on: hardly ever, if it blocks the loop."""
    task, turns = asyncio.ensure_future(work), 0
    while not task.done():
        await asyncio.sleep(0.001)
        turns += 1
    await task
    return turns
