"""Observing: ask every executor what it knows of one pipeline, and note who did not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Set
from dataclasses import dataclass

from nexthos_controller.executors.base import Execution, Executor, Listing
from nexthos_shared.errors import ExecutorUnreachable, NexthosError
from nexthos_shared.models import Memory, Place
from nexthos_shared.reasons import Problem, Reason

ANSWER_WITHIN = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Observed:
    """Executions of one pipeline, the places that answered, and why that may not be all of them."""

    executions: tuple[Execution, ...]
    answered: frozenset[Place]
    silent: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where something of one pipeline may be, as far as is remembered."""

    places: tuple[Place, ...] = ()
    is_new: bool = True  # it was never seen before, or its memory is lost


NOWHERE = Whereabouts()


def whereabouts_of(memory: Memory) -> Whereabouts:
    """What `memory` says of that."""
    is_new = memory.wanted is None and memory.current is None
    return Whereabouts(tuple(memory.places), is_new)


async def observe(
    executors: Mapping[str, Executor],
    pipeline_id: str,
    known: Whereabouts,
    abandoned: Set[str],
    wanted: str,
) -> Observed:
    """What all executors know of `pipeline_id`. A place where it may live must answer too.

    `wanted` is the executor that its entry asks for. One that is silent and where nothing of it can
    be is passed over: a Docker daemon that is away must not stop what runs as processes.
    """
    executions: list[Execution] = []
    silent: list[Problem] = []
    answered: set[Place] = set()
    for name, executor in executors.items():
        try:
            listing = await _ask(name, executor, pipeline_id)
        except NexthosError as error:
            if _may_be_there(name, known, abandoned, wanted):
                silent.append(error.problem)
            continue
        executions.extend(listing.executions)
        answered |= {Place(executor=name, place=place) for place in listing.places}
    if not silent:
        lost = [p for p in known.places if p not in answered and p.place not in abandoned]
        silent.extend(_lost(place, executors) for place in lost)
    return Observed(tuple(executions), frozenset(answered), tuple(silent))


async def _ask(name: str, executor: Executor, pipeline_id: str) -> Listing:
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            return await executor.find(pipeline_id)
    except TimeoutError as error:
        words = f"executor {name} did not answer within {ANSWER_WITHIN:.0f} s"
        raise ExecutorUnreachable(words) from error


def _may_be_there(executor: str, known: Whereabouts, abandoned: Set[str], wanted: str) -> bool:
    """Whether something of it may live on an executor that does not answer.

    Every place is remembered before a start. Of what was never seen before that proves nothing: its
    memory may have been lost.
    """
    held = any(p.executor == executor and p.place not in abandoned for p in known.places)
    return known.is_new or held or executor == wanted


def _lost(place: Place, executors: Mapping[str, Executor]) -> Problem:
    """A place where something of it may live, and of which nobody spoke."""
    if place.executor not in executors:
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
