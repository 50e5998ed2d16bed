"""Hosts: how streams are spread over them, and what happens when one dies, hangs or refuses."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from functools import partial

import pytest

from nexthos_controller.execution import Execution, Exit, Spec
from nexthos_controller.executors.shared import ports
from nexthos_controller.executors.streams import hosts
from nexthos_shared.errors import (
    CannotRunHere,
    ExecutorUnreachable,
    StartFailed,
    StillRunning,
    TerminalError,
)
from nexthos_shared.reasons import Reason
from nexthos_testing.rig import STEADY
from nexthos_testing.streams_rig import StreamsRig
from nexthos_testing.wait import eventually

MAPPING = b"pipeline: {processors: [{mapping: 'root = %s'}]}\n"
PANIC = b"""\
input: {generate: {interval: 300ms, mapping: 'root = "hi"'}}
pipeline: {processors: [{mapping: 'root = "x".repeat(9223372036854775807)'}]}
output: {drop: {}}
"""


@pytest.fixture
async def small(streams_rig: StreamsRig) -> StreamsRig:
    """Three streams in a host at most, and a host without any is ended soon."""
    streams_rig.options = {"cap": 3, "idle": 0.5}
    await streams_rig.reopen()
    return streams_rig


def specs_of(rig: StreamsRig, count: int) -> list[Spec]:
    return [rig.spec(f"p{n}") for n in range(count)]


async def start_all(rig: StreamsRig, specs: list[Spec]) -> list[Execution]:
    return list(await asyncio.gather(*(rig.executor.start(s, 0) for s in specs)))


def exit_of(execution: Execution) -> Exit:
    assert execution.exit is not None
    return execution.exit


def reason_of(execution: Execution) -> Reason | None:
    problem = exit_of(execution).problem
    return problem.reason if problem is not None else None


def said_of(execution: Execution) -> str:
    """Why it ended, in words."""
    problem = exit_of(execution).problem
    return problem.message if problem is not None else ""


async def insist(rig: StreamsRig, specs: list[Spec]) -> list[Execution]:
    """As a controller does, that tries again what a host's death cut short."""

    async def one(spec: Spec) -> Execution:
        while True:
            try:
                return await rig.executor.start(spec, 0)
            except StartFailed:
                await asyncio.sleep(0.01)

    return list(await asyncio.gather(*(one(s) for s in specs)))


def spread(rig: StreamsRig) -> list[int]:
    """How many streams each host has, the fullest first."""
    homes = Counter(number for numbers in rig.streams().values() for number in numbers)
    return sorted(homes.values(), reverse=True)


async def uids(rig: StreamsRig) -> dict[str, str]:
    listed = (await rig.executor.list()).executions
    return {e.id: e.uid for e in listed if e.state == "running"}


async def has_ended(rig: StreamsRig, spec: Spec) -> Execution | None:
    seen = await rig.seen(spec)
    return seen if seen.state == "stopped" else None


async def is_ready(rig: StreamsRig, spec: Spec) -> Execution | None:
    seen = await rig.seen(spec)
    return seen if seen.ready else None


# ---- spread


async def test_a_host_has_its_cap_and_the_emptiest_gets_the_next(small: StreamsRig):
    executions = await start_all(small, specs_of(small, 7))
    assert spread(small) == [3, 3, 1]
    home = small.host_of(executions[0])[1]["number"]
    for execution in executions:
        if small.streams()[execution.name] == [home]:
            await small.executor.stop(execution, 5.0)
    await start_all(small, [small.spec("another"), small.spec("one-more")])
    assert max(spread(small)) <= 3
    assert sum(spread(small)) == 6


async def test_a_host_without_streams_is_ended_and_leaves_nothing(small: StreamsRig):
    [execution] = await start_all(small, specs_of(small, 1))
    await eventually(partial(is_ready, small, specs_of(small, 1)[0]))
    assert await small.executor.stop(execution, 5.0) == "drained"
    await eventually(lambda: not small.hosts(), within=15)
    await eventually(lambda: not list(small.hosts_root.iterdir()))
    assert (await small.executor.start(specs_of(small, 1)[0], 0)).uid != execution.uid


