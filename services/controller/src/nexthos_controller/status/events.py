"""The event log: tells what happened to pipelines, behind the back of what makes it happen.

Comes in: statuses before and after a write. Goes out: CloudEvents on the stream `<ns>-events`, in order.
A look at a pipeline never waits for it, and nothing rests on it: what can't be published is tried
again, and what is too much is dropped, counted and told.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Self

import structlog

from nexthos_controller.election.lease import Takeover
from nexthos_controller.reconcile.transitions import Transition, deletion, transitions
from nexthos_shared import names
from nexthos_shared.errors import NexthosError
from nexthos_shared.model import Event, EventData, EventType, PipelineStatus, event_time
from nexthos_shared.reasons import Problem, Reason
from nexthos_shared.store import Events

MOST_WAITING = 10_000
AT_ONCE = 64  # published without waiting for each other's acknowledgement; NATS keeps their order
TRY_AGAIN = 1.0  # seconds
CONTROLLER = "_controller"  # subject of what concerns no pipeline; no pipeline can have that id
LAST_WORDS = 1.0  # seconds for what still waits when the controller ends

log = structlog.get_logger(__name__)


class EventLog:
    """`async with EventLog(...)` publishes what it is told."""

    def __init__(self, events: Events, source: str, now: Callable[[], float]) -> None:
        self._events = events
        self._source = source
        self._now = now
        self._waiting: deque[Event] = deque()
        self._told = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None
        self.dropped = 0
        self.problem: Problem | None = None  # why nothing is published at the moment

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._publish(), name="events")
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            async with asyncio.timeout(LAST_WORDS if self.problem is None else 0):
                await self._idle.wait()
        except TimeoutError:
            log.warning("events not published", events=len(self._waiting))
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def wrote(
        self, key: str, before: PipelineStatus | None, after: PipelineStatus, revision: int
    ) -> None:
        """A status was stored as `revision`."""
        self._tell(key, revision, list(transitions(key, before, after)))

    def forgot(self, key: str, before: PipelineStatus, revision: int) -> None:
        """A status, last stored as `revision`, was deleted with its pipeline."""
        self._tell(key, revision, [deletion(key, before)])

    def took_over(self, takeover: Takeover, token: int) -> None:
        """This controller acts now, in the place of another one; `token` is its lease's."""
        told = f"{self._source.rpartition('/')[2]} acts in place of {takeover.holder}"
        data = EventData(
            pipeline="",
            reason=Reason.TAKEN_OVER,
            message=f"{told} on {takeover.host}: {takeover.why}",
            bad=not takeover.handed,
        )
        self._waiting.append(
            Event(
                id=f"{CONTROLLER}.takeover.{token}",
                source=self._source,
                type=EventType.TAKEOVER,
                subject=CONTROLLER,
                time=event_time(self._now()),
                data=data,
            )
        )
        self._idle.clear()
        self._told.set()

    def _tell(self, key: str, revision: int, happened: list[Transition]) -> None:
        if not names.is_id(key):
            return  # such a key can't be part of a subject
        for number, transition in enumerate(happened):
            if len(self._waiting) >= MOST_WAITING:
                self._waiting.popleft()
                self.dropped += 1
            kind = "gone" if transition.data.phase is None else "status"
            self._waiting.append(
                Event(
                    id=f"{key}.{kind}.{revision}.{number}",
                    source=self._source,
                    type=transition.type,
                    subject=key,
                    time=event_time(self._now()),
                    data=transition.data,
                )
            )
        if self._waiting:
            self._idle.clear()
            self._told.set()

    async def _publish(self) -> None:
        while True:
            await self._told.wait()
            batch = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
            if not batch:
                self._told.clear()
                self._idle.set()
                continue
            outcomes = await asyncio.gather(
                *(self._events.publish(event) for event in batch), return_exceptions=True
            )
            failed = [
                e for e, o in zip(batch, outcomes, strict=True) if isinstance(o, BaseException)
            ]
            errors = [o for o in outcomes if isinstance(o, BaseException)]
            self._judge(errors)
            if failed:
                self._waiting.extendleft(reversed(failed))
                await asyncio.sleep(TRY_AGAIN)

    def _judge(self, errors: list[BaseException]) -> None:
        """Say once that events can't be published, and once that they can again."""
        if not errors:
            if self.problem is not None:
                log.info("events are published again", dropped=self.dropped)
            self.problem = None
            return
        error = errors[0]
        if self.problem is None:
            log.warning("events can't be published", error=str(error), waiting=len(self._waiting))
        if isinstance(error, NexthosError):
            self.problem = error.problem
