"""What somebody writes who may write one key, meta or object: others are acted upon, and it is told."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from contextlib import asynccontextmanager
from functools import partial

import pytest

from nexthos_controller.loop.sources import Sources
from nexthos_shared import object_format
from nexthos_shared.nats.connection import ConnectOptions, connect
from nexthos_shared.reasons import Reason
from nexthos_shared.store import Store
from nexthos_testing import hostile
from nexthos_testing.hostile import raw_nats
from nexthos_testing.house import CONFIG
from nexthos_testing.wait import eventually


async def ready(house) -> tuple[int, str]:
    """What /readyz says."""

    def ask() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"{house.running.http}/readyz", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(ask)


async def problems(house):
    reply = await house.field.request("status")
    return reply.get("problems", [])


async def skipped(house) -> list[str]:
    return [p["message"] for p in await problems(house) if p["reason"] == Reason.MESSAGE_SKIPPED]


def meta_subject(house, name: str) -> bytes:
    return object_format.meta_subject(house.field.names.configs, name).encode()


async def acts_on(house, key: str) -> None:
    """A healthy pipeline is published, and runs."""
    await house.publish(key)
    await house.field.reaches(key, "Running")
    assert (await ready(house))[0] == 200


POISON = [b'{"size": 1e999}', b"[" * 200_000, b"", b"\xff", b'{"name": "bad/1", "size": "\\ud800"}']


@pytest.mark.fault(99)
@pytest.mark.parametrize("poison", POISON, ids=range(len(POISON)))
async def test_a_poisoned_meta_costs_its_own_pipeline_alone_also_after_a_restart(builder, poison):
    async with builder.house() as house:
        await acts_on(house, "before")
        async with raw_nats(builder.url) as raw:
            await raw.publish(meta_subject(house, "bad/1"), poison)
        await house.field.put("bad")
        status = await house.field.reaches("bad", "Invalid")
        assert status.complaint is not None
        assert status.complaint.reason is Reason.CONFIG_DAMAGED
        assert "bad/1" in status.complaint.message
        await acts_on(house, "after")
    async with builder.house() as house:
        await acts_on(house, "again")
        [words] = await skipped(house)
        assert meta_subject(house, "bad/1").decode() in words
        assert "sequence" in words
        assert "bad/1" in words
        # Put again, it is as good as any. Client libraries stumble over the old meta; ours does not.
        async with connect(ConnectOptions(builder.url), name="author", daemon=False) as link:
            store = Store.of(link, house.field.names)
            await store.configs.put("bad", "1", CONFIG.encode())
        await house.field.reaches("bad", "Running")
        await eventually(lambda: nothing_is_skipped(house))


async def nothing_is_skipped(house) -> bool:
    return not await skipped(house)


async def test_a_meta_that_calls_itself_another_s_changes_nothing_of_that_one(house):
    await acts_on(house, "orders")
    async with raw_nats(house.running.context.options.url) as raw:
        other = hostile.meta("orders/1", b"other bytes")
        await raw.publish(meta_subject(house, "mine/1"), other)
    await eventually(partial(told_of, house, "mine/1"))
    status = await house.field.status("orders")
    assert status.phase == "Running"
    assert status.complaint is None


async def told_of(house, name: str) -> bool:
    return any(name in words for words in await skipped(house))


async def test_a_message_whose_reader_fails_is_passed_over_and_told(house, monkeypatch):
    real = object_format.info_of

    def fails(answer, pipeline_id, version):
        if pipeline_id == "bad":
            raise RecursionError("by a defect")
        return real(answer, pipeline_id, version)

    monkeypatch.setattr(object_format, "info_of", fails)
    await house.field.config("bad", CONFIG)
    await eventually(partial(told_of, house, "RecursionError"))
    await acts_on(house, "good")


HEADS = [
    b"abcd",
    b"NATS/1.0",
    b"NATS/1.0\r\n",
    b"NATS/1.0 \xff\xfe\xff\r\n\r\n",
    b"NATS/1.0\r\nStatus: 404\r\n\r\n",
    b"NATS/1.0\r\nStatus: 503\r\n\r\n",
    b"NATS/1.0\r\nStatus: 100\r\nDescription: Idle Heartbeat\r\nNats-Consumer-Stalled: %s\r\n\r\n",
    b"NATS/1.0\r\nStatus: 100\r\nDescription: FlowControl Request\r\n\r\n",
    b"NATS/1.0 100 Idle Heartbeat\r\nNats-Consumer-Stalled: %s\r\n\r\n",
    b"NATS/1.0\r\nNats-Sequence: x\r\nNats-Time-Stamp: yesterday\r\n\r\n",
    b"NATS/1.0\r\nNats-Last-Consumer: x\r\nStatus: 100\r\nDescription: Idle Heartbeat\r\n\r\n",
]


@pytest.mark.fault(99)
@pytest.mark.parametrize("head", HEADS, ids=range(len(HEADS)))
async def test_headers_of_a_stored_message_neither_deafen_nor_command_the_controller(builder, head):
    target = f"{builder.namespace}.never"
    async with builder.house() as house:
        heard = await house.field.nc.subscribe(target)
        names = house.field.names
        if b"%s" in head:
            head = head % target.encode()
        async with raw_nats(builder.url) as raw:
            for bucket in (names.pipelines, names.status, names.control):
                await raw.publish(f"$KV.{bucket}.bad".encode(), head=head)
            await raw.publish(meta_subject(house, "bad/1"), head=head)
        await acts_on(house, "good")
        for watch, entries in (("entries", names.pipelines), ("statuses", names.status)):
            assert not house.running.context.link.behind, (watch, entries)
    async with builder.house() as house:
        await acts_on(house, "again")
    assert heard.pending_msgs == 0


async def test_a_lease_with_any_headers_and_bytes_is_had_in_the_end(builder):
    async with builder.house():
        pass
    names = f"$KV.{builder.namespace}-control.lease".encode()
    async with raw_nats(builder.url) as raw:
        await raw.publish(names, head=b"NATS/1.0\r\nStatus: 503\r\n\r\n")
    async with builder.house() as house:
        await acts_on(house, "good")


@asynccontextmanager
async def inbox_of(house, bucket: str):
    """The inbox of a watch, as somebody could know it who sees it on the wire."""
    subscriptions = house.running.context.link.nc._subs.values()
    stream = f"KV_{bucket}"
    [found] = [s for s in subscriptions if s._jsi is not None and s._jsi._stream == stream]
    yield found.subject.encode()


@pytest.mark.fault(99)
@pytest.mark.parametrize(
    ("reply", "head"),
    [
        (b"", None),
        (b"x", None),
        (b"", b"NATS/1.0 100 Idle Heartbeat\r\nNats-Consumer-Stalled: %s\r\n\r\n"),
        (b"", b"NATS/1.0 100 Idle Heartbeat\r\n Nats-Consumer-Stalled :%s\r\n\r\n"),
        (b"%s", b"NATS/1.0 100 FlowControl Request\r\n\r\n"),
        (b"\xff\xfe", None),
    ],
)
async def test_what_somebody_sends_to_a_watch_s_inbox_is_dropped_and_counted(house, reply, head):
    target = f"{house.field.names.namespace}.never".encode()
    heard = await house.field.nc.subscribe(target.decode())
    before = house.running.context.link.skips.total
    async with (
        inbox_of(house, house.field.names.pipelines) as inbox,
        raw_nats(house.running.context.options.url) as raw,
    ):
        fill = {
            "reply": reply.replace(b"%s", target),
            "head": head.replace(b"%s", target) if head else None,
        }
        for number in range(3):  # two that are the same are one
            await raw.publish(inbox, b"x" * number if head is None else b"", **fill)
    await eventually(lambda: house.running.context.link.skips.total > before)
    await acts_on(house, "good")
    assert heard.pending_msgs == 0


async def test_a_request_whose_reply_is_no_text_leaves_the_controller_its_ears(house):
    subject = f"{house.field.names.namespace}.svc.status".encode()
    async with raw_nats(house.running.context.options.url) as raw:
        await raw.publish(subject, b"", reply=b"\xff\xfe.x")
        await raw.publish(subject, b"", head=b"ab")
    await acts_on(house, "good")


def test_inboxes_can_not_be_told_from_one_another():
    from nexthos_shared.nats.connection import Link

    nc = Link().nc
    one, two = (nc.new_inbox().removeprefix("_INBOX.") for _ in range(2))
    assert len(one) == len(two) == 22
    assert sum(a == b for a, b in zip(one, two, strict=True)) < 12


async def test_a_place_declared_gone_while_a_term_begins_makes_nothing_an_orphan(
    builder, monkeypatch
):
    async with builder.house() as house:
        await acts_on(house, "orders")
        names = house.field.names
        async with raw_nats(builder.url) as raw:
            await raw.publish(f"$KV.{names.control}.abandoned.elsewhere".encode(), b"{}")
    entries = Sources._entries

    async def late(sources: Sources) -> None:
        await eventually(lambda: sources._controller.abandoned)
        await eventually(lambda: len(sources._controller.queue) == 0)
        await entries(sources)

    monkeypatch.setattr(Sources, "_entries", late)
    async with builder.house() as house:
        await acts_on(house, "more")
        told = [event.data.reason for event in await house.field.events("orders")]
        assert Reason.ORPHANED not in told
