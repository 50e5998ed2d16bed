"""What NATS refuses is named, costs only what needs it, and is asked for ever more rarely."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from nexthos_testing.controller import ControllerProcess, controller_process, engine_processes
from nexthos_testing.field import field_of
from nexthos_testing.guarded import controller_user
from nexthos_testing.nats import NatsServer
from nexthos_testing.wait import eventually


def denying(namespace: str, subject: str) -> str:
    """Everybody may do anything, but for the controller, which has its rights without that subject."""
    controller = controller_user(namespace, deny=subject)
    return (
        f'authorization {{ users: [{{user: "anybody", password: "p"}}, {controller}] }}\n'
        'no_auth_user: "anybody"\n'
    )


def failures(controller: ControllerProcess, key: str) -> list[dict[str, Any]]:
    lines = controller.log()
    return [n for n in lines if n["event"] == "reconcile failed" and n.get("pipeline") == key]


@pytest.mark.fault(23)
async def test_a_refused_status_is_named_and_concerns_its_own_pipeline_only(
    namespace: str, tmp_path: Path
) -> None:
    subject = f"$KV.{namespace}-status.refused"
    async with NatsServer(tmp_path / "nats", config=denying(namespace, subject)) as server:
        async with (
            controller_process(server.url, namespace, tmp_path / "state") as controller,
            field_of(server.url, namespace) as field,
        ):
            for key in ("refused", "good"):
                await field.echo(key)
                await field.put(key)
            await field.reaches("good", "Running")
            await eventually(lambda: len(failures(controller, "refused")) >= 2, within=30.0)
            said = failures(controller, "refused")
            assert {line["reason"] for line in said} == {"NotPermitted"}
            assert all(f'"{subject}"' in line["error"] for line in said)
            waits = [line["again_in"] for line in said]
            assert waits == sorted(set(waits))
            assert len(engine_processes(controller.state_dir)) == 1  # no effect without an intent
            server.config = denying(namespace, "nothing.at.all")
            server.reload()
            await field.reaches("refused", "Running")
        refused = server.refusals()
        assert refused
        assert all(subject in line for line in refused)  # these, and nothing else


@pytest.mark.fault(23)
async def test_a_controller_that_may_not_look_at_its_store_says_so_and_ends(
    namespace: str, tmp_path: Path
) -> None:
    subject = f"$JS.API.STREAM.INFO.KV_{namespace}-pipelines"
    async with NatsServer(tmp_path / "nats", config=denying(namespace, subject)) as server:
        controller = ControllerProcess(server.url, namespace, tmp_path / "state")
        process = await controller.spawn()
        async with asyncio.timeout(15.0):
            assert await process.wait() == 1
        words = controller.log_path.read_text()
        assert f'"{subject}"' in words
        assert "NotPermitted" in words
        assert "Traceback" not in words
        refused = server.refusals()
        assert refused
        assert all(subject in line for line in refused)
