"""A pipeline that moves between executors of both kinds: one thing runs at any moment, nothing is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nexthos_controller.reconcile import steps, workloads
from nexthos_shared.model import Phase
from nexthos_shared.reasons import Problem, Reason
from nexthos_testing.movers import KEY, Movers

SERVICE, JOB = "service", "job"
MOVES = [
    ("near", SERVICE),
    ("workloads", SERVICE),
    ("far", SERVICE),
    ("workloads", SERVICE),
    ("workloads", JOB),
    ("near", JOB),
    ("workloads", JOB),
    ("workloads", SERVICE),
]
FAILPOINTS = range(1, 9)  # more than any move reaches between clearing and applying


@pytest.fixture
def movers() -> Iterator[Movers]:
    one = Movers()
    yield one
    one.loop.close()


@pytest.mark.parametrize("slow", [False, True], ids=["at once", "slowly"])
@pytest.mark.parametrize("dies_in", [None, *FAILPOINTS])
def test_a_pipeline_moves_between_the_kinds_and_a_kill_at_any_failpoint_changes_nothing(
    movers: Movers, dies_in: int | None, slow: bool
) -> None:
    moved(movers, dies_in, slow)


def moved(movers: Movers, dies_in: int | None, slow: bool) -> None:
    """From one to the other and back; each move as a controller dies in it."""
    for executor, lifecycle in MOVES:
        movers.platform.faults.slow = slow
        movers.put(executor=executor, lifecycle=lifecycle)
        movers.dies_in = dies_in
        for _ in range(3):
            movers.step()
        movers.settle()
        assert movers.running() == {executor: ["1"]}
        assert len(movers.platform.deployed) == (executor == "workloads")
    movers.delete()
    movers.settle()
    assert movers.running() == {}
    assert not movers.platform.deployed
    assert not any(world.things for world in movers.worlds.values())
    assert movers.violations == []


def test_a_platform_that_does_not_answer_keeps_others_from_starting(movers: Movers) -> None:
    """Also after the controller that applied it is dead: the place is remembered before."""
    movers.put(executor="workloads")
    movers.dies_in = 2  # after what is to be done was remembered, before it is done
    movers.step()
    movers.put(executor="workloads")
    movers.settle()
    movers.platform.faults.silent = {movers.platform.place}
    movers.put(executor="near")
    for _ in range(3):
        movers.step()
    assert movers.running() == {"workloads": ["1"]}
    status = movers.status()
    assert status is not None
    assert status.phase is Phase.UNKNOWN
    movers.platform.faults.silent = set()
    movers.settle()
    assert movers.running() == {"near": ["1"]}
    assert movers.violations == []


# ---- anything in any order

EXECUTORS = ["near", "far", "workloads"]
Act = Callable[[Movers], None]


def put(status: str, executor: str, lifecycle: str, version: str) -> Act:
    return lambda m: m.put(status, version, executor=executor, lifecycle=lifecycle)


def fault(name: str, value: Any) -> Act:
    return lambda m: setattr(m.platform.faults, name, value)


def dies(number: int) -> Act:
    return lambda m: setattr(m, "dies_in", number)


def where_deployed(act: Act) -> Act:
    return lambda m: act(m) if m.platform.running(KEY) else None


ACTS: st.SearchStrategy[Act] = st.one_of(
    st.builds(
        put,
        st.sampled_from(["published", "published", "published", "paused", "draft"]),
        st.sampled_from(EXECUTORS),
        st.sampled_from([SERVICE, SERVICE, JOB]),
        st.sampled_from(["1", "2"]),
    ),
    st.builds(fault, st.sampled_from(["late", "slow", "half", "refuse"]), st.booleans()),
    st.just(fault("stalled", Problem(Reason.IMAGE_MISSING, "no such image"))),
    st.just(fault("stalled", None)),
    st.sampled_from([fault("silent", {"cluster"}), fault("silent", set())]),
    st.builds(dies, st.integers(1, 6)),
    st.just(Movers.step),
    st.just(Movers.step),
    st.just(Movers.step),
    st.just(lambda m: m.platform.catch_up()),
    st.just(lambda m: m.platform.drained()),
    st.just(where_deployed(lambda m: m.platform.meddle(KEY, 2))),
    st.just(where_deployed(lambda m: m.platform.vanish(KEY))),
    st.just(where_deployed(lambda m: m.platform.crash(KEY))),
    st.just(lambda m: m.delete()),
)


def judged(acts: list[Act]) -> None:
    """Whatever happens one thing runs; and when faults stop, what is stored comes true."""
    movers = Movers()
    try:
        for act in acts:
            act(movers)
            movers.look()
        movers.dies_in = None
        for name in ("half", "refuse"):
            setattr(movers.platform.faults, name, False)
        movers.platform.faults.stalled, movers.platform.faults.silent = None, set()
        movers.put("published", "3", executor="workloads")
        movers.settle()
        assert movers.running() == {"workloads": ["3"]}
        movers.put("paused", "3", executor="workloads")
        movers.settle()
        assert movers.running() == {}
        assert len(movers.platform.deployed) == 1
        movers.put("published", "3", executor="far")
        movers.settle()
        assert movers.running() == {"far": ["3"]}
        movers.delete()
        movers.settle()
        assert movers.running() == {}
        assert not movers.platform.deployed
        assert movers.status() is None
        assert movers.violations == []
    finally:
        movers.loop.close()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ACTS, max_size=25))
def test_whatever_happens_one_thing_runs_and_in_the_end_what_is_stored(acts: list[Act]) -> None:
    judged(acts)


# ---- bugs that were planted, each found by the above

Patch = pytest.MonkeyPatch


def nothing_is_in_the_way(patch: Patch) -> None:
    patch.setattr(workloads, "is_in_the_way", lambda view, spec: False)


def the_other_kind_is_not_cleared(patch: Patch) -> None:
    patch.setattr(workloads, "cleared", lambda view, spec: ())
    patch.setattr(workloads, "is_in_the_way", lambda view, spec: False)


def replicas_of_ours_stay_when_a_workload_is_applied(patch: Patch) -> None:
    right = steps._clear
    patch.setattr(steps, "_clear", lambda found: () if isinstance(found, tuple) else right(found))


def what_is_paused_goes_on_on_its_platform(patch: Patch) -> None:
    patch.setattr(workloads, "paused", lambda view, target, spec: ())


def a_difference_is_not_applied(patch: Patch) -> None:
    patch.setattr(workloads, "_differs", lambda there, target, spec: False)


def what_is_being_deleted_counts_as_gone(patch: Patch) -> None:
    right = workloads.is_in_the_way

    def careless(view: Any, spec: Any) -> bool:
        left = tuple(w for w in view.workloads if w.state != "deleting")
        return right(replace(view, workloads=left, executions=()), spec)

    patch.setattr(workloads, "is_in_the_way", careless)


@pytest.mark.parametrize(
    "bug",
    [
        nothing_is_in_the_way,
        the_other_kind_is_not_cleared,
        replicas_of_ours_stay_when_a_workload_is_applied,
        what_is_paused_goes_on_on_its_platform,
        a_difference_is_not_applied,
        what_is_being_deleted_counts_as_gone,
    ],
    ids=lambda bug: bug.__name__,
)
def test_a_planted_bug_is_found(
    bug: Callable[[Patch], None], monkeypatch: Patch, movers: Movers
) -> None:
    bug(monkeypatch)
    with pytest.raises((AssertionError, BaseExceptionGroup)):
        searched(movers)


def searched(movers: Movers) -> None:
    """All that is tried above, always in the same order."""
    for slow in (False, True):
        moved(movers, None, slow)
    settings(
        max_examples=300,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow],
    )(given(st.lists(ACTS, max_size=25))(judged))()
