"""Rows of docs/faults.md about the store that the loop shows by itself: a real NATS, and bad days."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.errors import Error as NatsError
from structlog.testing import capture_logs

from nexthos_controller.cache.definitions import Desired
from nexthos_controller.executors.fake import FakeWorld
from nexthos_controller.lifecycle import app
from nexthos_controller.loop import sources
from nexthos_controller.status.store import ATTEMPTS
from nexthos_shared.model import ConditionType
from nexthos_shared.reasons import Reason
from nexthos_shared.store import Bucket, KvEntry
from nexthos_shared.store.watch import Snapshot
from nexthos_testing.field import Field
from nexthos_testing.house import Builder, House, condition
from nexthos_testing.nats import NatsServer
from nexthos_testing.wait import eventually


@pytest.fixture
def own_builder(fresh_nats: NatsServer, namespace: str, tmp_path: Path) -> Builder:
    """On a server that the test may kill."""
    return Builder(fresh_nats.url, namespace, tmp_path / "state")


async def is_orphaned(field: Field, key: str) -> bool:
    status = await field.status(key)
    return bool(status and condition(status, ConditionType.ORPHANED))


@pytest.mark.fault(12)
async def test_while_nats_is_away_what_runs_runs_on_and_what_crashed_waits_for_it(
    own_builder: Builder, fresh_nats: NatsServer
) -> None:
    world = own_builder.world
    async with own_builder.house() as house:
        for key in ("healthy", "crashed"):
            await house.publish(key)
            await house.field.reaches(key, "Running")
        healthy = world.running("healthy")
        await fresh_nats.kill()
        await eventually(lambda: not house.running.context.store.link.nc.is_connected)
        with capture_logs() as logs:
            world.finish(house.name("crashed"), 7)
            await eventually(lambda: house.running.term is None)  # the lease can't be renewed
        reasons = {line["reason"] for line in logs if line["event"] == "reconcile failed"}
        assert reasons
        assert reasons <= {"StoreUnavailable", "LeaseLost"}
        assert (world.running("healthy"), world.running("crashed")) == (healthy, [])
        await fresh_nats.start()
        await house.field.restarted("crashed", 1)
        assert world.count("start", "crashed") == 2
        assert [e.uid for e in world.running("healthy")] == [e.uid for e in healthy]
    assert (world.count("stop"), world.count("remove")) == (0, 0)


@pytest.mark.fault(13)
async def test_what_a_silent_watch_does_not_bring_is_found_by_the_resync(builder: Builder) -> None:
    async with builder.house(resync=1.0) as house:
        await house.publish("orders")
        await house.field.reaches("orders", "Running")
        stream = f"KV_{house.field.names.pipelines}"
        for consumer in await house.field.js.consumers_info(stream):
            await house.field.js.delete_consumer(stream, consumer.name)
        await house.field.put("orders", "paused")
        # nats-py would miss the consumer's heartbeats after 10 s
        await house.field.reaches("orders", "Paused", within=8.0)


REVISIONS = [KvEntry(key, n, b"%d" % n) for n, key in enumerate("ababbaab", start=1)]


@pytest.mark.fault(14)
@given(st.permutations(REVISIONS * 2))
def test_changes_that_come_twice_and_in_any_order_are_the_same_as_once(
    order: list[KvEntry],
) -> None:
    desired = Desired()
    for entry in order:
        desired.change(entry)
        assert not desired.change(entry)
    assert [desired.stored(key) for key in "ab"] == [REVISIONS[6], REVISIONS[7]]


@pytest.mark.fault(14)
@given(st.integers(0, 8), st.integers(0, 8))
def test_a_snapshot_that_is_older_than_the_changes_puts_nothing_back(one: int, two: int) -> None:
    desired = Desired()
    for entry in REVISIONS[:one]:
        desired.change(entry)
    last = {entry.key: entry for entry in REVISIONS[:two]}
    before = {key: desired.stored(key) for key in "ab"}
    changed = desired.replace(Snapshot(tuple(last.values()), False))
    assert changed == {key for key in "ab" if desired.stored(key) != before[key]}
    seen = {entry.key: entry for entry in REVISIONS[: max(one, two)]}
    assert set(desired.keys()) == set(seen)
    assert all(desired.stored(key) == entry for key, entry in seen.items())


@pytest.mark.fault(14)
async def test_hints_that_come_again_and_again_start_nothing_twice(house: House) -> None:
    await house.publish("orders")
    for _ in range(200):
        for hints in house.world.hints:
            hints.add("orders")
        await asyncio.sleep(0)
    await house.field.reaches("orders", "Running")
    await house.field.request("reconcile", id="orders")
    assert house.world.count("start") == 1


async def misses(field: Field, bucket: str) -> bool:
    """Whether the controller says that this bucket, and no other, does not exist."""
    try:
        problems = (await field.request("status"))["problems"]
    except NatsError:  # between standing by and acting
        return False
    told = [p["message"] for p in problems if p["reason"] == Reason.STORE_MISSING]
    return bool(told) and all(bucket in message for message in told)


@pytest.mark.fault(17)
@pytest.mark.parametrize("kind", ["pipelines", "configs", "status", "control"])
async def test_a_missing_bucket_is_told_and_nothing_is_created_or_removed(
    builder: Builder, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(sources, "LOOK_FOR_BUCKETS", 0.05)
    monkeypatch.setattr(app, "LOOK_FOR_STORE", 0.05)
    world = builder.world
    async with builder.house(resync=0.2) as house:
        await house.publish("orders")
        await house.field.reaches("orders", "Running")
        bucket = str(getattr(house.field.names, kind))
        stream = f"OBJ_{bucket}" if kind == "configs" else f"KV_{bucket}"
        await house.field.js.delete_stream(stream)
        await eventually(lambda: misses(house.field, bucket), within=15.0)
        before = world.running()
    async with builder.house(leads=False) as house:
        await eventually(lambda: misses(house.field, bucket))
        assert await house.running.context.store.missing() == [bucket]
        assert (world.running(), len(before)) == (before, 1)
        await house.running.context.store.setup()
        await house.running.leading()
        await eventually(lambda: answers(house.field))
    assert world.running() == before
    assert [call.method for call in world.calls] == ["start"]


async def answers(field: Field) -> bool:
    """Whether everything was looked at, by a controller that acts."""
    try:
        return bool((await field.request("reconcile"))["unsettled"] >= 0)
    except (NatsError, KeyError):
        return False


@pytest.mark.fault(18)
async def test_what_a_lost_bucket_held_is_orphaned_over_restarts_and_goes_when_it_is_deleted_again(
    builder: Builder,
) -> None:
    async with builder.house() as house:
        await house.publish("orders")
        await house.field.reaches("orders", "Running")
        [before] = builder.world.running()
        await house.field.js.delete_key_value(house.field.names.pipelines)
        await house.running.context.store.setup()
        await eventually(lambda: is_orphaned(house.field, "orders"), within=20.0)
    async with builder.house() as house:
        await house.field.request("reconcile")
        assert await is_orphaned(house.field, "orders")
        assert [e.uid for e in builder.world.running()] == [before.uid]
        assert (builder.world.count("stop"), builder.world.count("remove")) == (0, 0)
        await house.field.delete("orders")
        await eventually(lambda: builder.world.things == {})


@pytest.mark.fault(19)
@pytest.mark.parametrize("alive", [True, False], ids=["seen", "while-no-controller-lived"])
async def test_after_a_restored_backup_what_it_holds_acts_and_what_it_lacks_is_orphaned(
    own_builder: Builder, fresh_nats: NatsServer, tmp_path: Path, alive: bool
) -> None:
    world, data = own_builder.world, fresh_nats.folder / "data"

    async def restore() -> None:
        await fresh_nats.stop()
        shutil.rmtree(data)
        shutil.copytree(tmp_path / "backup", data)
        await fresh_nats.start()

    async with own_builder.house() as house:
        await house.publish("kept")
        await house.field.reaches("kept", "Running")
        await fresh_nats.stop()
        shutil.copytree(data, tmp_path / "backup")
        await fresh_nats.start()
        await house.field.nc.flush()
        await house.publish("late")
        for n in range(5):
            await house.field.put("kept", name=f"changed {n}")
        await house.field.reaches("kept", "Running")
        await house.field.reaches("late", "Running")
        if alive:
            await restore()
            await acts_on_what_was_restored(house, world)
    if not alive:
        await restore()
        async with own_builder.house() as house:
            await acts_on_what_was_restored(house, world)


async def acts_on_what_was_restored(house: House, world: FakeWorld) -> None:
    late = world.running("late")
    await eventually(lambda: is_orphaned(house.field, "late"), within=15.0)
    assert world.running("late") == late
    assert (world.count("stop"), world.count("remove")) == (0, 0)
    await house.field.put("kept", "paused")  # with a revision that was there before
    await house.field.reaches("kept", "Paused")
    await house.field.delete("late")
    await eventually(lambda: world.running() == [])


@dataclass
class Lagging:
    """A server that lags behind: statuses are read as they were before, for some time."""

    bucket: str
    stale: list[KvEntry] = dataclasses.field(default_factory=list)
    writes: int = 0

    def put_before(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let every reader and writer of that bucket meet it."""
        get, update = Bucket.get, Bucket.update

        async def lag(bucket: Bucket, key: str) -> KvEntry | None:
            mine = bucket.name == self.bucket and self.stale
            return self.stale.pop(0) if mine else await get(bucket, key)

        async def count(bucket: Bucket, *arguments: Any, **more: Any) -> int:
            self.writes += bucket.name == self.bucket
            return await update(bucket, *arguments, **more)

        monkeypatch.setattr(Bucket, "get", lag)
        monkeypatch.setattr(Bucket, "update", count)


