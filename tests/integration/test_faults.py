"""Rows of docs/faults.md about definitions, configurations and ends, with real engines."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import nats
import pytest

from nexthos_shared.engine import locate_engine
from nexthos_shared.model import ConditionType, PipelineStatus
from nexthos_shared.reasons import Reason
from nexthos_testing.controller import ControllerProcess, engine_processes
from nexthos_testing.field import Field
from nexthos_testing.nats import NatsServer
from nexthos_testing.wait import eventually

JOB = """\
input:
  file: {{paths: ["{gate}"], codec: lines}}
output:
  nats: {{urls: ["${{NATS_URL}}"], subject: {outlet}}}
"""
# Runs as an engine, or is one: what it is started for is counted, and ends at once.
COUNTED = """\
#!/bin/sh
case "$*" in */config.yaml*) echo >> "{starts}"; exit 3 ;; esac
exec "{engine}" "$@"
"""


@pytest.mark.fault(34)
async def test_a_service_that_ends_cleanly_is_started_again_and_says_so(field: Field) -> None:
    text = "input: {generate: {count: 1, mapping: 'root = 1'}}\noutput: {drop: {}}\n"
    await field.config("orders", text)
    await field.put("orders")

    async def ended_twice() -> PipelineStatus | None:
        status = await field.status("orders")
        return status if status and status.restarts >= 2 else None

    status = await eventually(ended_twice)
    problem = status.memory.slots[0].problem
    assert problem is not None
    assert problem.reason is Reason.EXITED_CLEANLY


@pytest.mark.fault(46)
async def test_a_change_that_is_no_json_is_told_with_its_line_and_the_old_one_runs_on(
    field: Field, controller: ControllerProcess
) -> None:
    for key in ("orders", "other"):
        await field.echo(key)
        await field.put(key)
        await field.reaches(key, "Running")
    before = engine_processes(controller.state_dir)
    revision = await field.put_raw("orders", b'{"status": "published",\n  "version": 2x}')

    async def told() -> PipelineStatus | None:
        status = await field.status("orders")
        return status if status and status.observed_revision == revision else None

    status = await eventually(told)
    assert (status.phase, status.version) == ("Running", "1")
    assert status.complaint is not None
    assert status.complaint.reason is Reason.INVALID_DEFINITION
    assert "line 2" in status.complaint.message
    assert engine_processes(controller.state_dir) == before
    assert await field.says("orders") == "v1 hello"
    assert await field.says("other") == "v1 hello"


@pytest.mark.fault(48)
async def test_what_lint_refuses_never_processes_a_message(field: Field) -> None:
    heard = await field.nc.subscribe(field.outlet("orders"))
    text = f"""\
