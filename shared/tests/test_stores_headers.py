"""One key's right to write is a right to that key: no header reaches another, nor what it held before.

Each test is a user who may publish `$KV.<ns>-pipelines.one` (or one key of control), and nothing else.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from nexthos_shared.errors import StoreUnavailable
from nexthos_shared.names import LEASE_KEY, Names
from nexthos_shared.nats.connection import ConnectOptions, connect
from nexthos_shared.store import Store
from nexthos_testing.nats import NatsServer

NAMES = Names("a")
OWN = {
    "pipelines": f"$KV.{NAMES.pipelines}.one",
    "status": f"$KV.{NAMES.status}.one",
    "control": f"$KV.{NAMES.control}.one",
}


def users(subject: str) -> str:
    few = f'{{publish: "{subject}", subscribe: "_INBOX.>"}}'
    attacker = f"{{user: attacker, password: p, permissions: {few}}}"
    return f"authorization {{ users: [{{user: admin, password: p}}, {attacker}] }}\nno_auth_user: admin\n"


@asynccontextmanager
async def attacked(tmp_path, kind):
    """The store with three keys of two revisions each, and the attacker's connection."""
    async with (
        NatsServer(tmp_path / "n", config=users(OWN[kind])) as server,
        connect(ConnectOptions(server.url), name="admin", daemon=False) as admin,
        connect(
            ConnectOptions(server.url, user="attacker", password="p"), name="attacker", daemon=False
        ) as attacker,
    ):
        store = await Store.open(admin, NAMES, create=True)
        for key in ("one", "two", "three"):
            for value in (b"1", b"2"):
                await bucket_of(store, kind).put(key, value)
        yield store, attacker


def bucket_of(store, kind):
    return {"pipelines": store.pipelines, "status": store.statuses, "control": store.control}[kind]


async def answer(attacker, subject, headers, payload=b""):
    """JetStream's answer to what was published."""
    reply = await attacker.nc.request(subject, payload, headers=headers, timeout=5)
    return json.loads(reply.data)


REFUSED = {
    "rollup of all": {"Nats-Rollup": "all"},
    "rollup of a key": {"Nats-Rollup": "sub"},
    "a purge with a rollup": {"KV-Operation": "PURGE", "Nats-Rollup": "sub"},
    "a schedule": {
        "Nats-Schedule": "@at 2030-01-01T00:00:00Z",
        "Nats-Schedule-Target": f"$KV.{NAMES.pipelines}.two",
    },
    "a counter": {"Nats-Incr": "+1"},
    "a batch": {"Nats-Batch-Id": "b", "Nats-Batch-Sequence": "1", "Nats-Batch-Commit": "1"},
    "another stream's name": {"Nats-Expected-Stream": "KV_other"},
    "another sequence": {"Nats-Expected-Last-Sequence": "1"},
}


@pytest.mark.fault(96)
@pytest.mark.parametrize("kind", sorted(OWN))
async def test_no_header_of_one_keys_writer_reaches_another_key(tmp_path, kind):
    async with attacked(tmp_path, kind) as (store, attacker):
        bucket = bucket_of(store, kind)
        before = [await bucket.history(key) for key in ("one", "two", "three")]
        for name, headers in REFUSED.items():
            assert "error" in await answer(attacker, OWN[kind], headers, b"x"), name
        assert [await bucket.history(key) for key in ("one", "two", "three")] == before


@pytest.mark.fault(96)
@pytest.mark.parametrize("kind", ["pipelines", "status"])
async def test_no_key_can_be_made_to_expire_and_bring_an_older_one_back(tmp_path, kind):
    async with attacked(tmp_path, kind) as (store, attacker):
        for ttl in ("1", "never"):
            assert "error" in await answer(attacker, OWN[kind], {"Nats-TTL": ttl}, b"x")
        assert (await bucket_of(store, kind).get("one")).value == b"2"


@pytest.mark.parametrize("operation", ["DEL", "PURGE"])
async def test_a_marker_of_whichever_kind_deletes_its_own_key_and_keeps_its_history(
    tmp_path, operation
):
    async with attacked(tmp_path, "pipelines") as (store, attacker):
        answered = await answer(attacker, OWN["pipelines"], {"KV-Operation": operation})
        assert "error" not in answered
        assert [e.value for e in await store.pipelines.history("one")] == [b"1", b"2", None]
        assert (await store.pipelines.get("two")).value == b"2"


