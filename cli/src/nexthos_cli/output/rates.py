"""From samples of `usage` to what `top` shows. Pure: samples come in, lines go out.

Rates are made by life (execution and uid), and then summed: an engine counts from its start, so a
restart in between must not look like a negative rate. Where little goes through, a rate looks back
further: a message every five seconds is 0.2/s, and not 0.0 in most tables and 0.5 in some.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from nexthos_cli.output.models import TopLine
from nexthos_shared.model import ExecutionUsage, Usage

Sample = Mapping[str, Usage]
ENOUGH = 10  # messages in a window: fewer say little of a rate
WINDOW = 60.0  # seconds that are looked back upon at most


def top_lines(before: Sequence[Sample], after: Sample, seconds: float, sort: str) -> list[TopLine]:
    """A line per pipeline of `after`; `before` are the samples of the last WINDOW, oldest first.

    `seconds` lie between the last two samples.
    """
    lines = [
        _line([sample[key] for sample in before if key in sample], usage, seconds)
        for key, usage in after.items()
    ]
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


def _line(before: Sequence[Usage], after: Usage, seconds: float) -> TopLine:
    pasts = [{(e.execution, e.uid): e for e in usage.executions} for usage in before]

    def rate(figure: str) -> float | None:
        return _sum(
            _rate([past.get((e.execution, e.uid)) for past in pasts], e, figure, seconds)
            for e in after.executions
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
        received=after.received,
        sent=after.sent,
        errors=after.errors,
        restarts=after.restarts,
        reason=after.reason,
    )


def _rate(
    pasts: Sequence[ExecutionUsage | None], after: ExecutionUsage, figure: str, seconds: float
) -> float | None:
    """Per second, since the last of `pasts` with enough in between; of a new life, since its start."""
    now = getattr(after, figure)
    if now is None:
        return None
    if not pasts or pasts[-1] is None:
        return float(now) / seconds if seconds > 0 else None
    found: float | None = None
    for past in reversed(pasts):
        then = getattr(past, figure) if past else None
        if past is None or then is None:
            break
        if (span := after.at - past.at) > 0:
            found = float(max(now - then, 0)) / span
            if figure == "cpu_seconds" or now < then or now - then >= ENOUGH:
                break
    return found


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