async def test_a_worn_out_host_gets_no_more(small: StreamsRig, monkeypatch):
    monkeypatch.setattr(hosts, "WORN_OUT", 1)
    numbers = []
    for n in range(4):
        execution = await small.executor.start(small.spec(f"p{n}"), 0)
        numbers.append(small.host_of(execution)[1]["pid"])
        if n:
            await small.executor.stop(execution, 5.0)
    assert len(set(numbers[:3])) == 1
    assert numbers[3] != numbers[0]


async def test_another_engine_is_another_host(streams_rig: StreamsRig):
    rig = streams_rig
    await start_all(rig, [rig.spec("a"), rig.spec("b", "puppet"), rig.spec("c")])
    assert spread(rig) == [2, 1]


# ---- a controller that ends


@pytest.mark.fault(2)
async def test_a_restart_of_the_controller_touches_no_stream(small: StreamsRig):
    await start_all(small, specs_of(small, 7))
    before = await uids(small), small.streams(), {h["pid"] for h in small.hosts().values()}
    for _ in range(2):
        await small.reopen()
        after = await uids(small), small.streams(), {h["pid"] for h in small.hosts().values()}
        assert after == before


# ---- a host that dies


@pytest.mark.fault(69)
async def test_a_host_that_is_killed_ends_its_streams_and_no_others(small: StreamsRig):
    """Each that ended is told at once, and not as its own crash; all run again apart from the others."""
    specs = specs_of(small, 6)
    executions = await start_all(small, specs)
    before = await uids(small)
    number = small.streams()[executions[0].name]
    hit = {e.id for e in executions if small.streams()[e.name] == number}
    assert len(hit) == 3
    small.kill(executions[0])
    for spec in specs:
        if spec.id in hit:
            seen = await eventually(partial(has_ended, small, spec))
            assert (exit_of(seen).code, exit_of(seen).signalled) == (None, True)
    again = await start_all(small, specs)
    after = await uids(small)
    assert {i for i in after if after[i] != before[i]} == hit
    assert [small.alive(e.name) for e in again] == [1] * 6
    for spec in specs:
        await eventually(partial(is_ready, small, spec))


@pytest.mark.fault(69)
async def test_a_stream_that_panics_is_alone_after_two_deaths(streams_rig: StreamsRig):
    """A real panic of a real engine. Its neighbours end twice at most, and then never again."""
    rig = streams_rig
    specs, bad = specs_of(rig, 5), rig.spec("bad", config=PANIC)
    lives: dict[str, set[str]] = {s.id: set() for s in specs}
    for _ in range(4):
        for execution in await insist(rig, specs):
            lives[execution.id].add(execution.uid)
        await insist(rig, [bad])
        ended = await eventually(partial(has_ended, rig, bad))
        if not exit_of(ended).signalled:
            break
    assert reason_of(ended) is Reason.EXITED
    assert "panic: runtime error" in said_of(ended)
    calm = await insist(rig, specs)
    assert all(len(seen | {e.uid}) <= 3 for seen, e in zip(lives.values(), calm, strict=True))
    for _ in range(2):
        await rig.executor.start(bad, 0)
        ended = await eventually(partial(has_ended, rig, bad))
        assert (exit_of(ended).code, exit_of(ended).signalled) == (2, False)
    assert {e.id: e.uid for e in calm} == await uids(rig)


async def test_a_host_that_is_asked_to_end_is_nobodys_crash(small: StreamsRig):
    specs = specs_of(small, 3)
    [first, *_] = await start_all(small, specs)
    await eventually(partial(is_ready, small, specs[0]))
    small.signal(first)
    for spec in specs:
        seen = await eventually(partial(has_ended, small, spec))
        assert (exit_of(seen).code, exit_of(seen).signalled) == (0, True)
    await start_all(small, specs)
    assert spread(small) == [3]


@pytest.mark.fault(80)
async def test_a_host_that_died_while_no_controller_lived_is_judged(small: StreamsRig):
    specs = specs_of(small, 3)
    [first, *_] = await start_all(small, specs)
    await small.close()
    small.kill(first)
    await eventually(lambda: not small.hosts())
    await small.open()
    for spec in specs:
        seen = await small.seen(spec)
        assert (seen.state, exit_of(seen).signalled) == ("stopped", True)
    assert list(small.hosts_root.iterdir()) == []


# ---- a host that hangs


