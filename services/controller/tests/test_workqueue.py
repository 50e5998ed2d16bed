"""The key queue, with work that the test lets go on and end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from nexthos_controller.loop.workqueue import LAST_BACKOFF, WorkQueue, backoff
from nexthos_shared.errors import StoreUnavailable

PATIENCE = 5.0  # seconds; a condition that takes longer is a failure


class Bench:
    """Work that notes what it is asked, and waits where it was told to."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.ended: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.errors: dict[str, list[Exception]] = {}
        self.look_again: dict[str, list[float]] = {}
        self.at_once = 0
        self.most_at_once = 0
        self._changed = asyncio.Condition()

    def gate(self, key: str) -> asyncio.Event:
        """Work on `key` waits until the gate is set."""
        return self.gates.setdefault(key, asyncio.Event())

    async def work(self, key: str) -> float | None:
        self.began.append(key)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self._announce()
        try:
            if key in self.gates:
                await self.gates[key].wait()
            if self.errors.get(key):
                raise self.errors[key].pop(0)
            again = self.look_again.get(key)
            return again.pop(0) if again else None
        finally:
            self.at_once -= 1
            self.ended.append(key)
            await self._announce()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(condition)

    async def _announce(self) -> None:
        async with self._changed:
            self._changed.notify_all()


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.fault(15)
async def test_a_key_added_many_times_while_it_waits_is_looked_at_once(bench: Bench) -> None:
    async with WorkQueue(bench.work, bound=1) as queue:
        for _ in range(1000):
            queue.add("a")
        await bench.until(lambda: bench.ended == ["a"])
        await queue.look("b")  # whatever was queued before it has had its turn
        assert Counter(bench.began) == {"a": 1, "b": 1}


async def test_a_key_added_while_it_is_worked_on_is_looked_at_once_more(bench: Bench) -> None:
    gate = bench.gate("a")
    async with WorkQueue(bench.work) as queue:
        queue.add("a")
        await bench.until(lambda: bench.began == ["a"])
        for _ in range(10):
            queue.add("a")
        gate.set()
        await bench.until(lambda: bench.ended == ["a", "a"])
        await queue.look("b")
        assert len(queue) == 0  # nothing more is queued, whether it has begun or not
        assert Counter(bench.began) == {"a": 2, "b": 1}


async def test_one_key_is_never_worked_on_twice_at_once(bench: Bench) -> None:
    gate = bench.gate("a")
    async with WorkQueue(bench.work) as queue:
        queue.add("a")
        await bench.until(lambda: bench.began == ["a"])
        queue.add("a")
        await queue.look("b")
        assert bench.began == ["a", "b"]
        gate.set()
        await bench.until(lambda: bench.ended.count("a") == 2)


@pytest.mark.fault(65)
async def test_no_more_keys_than_the_bound_are_worked_on_at_once(bench: Bench) -> None:
    keys = [f"k{n}" for n in range(50)]
    for key in keys:
        bench.gate(key)
    async with WorkQueue(bench.work, bound=4) as queue:
        for key in keys:
            queue.add(key)
        await bench.until(lambda: bench.at_once == 4)
        for key in keys:
            bench.gate(key).set()
        await bench.until(lambda: len(bench.ended) == 50)
    assert bench.most_at_once == 4


@pytest.mark.fault(64)
async def test_one_that_hangs_keeps_only_itself_waiting(bench: Bench) -> None:
    bench.gate("hangs")
    async with WorkQueue(bench.work, bound=2) as queue:
        queue.add("hangs")
        for n in range(99):
            queue.add(f"k{n}")
        await bench.until(lambda: len(bench.ended) == 99)
        assert "hangs" not in bench.ended


async def test_a_long_wait_aside_gives_its_place_to_others() -> None:
    order: list[str] = []
    waiting = asyncio.Event()

    async def work(key: str) -> None:
        if key == "slow":
            async with queue.aside():
                await waiting.wait()
        order.append(key)

    queue = WorkQueue(work, bound=1)
    async with queue, asyncio.timeout(PATIENCE):
        slow = asyncio.create_task(queue.look("slow"))
        await asyncio.sleep(0)
        await queue.look("quick")
        waiting.set()
        await slow
    assert order == ["quick", "slow"]


@pytest.mark.fault(65)
async def test_live_keys_go_before_calm_ones(bench: Bench) -> None:
    gate = bench.gate("first")
    async with WorkQueue(bench.work, bound=1) as queue:
        queue.add("first")
        await bench.until(lambda: bench.began == ["first"])
        for n in range(5):
            queue.add(f"calm{n}", live=False)
        queue.add("live")
        gate.set()
        await bench.until(lambda: len(bench.ended) == 7)
    assert bench.began[1] == "live"


async def test_a_calm_key_that_becomes_live_is_promoted_and_looked_at_once(bench: Bench) -> None:
    gate = bench.gate("first")
    async with WorkQueue(bench.work, bound=1) as queue:
        queue.add("first")
        await bench.until(lambda: bench.began == ["first"])
        queue.add("x", live=False)
        queue.add("y", live=False)
        queue.add("y")
        queue.add("y", live=False)
        gate.set()
        await bench.until(lambda: len(bench.ended) == 3)
        await queue.look("z")
    assert bench.began == ["first", "y", "x", "z"]


