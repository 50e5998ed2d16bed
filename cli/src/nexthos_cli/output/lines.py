"""One line per pipeline: what is stored, what the controller reports, and where they part.

Comes in: what the two buckets hold. Goes out: `PipelineLine`s sorted by id. Pure: time is a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from nexthos_cli.output.models import PipelineLine
from nexthos_shared.model import Entry, PipelineStatus, read_entry
from nexthos_shared.model.entries import read_status
from nexthos_shared.reasons import Problem, Reason

if TYPE_CHECKING:
    from nexthos_shared.store import KvEntry


def all_lines(
    entries: Iterable[KvEntry], statuses: Iterable[KvEntry], now: float
) -> list[PipelineLine]:
    """A line for each key that is stored, and for each that is gone and has left something."""
    stored = {e.key: e for e in entries}
    reported = {s.key: s for s in statuses if s.value is not None}
    keys = sorted({k for k, e in stored.items() if e.value is not None} | reported.keys())
    return [line(key, stored.get(key), reported.get(key), now) for key in keys]


def line(key: str, stored: KvEntry | None, reported: KvEntry | None, now: float) -> PipelineLine:
    """The line of one pipeline."""
    entry = read_entry(key, stored.revision, stored.value) if stored else None
    status = read_status(reported)
    pipeline = entry.pipeline if entry else None
    problem = _problem(entry, reported, status)
    executions = status.executions if status else []
    return PipelineLine(
        id=key,
        wanted=str(entry.wanted) if entry and entry.wanted else None,
        deleted=entry is None or entry.deleted,
        phase=status.phase if status else None,
        ready=status.ready if status else 0,
        replicas=status.replicas if status else 0,
        version=status.version if status else None,
        wanted_version=pipeline.version if pipeline else None,
        restarts=status.restarts if status else 0,
        age=max(now - stored.created, 0.0) if stored else 0.0,
        executor=executions[0].executor
        if executions
        else (pipeline.executor if pipeline else None),
        places=sorted({e.place for e in executions}),
        reason=problem.reason if problem else None,
        message=" ".join(problem.message.split()) if problem else "",
        where=problem.where if problem else "",
        name=pipeline.name if pipeline else "",
        labels=pipeline.labels if pipeline else {},
        revision=stored.revision if stored else 0,
        observed_revision=status.observed_revision if status else None,
    )


def _problem(
    entry: Entry | None, reported: KvEntry | None, status: PipelineStatus | None
) -> Problem | None:
    """What a reader must know first: the controller's complaint, if it speaks of what is stored."""
    if reported is not None and reported.value is not None and status is None:
        return Problem(Reason.INTERNAL_ERROR, "the status can't be understood: a newer controller?")
    if entry is not None and entry.problem is not None:
        return entry.problem
    if status is None:
        return None
    if entry is not None and not entry.deleted and status.observed_revision < entry.revision:
        return Problem(Reason.UPDATING, f"revision {entry.revision} was not reconciled yet")
    return status.complaint.problem if status.complaint else None


def matches(line: PipelineLine, labels: Mapping[str, str], phases: Iterable[str]) -> bool:
    """Whether a line has all the labels, and one of the phases (any, if none is asked for)."""
    wanted = {phase.lower() for phase in phases}
    fits = not wanted or str(line.phase or "-").lower() in wanted
    return fits and all(line.labels.get(k) == v for k, v in labels.items())