@pytest.fixture
async def overwritten(house: House) -> KvEntry:
    """The status of `orders` as it was, before somebody else is about to write it."""
    await house.publish("orders")
    await house.field.reaches("orders", "Running")
    await house.field.request("reconcile", id="orders")
    stored = await house.running.context.store.statuses.get("orders")
    assert stored is not None
    return stored


@pytest.mark.fault(20, 21)
async def test_a_status_is_put_right_even_if_what_is_read_first_is_stale(
    house: House, overwritten: KvEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    lagging = Lagging(house.field.names.status, [overwritten])
    lagging.put_before(monkeypatch)
    await house.running.context.store.statuses.put("orders", b"somebody else")
    status = await house.field.reaches("orders", "Running")
    assert status.ready == 1
    assert (lagging.stale, lagging.writes) == ([], 3)  # as known, stale, right
    assert house.world.count("start") == 1


@pytest.mark.fault(20, 21)
async def test_a_status_that_can_not_be_put_right_is_tried_a_bounded_number_of_times(
    house: House, overwritten: KvEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    lagging = Lagging(house.field.names.status, [overwritten] * 1000)
    lagging.put_before(monkeypatch)
    with capture_logs() as logs:
        await house.running.context.store.statuses.put("orders", b"somebody else")
        await eventually(lambda: [line for line in logs if line["event"] == "reconcile failed"])
    failed = [line for line in logs if line["event"] == "reconcile failed"]
    assert [line["reason"] for line in failed] == ["StoreConflict"]
    assert lagging.writes == ATTEMPTS


@pytest.mark.fault(21)
async def test_a_status_that_could_not_be_put_right_is_put_right_by_a_later_look(
    house: House, overwritten: KvEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    lagging = Lagging(house.field.names.status, [overwritten] * (ATTEMPTS - 1))
    lagging.put_before(monkeypatch)
    await house.running.context.store.statuses.put("orders", b"somebody else")
    await eventually(lambda: not lagging.stale)
    await house.field.reaches("orders", "Running", within=3.0)
