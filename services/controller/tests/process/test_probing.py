"""Readiness of real processes: whose port it is, slow starts, causes of an end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket

import pytest

from nexthos_controller.executors.process import executor
from nexthos_controller.executors.shared import ports
from nexthos_controller.executors.shared.probe import FIRST_PAUSE, LAST_PAUSE, _pause
from nexthos_shared.reasons import Reason
from nexthos_testing.process_rig import ProcessRig
from nexthos_testing.rig import SECRET
from nexthos_testing.wait import eventually


async def ready(rig, spec):
    seen = await rig.seen(spec)
    return seen if seen.ready else None


async def unready(rig, spec):
    seen = await rig.seen(spec)
    return seen if seen.ready is False else None


async def ended(rig, spec):
    seen = await rig.seen(spec)
    return seen if seen.state == "stopped" else None


async def _hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # a probe that was called off; Python 3.11 leaves the socket open after an exception here
    finally:
        writer.close()


@pytest.mark.fault(57)
@pytest.mark.parametrize("behaviour", ["steady", "puppet"])
async def test_a_stranger_that_answers_behind_the_port_is_told_from_ours(
    process_rig: ProcessRig, monkeypatch, behaviour
):
    """Row 57: the engine only logs that it could not bind, and the stranger says 200 to all."""
    rig = process_rig
    stranger = await asyncio.start_server(_hello, "127.0.0.1", 0)
    port = stranger.sockets[0].getsockname()[1]
    monkeypatch.setattr(executor, "free_port", lambda taken: port)
    spec = rig.spec("orders", behaviour)
    async with stranger:
        execution = await rig.executor.start(spec, 0)
        seen = await eventually(lambda: unready(rig, spec))
        assert seen.problem.reason is Reason.PORT_IN_USE
        assert str(port) in seen.problem.message
        assert await rig.executor.metrics(execution) == ""
        assert await rig.executor.stop(execution, 10.0) == "drained"
    monkeypatch.undo()
    again = await rig.executor.start(spec, 0)
    assert again.endpoint != execution.endpoint
    await eventually(lambda: ready(rig, spec))


@pytest.mark.fault(57)
@pytest.mark.parametrize("behaviour", ["steady", "puppet"])
async def test_a_mute_stranger_behind_the_port_is_found_in_the_log(
    process_rig: ProcessRig, monkeypatch, behaviour
):
    rig = process_rig
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        monkeypatch.setattr(executor, "free_port", lambda taken: mute.getsockname()[1])
        spec = rig.spec("orders", behaviour)
        await rig.executor.start(spec, 0)
        seen = await eventually(lambda: unready(rig, spec))
        assert seen.problem.reason is Reason.PORT_IN_USE


def test_a_port_of_ours_is_not_given_again():
    class AllButOne:
        """Says that the first port it is asked for is taken."""

        asked: list[int]

        def __init__(self):
            self.asked = []

        def __contains__(self, port):
            self.asked.append(port)
            return len(self.asked) == 1

    taken = AllButOne()
    assert ports.free_port(taken) == taken.asked[1] != taken.asked[0]


@pytest.mark.fault(43)
async def test_a_slow_start_is_not_known_and_no_crash(process_rig: ProcessRig):
    """Row 43, and Execution.ready: None before the first answer."""
    rig = process_rig
    spec = rig.spec("orders", "puppet", config={"http": False})
    execution = await rig.executor.start(spec, 0)
    await eventually(lambda: len(rig.pids(execution.name)) == 2)
    for _ in range(20):
        seen = await rig.seen(spec)
        assert (seen.state, seen.ready, seen.problem) == ("running", None, None)
        await asyncio.sleep(0.01)


@pytest.mark.fault(42, 76)
async def test_disconnected_says_so_and_runs_on(process_rig: ProcessRig):
    """Rows 42 and 76."""
    rig = process_rig
    spec = rig.spec("orders", "disconnected")
    await rig.executor.start(spec, 0)
    seen = await eventually(lambda: unready(rig, spec))
    assert seen.problem.reason is Reason.NOT_CONNECTED


async def test_a_frozen_engine_is_not_known_to_be_ready(process_rig: ProcessRig, monkeypatch):
    rig = process_rig
    spec = rig.spec("orders", "puppet")
    execution = await rig.executor.start(spec, 0)
    await eventually(lambda: ready(rig, spec))
    for pid in rig.pids(execution.name):
        os.kill(pid, signal.SIGSTOP)

    async def unknown():
        return (await rig.seen(spec)).ready is None

    await eventually(unknown, within=20.0)
    assert await rig.executor.stop(execution, 0.1) == "killed"


@pytest.mark.parametrize(
    ("config", "reason", "words"),
    [
        ({"exit": 1, "log": [["error", "first"], ["error", "last"]]}, Reason.EXITED, "last"),
        ({"exit": 1}, Reason.EXITED, "exit code 1"),
        ({"exit": 139}, Reason.EXITED, "signal 11"),
        (b"input: {generate: {bogus: 1}}\n", Reason.LINT_FAILED, "bogus"),
        (b"input: {nope: {}}\n", Reason.COMPONENT_MISSING, "nope"),
        (b"input: {generate: {mapping: '${NOPE}'}}\n", Reason.VARIABLE_MISSING, "NOPE"),
    ],
)
async def test_the_cause_of_an_end_is_the_last_error_of_that_life(
    process_rig: ProcessRig, config, reason, words
):
    rig = process_rig
    spec = rig.spec("orders", "puppet", config=config)
    await rig.executor.start(spec, 0)
    seen = await eventually(lambda: ended(rig, spec))
    assert (seen.exit.problem.reason, seen.exit.signalled) == (reason, False)
    assert words in seen.exit.problem.message


async def test_an_error_of_an_earlier_life_is_no_cause(process_rig: ProcessRig):
    rig = process_rig
    spec = rig.spec("orders", "puppet")
    execution = await rig.executor.start(spec, 0)
    await eventually(lambda: ready(rig, spec))
    await rig.executor.stop(execution, 5.0)
    with (rig.root / execution.name / "engine.log").open("a") as log:
        log.write('{"level":"error","msg":"long ago","pipeline":"orders"}\n')
    execution = await rig.executor.start(spec, 0)
    await eventually(lambda: ready(rig, spec))
    rig.finish(execution, 3)
    seen = await eventually(lambda: ended(rig, spec))
    assert "long ago" not in seen.exit.problem.message


async def test_a_value_in_the_last_error_is_not_shown(process_rig: ProcessRig):
    rig = process_rig
    config = {"exit": 1, "log": [["error", f"bad password {SECRET}"]]}
    spec = rig.spec("orders", "puppet", config=config, env={"PASSWORD": SECRET})
    await rig.executor.start(spec, 0)
    seen = await eventually(lambda: ended(rig, spec))
    assert "bad password" in seen.exit.problem.message
    assert SECRET not in repr(seen)
    await rig.reopen()
    assert SECRET not in repr(await rig.seen(spec))


def test_the_pause_grows_with_the_time_since_the_last_change():
    assert _pause(0.0, None) == FIRST_PAUSE
    assert _pause(1.0, False) == pytest.approx(0.05)
    assert _pause(10_000.0, False) == LAST_PAUSE
    assert 0.8 * LAST_PAUSE < _pause(0.0, True) < 1.2 * LAST_PAUSE
