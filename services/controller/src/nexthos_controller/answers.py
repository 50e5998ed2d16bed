"""What the control plane answers: requests in, replies out, as models. Knows nothing of NATS messages."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from nexthos_controller.controller import Controller
from nexthos_shared import names
from nexthos_shared.errors import NexthosError, NotFound
from nexthos_shared.models import (
    ControllerReply,
    Entry,
    ExecutorReport,
    ListReply,
    ListRequest,
    Outcome,
    Phase,
    PipelineReply,
    PipelineStatus,
    ReconcileReply,
    ReconcileRequest,
    StatusRequest,
    Summary,
)

LISTED_OUTCOMES = 500  # a reply must stay below NATS's 1 MiB; `unsettled` counts all
_KEY = re.compile(r"[-_=A-Za-z0-9]+(\.[-_=A-Za-z0-9]+)*")
ON_THEIR_WAY = {Phase.STARTING, Phase.STOPPING, Phase.UNKNOWN}


@dataclass(frozen=True, slots=True)
class About:
    """What does not change while a controller runs."""

    controller: str
    version: str
    namespace: str
    installation: str
    started_at: float
    store: str
    engine: str


class Answers:
    """Answers about one controller's pipelines."""

    def __init__(self, controller: Controller, about: About, is_ready: Callable[[], bool]) -> None:
        self._controller = controller
        self._about = about
        self._is_ready = is_ready

    async def status(self, request: StatusRequest) -> PipelineReply | ControllerReply:
        """One pipeline, or the controller itself. Raises NotFound, InvalidName."""
        if request.id is None:
            return await self._overview()
        key = _known_name(request.id)
        entry = self._controller.desired.entry(key)
        status = self._controller.book.status(key)
        if status is None and (entry is None or entry.deleted):
            raise NotFound(f"no pipeline {key!r}")
        return PipelineReply(
            id=key,
            revision=entry.revision if entry else 0,
            definition=self._definition(key),
            problem=entry.problem.message if entry and entry.problem else None,
            status=status,
        )

    async def page(self, request: ListRequest) -> ListReply:
        """A page of summaries in order of id."""
        found = [s for s in self._summaries() if _matches(s, request)]
        page = [s for s in found if request.cursor is None or s.id > request.cursor]
        more = len(page) > request.limit
        page = page[: request.limit]
        return ListReply(
            pipelines=page, cursor=page[-1].id if more and page else None, total=len(found)
        )

    async def reconcile(self, request: ReconcileRequest) -> ReconcileReply:
        """Look again at one pipeline or at all, and wait for what comes of it."""
        keys = self._all_keys() if request.id is None else [_known_name(request.id)]
        if request.id is not None and not self._is_known(keys[0]):
            raise NotFound(f"no pipeline {request.id!r}")
        deadline = asyncio.get_running_loop().time() + request.timeout
        outcomes = await asyncio.gather(*(self._outcome(key, deadline) for key in keys))
        outcomes.sort(key=lambda o: (o.settled, o.id))
        return ReconcileReply(
            outcomes=outcomes[:LISTED_OUTCOMES],
            unsettled=sum(1 for o in outcomes if not o.settled),
        )

    async def _outcome(self, key: str, deadline: float) -> Outcome:
        book = self._controller.book
        try:
            async with asyncio.timeout_at(deadline):
                await self._controller.queue.look(key)
                while not self._settled(key):
                    await book.changed(key)
        except TimeoutError:
            pass
        status = book.status(key)
        complaint = status.complaint if status else None
        return Outcome(
            id=key,
            phase=status.phase if status else None,
            settled=self._settled(key),
            reason=complaint.reason if complaint else None,
            message=complaint.message if complaint else "",
        )

    def _settled(self, key: str) -> bool:
        entry, status = self._controller.desired.entry(key), self._controller.book.status(key)
        if status is None:
            return entry is None or entry.deleted
        current = entry is not None and status.observed_revision == entry.revision
        return current and status.phase not in ON_THEIR_WAY

    def _is_known(self, key: str) -> bool:
        stored = self._controller.desired.stored(key)
        return stored is not None or self._controller.book.status(key) is not None

    def _all_keys(self) -> list[str]:
        desired = self._controller.desired
        stored = (key for key in sorted(desired.keys()) if (e := desired.stored(key)) and e.value)
        return sorted({*stored, *self._controller.book.keys()})

    def _summaries(self) -> Iterable[Summary]:
        for key in self._all_keys():
            yield _summary(
                key, self._controller.desired.entry(key), self._controller.book.status(key)
            )

    def _definition(self, key: str) -> dict[str, Any] | None:
        stored = self._controller.desired.stored(key)
        try:
            definition = json.loads(stored.value) if stored and stored.value else None
        except ValueError:
            return None
        return definition if isinstance(definition, dict) else None

    async def _overview(self) -> ControllerReply:
        statuses = self._controller.book.statuses().values()
        return ControllerReply(
            controller=self._about.controller,
            version=self._about.version,
            namespace=self._about.namespace,
            installation=self._about.installation,
            started_at=self._about.started_at,
            ready=self._is_ready(),
            store=self._about.store,
            engine=self._about.engine,
            pipelines=len(self._controller.desired),
            phases=dict(Counter(s.phase for s in statuses)),
            queued=len(self._controller.queue),
            executors=[await self._executor(name) for name in self._controller.executors],
        )

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


def _known_name(value: str) -> str:
    """Raw KV lets keys in that are no ids (`A`, `a.b`): they can be asked for, all else is refused."""
    return value if _KEY.fullmatch(value) else names.check_id(value)


def _summary(key: str, entry: Entry | None, status: PipelineStatus | None) -> Summary:
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


def _matches(summary: Summary, request: ListRequest) -> bool:
    if request.phase is not None and summary.phase is not request.phase:
        return False
    return all(summary.labels.get(k) == v for k, v in request.labels.items())
