"""Waiting for a state, not for a write: is what was asked for there, failed, or still on its way?

Comes in: goals by pipeline, each with the revision it speaks of. Goes out: a `Waited` for each. `judge`
is pure; `wait_for` watches the statuses, and looks again by itself where a watch would be blind.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from nexthos_cli.errors import NotInTime
from nexthos_cli.output.models import Goal, Waited
from nexthos_shared.errors import Refused
from nexthos_shared.model import ConditionType, Phase, PipelineStatus, Wanted
from nexthos_shared.model.entries import read_status
from nexthos_shared.reasons import Problem, Reason

if TYPE_CHECKING:
    from nexthos_shared.store import KvEntry, Store

GOAL_OF: dict[Wanted, Goal] = {
    Wanted.PUBLISHED: "ready",
    Wanted.PAUSED: "paused",
    Wanted.DRAFT: "draft",
}
_THERE = {
    "paused": Phase.PAUSED,
    "draft": Phase.DRAFT,
    "completed": Phase.COMPLETED,
}
_HOPELESS = {Phase.INVALID, Phase.FAILED, Phase.CRASH_LOOP}


@dataclass(frozen=True, slots=True)
class Target:
    """What is waited for. `version` is the one that must run, if `revision` is what is looked at."""

    goal: Goal
    revision: int = 0
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where a pipeline is on its way."""

    result: Literal["reached", "failed", "on its way"]
    phase: Phase | None = None
    ready: str = ""
    problem: Problem | None = None
    stored: bool = False  # what is waited for is a deletion, and nobody deleted it yet

    @property
    def words(self) -> str:
        """Phase, readiness and reason, for people."""
        if self.stored:
            return "its definition is still stored (`nexthos rm`)"
        if self.phase is None:
            return "no status yet: is a controller running?"
        why = f" ({self.problem.reason}: {self.problem.message})" if self.problem else ""
        return f"{self.phase} {self.ready}{why}"

    @property
    def end(self) -> str:
        """In a word or two how it failed."""
        is_back = self.problem is not None and self.problem.reason is Reason.ROLLED_BACK
        return "rolled back" if is_back else str(self.phase)


def judge(target: Target, status: PipelineStatus | None) -> Verdict:
    """Judge what the controller reports."""
    if status is None:
        return Verdict("reached" if target.goal == "deleted" else "on its way")
    problem = _problem(status)
    ready = f"{status.ready}/{status.replicas}"
    if target.goal == "deleted" or status.observed_revision < target.revision:
        return Verdict("on its way", status.phase, ready, problem)
    if target.goal == "ready" and (back := _rolled_back(status)):
        return Verdict("failed", status.phase, ready, back)
    if _is_there(target, status):
        return Verdict("reached", status.phase, ready)
    if _is_hopeless(target, status):
        return Verdict("failed", status.phase, ready, problem or _nameless(status))
    return Verdict("on its way", status.phase, ready, problem)


def _is_there(target: Target, status: PipelineStatus) -> bool:
    if target.goal != "ready":
        return status.phase is _THERE[target.goal]
    if _condition_is(status, ConditionType.VALID, "False"):
        return False  # an older version may run on, but what was asked for was refused
    exact = status.observed_revision == target.revision and target.version is not None
    if exact and status.version != target.version:
        return False
    if status.phase is Phase.COMPLETED:
        return True
    all_ready = 0 < status.replicas == status.ready
    updating = _condition_is(status, ConditionType.PROGRESSING, "True")
    return status.phase is Phase.RUNNING and all_ready and not updating


def _is_hopeless(target: Target, status: PipelineStatus) -> bool:
    if target.goal == "draft":
        return False
    if target.goal == "paused":
        return status.phase is Phase.INVALID
    return status.phase in _HOPELESS or _condition_is(status, ConditionType.VALID, "False")


def _rolled_back(status: PipelineStatus) -> Problem | None:
    """The story of an update that had to give way, if that is what the status tells."""
    condition = status.condition(ConditionType.PROGRESSING)
    is_back = condition is not None and condition.reason is Reason.ROLLED_BACK
    return condition.problem if condition and is_back and condition.status == "False" else None


def _condition_is(status: PipelineStatus, kind: ConditionType, value: str) -> bool:
    condition = status.condition(kind)
    return condition is not None and condition.status == value


def _problem(status: PipelineStatus) -> Problem | None:
    return status.complaint.problem if status.complaint else None


def _nameless(status: PipelineStatus) -> Problem:
    reason = Reason.CRASH_LOOP if status.phase is Phase.CRASH_LOOP else Reason.TEMPORARY
    return Problem(reason, f"the phase is {status.phase}")


