"""When it is said that nothing goes out, and how often an engine is asked for its counts."""

from __future__ import annotations

import pytest

from nexthos_controller.executors.shared.delivery import (
    AT_MOST,
    EVERY,
    MESSAGES,
    SILENT_FOR,
    Delivery,
    Pace,
)
from nexthos_shared.reasons import Reason

LATE = SILENT_FOR + 1


def after(*counts: tuple[int, int, float], from_nothing: bool = True) -> Delivery:
    delivery = Delivery(from_nothing=from_nothing)
    for received, sent, now in counts:
        delivery.take(received, sent, now)
    return delivery


@pytest.mark.fault(133)
def test_messages_that_come_in_while_none_goes_out_are_told_and_over_with_the_next_one():
    delivery = after((3, 0, 100.0), (300, 0, 100.0 + LATE))
    problem = delivery.problem
    assert problem is not None
    assert problem.reason is Reason.NOT_DELIVERING
    delivery.take(400, 0, 100.0 + 2 * LATE)
    assert delivery.problem == problem, "it is not told anew at each look"
    delivery.take(401, 1, 100.0 + 2 * LATE)
    assert delivery.problem is None


@pytest.mark.parametrize(
    "counts",
    [
        [(300, 0, 100.0), (600, 0, 100.0 + SILENT_FOR - 1)],  # a moment
        [(0, 0, 100.0), (0, 0, 100.0 + LATE)],  # nothing to do
        [(MESSAGES - 1, 0, 100.0), (MESSAGES - 1, 0, 100.0 + LATE)],  # a few that were filtered
        [(10, 10, 100.0), (1000, 11, 100.0 + LATE)],  # most are filtered
        [(500, 100, 100.0), (500, 100, 100.0 + LATE)],  # adopted at rest
        [(500, 100, 100.0), (20, 3, 100.0 + LATE)],  # counts that went back
    ],
)
def test_nothing_is_told_of_what_may_well_be_right(counts):
    assert after(*counts).problem is None


def test_what_was_counted_for_one_before_it_does_not_count():
    assert after((500, 0, 1.0), (501, 0, 1.0 + LATE), from_nothing=False).problem is None


def test_one_engine_is_asked_seldom_and_thousands_at_a_bounded_pace():
    pace, engines = Pace(), [Delivery() for _ in range(3000)]
    asked = [sum(e.is_due(float(now), pace) for e in engines) for now in range(1000, 1060)]
    assert 0 < max(asked) <= AT_MOST + 1
    one, free = Delivery(), Pace(1e9)
    assert one.is_due(1000.0, free)
    assert not one.is_due(1000.0 + EVERY * 0.8, free)
    assert one.is_due(1000.0 + EVERY * 1.2, free)