async def test_look_waits_for_a_look_that_began_after_the_call(bench: Bench) -> None:
    gate = bench.gate("a")
    async with WorkQueue(bench.work) as queue, asyncio.timeout(PATIENCE):
        queue.add("a")
        await bench.until(lambda: bench.began == ["a"])
        look = asyncio.create_task(queue.look("a"))
        await asyncio.sleep(0)
        gate.set()
        await look
        assert bench.ended == ["a", "a"]


@pytest.mark.fault(63)
async def test_a_failing_key_waits_longer_each_time_and_the_others_go_on(bench: Bench) -> None:
    delays: list[int] = []

    def note(failures: int) -> float:
        delays.append(failures)
        return 0.001

    bench.errors["bad"] = [StoreUnavailable("no"), ValueError("defect"), StoreUnavailable("no")]
    async with WorkQueue(bench.work, backoff=note) as queue:
        queue.add("bad")
        queue.add("good")
        await bench.until(lambda: bench.ended.count("bad") == 4)
        assert bench.ended.count("good") == 1
        bench.errors["bad"] = [StoreUnavailable("again")]
        queue.add("bad")
        await bench.until(lambda: bench.ended.count("bad") == 6)
    assert delays == [1, 2, 3, 1]


async def test_a_live_change_does_not_wait_for_the_backoff(bench: Bench) -> None:
    bench.errors["bad"] = [StoreUnavailable("no")]
    async with WorkQueue(bench.work, backoff=lambda _: 1000.0) as queue:
        await queue.look("bad")
        queue.add("bad")
        await bench.until(lambda: bench.ended == ["bad", "bad"])


async def test_look_ends_even_if_the_work_fails(bench: Bench) -> None:
    bench.errors["bad"] = [StoreUnavailable("no")]
    async with WorkQueue(bench.work, backoff=lambda _: 1000.0) as queue, asyncio.timeout(PATIENCE):
        await queue.look("bad")


async def test_work_that_asks_to_look_again_is_looked_at_again(bench: Bench) -> None:
    bench.look_again["a"] = [0.001, 0.001]
    async with WorkQueue(bench.work) as queue:
        queue.add("a")
        await bench.until(lambda: bench.ended == ["a", "a", "a"])


async def test_the_nearest_of_two_moments_to_look_again_counts(bench: Bench) -> None:
    async with WorkQueue(bench.work) as queue:
        queue.add_after("a", 0.001)
        queue.add_after("a", 1000.0)
        await bench.until(lambda: bench.ended == ["a"])
        queue.add_after("b", 1000.0)
        queue.add_after("b", 0.001)
        await bench.until(lambda: bench.ended == ["a", "b"])


async def test_leaving_the_queue_cancels_what_is_worked_on_and_who_waits(bench: Bench) -> None:
    bench.gate("a")
    async with WorkQueue(bench.work) as queue:
        look = asyncio.create_task(queue.look("a"))
        await bench.until(lambda: bench.began == ["a"])
        waits = asyncio.create_task(queue.look("a"))
        queue.add_after("later", 1000.0)
        await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        await asyncio.wait({look, waits})
    assert waits.cancelled()
    assert bench.ended == ["a"]
    assert len(asyncio.all_tasks()) == 1


async def test_waiting_and_active_keys_are_counted(bench: Bench) -> None:
    gate = bench.gate("a")
    async with WorkQueue(bench.work, bound=1) as queue:
        queue.add("a")
        queue.add("b")
        await bench.until(lambda: bench.began == ["a"])
        assert len(queue) == 2
        gate.set()
        await bench.until(lambda: bench.ended == ["a", "b"])


def test_the_backoff_doubles_with_jitter_up_to_its_cap() -> None:
    assert 0.4 <= backoff(1) <= 0.6
    assert 1.6 <= backoff(3) <= 2.4
    assert backoff(1000) <= LAST_BACKOFF * 1.2


async def test_whoever_has_time_waits_until_live_keys_were_looked_at(bench: Bench) -> None:
    gate = bench.gate("live")
    async with WorkQueue(bench.work) as queue:
        queue.add("live")
        waits = asyncio.create_task(queue.calm(3600))
        await bench.until(lambda: bench.began == ["live"])
        assert not waits.done()
        gate.set()
        async with asyncio.timeout(PATIENCE):
            await waits
        assert bench.ended == ["live"]


async def test_whoever_has_time_waits_no_longer_than_it_says(bench: Bench) -> None:
    bench.gate("live")
    async with WorkQueue(bench.work) as queue:
        queue.add("live")
        async with asyncio.timeout(PATIENCE):
            assert await queue.calm(0.01) >= 0.01
            assert await queue.calm(0.0) == 0.0
        assert bench.ended == []


async def test_whoever_has_time_does_not_wait_for_calm_keys(bench: Bench) -> None:
    bench.gate("calm")
    async with WorkQueue(bench.work) as queue:
        queue.add("calm", live=False)
        await bench.until(lambda: bench.began == ["calm"])
        async with asyncio.timeout(PATIENCE):
            assert await queue.calm(3600) == 0.0
