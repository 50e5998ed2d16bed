"""The machine can fail: of each invariant a bug is planted that somebody could have written.

Only that invariant is judged then, so what fails is what the bug breaks, and not what comes of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any

import pytest
from msgspec import structs

from nexthos_controller.cache.definitions import Desired
from nexthos_controller.cache.executions import Observed, PossiblePlaces, observe
from nexthos_controller.executors.contract import Executor
from nexthos_controller.executors.fake import FakeExecutor
from nexthos_controller.loop import reconciler as controller
from nexthos_controller.reconcile import (
    Decision,
    Remove,
    Step,
    Stop,
    Target,
    View,
    failure,
    report,
    steps,
)
from nexthos_controller.reconcile import target as aiming
from nexthos_controller.status import store as status_store
from nexthos_controller.status.store import StatusStore
from nexthos_shared.model import PipelineStatus, Wanted
from nexthos_shared.store import KvEntry
from nexthos_testing.machine.acting import Acting
from nexthos_testing.machine.judge import Violation
from nexthos_testing.machine.machine import run

deciding = sys.modules[
    "nexthos_controller.reconcile.decide"
]  # the package has a function of that name
MOST = 400  # examples: far fewer are needed

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Bug:
    """What it breaks, and how it comes into the code."""

    breaks: str
    plant: Callable[[Patch], None]
    number: int  # of the examples: among others it is only found later

    def __str__(self) -> str:
        return f"{self.breaks}-{self.plant.__name__}"


BUGS: list[Bug] = []


def breaks(
    invariant: str, number: int = 1
) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    """The decorated function plants the bug that its name tells of."""

    def note(plant: Callable[[Patch], None]) -> Callable[[Patch], None]:
        BUGS.append(Bug(invariant, plant, number))
        return plant

    return note


def aims(patch: Patch, aim: Callable[[View, Target], Target]) -> None:
    """Let the target of a view be another one than the right one."""
    right = aiming.aim
    patch.setattr(deciding, "aim", lambda view: aim(view, right(view)))


# ---- the bugs


@breaks("I1")
def a_place_that_does_not_answer_counts_as_empty(patch: Patch) -> None:
    async def careless(
        executors: Mapping[str, Executor],
        key: str,
        known: PossiblePlaces,
        abandoned: Set[str],
        wanted: str,
    ) -> Observed:
        return replace(await observe(executors, key, known, abandoned, wanted), silent=())

    patch.setattr(controller, "observe", careless)


@breaks("I1")
def nobody_remembers_where_it_ran(patch: Patch) -> None:
    patch.setattr(deciding, "_remember_places", lambda view, decision: decision.memory)


@breaks("I1")
def the_old_one_is_never_stopped_first(patch: Patch) -> None:
    patch.setattr(steps, "rolls", lambda target, spec: True)


@breaks("I1", number=8)
def every_update_in_a_row_keeps_the_one_before(patch: Patch) -> None:
    right = steps._replace

    def replace_one(run: Any, replica: int, mine: Any, olds: Any) -> Iterable[Step]:
        keeps = steps.rolls(run.target, run.spec) and run.may_start(mine, replica)
        for step in right(run, replica, mine, olds):
            if not (keeps and isinstance(step, Stop)):
                yield step

    patch.setattr(steps, "_replace", replace_one)


@breaks("I2")
def what_is_paused_is_restarted_when_it_ends(patch: Patch) -> None:
    def aim(view: View, right: Target) -> Target:
        return aiming._accepted_before(view, None) if right.mode == "keep" else right

    aims(patch, aim)


@breaks("I2")
def a_spec_has_the_revision_of_no_entry(patch: Patch) -> None:
    right = aiming._spec

    def off_by_one(view: View, *wanted: Any) -> Any:
        spec = right(view, *wanted)
        return replace(spec, revision=spec.revision + 1)

    patch.setattr(aiming, "_spec", off_by_one)


@breaks("I3")
def what_has_ended_is_told_as_running(patch: Patch) -> None:
    def told(view: View, decision: Decision, before: PipelineStatus | None) -> PipelineStatus:
        status = report(view, decision, before)
        ended = {e.uid for e in before.executions if e.state == "stopped"} if before else set()
        lines = [
            structs.replace(e, state="running") if e.uid in ended else e for e in status.executions
        ]
        return structs.replace(status, executions=lines)

    patch.setattr(controller, "report", told)


@breaks("I4", number=3)
def the_status_names_the_revision_that_runs(patch: Patch) -> None:
    def of_what_runs(
        view: View, decision: Decision, before: PipelineStatus | None
    ) -> PipelineStatus:
        status, current = report(view, decision, before), decision.memory.current
        runs = {"observed_revision": current.revision} if current else {}
        return structs.replace(status, **runs)

    patch.setattr(controller, "report", of_what_runs)


@breaks("I4")
def the_status_names_the_next_revision(patch: Patch) -> None:
    def too_early(view: View, decision: Decision, before: PipelineStatus | None) -> PipelineStatus:
        status = report(view, decision, before)
        return structs.replace(status, observed_revision=status.observed_revision + 1)

    patch.setattr(controller, "report", too_early)


@breaks("I5")
def whatever_has_a_pipelines_id_is_ours(patch: Patch) -> None:
    patch.setattr(FakeExecutor, "_owns", lambda self, thing: True)


@breaks("I6")
def an_absent_key_is_a_deleted_one(patch: Patch) -> None:
    aims(patch, lambda view, right: Target("none") if view.entry is None else right)


@breaks("I6")
def an_unreadable_status_is_a_draft(patch: Patch) -> None:
    def aim(view: View, right: Target) -> Target:
        entry = view.entry
        unreadable = entry is not None and not entry.deleted and entry.wanted is None
        return Target("none", refused=right.refused) if unreadable else right

    aims(patch, aim)


@breaks("I6")
def what_is_paused_is_removed(patch: Patch) -> None:
    aims(patch, lambda view, right: Target("none") if right.mode == "keep" else right)


@breaks("I7")
def a_new_controller_reads_no_status(patch: Patch) -> None:
    def record_of(self: StatusStore, entry: KvEntry) -> tuple[str, status_store._Record]:
        return entry.key, status_store._Record(entry.revision)

    patch.setattr(StatusStore, "_record_of", record_of)


@breaks("I8")
def what_is_refused_stops_what_was_accepted(patch: Patch) -> None:
    def aim(view: View, right: Target) -> Target:
        return Target("keep", refused=right.refused) if right.refused else right

    aims(patch, aim)


@breaks("I8")
def an_update_is_not_linted_before_the_old_one_is_stopped(patch: Patch) -> None:
    def aim(view: View, right: Target) -> Target:
        spec = right.to_lint
        return right if spec is None else Target("run", spec, 1)

    aims(patch, aim)


@breaks("I9")
def nothing_is_waited_for(patch: Patch) -> None:
    for module in (steps, deciding):
        patch.setattr(module, "waits", lambda slot, now: 0.0)


@breaks("I9")
def every_end_is_the_first(patch: Patch) -> None:
    right = failure.delay_after
    patch.setattr(failure, "delay_after", lambda failures, uid="": right(1, uid))


@breaks("I9")
def a_new_controller_has_no_delays(patch: Patch) -> None:
    def record_of(self: StatusStore, entry: KvEntry) -> tuple[str, status_store._Record]:
        return right(self, replace(entry, value=without_slots(entry.value)))

    def without_slots(value: bytes | None) -> bytes | None:
        status = json.loads(value) if value and value.startswith(b"{") else {}
        if "memory" not in status:
            return value
        status["memory"].pop("slots", None)
        return json.dumps(status).encode()

    right = StatusStore._record_of
    patch.setattr(StatusStore, "_record_of", record_of)


@breaks("I10")
def nobody_asks_whether_the_lease_is_ours(patch: Patch) -> None:
    patch.setattr(Acting, "guard", Acting.moment)


@breaks("I12")
def a_job_is_never_over(patch: Patch) -> None:
    for module in (steps, deciding):
        patch.setattr(module, "is_over", lambda spec, memory: False)


@breaks("L1", number=1)
def what_is_paused_runs_on(patch: Patch) -> None:
    def aim(view: View, right: Target) -> Target:
        paused = view.entry is not None and view.entry.wanted is Wanted.PAUSED
        return Target("leave") if paused else right

    aims(patch, aim)


@breaks("L2")
def markers_are_not_noticed(patch: Patch) -> None:
    right = Desired.change

    def change(self: Desired, entry: KvEntry) -> bool:
        return entry.value is not None and right(self, entry)

    patch.setattr(Desired, "change", change)


@breaks("L2")
def what_has_ended_is_not_removed(patch: Patch) -> None:
    right = steps._clear

    def clear(executions: Any) -> Iterable[Step]:
        for step in right(executions):
            if not (isinstance(step, Remove) and step.execution.state == "stopped"):
                yield step

    patch.setattr(steps, "_clear", clear)


@breaks("L3")
def a_status_is_written_only_when_its_phase_changes(patch: Patch) -> None:
    patch.setattr(status_store, "_same", lambda old, new: old.phase is new.phase)


@breaks("L4")
def a_status_is_written_at_every_look(patch: Patch) -> None:
    patch.setattr(status_store, "_same", lambda old, new: False)


# ---- the test


def test_every_invariant_has_a_bug() -> None:
    always = {f"I{n}" for n in range(1, 13)} - {
        "I11"
    }  # secrets: test_permissions, the contract suite
    assert {bug.breaks for bug in BUGS} == always | {"L1", "L2", "L3", "L4"}


@pytest.mark.timeout(300)  # most take a second; where nothing else runs none takes twenty
@pytest.mark.parametrize("bug", BUGS, ids=str)
def test_the_machine_finds(bug: Bug, monkeypatch: Patch) -> None:
    bug.plant(monkeypatch)
    with pytest.raises(Violation) as found:
        run(MOST, 30, number=bug.number, judged=bug.breaks, shrink=False)
    assert found.value.invariant == bug.breaks
