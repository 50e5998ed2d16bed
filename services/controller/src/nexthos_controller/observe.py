"""Observing: ask every executor what it knows of one pipeline, and note who did not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from nexthos_controller.executors.base import Execution, Executor
from nexthos_shared.errors import NexthosError
from nexthos_shared.models import Memory
from nexthos_shared.reasons import Problem, Reason

ANSWER_WITHIN = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Observed:
    """Executions of one pipeline, and why that may not be all of them."""

    executions: tuple[Execution, ...]
    silent: tuple[Problem, ...]


async def observe(executors: Mapping[str, Executor], pipeline_id: str, memory: Memory) -> Observed:
    """What all executors know of `pipeline_id`. A place where it lived must answer too."""
    executions: list[Execution] = []
    silent: list[Problem] = []
    places: set[str] = set()
    for name, executor in executors.items():
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                listing = await executor.find(pipeline_id)
        except TimeoutError:
            words = f"executor {name} did not answer within {ANSWER_WITHIN:.0f} s"
            silent.append(Problem(Reason.EXECUTOR_UNREACHABLE, words))
            continue
        except NexthosError as error:
            silent.append(error.problem)
            continue
        executions.extend(listing.executions)
        places |= listing.places
    if not silent:
        silent.extend(_lost(memory, executors, places))
    return Observed(tuple(executions), tuple(silent))


def _lost(memory: Memory, executors: Mapping[str, Executor], places: set[str]) -> list[Problem]:
    """Places where replicas lived and of which nobody spoke."""
    lost = []
    for replica, slot in memory.slots.items():
        if not slot.uid or slot.place in places:
            continue
        words = f"replica {replica} lived on {slot.executor}/{slot.place}, which does not answer"
        reason = Reason.PLACE_LOST if slot.executor in executors else Reason.UNKNOWN_EXECUTOR
        lost.append(Problem(reason, words))
    return lost
