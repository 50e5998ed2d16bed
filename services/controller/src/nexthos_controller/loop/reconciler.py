"""One look at one pipeline: observe, decide, write the intent, act, report.

Comes in: a key from the queue. Goes out: calls of executors, the status, seconds until the next look.
What is to be done is decided by `reconcile`; here it is only carried out, in order, and the first
step that fails ends the attempt.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

import structlog

from nexthos_controller import failpoints
from nexthos_controller.cache.configurations import Facts
from nexthos_controller.cache.definitions import Brief, Desired
from nexthos_controller.cache.executions import Census, Observed, observe, observed
from nexthos_controller.executors.contract import Executor
from nexthos_controller.loop.unchanged import Rest, Sight
from nexthos_controller.loop.workqueue import WorkQueue
from nexthos_controller.reconcile import (
    ConfigFacts,
    Decision,
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
from nexthos_controller.status.store import StatusBook
from nexthos_controller.telemetry.instruments import Instruments
from nexthos_shared import names
from nexthos_shared.errors import ExecutorUnreachable, NexthosError, StillRunning
from nexthos_shared.model import Entry
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
ROUNDS = 8  # decide and act in one look; more means that acting changes nothing
START_WITHIN = 60.0  # seconds for one prepare or start
END_MARGIN = 15.0  # seconds that a stop may take beyond its grace
REMOVE_WITHIN = 30.0  # seconds

UNSEEN = Observed((), frozenset(), ())

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Controller:
    """Looks at pipelines. Holds what is known; starts nothing by itself."""

    def __init__(
        self,
        *,
        desired: Desired,
        book: StatusBook,
        facts: Facts,
        executors: Mapping[str, Executor],
        default_executor: str,
        now: Callable[[], float],
        instruments: Instruments,
        ready_debounce: float = 10.0,
        bound: int = 16,
    ) -> None:
        self.desired = desired
        self.book = book
        self.facts = facts
        self.executors = executors
        self.default_executor = default_executor
        self.ready_debounce = ready_debounce
        self.abandoned: frozenset[str] = frozenset()  # places that somebody declared gone
        self.away: frozenset[str] = frozenset()  # NATS URLs that answered before, and don't now
        self.connected_since = now()
        self.queue = WorkQueue(instruments.looking(self.look), bound=bound)
        facts.aside = self.queue.aside
        self._now = now
        self._faults: dict[str, Problem] = {}
        self._rest = Rest()

    def reconnected(self) -> None:
        """The store is back after it was away."""
        self.connected_since = self._now()

    async def look(self, key: str) -> float | None:
        """One look; returns the seconds until the next one that is due without a hint."""
        for _ in range(ROUNDS):
            sight = await self._sight(key)
            if self._at_rest(key, sight):
                self._faults.pop(key, None)
                return self._rest.left(key, self._now())
            view = self._view(key, sight)
            decision = decide(view)
            if not decision.steps:
                # What was run into is overcome: nobody may look again, so it is told no more.
                self._faults.pop(key, None)
                moment = await self._settle(key, replace(view, fault=None), decision)
                self._rest.note(key, sight.mark(self.book.stamp(key)), moment, view.now)
                return moment
            self._rest.forget(key)
            failpoints.reach("controller.decided")
            await self.book.remember(key, report(view, decision, self.book.status(key)))
            failpoints.reach("controller.remembered")
            try:
                await self._carry_out(decision.steps)
            except Exception as error:
                self._faults[key] = _problem_of(error)
                view = self._view(key, await self._sight(key))
                await self.book.report(key, report(view, decide(view), self.book.status(key)))
                raise
            failpoints.reach("controller.acted")
        log.warning("still changing after many steps", pipeline=key, rounds=ROUNDS)
        return 1.0

    async def _settle(self, key: str, view: View, decision: Decision) -> float | None:
        if decision.forget:
            await self.book.forget(key)
            return None
        if view.entry is None and not view.executions and not view.silent:
            # Nothing there: no status is made for it, but one that was told is kept as it was.
            known = self.book.status(key)
            return await self.book.report(key, known) if known is not None else None
        status = report(view, decision, self.book.status(key))
        later = await self.book.report(key, status)
        moments = [m for m in (later, decision.look_again) if m is not None]
        return min(moments, default=None)

    def rests(self, key: str, census: Census) -> bool:
        """Whether nothing is to be done, going by what executors listed a moment ago.

        A look that asks them about each pipeline by itself takes five times as long.
        """
        if not names.is_id(key):
            return False
        brief = self.desired.brief(key)
        seen = observed(
            census.said(key), self.book.whereabouts(key), self.abandoned, self._where(brief)
        )
        sight = self._sight_from(key, brief, seen, self.facts.known(key, brief.version))
        rests = self._at_rest(key, sight)
        if rests and (due := self._rest.left(key, self._now())) is not None:
            self.queue.add_after(key, due)
        return rests

    def _at_rest(self, key: str, sight: Sight) -> bool:
        return self._rest.holds(key, sight.mark(self.book.stamp(key)), self._now())

    async def observed(self, key: str) -> Observed:
        """What all executors know of it now."""
        return await observe(
            self.executors,
            key,
            self.book.whereabouts(key),
            self.abandoned,
            self._where(self.desired.brief(key)),
        )

    def _where(self, brief: Brief) -> str:
        return brief.executor or self.default_executor

    async def _sight(self, key: str) -> Sight:
        """What may have changed. A key that is no id never reaches an executor."""
        while True:
            brief = self.desired.brief(key)
            sight = await self._sight_of(key, brief)
            if self.desired.brief(key) == brief:  # else the facts would be of an older entry
                return sight

    async def _sight_of(self, key: str, brief: Brief) -> Sight:
        if not names.is_id(key):
            return self._sight_from(key, brief, UNSEEN, ConfigFacts())
        seen = await self.observed(key)
        return self._sight_from(key, brief, seen, await self.facts.of(key, brief.version))

    def _sight_from(self, key: str, brief: Brief, seen: Observed, config: ConfigFacts) -> Sight:
        around = (self.abandoned, self.away, self.connected_since)
        return Sight(brief, seen, config, self._keeps_good(key), around)

    def _keeps_good(self, key: str) -> bool:
        """Whether the bytes that were good last are still stored."""
        outline = self.book.outline(key)
        good = outline.good if outline else None
        return good is not None and self.facts.has(key, *good)

    def _view(self, key: str, sight: Sight) -> View:
        memory, entry = self.book.memory(key), self.desired.entry(key)
        if not names.is_id(key):
            # It has a status, and nothing else.
            return View(key=key, entry=entry, memory=memory, now=self._now())
        seen = sight.observed
        return View(
            key=key,
            entry=entry,
            memory=memory,
            now=self._now(),
            executions=seen.executions,
            config=sight.config,
            lints=self.facts.lints(),
            checks=self._checks(entry),
            default_executor=self.default_executor,
            silent=seen.silent,
            answered=seen.answered,
            abandoned=self.abandoned,
            traits=self.facts.traits(memory.current),
            connections=self.facts.connections,
            away=self.away,
            connected_since=self.connected_since,
            good_stored=sight.good_stored,
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
            case Prepare(spec, replica):
                executor = self.executors[spec.executor]
                await _within(START_WITHIN, executor.prepare(spec, replica), "prepare", spec.id)
            case Start(spec, replica):
                executor = self.executors[spec.executor]
                started = await _within(
                    START_WITHIN, executor.start(spec, replica), "start", spec.id
                )
                log.info("started", pipeline=spec.id, execution=started.name, uid=started.uid)
            case Stop():
                await self._stop(step)
            case Remove(execution):
                executor = self.executors[execution.executor]
                await _within(REMOVE_WITHIN, executor.remove(execution), "remove", execution.id)
                log.info("removed", pipeline=execution.id, execution=execution.name)

    async def _stop(self, step: Stop) -> None:
        execution = step.execution
        executor = self.executors[execution.executor]
        async with self.queue.aside():  # a grace must not keep others from starting
            drained = await _within(
                step.grace + END_MARGIN,
                executor.stop(execution, step.grace),
                "stop",
                execution.id,
                StillRunning,
            )
        log.info("stopped", pipeline=execution.id, execution=execution.name, drained=drained)


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
