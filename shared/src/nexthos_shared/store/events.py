"""The stream of events: one CloudEvent per transition, kept for a week or 64 MiB.

Comes in: events to publish. Goes out: events as they were published, oldest first. Nothing decides by
them, so a stream that is missing or full stops nothing.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from nats.aio.msg import Msg
from nats.js.api import DiscardPolicy, PubAck, StorageType, StreamConfig

from nexthos_shared.model import Event
from nexthos_shared.model.stored import encode, read
from nexthos_shared.names import Names
from nexthos_shared.nats.asking import asked
from nexthos_shared.nats.connection import Link
from nexthos_shared.nats.consumer import Feed, open_feed

KEPT_FOR = 7 * 24 * 3600.0  # seconds
KEPT_BYTES = 64 * 1024 * 1024
SAME_WITHIN = 120.0  # seconds in which an event that is published twice is stored once
RECENT = 24 * 3600.0  # seconds
MESSAGE_ID = "Nats-Msg-Id"


@dataclass(frozen=True, slots=True)
class Events:
    """The events of one namespace."""

    link: Link
    names: Names

    @property
    def stream(self) -> str:
        """Name of the stream."""
        return self.names.events

    async def publish(self, event: Event) -> None:
        """Store one event. Raises StoreMissing, StoreUnavailable, NotPermitted."""
        stream = self.stream
        subject = self.names.event_subject(event.subject, event.data.reason)
        payload, headers = encode(event), {MESSAGE_ID: event.id}

        def send(within: float) -> Awaitable[PubAck]:
            return self.link.js.publish(subject, payload, timeout=within, headers=headers)

        await asked(self.link, f"publish an event to {stream}", stream, send, subject)

    async def since(self, seconds: float, pipeline_id: str = "*") -> list[Event]:
        """Events published at or after that moment (seconds since the epoch), oldest first."""
        async with self.feed(seconds, pipeline_id) as feed:
            found = [self.read(message) for message in await feed.stored()]
        return [event for event in found if event is not None]

    async def last(self, pipeline_id: str, count: int) -> list[Event]:
        """The last events of a pipeline within a day, oldest first."""
        return (await self.since(time.time() - RECENT, pipeline_id))[-count:]

    def feed(self, seconds: float, pipeline_id: str = "*") -> AbstractAsyncContextManager[Feed]:
        """Events from that moment on, and then each one as it is published; see `open_feed`."""
        subject = self.names.event_subject(pipeline_id, "*")
        return open_feed(self.link, self.stream, subject, since=seconds)

    def read(self, message: Msg) -> Event | None:
        """The event in a message of `feed`, or None for what somebody else published there."""
        return read(Event, message.data)

    def config(self, replicas: int) -> StreamConfig:
        """The stream as it is created."""
        return StreamConfig(
            name=self.stream,
            description="nexthos: what happened to pipelines, as CloudEvents",
            subjects=[self.names.event_subject("*", "*")],
            storage=StorageType.FILE,
            num_replicas=replicas,
            discard=DiscardPolicy.OLD,
            max_age=KEPT_FOR,
            max_bytes=KEPT_BYTES,
            duplicate_window=SAME_WITHIN,
            allow_direct=True,
        )
