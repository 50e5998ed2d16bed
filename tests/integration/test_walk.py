"""A pipeline put into NATS runs, changes, pauses and goes: judged by the messages that come out."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from nexthos_testing.controller import ControllerProcess, engine_processes
from nexthos_testing.field import Field
from nexthos_testing.wait import eventually


def files_of(controller: ControllerProcess) -> list[str]:
    folder = controller.state_dir / "executions"
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


async def test_the_object_first_and_then_the_entry_runs(field: Field) -> None:
    await field.echo("orders")
    await field.put("orders")
    assert await field.says("orders") == "v1 hello"
    status = await field.reaches("orders", "Running")
    assert (status.ready, status.replicas, status.version) == (1, 1, "1")


@pytest.mark.fault(87)
async def test_the_entry_first_and_then_the_object_runs_without_another_put(field: Field) -> None:
    await field.put("orders")
    status = await field.reaches("orders", "Invalid")
    assert status.complaint is not None
    assert status.complaint.reason == "ConfigMissing"
    await field.echo("orders")
    assert await field.says("orders") == "v1 hello"


async def test_paused_stops_and_keeps_and_published_resumes_the_same_execution(
    field: Field, controller: ControllerProcess
) -> None:
    await field.echo("orders")
    await field.put("orders")
    await field.reaches("orders", "Running")
    before = files_of(controller)
    await field.put("orders", "paused")
    status = await field.reaches("orders", "Paused")
    assert engine_processes(controller.state_dir) == {}
    assert await field.is_silent("orders")
    assert files_of(controller) == before
    assert [e.state for e in status.executions] == ["stopped"]
    await field.put("orders")
    assert await field.says("orders") == "v1 hello"
    assert files_of(controller) == before


async def test_a_new_version_replaces_the_old_one(
    field: Field, controller: ControllerProcess
) -> None:
    await field.echo("orders", "v1", "1")
    await field.put("orders", version="1")
    await field.until_it_says("orders", "v1 hello")
    await field.echo("orders", "v2", "2")
    await field.put("orders", version="2")
    await field.until_it_says("orders", "v2 hello")
    await eventually(lambda: len(files_of(controller)) == 1)
    assert len(engine_processes(controller.state_dir)) == 1


async def test_draft_leaves_no_process_file_or_trace_of_the_execution(
    field: Field, controller: ControllerProcess
) -> None:
    await field.echo("orders")
    await field.put("orders")
    await field.reaches("orders", "Running")
    await field.put("orders", "draft")
    status = await field.reaches("orders", "Draft")
    assert (status.executions, status.memory.current, status.memory.slots) == ([], None, {})
    assert (engine_processes(controller.state_dir), files_of(controller)) == ({}, [])


async def test_deleting_the_key_leaves_nothing_at_all(
    field: Field, controller: ControllerProcess
) -> None:
    await field.echo("orders")
    await field.put("orders")
    await field.reaches("orders", "Running")
    await field.delete("orders")

    async def is_gone() -> bool:
        return await field.status("orders") is None

    await eventually(is_gone)
    assert (engine_processes(controller.state_dir), files_of(controller)) == ({}, [])
    reply = await field.request("status", id="orders")
    assert (reply["code"], reply["reason"]) == (404, "NotFound")


async def test_replicas_share_the_work_and_can_be_changed(
    field: Field, controller: ControllerProcess
) -> None:
    await field.echo("orders")
    await field.put("orders", replicas=3)
    status = await field.reaches("orders", "Running")
    assert (status.ready, len(engine_processes(controller.state_dir))) == (3, 3)
    await field.put("orders", replicas=1)
    await eventually(lambda: len(engine_processes(controller.state_dir)) == 1)
    assert await field.says("orders") == "v1 hello"


async def test_an_engine_gets_exactly_its_environment_and_argv_holds_no_secret(
    field: Field, controller: ControllerProcess
) -> None:
    await field.echo("orders")
    await field.put("orders", env={"REGION": "eu", "PASSWORD": "hunter2"})
    await field.reaches("orders", "Running")
    (pid,) = engine_processes(controller.state_dir)
    raw = Path(f"/proc/{pid}/environ").read_bytes().rstrip(b"\0").split(b"\0")
    environ = dict(pair.decode().split("=", 1) for pair in raw)
    passed = {"PATH", "HOME", "TZ", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR"} & set(os.environ)
    ours = {"NATS_URL", "NEXTHOS_PIPELINE", "NEXTHOS_VERSION", "NEXTHOS_REPLICA"}
    shell = {"PWD", "OLDPWD", "SHLVL", "_"}  # set by the shim's shell for itself, if by any
    assert set(environ) - shell == {"REGION", "PASSWORD"} | ours | passed
    assert environ["NATS_URL"] == controller.url
    assert (environ["NEXTHOS_PIPELINE"], environ["NEXTHOS_REPLICA"]) == ("orders", "0")
    argv = Path(f"/proc/{pid}/cmdline").read_bytes()
    assert b"hunter2" not in argv
    assert controller.url.encode() not in argv


async def test_an_engine_killed_from_outside_is_started_again_and_counted(
    field: Field, controller: ControllerProcess
) -> None:
    await field.echo("orders")
    await field.put("orders")
    await field.reaches("orders", "Running")
    (pid,) = engine_processes(controller.state_dir)
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: set(engine_processes(controller.state_dir)) - {pid}, within=20.0)
    await field.restarted("orders", 1)
    assert await field.says("orders") == "v1 hello"