@pytest.mark.fault(77)
async def test_a_silent_host_makes_its_own_streams_unknown_and_no_others(small: StreamsRig):
    specs = specs_of(small, 6)
    executions = await start_all(small, specs)
    before = await uids(small)
    pid = small.host_of(executions[0])[1]["pid"]
    mine = [s for s, e in zip(specs, executions, strict=True) if small.host_of(e)[1]["pid"] == pid]
    others = [s for s in specs if s not in mine]

    async def unknown():
        try:
            await small.executor.find(mine[0].id)
        except ExecutorUnreachable:
            return True
        return False

    os.killpg(pid, signal.SIGSTOP)
    try:
        await eventually(unknown, within=20)
        for spec in mine:
            with pytest.raises(ExecutorUnreachable):
                await small.executor.find(spec.id)
        for spec in others:
            listing = await small.executor.find(spec.id)
            assert [e.state for e in listing.executions] == ["running"]
            assert listing.places
        listing = await small.executor.list()
        assert {e.id for e in listing.executions} == {s.id for s in others}
        assert listing.places == frozenset()
        fresh = await small.executor.start(small.spec("fresh"), 0)
        assert small.host_of(fresh)[1]["pid"] != pid
    finally:
        os.killpg(pid, signal.SIGCONT)

    async def known():
        return not await unknown()

    await eventually(known)
    after = await uids(small)
    assert {i: after[i] for i in before} == before


@pytest.mark.fault(57)
async def test_a_port_that_is_taken_is_temporary(streams_rig: StreamsRig, monkeypatch):
    rig = streams_rig
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    taken = server.sockets[0].getsockname()[1]
    with monkeypatch.context() as patch:
        patch.setattr(hosts, "free_port", lambda _: taken)
        with pytest.raises(StartFailed):
            await rig.executor.start(rig.spec(), 0)
    assert not rig.hosts()
    assert (await rig.executor.start(rig.spec(), 0)).state == "running"
    assert ports.free_port(set()) != taken
    server.close()


# ---- streams that end, hang, or are refused


async def test_a_finite_input_ends_with_0_and_leaves_its_host(streams_rig: StreamsRig):
    rig = streams_rig
    config = STEADY.replace(b"{interval: 10ms", b"{count: 3, interval: 10ms")
    spec = rig.spec("job", config=config, lifecycle="job")
    await rig.executor.start(rig.spec("other"), 0)
    execution = await rig.executor.start(spec, 0)
    seen = await eventually(partial(has_ended, rig, spec))
    assert (exit_of(seen).code, exit_of(seen).signalled, exit_of(seen).problem) == (0, False, None)
    assert "output_sent" in await rig.executor.metrics(seen)
    await eventually(lambda: rig.traces(execution.name) == [str(rig.root / execution.name)])
    again = await rig.executor.start(spec, 0)
    assert again.uid != execution.uid


@pytest.mark.parametrize(
    ("config", "reason", "words"),
    [
        (STEADY + b"pipeline: {bogus: 1}\n", Reason.EXITED, "field bogus not recognised"),
        (STEADY.replace(b"drop", b"kafka_franz"), Reason.COMPONENT_MISSING, "kafka_franz"),
        (b"input: [\n", Reason.EXITED, "yaml"),
    ],
)
@pytest.mark.fault(48)
async def test_what_the_engine_refuses_has_ended_at_once_with_1(
    streams_rig: StreamsRig, config, reason, words
):
    rig = streams_rig
    execution = await rig.executor.start(rig.spec("bad", config=config), 0)
    assert (execution.state, exit_of(execution).code, exit_of(execution).signalled) == (
        "stopped",
        1,
        False,
    )
    assert reason_of(execution) is reason
    assert words in said_of(execution)
    assert rig.streams() == {}


async def test_what_can_not_be_built_is_alone_the_second_time(streams_rig: StreamsRig):
    """What was built of it runs on in its host: so its host gets no more, and the next dies with it."""
    rig = streams_rig
    config = STEADY + b"pipeline: {processors: [{resource: nowhere}]}\n"
    good = await rig.executor.start(rig.spec("good"), 0)
    spec = rig.spec("bad", config=config)
    for _ in range(2):
        seen = await rig.executor.start(spec, 0)
        assert (exit_of(seen).code, exit_of(seen).signalled) == (1, False)
        assert "'nowhere' was not found" in said_of(seen)
        assert rig.alive(good.name) == 1
    assert len(rig.hosts()) == 1
    another = await rig.executor.start(rig.spec("another"), 0)
    assert rig.host_of(another)[1]["pid"] != rig.host_of(good)[1]["pid"]


