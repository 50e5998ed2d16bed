"""Whoever takes a lease can say from whom, and why it was free."""

from __future__ import annotations

import pytest

from nexthos_testing.contender import CALM, TTL, acquired, two_of
from nexthos_testing.wait import eventually


@pytest.mark.fault(136)
async def test_who_is_the_first_took_it_from_nobody(store):
    first = await acquired(store, "first", CALM)
    assert first.takeover is None


@pytest.mark.fault(136)
async def test_who_takes_a_lease_that_was_handed_over_says_so(store):
    first = await acquired(store, "first", CALM)
    await first.release()
    second = await acquired(store, "second", CALM)
    taken = second.takeover
    assert taken
    assert (taken.holder, taken.why, taken.handed) == ("first", "it handed the lease over", True)


@pytest.mark.fault(136)
async def test_who_waited_for_the_end_of_one_that_is_silent_says_so(store, monkeypatch):
    async with two_of(store, TTL) as (first, second):
        # Frozen: it renews nothing, and hands nothing over.
        monkeypatch.setattr(first.lease, "_write", _never)
        monkeypatch.setattr(first.lease, "_applied", _never)
        await eventually(lambda: second.held, within=20.0)
        taken = second.lease.takeover
        assert taken
        assert (taken.holder, taken.handed) == ("first", False)
        assert taken.why == "it did not renew the lease for 1s"


async def _never(*_: object) -> None:
    raise TimeoutError


@pytest.mark.fault(136)
async def test_who_has_its_own_lease_again_took_it_from_nobody(store):
    lease = await acquired(store, "first", CALM)
    await lease.release()
    await lease.acquire()
    assert lease.takeover is None
