"""From two samples to rates: per second, by life, and never below zero."""

from __future__ import annotations

import pytest

from nexthos_cli.output.rates import top_lines
from nexthos_shared.model import ExecutionUsage, Usage


def execution(uid="u1", at=10.0, name="x-a-0-1", **figures):
    return ExecutionUsage(execution=name, uid=uid, replica=0, running=True, at=at, **figures)


def usage(*executions, key="a", **more):
    return {key: Usage(id=key, executions=list(executions), **more)}


def line(before, after, seconds=2.0):
    [only] = top_lines([before], after, seconds, "name")
    return only


def test_rates_are_differences_by_the_time_between_the_readings():
    found = line(
        usage(execution(received=100, sent=50, errors=1, cpu_seconds=1.0)),
        usage(execution(received=300, sent=70, errors=1, cpu_seconds=1.5, at=14.0)),
        seconds=99.0,
    )
    assert (found.received_per_second, found.sent_per_second) == (50.0, 5.0)
    assert (found.errors_per_second, found.cpu_percent) == (0.0, 12.5)


def test_rates_of_replicas_are_added():
    found = line(
        usage(execution(received=100), execution(name="x-a-1-1", received=10)),
        usage(execution(received=120, at=12.0), execution(name="x-a-1-1", received=50, at=14.0)),
    )
    assert found.received_per_second == 20.0


def test_a_life_that_began_in_between_counts_from_its_start_and_is_never_negative():
    before = usage(execution(received=1_000_000))
    assert line(before, usage(execution("u2", received=30, at=12.0))).received_per_second == 15.0
    assert line(before, usage(execution(received=4, at=12.0))).received_per_second == 0.0


def test_what_was_or_is_not_known_has_no_rate_and_is_not_zero():
    known, unknown = execution(received=100, at=12.0), execution()
    assert line(usage(unknown), usage(known)).received_per_second is None
    assert line(usage(known), usage(execution(at=14.0))).received_per_second is None
    assert line(usage(known), usage()).cpu_percent is None


def test_a_reading_without_time_in_between_has_no_rate():
    assert line(usage(execution(received=1)), usage(execution(received=9))).sent_per_second is None
    assert (
        line(usage(execution(received=1)), usage(execution(received=9))).received_per_second is None
    )


def test_a_low_rate_looks_back_as_far_as_it_was_watched_and_a_high_one_does_not():
    past = [usage(execution(received=n // 5, sent=n * 10, at=10.0 + n)) for n in range(0, 30, 2)]
    now = usage(execution(received=6, sent=600, at=40.0))
    [found] = top_lines(past, now, 2.0, "name")
    assert (found.received_per_second, found.sent_per_second) == (0.2, 160.0)


def test_a_life_that_began_while_it_was_watched_is_not_looked_for_before():
    past = [usage(execution("u1", received=900)), usage(execution("u2", received=1, at=12.0))]
    [found] = top_lines(past, usage(execution("u2", received=3, at=14.0)), 2.0, "name")
    assert found.received_per_second == 1.0


@pytest.mark.parametrize(
    ("sort", "order"), [("cpu", "cab"), ("memory", "bca"), ("rate", "abc"), ("name", "abc")]
)
def test_lines_are_sorted_with_the_largest_first_and_the_unknown_last(sort, order):
    def sample(at, a, b, c):
        found: dict[str, Usage] = {}
        for key, (cpu, memory, received) in {"a": a, "b": b, "c": c}.items():
            figures = execution(cpu_seconds=cpu, received=received, at=at)
            found |= usage(figures, key=key, memory_bytes=memory)
        return found

    before = sample(10.0, (0.0, 1, 0), (None, 1, 0), (0.0, 1, None))
    after = sample(12.0, (0.5, None, 9), (None, 3, 4), (1.0, 2, None))
    assert "".join(found.id for found in top_lines([before], after, 2.0, sort)) == order
