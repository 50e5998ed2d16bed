"""What `nexthos auth` prints, pasted into a real server: each role can do its work, and nothing else.

The controller's role: see test_role_of_controllers.py.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import nats
import pytest
from click.testing import CliRunner

from nexthos_cli.main import cli
from nexthos_testing.controller import controller_process
from nexthos_testing.field import field_of
from nexthos_testing.nats import NatsServer
from nexthos_testing.roles import (
    CONTROLLERS_OWN,
    PASSWORD,
    connected,
    forbidden,
    pasted,
    set_up,
)

MANIFEST = """\
schema: 1
id: {}
config: |
  input: {{generate: {{mapping: 'root = 1'}}}}
  output: {{drop: {{}}}}
"""


@pytest.mark.fault(98)
async def test_a_viewer_sees_everything_and_changes_nothing(namespace: str, tmp_path: Path) -> None:
    config = pasted(namespace, ("viewer",), ("controller",))
    as_controller = {"NATS_USER": f"{namespace}-controller", "NATS_PASSWORD": PASSWORD}
    async with (
        NatsServer(tmp_path / "nats", config=config) as server,
        controller_process(server.url, namespace, tmp_path / "state", **as_controller),
        field_of(server.url, namespace) as field,
    ):
        await field.echo("one")
        await field.put("one")
        await field.reaches("one", "Running")
        async with connected(server, f"{namespace}-viewer") as user:
            for endpoint, body in (
                ("status", {"id": "one"}),
                ("list", {}),
                ("usage", {}),
                ("logs", {"id": "one"}),
            ):
                reply = await user.nc.request(
                    f"{namespace}.svc.{endpoint}", json.dumps(body).encode(), timeout=10
                )
                assert "Nats-Service-Error" not in (reply.headers or {}), reply.data
            pong = await user.nc.request(f"$SRV.PING.{namespace}", b"", timeout=5)
            assert json.loads(pong.data)["name"] == namespace
            for subject in [
                *forbidden(namespace),
                f"{namespace}.svc.reconcile",
                f"{namespace}.svc.config.one",
                f"$JS.API.STREAM.INFO.KV_{namespace}-pipelines",
                f"$JS.API.DIRECT.GET.KV_{namespace}-pipelines.$KV.{namespace}-pipelines.one",
                f"$JS.API.CONSUMER.CREATE.KV_{namespace}-pipelines",
                *(f"$KV.{namespace}-{key}" for key in CONTROLLERS_OWN),
                f"$KV.{namespace}-pipelines.one",
                f"$O.{namespace}-configs.M.x",
                f"{namespace}.events.one.Running",
            ]:
                assert await user.is_refused(subject), subject
            for subject in (">", "$KV.>", "$O.>", f"{namespace}.>", f"{namespace}.svc.status"):
                assert await user.may_not_hear(subject), subject


@pytest.mark.fault(98)
async def test_a_runner_asks_for_its_own_configuration_only(namespace: str, tmp_path: Path) -> None:
    config = pasted(namespace, ("runner", "one"))
    async with (
        NatsServer(tmp_path / "nats", config=config) as server,
        field_of(server.url, namespace) as field,
    ):
        await set_up(field)

        async def answer(message: nats.aio.msg.Msg) -> None:
            await message.respond(b"bytes")

        await field.nc.subscribe(f"{namespace}.svc.config.one", cb=answer)
        await field.nc.flush()
        inbox = f"_INBOX.{namespace}.one"
        async with connected(server, f"{namespace}-runner-one", inbox) as user:
            reply = await user.nc.request(f"{namespace}.svc.config.one", b"1", timeout=5)
            assert reply.data == b"bytes"
            for subject in [
                *forbidden(namespace),
                f"{namespace}.svc.config.other",
                f"{namespace}.svc.config.*",
                f"{namespace}.svc.config.>",
                f"{namespace}.svc.status",
                f"$SRV.PING.{namespace}",
                f"$JS.API.DIRECT.GET.OBJ_{namespace}-configs",
                f"$JS.API.STREAM.INFO.OBJ_{namespace}-configs",
                f"$KV.{namespace}-pipelines.one",
            ]:
                assert await user.is_refused(subject), subject
            for subject in (
                ">",
                "_INBOX.>",
                f"_INBOX.{namespace}.>",
                f"_INBOX.{namespace}.other.>",
                f"_INBOX.{namespace}.*.>",
                f"{namespace}.svc.>",
            ):
                assert await user.may_not_hear(subject), subject


@pytest.mark.fault(98)
async def test_an_author_of_one_applies_it_and_no_other(namespace: str, tmp_path: Path) -> None:
    config = pasted(namespace, ("author", "one"), ("controller",))
    as_controller = {"NATS_USER": f"{namespace}-controller", "NATS_PASSWORD": PASSWORD}
    async with (
        NatsServer(tmp_path / "nats", config=config) as server,
        controller_process(server.url, namespace, tmp_path / "state", **as_controller),
        field_of(server.url, namespace) as field,
    ):
        env = {
            "NATS_URL": server.url,
            "NATS_USER": f"{namespace}-author-one",
            "NATS_PASSWORD": PASSWORD,
            "NEXTHOS_NAMESPACE": namespace,
            "XDG_CONFIG_HOME": str(tmp_path),
        }

        async def applies(key: str) -> tuple[int, str]:
            file = tmp_path / f"{key}.yaml"
            file.write_text(MANIFEST.format(key))
            done = await asyncio.to_thread(
                CliRunner(env=env).invoke, cli, ["apply", str(file), "--wait"]
            )
            return done.exit_code, done.output

        for _ in range(2):
            code, words = await applies("one")
            assert code == 0, words
        doctor = await asyncio.to_thread(CliRunner(env=env).invoke, cli, ["doctor"])
        assert f"may not publish $KV.{namespace}-pipelines.x\n" in doctor.stdout  # and all else
        code, words = await applies("two")
        assert code == 1
        assert "NATS refuses the subject" in words
        await field.reaches("one", "Running")
        assert await field.status("two") is None
        async with connected(server, f"{namespace}-author-one") as user:
            mine = f"$JS.API.STREAM.PURGE.OBJ_{namespace}-configs"
            for subject in [s for s in forbidden(namespace) if s != mine]:
                assert await user.is_refused(subject), subject
            for key in CONTROLLERS_OWN:
                assert await user.is_refused(f"$KV.{namespace}-{key}"), key


# What an allow list can't do, and what an account can (docs/operations.md)

ONE_KEY = "$KV.{ns}-pipelines.one"
IN_AN_ACCOUNT = """
accounts {{
  APP {{ jetstream: enabled, users: [{{user: admin, password: p}}]
    exports: [{{service: "{key}", accounts: [TEAM]}}] }}
  TEAM {{ users: [{{user: "{ns}-author-one", password: "{password}"}}]
    imports: [{{service: {{account: APP, subject: "{key}"}}}}] }}
}}
no_auth_user: admin
"""


@pytest.mark.parametrize("reply", [".other", ".one.two"])
async def test_over_an_import_the_answer_to_a_put_is_not_written_to_another_key(
    namespace: str, tmp_path: Path, reply: str
) -> None:
    key = ONE_KEY.format(ns=namespace)
    config = IN_AN_ACCOUNT.format(ns=namespace, key=key, password=PASSWORD)
    async with (
        NatsServer(tmp_path / "nats", config=config) as server,
        field_of(server.url, namespace) as field,
    ):
        await set_up(field)
        other = f"$KV.{namespace}-pipelines{reply}"
        stored = await field.js.stream_info(f"KV_{namespace}-pipelines")
        async with connected(server, f"{namespace}-author-one") as user:
            ack = await user.nc.request(key, b"{}", timeout=5)
            assert json.loads(ack.data)["seq"] == stored.state.last_seq + 1
            await user.nc.publish(key, b"{}", reply=other)
            ack = await user.nc.request(key, b"{}", timeout=5)
            assert json.loads(ack.data)["seq"] == stored.state.last_seq + 3
        # Three puts of its own and this one, and nothing between them.
        assert await field.put("last") == stored.state.last_seq + 4
