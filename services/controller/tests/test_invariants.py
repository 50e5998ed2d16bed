"""What always holds, whatever happens in whatever order: Hypothesis drives decide over a small world.

Names of invariants (I1, I8, ...) are those of docs/architecture.md. The controller may die after any
step; memory that was written before survives it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from nexthos_controller.executors.base import Execution, Exit
from nexthos_controller.reconcile import (
    ConfigFacts,
    Lint,
    Remove,
    Start,
    Stop,
    Target,
    View,
    decide,
    report,
)
from nexthos_controller.reconcile.steps import rolls
from nexthos_shared.models import Memory, Phase, Wanted, read_entry
from nexthos_shared.reasons import Problem, Reason

VERSIONS = ("1", "2", "3")
BAD = "3"  # the version that the engine's lint refuses
DIGESTS = {v: f"sha256:{v * 64}" for v in VERSIONS}
SILENT = (Problem(Reason.EXECUTOR_UNREACHABLE, "no answer"),)
EXECUTORS: dict[str, tuple[Problem, ...]] = {"process": (), "docker": ()}


class Pipelines(RuleBasedStateMachine):
    """One pipeline, its executions, and everything that may happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000_000.0
        self.revision = 0
        self.entry: Any = None
        self.memory = Memory()
        self.world: dict[str, Execution] = {}
        self.digests = dict(DIGESTS)
        self.lints: dict[str, tuple[Problem, ...]] = {}
        self.silent = False
        self.births = 0
        self.completed: set[str] = set()

    # --- what users and the world do

    @initialize()
    def begin(self) -> None:
        self.put("published", "1", 1, "recreate", None, "service")

    @rule(
        status=st.sampled_from(["published", "published", "paused", "draft"]),
        version=st.sampled_from(VERSIONS),
        replicas=st.integers(1, 3),
        strategy=st.sampled_from(["recreate", "rolling"]),
        executor=st.sampled_from([None, "process", "docker"]),
        lifecycle=st.sampled_from(["service", "job"]),
    )
    def put(
        self,
        status: str,
        version: str,
        replicas: int,
        strategy: str,
        executor: str | None,
        lifecycle: str,
    ) -> None:
        value: dict[str, Any] = {"status": status, "version": version, "lifecycle": lifecycle}
        value["replicas"] = 1 if lifecycle == "job" else replicas
        value["update"] = {"strategy": strategy}
        if executor is not None:
            value["executor"] = executor
        self._write(json.dumps(value).encode())

    @rule(value=st.sampled_from([b"nonsense", b'{"status": "on"}', b'{"status": "published"}']))
    def put_something_invalid(self, value: bytes) -> None:
        self._write(value)

    @rule()
    def delete(self) -> None:
        self._write(None)

    @precondition(lambda self: self.entry is not None)
    @rule()
    def lose_the_key_without_a_marker(self) -> None:
        self.entry = None

    @rule(version=st.sampled_from(VERSIONS), other=st.booleans())
    def overwrite_or_remove_an_object(self, version: str, other: bool) -> None:
        self.digests[version] = "sha256:" + "9" * 64 if other else ""

    @rule(version=st.sampled_from(VERSIONS))
    def put_the_object_back(self, version: str) -> None:
        self.digests[version] = DIGESTS[version]

    @rule(seconds=st.sampled_from([0.5, 3.0, 20.0, 400.0, 700.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(data=st.data(), code=st.sampled_from([0, 0, 1, 7, None]), signalled=st.booleans())
    def end_one(self, data: st.DataObject, code: int | None, signalled: bool) -> None:
        execution = self._pick(data)
        if execution is None:
            return
        job = self._lifecycle(execution) == "job"
        if code == 0 and not signalled and job:
            self.completed.add(execution.spec_hash)
        self._set(execution, state="stopped", exit=Exit(code, signalled), ready=None)

    @rule(data=st.data(), ready=st.booleans())
    def make_ready_or_not(self, data: st.DataObject, ready: bool) -> None:
        if (execution := self._pick(data)) is not None:
            self._set(execution, ready=ready)

    @rule(data=st.data())
    def vanish(self, data: st.DataObject) -> None:
        if (execution := self._pick(data)) is not None:
            del self.world[execution.name]

    @rule()
    def fall_silent_or_answer(self) -> None:
        self.silent = not self.silent

    # --- what the controller does

    @rule(steps=st.integers(0, 3))
    def look_and_die_after_some_steps(self, steps: int) -> None:
        decision = decide(self._view())
        if steps and decision.steps:
            self.memory = decision.memory  # intent before effect
        for step in decision.steps[: max(steps - 1, 0)]:
            self._take(step, decision.target)

    @rule()
    def look_again(self) -> None:
        self.look_until_nothing_is_left_to_do()

    @rule()
    def look_once_more(self) -> None:
        self.look_until_nothing_is_left_to_do()

    @rule()
    def look_until_nothing_is_left_to_do(self) -> None:
        before = [e for e in self.world.values() if e.state == "running" and e.ready]
        invalid = self.entry is not None and self.entry.problem is not None
        wanted_before, current = self.memory.wanted, self.memory.current
        for _ in range(12):
            decision = decide(self._view())
            self.memory = decision.memory
            if not decision.steps:
                break
            for step in decision.steps:
                self._take(step, decision.target)
        else:
            raise AssertionError(f"L4: never settles: {decision.steps}")
        status = report(self._view(), decision, None)
        assert status.observed_revision == (self.entry.revision if self.entry else 0)
        if invalid and self.entry.wanted is None and wanted_before is Wanted.PUBLISHED:
            kept = {e.uid for e in self.world.values() if e.state == "running"}
            lost = {e.uid for e in before if current and e.spec_hash == current.spec_hash} - kept
            surplus = {
                e.uid for e in before if current and e.replica >= current.definition.replicas
            }
            assert lost <= surplus, "I8: an invalid change stopped what ran"
        self._check_settled(status.phase)

    def _check_settled(self, phase: Phase) -> None:
        if self.silent or self.entry is None:
            return
        running = [e for e in self.world.values() if e.state == "running"]
        if self.entry.deleted or self.entry.wanted is Wanted.DRAFT:
            assert self.world == {}, "L2: something outlives its pipeline"
        elif self.entry.wanted is Wanted.PAUSED:
            assert not running, "L1: paused, and something runs"
            assert phase is Phase.PAUSED

    # --- what always holds

    @invariant()
    def none_lives_on_two_executors(self) -> None:
        """I1, across executors."""
        seen: dict[int, set[str]] = {}
        for execution in self.world.values():
            if execution.state == "running":
                seen.setdefault(execution.replica, set()).add(execution.executor)
        assert all(len(executors) == 1 for executors in seen.values()), "I1: two executors"

    # --- inside

    def _write(self, value: bytes | None) -> None:
        self.revision += 1
        self.entry = read_entry("orders", self.revision, value)

    def _view(self) -> View:
        pipeline = self.entry.pipeline if self.entry else None
        digest = self.digests.get(pipeline.version or "") if pipeline else None
        return View(
            key="orders",
            entry=self.entry,
            memory=self.memory,
            now=self.now,
            executions=() if self.silent else tuple(self.world.values()),
            config=ConfigFacts(digest or None),
            lints=self.lints,
            checks=EXECUTORS,
            silent=SILENT if self.silent else (),
        )

    def _take(self, step: Any, target: Target) -> None:
        if isinstance(step, Lint):
            bad = step.spec.digest == DIGESTS[BAD]
            says = (Problem(Reason.LINT_FAILED, "no"),) if bad else ()
            self.lints = {**self.lints, step.spec.spec_hash: says}
        elif isinstance(step, Start):
            self._start(step, target)
        elif isinstance(step, Stop):
            there = self.world.get(step.execution.name)
            if there is not None and there.uid == step.execution.uid and there.state == "running":
                self._set(there, state="stopped", exit=Exit(0, signalled=True), ready=None)
        elif isinstance(step, Remove):
            there = self.world.get(step.execution.name)
            assert there is None or there.state != "running", "removes what runs"
            self.world.pop(step.execution.name, None)

    def _start(self, step: Start, target: Target) -> None:
        assert not self.silent, "I1: starts while a place is silent"
        assert self.entry is not None, "I2: starts without a stored desired state"
        assert step.spec.spec_hash not in self.completed or self._asked_anew(step), "I12: revived"
        if step.spec.digest == DIGESTS[BAD]:
            known = self.lints.get(step.spec.spec_hash)
            assert not known, "starts what lint refused"
        slot = self.memory.slots.get(step.replica)
        assert slot is None or self.now >= slot.not_before, "I9: started before its delay"
        name = f"{step.spec.spec_hash[:8]}-{step.replica}-{step.spec.executor}"
        there = self.world.get(name)
        if there is not None and there.state == "running":
            return
        lives = [e for e in self.world.values() if e.state == "running"]
        twins = [e for e in lives if e.replica == step.replica]
        assert not twins or rolls(target, step.spec), "I1: started beside an older one"
        self.births += 1
        self.world[name] = Execution(
            name=name,
            id="orders",
            replica=step.replica,
            uid=f"u{self.births}",
            executor=step.spec.executor,
            place="here",
            spec_hash=step.spec.spec_hash,
            revision=step.spec.revision,
            digest=step.spec.digest,
            state="running",
            started_at=self.now,
        )

    def _asked_anew(self, step: Start) -> bool:
        """A draft or a deletion in between, or another spec, makes it a new job."""
        return step.spec.spec_hash not in (self.memory.completed, self.memory.failed)

    def _set(self, execution: Execution, **changes: Any) -> None:
        self.world[execution.name] = replace(execution, **changes)

    def _pick(self, data: st.DataObject) -> Execution | None:
        running = [e for e in self.world.values() if e.state == "running"]
        return data.draw(st.sampled_from(running)) if running else None

    def _lifecycle(self, execution: Execution) -> str:
        current = self.memory.current
        if current is not None and current.spec_hash == execution.spec_hash:
            return current.definition.lifecycle
        return "service"


TestInvariants = Pipelines.TestCase
TestInvariants.settings = settings(
    max_examples=200, stateful_step_count=50, deadline=None, derandomize=True
)
