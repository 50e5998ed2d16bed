"""Rows of docs/faults.md that are decided: values, and a clock that the test holds."""

from __future__ import annotations

from itertools import pairwise

import pytest

from nexthos_controller.reconcile.failure import DELAY
from nexthos_shared.backoff import JITTER
from nexthos_shared.model import Phase
from nexthos_testing.world import NOW, World, running


@pytest.mark.fault(43)
def test_what_starts_slowly_is_starting_and_left_alone() -> None:
    world = World()
    world.settle()
    world.done.clear()
    for seconds in (1, 20, 3600):
        status = world.settle(now=NOW + seconds)
        assert (status.phase, status.restarts, world.kinds) == (Phase.STARTING, 0, [])
    assert world.ready().phase is Phase.RUNNING


@pytest.mark.fault(81)
def test_what_vanishes_again_and_again_waits_longer_each_time_and_is_a_crash_loop_at_last() -> None:
    world = running()
    delays: list[float] = []
    for count in range(1, 6):
        assert world.settle(executions=()).restarts == count
        slot = world.view.memory.slots[0]
        delays.append(slot.not_before - world.view.now)
        assert world.decision.look_again is not None
        assert world.decision.look_again <= delays[-1]
        world.settle(now=slot.not_before - 0.1)
        assert world.kinds == []
        world.settle(now=slot.not_before)
        assert world.kinds == ["Start"]
    assert all(longer > delay for delay, longer in pairwise(delays))
    assert world.settle().phase is Phase.CRASH_LOOP


@pytest.mark.fault(58)
def test_a_clock_that_was_put_back_does_not_keep_a_restarted_controller_from_starting() -> None:
    world = running()
    world.ends(7)
    world.settle()
    world.settle(now=NOW - 3600)
    assert world.decision.look_again is not None
    assert world.decision.look_again <= DELAY.last * (1 + JITTER)
