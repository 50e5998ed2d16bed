"""A shared engine under a real controller: what would break it costs nobody anything, never do two run."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from nexthos_shared.reasons import Reason
from nexthos_testing.controller import ControllerProcess, controller_process
from nexthos_testing.field import Field, field_of
from nexthos_testing.nats import NatsServer
from nexthos_testing.process_rig import pids_below
from nexthos_testing.wait import eventually

BEAT = """\
input: {generate: {interval: 100ms, mapping: 'root = "hi"'}}
pipeline: {processors: [%s]}
output: {drop: {}}
"""


@pytest.fixture
async def controller(
    nats_server: NatsServer, namespace: str, tmp_path: Path
) -> AsyncIterator[ControllerProcess]:
    settings = tmp_path / "settings.yaml"
    settings.write_text("executor: streams\nexecutors: {streams: {}}\n")
    started = controller_process(
        nats_server.url, namespace, tmp_path / "state", NEXTHOS_CONFIG=str(settings)
    )
    async with started as controller:
        yield controller


@pytest.fixture
async def field(controller: ControllerProcess) -> AsyncIterator[Field]:
    async with field_of(controller.url, controller.namespace) as field:
        await field.echo("good")
        await field.put("good")
        await field.reaches("good", "Running")
        yield field


@pytest.mark.fault(106)
async def test_metrics_that_would_break_their_host_break_nothing(field: Field) -> None:
    before = (await field.reaches("good", "Running")).executions[0].uid
    await field.config("bad", BEAT % "{metric: {type: counter, name: a, labels: {path: x}}}")
    await field.put("bad")
    complaint = (await field.complains("bad", Reason.CANNOT_RUN_HERE)).complaint
    assert complaint is not None
    assert complaint.line == 2
    for key, kind in (("counter", "counter"), ("gauge", "gauge"), ("labelled", "counter")):
        labels = "{x: y}" if key == "labelled" else "{}"
        processor = "{metric: {type: %s, name: mine, value: '1', labels: %s}}" % (kind, labels)  # noqa: UP031
        await field.config(key, BEAT % processor)
        await field.put(key)
    for key in ("counter", "gauge", "labelled"):
        await field.reaches(key, "Running")
    for key in ("bad", "counter", "gauge", "labelled"):
        await field.delete(key)
        await eventually(partial(_is_gone, field, key))
    assert (await field.reaches("good", "Running")).executions[0].uid == before
    assert await field.says("good") == "v1 hello"


@pytest.mark.fault(109)
@pytest.mark.timeout(120)
async def test_a_state_folder_that_is_deleted_while_no_controller_runs_has_nothing_run_twice(
    field: Field, controller: ControllerProcess
) -> None:
    before = set(pids_below(controller.state_dir))
    await controller.kill()
    shutil.rmtree(controller.state_dir)
    await controller.start()
    answers = sent = 0
    led = {str(pid) for pid in before}

    async def noted(_: object) -> None:
        nonlocal answers
        answers += 1

    await field.nc.subscribe(field.outlet("good"), cb=noted)

    async def back() -> bool:
        nonlocal sent
        await field.nc.publish(field.inlet("good"), b"x")
        sent += 1
        await asyncio.sleep(0.1)
        assert answers <= sent, "two answer"
        status = await field.status("good")
        if status is None or status.phase != "Running" or not status.executions:
            return False
        return status.executions[0].uid.partition("-")[0] not in led

    await eventually(back, within=60)
    await eventually(lambda: not (before & set(pids_below(controller.state_dir))))
    assert await field.says("good") == "v1 hello"
    await field.delete("good")
    await eventually(partial(_is_gone, field, "good"))
    assert await field.is_silent("good")


@pytest.mark.fault(109)
async def test_a_state_folder_that_is_deleted_under_a_controller_changes_nothing(
    field: Field, controller: ControllerProcess
) -> None:
    before = (await field.reaches("good", "Running")).executions[0].uid
    shutil.rmtree(controller.state_dir)
    await field.request("reconcile", id="good")
    assert (await field.reaches("good", "Running")).executions[0].uid == before
    await field.put("good", "paused")
    await field.reaches("good", "Paused")
    assert await field.is_silent("good")
    await field.put("good")
    await field.reaches("good", "Running")
    assert await field.says("good") == "v1 hello"


async def _is_gone(field: Field, key: str) -> bool:
    return await field.status(key) is None
