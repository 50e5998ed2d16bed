"""A lease where NATS goes away, answers are lost, and a holder or a standby is ended meanwhile."""

from __future__ import annotations

import asyncio
import random

import pytest

from nexthos_controller.election.lease import HOLDS, Lease, boottime
from nexthos_shared.errors import StoreUnavailable
from nexthos_shared.model.control import read_claim
from nexthos_shared.names import LEASE_KEY, Names
from nexthos_shared.nats.connection import ConnectOptions, connect
from nexthos_shared.store import Bucket, Store
from nexthos_testing.contender import CALM, TTL, acquired, contender, refuses, two_of
from nexthos_testing.wait import eventually


@pytest.mark.fault(12)
async def test_while_nats_is_away_it_stands_down_at_its_deadline_and_has_it_again_later(fresh_nats):
    sent = []

    class Journal(Bucket):
        async def update(self, *args, **more):
            at = boottime()
            revision = await super().update(*args, **more)
            sent.append(at)
            return revision

    async with connect(ConnectOptions(fresh_nats.url), name="t", daemon=True) as link:
        store = await Store.open(link, Names(), create=True)
        async with contender(Journal(link, store.control.name), "first") as one:
            await eventually(lambda: one.held)
            token = one.lease.token
            await fresh_nats.kill()
            await eventually(lambda: not link.nc.is_connected)
            lost = asyncio.create_task(one.lease.lost.wait())
            await asyncio.wait_for(lost, 10)
            assert boottime() - sent[-1] >= TTL * HOLDS
            assert refuses(one.lease)
            await fresh_nats.start()
            await eventually(lambda: one.held)
            assert one.lease.token > token


class Forgetful(Bucket):
    """A bucket some of whose writes are applied, and never answered."""

    writes = 0
    lost = (1, 3, 4)
    hangs = False

    async def update(self, *args, **more):
        self.writes += 1
        lost = self.writes in self.lost
        revision = await super().update(*args, **more)
        if lost and self.hangs:
            await asyncio.sleep(3600)
        if lost:
            raise StoreUnavailable("the answer is lost")
        return revision


@pytest.mark.parametrize("hangs", [False, True])
async def test_an_answer_that_is_lost_costs_no_lease(store, hangs):
    """The first write acquires, the later ones renew: applied, all of them."""
    bucket = Forgetful(store.link, store.control.name)
    bucket.hangs = hangs
    async with contender(bucket, "first", CALM) as one:
        await eventually(lambda: one.held)
        token = one.lease.token
        await eventually(lambda: bucket.writes >= 6, within=20.0)
        assert one.held
        assert one.lease.token == token


async def test_a_renewal_that_is_applied_late_keeps_nobody_from_releasing(store):
    class Late(Bucket):
        """A renewal that was cancelled on its way arrives right before the release."""

        late = True

        async def update(self, key, value, revision, **more):
            stored = await self.get(key)
            claim = read_claim(value)
            if self.late and stored is not None and claim is not None and claim.released:
                self.late = False
                assert stored.value is not None
                await super().update(key, stored.value, revision, **more)
            return await super().update(key, value, revision, **more)

    bucket = Late(store.link, store.control.name)
    lease = Lease(bucket, "first", CALM)
    await lease.acquire()
    async with lease.kept():
        pass
    assert not bucket.late
    left = read_claim((await store.control.get(LEASE_KEY)).value)
    assert left is not None
    assert left.released


async def test_a_bucket_that_comes_late_is_waited_for(store):
    await store.link.js.delete_stream(store.control.stream)
    async with contender(store.control, "first") as one:
        with pytest.raises(Exception, match="bucket"):
            await one.lease.holder()
        await store.setup()
        await eventually(lambda: one.held)


async def test_a_defect_in_renewing_is_a_lost_lease(store):
    class Broken(Bucket):
        async def update(self, key, value, revision, **more):
            if revision:
                raise ZeroDivisionError
            return await super().update(key, value, revision, **more)

    lease = Lease(Broken(store.link, store.control.name), "first", TTL)
    await lease.acquire()
    async with lease.kept():
        await asyncio.wait_for(lease.lost.wait(), 10)
        assert refuses(lease)


async def test_contenders_leave_no_consumer_behind(store):
    async with two_of(store) as (first, second):
        await first.die()
        await eventually(lambda: second.held)
    info = await store.link.js.stream_info(store.control.stream)
    assert info.state.consumer_count == 0


async def test_a_standby_can_be_ended_at_any_moment(store):
    """Also when the answer comes at that moment: Python 3.11 forgets the cancellation then."""
    await acquired(store, "first", 600.0)
    for _ in range(200):
        waiting = asyncio.create_task(Lease(store.control, "second", 0.01).acquire())
        await asyncio.sleep(random.uniform(0.0, 0.003))
        waiting.cancel()
        assert await asyncio.wait({waiting}, timeout=10) == ({waiting}, set())


async def test_a_holder_can_be_ended_at_any_moment(store):
    async with asyncio.timeout(30):
        for _ in range(100):
            lease = await acquired(store, "first", 0.03)  # renewed every 10 ms
            async with lease.kept():
                await asyncio.sleep(random.uniform(0.01, 0.012))
