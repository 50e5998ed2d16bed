"""A stream's lines among others': nobody writes them for it, and no flood costs it what it has."""

from __future__ import annotations

import json
from functools import partial

import pytest

from nexthos_controller.execution import LogLine
from nexthos_controller.executors.local import logfile
from nexthos_controller.executors.streams import StreamsExecutor, lines, tending
from nexthos_testing.streams_rig import StreamsRig
from nexthos_testing.wait import eventually

FORGER = """\
input: {generate: {interval: 5ms, mapping: 'root = %s'}}
output: {stdout: {}}
"""


def line_of(name: str, message: str) -> str:
    entry = {"@service": "bento", "level": "error", "msg": message, "stream": name}
    return json.dumps(entry, separators=(",", ":"))


async def cut(rig: StreamsRig, growth: logfile.Growth) -> None:
    """As it is done each second, with another limit."""
    assert isinstance(rig.executor, StreamsExecutor)
    await tending.cut_logs(rig.executor._hosts, growth, rig.executor._keep_lines)


async def texts(rig: StreamsRig, execution) -> list[str]:
    return [line.text async for line in rig.executor.logs(execution)]


@pytest.mark.fault(108)
async def test_a_line_that_a_stream_prints_is_nobodys_line_of_the_log(streams_rig: StreamsRig):
    """A real engine: what it prints and what it logs are in two files, and in one only one of both."""
    rig = streams_rig
    victim = await rig.executor.start(rig.spec("victim"), 0)
    said = line_of(victim.name, "I fail")
    config = (FORGER % json.dumps(said)).encode()
    forger = await rig.executor.start(rig.spec("forger", config=config), 0)
    folder, _ = rig.host_of(forger)
    assert folder == rig.host_of(victim)[0]
    await eventually(lambda: said.encode() in (folder / "output.log").read_bytes())
    assert b"I fail" not in (folder / "engine.log").read_bytes()
    for execution in (victim, forger):
        assert not any("I fail" in text for text in await texts(rig, execution))
    await rig.executor.stop(victim, 5.0)
    assert not any("I fail" in text for text in await texts(rig, victim))


async def test_what_one_prints_that_has_its_host_to_itself_is_output_whatever_it_looks_like(
    streams_rig: StreamsRig,
):
    rig = streams_rig
    spec = rig.spec("alone", "puppet")
    execution = await rig.executor.start(spec, 0)
    said = line_of(execution.name, "not by the engine")
    rig.say(execution, said, "output")

    async def found():
        return [line async for line in rig.executor.logs(execution) if line.text == said]

    [line] = await eventually(found)
    assert line.stream == "output"
    await rig.executor.stop(execution, 5.0)
    [line] = await found()
    assert line.stream == "output"


@pytest.mark.fault(108)
async def test_a_flood_of_one_streams_lines_costs_another_none_of_its_last(streams_rig: StreamsRig):
    rig = streams_rig
    quiet, loud = [await rig.executor.start(rig.spec(n, "puppet"), 0) for n in ("quiet", "loud")]
    folder, _ = rig.host_of(quiet)

    async def heard(execution, words: str) -> bool:
        return any(words in text for text in await texts(rig, execution))

    await eventually(partial(is_ready, rig, "quiet"))
    rig.say(quiet, "mine", "log")
    await eventually(partial(heard, quiet, "mine"))
    growth = logfile.Growth(limit=10_000)
    for _ in range(3):
        with (folder / "engine.log").open("a") as log:
            log.write(f"{line_of(loud.name, 'x' * 100)}\n" * 200)
        await cut(rig, growth)
        assert (folder / "engine.log").stat().st_size < growth.limit
    assert await heard(quiet, "mine")
    assert len([t for t in await texts(rig, loud) if "xxx" in t]) == 100
    rig.say(quiet, "mine again", "log")
    await eventually(partial(heard, quiet, "mine again"))
    assert [("again" in t) for t in await texts(rig, quiet) if "mine" in t] == [False, True]
    assert (rig.root / loud.name / "engine.log").stat().st_size < 3 * lines.KEPT * 300


async def is_ready(rig: StreamsRig, key: str) -> bool:
    return bool((await rig.seen(rig.spec(key, "puppet"))).ready)


async def test_output_and_crashes_of_a_host_are_kept_small_too(streams_rig: StreamsRig):
    rig = streams_rig
    execution = await rig.executor.start(rig.spec("a", "puppet"), 0)
    folder, _ = rig.host_of(execution)
    growth = logfile.Growth(limit=1000)
    for name in ("output.log", "errors.log"):
        (folder / name).write_bytes(b"x\n" * 2000)
    await cut(rig, growth)
    assert [(folder / n).stat().st_size for n in ("output.log", "errors.log")] == [0, 0]


@pytest.mark.parametrize(
    "raw",
    [
        b'{"level":"info","msg":"\\"stream\\":\\"a\\""}',
        b'{"level":"info","msg":"\\"stream\\":\\"a\\"","stream":"b"}',
        b'{"level":"info","x":{"stream":"a"},"stream":"b"}',
        b'"stream":"a"',
        b'["stream":"a"]',
        b"[" * 100_000 + b'"stream":"a"',
        b'{"stream":"a\xff"}',
    ],
)
def test_a_line_that_merely_holds_a_streams_name_is_not_its(raw):
    assert lines.read(raw, "a") is None


def test_a_line_is_its_whose_field_says_so():
    line = lines.read(b'{"level":"info","msg":"\\"stream\\":\\"b\\"","stream":"a"}', "a")
    assert line is not None
    assert line.stream == "log"


def test_a_flood_of_output_leaves_half_of_a_tail_to_the_log():
    logged = [LogLine(str(n), "log") for n in range(10)]
    out = [LogLine(str(n), "output") for n in range(1000)]
    both = lines.together(logged, out, 100)
    assert len(both) == 100
    assert [line for line in both if line.stream == "log"] == logged
    assert lines.together(logged, [], 4) == logged[-4:]
    assert lines.together([], out, 4) == out[-4:]
    assert lines.together(logged, out, 0) == []
