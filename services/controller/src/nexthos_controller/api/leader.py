"""What the control plane answers: requests in, replies out, as models. Knows nothing of NATS messages."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from nexthos_controller.api.config_parts import Handout
from nexthos_controller.api.endpoint import SHORT, Asker, Endpoint
from nexthos_controller.api.listing import page_of, summary
from nexthos_controller.api.log_stream import LogStreams
from nexthos_controller.api.selection import all_keys, existing
from nexthos_controller.api.usage import UsagePages
from nexthos_controller.loop.reconciler import Controller
from nexthos_controller.loop.sources import Sources
from nexthos_controller.runtime.context import ControllerContext, missing_bucket
from nexthos_controller.status.events import EventLog
from nexthos_shared.errors import NexthosError, NotFound, TooManyRequests
from nexthos_shared.model import (
    ControllerReply,
    ExecutorReport,
    ListReply,
    ListRequest,
    LogsReply,
    LogsRequest,
    Outcome,
    Phase,
    PipelineReply,
    ReconcileReply,
    ReconcileRequest,
    StatusRequest,
    Summary,
    UsageReply,
    UsageRequest,
)
from nexthos_shared.model.entries import read_definition
from nexthos_shared.model.stored import Stored
from nexthos_shared.names import check_key
from nexthos_shared.reasons import Problem

MOST_AWAITED = 50_000  # outcomes, by all requests together; one request alone may wait for more
LISTED_OUTCOMES = 500  # a reply must stay below NATS's 1 MiB; `unsettled` counts all


async def _until_one_ends(seconds: float, *awaited: Coroutine[Any, Any, None]) -> None:
    """Wait for the first of these, and not for ever; the others are cancelled. Raises what it raised."""
    tasks = [asyncio.create_task(one) for one in awaited]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for result in ended:
        if isinstance(result, Exception):
            raise result


class _Phase(Stored, frozen=True, kw_only=True):
    """Of a PipelineStatus, what is counted."""

    phase: Phase


class Answers:
    """Answers about one controller's pipelines."""

    def __init__(
        self,
        controller: Controller,
        context: ControllerContext,
        sources: Sources,
        event_log: EventLog,
    ) -> None:
        self._controller = controller
        self._context = context
        self._sources = sources
        self._event_log = event_log
        self._logs = LogStreams(controller)
        self._usage = UsagePages(controller)
        self._handout = Handout(context.store.configs)
        self._awaited = 0  # outcomes, by all requests together

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Everything that can be asked."""
        return (
            Endpoint(
                "status",
                StatusRequest,
                (PipelineReply, ControllerReply),
                self.status,
                waiting=SHORT,
            ),
            Endpoint("list", ListRequest, (ListReply,), self.page, waiting=SHORT),
            Endpoint("reconcile", ReconcileRequest, (ReconcileReply,), slow_answer=self.reconcile),
            Endpoint("logs", LogsRequest, (LogsReply,), stream=self._logs.stream),
            Endpoint("usage", UsageRequest, (UsageReply,), self._usage.page, at_once=8, waiting=64),
            self._handout.endpoint,
        )

    async def status(self, request: StatusRequest) -> PipelineReply | ControllerReply:
        """One pipeline, or the controller itself. Raises NotFound, InvalidName."""
        if request.id is None:
            return await self._overview()
        key = existing(self._controller, request.id)
        entry = self._controller.desired.entry(key)
        status = self._controller.statuses.status(key)
        return PipelineReply(
            id=key,
            revision=entry.revision if entry else 0,
            definition=read_definition(self._controller.desired.stored(key)),
            problem=entry.problem.message if entry and entry.problem else None,
            status=status,
            events=await self._context.last_events(key),
        )

    async def page(self, request: ListRequest) -> ListReply:
        """A page of summaries in order of id."""
        return page_of(self._summaries(), request)

    async def reconcile(self, request: ReconcileRequest, asker: Asker) -> ReconcileReply:
        """Look again at one pipeline or at all, and wait for what comes of it."""
        one = check_key(request.id) if request.id is not None else None
        keys = all_keys(self._controller) if one is None else [one]
        if one is not None and not self._is_known(one):
            raise NotFound(f"no pipeline {one!r}")
        if self._awaited and self._awaited + len(keys) > MOST_AWAITED:
            raise TooManyRequests(f"{self._awaited} outcomes are waited for already")
        self._awaited += len(keys)
        try:
            await _until_one_ends(request.timeout, self._settling(keys), asker.left())
        finally:
            self._awaited -= len(keys)
        outcomes = sorted(map(self._outcome, keys), key=lambda o: (o.settled, o.id))
        return ReconcileReply(
            outcomes=outcomes[:LISTED_OUTCOMES],
            unsettled=sum(1 for o in outcomes if not o.settled),
        )

    async def _settling(self, keys: Iterable[str]) -> None:
        """Look at each, and return when all are settled."""
        await asyncio.gather(*(self._settle(key) for key in keys))

    async def _settle(self, key: str) -> None:
        await self._controller.queue.look(key)
        while not self._settled(key):
            await self._controller.statuses.changed(key)

    def _outcome(self, key: str) -> Outcome:
        status = self._controller.statuses.status(key)
        complaint = self._controller.statuses.refused.get(key) or (
            status.complaint if status else None
        )
        return Outcome(
            id=key,
            phase=status.phase if status else None,
            settled=self._settled(key),
            reason=complaint.reason if complaint else None,
            message=complaint.message if complaint else "",
        )

    def _settled(self, key: str) -> bool:
        entry, status = self._controller.desired.entry(key), self._controller.statuses.status(key)
        if status is None:
            return entry is None or entry.deleted
        current = entry is not None and status.observed_revision == entry.revision
        return current and not status.phase.is_on_its_way

    def _is_known(self, key: str) -> bool:
        stored = self._controller.desired.stored(key)
        return stored is not None or self._controller.statuses.status(key) is not None

    def _summaries(self) -> Iterable[Summary]:
        for key in all_keys(self._controller):
            yield summary(
                key, self._controller.desired.entry(key), self._controller.statuses.status(key)
            )

    async def _overview(self) -> ControllerReply:
        phases = await asyncio.to_thread(self._phases)
        leader = None
        with suppress(NexthosError):
            leader = await self._context.leader()
        return self._context.told(
            leader=leader,
            problems=list(self._problems()),
            pipelines=len(self._controller.desired),
            phases=phases,
            queued=len(self._controller.queue),
            executors=[await self._executor(name) for name in self._controller.executors],
        )

    def _phases(self) -> dict[Phase, int]:
        statuses = self._controller.statuses.each(_Phase)
        return dict(Counter(status.phase for _, status in statuses))

    def _problems(self) -> Iterable[Problem]:
        for bucket in self._sources.missing:
            yield missing_bucket(bucket)
        if self._event_log.problem is not None:
            yield self._event_log.problem
        yield from self._sources.strangers.problems
        yield from self._refused()
        yield from self._context.hindrances()
        yield from self._context.skipped()

    def _refused(self) -> Iterable[Problem]:
        """One is told: what one status can't be stored for, others can't either."""
        refused = self._controller.statuses.refused
        for key in sorted(refused)[:1]:
            more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
            yield replace(refused[key], message=f"{refused[key].message}{more}")

    async def _executor(self, name: str) -> ExecutorReport:
        executor = self._controller.executors[name]
        default = name == self._controller.default_executor
        try:
            async with asyncio.timeout(2.0):
                listing = await executor.list()
        except (NexthosError, TimeoutError) as error:
            words = str(error) or "no answer within 2 s"
            return ExecutorReport(name=name, default=default, reachable=False, message=words)
        return ExecutorReport(
            name=name,
            default=default,
            reachable=True,
            places=sorted(listing.places),
            executions=len(listing.executions),
        )