async def test_a_message_id_that_somebody_used_before_drops_no_write_of_ours(tmp_path):
    async with attacked(tmp_path, "pipelines") as (store, attacker):
        for number in range(20):
            headers = {"Nats-Msg-Id": f"two.{number}"}
            assert "error" not in await answer(attacker, OWN["pipelines"], headers, b"x")
        revision = await store.pipelines.put("two", b"3")
        assert (await store.pipelines.get("two")).revision == revision
        assert (await store.pipelines.get("two")).value == b"3"


async def test_a_compare_and_set_on_another_key_writes_the_own_one_only(tmp_path):
    async with attacked(tmp_path, "pipelines") as (store, attacker):
        two = await store.pipelines.get("two")
        headers = {
            "Nats-Expected-Last-Subject-Sequence": str(two.revision),
            "Nats-Expected-Last-Subject-Sequence-Subject": f"$KV.{NAMES.pipelines}.two",
        }
        await answer(attacker, OWN["pipelines"], headers, b"x")
        assert await store.pipelines.get("two") == two


# Buckets that were made before, or by hand


OLD = {
    "allow_rollup_hdrs": True,
    "deny_delete": False,
    "allow_direct": False,
    "max_age": 3600 * 10**9,
}


async def made_by_hand(store, stream, **settings):
    """The stream anew, with other settings; what nobody asked for is as it was."""
    subject = f"$JS.API.STREAM.%s.{stream}"
    stored = (await store.link.js._api_request(subject % "INFO"))["config"]
    await store.link.js.delete_stream(stream)
    config = {**stored, **settings, "description": "by hand"}
    await store.link.js._api_request(subject % "CREATE", json.dumps(config).encode())


async def test_a_bucket_with_other_settings_is_put_right_and_keeps_all_else(store):
    stream = store.pipelines.stream
    await made_by_hand(store, stream, **OLD, max_msgs_per_subject=10)
    await store.pipelines.put("one", b"1")
    found = await store.differing()
    assert {d.setting for d in found[stream]} == set(OLD)
    assert {d.setting for d in await store.mend(stream)} == set(OLD)
    assert await store.differing() == {}
    assert await store.mend(stream) == []
    config = (await store.link.js.stream_info(stream)).config
    assert (config.description, config.max_msgs_per_subject) == ("by hand", 10)
    assert (await store.pipelines.get("one")).value == b"1"


async def test_the_markers_of_an_older_control_bucket_go_with_its_rollups(store):
    marked = {"subject_delete_marker_ttl": 60 * 10**9, "allow_rollup_hdrs": True}
    await made_by_hand(store, store.control.stream, **marked)
    assert {d.setting for d in await store.mend(store.control.stream)} == set(marked)
    revision = await store.control.update(LEASE_KEY, b"me", 0, ttl=600)
    assert (await store.control.get(LEASE_KEY)).revision == revision


@pytest.mark.parametrize("setting", ["allow_msg_ttl", "allow_msg_counter", "allow_msg_schedules"])
async def test_what_the_server_does_not_take_back_is_said_in_its_words(store, setting):
    stream = store.pipelines.stream
    more = {"max_msgs_per_subject": -1, "discard": "old"}
    await made_by_hand(store, stream, **{**more, setting: True})
    assert setting in {d.setting for d in (await store.differing())[stream]}
    with pytest.raises(StoreUnavailable, match=stream):
        await store.mend(stream)


async def test_who_may_not_change_a_stream_is_told_so(tmp_path, namespace):
    """Only an administrator changes settings: no role of `nexthos auth` may."""
    from nexthos_shared.errors import NotPermitted
    from nexthos_testing.guarded import options_for

    async with NatsServer(tmp_path / "n") as server:
        async with connect(ConnectOptions(server.url), name="admin", daemon=False) as admin:
            store = await Store.open(admin, Names(namespace), create=True)
            await made_by_hand(store, store.pipelines.stream, allow_rollup_hdrs=True)
        options = options_for(server.url, namespace)
        async with connect(options, name="controller", daemon=False) as link:
            with pytest.raises(NotPermitted, match=r"STREAM\.UPDATE"):
                async with asyncio.timeout(5):
                    await Store.of(link, Names(namespace)).mend(f"KV_{namespace}-pipelines")
        assert len(server.refusals()) == 1
