"""Waiting longer after each failure, and not in step with others."""

from __future__ import annotations

import pytest

from nexthos_shared.backoff import JITTER, Backoff, jittered

AGAIN = Backoff(0.5, 300.0)


def test_each_failure_in_a_row_doubles_the_wait_up_to_the_last() -> None:
    waits = [AGAIN.after(n, draw=0.5) for n in range(1, 13)]
    assert waits == [0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


@pytest.mark.parametrize("failures", [-1, 0, 1])
def test_the_first_wait_is_the_shortest(failures: int) -> None:
    assert AGAIN.after(failures, draw=0.5) == 0.5


def test_any_number_of_failures_can_be_asked_for() -> None:
    assert AGAIN.after(10**9, draw=0.5) == 300.0


def test_the_draw_spreads_a_wait_by_a_fifth_to_each_side() -> None:
    assert AGAIN.after(2, draw=0.0) == pytest.approx(1 - JITTER)
    assert AGAIN.after(2, draw=1.0) == pytest.approx(1 + JITTER)


def test_what_failed_together_does_not_wait_together() -> None:
    waits = {jittered(10.0, 0.1) for _ in range(20)}
    assert len(waits) > 1
    assert all(9.0 <= wait <= 11.0 for wait in waits)
