"""Replies go to inboxes only, whatever a request names; with the few rights that a requester has."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from nexthos_controller.api.log_stream import MOST_FOLLOWERS
from nexthos_testing.guarded import controller_user
from nexthos_testing.house import Builder, House
from nexthos_testing.log_reader import in_flight, log_reader
from nexthos_testing.nats import NatsServer
from nexthos_testing.wait import eventually

FEW = """
authorization {{ users: [
  {{user: all, password: p}},
  {{user: few, password: p, permissions: {{
    publish: ["{ns}.svc.>", "$SRV.>"], subscribe: ["_INBOX.>", "_INBOX_few.>"]}}}}
  {controller}
] }}
no_auth_user: all
"""


def config_of(text: str, namespace: str) -> str:
    """The configuration of a server with these users and the controller's."""
    controller = controller_user(namespace)
    answers = (
        '"_INBOX.>"\n"_INBOX_few.>"'  # as its administrator lets it answer a user's own inboxes
    )
    return text.format(ns=namespace, controller=controller.replace('"_INBOX.>"', answers))


REPLIES = [
    "$JS.API.STREAM.DELETE.KV_{ns}-pipelines",
    "$JS.API.STREAM.PURGE.KV_{ns}-pipelines",
    "$JS.API.STREAM.UPDATE.KV_{ns}-pipelines",
    "$JS.API.CONSUMER.DELETE.KV_{ns}-pipelines.x",
    "$JS.API.INFO",
    "$JS.API.STREAM.MSG.DELETE.KV_{ns}-status",
    "$JS.FC.KV_{ns}-pipelines.x.y",
    "$KV.{ns}-pipelines.other",
    "$KV.{ns}-control.installation",
    "$KV.{ns}-status.orders",
    "$O.{ns}-configs.M.b3JkZXJzLzE=",
    "$SRV.PING",
    "$SYS.REQ.SERVER.PING",
    "{ns}.svc.status",
    "{ns}.svc.logs",
    "{ns}.events.orders.Ready",
    "{ns}-pipelines.x",
    "orders.new",
    "_INBOX",
    "_INBOX.>",
    "_INBOX.*",
    "_INBOXES.x",
    "_inbox.x",
    "_R_",
    "_INBOX.é",
    "_INBOX.{long}",
]


@dataclass
class Attack:
    """The house, whoever may only ask, and all that is sent in the account."""

    house: House
    few: Client
    recorded: list[Msg]
    watcher: Client

    @property
    def replies(self) -> list[str]:
        ns = self.house.field.names.namespace
        return [subject.format(ns=ns, long="x" * 2000) for subject in REPLIES]

    @property
    def dropped(self) -> int:
        name = "nexthos_replies_dropped_total"
        return int(self.house.running.context.registry.get_sample_value(name) or 0)

    async def ask(self, subject: str, body: bytes) -> None:
        """One request with each reply that is no inbox; return when all were dropped."""
        before = self.dropped
        for reply in self.replies:
            await self.few.publish(subject, body, reply=reply)
        await eventually(lambda: self.dropped == before + len(self.replies))

    async def sent(self) -> list[str]:
        """What was sent to any of them up to now."""
        user = self.house.field
        assert (await user.request("status"))["ready"]  # behind all that was asked before
        await self.watcher.flush()
        replies = set(self.replies)
        ours = bytes(user.nc._resp_sub_prefix or b"").decode()

        def is_asked(message: Msg) -> bool:  # `svc.status` is one of the replies
            return message.reply in replies or message.reply.startswith(ours)

        found = [m for m in self.recorded if m.subject in replies]
        return [m.subject for m in found if not is_asked(m)]


@pytest.fixture
async def attack(namespace: str, tmp_path: Path) -> AsyncIterator[Attack]:
    async with NatsServer(tmp_path / "nats", config=config_of(FEW, namespace)) as server:
        builder = Builder(server.url, namespace, tmp_path / "state")
        few = await nats.connect(server.url, user="few", password="p", inbox_prefix="_INBOX_few")
        watcher = await nats.connect(server.url)
        recorded: list[Msg] = []

        async def record(message: Msg) -> None:
            recorded.append(message)

        async with builder.house() as house:
            await watcher.subscribe(">", cb=record)
            await watcher.flush()
            await watcher.flush()  # nats-py's first PING goes before what it still has to send
            yield Attack(house, few, recorded, watcher)
        await few.close()
        await watcher.close()


REQUESTS = {
    "status": [b"", b'{"id": "orders"}', b'{"id": "nobody"}', b"\xff{", b"x" * 300_000],
    "list": [b"", b'{"limit": 0}'],
    "reconcile": [b"", b'{"id": "orders"}', b'{"timeout": "soon"}', b'{"id": "nobody"}'],
    "logs": [b'{"id": "orders"}', b'{"id": "orders", "follow": true}', b'{"id": "nobody"}', b"["],
    "usage": [b"", b'{"ids": ["nobody"]}', b"[]"],
    "config.orders": [b'{"version": "1"}', b'{"version": "9"}', b"[", b""],
}


