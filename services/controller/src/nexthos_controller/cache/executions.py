"""Observing: ask every executor what it knows of one pipeline, or of all, and note who did not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Set
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import structlog

from nexthos_controller.execution import Execution, Listing, WorkloadState
from nexthos_controller.executors.contract import Executor
from nexthos_shared.errors import ExecutorUnreachable, NexthosError
from nexthos_shared.model import Memory, Place
from nexthos_shared.reasons import Problem, Reason

ANSWER_WITHIN = 10.0  # seconds, about one pipeline
AT_ONCE = 200  # executions sorted before others have their turn, some 0.2 ms
LIST_WITHIN = 10.0  # seconds, about all: a daemon that hangs keeps no others waiting for longer

log = structlog.get_logger(__name__)

# By the name of the executor: its answer, or why it has none.
Answers = Mapping[str, Listing | NexthosError]


@dataclass(frozen=True, slots=True)
class Observed:
    """Executions of one pipeline, the places that answered, and why that may not be all of them."""

    executions: tuple[Execution, ...]
    answered: frozenset[Place]
    silent: tuple[Problem, ...]
    workloads: tuple[WorkloadState, ...] = ()


@dataclass(frozen=True, slots=True)
class PossiblePlaces:
    """Where something of one pipeline may be, as far as is remembered."""

    places: tuple[Place, ...] = ()
    is_new: bool = True  # it was never seen before, or its memory is lost


NOWHERE = PossiblePlaces()


class _Found(NamedTuple):
    """What one executor lists of one pipeline."""

    executions: tuple[Execution, ...] = ()
    workloads: tuple[WorkloadState, ...] = ()


NOTHING = _Found()


@dataclass(frozen=True, slots=True)
class Listings:
    """What every executor listed at about the same time, by pipeline."""

    places: frozenset[str]  # those that answered in full
    _listed: Mapping[str, Mapping[str, _Found] | NexthosError]
    _answered: Mapping[str, frozenset[str]]

    def ids(self) -> set[str]:
        """Pipelines of which something exists."""
        listed = self._listed.values()
        return {key for by_id in listed if isinstance(by_id, Mapping) for key in by_id}

    def about(self, pipeline_id: str) -> Answers:
        """As each executor would have answered about that one."""
        return {
            name: self._listing(by_id.get(pipeline_id, NOTHING), name)
            if isinstance(by_id, Mapping)
            else by_id
            for name, by_id in self._listed.items()
        }

    def _listing(self, found: _Found, executor: str) -> Listing:
        return Listing(found.executions, self._answered[executor], found.workloads)


def possible_places(memory: Memory) -> PossiblePlaces:
    """What `memory` says of that."""
    is_new = memory.wanted is None and memory.current is None
    return _possible(tuple((p.executor, p.place) for p in memory.places), is_new)


# Thousands live at the same few places, which are kept once; and one is found by its identity.
@lru_cache(maxsize=1024)
def _possible(places: tuple[tuple[str, str], ...], is_new: bool) -> PossiblePlaces:
    return PossiblePlaces(tuple(_place(*p) for p in places), is_new)


@lru_cache(maxsize=1024)
def _place(executor: str, place: str) -> Place:
    return Place(executor=executor, place=place)


@lru_cache(maxsize=1024)
def _places(executor: str, places: frozenset[str]) -> frozenset[Place]:
    return frozenset(_place(executor, place) for place in places)


async def observe(
    executors: Mapping[str, Executor],
    pipeline_id: str,
    known: PossiblePlaces,
    abandoned: Set[str],
    wanted: str,
) -> Observed:
    """What all executors know of `pipeline_id`, asked now; see `observed`."""
    answers = {
        name: await _ask(name, e.find(pipeline_id), ANSWER_WITHIN) for name, e in executors.items()
    }
    return observed(answers, known, abandoned, wanted)


async def list_all(executors: Mapping[str, Executor]) -> Listings:
    """What all executors know of all pipelines, asked now."""
    listed: dict[str, Mapping[str, _Found] | NexthosError] = {}
    answered: dict[str, frozenset[str]] = {}
    for name, executor in executors.items():
        try:
            answer = await _ask(name, executor.list(), LIST_WITHIN)
        except Exception as error:  # a defect of one must not keep the others from being looked at
            log.exception("listing failed by a defect", executor=name)
            answer = ExecutorUnreachable(f"executor {name}: a defect ({type(error).__name__})")
        if isinstance(answer, NexthosError):
            log.warning("executor did not list", executor=name, error=str(answer))
            listed[name] = answer
            continue
        answered[name] = answer.places
        by_id: dict[str, _Found] = {}
        for number, execution in enumerate(answer.executions):
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
            known = by_id.get(execution.id, NOTHING)
            by_id[execution.id] = known._replace(executions=(*known.executions, execution))
        for workload in answer.workloads:
            known = by_id.get(workload.id, NOTHING)
            by_id[workload.id] = known._replace(workloads=(*known.workloads, workload))
        listed[name] = by_id
    return Listings(frozenset().union(*answered.values()), listed, answered)


def observed(answers: Answers, known: PossiblePlaces, abandoned: Set[str], wanted: str) -> Observed:
    """What executors answered about one pipeline. A place where it may live must answer too.

    `wanted` is the executor that its entry asks for. One that is silent and where nothing of it can
    be is passed over: a Docker daemon that is away must not stop what runs as processes.
    """
    executions: list[Execution] = []
    workloads: list[WorkloadState] = []
    silent: list[Problem] = []
    answered: set[Place] = set()
    for name, listing in answers.items():
        if isinstance(listing, NexthosError):
            if _may_be_there(name, known, abandoned, wanted):
                silent.append(listing.problem)
            continue
        executions.extend(listing.executions)
        workloads.extend(listing.workloads)
        answered |= _places(name, listing.places)
    if not silent:
        lost = [p for p in known.places if p not in answered and p.place not in abandoned]
        silent.extend(_lost(place, answers.keys()) for place in lost)
    if len(executions) > 1:  # so that whoever compares is not misled by an order
        executions.sort(key=lambda e: (e.executor, e.replica, e.name))
    workloads.sort(key=lambda w: (w.executor, w.place, w.kind, w.uid))
    return Observed(tuple(executions), frozenset(answered), tuple(silent), tuple(workloads))


async def _ask(name: str, call: Awaitable[Listing], within: float) -> Listing | NexthosError:
    try:
        async with asyncio.timeout(within):
            return await call
    except TimeoutError:
        return ExecutorUnreachable(f"executor {name} did not answer within {within:.0f} s")
    except NexthosError as error:
        return error


def _may_be_there(executor: str, known: PossiblePlaces, abandoned: Set[str], wanted: str) -> bool:
    """Whether something of it may live on an executor that does not answer.

    Every place is remembered before a start. Of what was never seen before that proves nothing: its
    memory may have been lost.
    """
    held = any(p.executor == executor and p.place not in abandoned for p in known.places)
    return known.is_new or held or executor == wanted


def _lost(place: Place, offered: Set[str]) -> Problem:
    """A place where something of it may live, and of which nobody spoke."""
    if place.executor not in offered:
        words = (
            f"something of it lived on {place.executor}/{place.place}, and this controller does not "
            f"offer the executor {place.executor}"
        )
        return Problem(Reason.UNKNOWN_EXECUTOR, words)
    words = (
        f"something of it lived on {place.executor}/{place.place}, which does not answer; bring it "
        f"back, or say that it is gone: `nexthos abandon {place.place}`"
    )
    return Problem(Reason.PLACE_LOST, words)
