"""Which bucket, and which store, it is: what makes it another one, and what does not."""

import shutil

import pytest

from nexthos_shared.names import INSTALLATION_KEY, Names
from nexthos_shared.nats.connection import ConnectOptions, connect
from nexthos_shared.store import Store


async def test_whatever_is_written_deleted_or_purged_it_stays_the_same(store):
    bucket = store.pipelines
    seen = [await bucket.identity()]
    for call in (bucket.put("a", b"1"), bucket.put("b", b"1"), bucket.delete("a")):
        await call
        seen.append(await bucket.identity())
    await bucket.delete("b")
    await store.link.js.purge_stream(bucket.stream)
    seen.append(await bucket.identity())
    for earlier in seen:
        assert seen[-1].continues(earlier)
    assert seen[-1].last == 4


async def test_made_again_it_is_another_one(store):
    before = await store.configs.identity()
    config = (await store.link.js.stream_info(store.configs.stream)).config
    await store.link.js.delete_stream(store.configs.stream)
    await store.link.js.add_stream(config)
    assert not (await store.configs.identity()).continues(before)


async def test_put_back_from_a_backup_it_is_another_one_though_as_old_as_before(
    fresh_nats, tmp_path
):
    async with connect(ConnectOptions(fresh_nats.url), name="test", daemon=True) as link:
        store = await Store.open(link, Names("a"), create=True)
        await store.pipelines.put("orders", b"1")
        await fresh_nats.stop()
        shutil.copytree(fresh_nats.folder / "data", tmp_path / "backup")
        await fresh_nats.start()
        await link.wait_reconnect(0)
        await store.pipelines.put("orders", b"2")
        before = await store.pipelines.identity()
        await fresh_nats.stop()
        shutil.rmtree(fresh_nats.folder / "data")
        shutil.copytree(tmp_path / "backup", fresh_nats.folder / "data")
        await fresh_nats.start()
        await link.wait_reconnect(1)
        after = await store.pipelines.identity()
    assert after.created == before.created
    assert not after.continues(before)


@pytest.mark.parametrize("lost", ["pipelines", "statuses", "control", "configs"])
async def test_whichever_bucket_is_lost_and_made_again_the_installation_stays(store, lost):
    first = await store.installation()
    for _ in range(2):
        await store.link.js.delete_stream(getattr(store, lost).stream)
        await store.setup()
        assert await store.installation() == first
    await store.link.js.delete_stream(store.control.stream)
    await store.setup()
    assert await store.installation() == first


async def test_the_installation_survives_a_hand_that_deletes_its_key(store):
    first = await store.installation()
    await store.control.delete(INSTALLATION_KEY)
    assert await store.installation() == first
