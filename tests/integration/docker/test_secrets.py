"""A NATS that asks for credentials: they reach runner and engine, and stand nowhere that can be read."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from nexthos_controller.executors.docker.settings import read_settings
from nexthos_shared.errors import SettingsError
from nexthos_shared.model.stored import encode
from nexthos_shared.names import Names, runner_inbox
from nexthos_shared.reasons import Reason
from nexthos_testing.credentials import Operator
from nexthos_testing.dockyard import Dockyard, dockyard, write_settings
from nexthos_testing.nats import NatsServer

ECHO = """\
input: {{nats: {{urls: ["${{NATS_URL}}"], subject: {inlet}, auth: {auth}}}}}
pipeline: {{processors: [{{mapping: 'root = "{mark} " + content().string()'}}]}}
output: {{nats: {{urls: ["${{NATS_URL}}"], subject: {outlet}, auth: {auth}}}}}
"""
AUTH = '{user_credentials_file: "${NATS_CREDS}"}'


@dataclass
class Guarded:
    """A yard, the operator of its NATS, and the files: the controller's, the engines', the runners'."""

    yard: Dockyard
    server: NatsServer
    operator: Operator
    engine: Path
    runner: Path
    engine_user: str

    async def publish(self, key: str) -> None:
        field = self.yard.field
        inlet, outlet = field.inlet(key), field.outlet(key)
        await field.config(key, ECHO.format(inlet=inlet, outlet=outlet, mark="v1", auth=AUTH))
        await field.put(key)


def least(namespace: str, key: str) -> dict[str, list[str]]:
    """What a runner needs that fetches this one's and nothing else: README of the runner."""
    names = Names(namespace)
    return {
        "publish": [names.config_subject(key)],
        "subscribe": [f"{runner_inbox(namespace, key)}.>"],
    }


@asynccontextmanager
async def guarded_yard(folder: Path, namespace: str) -> AsyncIterator[Guarded]:
    operator = Operator()
    controller, engine, runner = (folder / f"{n}.creds" for n in ("controller", "engine", "runner"))
    operator.user(controller)
    engine_user = operator.user(engine)
    operator.user(runner, **least(namespace, "orders"))
    async with (
        NatsServer(folder / "nats", config=operator.config, host="0.0.0.0") as server,
        dockyard(server, namespace, folder, creds=controller) as yard,
    ):
        url = f"nats://{yard.hands.gateway()}:{server.port}"
        write_settings(
            yard.settings,
            url,
            {"store": {"url": url, "creds": str(runner)}},
            connections={"default": {"url": url, "creds": str(engine)}},
        )
        await yard.begins_again()
        yield Guarded(yard, server, operator, engine, runner, engine_user)


@pytest.fixture
async def guarded(docker_daemon: None, namespace: str, tmp_path: Path) -> AsyncIterator[Guarded]:
    async with guarded_yard(tmp_path, namespace) as there:
        yield there


def secrets_of(file: Path) -> list[str]:
    """The lines of a credentials file that must stand nowhere else."""
    return [line for line in file.read_text().splitlines() if line and "-----" not in line]


async def test_credentials_are_in_no_inspection_argv_log_or_status_and_the_runners_are_dropped(
    guarded: Guarded,
) -> None:
    yard = guarded.yard
    await guarded.publish("orders")
    assert await yard.field.says("orders") == "v1 hello"
    status = await yard.field.reaches("orders", "Running")
    container = yard.one("orders")
    shown = [
        json.dumps(container),
        json.dumps(yard.hands.api.top(container["Id"])),
        yard.hands.api.logs(container["Id"]).decode(),
        json.dumps(yard.hands.api.history(container["Image"])),
        yard.controller.log_path.read_text(),
        encode(status).decode(),
        json.dumps(await yard.field.request("status", id="orders"), default=str),
    ]
    for file in (guarded.engine, guarded.runner):
        for secret in secrets_of(file):
            assert not [text[:200] for text in shown if secret in text]
    made = yard.hands.api.exec_create(container["Id"], ["ls", "-ln", "/run/nexthos"])
    files = yard.hands.api.exec_start(made["Id"]).decode()
    assert "store.creds" not in files
    [line] = [line for line in files.splitlines() if "nats.creds" in line]
    assert line.startswith("-rw------- 1 10001 10001")


@pytest.mark.fault(24)
async def test_rotated_credentials_are_there_at_the_next_start_of_the_same_container(
    guarded: Guarded,
) -> None:
    yard = guarded.yard
    await guarded.publish("orders")
    assert await yard.field.says("orders") == "v1 hello"
    await yard.field.reaches("orders", "Running")
    container = yard.one("orders")["Id"]
    await yard.field.put("orders", "paused")
    await yard.field.reaches("orders", "Paused")
    guarded.operator.user(guarded.engine)
    guarded.operator.revoke(guarded.engine_user)
    guarded.server.config = guarded.operator.config
    guarded.server.reload()
    await yard.field.put("orders")
    assert await yard.field.says("orders") == "v1 hello"
    assert yard.one("orders")["Id"] == container


@pytest.mark.fault(68)
async def test_a_runner_with_the_least_it_needs_may_fetch_its_own_and_no_other(
    guarded: Guarded,
) -> None:
    yard = guarded.yard
    await guarded.publish("orders")
    await guarded.publish("other")
    assert await yard.field.says("orders") == "v1 hello"
    status = await yard.ended_for("other", Reason.NOT_PERMITTED)
    problem = status.memory.slots[0].problem
    assert problem is not None
    assert yard.one("other")["State"]["ExitCode"] == 77
    assert "_INBOX." in problem.message or ".svc.config." in problem.message
    assert await yard.field.is_silent("other")


@pytest.mark.fault(67)
async def test_credentials_that_nats_does_not_know_are_told_and_put_right_in_place(
    guarded: Guarded, namespace: str
) -> None:
    yard = guarded.yard
    Operator().user(guarded.runner)  # another operator's
    await guarded.publish("orders")
    status = await yard.ended_for("orders", Reason.NOT_PERMITTED)
    problem = status.memory.slots[0].problem
    assert problem is not None
    assert "Authorization Violation" in problem.message
    assert not [s for s in secrets_of(guarded.runner) if s in encode(status).decode()]
    guarded.operator.user(guarded.runner, **least(namespace, "orders"))
    assert await yard.field.says("orders", within=30.0) == "v1 hello"


@pytest.mark.parametrize("url", ["nats://u:secret@nats:4222", "nats://nats:4222,nats://t@other"])
def test_a_password_in_the_runners_url_is_refused_since_an_inspection_would_show_it(
    url: str,
) -> None:
    with pytest.raises(SettingsError, match="credentials file") as refused:
        read_settings({"store": {"url": url}})
    assert refused.value.problem.field == "executors.docker.store.url"
    assert "secret" not in str(refused.value)


async def test_a_credentials_file_that_is_not_there_is_named(guarded: Guarded) -> None:
    yard = guarded.yard
    guarded.runner.unlink()
    await guarded.publish("orders")
    status = await yard.field.complains("orders", Reason.START_FAILED)
    assert status.complaint is not None
    assert str(guarded.runner) in status.complaint.message
    guarded.operator.user(guarded.runner, **least(yard.namespace, "orders"))
    assert await yard.field.says("orders", within=30.0) == "v1 hello"
