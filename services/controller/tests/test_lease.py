"""Who may act: contenders in one process, on a real server."""

from __future__ import annotations

import asyncio
import time

import pytest
from structlog.testing import capture_logs

from nexthos_controller.election.lease import HOLDS, Lease, boottime
from nexthos_shared.errors import LeaseLost
from nexthos_shared.names import LEASE_KEY, Names
from nexthos_shared.nats.connection import ConnectOptions, connect
from nexthos_shared.store import Bucket, Store
from nexthos_testing.contender import (
    CALM,
    TTL,
    acquired,
    contender,
    refuses,
    renewed,
    revision,
    two_of,
    who_has,
)
from nexthos_testing.wait import eventually


class Clock:
    """Boot time, as far on as the test says."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return boottime() + self.ahead


# One after the other


async def test_a_lease_that_nobody_has_is_had_at_once_and_allows_acting(store):
    lease = Lease(store.control, "first", 60.0)
    with pytest.raises(LeaseLost, match="lease is not ours: it was never acquired"):
        lease.guard()
    token = await lease.acquire()
    lease.guard()
    assert lease.held
    assert not lease.lost.is_set()
    assert token == lease.token == await revision(store)


@pytest.mark.fault(6)
async def test_of_two_contenders_one_has_it_and_the_other_can_say_who(store):
    async with two_of(store, CALM) as (first, second):
        for _ in range(2):  # over renewals
            await renewed(store)
            assert first.held
            assert not second.held
            assert refuses(second.lease)
            claim = await second.lease.holder()
            assert claim is not None
            assert (claim.holder, claim.released) == ("first", False)
            assert claim.host
            assert abs(claim.since - time.time()) < 60


@pytest.mark.fault(6)
async def test_a_standby_logs_once_whom_it_waits_for(store):
    with capture_logs() as logs:
        async with two_of(store, CALM):
            await renewed(store, 2)
    [line] = [entry for entry in logs if entry["event"] == "waiting for the lease"]
    assert line["holder"] == "second"
    assert line["because"].startswith("first on ")


async def test_nobody_has_a_lease_before_the_first_and_after_a_release(store):
    onlooker = Lease(store.control, "onlooker", TTL)
    assert await onlooker.holder() is None
    lease = await acquired(store, "first")
    assert await who_has(onlooker) == "first"
    await lease.release()
    assert await onlooker.holder() is None


async def test_a_lease_that_nobody_renews_leaves_the_store_by_itself(store):
    await acquired(store, "first")

    async def over() -> bool:
        return await store.control.get(LEASE_KEY) is None

    await eventually(over)


async def test_the_lease_of_a_killed_holder_ends_and_the_other_has_it_with_a_larger_token(store):
    async with two_of(store) as (first, second):
        await first.die()
        await eventually(lambda: second.held)
        assert second.lease.token > first.lease.token
        assert await who_has(first.lease) == "second"


@pytest.mark.fault(1)
async def test_a_released_lease_is_had_long_before_it_would_end(store):
    """The TTL is longer than the test may last."""
    async with contender(store.control, "first", 600.0) as first:
        await eventually(lambda: first.held)
        second = Lease(store.control, "second", 600.0)
        waiting = asyncio.create_task(second.acquire())
        with capture_logs() as logs:
            await first.end()
            assert refuses(first.lease)
            await waiting
        assert second.held
    events = [entry["event"] for entry in logs]
    assert [e for e in events if e != "waiting for the lease"] == [
        "lease released",
        "lease acquired",
    ]


async def test_a_release_after_a_renewal_that_was_cut_short_still_releases(store):
    """Cancelled on its way, a renewal may have been applied: the revision is another one then."""
    lease = await acquired(store, "first", 600.0)
    stored = await store.control.get(LEASE_KEY)
    await store.control.update(LEASE_KEY, stored.value, stored.revision)
    await lease.release()
    await lease.release()
    assert await lease.holder() is None


async def test_a_release_while_nats_is_away_ends_all_the_same(fresh_nats):
    async with connect(ConnectOptions(fresh_nats.url), name="t", daemon=True) as link:
        lease = await acquired(await Store.open(link, Names(), create=True), "first", 600.0)
        await fresh_nats.kill()
        await lease.release()
        assert refuses(lease)
        assert lease.lost.is_set()


async def test_a_name_that_is_used_again_is_no_claim_to_the_lease(store):
    await acquired(store, "same", 600.0)
    second = asyncio.create_task(Lease(store.control, "same", TTL).acquire())
    _, pending = await asyncio.wait([second], timeout=2 * TTL)
    second.cancel()
    assert pending == {second}


# What is done by hand

BY_HAND = {
    "delete": lambda store: store.control.delete(LEASE_KEY),
    "purge": lambda store: store.link.js.purge_stream(
        store.control.stream, subject=f"$KV.{store.control.name}.{LEASE_KEY}"
    ),
    "purge all": lambda store: store.link.js.purge_stream(store.control.stream),
    "a marker as of an expiry": lambda store: store.link.js.publish(
        f"$KV.{store.control.name}.{LEASE_KEY}", b"", headers={"Nats-Marker-Reason": "MaxAge"}
    ),
    "put": lambda store: store.control.put(LEASE_KEY, b"mine, for ever"),
}


@pytest.mark.fault(8)
@pytest.mark.parametrize("how", BY_HAND)
async def test_whoever_has_it_loses_it_to_a_hand_and_then_somebody_has_it(store, how):
    async with two_of(store) as (first, second):
        token = first.lease.token
        with capture_logs() as logs:
            await BY_HAND[how](store)
            await eventually(lambda: max(first.lease.token, second.lease.token) > token)
            lost = ("lease lost", "first")  # its own clock has stopped it; it may say so later
            await eventually(lambda: lost in [(e["event"], e.get("holder")) for e in logs])


@pytest.mark.fault(8)
@pytest.mark.parametrize("how", BY_HAND)
async def test_what_a_hand_did_is_no_free_lease_before_the_holder_has_surely_stood_down(store, how):
    """The holder here renews no more, as if cut off: only its own clock can stop it."""
    lease = await acquired(store, "first")
    with capture_logs() as logs:
        second = asyncio.create_task(acquired(store, "second"))
        await eventually(lambda: logs)  # it has seen who has it
    await BY_HAND[how](store)
    await second
    assert refuses(lease)


# Time


@pytest.mark.fault(59)
async def test_a_host_that_slept_finds_its_lease_over_at_the_first_guard(store):
    clock = Clock()
    lease = await acquired(store, "first", 600.0, clock)
    async with lease.kept():
        lease.guard()
        clock.ahead = 600.0 * HOLDS + 1
        with pytest.raises(LeaseLost, match="not renewed in time"):
            lease.guard()
        assert not lease.held


@pytest.mark.fault(59)
async def test_a_lease_counts_from_the_moment_its_renewal_was_sent(store):
    """Asleep between sending and the answer: what was acquired meanwhile may be over."""
    clock = Clock()

    revisions = []

    class Sleepy(Bucket):
        async def update(self, *args, **more):
            revisions.append(await super().update(*args, **more))
            if len(revisions) == 1:
                clock.ahead = 600.0 * HOLDS
            return revisions[-1]

    lease = Lease(Sleepy(store.link, store.control.name), "first", 600.0, clock)
    assert await lease.acquire() == revisions[1]
    assert lease.held


@pytest.mark.fault(7, 59)
async def test_a_renewal_answered_when_guard_would_have_refused_is_none(store):
    """The key is still ours then, but whoever was refused may have told somebody."""
    clock, ttl = Clock(), 6.0
    writes = []

    class Sleepy(Bucket):
        async def update(self, *args, **more):
            writes.append(await super().update(*args, **more))
            if len(writes) == 2:  # sent after a third of the TTL; the deadline is passed by a sixth
                clock.ahead = ttl * (HOLDS - 1 / 6)
            return writes[-1]

    lease = Lease(Sleepy(store.link, store.control.name), "first", ttl, clock)
    await lease.acquire()
    async with lease.kept():
        await eventually(lambda: len(writes) == 2)
        await asyncio.wait_for(lease.lost.wait(), 10)
        assert refuses(lease)


@pytest.mark.fault(58)
@pytest.mark.parametrize("jump", [3600.0, -3600.0])
async def test_a_jump_of_the_wall_clock_changes_nothing(store, monkeypatch, jump):
    wall = time.time
    async with contender(store.control, "first", CALM) as first:
        await eventually(lambda: first.held)
        token = first.lease.token
        monkeypatch.setattr(time, "time", lambda: wall() + jump)
        await renewed(store, 2)
        assert first.held
        assert first.lease.token == token


@pytest.mark.fault(7)
async def test_the_renewal_of_a_lease_that_another_has_is_refused(store):
    """Its clock stands still, and a replica still tells it that all is well: the store decides."""

    class Lagging(Bucket):
        async def get(self, key):
            return stale or await super().get(key)

    stale, stopped = None, boottime()
    late = Lease(Lagging(store.link, store.control.name), "late", TTL, lambda: stopped)
    await late.acquire()
    stale = await store.control.get(LEASE_KEY)
    other = await acquired(store, "other", 600.0)
    assert late.held
    with capture_logs() as logs:
        async with late.kept():
            await asyncio.wait_for(late.lost.wait(), 10)
    assert refuses(late)
    assert [e["why"] for e in logs] == ["somebody else wrote or deleted it"]
    assert await who_has(other) == "other"
    assert other.held