@dataclass(slots=True)
class Waiting:
    """A wait under way. `tell` is called with (id, target, verdict) whenever that is news."""

    targets: Mapping[str, Target]
    tell: Callable[[str, Target, Verdict], None]
    results: dict[str, Waited] = field(default_factory=dict)
    last: dict[str, Verdict] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)

    def look(self, key: str, stored: KvEntry | None) -> None:
        """Take one status into account."""
        if key not in self.targets or key in self.results:
            return
        target = self.targets[key]
        verdict = judge(target, read_status(stored))
        if verdict != self.last.get(key):
            self.last[key] = verdict
            self.tell(key, target, verdict)
        if verdict.result != "on its way":
            self.results[key] = self._waited(key, verdict.result)

    def still_stored(self, key: str) -> None:
        """Nobody deleted it yet."""
        verdict = Verdict("on its way", stored=True)
        if verdict != self.last.get(key):
            self.last[key] = verdict
            self.tell(key, self.targets[key], verdict)

    def is_done(self) -> bool:
        """Whether nothing is left to wait for."""
        return len(self.results) == len(self.targets)

    def give_up(self) -> None:
        """Time is over."""
        for key in self.targets:
            if key not in self.results:
                self.results[key] = self._waited(key, "timed_out")

    def _waited(self, key: str, result: Literal["reached", "failed", "timed_out"]) -> Waited:
        verdict = self.last.get(key, Verdict("on its way"))
        problem = verdict.problem if result != "reached" else None
        return Waited(
            goal=self.targets[key].goal,
            result=result,
            phase=verdict.phase,
            reason=problem.reason if problem else None,
            message=problem.message if problem else "",
            seconds=round(time.monotonic() - self._began, 3),
        )


async def wait_for(store: Store, waiting: Waiting, timeout: float) -> dict[str, Waited]:
    """Watch until every pipeline is judged, or `timeout` seconds are over."""
    try:
        async with asyncio.timeout(timeout):
            await _watch(store, waiting)
    except TimeoutError:
        waiting.give_up()
    return waiting.results


async def wait_for_one(store: Store, waiting: Waiting, timeout: float) -> Waited:
    """The same for a single pipeline that is not to be deleted; only its own status is read."""
    from nexthos_shared.store.watch import follow

    (key,) = waiting.targets
    try:
        async with asyncio.timeout(timeout), aclosing(follow(store.statuses, key)) as statuses:
            async for status in statuses:
                waiting.look(key, status)
                if waiting.is_done():
                    break
    except TimeoutError:
        waiting.give_up()
    return waiting.results[key]


async def _definitions_gone(store: Store, waiting: Waiting, keys: set[str]) -> None:
    """Return when all of `keys` are deleted: without that, a missing status proves nothing."""
    from nexthos_shared.store.watch import Snapshot, watch

    async with aclosing(watch(store.pipelines, store.link)) as changes:
        async for change in changes:
            if isinstance(change, Snapshot):
                stored = {e.key for e in change.entries if e.value is not None} & keys
            elif change.entry.value is None:
                stored.discard(change.entry.key)
            elif change.entry.key in keys:
                stored.add(change.entry.key)
            for key in stored:
                waiting.still_stored(key)
            if not stored:
                return


async def _watch(store: Store, waiting: Waiting) -> None:
    from nexthos_shared.store.watch import Snapshot, watch

    if waiting.is_done():
        return
    if to_go := {key for key, target in waiting.targets.items() if target.goal == "deleted"}:
        await _definitions_gone(store, waiting, to_go)
    async with aclosing(watch(store.statuses, store.link)) as changes:
        async for change in changes:
            if isinstance(change, Snapshot):
                stored = {e.key: e for e in change.entries}
                for key in waiting.targets:
                    waiting.look(key, stored.get(key))
            else:
                waiting.look(change.entry.key, change.entry)
            if waiting.is_done():
                return


def raise_if_not_there(waiting: Waiting, timeout: float) -> None:
    """Raise Refused if one failed, else NotInTime if one is not there; each with what was seen last."""
    failed, late = [], []
    for key, waited in waiting.results.items():
        verdict = waiting.last.get(key, Verdict("on its way"))
        if waited.result == "failed" and verdict.problem is not None:
            p = verdict.problem
            words = f"pipeline {key}: {verdict.end}: {p.message}"
            failed.append(Problem(p.reason, words, file=p.file, line=p.line, column=p.column))
        elif waited.result == "timed_out":
            words = f"pipeline {key}: not {waited.goal} within {timeout:g}s; last: {verdict.words}"
            late.append(Problem(Reason.TIMED_OUT, words))
    if failed:
        raise Refused([*failed, *late])
    if late:
        raise NotInTime(late)
