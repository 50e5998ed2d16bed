"""Configurations in the Object Store: whole, verified, and in the form that others read."""

import asyncio
import base64
import json
import os

import pytest

from nexthos_shared.errors import (
    ConfigChanged,
    ConfigMissing,
    ConfigUnavailable,
    InvalidConfig,
    InvalidName,
)
from nexthos_shared.names import digest_of
from nexthos_shared.reasons import Reason
from nexthos_shared.store import MAX_CONFIG_BYTES

CHUNK = 128 * 1024
CONFIG = b"input: {stdin: {}}\n"


def meta_subject(store, name):
    return f"$O.{store.configs.name}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"


async def put_meta(store, name, meta):
    """What another program may have written."""
    await store.link.js.publish(
        meta_subject(store, name), json.dumps(meta).encode(), headers={"Nats-Rollup": "sub"}
    )


@pytest.mark.parametrize("size", [0, 1, 3000, CHUNK, CHUNK + 1, MAX_CONFIG_BYTES])
async def test_a_configuration_comes_back_as_it_was_put(store, size):
    content = os.urandom(size)
    info = await store.configs.put("orders", "1", content)
    assert (info.id, info.version, info.size) == ("orders", "1", size)
    assert info.digest == digest_of(content)
    assert info.created > 1_700_000_000
    assert await store.configs.get("orders", "1") == content
    assert await store.configs.get("orders", "1", digest=info.digest) == content
    assert await store.configs.info("orders", "1") == info


async def test_an_absent_configuration_is_named(store):
    assert await store.configs.info("orders", "1") is None
    with pytest.raises(ConfigMissing, match="orders/1"):
        await store.configs.get("orders", "1")


async def test_a_deleted_configuration_is_absent_and_may_be_deleted_again(store):
    await store.configs.put("orders", "1", CONFIG)
    for _ in range(2):
        await store.configs.delete("orders", "1")
    assert await store.configs.info("orders", "1") is None
    assert await store.configs.list() == []
    await store.configs.put("orders", "1", CONFIG)
    assert await store.configs.get("orders", "1") == CONFIG


async def test_other_bytes_than_were_pinned_are_never_returned(store):
    pinned = (await store.configs.put("orders", "1", CONFIG)).digest
    await store.configs.put("orders", "1", b"input: {generate: {}}\n")
    with pytest.raises(ConfigChanged, match=pinned):
        await store.configs.get("orders", "1", digest=pinned)


async def test_the_same_bytes_once_more_write_nothing(store):
    first = await store.configs.put("orders", "1", CONFIG)
    assert await store.configs.put("orders", "1", CONFIG) == first


async def test_overwriting_leaves_no_chunk_of_the_old_bytes(store):
    for n in range(3):
        await store.configs.put("orders", "1", str(n).encode())
    state = (await store.link.js.stream_info(store.configs.stream)).state
    assert state.messages == 2  # a meta and a chunk


async def test_a_large_configuration_is_refused_before_it_is_sent(store):
    with pytest.raises(InvalidConfig) as refused:
        await store.configs.put("orders", "1", b"x" * (MAX_CONFIG_BYTES + 1))
    assert refused.value.problem.reason is Reason.CONFIG_TOO_LARGE
    assert await store.configs.list() == []


async def test_a_large_object_is_refused_from_its_meta_alone(store):
    objects = await store.link.js.object_store(store.configs.name)
    await objects.put("orders/1", b"x" * (MAX_CONFIG_BYTES + 1))
    await store.link.js.purge_stream(store.configs.stream, subject=f"$O.{store.configs.name}.C.>")
    with pytest.raises(InvalidConfig, match=str(MAX_CONFIG_BYTES)):
        await store.configs.get("orders", "1")


@pytest.mark.parametrize(
    ("key", "version"), [("Orders", "1"), ("a.b", "1"), ("a", "b/c"), ("", "1")]
)
async def test_a_configuration_needs_a_checked_name(store, key, version):
    with pytest.raises(InvalidName):
        await store.configs.put(key, version, CONFIG)


