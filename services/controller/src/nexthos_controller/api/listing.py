"""`list`: one line per pipeline, chosen and paged. Comes in: entries and statuses. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from nexthos_shared.model import Entry, ListReply, ListRequest, PipelineStatus, Summary


def page_of(summaries: Iterable[Summary], request: ListRequest) -> ListReply:
    """The page of `request`, in order of id; `summaries` are sorted."""
    wanted, labels = request.phase, request.labels.items()
    of_phase = (s for s in summaries if wanted is None or s.phase is wanted)
    found = [s for s in of_phase if labels <= s.labels.items()]
    page = [s for s in found if request.cursor is None or s.id > request.cursor]
    more = len(page) > request.limit
    page = page[: request.limit]
    cursor = page[-1].id if more and page else None
    return ListReply(pipelines=page, cursor=cursor, total=len(found))


def summary(key: str, entry: Entry | None, status: PipelineStatus | None) -> Summary:
    """The line of one pipeline."""
    pipeline = entry.pipeline if entry else None
    complaint = status.complaint if status else None
    executors = [e.executor for e in status.executions] if status else []
    return Summary(
        id=key,
        wanted=str(entry.wanted) if entry and entry.wanted else None,
        phase=status.phase if status else None,
        ready=status.ready if status else 0,
        replicas=status.replicas if status else 0,
        version=status.version if status else None,
        wanted_version=pipeline.version if pipeline else None,
        restarts=status.restarts if status else 0,
        executor=executors[0] if executors else None,
        reason=complaint.reason if complaint else None,
        message=complaint.message if complaint else "",
        labels=pipeline.labels if pipeline else {},
        revision=entry.revision if entry else 0,
        updated_at=status.updated_at if status else 0.0,
    )
