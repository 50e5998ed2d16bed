"""The controller dies, and what runs, ends or changes meanwhile is judged right afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from nexthos_testing.controller import ControllerProcess, engine_processes
from nexthos_testing.field import Field
from nexthos_testing.wait import eventually

JOB = """\
input:
  file: {{paths: ["{gate}"], codec: lines}}
output:
  nats: {{urls: ["${{NATS_URL}}"], subject: {outlet}}}
"""
STUCK = """\
input:
  nats: {{urls: ["${{NATS_URL}}"], subject: {inlet}}}
pipeline:
  processors:
    - nats_request_reply: {{urls: ["${{NATS_URL}}"], subject: {outlet}, timeout: 10m}}
output:
  drop: {{}}
"""


@pytest.mark.fault(2)
async def test_after_kill_9_the_same_processes_run_on_and_changes_made_meanwhile_are_applied(
    field: Field, controller: ControllerProcess
) -> None:
    ids = [f"p{n}" for n in range(20)]
    for key in ids:
        await field.echo(key)
        await field.put(key)
    for key in ids:
        await field.reaches(key, "Running", within=60.0)
    before = set(engine_processes(controller.state_dir))
    assert len(before) == 20
    await controller.kill()
    assert set(engine_processes(controller.state_dir)) == before
    await field.delete("p0")
    await field.put("p1", "paused")
    await field.put("p2", "draft")
    await field.echo("p3", "v2", "2")
    await field.put("p3", version="2")
    await field.echo("new")
    await field.put("new")
    await controller.start()
    await field.reaches("p1", "Paused")
    await field.reaches("p2", "Draft")
    await field.until_it_says("p3", "v2 hello")
    await field.reaches("new", "Running")

    async def is_gone() -> bool:
        return await field.status("p0") is None

    await eventually(is_gone)
    await eventually(lambda: len(engine_processes(controller.state_dir)) == 18)
    after = set(engine_processes(controller.state_dir))
    assert len(after & before) == 16
    for key in ids[4:]:
        status = await field.reaches(key, "Running")
        assert status.restarts == 0, key


async def test_a_restart_alone_changes_no_process_and_no_count(
    field: Field, controller: ControllerProcess
) -> None:
    await field.echo("orders")
    await field.put("orders", replicas=2)
    first = await field.reaches("orders", "Running")
    before = engine_processes(controller.state_dir)
    assert await controller.terminate() == 0
    assert engine_processes(controller.state_dir) == before
    await controller.start()
    await field.request("reconcile", id="orders")
    second = await field.status("orders")
    assert second is not None
    assert [e.uid for e in second.executions] == [e.uid for e in first.executions]
    assert (second.restarts, engine_processes(controller.state_dir)) == (0, before)


POINTS = [
    "controller.decided",
    "controller.remembered",
    "process.prepared",
    "process.spawning",
    "process.spawned",
    "process.started",
    "controller.acted",
]


@pytest.mark.fault(3, 4)
@pytest.mark.parametrize("point", POINTS)
async def test_killed_at_any_point_between_decide_and_report_one_process_runs_afterwards(
    field: Field, controller: ControllerProcess, point: str
) -> None:
    await controller.terminate()
    process = await controller.spawn(NEXTHOS_FAULT=point)
    await field.echo("orders")
    await field.put("orders")
    async with asyncio.timeout(20.0):
        assert await process.wait() == -signal.SIGKILL
    await controller.start()
    status = await field.reaches("orders", "Running")
    assert await field.says("orders") == "v1 hello"
    assert len(engine_processes(controller.state_dir)) == 1
    assert (status.restarts, len(status.executions)) == (0, 1)


@pytest.mark.parametrize("point", ["controller.remembered", "controller.acted"])
async def test_killed_in_the_middle_of_an_update_the_new_one_alone_runs_afterwards(
    field: Field, controller: ControllerProcess, point: str
) -> None:
    await field.echo("orders")
    await field.put("orders")
    await field.reaches("orders", "Running")
    await controller.terminate()
    process = await controller.spawn(NEXTHOS_FAULT=point)
    await field.echo("orders", "v2", "2")
    await field.put("orders", version="2")
    async with asyncio.timeout(20.0):
        assert await process.wait() == -signal.SIGKILL
    await controller.start()
    await field.until_it_says("orders", "v2 hello")
    await eventually(lambda: len(engine_processes(controller.state_dir)) == 1)


@pytest.mark.fault(80)
async def test_a_service_that_was_killed_while_no_controller_lived_is_started_again(
    field: Field, controller: ControllerProcess
) -> None:
    await field.echo("orders")
    await field.put("orders")
    await field.reaches("orders", "Running")
    await controller.kill()
    (pid,) = engine_processes(controller.state_dir)
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: engine_processes(controller.state_dir) == {})
    await controller.start()
    assert await field.says("orders") == "v1 hello"
    await field.restarted("orders", 1)


@pytest.mark.fault(80)
async def test_a_service_that_ended_with_0_while_no_controller_lived_is_started_again(
    field: Field, controller: ControllerProcess
) -> None:
    await field.echo("orders")
    await field.put("orders")
    await field.reaches("orders", "Running")
    await controller.kill()
    (pid,) = engine_processes(controller.state_dir)
    os.kill(pid, signal.SIGTERM)  # the engine drains and ends with 0
    await eventually(lambda: engine_processes(controller.state_dir) == {})
    await controller.start()
    assert await field.says("orders") == "v1 hello"


@pytest.mark.fault(80)
@pytest.mark.parametrize("lifecycle", ["service", "job"])
async def test_what_ended_with_1_while_no_controller_lived_is_counted_and_started_again(
    field: Field, controller: ControllerProcess, lifecycle: str
) -> None:
    # An engine that can't drain in time ends with 1.
    text = STUCK.format(inlet=field.inlet("orders"), outlet=field.outlet("orders"))
    await field.config("orders", text)
    await field.put("orders", lifecycle=lifecycle, stop_timeout="2500ms")
    await field.reaches("orders", "Running")
    await controller.kill()
    (pid,) = engine_processes(controller.state_dir)
    asked = await field.nc.subscribe(field.outlet("orders"))
    await field.nc.publish(field.inlet("orders"), b"never done")
    assert (await asked.next_msg(timeout=10.0)).data == b"never done"  # and is never answered
    os.kill(pid, signal.SIGTERM)
    await eventually(lambda: engine_processes(controller.state_dir) == {})
    await controller.start()
    await eventually(lambda: len(engine_processes(controller.state_dir)) == 1)
    status = await field.restarted("orders", 1)
    assert status.memory.slots[0].problem is not None
    assert status.memory.slots[0].problem.reason == "Exited"


async def running_job(field: Field, controller: ControllerProcess, gate: Path) -> int:
    """A job that reads a pipe, so that the test decides when its input ends."""
    os.mkfifo(gate)
    await field.config("load", JOB.format(gate=gate, outlet=field.outlet("load")))
    await field.put("load", lifecycle="job", retries=3)
    await eventually(lambda: len(engine_processes(controller.state_dir)) == 1)
    await field.reaches("load", "Running")
    (pid,) = engine_processes(controller.state_dir)
    return pid


@pytest.mark.fault(35, 80)
async def test_a_job_that_finished_while_no_controller_lived_is_completed_and_not_revived(
    field: Field, controller: ControllerProcess, tmp_path: Path
) -> None:
    await running_job(field, controller, tmp_path / "gate")
    await controller.kill()
    (tmp_path / "gate").write_text("one\ntwo\n")  # opens, writes and closes: the input ends
    await eventually(lambda: engine_processes(controller.state_dir) == {})
    await controller.start()
    await field.reaches("load", "Completed")
    await field.request("reconcile", id="load")
    assert engine_processes(controller.state_dir) == {}


@pytest.mark.fault(80)
async def test_a_job_that_was_killed_while_no_controller_lived_runs_again(
    field: Field, controller: ControllerProcess, tmp_path: Path
) -> None:
    pid = await running_job(field, controller, tmp_path / "gate")
    await controller.kill()
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: engine_processes(controller.state_dir) == {})
    await controller.start()
    await eventually(lambda: len(engine_processes(controller.state_dir)) == 1)
    (tmp_path / "gate").write_text("one\n")
    status = await field.reaches("load", "Completed")
    assert status.restarts == 1


async def test_sigterm_ends_the_controller_at_once_and_without_a_traceback(
    field: Field, controller: ControllerProcess
) -> None:
    await field.echo("orders")
    await field.put("orders")
    await field.reaches("orders", "Running")
    async with asyncio.timeout(5.0):
        assert await controller.terminate() == 0
    assert len(engine_processes(controller.state_dir)) == 1
    assert "Traceback" not in controller.log_path.read_text()
