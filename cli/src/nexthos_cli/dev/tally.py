"""Counting messages: per pipeline from the engines' own metrics, per subject from NATS streams.

An engine counts from its start, so counts are kept by life (uid) and added up: a restart in between
loses nothing. The last metrics of an engine that ended are read from the file it left behind. Where an
execution is replaced by a new version, its folder goes with it: what it did since the last sample (a
second at most) is not in the count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from nats.errors import Error as NatsError
from nats.js.client import JetStreamContext

from nexthos_controller.embedded import Count, Execution, read_figures
from nexthos_shared.errors import NexthosError

AT_ONCE = 8  # metrics read at once


class Metered(Protocol):
    """What is needed of an executor."""

    async def metrics(self, execution: Execution) -> str:
        """See Executor."""


@dataclass(slots=True)
class Tally:
    """Counts since `since` (seconds since the epoch), by pipeline."""

    since: float
    _lives: dict[tuple[str, str], Count] = field(default_factory=dict)
    _before: dict[tuple[str, str], Count] = field(default_factory=dict)  # of lives older than that
    _ended: set[tuple[str, str]] = field(default_factory=set)  # their last metrics were read

    async def sample(self, executor: Metered, executions: Iterable[Execution]) -> None:
        """Read the metrics of each; one that does not answer keeps its last count."""
        bound = asyncio.Semaphore(AT_ONCE)

        async def one(execution: Execution) -> None:
            async with bound:
                await self._take(executor, execution)

        wanted = [e for e in executions if e.uid and (e.id, e.uid) not in self._ended]
        await asyncio.gather(*(one(execution) for execution in wanted))

    async def _take(self, executor: Metered, execution: Execution) -> None:
        life = (execution.id, execution.uid)
        ended = execution.state == "stopped"
        try:
            figures = read_figures(await executor.metrics(execution))
        except (NexthosError, OSError, ValueError):
            figures = None
        if figures is not None:
            if life not in self._lives and (execution.started_at or self.since) < self.since:
                self._before[life] = figures.count
            self._lives[life] = figures.count
        if ended:
            self._ended.add(life)

    def of(self, pipeline_id: str) -> Count:
        """All lives of a pipeline together."""
        counts = (
            count - self._before.get(life, Count())
            for life, count in self._lives.items()
            if life[0] == pipeline_id
        )
        return sum(counts, Count())


async def messages_by_subject(js: JetStreamContext, events: str) -> dict[str, int]:
    """Messages stored per subject, over the streams that users made.

    KV, objects and the stream `events`, where the controller tells what happened, are left out.

    Empty where the server does not answer: it is for showing only.
    """
    counts: dict[str, int] = {}
    try:
        for info in await js.streams_info():
            name = info.config.name or ""
            if name.startswith(("KV_", "OBJ_")) or name == events:
                continue
            stored = await js.stream_info(name, subjects_filter=">")
            for subject, count in (stored.state.subjects or {}).items():
                counts[subject] = counts.get(subject, 0) + count
    except (NatsError, TimeoutError, OSError):
        return {}
    return counts
