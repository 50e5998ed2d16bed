"""What `nexthos auth` prints, pasted into a real server: each role can do its work, and nothing else."""

from __future__ import annotations

import asyncio
import json
import secrets
import shlex
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import nats
import nkeys  # type: ignore[import-untyped]
import pytest
from click.testing import CliRunner
from nats.aio.client import Client

from nexthos_cli.main import cli
from nexthos_shared.errors import NotPermitted
from nexthos_shared.names import Names
from nexthos_shared.nats.connection import ConnectOptions, connect
from nexthos_shared.nats.rights import ROLES
from nexthos_shared.object_format import meta_subject
from nexthos_shared.store import Store
from nexthos_testing.controller import controller_process
from nexthos_testing.field import Field, field_of
from nexthos_testing.nats import NatsServer
from nexthos_testing.wait import eventually

PASSWORD = "p4ss"
MANIFEST = """\
schema: 1
id: {}
config: |
  input: {{generate: {{mapping: 'root = 1'}}}}
  output: {{drop: {{}}}}
"""


def printed(namespace: str, role: str, *more: str) -> str:
    """What the command prints, of which all is pasted."""
    done = CliRunner().invoke(cli, ["auth", role, *more, "-n", namespace])
    assert done.exit_code == 0, done.output
    return done.stdout


def pasted(namespace: str, *roles: tuple[str, ...]) -> str:
    """A server's configuration with those users, and an administrator who needs no password."""
    users = [printed(namespace, *role, "--password", PASSWORD) for role in roles]
    return "\n".join(
        [
            'authorization { users: [ {user: "admin", password: "p"}',
            *users,
            '] }\nno_auth_user: "admin"',
        ]
    )


class As:
    """A connection of one of these users, and what it was refused."""

    def __init__(self, nc: Client, refused: list[str]) -> None:
        self.nc = nc
        self._refused = refused
        self._sent = 0

    async def is_refused(self, subject: str, payload: bytes = b"") -> bool:
        """Whether the server does not let that be published; with a reply, as a request has one."""
        await self.nc.publish(subject, payload, reply=self.nc.new_inbox())
        return f'publish to "{subject.lower()}"' in await self._heard()

    async def may_not_hear(self, subject: str) -> bool:
        await self.nc.subscribe(subject)
        return f'subscription to "{subject.lower()}"' in await self._heard()

    async def _heard(self) -> str:
        """All refusals up to now: the server tells them in order, and one more is provoked."""
        self._sent += 1
        await self.nc.publish(f"nobody.may.{self._sent}", b"")
        await eventually(
            lambda: f'"nobody.may.{self._sent}"' in " ".join(self._refused), every=0.001
        )
        told = " ".join(self._refused)
        self._refused.clear()
        return told


@asynccontextmanager
async def connected(server: NatsServer, user: str, inbox: str = "_INBOX") -> AsyncIterator[As]:
    refused: list[str] = []

    async def heard(error: Exception) -> None:
        refused.append(str(error))

    nc = await nats.connect(
        server.url, user=user, password=PASSWORD, inbox_prefix=inbox, error_cb=heard
    )
    try:
        yield As(nc, refused)
    finally:
        await nc.close()
        server.refusals()  # are what was to be seen


def forbidden(namespace: str) -> list[str]:
    """What no role may do, but where the test says so: streams, other buckets, other namespaces."""
    names, other = Names(namespace), Names("other")
    streams = [f"KV_{b}" for b in (names.pipelines, names.status, names.control)]
    streams += [f"OBJ_{names.configs}", names.events]
    verbs = (
        "STREAM.DELETE",
        "STREAM.PURGE",
        "STREAM.UPDATE",
        "STREAM.MSG.DELETE",
        "STREAM.SNAPSHOT",
        "STREAM.RESTORE",
        "STREAM.LEADER.STEPDOWN",
        "CONSUMER.DURABLE.CREATE",
    )
    ends = {"CONSUMER.DURABLE.CREATE": ".mine"}
    found = [f"$JS.API.{verb}.{stream}{ends.get(verb, '')}" for verb in verbs for stream in streams]
    found += [
        "$JS.API.INFO",
        "$JS.API.STREAM.LIST",
        "$JS.API.STREAM.NAMES",
        "$JS.API.STREAM.CREATE.mine",
        "$JS.API.CONSUMER.CREATE.KV_other-pipelines",
        "$JS.API.DIRECT.GET.KV_other-pipelines.$KV.other-pipelines.one",
        f"$KV.{other.pipelines}.one",
        f"$KV.{names.pipelines}.other",
        f"$KV.{names.status}x.one",
        "$SYS.REQ.SERVER.PING",
        "$SRV.PING",
        "other.svc.status",
        "anything",
    ]
    return found


