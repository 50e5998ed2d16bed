"""Pipelines at rest: what is found as it was left is not thought about again."""

from __future__ import annotations

from collections import Counter

import pytest

from nexthos_controller.cache.definitions import Desired
from nexthos_controller.cache.executions import PossiblePlaces, list_all
from nexthos_controller.loop.reconciler import Controller
from nexthos_controller.loop.unchanged import Basis, Unchanged
from nexthos_shared.model import Memory, read_entry
from nexthos_shared.model.stored import Stored, read
from nexthos_shared.store import KvEntry
from nexthos_shared.store.watch import Snapshot
from nexthos_testing.house import Builder, House
from nexthos_testing.wait import eventually

ENTRY = b'{"status": "published", "version": "1"}'


BASIS = Basis("1", "process", PossiblePlaces(), None)


def test_unchanged_is_what_is_the_same_until_something_is_due() -> None:
    unchanged = Unchanged()
    unchanged.note("orders", BASIS, 1, 105.0)
    assert unchanged.holds("orders", 1, 104.9)
    assert unchanged.due("orders") == 105.0
    assert not unchanged.holds("orders", 2, 104.0)
    assert not unchanged.holds("orders", 1, 105.0)
    assert not unchanged.holds("others", 1, 104.0)
    unchanged.note("orders", BASIS, 1, None)
    assert unchanged.holds("orders", 1, 1e9)
    assert unchanged.due("orders") is None
    unchanged.forget("orders")
    assert not unchanged.holds("orders", 1, 100.0)
    assert unchanged.basis("orders") is None


def test_the_same_revision_with_other_content_is_another_entry() -> None:
    """A bucket that was put back from a backup counts its revisions anew."""
    desired = Desired()
    first, second = (KvEntry("orders", 2, value) for value in (ENTRY, ENTRY.replace(b"1", b"2")))
    desired.replace(Snapshot((first,), False))
    before = desired.stamp("orders")
    desired.replace(Snapshot((second,), True))
    after = desired.stamp("orders")
    assert after != before
    desired.replace(Snapshot((), True))
    assert desired.stamp("orders") == Desired().stamp("orders")


@pytest.mark.parametrize(
    ("more", "executor"),
    [("", "docker"), (', "unknown": 1', "fake"), (', "id": "another"', "fake")],
)
async def test_an_entry_that_is_refused_asks_for_no_executor(
    house: House, more: str, executor: str
) -> None:
    """Else what runs elsewhere would be Unknown while that one is away."""
    value = f'{{"status": "published", "version": "1", "executor": "docker"{more}}}'
    controller = (await house.running.leading()).controller
    entry = read_entry("orders", 1, value.encode())
    assert controller._basis(entry, Memory()).executor == executor


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b" " * 70_000,
        b'{"version": 1}',
        b'{"status": "published", "version": "a b"}',
        # As a subject it would cut the connection.
        b'{"status": "published", "version": "%s"}' % (b"x" * 10_000),
    ],
    ids=range(8),
)
async def test_what_is_no_definition_names_no_version(house: House, value: bytes) -> None:
    controller = (await house.running.leading()).controller
    assert controller._basis(read_entry("orders", 1, value), Memory()).version is None


async def test_a_reconcile_reads_the_status_once(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it takes steps, reports in between and ends with another report."""
    reads, reconciles = Counter[str](), list[str]()

    def counted(kind: type[Stored], data: bytes | None) -> Stored | None:
        reads[kind.__name__] += 1
        return read(kind, data)

    async def noted(self: Controller, key: str) -> float | None:
        reconciles.append(key)
        return await right(self, key)

    right = Controller.reconcile
    monkeypatch.setattr("nexthos_controller.status.store.read", counted)
    monkeypatch.setattr(Controller, "reconcile", noted)
    async with builder.house(resync=0.05) as house:
        await house.publish("orders")
        await house.field.reaches("orders", "Running")
        await house.field.put("orders", version="1", env={"A": "1"})
        await eventually(lambda: builder.world.count("start") == 2)
        await house.field.reaches("orders", "Running")
        house.world.finish(house.name("orders"), 1)
        await house.field.restarted("orders", 1)
        await resyncs(house, 3)
        assert reads["PipelineStatus"] <= len(reconciles)
        assert builder.world.count("start") >= 2


async def test_a_resync_passes_over_what_is_as_it_was_left_and_each_change_is_noticed(
    house: House, decided: list[str]
) -> None:
    await house.publish("orders")
    await house.field.reaches("orders", "Running")
    controller = (await house.running.leading()).controller

    async def is_unchanged() -> bool:
        decided.clear()
        return controller.is_unchanged("orders", await list_all(controller.executors))

    await eventually(is_unchanged)  # its readiness has settled
    await house.field.put("orders", version="1", name="Orders")
    await eventually(lambda: decided)
    await eventually(is_unchanged)
    house.world.finish(house.name("orders"), 1)
    await eventually(lambda: decided)
    await eventually(is_unchanged)
    await house.field.config("orders", "input: {stdin: {}}\noutput: {drop: {}}\n", "1")
    await eventually(lambda: decided)
    await eventually(is_unchanged)
    bucket = await house.field.js.key_value(house.field.names.status)
    await bucket.put("orders", b"{}")
    await eventually(lambda: decided)


async def test_a_resync_looks_only_at_what_is_not_as_it_was_left(builder: Builder):
    async with builder.house(resync=0.05) as house:
        for key in ("left", "lost"):
            await house.publish(key)
        for key in ("left", "lost"):
            await house.field.reaches(key, "Running")
        assert house.running.term is not None
        controller, looked = house.running.term.controller, list[str]()
        add = controller.queue.add

        def noted(key: str, *, live: bool = True) -> None:
            looked.append(key)
            add(key, live=live)

        async def nobody_is_looked_at() -> bool:
            looked.clear()
            await resyncs(house, 3)
            return not looked

        controller.queue.add = noted  # type: ignore[method-assign]
        await eventually(nobody_is_looked_at)
        builder.world.vanish(house.name("lost"))  # without a hint
        await house.field.restarted("lost", 1)
        await eventually(nobody_is_looked_at)
        looked.clear()
        builder.world.vanish(house.name("lost"))
        await eventually(lambda: looked)
        assert set(looked) == {"lost"}


async def resyncs(house: House, times: int) -> None:
    """Wait for so many."""
    read, name = house.running.context.registry.get_sample_value, "nexthos_resync_duration_seconds"
    until = (read(f"{name}_count") or 0) + times
    await eventually(lambda: (read(f"{name}_count") or 0) >= until)
