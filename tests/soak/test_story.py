"""The oracle itself: what it must complain about, and what it must not."""

from __future__ import annotations

import pytest
from tests.soak.story import START_WITHIN, STUTTER, Span, Story, Verdict, backoff, judge, united

from nexthos_testing.beats import Heart

END = 100.0


def story() -> Story:
    """One that should run from the first second on."""
    told = Story("orders")
    told.run("published", 1.0, 1.0, 1)
    return told


def heart(*lives: tuple[int, float, float]) -> Heart:
    """Lives that speak twice a second: mark, from, to."""
    found, beats = Heart(), []
    for port, (mark, since, until) in enumerate(lives):
        count = int((until - since) * 2) + 1
        beats += [(since + n / 2, port, mark, n + 1) for n in range(count)]
    for at, port, mark, number in sorted(beats):
        found.take(port, str(mark), number, at)
    return found


def verdict(
    told: Story, *lives: tuple[int, float, float], excused: tuple[Span, ...] = ()
) -> Verdict:
    return judge(told, heart(*lives), excused, END)


def test_one_that_speaks_all_the_time_is_fine():
    found = verdict(story(), (1, 2.0, END))
    assert found.complaints == []
    assert found.acted == [1.0]


def test_one_that_falls_silent_and_never_comes_back_was_down():
    [complaint] = verdict(story(), (1, 2.0, 50.0)).complaints
    assert "down for 50.0 s" in complaint


def test_a_stutter_is_allowed_and_a_silence_without_a_cause_is_not():
    told = story()
    assert verdict(told, (1, 2.0, 40.0), (1, 40.0 + STUTTER, END)).complaints == [
        f"orders: started at {40.0 + STUTTER:.1f} without a cause"
    ]
    beats = heart((1, 2.0, 40.0))
    beats.take(0, "1", 100, 44.0)
    beats.take(0, "1", 101, END)
    complaints = judge(told, beats, (), END).complaints
    assert [c for c in complaints if "down for 4.0 s" in c]


@pytest.mark.parametrize(("late", "fine"), [(-0.5, True), (0.5, False)])
def test_killed_it_may_be_down_for_its_backoff_and_a_start(late, fine):
    told = story()
    told.killed(50.0)
    told.killed(60.0)
    back = 60.0 + backoff(2) + START_WITHIN + late
    found = verdict(told, (1, 2.0, 50.0), (1, 53.0, 60.0), (1, back, END))
    assert (found.complaints == []) is fine


def test_time_in_which_nobody_could_act_is_left_out_where_there_is_a_cause():
    told = story()
    told.killed(50.0)
    lives = (1, 2.0, 50.0), (1, 66.0, END)
    assert verdict(told, *lives).complaints != []
    assert verdict(told, *lives, excused=(Span(45.0, 60.0), Span(50.0, 55.0))).complaints == []


def test_nobody_to_act_is_no_excuse_for_an_engine_that_falls_silent_by_itself():
    found = verdict(story(), (1, 2.0, 50.0), (1, 60.0, END), excused=(Span(45.0, 65.0),))
    assert len(found.complaints) == 2  # it was down, and it was restarted


def test_a_change_that_is_never_acted_on_is_told_though_the_old_one_speaks_on():
    told = story()
    told.run("change", 50.0, 50.1, 2)
    complaints = verdict(told, (1, 2.0, END)).complaints
    assert any("change was acted on after 49.9 s" in c for c in complaints)
    assert any("says 1 at the end, should say 2" in c for c in complaints)


def test_a_change_that_was_overtaken_by_the_next_one_needs_no_life_of_its_own():
    told = story()
    told.run("change", 50.0, 50.1, 2)
    told.run("change", 50.2, 50.3, 3)
    assert verdict(told, (1, 2.0, 50.5), (3, 51.5, END)).complaints == []


def test_two_at_once_are_told():
    told = story()
    told.run("change", 50.0, 50.1, 2)
    complaints = verdict(told, (1, 2.0, 52.0), (2, 51.0, END)).complaints
    assert any("two at once" in c for c in complaints)


def test_while_it_should_rest_it_is_neither_down_nor_may_it_speak():
    told = story()
    told.rest(40.0, 40.1)
    told.run("resumed", 60.0, 60.1, 1)
    assert verdict(told, (1, 2.0, 40.5), (1, 61.0, END)).complaints == []
    complaints = verdict(told, (1, 2.0, 50.0), (1, 61.0, END)).complaints
    assert [c for c in complaints if "still ran 9.9 s after" in c]


def test_one_that_never_spoke_was_down_from_the_start():
    complaints = judge(story(), Heart(), (), END).complaints
    assert any("down for 99.0 s" in c for c in complaints)


def test_united_spans_are_the_same_time_without_overlaps():
    spans = [Span(5, 6), Span(1, 3), Span(2, 4)]
    assert united(spans) == [Span(1, 4), Span(5, 6)]