CONTROLLERS_OWN = ("status.one", "control.lease", "control.installation", "control.abandoned.m1")


async def test_a_controller_makes_its_store_and_runs_pipelines_with_the_rights_that_are_printed(
    namespace: str, tmp_path: Path
) -> None:
    config = pasted(namespace, ("controller",))
    state = tmp_path / "state"
    async with (
        NatsServer(tmp_path / "nats", config=config) as server,
        controller_process(
            server.url,
            namespace,
            state,
            NATS_USER=f"{namespace}-controller",
            NATS_PASSWORD=PASSWORD,
        ) as controller,
        field_of(server.url, namespace) as field,
    ):
        await field.echo("orders")
        await field.put("orders")
        await field.reaches("orders", "Running")
        assert await field.says("orders") == "v1 hello"

        async def is_told() -> bool:
            told = await field.request("status", id="orders")
            return bool(told["status"]["phase"] == "Running")

        await eventually(is_told)  # the controller's own copy is written when NATS has confirmed it
        await field.delete("orders")
        await eventually(lambda: field.is_silent("orders"))
        assert not [line for line in controller.log() if line["event"] == "NATS refuses a subject"]


async def test_where_jetstream_has_a_domain_and_the_user_an_inbox_of_its_own_the_list_says_so(
    namespace: str, tmp_path: Path
) -> None:
    names = Names(namespace)
    refused: list[str] = []
    more = ("--api", "$JS.hub.API", "--inbox", "_INBOX_mine")
    config = pasted(namespace, ("controller", *more))
    options = ConnectOptions(
        user=f"{namespace}-controller",
        password=PASSWORD,
        jetstream_domain="hub",
        inbox_prefix="_INBOX_mine",
    )
    async with NatsServer(tmp_path / "n", config=config, jetstream="domain: hub") as server:
        options = replace(options, url=server.url)
        async with connect(options, name="controller", daemon=False) as link:
            link.refusals.add(refused.append)
            store = await Store.open(link, names, create=True)
            await store.installation()
            for number in range(2000):  # enough for the server to ask how far we are
                await link.nc.publish(f"$KV.{names.status}.k{number}", b"x" * 1000)
            await store.statuses.put("last", b"1")
            assert len(await store.statuses.snapshot()) == 2001
            assert await store.configs.list() == []
            assert await store.events.last("k1", 1) == []
        assert refused == []
        assert server.refusals() == []


async def test_a_user_may_have_a_key_for_a_password(namespace: str, tmp_path: Path) -> None:
    seed = nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER)
    public = nkeys.from_seed(bytearray(seed)).public_key.decode()
    file = tmp_path / "controller.nk"
    file.write_bytes(seed)
    user = printed(namespace, "controller", "--nkey", public)
    config = f"authorization {{ users: [{user}] }}"
    async with NatsServer(tmp_path / "n", config=config) as server:
        options = ConnectOptions(server.url, nkey=file)
        async with connect(options, name="controller", daemon=False) as link:
            store = await Store.open(link, Names(namespace), create=True)
            with pytest.raises(NotPermitted):
                await store.pipelines.put("one", b"{}")


@pytest.mark.fault(98)
async def test_a_controllers_user_can_neither_destroy_nor_redefine_anything(
    namespace: str, tmp_path: Path
) -> None:
    names = Names(namespace)
    config = pasted(namespace, ("controller",))
    async with (
        NatsServer(tmp_path / "nats", config=config) as server,
        field_of(server.url, namespace) as field,
    ):
        await set_up(field)
        async with connected(server, f"{namespace}-controller") as user:
            for subject in [
                *forbidden(namespace),
                meta_subject(names.configs, "one/1"),
                f"$O.{names.configs}.C.x",
                f"$KV.{names.control}.other",
                f"{namespace}.svc.status",
            ]:
                assert await user.is_refused(subject), subject
            for key in CONTROLLERS_OWN:
                assert not await user.is_refused(f"$KV.{namespace}-{key}"), key
            for subject in (
                ">",
                "$KV.>",
                "$JS.>",
                "$SYS.>",
                "other.svc.>",
                f"{namespace}.events.>",
            ):
                assert await user.may_not_hear(subject), subject
        # Where the stream is there already, the one right over streams that it has changes nothing.
        before = await field.js.stream_info(f"KV_{names.pipelines}")
        async with connected(server, f"{namespace}-controller") as user:
            body = {"name": f"KV_{names.pipelines}", "subjects": ["x"], "max_msgs": 1}
            answer = await user.nc.request(
                f"$JS.API.STREAM.CREATE.KV_{names.pipelines}", json.dumps(body).encode()
            )
            assert "error" in json.loads(answer.data)
        assert (await field.js.stream_info(f"KV_{names.pipelines}")).config == before.config


