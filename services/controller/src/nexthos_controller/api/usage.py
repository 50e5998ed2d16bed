"""The endpoint `usage`: what the engines say of themselves, per pipeline, in pages.

Comes in: requests. Goes out: `UsageReply`. Engines are asked at once and under one deadline, so one
that hangs costs its own figures and a bounded time. What can't be known is null, with the reason.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import TypeVar

from nexthos_controller.api.selection import all_keys, existing
from nexthos_controller.execution import Execution
from nexthos_controller.loop.reconciler import Controller
from nexthos_controller.telemetry.engine_metrics import EngineFigures, read_figures
from nexthos_shared.errors import NexthosError
from nexthos_shared.model import (
    ConditionType,
    ExecutionUsage,
    PipelineStatus,
    Usage,
    UsageReply,
    UsageRequest,
)
from nexthos_shared.reasons import Reason

ANSWER_WITHIN = 2.5  # seconds for a whole page; the `nats` CLI gives up after 5
AT_ONCE = 32  # pipelines that are asked about at once
MOST_EXECUTIONS = 1000  # of a page: about 300 KB of JSON

N = TypeVar("N", int, float)


class UsagePages:
    """Pages about one controller's pipelines."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    async def page(self, request: UsageRequest) -> UsageReply:
        """Figures of a page of pipelines, read now. Raises NotFound, InvalidName."""
        keys = self._selected(request)
        left = [key for key in keys if request.cursor is None or key > request.cursor]
        page = self._fitting(left[: request.limit])
        bound = asyncio.Semaphore(AT_ONCE)
        deadline = asyncio.get_running_loop().time() + ANSWER_WITHIN
        pipelines = await asyncio.gather(*(self._usage(key, bound, deadline) for key in page))
        more = len(page) < len(left)
        return UsageReply(
            pipelines=pipelines, cursor=page[-1] if more and page else None, total=len(keys)
        )

    def _selected(self, request: UsageRequest) -> list[str]:
        if request.ids:
            keys = sorted({existing(self._controller, value) for value in request.ids})
        else:
            keys = all_keys(self._controller)
        if not request.labels:
            return keys
        entries = ((key, self._controller.desired.entry(key)) for key in keys)
        own = {key: e.pipeline.labels for key, e in entries if e is not None and e.pipeline}
        return [key for key, labels in own.items() if request.labels.items() <= labels.items()]

    def _fitting(self, keys: Sequence[str]) -> list[str]:
        """As many of the first as a page may hold, at least one."""
        page: list[str] = []
        executions = 0
        for key in keys:
            status = self._controller.statuses.status(key)
            executions += status.executions_total if status else 0
            if page and executions > MOST_EXECUTIONS:
                break
            page.append(key)
        return page

    async def _usage(self, key: str, bound: asyncio.Semaphore, deadline: float) -> Usage:
        status = self._controller.statuses.status(key)
        try:
            async with asyncio.timeout_at(deadline), bound:
                seen = await self._controller.observed(key)
        except TimeoutError:
            return _summed(key, status, (), Reason.TIMED_OUT)
        reads = (self._read(e, status, bound, deadline) for e in seen.executions if e.uid)
        silent = next((problem.reason for problem in seen.silent), None)
        return _summed(key, status, await asyncio.gather(*reads), silent)

    async def _read(
        self,
        execution: Execution,
        status: PipelineStatus | None,
        bound: asyncio.Semaphore,
        deadline: float,
    ) -> ExecutionUsage:
        figures: EngineFigures | None = None
        reason: Reason | None
        try:
            async with asyncio.timeout_at(deadline), bound:
                executor = self._controller.executors[execution.executor]
                figures = read_figures(await executor.metrics(execution))
            reason = None if figures else _why(execution, status)
        except TimeoutError:
            reason = Reason.TIMED_OUT
        except NexthosError as error:
            reason = error.problem.reason
        except ValueError:
            reason = Reason.METRICS_NOT_SCRAPED
        return _usage_of(execution, figures, reason)


def _why(execution: Execution, status: PipelineStatus | None) -> Reason | None:
    """Why an engine that was asked says nothing of messages."""
    warning = status.condition(ConditionType.WARNING) if status else None
    elsewhere = warning is not None and warning.reason is Reason.METRICS_NOT_SCRAPED
    if execution.ready or elsewhere:
        return Reason.METRICS_NOT_SCRAPED
    if execution.state != "running":
        return None  # it left nothing behind, and that is no fault
    return Reason.STARTING if execution.ready is None else Reason.NOT_CONNECTED


def _usage_of(
    execution: Execution, figures: EngineFigures | None, reason: Reason | None
) -> ExecutionUsage:
    running = execution.state == "running"
    return ExecutionUsage(
        execution=execution.name,
        uid=execution.uid,
        replica=execution.replica,
        running=running,
        at=time.time(),
        reason=reason,
        received=figures.count.received if figures else None,
        sent=figures.count.sent if figures else None,
        errors=figures.count.errors if figures else None,
        cpu_seconds=figures.cpu_seconds if figures else None,
        memory_bytes=figures.memory_bytes if figures and running else None,
    )


def _summed(
    key: str,
    status: PipelineStatus | None,
    read: Sequence[ExecutionUsage],
    silent: Reason | None,
) -> Usage:
    return Usage(
        id=key,
        phase=status.phase if status else None,
        ready=status.ready if status else 0,
        replicas=status.replicas if status else 0,
        restarts=status.restarts if status else 0,
        executions=list(read),
        reason=silent or next((e.reason for e in read if e.reason), None),
        received=_sum(e.received for e in read),
        sent=_sum(e.sent for e in read),
        errors=_sum(e.errors for e in read),
        cpu_seconds=_sum(e.cpu_seconds for e in read),
        memory_bytes=_sum(e.memory_bytes for e in read),
    )


def _sum(values: Iterable[N | None]) -> N | None:
    """The sum of what is known; None if nothing is."""
    known = [value for value in values if value is not None]
    return sum(known[1:], known[0]) if known else None
