"""Counting messages: per pipeline from the engines' own metrics, per subject from NATS streams.

An engine counts from its start, so counts are kept by uid and added up: a restart or an update in
between loses nothing. The last metrics of an engine that ended are read from what it left behind.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from nats.js.client import JetStreamContext
from prometheus_client.parser import text_string_to_metric_families

from nexthos_controller.executors.base import Execution, Executor
from nexthos_shared.errors import NexthosError

_FAMILIES = {
    "input_received": "received",
    "output_sent": "sent",
    "output_error": "errors",
    "processor_error": "errors",
}


@dataclass(frozen=True, slots=True)
class Count:
    """Messages of one pipeline, or of one life of it."""

    received: int = 0
    sent: int = 0
    errors: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(
            self.received + other.received, self.sent + other.sent, self.errors + other.errors
        )


def read_metrics(text: str) -> Count:
    """Sum over all inputs and outputs of an engine's Prometheus text."""
    sums = {"received": 0.0, "sent": 0.0, "errors": 0.0}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            kind = _FAMILIES.get(sample.name.removesuffix("_total"))
            if kind is not None:
                sums[kind] += sample.value
    return Count(*(int(n) for n in sums.values()))


@dataclass(slots=True)
class Tally:
    """Counts of this run, by pipeline."""

    executor: Executor
    _lives: dict[tuple[str, str], Count] = field(default_factory=dict)

    async def sample(self, executions: Iterable[Execution]) -> None:
        """Read the metrics of each; one that does not answer keeps its last count."""
        for execution in executions:
            if not execution.uid:
                continue
            try:
                text = await self.executor.metrics(execution)
            except (NexthosError, OSError):
                continue
            if text:
                self._lives[execution.id, execution.uid] = read_metrics(text)

    def of(self, pipeline_id: str) -> Count:
        """All lives of a pipeline together."""
        counts = (c for (key, _), c in self._lives.items() if key == pipeline_id)
        return sum(counts, Count())


async def messages_by_subject(js: JetStreamContext) -> dict[str, int]:
    """Messages stored per subject, over the streams that users made (KV, objects, $-subjects out)."""
    counts: dict[str, int] = {}
    for info in await js.streams_info():
        name = info.config.name or ""
        if name.startswith(("KV_", "OBJ_")):
            continue
        stored = await js.stream_info(name, subjects_filter=">")
        for subject, count in (stored.state.subjects or {}).items():
            counts[subject] = counts.get(subject, 0) + count
    return counts
