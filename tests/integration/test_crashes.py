"""Engines that end although nobody asked them to: counted, delayed, told, also over controllers."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from nexthos_shared.engine import locate_engine
from nexthos_shared.model import ConditionType, PipelineStatus
from nexthos_shared.reasons import Reason
from nexthos_testing.controller import ControllerProcess, engine_processes
from nexthos_testing.field import Field
from nexthos_testing.wait import eventually

# Runs for a moment, and ends in words of its own: an engine whose disk is full, say.
CRASHING = """#!/bin/sh
case "$*" in
  *--version*|*--help*|*lint*) exec {engine} "$@" ;;
esac
echo '{{"level":"error","msg":"the disk of {word} is full"}}'
exit 7
"""
FINITE = """\
input: {generate: {count: 2, interval: 1ms, mapping: 'root = "x"'}}
output: {drop: {}}
"""


@pytest.mark.fault(36)
async def test_an_engine_that_is_killed_is_restarted_after_its_delay_with_count_and_reason(
    field: Field, controller: ControllerProcess
) -> None:
    await field.echo("orders")
    await field.put("orders")
    assert await field.says("orders") == "v1 hello"
    [pid] = engine_processes(controller.state_dir)
    os.kill(pid, signal.SIGKILL)

    async def counted() -> PipelineStatus | None:
        status = await field.status("orders")
        return status if status and status.restarts == 1 else None

    await eventually(counted)
    assert await field.says("orders") == "v1 hello"
    await field.reaches("orders", "Running")
    events = await field.events_with("orders", Reason.KILLED)
    ends = [e.data for e in events if e.data.reason is Reason.KILLED]
    assert [end.restarts for end in ends] == [1]
    assert "SIGKILL" in ends[0].message


@pytest.mark.fault(36)
async def test_five_fast_crashes_are_a_crash_loop_with_the_last_line_and_a_controller_resets_nothing(
    field: Field, controller: ControllerProcess, tmp_path: Path
) -> None:
    engine = tmp_path / "crashing"
    engine.write_text(CRASHING.format(engine=locate_engine(), word="orders"))
    engine.chmod(0o700)
    await controller.terminate()
    await controller.start(NEXTHOS_ENGINE=str(engine))
    await field.echo("orders")
    await field.put("orders")
    status = await field.reaches("orders", "CrashLoop", within=40.0)
    assert status.restarts == 5
    assert status.complaint is not None
    assert status.complaint.reason is Reason.CRASH_LOOP
    assert "the disk of orders is full" in status.complaint.message
    before = status.memory.slots[0]
    await controller.kill()
    await controller.start(NEXTHOS_ENGINE=str(engine))
    status = await field.reaches("orders", "CrashLoop")
    slot = status.memory.slots[0]
    assert (slot.restarts, slot.failures, slot.not_before) == (5, 5, before.not_before)
    # a version that is put right starts at once
    await controller.terminate()
    await controller.start(NEXTHOS_ENGINE=str(locate_engine()))
    await field.put("orders", env={"A": "1"})
    assert await field.says("orders") == "v1 hello"


@pytest.mark.fault(34, 75)
async def test_a_service_whose_input_ends_is_warned_of_counted_and_its_cause_is_named(
    field: Field, controller: ControllerProcess
) -> None:
    await field.config("load", FINITE)
    await field.put("load")

    async def told() -> PipelineStatus | None:
        status = await field.status("load")
        return status if status and status.restarts >= 2 else None

    status = await eventually(told)
    warning = status.condition(ConditionType.WARNING)
    assert warning is not None
    assert warning.reason is Reason.FINITE_INPUT
    ready = status.condition(ConditionType.READY)
    assert ready is not None
    assert "its input is known to end" in ready.message
