"""Pipelines at rest: what is found as it was left is not thought about again."""

from __future__ import annotations

import pytest

from nexthos_controller.cache.definitions import Brief, Desired
from nexthos_controller.loop.unchanged import Rest
from nexthos_shared.store import KvEntry
from nexthos_shared.store.watch import Snapshot
from nexthos_testing.house import Builder, House
from nexthos_testing.wait import eventually

ENTRY = b'{"status": "published", "version": "1"}'


def test_at_rest_is_what_is_the_same_until_something_is_due():
    rest = Rest()
    rest.note("orders", 1, 5.0, now=100.0)
    assert rest.holds("orders", 1, 104.9)
    assert rest.left("orders", 104.0) == 1.0
    assert not rest.holds("orders", 2, 104.0)
    assert not rest.holds("orders", 1, 105.0)
    assert not rest.holds("others", 1, 104.0)
    rest.note("orders", 1, None, now=100.0)
    assert rest.holds("orders", 1, 1e9)
    assert rest.left("orders", 1e9) is None
    rest.forget("orders")
    assert not rest.holds("orders", 1, 100.0)


def test_the_same_revision_with_other_content_is_another_entry():
    """A bucket that was put back from a backup counts its revisions anew."""
    desired = Desired()
    first, second = (KvEntry("orders", 2, value) for value in (ENTRY, ENTRY.replace(b"1", b"2")))
    desired.replace(Snapshot((first,), False))
    before = desired.brief("orders")
    assert (before.revision, before.version) == (2, "1")
    desired.replace(Snapshot((second,), True))
    after = desired.brief("orders")
    assert (after.revision, after.version) == (2, "2")
    assert after != before
    desired.replace(Snapshot((), True))
    assert desired.brief("orders") == Brief()


@pytest.mark.parametrize(
    ("more", "executor"), [("", "docker"), (', "unknown": 1', None), (', "id": "another"', None)]
)
def test_an_entry_that_is_refused_asks_for_no_executor(more: str, executor: str | None):
    """Else what runs elsewhere would be Unknown while that one is away."""
    value = f'{{"status": "published", "version": "1", "executor": "docker"{more}}}'
    desired = Desired()
    desired.change(KvEntry("orders", 1, value.encode()))
    assert desired.brief("orders").executor == executor


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b" " * 70_000,
        b'{"version": 1}',
        b'{"version": "a b"}',
        b'{"version": "%s"}' % (b"x" * 10_000),  # as a subject it would cut the connection
    ],
    ids=range(8),
)
def test_what_is_no_definition_names_no_version(value: bytes):
    desired = Desired()
    desired.change(KvEntry("orders", 1, value))
    brief = desired.brief("orders")
    assert (brief.revision, brief.version, brief.executor) == (1, None, None)


async def test_a_look_that_finds_all_as_it_was_decides_nothing_and_each_change_does(
    house: House, decided: list[str]
):
    await house.publish("orders")
    await house.field.reaches("orders", "Running")
    controller = (await house.running.leading()).controller

    async def rests() -> bool:
        decided.clear()
        await controller.queue.look("orders")
        return not decided

    await eventually(rests)  # its readiness has settled
    await house.field.put("orders", version="1", name="Orders")
    await eventually(lambda: decided)
    await eventually(rests)
    house.world.finish(house.name("orders"), 1)
    await eventually(lambda: decided)
    await eventually(rests)
    await house.field.config("orders", "input: {stdin: {}}\noutput: {drop: {}}\n", "1")
    await eventually(lambda: decided)
    await eventually(rests)
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
    read, name = house.running.site.registry.get_sample_value, "nexthos_resync_duration_seconds"
    until = (read(f"{name}_count") or 0) + times
    await eventually(lambda: (read(f"{name}_count") or 0) >= until)
