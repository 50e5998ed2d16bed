"""A host whose API hangs: killed after a bounded time, its streams elsewhere, the culprit set apart."""

from __future__ import annotations

import base64
import os
import signal
import time
import urllib.request
from contextlib import suppress
from functools import partial
from http.client import HTTPException
from typing import Any

import pytest

from nexthos_controller.execution import Execution, Spec
from nexthos_controller.executors.local.processes import process
from nexthos_controller.executors.streams import body, watch
from nexthos_controller.executors.streams.api import USER
from nexthos_shared.errors import ExecutorUnreachable, StartFailed
from nexthos_shared.reasons import Reason
from nexthos_testing.rig import STEADY
from nexthos_testing.streams_rig import StreamsRig
from nexthos_testing.wait import eventually

CULPRIT = (
    STEADY + b"pipeline: {processors: [{metric: {type: counter, name: a, labels: {path: x}}}]}\n"
)
FRESH = STEADY + b"pipeline: {processors: [{metric: {type: counter, name: fresh}}]}\n"
WITHIN = 30.0  # seconds from a host's last word to its streams' running elsewhere


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known to break a host is not refused beforehand, as what is not known yet."""
    monkeypatch.setattr(body, "shared_of", lambda *_: {})


def post(host: dict[str, Any], name: str, config: bytes) -> None:
    """Create a stream by hand, whatever becomes of it."""
    url = f"http://127.0.0.1:{host['port']}{host['token']}/streams/{name}"
    basic = base64.b64encode(f"{USER}:{host['password']}".encode()).decode()
    asked = urllib.request.Request(url, config, {"Authorization": f"Basic {basic}"}, method="POST")
    with suppress(OSError, HTTPException):
        urllib.request.urlopen(asked, timeout=2).close()


def is_gone(host: dict[str, Any]) -> bool:
    left = process(host["pid"])
    return left is None or left.dead or left.ticks != host["ticks"]


async def stopped(rig: StreamsRig, spec: Spec) -> Execution | None:
    try:
        seen = await rig.seen(spec)
    except ExecutorUnreachable:
        return None
    return seen if seen.state == "stopped" else None


async def start_again(rig: StreamsRig, spec: Spec) -> Execution | None:
    """As a controller does, once it knows that an execution has ended."""
    seen = await stopped(rig, spec)
    return await rig.executor.start(spec, 0) if seen is not None else None


@pytest.mark.fault(106)
@pytest.mark.usefixtures("unchecked")
async def test_a_creation_that_is_broken_off_has_ended_and_its_host_gets_no_more(
    streams_rig: StreamsRig,
):
    rig = streams_rig
    good = [rig.spec(f"good{n}") for n in range(3)]
    first = [await rig.executor.start(s, 0) for s in good]
    bad = rig.spec("bad", config=CULPRIT)
    for _ in range(2):
        seen = await rig.executor.start(bad, 0)
        assert seen.exit is not None
        assert (seen.state, seen.exit.code, seen.exit.signalled) == ("stopped", 1, False)
        assert seen.exit.problem is not None
        assert seen.exit.problem.reason is Reason.EXITED
        assert "duplicate label names" in seen.exit.problem.message
    another = await rig.executor.start(rig.spec("another"), 0)
    assert rig.host_of(another)[0] != rig.host_of(first[0])[0]
    assert [(await rig.seen(s)).uid for s in good] == [e.uid for e in first]
    assert await rig.executor.stop(first[0], 5.0) == "drained"
    await rig.executor.remove(await rig.seen(good[0]))


@pytest.mark.fault(105)
async def test_a_host_that_hangs_over_a_creation_is_replaced_and_that_stream_alone_is_apart(
    streams_rig: StreamsRig,
):
    rig = streams_rig
    good = [rig.spec(f"good{n}") for n in range(3)]
    first = [await rig.executor.start(s, 0) for s in good]
    _, host = rig.host_of(first[0])
    began = time.monotonic()
    post(host, "culprit", CULPRIT)  # it holds a lock now: for it, whatever brings a new name hangs
    spec = rig.spec("last", config=FRESH)
    with suppress(
        StartFailed
    ):  # its host is killed at about the time when it is waited for no more
        await rig.executor.start(spec, 0)
    again = [await eventually(partial(start_again, rig, s), within=WITHIN) for s in good]
    assert time.monotonic() - began < WITHIN
    assert is_gone(host)
    assert all(e.uid != before.uid for e, before in zip(again, first, strict=True))
    assert {rig.alive(e.name) for e in again} == {1}
    assert len({rig.host_of(e)[0] for e in again}) == 1, "the innocent are no suspects"
    seen = await rig.seen(spec)
    assert seen.exit is not None
    assert not seen.exit.signalled, "its own crash, as far as is known"
    last = await rig.executor.start(spec, 0)
    assert rig.host_of(last)[0] != rig.host_of(again[0])[0]


@pytest.mark.fault(105)
async def test_a_frozen_host_is_killed_before_its_streams_start_elsewhere(
    streams_rig: StreamsRig, monkeypatch
):
    rig = streams_rig
    monkeypatch.setattr(watch, "DEAD_AFTER", 4.0)
    specs = [rig.spec(f"p{n}") for n in range(4)]
    first = [await rig.executor.start(s, 0) for s in specs]
    _, host = rig.host_of(first[0])
    os.killpg(host["pid"], signal.SIGSTOP)
    again = [await eventually(partial(start_again, rig, s), within=WITHIN) for s in specs]
    assert is_gone(host)
    assert {rig.alive(e.name) for e in again} == {1}
    assert len({rig.host_of(e)[0] for e in again}) == 2, "in halves, as after any kill"
    seen = await rig.seen(specs[0])
    assert seen.exit is None


@pytest.mark.fault(105)
async def test_a_host_that_is_frozen_for_a_moment_is_left_alone(streams_rig: StreamsRig):
    rig = streams_rig
    spec = rig.spec()
    execution = await rig.executor.start(spec, 0)
    _, host = rig.host_of(execution)
    os.killpg(host["pid"], signal.SIGSTOP)

    async def unknown() -> bool:
        try:
            await rig.executor.find(spec.id)
        except ExecutorUnreachable:
            return True
        return False

    async def known() -> bool:
        return not await unknown()

    await eventually(unknown)
    os.killpg(host["pid"], signal.SIGCONT)
    await eventually(known)
    assert (await rig.seen(spec)).uid == execution.uid
