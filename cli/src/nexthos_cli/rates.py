"""From two samples of `usage` to what `top` shows. Pure: samples and seconds come in, lines go out.

Rates are made by life (execution and uid), and then summed: an engine counts from its start, so a
restart in between must not look like a negative rate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nexthos_cli.output import TopLine
from nexthos_shared.models import ExecutionUsage, Usage

Sample = Mapping[str, Usage]
SORTS = ("cpu", "memory", "rate", "name")


def top_lines(before: Sample, after: Sample, seconds: float, sort: str) -> list[TopLine]:
    """A line per pipeline of `after`; `seconds` lie between the samples."""
    lines = [_line(before.get(key), usage, seconds) for key, usage in after.items()]
    return sorted(lines, key=lambda line: (-_weight(line, sort), line.id))


def _weight(line: TopLine, sort: str) -> float:
    """What to sort by, largest first; what is not known comes last."""
    match sort:
        case "cpu":
            value = line.cpu_percent
        case "memory":
            value = line.memory_bytes
        case "rate":
            parts = (line.received_per_second, line.sent_per_second)
            value = _sum(parts)
        case _:
            value = 0.0
    return -1.0 if value is None else value


def _line(before: Usage | None, after: Usage, seconds: float) -> TopLine:
    lives = {(e.execution, e.uid): e for e in before.executions} if before else {}

    def rate(figure: str) -> float | None:
        return _sum(
            _rate(lives.get((e.execution, e.uid)), e, figure, seconds) for e in after.executions
        )

    cpu = rate("cpu_seconds")
    return TopLine(
        id=after.id,
        phase=after.phase,
        ready=after.ready,
        replicas=after.replicas,
        cpu_percent=None if cpu is None else 100 * cpu,
        memory_bytes=after.memory_bytes,
        received_per_second=rate("received"),
        sent_per_second=rate("sent"),
        errors_per_second=rate("errors"),
        restarts=after.restarts,
        reason=after.reason,
    )


def _rate(
    before: ExecutionUsage | None, after: ExecutionUsage, figure: str, seconds: float
) -> float | None:
    """Per second; of a life that began in between, since its start."""
    now = getattr(after, figure)
    then = getattr(before, figure) if before else 0
    span = after.at - before.at if before else seconds
    if now is None or then is None or span <= 0:
        return None
    return float(max(now - then, 0)) / span


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
