"""What an engine's own metrics say, as far as it matters here. Comes in: Prometheus text."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

_MESSAGES = {
    "input_received": "received",
    "output_sent": "sent",
    "output_error": "errors",
    "processor_error": "errors",
}
_CPU = "process_cpu_seconds"
_MEMORY = "process_resident_memory_bytes"
_READ = (*_MESSAGES, _CPU, _MEMORY)
MOST = 2.0**63


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

    def __sub__(self, other: Count) -> Count:
        return Count(
            self.received - other.received, self.sent - other.sent, self.errors - other.errors
        )


@dataclass(frozen=True, slots=True)
class EngineFigures:
    """Since the engine's start. None: the engine does not say."""

    count: Count
    cpu_seconds: float | None = None
    memory_bytes: int | None = None  # resident


def read_figures(text: str) -> EngineFigures | None:
    """Sums over all inputs and outputs; None if the text is not about messages. Raises ValueError."""
    # Only what is read is parsed: histograms are most of the text, and parsing is slow.
    wanted = [line for line in text.splitlines() if line.startswith(_READ)]
    sums = {"received": 0.0, "sent": 0.0, "errors": 0.0}
    process: dict[str, float] = {}
    found = False
    for family in text_string_to_metric_families("\n".join(wanted) + "\n"):
        for sample in family.samples:
            if not 0 <= sample.value <= MOST:  # nor NaN: nothing that was counted
                raise ValueError(f"{sample.name} is no count")
            name = sample.name.removesuffix("_total")
            if (kind := _MESSAGES.get(name)) is not None:
                sums[kind] += sample.value
                found = True
            elif name in (_CPU, _MEMORY):
                process[name] = sample.value
    if not found:
        return None
    memory = process.get(_MEMORY)
    return EngineFigures(
        Count(*(int(n) for n in sums.values())),
        process.get(_CPU),
        None if memory is None else int(memory),
    )