async def test_damaged_bytes_are_never_returned(store):
    info = await store.configs.put("orders", "1", CONFIG)
    await store.link.js.purge_stream(store.configs.stream, subject=f"$O.{store.configs.name}.C.>")
    with pytest.raises(ConfigUnavailable, match="orders/1"):
        await store.configs.get("orders", "1")
    await store.link.js.publish(f"$O.{store.configs.name}.C.{info.nuid}", b"x" * len(CONFIG))
    with pytest.raises(ConfigUnavailable, match="orders/1"):
        await store.configs.get("orders", "1")


async def test_an_object_overwritten_during_the_read_is_read_whole(store):
    versions = [bytes([n]) * (3 * CHUNK) for n in range(4)]
    await store.configs.put("orders", "1", versions[0])
    writing = True

    async def overwrite():
        n = 0
        while writing:
            n += 1
            await store.configs.put("orders", "1", versions[n % len(versions)])

    writer = asyncio.create_task(overwrite())
    try:
        for _ in range(100):
            assert await store.configs.get("orders", "1") in versions
    finally:
        writing = False
        await writer


async def test_the_list_has_what_is_stored_oldest_first_by_pipeline_or_all(store):
    assert await store.configs.list() == []
    for name, version in (("b", "2"), ("a", "1"), ("b", "1")):
        await store.configs.put(name, version, f"{name}{version}".encode())
    await store.configs.put("c", "1", CONFIG)
    await store.configs.delete("c", "1")

    def named(infos):
        return [(i.id, i.version) for i in infos]

    assert named(await store.configs.list()) == [("b", "2"), ("a", "1"), ("b", "1")]
    assert named(await store.configs.list("b")) == [("b", "2"), ("b", "1")]


async def test_other_programs_read_what_we_put(store):
    content = os.urandom(CHUNK + 17)
    await store.configs.put("orders", "1", content, description="words")
    objects = await store.link.js.object_store(store.configs.name)
    found = await objects.get("orders/1")
    assert found.data == content
    assert found.info.description == "words"
    assert found.info.chunks == 2


async def test_the_meta_is_in_the_standard_form(store):
    info = await store.configs.put("orders", "1", CONFIG)
    stored = await store.link.js.get_last_msg(store.configs.stream, meta_subject(store, "orders/1"))
    meta = json.loads(stored.data)
    digest = base64.urlsafe_b64encode(bytes.fromhex(info.digest.removeprefix("sha256:"))).decode()
    assert meta["name"] == "orders/1"
    assert meta["bucket"] == store.configs.name
    assert meta["digest"] == f"SHA-256={digest}"
    assert (meta["size"], meta["chunks"], meta["nuid"]) == (len(CONFIG), 1, info.nuid)
    assert meta["options"]["max_chunk_size"] == CHUNK
    assert stored.headers["Nats-Rollup"] == "sub"
    headers = meta.get("headers") or {}
    assert all(isinstance(value, list) for value in headers.values())


@pytest.mark.parametrize(
    "meta",
    [
        "text",
        [],
        {},
        {"name": "orders/1", "size": "many"},
        {"name": "orders/1", "size": 3, "digest": "SHA-256=!"},
        {"name": "Not/An/Id", "size": 3, "digest": ""},
        {"name": "orders/1", "size": 3, "nuid": ">", "digest": "SHA-256=AAAA"},
        {"name": "orders/1", "size": -3, "nuid": "a b", "digest": "SHA-256=AAAA"},
        {"name": "orders/1", "options": {"link": {"bucket": "b", "name": "n"}}},
    ],
)
async def test_a_meta_that_another_program_broke_harms_nobody(store, meta):
    await store.configs.put("good", "1", CONFIG)
    await put_meta(store, "orders/1", meta)
    with pytest.raises(InvalidConfig, match=r"orders/1: its meta can't be used: .+; put it again"):
        await store.configs.get("orders", "1")
    assert [(i.id, bool(i.broken)) for i in await store.configs.list()] == [
        ("good", False),
        ("orders", True),
    ]