input: {{generate: {{interval: 1ms, mapping: 'root = "from what is refused"', colour: red}}}}
output: {{nats: {{urls: ["${{NATS_URL}}"], subject: {field.outlet("orders")}}}}}
"""
    await field.config("orders", text)
    await field.put("orders")
    status = await field.reaches("orders", "Invalid")
    assert status.complaint is not None
    assert status.complaint.reason is Reason.LINT_FAILED
    await field.echo("orders", "v2", "2")
    await field.put("orders", version="2")
    await field.reaches("orders", "Running")
    await field.config("orders", text, "3")
    await field.put("orders", version="3")

    async def refused() -> bool:
        status = await field.status("orders")
        return bool(status and status.complaint and status.complaint.file == "orders/3")

    await eventually(refused)
    await field.nc.publish(field.inlet("orders"), b"last")
    assert (await heard.next_msg(timeout=10.0)).data == b"v2 last"  # and nothing before it
    with pytest.raises(nats.errors.TimeoutError):
        await heard.next_msg(timeout=0.2)


@pytest.mark.fault(54)
async def test_deleted_and_made_again_at_once_the_new_one_alone_runs(
    field: Field, controller: ControllerProcess
) -> None:
    await field.echo("orders", "v1", "1")
    await field.put("orders", version="1")
    await field.reaches("orders", "Running")
    for number in range(2, 6):
        await field.echo("orders", f"v{number}", str(number))
        await field.delete("orders")
        await field.put("orders", version=str(number))
    await field.until_it_says("orders", "v5 hello")
    await eventually(lambda: len(engine_processes(controller.state_dir)) == 1)
    status = await field.reaches("orders", "Running")
    assert (status.version, status.restarts) == ("5", 0)


@pytest.mark.fault(74)
@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("metrics: {json_api: {}}\n", Reason.METRICS_NOT_SCRAPED),
        ("input: {http_server: {path: /post}}\n", Reason.SHARED_HTTP_ADDRESS),
        ("", None),
    ],
    ids=["metrics", "http_server", "log file"],
)
async def test_settings_of_a_files_own_are_told_and_its_log_still_reaches_us(
    field: Field, controller: ControllerProcess, tmp_path: Path, more: str, reason: Reason | None
) -> None:
    text = f"output: {{drop: {{}}}}\nlogger: {{file: {{path: '{tmp_path}/own.log'}}}}\n{more}"
    if "input:" not in text:
        text += "input: {generate: {interval: 1s, mapping: 'root = 1'}}\n"
    await field.config("orders", text)
    await field.put("orders")
    status = await field.reaches("orders", "Running")
    warning = status.condition(ConditionType.WARNING)
    assert (warning.reason if warning else None) is reason
    [folder] = (controller.state_dir / "executions").iterdir()
    assert '"pipeline":"orders"' in (folder / "engine.log").read_text()
    assert not (tmp_path / "own.log").exists()


@pytest.mark.fault(76)
async def test_what_it_connects_to_is_away_at_the_start_and_it_waits_without_an_end(
    field: Field, controller: ControllerProcess, tmp_path: Path
) -> None:
    its_own = NatsServer(tmp_path / "own")
    text = field.echo_text("orders").replace("${NATS_URL}", its_own.url)
    await field.config("orders", text)
    await field.put("orders")
    status = await field.reaches("orders", "Starting")
    ready = status.condition(ConditionType.READY)
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", Reason.STARTING)
    await eventually(lambda: len(engine_processes(controller.state_dir)) == 1)
    before = engine_processes(controller.state_dir)
    async with its_own:
        status = await field.reaches("orders", "Running")
        assert status.restarts == 0
        assert engine_processes(controller.state_dir) == before


@pytest.mark.fault(79)
async def test_a_job_that_is_paused_is_not_completed_and_runs_again(
    field: Field, controller: ControllerProcess, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    # An engine that waits for a writer may not hear SIGTERM: then it is the kill that pauses it.
    job = {"lifecycle": "job", "stop_timeout": "3s"}
    os.mkfifo(gate)  # so that the test decides when its input ends
    await field.config("load", JOB.format(gate=gate, outlet=field.outlet("load")))
    await field.put("load", **job)
    await eventually(lambda: len(engine_processes(controller.state_dir)) == 1)
    await field.put("load", "paused", **job)
    await field.reaches("load", "Paused")
    assert engine_processes(controller.state_dir) == {}
    heard = await field.nc.subscribe(field.outlet("load"))
    await field.put("load", **job)
    await eventually(lambda: len(engine_processes(controller.state_dir)) == 1)
    gate.write_text("one\n")
    await field.reaches("load", "Completed")
    assert (await heard.next_msg(timeout=5.0)).data == b"one"


@pytest.mark.fault(83)
async def test_in_a_controller_that_dies_at_each_start_every_start_is_counted_and_waited_for(
    field: Field, controller: ControllerProcess, tmp_path: Path
) -> None:
    starts, engine = tmp_path / "starts", tmp_path / "engine"
    engine.write_text(COUNTED.format(starts=starts, engine=locate_engine()))
    engine.chmod(0o700)
    settings = {"NEXTHOS_ENGINE": str(engine), "NEXTHOS_LEASE_TTL": "1s"}
    await controller.terminate()
    await field.config("orders", field.echo_text("orders"))
    await field.put("orders")
    for life in range(2):
        dying = await controller.spawn(NEXTHOS_FAULT="process.spawned", **settings)
        assert await dying.wait() == -signal.SIGKILL

        def is_over(number: int = life + 1) -> bool:
            begun = starts.exists() and len(starts.read_text().splitlines()) == number
            return begun and not engine_processes(controller.state_dir)

        await eventually(is_over)
    # one that dies between writing the intent and acting on it starts nothing
    dying = await controller.spawn(NEXTHOS_FAULT="controller.remembered", **settings)
    assert await dying.wait() == -signal.SIGKILL
    assert len(starts.read_text().splitlines()) == 2
    await controller.start(**settings)

    async def counted() -> PipelineStatus | None:
        status = await field.status("orders")
        return status if status and status.restarts == 3 else None

    status = await eventually(counted, within=20.0)
    assert len(starts.read_text().splitlines()) == 3
    assert status.memory.slots[0].failures == 3  # so the next one waits for 4 s


@pytest.mark.fault(86)
async def test_overwritten_and_then_crashed_it_comes_back_with_the_bytes_it_had(
    field: Field, controller: ControllerProcess
) -> None:
    await field.echo("orders", "v1")
    await field.put("orders")
    await field.reaches("orders", "Running")
    await field.echo("orders", "overwritten", "1")
    await field.complains("orders", Reason.CONFIG_CHANGED)
    [pid] = engine_processes(controller.state_dir)
    os.kill(pid, signal.SIGKILL)
    status = await field.restarted("orders", 1)
    assert await field.says("orders") == "v1 hello"
    assert status.complaint is not None
    assert status.complaint.reason is Reason.CONFIG_CHANGED