@pytest.mark.fault(89)
async def test_no_endpoint_sends_anything_to_a_reply_that_is_no_inbox(attack: Attack) -> None:
    house = attack.house
    await house.publish("orders")
    await house.field.reaches("orders", "Running")
    offered = {e.name for e in house.running.term.answers.endpoints()}  # type: ignore[union-attr]
    assert offered == {endpoint.partition(".")[0] for endpoint in REQUESTS}
    revision = (await house.field.request("status", id="orders"))["revision"]
    attack.recorded.clear()
    for endpoint, bodies in REQUESTS.items():
        for body in bodies:
            await attack.ask(house.field.names.endpoint(endpoint), body)
    assert await in_flight(house.field) == 0
    assert await attack.sent() == []
    assert (await house.field.request("status", id="orders"))["revision"] == revision
    assert (await house.field.request("list"))["total"] == 1


@pytest.mark.fault(89)
async def test_what_every_service_of_nats_answers_goes_to_inboxes_only(attack: Attack) -> None:
    house = attack.house
    names = ["", f".{house.field.names.service}"]
    reply = await house.field.nc.request(f"$SRV.PING.{house.field.names.service}", b"")
    names.append(f"{names[1]}.{json.loads(reply.data)['id']}")
    attack.recorded.clear()
    for verb in ("PING", "INFO", "STATS"):
        for name in names:
            await attack.ask(f"$SRV.{verb}{name}", b"")
    assert await attack.sent() == []


@pytest.mark.fault(89)
async def test_a_standby_sends_nothing_to_a_reply_that_is_no_inbox(
    attack: Attack, tmp_path: Path
) -> None:
    url = attack.house.running.context.options.url
    beside = Builder(url, attack.house.field.names.namespace, tmp_path / "beside")
    async with beside.house(leads=False) as standby:
        other = Attack(standby, attack.few, attack.recorded, attack.watcher)
        assert standby.running.term is None

        async def answers() -> bool:
            return bool((await standby.field.request("status"))["acts"]) is False

        await eventually(answers)  # requests are shared out among both
        before = attack.dropped + other.dropped
        attack.recorded.clear()
        for endpoint in ("status", "list"):
            for body in REQUESTS[endpoint]:
                for reply in attack.replies:
                    subject = standby.field.names.endpoint(endpoint)
                    await attack.few.publish(subject, body, reply=reply)
        count = len(attack.replies) * len(REQUESTS["status"] + REQUESTS["list"])
        await eventually(lambda: attack.dropped + other.dropped == before + count)
        assert other.dropped > 0
        assert await attack.sent() == []


@pytest.mark.fault(89)
async def test_followers_whose_reply_is_no_inbox_or_heard_by_nobody_take_no_place(
    attack: Attack,
) -> None:
    house = attack.house
    await house.publish("orders")
    await house.field.reaches("orders", "Running")
    subject, body = house.field.names.endpoint("logs"), b'{"id": "orders", "follow": true}'
    for number in range(MOST_FOLLOWERS):
        await attack.few.publish(subject, body, reply="$JS.API.INFO")
        await attack.few.publish(subject, body, reply=f"_R_.gone{number}")
    await attack.few.flush()
    await eventually(lambda: attack.dropped == MOST_FOLLOWERS)
    await attack.watcher.close()  # who records on `>` listens to inboxes too

    async def free() -> bool:
        return await in_flight(house.field) == 0

    await eventually(free)
    async with log_reader(house.field, "orders", follow=True) as reader:
        await reader.take(await reader.next())
        assert reader.error is None


@pytest.mark.fault(89)
async def test_a_reply_that_the_controller_itself_would_receive_is_dropped(attack: Attack) -> None:
    """Its answers are read as JetStream's there: of a get, of a publish, of a feed."""
    context = attack.house.running.context
    inboxes = {
        s.subject.replace("*", "x")
        for nc in {link.nc for link in context.replies.links}
        for s in nc._subs.values()
        if s.subject.startswith("_INBOX.")
    }
    assert len(inboxes) > 2
    attack.recorded.clear()
    for inbox in inboxes:
        await attack.few.publish(attack.house.field.names.endpoint("status"), b"", reply=inbox)
    await eventually(lambda: attack.dropped == len(inboxes))
    await attack.sent()
    assert [m for m in attack.recorded if m.subject in inboxes and b"ready" in m.data] == []


async def test_a_user_with_inboxes_of_its_own_is_answered(attack: Attack) -> None:
    subject = attack.house.field.names.endpoint("status")
    reply = await attack.few.request(subject, b"", timeout=5)
    assert json.loads(reply.data)["ready"]
    assert attack.dropped == 0


IMPORT = """
accounts {{
  HOME {{ jetstream: enabled, users: [{{user: home, password: p}}, {controller}],
         exports: [{{service: "{ns}.svc.>", response: stream}}] }}
  AWAY {{ users: [{{user: away, password: p}}],
         imports: [{{service: {{account: HOME, subject: "{ns}.svc.>"}}}}] }}
}}
no_auth_user: home
"""


async def test_a_request_of_another_account_is_answered(namespace: str, tmp_path: Path) -> None:
    async with NatsServer(tmp_path / "nats", config=config_of(IMPORT, namespace)) as server:
        builder = Builder(server.url, namespace, tmp_path / "state")
        away = await nats.connect(server.url, user="away", password="p")
        async with builder.house() as house:
            names = house.field.names
            reply = await away.request(names.endpoint("status"), b"", timeout=5)
            assert json.loads(reply.data)["ready"]
            for subject in ("$JS.API.INFO", f"$KV.{names.pipelines}.other"):
                await away.publish(names.endpoint("status"), b"", reply=subject)
            assert json.loads((await away.request(names.endpoint("list"), b"")).data)["total"] == 0
        await away.close()