@pytest.mark.fault(97)
@pytest.mark.parametrize(
    "reply",
    [
        "$JS.API.STREAM.DELETE.KV_{ns}-pipelines",
        "$JS.API.STREAM.PURGE.KV_{ns}-pipelines",
        "$KV.{ns}-pipelines.other",
        "$O.{ns}-configs.M.x",
        "$JS.API.INFO",
        "{ns}.svc.reconcile",
        "$SYS.REQ.SERVER.PING",
        "anything",
    ],
)
async def test_whatever_a_controller_is_made_to_answer_to_nats_refuses_what_is_no_inbox(
    namespace: str, tmp_path: Path, reply: str
) -> None:
    """Even by a controller that would answer anything: here its user answers as it is told."""
    config = pasted(namespace, ("controller",), ("viewer",))
    async with (
        NatsServer(tmp_path / "nats", config=config) as server,
        field_of(server.url, namespace) as field,
    ):
        await set_up(field)
        before = (await field.js.stream_info(f"KV_{namespace}-pipelines")).state
        async with (
            connected(server, f"{namespace}-controller") as controller,
            connected(server, f"{namespace}-viewer") as viewer,
        ):
            asked: asyncio.Queue[str] = asyncio.Queue()

            async def answer(message: nats.aio.msg.Msg) -> None:
                await asked.put(message.reply)

            await controller.nc.subscribe(f"{namespace}.svc.>", cb=answer)
            await controller.nc.flush()
            await (
                controller.nc.flush()
            )  # nats-py's first PING goes before what it still has to send
            await viewer.nc.publish(f"{namespace}.svc.logs", b"", reply=reply.format(ns=namespace))
            async with asyncio.timeout(30):
                told = await asked.get()
            assert await controller.is_refused(told)
        assert (await field.js.stream_info(f"KV_{namespace}-pipelines")).state == before


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


async def set_up(field: Field) -> None:
    """The buckets, as an administrator makes them, and one definition of another."""
    url = field.nc.connected_url
    assert url is not None
    async with connect(ConnectOptions(url.geturl()), name="admin", daemon=False) as link:
        await Store.open(link, field.names, create=True)
    await field.put("other")


@pytest.mark.parametrize("role", ROLES)
def test_a_shell_leaves_every_subject_of_the_command_as_it_is(role: str) -> None:
    key = ["one"] if role == "runner" else []
    command = printed("ns", role, *key, "-o", "nats-cli")
    asked = json.loads(printed("ns", role, *key, "-o", "json"))
    seen = subprocess.run(
        ["sh", "-c", 'nats() { printf "%s\\n" "$@"; }\n' + command],
        check=True,
        capture_output=True,
        text=True,
        env={"JS": "eaten", "KV": "eaten"},
    ).stdout.splitlines()
    assert seen == shlex.split(command.replace("\\\n", ""))[1:]
    assert [s.removeprefix("--pub-allow=") for s in seen if s.startswith("--pub-")] == asked[
        "publish"
    ]
    assert [s.removeprefix("--sub-allow=") for s in seen if s.startswith("--sub-")] == asked[
        "subscribe"
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["king"], "there are controller, runner"),
        (["runner"], "give its id"),
        (["controller", "one"], "takes no pipeline id"),
        (["author", "one.>"], "must be"),
        (["author", "*"], "must be"),
        (["viewer", "--inbox", "_INBOX.>"], "not the beginning of a subject"),
        (["viewer", "--inbox", 'a" "b'], "not the beginning of a subject"),
        (["viewer", "--password", 'a"}, {user: x}'], "no quotes"),
        (["viewer", "--nkey", "U\n"], "no quotes"),
        (["controller", "--api", "$JS..API"], "not the beginning of a subject"),
    ],
)
def test_what_would_print_other_rights_is_refused(words: list[str], said: str) -> None:
    done = CliRunner().invoke(cli, ["auth", *words, "-n", "ns"])
    assert done.exit_code != 0
    assert said in done.output
    assert "permissions" not in done.stdout


def test_no_role_may_have_responses_that_its_lists_do_not_allow() -> None:
    for role in ROLES:
        assert "allow_responses" not in printed("ns", role, *(["one"] if role == "runner" else []))
