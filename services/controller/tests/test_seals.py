"""Seals: what a controller left at rest, the next one need not think about."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexthos_controller import seals
from nexthos_controller.desired import Brief
from nexthos_controller.executors.base import Execution
from nexthos_controller.observe import Observed
from nexthos_controller.reconcile import ConfigFacts
from nexthos_controller.rest import Sight
from nexthos_controller.seals import is_sealed, sealed
from nexthos_shared.models import Phase, PipelineStatus
from nexthos_shared.reasons import Problem, Reason
from nexthos_testing.field import field_of
from nexthos_testing.house import Builder, House
from nexthos_testing.wait import eventually

STATUS = PipelineStatus(phase=Phase.RUNNING).model_dump_json(exclude_none=True).encode()
EXECUTION = Execution(
    name="nexthos-orders-0-1",
    id="orders",
    replica=0,
    uid="life-1",
    executor="fake",
    place="fake",
    spec_hash="1",
    revision=1,
    digest="sha256:1",
    state="running",
    ready=True,
)
SIGHT = Sight(
    Brief(1, 5, "1", None),
    Observed((EXECUTION,), frozenset(), ()),
    ConfigFacts("sha256:1"),
    True,
    (),
)


def basis(sight: Sight, entry: bytes = b"{}", settings: str = "") -> bytes:
    made = sight.basis(entry, settings)
    assert made is not None
    return made


def of(execution: Execution) -> Sight:
    return replace(SIGHT, observed=replace(SIGHT.observed, executions=(execution,)))


def test_a_sealed_status_is_a_status_that_says_the_same():
    value = sealed(STATUS, b"seen")
    read = PipelineStatus.model_validate_json(value)
    assert read.model_copy(update={"seal": None}) == PipelineStatus(phase=Phase.RUNNING)
    assert is_sealed(value, b"seen")


@given(st.integers(0, len(sealed(STATUS, b"seen")) - 1), st.integers(1, 255))
def test_whoever_changes_one_byte_of_it_breaks_the_seal(at: int, by: int):
    value = bytearray(sealed(STATUS, b"seen"))
    value[at] = (value[at] + by) % 256
    assert not is_sealed(bytes(value), b"seen")


def test_what_was_never_sealed_has_no_seal():
    assert not is_sealed(STATUS, b"seen")
    assert not is_sealed(b"", b"")


def test_a_seal_is_of_the_code_that_decided(monkeypatch: pytest.MonkeyPatch):
    value = sealed(STATUS, b"seen")
    monkeypatch.setattr(seals, "RULES", b"edited")
    assert not is_sealed(value, b"seen")


@pytest.mark.parametrize(
    "other",
    [
        basis(SIGHT, entry=b'{"status": "paused"}'),
        basis(SIGHT, settings="another default"),
        basis(replace(SIGHT, brief=replace(SIGHT.brief, revision=2))),
        basis(replace(SIGHT, config=ConfigFacts("sha256:2"))),
        basis(replace(SIGHT, observed=replace(SIGHT.observed, executions=()))),
        basis(of(replace(EXECUTION, uid="life-2"))),
        basis(of(replace(EXECUTION, state="stopped"))),
        basis(of(replace(EXECUTION, outdated="another engine"))),
        basis(of(replace(EXECUTION, altered="another image"))),
    ],
)
def test_another_sight_has_another_basis(other: bytes):
    assert other != basis(SIGHT)


def test_readiness_that_is_not_known_yet_is_no_other_sight_and_a_loss_of_it_is_none():
    assert basis(of(replace(EXECUTION, ready=None))) == basis(SIGHT)
    assert of(replace(EXECUTION, ready=False)).basis(b"{}", "") is None


def test_while_a_place_is_silent_nothing_is_at_rest():
    silent = (Problem(Reason.EXECUTOR_UNREACHABLE, "no answer"),)
    assert replace(SIGHT, observed=Observed((), frozenset(), silent)).basis(b"{}", "") is None


async def written(house: House, key: str) -> tuple[float, str | None]:
    """When its status was written last, and its seal."""
    status = await house.field.status(key)
    assert status is not None
    return status.updated_at, status.seal


KEYS = {"runs", "paused", "draft"}


async def left_at_rest(house: House) -> None:
    """One that runs, one that is paused, one that is a draft."""
    for key in KEYS:
        await house.publish(key)
        await house.field.reaches(key, "Running")
    for key, phase in (("paused", "Paused"), ("draft", "Draft")):
        await house.field.put(key, status=key, version="1")
        await house.field.reaches(key, phase)

    async def all_are_sealed() -> bool:
        return all([(await written(house, key))[1] for key in KEYS])

    await eventually(all_are_sealed)


async def test_the_next_controller_decides_nothing_about_what_was_left_at_rest(
    builder: Builder, decided: list[str]
):
    async with builder.house(debounce=0.1) as house:
        await left_at_rest(house)
        before = {key: await written(house, key) for key in KEYS}
    decided.clear()
    async with builder.house(debounce=0.1) as house:
        assert house.running.term is not None
        for key in KEYS:
            await house.running.term.controller.queue.look(key)
        assert decided == []
        assert before == {key: await written(house, key) for key in KEYS}
        await house.field.put("runs", version="1", name="another")
        await eventually(lambda: decided)


@pytest.mark.fault(82)
async def test_a_status_that_was_edited_while_no_controller_led_is_put_right(builder: Builder):
    async with builder.house(debounce=0.1) as house:
        await left_at_rest(house)
    async with field_of(builder.url, builder.namespace) as user:
        bucket = await user.js.key_value(user.names.status)
        value = json.loads((await bucket.get("runs")).value or b"")
        await bucket.put("runs", json.dumps({**value, "phase": "Paused"}).encode())
    async with builder.house(debounce=0.1) as house:
        await house.field.reaches("runs", "Running")


async def test_what_changed_meanwhile_is_decided_about(builder: Builder, decided: list[str]):
    async with builder.house(debounce=0.1) as house:
        await left_at_rest(house)
        name = house.name("runs")
    builder.world.vanish(name)
    async with field_of(builder.url, builder.namespace) as user:
        await user.put("paused", version="1")
        decided.clear()
    async with builder.house(debounce=0.1) as house:
        await eventually(lambda: {"runs", "paused"} <= set(decided))
        assert "draft" not in decided
        await house.field.reaches("paused", "Running")
        await house.field.restarted("runs", 1)


async def test_other_settings_are_a_reason_to_look_at_everything_once(
    builder: Builder, decided: list[str]
):
    async with builder.house(debounce=0.1) as house:
        await left_at_rest(house)
    decided.clear()
    async with builder.house(debounce=0.2):
        await eventually(lambda: set(decided) >= KEYS)


@pytest.mark.fault(42)
async def test_an_engine_that_hangs_is_noticed_although_its_status_is_sealed(builder: Builder):
    """A process that is stopped in the middle answers no more: whether it is ready is not known."""
    async with builder.house(debounce=0.1) as house:
        await left_at_rest(house)
        builder.world.set_ready(house.name("runs"), None)
        await house.field.complains("runs", Reason.STARTING)


async def left_and_not_known_to_be_ready(builder: Builder) -> str:
    """As the next controller finds an engine before it answers; returns the execution's name."""
    async with builder.house(debounce=0.1) as house:
        await left_at_rest(house)
        name = house.name("runs")
    builder.world.set_ready(name, None)
    return name


@pytest.mark.fault(42)
async def test_what_was_adopted_and_never_says_whether_it_is_ready_is_decided_about(
    builder: Builder, decided: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("nexthos_controller.controller.ADOPTED_WITHIN", 0.3)
    await left_and_not_known_to_be_ready(builder)
    decided.clear()
    async with builder.house(debounce=0.1) as house:
        await eventually(lambda: "runs" in decided)
        await house.field.complains("runs", Reason.STARTING)
        assert set(decided) == {"runs"}


async def test_what_was_adopted_and_says_that_it_is_ready_is_not_decided_about(
    builder: Builder, decided: list[str]
):
    name = await left_and_not_known_to_be_ready(builder)
    decided.clear()
    async with builder.house(debounce=0.1) as house:
        builder.world.set_ready(name, True)
        assert house.running.term is not None
        await house.running.term.controller.queue.look("runs")
        assert decided == []
