"""One reconcile of one pipeline: observe, decide, write the intent, act, report.

Comes in: a key from the queue. Goes out: calls of executors, the status, seconds until the next reconcile.
What is to be done is decided by `reconcile`; here it is only carried out, in order, and the first
step that fails ends the attempt.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar, cast

import structlog

from nexthos_controller import failpoints
from nexthos_controller.cache.configurations import Facts
from nexthos_controller.cache.definitions import Desired
from nexthos_controller.cache.executions import (
    Listings,
    Observed,
    observe,
    observed,
    possible_places,
)
from nexthos_controller.executors.contract import Executor, ReplicaExecutor, WorkloadExecutor
from nexthos_controller.loop.unchanged import Basis, Unchanged
from nexthos_controller.loop.workqueue import WorkQueue
from nexthos_controller.reconcile import (
    Apply,
    ConfigFacts,
    Decision,
    Delete,
    Lint,
    Prepare,
    Remove,
    Start,
    Step,
    Stop,
    View,
    decide,
    report,
)
from nexthos_controller.status.store import StatusStore
from nexthos_controller.telemetry.instruments import Instruments
from nexthos_shared import names
from nexthos_shared.errors import ExecutorUnreachable, NexthosError, StillRunning
from nexthos_shared.model import Entry, Memory, PipelineStatus
from nexthos_shared.reasons import Problem, Reason

# What a system that runs out of something says, and what to do: nothing of it is a defect.
_FILES = "raise the limit of open files of the controller"
_ROOM = "make room where the controller's state folder is"
_MACHINE = "the machine has no more memory or processes to give"
SYSTEM = {
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), _FILES),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _ROOM),
    **dict.fromkeys((errno.ENOMEM, errno.EAGAIN), _MACHINE),
    errno.EROFS: "the controller's state folder can't be written to",
}
ROUNDS = 8  # decide and act in one reconcile; more means that acting changes nothing
START_WITHIN = 60.0  # seconds for one prepare or start
END_MARGIN = 15.0  # seconds that a stop may take beyond its grace
REMOVE_WITHIN = 30.0  # seconds

UNSEEN = Observed((), frozenset(), ())

T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What may be different at each reconcile of one pipeline."""

    entry: Hashable  # another for another definition
    basis: Basis
    observed: Observed
    config: ConfigFacts
    good_stored: bool
    around: Hashable  # what concerns all: places declared gone, brokers away, the last reconnect


