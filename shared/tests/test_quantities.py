"""Durations, cpu and memory as people write them."""

import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexthos_shared.model import format_duration, parse_duration
from nexthos_shared.model.quantities import parse_cpu, parse_memory

ANYTHING = st.one_of(
    st.text(),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.lists(st.integers(), max_size=2),
    st.from_regex(r"[0-9]{1,400}(\.[0-9]+)?(ms|s|m|h|Ki|Mi|k|M|T|Ti)?", fullmatch=True),
    st.integers(min_value=10**300, max_value=10**400),
)


@pytest.mark.parametrize("parse", [parse_duration, parse_cpu, parse_memory])
@given(value=ANYTHING)
def test_whatever_is_written_is_a_number_or_a_value_error(parse, value):
    with suppress(ValueError):
        number = parse(value)
        assert isinstance(number, int | float)
        assert not isinstance(number, bool)


@given(st.integers(min_value=0, max_value=24 * 3600 * 1000))
def test_a_duration_in_whole_milliseconds_survives_being_written_and_read(milliseconds):
    seconds = milliseconds / 1000
    assert math.isclose(parse_duration(format_duration(seconds)), seconds, abs_tol=1e-9)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30s", 30),
        ("1m30s", 90),
        ("500ms", 0.5),
        ("1h2m3s", 3723),
        ("1.5s", 1.5),
        (2, 2),
        (0.5, 0.5),
    ],
)
def test_a_duration_is_written_as_go_writes_it_or_as_seconds(written, seconds):
    assert parse_duration(written) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "written", ["", "30", "s", "1d", "-1s", " 1s", "1s ", "٣s", True, None, []]
)
def test_what_is_no_duration_is_refused_with_an_example(written):
    with pytest.raises(ValueError, match="30s"):
        parse_duration(written)


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0, "0s"), (90.0, "1m30s"), (0.5, "500ms"), (3600, "1h"), (3601, "1h1s"), (1.5, "1500ms")],
)
def test_a_duration_is_written_in_its_shortest_exact_form(seconds, written):
    assert format_duration(seconds) == written


@pytest.mark.parametrize(("written", "cores"), [("0.5", 0.5), ("500m", 0.5), (2, 2), (0.25, 0.25)])
def test_cpu_is_written_as_kubernetes_writes_it(written, cores):
    assert parse_cpu(written) == cores


@pytest.mark.parametrize("written", ["", "m", "1.5m", "-1", "1 core", "٣", True, None])
def test_what_is_no_cpu_is_refused_with_an_example(written):
    with pytest.raises(ValueError, match="500m"):
        parse_cpu(written)


@pytest.mark.parametrize(
    ("written", "size"),
    [("256Mi", 256 * 2**20), ("256M", 256 * 10**6), ("1k", 1000), ("1024", 1024), (4096, 4096)],
)
def test_memory_is_written_as_kubernetes_writes_it(written, size):
    assert parse_memory(written) == size


@pytest.mark.parametrize(
    "written", ["", "Mi", "1.5Gi", "-1", "256MB", "1e9", 1.5, True, "9" * 5000]
)
def test_what_is_no_memory_is_refused_with_an_example(written):
    with pytest.raises(ValueError, match="256Mi"):
        parse_memory(written)


@pytest.mark.parametrize(
    ("parse", "written"),
    [(parse_duration, 10**400), (parse_cpu, 10**400), (parse_memory, "9999999T")],
)
def test_a_number_without_measure_is_refused_as_too_large(parse, written):
    with pytest.raises(ValueError, match="too large"):
        parse(written)
