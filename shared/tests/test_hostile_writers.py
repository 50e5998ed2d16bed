"""Who may write one meta harms no other object by it; and no subject of theirs reaches the wire."""

import json

import pytest

from nexthos_shared import object_format
from nexthos_shared.errors import InvalidName
from nexthos_testing import hostile
from nexthos_testing.hostile import raw_nats

CONFIG = b"input: {stdin: {}}\noutput: {drop: {}}\n"
INJECTED = "x y 0\r\n\r\nPUB $JS.API.STREAM.PURGE.KV_a 0\r\n\r\n"
NO_SUBJECTS = ["", "a b", "a\tb", "a\r\nPUB b 0\r\n\r\n", "a\x00b", "a.\x7f", f"$O.a.C.{INJECTED}"]
WILDCARDS = ["*", ">", "a.*", "a.>", "a.*.b", "$O.a.C.>"]


def meta_subject(store, name):
    return object_format.meta_subject(store.configs.name, name).encode()


async def write_meta(store, name, value):
    async with raw_nats(store.link.options.url) as raw:
        await raw.publish(meta_subject(store, name), value)


@pytest.mark.fault(102)
@pytest.mark.parametrize("subject", NO_SUBJECTS + WILDCARDS)
async def test_no_such_subject_is_published_to_or_asked_or_answered_at(link, subject):
    for attempt in (
        lambda: link.nc.publish(subject, b"x"),
        lambda: link.nc.request(subject, b"x"),
        lambda: link.nc.publish("a", b"x", reply=subject or "a b"),
        lambda: link.nc._send_publish(subject, "", b"", 0, None),
    ):
        with pytest.raises(Exception, match=r"subject|Subject"):
            await attempt()


@pytest.mark.parametrize("subject", NO_SUBJECTS)
async def test_no_such_subject_is_subscribed_to(link, subject):
    with pytest.raises(Exception, match=r"subject|Subject"):
        await link.nc.subscribe(subject)
    with pytest.raises(Exception, match=r"subject|Subject|queue"):
        await link.nc.subscribe("a", queue=subject or "a b")


async def test_the_last_check_before_the_wire_is_ours_and_names_the_subject(link):
    with pytest.raises(InvalidName, match="white space or controls"):
        await link.nc._send_publish("a b", "", b"", 0, None)
    with pytest.raises(InvalidName, match="a wildcard is no subject to write to"):
        await link.nc._send_publish("a.>", "", b"", 0, None)


@pytest.mark.parametrize("nuid", [">", "*", INJECTED, "a.>", 7, None])
async def test_a_configuration_is_put_over_a_meta_with_such_a_nuid_and_no_chunk_is_lost(
    store, nuid
):
    good = await store.configs.put("good", "1", CONFIG)
    await write_meta(store, "orders/1", hostile.meta("orders/1", b"abc", nuid=nuid))
    await store.configs.put("orders", "1", CONFIG + b"# mine\n")
    assert await store.configs.get("orders", "1") == CONFIG + b"# mine\n"
    assert await store.configs.get("good", "1") == CONFIG
    assert await store.configs.info("good", "1") == good


@pytest.mark.parametrize("poison", [b'{"size": 1e999}', b"[" * 200_000, b"", b"\xff"])
async def test_what_can_not_be_read_is_listed_deleted_and_put_again(store, poison):
    await store.configs.put("orders", "1", CONFIG)
    await write_meta(store, "orders/2", poison)
    assert [(i.version, bool(i.broken)) for i in await store.configs.list("orders")] == [
        ("1", False),
        ("2", True),
    ]
    assert await store.configs.delete_all("orders") == ["1", "2"]
    assert await store.configs.list("orders") == []
    assert await store.configs.info("orders", "2") is None
    await write_meta(store, "orders/2", poison)
    await store.configs.delete("orders", "2")
    await store.configs.put("orders", "2", CONFIG)
    assert await store.configs.get("orders", "2") == CONFIG


async def test_a_meta_with_another_s_nuid_does_not_take_that_one_s_chunks_along(store):
    good = await store.configs.put("good", "1", CONFIG)
    await write_meta(store, "orders/1", hostile.meta("orders/1", CONFIG, nuid=good.nuid))
    await store.configs.put("orders", "1", b"input: {}\n")
    assert await store.configs.get("good", "1") == CONFIG
    await write_meta(store, "orders/1", hostile.meta("orders/1", CONFIG, nuid=good.nuid))
    await store.configs.delete_all("orders")
    assert await store.configs.get("good", "1") == CONFIG


async def test_what_we_write_and_delete_other_clients_read_as_it_is(store):
    content = b"x" * (300 * 1024)
    await store.configs.put("orders", "1", content, description="why")
    theirs = await store.link.js.object_store(store.configs.name)
    assert (await theirs.get("orders/1")).data == content
    info = await theirs.get_info("orders/1")
    assert (info.chunks, info.description) == (3, "why")
    await store.configs.delete("orders", "1")
    info = await theirs.get_info("orders/1", show_deleted=True)
    assert info.deleted
    state = (await store.link.js.stream_info(store.configs.stream)).state
    assert state.messages == 1  # the deleted meta: its chunks are gone


async def test_a_stored_message_s_own_headers_do_not_say_what_it_is(store):
    async with raw_nats(store.link.options.url) as raw:
        head = b"NATS/1.0\r\nStatus: 404\r\nNats-Sequence: 99\r\nNats-Time-Stamp: x\r\n\r\n"
        await raw.publish(f"$KV.{store.pipelines.name}.orders".encode(), head=head)
    entry = await store.pipelines.get("orders")
    assert entry is not None
    assert (entry.revision, entry.value) == (1, b"")


def test_raw_bytes_of_a_meta_are_what_they_are_said_to_be():
    assert json.loads(hostile.meta("orders/1", b"abc"))["size"] == 3
