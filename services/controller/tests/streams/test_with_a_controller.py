"""Under a real controller: a stream that panics loops alone, a host that is killed costs nobody a crash."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nexthos_shared.reasons import Reason
from nexthos_testing.controller import ControllerProcess
from nexthos_testing.field import Field, field_of
from nexthos_testing.nats import NatsServer
from nexthos_testing.process_rig import pids_below

PANIC = """\
input: {generate: {interval: 500ms, mapping: 'root = "hi"'}}
pipeline: {processors: [{mapping: 'root = "x".repeat(9223372036854775807)'}]}
output: {drop: {}}
"""
GOOD = [f"good-{n}" for n in range(5)]


@pytest.fixture
async def controller(
    nats_server: NatsServer, namespace: str, tmp_path: Path
) -> AsyncIterator[ControllerProcess]:
    settings = tmp_path / "settings.yaml"
    settings.write_text("executor: streams\nexecutors: {process: {}, streams: {cap: 100}}\n")
    given = {"NEXTHOS_CONFIG": str(settings)}
    controller = ControllerProcess(nats_server.url, namespace, tmp_path / "state", given)
    await controller.start()
    try:
        yield controller
    finally:
        if controller.running:
            await controller.terminate()
        for pid in pids_below(tmp_path / "state"):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
async def field(controller: ControllerProcess) -> AsyncIterator[Field]:
    async with field_of(controller.url, controller.namespace) as field:
        for key in GOOD:
            await field.echo(key)
            await field.put(key)
        for key in GOOD:
            await field.reaches(key, "Running")
            assert await field.says(key) == "v1 hello"
        yield field


def hosts_of(controller: ControllerProcess) -> list[int]:
    """PIDs of what leads each host."""
    found = (controller.state_dir / "hosts").glob("*/host.json")
    return [json.loads(file.read_bytes())["pid"] for file in found]


async def lives(field: Field) -> dict[str, tuple[str, int]]:
    """Uid and counted restarts of each good one."""
    found = {}
    for key in GOOD:
        status = await field.reaches(key, "Running")
        [one] = status.executions
        found[key] = (one.uid, status.restarts)
    return found


@pytest.mark.fault(69)
async def test_a_host_that_is_killed_is_nobodys_crash_and_all_run_again(controller, field):
    before = await lives(field)
    [host] = hosts_of(controller)
    os.killpg(host, signal.SIGKILL)
    for key in GOOD:
        assert await field.says(key) == "v1 hello"
    after = await lives(field)
    assert all(after[key][0] != before[key][0] for key in GOOD)
    assert [restarts for _, restarts in after.values()] == [0] * len(GOOD)


@pytest.mark.fault(36, 69)
async def test_a_stream_that_panics_again_and_again_loops_alone(controller, field):
    await field.config("bad", PANIC)
    await field.put("bad")
    status = await field.reaches("bad", "CrashLoop", within=60.0)
    assert status.complaint is not None
    assert status.complaint.reason is Reason.CRASH_LOOP
    assert "panic: runtime error" in status.complaint.message
    calm = await lives(field)
    assert [restarts for _, restarts in calm.values()] == [0] * len(GOOD)
    for key in GOOD:
        assert await field.says(key) == "v1 hello"


@pytest.mark.fault(2)
async def test_a_controller_that_is_killed_finds_all_as_they_were(controller, field):
    before = await lives(field)
    await controller.kill()
    await controller.start()
    assert await lives(field) == before
    await field.put(GOOD[0], "paused")
    await field.reaches(GOOD[0], "Paused")
    assert await field.is_silent(GOOD[0])
    await field.put(GOOD[0])
    await field.reaches(GOOD[0], "Running")
    await field.delete(GOOD[1])
    async with asyncio.timeout(10.0):
        while list((controller.state_dir / "streams").glob(f"*{GOOD[1]}*")):
            assert controller.running
            await field.request("reconcile", id=GOOD[1])


async def test_one_manifest_moves_between_process_and_streams(controller, field):
    """The old one is gone before the new one starts; the same messages come out."""
    for executor in ("process", "streams"):
        await field.put(GOOD[0], executor=executor)
        status = await field.reaches(GOOD[0], "Running")
        assert await field.says(GOOD[0]) == "v1 hello"
        assert [e.executor for e in status.executions] == [executor]