@pytest.mark.parametrize(
    ("config", "reason", "field"),
    [
        (b"cache_resources: [{label: c, memory: {}}]\n", Reason.CANNOT_RUN_HERE, "cache_resources"),
        (b"tracer: {jaeger: {}}\n", Reason.CANNOT_RUN_HERE, "tracer"),
        (b"error_handling: {strategy: reject}\n", Reason.CANNOT_RUN_HERE, "error_handling"),
        (MAPPING % b'env("NATS_URL")', Reason.CANNOT_RUN_HERE, None),
        (MAPPING % b'"${NOWHERE}"', Reason.VARIABLE_MISSING, "env.NOWHERE"),
    ],
)
async def test_what_is_refused_beforehand_is_what_preparing_and_starting_raise(
    streams_rig: StreamsRig, config: bytes, reason: Reason, field: str | None
):
    rig = streams_rig
    spec = rig.spec("bad", config=STEADY + config)
    [refusal] = await rig.executor.refusals(spec, STEADY + config)
    assert (refusal.reason, refusal.field) == (reason, field)
    assert list(rig.root.iterdir()) == []
    assert rig.hosts() == {}
    for call in (rig.executor.prepare, rig.executor.start):
        with pytest.raises(TerminalError) as raised:
            await call(spec, 0)
        assert raised.value.problem == refusal


async def test_what_the_environment_provides_is_not_refused_and_can_be_prepared(
    streams_rig: StreamsRig,
):
    config = STEADY + MAPPING % b'"${NATS_URL}${REGION}"'
    spec = streams_rig.spec("good", config=config, env={"REGION": "eu"})
    assert await streams_rig.executor.refusals(spec, config) == []
    await streams_rig.executor.prepare(spec, 0)


async def test_a_connection_that_the_settings_have_not_is_no_fault_of_the_bytes(
    streams_rig: StreamsRig,
):
    spec = streams_rig.spec("orders", connection="nobody")
    assert await streams_rig.executor.refusals(spec, STEADY) == []


async def test_what_can_not_share_an_engine_is_refused_before_anything_is_stopped(
    streams_rig: StreamsRig,
):
    rig = streams_rig
    spec = rig.spec("bad", config=STEADY + b"cache_resources: [{label: c, memory: {}}]\n")
    for call in (rig.executor.prepare, rig.executor.start):
        with pytest.raises(CannotRunHere) as raised:
            await call(spec, 0)
        assert raised.value.problem.line == 3
    assert list(rig.root.iterdir()) == []


async def test_a_stream_that_does_not_end_costs_its_neighbours_nothing(streams_rig: StreamsRig):
    rig = streams_rig
    stuck, other = rig.spec("stuck", "stubborn"), rig.spec("other", "puppet")
    executions = await start_all(rig, [stuck, other])
    rig.order(executions[0], "immortal 1")
    await eventually(partial(is_ready, rig, stuck))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nexthos_controller.executors.streams.endings.KILL_WITHIN", 0.2)
        with pytest.raises(StillRunning, match="killed when no other lives in it"):
            await rig.executor.stop(executions[0], 0.1)
        assert (await rig.seen(stuck)).state == "running"
        assert rig.alive(executions[1].name) == 1
        newcomer = await rig.executor.start(rig.spec("new", "puppet"), 0)
        assert rig.host_of(newcomer)[1]["pid"] != rig.host_of(executions[1])[1]["pid"]
        assert await rig.executor.stop(executions[1], 5.0) == "drained"
        assert await rig.executor.stop(executions[0], 0.1) == "killed"
    seen = await rig.seen(stuck)
    assert (seen.state, exit_of(seen).signalled) == ("stopped", True)
    assert rig.alive(executions[0].name) == 0


async def test_a_stream_that_was_deleted_by_hand_has_ended(streams_rig: StreamsRig):
    rig = streams_rig
    spec = rig.spec()
    execution = await rig.executor.start(spec, 0)
    await eventually(partial(is_ready, rig, spec))
    rig.ask(rig.host_of(execution)[1], f"/streams/{execution.name}", "DELETE")
    seen = await eventually(partial(has_ended, rig, spec))
    assert (exit_of(seen).code, reason_of(seen)) == (None, Reason.KILLED)