class Controller:
    """Reconciles pipelines. Holds what is known; starts nothing by itself."""

    def __init__(
        self,
        *,
        desired: Desired,
        statuses: StatusStore,
        facts: Facts,
        executors: Mapping[str, Executor],
        default_executor: str,
        now: Callable[[], float],
        instruments: Instruments,
        ready_debounce: float = 10.0,
        bound: int = 16,
    ) -> None:
        self.desired = desired
        self.statuses = statuses
        self.facts = facts
        self.executors = executors
        self.default_executor = default_executor
        self.ready_debounce = ready_debounce
        self.abandoned: frozenset[str] = frozenset()  # places that somebody declared gone
        self.away: frozenset[str] = frozenset()  # NATS URLs that answered before, and don't now
        self.connected_since = now()
        self.queue = WorkQueue(instruments.looking(self.reconcile), bound=bound)
        facts.aside = self.queue.aside
        self._now = now
        self._faults: dict[str, Problem] = {}
        self._unchanged = Unchanged()
        self._platforms = frozenset(
            name for name, e in executors.items() if isinstance(e, WorkloadExecutor)
        )

    def reconnected(self) -> None:
        """The store is back after it was away."""
        self.connected_since = self._now()

    async def reconcile(self, key: str) -> float | None:
        """Reconcile one pipeline; returns the seconds until it is due again without a hint.

        Its status is read once. Nobody else writes it meanwhile: a key is worked on by one at a time.
        """
        status = self.statuses.status(key)
        for _ in range(ROUNDS):
            seen = await self._observe(key, status)
            view = self._view(key, seen, status)
            decision = decide(view)
            if not decision.steps:
                # What was run into is overcome: nobody may look again, so it is told no more.
                self._faults.pop(key, None)
                return await self._settle(key, seen, replace(view, fault=None), decision, status)
            self._unchanged.forget(key)
            failpoints.reach("controller.decided")
            status = await self.statuses.remember(key, status, report(view, decision, status))
            failpoints.reach("controller.remembered")
            try:
                await self._carry_out(decision.steps)
            except Exception as error:
                self._faults[key] = _problem_of(error)
                view = self._view(key, await self._observe(key, status), status)
                await self.statuses.report(key, status, report(view, decide(view), status))
                raise
            failpoints.reach("controller.acted")
        log.warning("still changing after many steps", pipeline=key, rounds=ROUNDS)
        return 1.0

    async def _settle(
        self, key: str, seen: _Seen, view: View, decision: Decision, before: PipelineStatus | None
    ) -> float | None:
        """Report that nothing is left to do; returns the seconds until something is due."""
        later, memory = None, decision.memory
        if decision.forget:
            await self.statuses.forget(key, before)
            memory = Memory()
        elif view.entry is None and view.is_empty and not view.silent:
            # Nothing there: no status is made for it, but one that was told is kept as it was.
            memory = view.memory
            if before is not None:
                later = await self.statuses.report(key, before, before)
        else:
            later = await self.statuses.report(key, before, report(view, decision, before))
        moments = [m for m in (later, decision.look_again) if m is not None]
        seconds = min(moments, default=None)
        due = None if seconds is None else view.now + seconds
        basis = self._basis(view.entry, memory)
        seen = replace(seen, basis=basis, good_stored=self._has(key, basis))
        self._unchanged.note(key, basis, (seen, self.statuses.stamp(key)), due)
        return seconds

    def is_unchanged(self, key: str, listings: Listings) -> bool:
        """Whether nothing is to be done, going by what executors listed a moment ago.

        To ask them about each pipeline by itself takes five times as long.
        """
        basis = self._unchanged.basis(key)
        if basis is None:
            return False
        answers = listings.about(key)
        found = observed(answers, basis.places, self.abandoned, basis.executor)
        seen = self._seen(key, basis, found, self.facts.known(key, basis.version))
        now = self._now()
        if not self._unchanged.holds(key, (seen, self.statuses.stamp(key)), now):
            return False
        if (due := self._unchanged.due(key)) is not None:
            self.queue.add_after(key, due - now)
        return True

    def _seen(self, key: str, basis: Basis, found: Observed, config: ConfigFacts) -> _Seen:
        around = (self.abandoned, self.away, self.connected_since)
        stamp = self.desired.stamp(key)
        return _Seen(stamp, basis, found, config, self._has(key, basis), around)

    def _has(self, key: str, basis: Basis) -> bool:
        """Whether the bytes that were good last are still stored."""
        return basis.good is not None and self.facts.has(key, *basis.good)

    def _basis(self, entry: Entry | None, memory: Memory) -> Basis:
        # What is refused asks for no executor: what runs elsewhere would be Unknown while that is away.
        wanted, good = entry.pipeline if entry is not None else None, memory.good
        return Basis(
            version=wanted.version if wanted is not None else None,
            executor=(wanted.executor if wanted is not None else None) or self.default_executor,
            places=possible_places(memory),
            good=(good.definition.version or "", good.digest) if good is not None else None,
        )

    async def observed(self, key: str) -> Observed:
        """What all executors know of it now."""
        basis = self._basis(self.desired.entry(key), _memory(self.statuses.status(key)))
        return await observe(self.executors, key, basis.places, self.abandoned, basis.executor)

    async def _observe(self, key: str, status: PipelineStatus | None) -> _Seen:
        """What may have changed. A key that is no id never reaches an executor."""
        while True:
            entry = self.desired.entry(key)
            basis = self._basis(entry, _memory(status))
            if not names.is_id(key):
                return self._seen(key, basis, UNSEEN, ConfigFacts())
            places, executor = basis.places, basis.executor
            found = await observe(self.executors, key, places, self.abandoned, executor)
            config = await self.facts.of(key, basis.version)
            if self.desired.entry(key) == entry:  # else the facts would be of an older entry
                return self._seen(key, basis, found, config)

    def _view(self, key: str, seen: _Seen, status: PipelineStatus | None) -> View:
        entry, memory = self.desired.entry(key), _memory(status)
        if not names.is_id(key):
            # It has a status, and nothing else.
            return View(key=key, entry=entry, memory=memory, now=self._now())
        return View(
            key=key,
            entry=entry,
            memory=memory,
            now=self._now(),
            executions=seen.observed.executions,
            workloads=seen.observed.workloads,
            platforms=self._platforms,
            config=seen.config,
            lints=self.facts.lints(),
            checks=self._checks(entry),
            default_executor=self.default_executor,
            silent=seen.observed.silent,
            answered=seen.observed.answered,
            abandoned=self.abandoned,
            traits=self.facts.traits(memory.current),
            connections=self.facts.connections,
            away=self.away,
            connected_since=self.connected_since,
            good_stored=seen.good_stored,
            ready_debounce=self.ready_debounce,
            fault=self._faults.get(key),
        )

    def _checks(self, entry: Entry | None) -> dict[str, tuple[Problem, ...]]:
        if entry is None or entry.pipeline is None:
            return {}
        return {name: tuple(e.check(entry.pipeline)) for name, e in self.executors.items()}

    async def _carry_out(self, steps: Iterable[Step]) -> None:
        """In order; what fails ends the attempt, except that a lint is still asked for.

        What keeps an older definition from starting must not keep the newer one, which may put that
        right, from being accepted.
        """
        failed: Exception | None = None
        for step in steps:
            if failed is None or isinstance(step, Lint):
                try:
                    await self._take(step)
                except Exception as error:
                    failed = failed or error
        if failed is not None:
            raise failed

    async def _take(self, step: Step) -> None:
        match step:
            case Lint(spec):
                await self.facts.lint(spec, self.executors[spec.executor])
            case Apply(workload):
                spec, platform = workload.spec, self._platform(workload.spec.executor)
                await _within(START_WITHIN, platform.apply(workload), "apply", spec.id)
                log.info("applied", pipeline=spec.id, replicas=workload.replicas)
            case Delete(state):
                platform = self._platform(state.executor)
                await _within(REMOVE_WITHIN, platform.delete(state), "delete", state.id)
                log.info("deletion asked for", pipeline=state.id, uid=state.uid)
            case Prepare(spec, replica):
                executor = self._replicas(spec.executor)
                await _within(START_WITHIN, executor.prepare(spec, replica), "prepare", spec.id)
            case Start(spec, replica):
                executor = self._replicas(spec.executor)
                started = await _within(
                    START_WITHIN, executor.start(spec, replica), "start", spec.id
                )
                log.info("started", pipeline=spec.id, execution=started.name, uid=started.uid)
            case Stop():
                await self._stop(step)
            case Remove(execution):
                executor = self._replicas(execution.executor)
                await _within(REMOVE_WITHIN, executor.remove(execution), "remove", execution.id)
                log.info("removed", pipeline=execution.id, execution=execution.name)

    def _replicas(self, name: str) -> ReplicaExecutor:
        return cast(ReplicaExecutor, self.executors[name])

    def _platform(self, name: str) -> WorkloadExecutor:
        return cast(WorkloadExecutor, self.executors[name])

    async def _stop(self, step: Stop) -> None:
        execution = step.execution
        executor = self._replicas(execution.executor)
        async with self.queue.aside():  # a grace must not keep others from starting
            ended = await _within(
                step.grace + END_MARGIN,
                executor.stop(execution, step.grace),
                "stop",
                execution.id,
                StillRunning,
            )
        log.info("stopped", pipeline=execution.id, execution=execution.name, ended=ended)
        if ended == "asked":  # what is to follow waits until its place answers without it
            raise StillRunning(f"{execution.name} was asked to end, and its end is not confirmed")


def _memory(status: PipelineStatus | None) -> Memory:
    return status.memory if status is not None else Memory()


def _problem_of(error: Exception) -> Problem:
    """What readers are told; of a defect only its kind, since its words may hold anything."""
    if isinstance(error, NexthosError):
        return error.problem
    if isinstance(error, OSError) and (advice := SYSTEM.get(error.errno or 0)):
        return Problem(Reason.TEMPORARY, f"{(error.strerror or '').lower()}: {advice}")
    words = f"a defect of nexthos ({type(error).__name__}); see the controller's log"
    return Problem(Reason.INTERNAL_ERROR, words)


async def _within(
    seconds: float,
    call: Awaitable[T],
    what: str,
    pipeline_id: str,
    error: type[NexthosError] = ExecutorUnreachable,
) -> T:
    """Await an executor's call, but not for ever: one that hangs costs its own pipeline only."""
    try:
        async with asyncio.timeout(seconds):
            return await call
    except TimeoutError as timeout:
        raise error(f"{pipeline_id}: {what} did not end within {seconds:.0f} s") from timeout
