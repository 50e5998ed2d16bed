"""Which events a change of status makes: enough to follow the story, and nothing twice."""

from __future__ import annotations

from dataclasses import replace

from nexthos_controller.execution import Exit
from nexthos_controller.reconcile import decide, report
from nexthos_controller.reconcile.transitions import deletion, transitions
from nexthos_shared.model import EventType, PipelineStatus
from nexthos_shared.reasons import Problem, Reason
from nexthos_testing.world import NOW, World, entry, view


class Story:
    """A world whose statuses are stored as the controller does, and what they tell."""

    def __init__(self, world: World | None = None) -> None:
        self.world = world or World()
        self.status: PipelineStatus | None = None

    def settle(self, **fields: object) -> list[tuple[EventType, Reason]]:
        self.world.view = replace(self.world.view, **fields)  # type: ignore[arg-type]
        told: list[tuple[EventType, Reason]] = []
        for _ in range(10):
            decision = decide(self.world.view)
            status = report(self.world.view, decision, self.status)
            told += [(t.type, t.data.reason) for t in transitions("orders", self.status, status)]
            self.status = status
            self.world.view = replace(self.world.view, memory=decision.memory)
            if not decision.steps:
                return told
            for step in decision.steps:
                self.world._take(step)
        raise AssertionError("never settles")

    def ready(self) -> list[tuple[EventType, Reason]]:
        for index, execution in enumerate(self.world.view.executions):
            if execution.state == "running":
                self.world.change(index, ready=True)
        return self.settle()


PHASE, CONDITION, RESTART = EventType.PHASE, EventType.CONDITION, EventType.RESTART


def test_a_start_that_goes_well_is_told_by_its_phases_alone() -> None:
    story = Story()
    assert story.settle() == [(PHASE, Reason.STARTING)]
    assert story.ready() == [(PHASE, Reason.READY)]
    assert story.settle() == []
    assert story.settle(now=NOW + 11) == []
    assert story.settle(entry=entry("paused", 2)) == [
        (PHASE, Reason.STOPPING),
        (PHASE, Reason.PAUSED),
    ]


def test_an_end_is_told_with_its_cause_and_a_crash_loop_once() -> None:
    story = Story()
    story.settle()
    story.ready()
    cause = Problem(Reason.EXITED, "panic: no more disk")
    told = []
    for round in range(1, 7):
        story.world.change(0, state="stopped", exit=Exit(7, False, cause), ready=None)
        told += story.settle()
        told += story.settle(now=NOW + round * 400)
    assert told.count((RESTART, Reason.EXITED)) == 6
    assert told.count((PHASE, Reason.CRASH_LOOP)) == 1
    assert story.status is not None
    assert story.status.restarts == 6


def test_an_update_that_is_rolled_back_tells_the_whole_story() -> None:
    story = Story()
    story.settle()
    story.ready()
    story.settle(now=NOW + 11)
    told = story.settle(entry=entry("published", 2, env={"A": "1"}))
    assert told == [(CONDITION, Reason.UPDATING), (PHASE, Reason.STARTING)]
    told = story.settle(now=NOW + 60)
    assert told == [(CONDITION, Reason.ROLLED_BACK)]
    assert story.ready() == [(PHASE, Reason.READY)]


def test_what_is_refused_and_then_corrected_is_told_both_times() -> None:
    story = Story()
    story.settle()
    story.ready()
    told = story.settle(entry=entry("published", 2, nonsense=1))
    assert told == [(CONDITION, Reason.INVALID_DEFINITION)]
    assert story.settle(entry=entry("published", 3)) == [(CONDITION, Reason.VALID)]


def test_a_silent_place_is_told_and_its_return_too() -> None:
    story = Story()
    story.settle()
    story.ready()
    silent = (Problem(Reason.EXECUTOR_UNREACHABLE, "no answer"),)
    told = story.settle(silent=silent)
    assert (PHASE, Reason.EXECUTOR_UNREACHABLE) in told
    assert story.settle(silent=()) == [(PHASE, Reason.READY)]


def test_the_first_status_of_an_invalid_pipeline_names_why() -> None:
    story = Story(World(entry=entry("published", 1, nonsense=1)))
    assert (PHASE, Reason.INVALID_DEFINITION) in story.settle()


def test_a_deletion_is_the_last_event() -> None:
    status = report(view(), decide(view()), None)
    last = deletion("orders", status)
    assert (last.type, last.data.reason, last.data.before) == (
        EventType.DELETED,
        Reason.DELETED,
        status.phase,
    )


def test_fewer_replicas_end_in_ready_once() -> None:
    story = Story(World(entry=entry("published", 1, replicas=3)))
    story.settle()
    story.ready()
    told = story.settle(entry=entry("published", 2, replicas=1))
    told += story.ready()
    assert told[-1] == (PHASE, Reason.READY)
    assert told.count((PHASE, Reason.READY)) == 1
    assert story.ready() == []
