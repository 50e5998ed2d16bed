"""Standing by: what a controller answers while another one acts, or while its store is not there.

Comes in: requests. Goes out: what the store says at that moment, with `as_of`. Requests are shared out
among all controllers of a namespace, so a standby must be able to answer what the leader is asked most.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from msgspec import structs

from nexthos_controller.api.config_parts import Handout
from nexthos_controller.api.endpoint import SHORT, Endpoint
from nexthos_controller.api.listing import page_of, summary
from nexthos_controller.api.service import Service
from nexthos_controller.runtime.context import ControllerContext
from nexthos_shared.errors import NexthosError, NotFound
from nexthos_shared.model import (
    ControllerReply,
    LeaderReport,
    ListReply,
    ListRequest,
    PipelineReply,
    PipelineStatus,
    StatusRequest,
    read_entry,
)
from nexthos_shared.model.entries import read_definition, read_status
from nexthos_shared.names import check_key
from nexthos_shared.reasons import Problem
from nexthos_shared.store import KvEntry


@asynccontextmanager
async def standing_by(context: ControllerContext) -> AsyncIterator[None]:
    """Answer from the store alone while this is entered."""
    identity = context.identity
    metadata = {"namespace": identity.namespace, "role": "standby"}
    answers, names = StandbyAnswers(context), context.store.names
    async with Service(
        context.link.nc, names, answers, identity.version, metadata, context.replies
    ):
        yield


@dataclass(frozen=True, slots=True)
class StandbyAnswers:
    """`status`, `list` and `config` from the store."""

    context: ControllerContext

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What a standby can answer; all else is the leader's."""
        return (
            Endpoint(
                "status",
                StatusRequest,
                (PipelineReply, ControllerReply),
                self.status,
                waiting=SHORT,
            ),
            Endpoint("list", ListRequest, (ListReply,), self.page, waiting=SHORT),
            Handout(self.context.store.configs).endpoint,
        )

    async def status(self, request: StatusRequest) -> PipelineReply | ControllerReply:
        """One pipeline, or this controller. Raises NotFound, InvalidName, StoreMissing, ..."""
        if request.id is None:
            return await self._overview()
        key, store = check_key(request.id), self.context.store
        entry, stored = await store.pipelines.get(key), await store.statuses.get(key)
        status = read_status(stored)
        if status is None and (entry is None or entry.value is None):
            raise NotFound(f"no pipeline {key!r}")
        read = read_entry(key, entry.revision, entry.value) if entry else None
        return PipelineReply(
            id=key,
            revision=entry.revision if entry else 0,
            definition=read_definition(entry),
            problem=read.problem.message if read and read.problem else None,
            status=status,
            events=await self.context.last_events(key),
            as_of=time.time(),
        )

    async def page(self, request: ListRequest) -> ListReply:
        """A page of summaries in order of id."""
        entries, statuses = await self._everything()
        keys = sorted({k for k, e in entries.items() if e.value is not None} | statuses.keys())
        read = {k: read_entry(e.key, e.revision, e.value) for k, e in entries.items()}
        lines = (summary(key, read.get(key), statuses.get(key)) for key in keys)
        return structs.replace(page_of(lines, request), as_of=time.time())

    async def _everything(self) -> tuple[dict[str, KvEntry], dict[str, PipelineStatus]]:
        entries = {e.key: e for e in await self.context.store.pipelines.snapshot()}
        found = {e.key: read_status(e) for e in await self.context.store.statuses.snapshot()}
        return entries, {key: status for key, status in found.items() if status is not None}

    async def _overview(self) -> ControllerReply:
        problems: list[Problem] = list(self.context.hindrances())
        leader: LeaderReport | None = None
        entries: dict[str, KvEntry] = {}
        statuses: dict[str, PipelineStatus] = {}
        try:
            problems += await self.context.missing()
            leader = await self.context.leader()
            entries, statuses = await self._everything()
        except NexthosError as error:
            if not problems:  # else it is about the same
                problems.append(error.problem)
        return self.context.told(
            acts=False,
            leader=leader,
            problems=problems,
            pipelines=sum(1 for e in entries.values() if e.value is not None),
            phases=dict(Counter(s.phase for s in statuses.values())),
            queued=0,
            as_of=time.time(),
        )
