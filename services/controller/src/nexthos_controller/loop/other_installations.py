"""Strangers: executions of our namespace that belong to another installation, told and left alone.

A store that was lost is made anew as another installation. What the lost one had started runs on, unseen by
every listing, and what is applied again would run beside it. So it is named, with what takes it over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from nexthos_controller.execution import Stranger
from nexthos_controller.executors.contract import Executor
from nexthos_shared.errors import NexthosError
from nexthos_shared.reasons import Problem, Reason

NAMED = 5  # of each installation; the rest is counted
LETTERS = 60  # of a name that somebody else may have written
LIST_WITHIN = 10.0  # seconds

log = structlog.get_logger(__name__)


class Strangers:
    """Looks for them each `every` seconds."""

    def __init__(self, executors: Mapping[str, Executor], every: float) -> None:
        self.problems: list[Problem] = []
        self._executors = executors
        self._every = every

    async def watch(self) -> None:
        """For ever."""
        while True:
            problems = [*_told(await self._look())]
            for problem in problems:
                if problem not in self.problems:
                    log.warning("executions of another installation run here", told=problem.message)
            self.problems = problems
            await asyncio.sleep(self._every)

    async def _look(self) -> dict[str, set[str]]:
        """Names by installation, of the executors that answer."""
        found: dict[str, set[str]] = {}
        for executor in self._executors.values():
            strangers: frozenset[Stranger] = frozenset()
            try:
                async with asyncio.timeout(LIST_WITHIN):
                    strangers = await executor.strangers()
            except (NexthosError, TimeoutError) as error:
                log.debug(
                    "executor did not list strangers", executor=executor.name, error=str(error)
                )
            for one in strangers:
                found.setdefault(one.installation[:LETTERS], set()).add(one.what[:LETTERS])
        return found


def _told(found: Mapping[str, set[str]]) -> list[Problem]:
    problems = []
    for installation, what in sorted(found.items()):
        named = ", ".join(sorted(what)[:NAMED]) + (", ..." if len(what) > NAMED else "")
        words = (
            f"{named} run here for installation {installation} of this namespace and are left alone; if "
            f"its store was lost, `nexthos setup --installation {installation}` takes them over"
        )
        problems.append(Problem(Reason.OTHER_INSTALLATION, words))
    return problems
