"""Who is to blame when a host dies: one bad stream is alone after two deaths, whatever it does."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexthos_controller.executors.streams.suspicion import CLEARED, YOUNG, Inmate, judge

OLD = 2 * YOUNG


def test_a_host_with_one_stream_dies_by_that_stream():
    verdict = judge([Inmate("a", 0, OLD)], killed=False)["a"]
    assert (verdict.own, verdict.party) == (True, 1)


def test_of_many_old_ones_all_are_suspects_in_small_parties():
    verdicts = judge([Inmate(str(n), 0, OLD) for n in range(250)], killed=False)
    assert {(v.own, v.party) for v in verdicts.values()} == {(False, 16)}


def test_of_a_host_that_was_killed_a_half_is_a_party_and_small_ones_follow_only_if_one_dies_again():
    verdicts = judge([Inmate(str(n), 0, OLD) for n in range(250)], killed=True)
    assert {(v.own, v.party) for v in verdicts.values()} == {(False, 125)}
    verdicts = judge([Inmate(str(n), 125, OLD) for n in range(125)], killed=True)
    assert {(v.own, v.party) for v in verdicts.values()} == {(False, 12)}
    verdicts = judge([Inmate(str(n), 12, OLD) for n in range(12)], killed=True)
    assert {(v.own, v.party) for v in verdicts.values()} == {(False, 1)}


def test_the_youngest_are_the_suspects_if_they_are_few():
    inmates = [Inmate(str(n), 0, OLD) for n in range(249)]
    verdicts = judge([*inmates, Inmate("new", 0, 0.1)], killed=False)
    assert verdicts.pop("new").party == 1
    assert {(v.own, v.party) for v in verdicts.values()} == {(False, 0)}


def test_a_suspect_is_alone_the_second_time():
    verdicts = judge([Inmate(str(n), 16, OLD) for n in range(16)], killed=False)
    assert {(v.own, v.party) for v in verdicts.values()} == {(False, 1)}


def test_ten_minutes_of_life_clear_a_suspect():
    inmates = [Inmate("a", 16, CLEARED), Inmate("b", 0, CLEARED), Inmate("new", 0, 1.0)]
    verdicts = judge(inmates, killed=False)
    assert [verdicts[n].party for n in ("a", "b", "new")] == [0, 0, 1]


@given(count=st.integers(2, 256), bad=st.integers(0, 255), fast=st.booleans(), kills=st.booleans())
@pytest.mark.fault(69)
def test_one_bad_stream_ends_its_neighbours_twice_at_most_and_by_kills_thrice(
    count, bad, fast, kills
):
    """Whether it ends its host at once or after a while; all start again each time."""
    bad %= count
    rounds = 3 if kills else 2
    parties, ends = dict.fromkeys(range(count), 0), dict.fromkeys(range(count), 0)
    host = list(range(count))
    for _ in range(rounds + 1):
        age = 1.0 if fast else OLD
        verdicts = judge([Inmate(str(n), parties[n], age) for n in host], killed=kills)
        for n in host:
            parties[n] = verdicts[str(n)].party
            ends[n] += 1
        if len(host) == 1:
            assert verdicts[str(bad)].own
            break
        size = parties[bad]
        others = [n for n in host if parties[n] == size and n != bad]
        host = [bad, *others[: size - 1]]
        assert len(host) <= max(1, math.ceil(count / 2 if kills else math.sqrt(count)))
    assert len(host) == 1
    assert all(e <= rounds for n, e in ends.items() if n != bad)
