"""Several executors: one that does not answer concerns only what may live on it."""

from __future__ import annotations

from unittest.mock import AsyncMock

import pytest
from msgspec import structs

from nexthos_controller.cache.executions import list_all, observe, observed, possible_places
from nexthos_controller.executors.contract import Executor
from nexthos_controller.executors.fake import FakeExecutor, FakeWorld
from nexthos_shared.model import Memory, Place, Wanted
from nexthos_shared.reasons import Reason
from nexthos_testing.fake_rig import FakeRig

KNOWN = Memory(wanted=Wanted.PUBLISHED, places=[Place(executor="near", place="here")])
BOTH = structs.replace(KNOWN, places=[*KNOWN.places, Place(executor="far", place="there")])


@pytest.fixture
def executors(fake_rig: FakeRig) -> dict[str, Executor]:
    """`near` answers, `far` does not."""
    near, far = FakeWorld(places=("here",)), FakeWorld(places=("there",))
    far.faults.silent = {"there"}
    return {
        "near": FakeExecutor(fake_rig.context(), near),
        "far": FakeExecutor(fake_rig.context(), far),
    }


@pytest.mark.fault(26)
async def test_what_never_lived_on_a_silent_executor_and_is_not_wanted_there_is_known(executors):
    seen = await observe(executors, "orders", possible_places(KNOWN), frozenset(), "near")
    assert seen.silent == ()
    assert {p.place for p in seen.answered} == {"here"}


@pytest.mark.parametrize(
    ("memory", "wanted"), [(BOTH, "near"), (KNOWN, "far"), (Memory(), "near")],
    ids=["lived there", "wanted there", "never seen before"],
)  # fmt: skip
async def test_what_may_live_on_a_silent_executor_is_unknown(executors, memory, wanted):
    seen = await observe(executors, "orders", possible_places(memory), frozenset(), wanted)
    assert [p.reason for p in seen.silent] == [Reason.EXECUTOR_UNREACHABLE]


async def test_a_place_declared_gone_is_waited_for_no_more_even_if_its_executor_is_silent(
    executors,
):
    seen = await observe(executors, "orders", possible_places(BOTH), frozenset({"there"}), "near")
    assert seen.silent == ()


async def test_a_listing_of_all_says_of_each_what_a_look_at_it_would(executors, fake_rig):
    near = executors["near"]
    for key in ("orders", "orders-eu", "prices"):
        await near.start(fake_rig.spec(key), 0)
    await near.start(fake_rig.spec("orders"), 1)
    there = await list_all(executors)
    assert there.ids() == {"orders", "orders-eu", "prices"}
    assert there.places == {"here"}
    for key in ("orders", "orders-eu", "prices", "nothing"):
        told = observed(there.about(key), possible_places(KNOWN), frozenset(), "near")
        assert told == await observe(executors, key, possible_places(KNOWN), frozenset(), "near")
    told = observed(there.about("orders"), possible_places(BOTH), frozenset(), "near")
    assert [p.reason for p in told.silent] == [Reason.EXECUTOR_UNREACHABLE]


async def test_an_executor_that_fails_to_list_by_a_defect_is_silent_and_the_others_are_heard(
    executors, monkeypatch
):
    monkeypatch.setattr(executors["far"], "list", AsyncMock(side_effect=ValueError("a secret")))
    there = await list_all(executors)
    told = observed(there.about("orders"), possible_places(BOTH), frozenset(), "near")
    assert "a secret" not in told.silent[0].message
    assert {p.place for p in told.answered} == {"here"}
