"""The buckets in memory keep what the real ones promise: one suite over both."""

from __future__ import annotations

import pytest

from nexthos_shared.errors import ConfigChanged, ConfigMissing, InvalidName, StoreConflict
from nexthos_shared.store import Bucket, Configs, Store
from nexthos_testing.machine.store import MemoryBucket, MemoryConfigs


@pytest.fixture(params=["real", "memory"])
def bucket(request: pytest.FixtureRequest, store: Store) -> Bucket:
    return store.statuses if request.param == "real" else MemoryBucket()


@pytest.fixture(params=["real", "memory"])
def configs(request: pytest.FixtureRequest, store: Store) -> Configs:
    return store.configs if request.param == "real" else MemoryConfigs()


async def test_what_was_put_is_read_with_its_revision(bucket: Bucket) -> None:
    assert await bucket.get("orders") is None
    revision = await bucket.put("orders", b"one")
    stored = await bucket.get("orders")
    assert stored is not None
    assert (stored.key, stored.revision, stored.value) == ("orders", revision, b"one")


async def test_revisions_are_counted_over_all_keys(bucket: Bucket) -> None:
    revisions = [await bucket.put(key, b"") for key in ("orders", "mails", "orders")]
    assert revisions == [1, 2, 3]
    assert (await bucket.identity()).last == 3


async def test_a_deletion_is_a_marker_also_of_a_key_that_never_was(bucket: Bucket) -> None:
    await bucket.put("orders", b"one")
    for key in ("orders", "mails"):
        await bucket.delete(key)
    assert [(e.key, e.revision, e.value) for e in await bucket.snapshot()] == [
        ("orders", 2, None),
        ("mails", 3, None),
    ]


async def test_an_update_needs_the_last_revision_markers_included(bucket: Bucket) -> None:
    first = await bucket.update("orders", b"1", 0)
    for outdated in (0, first + 1):
        with pytest.raises(StoreConflict):
            await bucket.update("orders", b"2", outdated)
    await bucket.delete("orders")
    with pytest.raises(StoreConflict):
        await bucket.update("orders", b"2", first)
    await bucket.update("orders", b"2", first + 1)
    stored = await bucket.get("orders")
    assert stored is not None
    assert stored.value == b"2"


async def test_a_refused_update_leaves_no_trace(bucket: Bucket) -> None:
    with pytest.raises(StoreConflict):
        await bucket.update("orders", b"1", 7)
    assert await bucket.snapshot() == []
    assert await bucket.put("orders", b"1") == 1


async def test_a_key_that_nats_does_not_take_is_refused(bucket: Bucket) -> None:
    for write in (bucket.put("a..b", b""), bucket.update("a b", b"", 0)):
        with pytest.raises(InvalidName):
            await write


async def test_a_bucket_that_goes_on_is_the_same(bucket: Bucket) -> None:
    before = await bucket.identity()
    await bucket.put("orders", b"1")
    assert (await bucket.identity()).continues(before)


async def test_a_bucket_that_was_made_anew_is_another_one_and_counts_from_one() -> None:
    bucket = MemoryBucket()
    await bucket.put("orders", b"1")
    before = await bucket.identity()
    bucket.make_anew()
    assert await bucket.snapshot() == []
    assert await bucket.put("orders", b"1") == 1
    assert not (await bucket.identity()).continues(before)


async def test_a_configuration_is_read_with_its_digest(configs: Configs) -> None:
    info = await configs.put("orders", "1", b"input: {}\n")
    assert await configs.put("orders", "1", b"input: {}\n") == info
    assert await configs.info("orders", "1") == info
    assert await configs.get("orders", "1", digest=info.digest) == b"input: {}\n"
    assert await configs.list() == await configs.list("orders") == [info]
    assert await configs.list("mails") == []


async def test_bytes_that_changed_or_are_gone_are_not_given(configs: Configs) -> None:
    first = await configs.put("orders", "1", b"input: {}\n")
    await configs.put("orders", "1", b"output: {}\n")
    with pytest.raises(ConfigChanged):
        await configs.get("orders", "1", digest=first.digest)
    for _ in range(2):
        await configs.delete("orders", "1")
    assert await configs.info("orders", "1") is None
    assert await configs.list() == []
    with pytest.raises(ConfigMissing):
        await configs.get("orders", "1")
