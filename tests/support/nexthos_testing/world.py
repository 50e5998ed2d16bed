"""The smallest world that deciding can be tested in: values, and an executor that acts at once."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from nexthos_controller.execution import Execution, Exit, Workload, WorkloadState
from nexthos_controller.reconcile import (
    Apply,
    ConfigFacts,
    Decision,
    Delete,
    Lint,
    Prepare,
    Remove,
    Start,
    Stop,
    View,
    decide,
    report,
)
from nexthos_shared.model import ConditionType, Memory, Phase, PipelineStatus, read_entry
from nexthos_shared.reasons import Problem, Reason

NOW = 1_000_000.0
D1, D2 = "sha256:" + "1" * 64, "sha256:" + "2" * 64


def entry(status: str | None = "published", revision: int = 1, **fields: Any) -> Any:
    value = {"version": "1", **fields}
    if status is not None:
        value["status"] = status
    return read_entry("orders", revision, json.dumps(value).encode())


def view(**fields: Any) -> View:
    usual: dict[str, Any] = {
        "key": "orders",
        "entry": entry(),
        "memory": Memory(),
        "now": NOW,
        "config": ConfigFacts(D1),
        "checks": {"process": (), "docker": ()},
    }
    return View(**{**usual, **fields})


class World:
    """The smallest executor there is: applies a decision's steps at once, and decides again."""

    def __init__(self, **fields: Any) -> None:
        self.view = view(**fields)
        self.lint_says: dict[str, tuple[Problem, ...]] = {}
        self.done: list[Any] = []
        self.births = 0
        self.deletes_slowly = False
        self.decision: Decision = decide(self.view)

    def settle(self, **fields: Any) -> PipelineStatus:
        """Decide and act until nothing is left to do."""
        self.view = replace(self.view, **fields)
        for _ in range(10):
            self.decision = decide(self.view)
            self.view = replace(self.view, memory=self.decision.memory)
            if not self.decision.steps:
                return report(self.view, self.decision, None)
            for step in self.decision.steps:
                self.done.append(step)
                self._take(step)
        raise AssertionError(f"never settles: {self.decision.steps}")

    def _take(self, step: Any) -> None:
        there = {e.name: e for e in self.view.executions}
        match step:
            case Lint(spec):
                says = self.lint_says.get(spec.digest, ())
                self.view = replace(self.view, lints={**self.view.lints, spec.spec_hash: says})
            case Prepare():
                pass
            case Start(spec, replica):
                self.births += 1
                name = f"{spec.spec_hash[:8]}-{replica}-{spec.executor}"
                there[name] = Execution(
                    name=name,
                    id="orders",
                    replica=replica,
                    uid=f"u{self.births}",
                    executor=spec.executor,
                    place="here",
                    spec_hash=spec.spec_hash,
                    revision=spec.revision,
                    digest=spec.digest,
                    state="running",
                    stop_timeout=spec.definition.stop_timeout,
                    started_at=self.view.now + self.births / 1000,
                )
            case Stop(execution):
                ended = Exit(0, signalled=True)
                there[execution.name] = replace(
                    there[execution.name], state="stopped", exit=ended, ready=None
                )
            case Remove(execution):
                assert there[execution.name].state != "running"
                del there[execution.name]
            case Apply(workload):
                self._apply(workload)
            case Delete(state):
                left = tuple(w for w in self.view.workloads if w.uid != state.uid)
                if self.deletes_slowly:
                    left = (*left, replace(state, state="deleting"))
                self.view = replace(self.view, workloads=left)
        self.view = replace(self.view, executions=tuple(there.values()))

    def _apply(self, workload: Workload) -> None:
        spec = workload.spec
        kind, others = spec.definition.lifecycle, self.view.workloads
        known = [w for w in others if (w.executor, w.kind) == (spec.executor, kind)]
        self.births += not known
        changed = WorkloadState(
            id=spec.id,
            kind=kind,
            uid=known[0].uid if known else f"w{self.births}",
            executor=spec.executor,
            place="cluster",
            spec_hash=spec.spec_hash,
            revision=spec.revision,
            digest=spec.digest,
            replicas=workload.replicas,
            state="progressing" if workload.replicas else "available",
        )
        left = tuple(w for w in others if w not in known)
        self.view = replace(self.view, workloads=(*left, changed))

    def workload(self, **fields: Any) -> PipelineStatus:
        """Something happens to the one workload."""
        [workload] = self.view.workloads
        self.view = replace(self.view, workloads=(replace(workload, **fields),))
        return self.settle()

    def change(self, index: int = 0, **fields: Any) -> None:
        """Something happens to an execution."""
        executions = list(self.view.executions)
        executions[index] = replace(executions[index], **fields)
        self.view = replace(self.view, executions=tuple(executions))

    def ends(self, code: int | None, *, signalled: bool = False, index: int = 0) -> None:
        self.change(index, state="stopped", exit=Exit(code, signalled), ready=None)

    def ready(self) -> PipelineStatus:
        for index, execution in enumerate(self.view.executions):
            if execution.state == "running":
                self.change(index, ready=True)
        return self.settle()

    @property
    def kinds(self) -> list[str]:
        kinds = [type(step).__name__ for step in self.done]
        self.done.clear()
        return kinds


def running(**fields: Any) -> World:
    world = World(**fields)
    world.settle()
    assert world.ready().phase is Phase.RUNNING
    world.done.clear()
    return world


def condition(status: PipelineStatus, kind: ConditionType) -> tuple[str, Reason]:
    found = status.condition(kind)
    assert found is not None, status.conditions
    return found.status, found.reason
