"""What a user has: NATS. Puts definitions and configurations, sends messages, looks at what comes out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import nats
from nats.aio.client import Client
from nats.errors import TimeoutError as NatsTimeout

from nexthos_shared.model import Event, Phase, PipelineStatus
from nexthos_shared.model.stored import decode
from nexthos_shared.names import Names, config_object
from nexthos_shared.reasons import Reason
from nexthos_testing.wait import eventually

ECHO = """\
input:
  nats:
    urls: ["${{NATS_URL}}"]
    subject: {inlet}
    queue: q
pipeline:
  processors:
    - mapping: root = "{mark} " + content().string()
output:
  nats: {{urls: ["${{NATS_URL}}"], subject: {outlet}}}
"""


@dataclass
class Field:
    """The store as the `nats` CLI writes it, and the subjects of echo pipelines."""

    nc: Client
    names: Names

    @property
    def js(self) -> Any:
        return self.nc.jetstream()

    async def pipelines(self) -> Any:
        return await self.js.key_value(self.names.pipelines)

    async def put(
        self, key: str, status: str = "published", version: str = "1", **more: Any
    ) -> int:
        """`nats kv put <ns>-pipelines KEY {...}`."""
        entry = {"status": status, "version": version, **more}
        return await self.put_raw(key, json.dumps(entry).encode())

    async def put_raw(self, key: str, value: bytes) -> int:
        return int(await (await self.pipelines()).put(key, value))

    async def delete(self, key: str) -> None:
        await (await self.pipelines()).delete(key)

    async def config(self, key: str, text: str | bytes, version: str = "1") -> None:
        """`nats object put <ns>-configs --name KEY/VERSION FILE`."""
        objects = await self.js.object_store(self.names.configs)
        content = text.encode() if isinstance(text, str) else text
        await objects.put(config_object(key, version), content)

    async def echo(self, key: str, mark: str = "v1", version: str = "1") -> None:
        """Store a configuration that answers each message of `<ns>.in.KEY` with `MARK message`."""
        await self.config(key, self.echo_text(key, mark), version)

    def echo_text(self, key: str, mark: str = "v1") -> str:
        inlet, outlet = self.inlet(key), self.outlet(key)
        return ECHO.format(inlet=inlet, outlet=outlet, mark=mark)

    def inlet(self, key: str) -> str:
        return f"test.{self.names.namespace}.in.{key}"

    def outlet(self, key: str) -> str:
        return f"test.{self.names.namespace}.out.{key}"

    async def says(self, key: str, within: float = 15.0) -> str:
        """Send messages until one comes out, and return it: the proof that a pipeline runs."""
        replies = await self.nc.subscribe(self.outlet(key))
        try:
            async with asyncio.timeout(within):
                while True:
                    await self.nc.publish(self.inlet(key), b"hello")
                    try:
                        return (await replies.next_msg(timeout=0.1)).data.decode()
                    except NatsTimeout:
                        continue
        finally:
            await replies.unsubscribe()

    async def until_it_says(self, key: str, words: str, within: float = 15.0) -> None:
        """Wait until messages come out like that."""
        async with asyncio.timeout(within):
            while await self.says(key, within) != words:
                pass

    async def is_silent(self, key: str) -> bool:
        """Whether nobody listens to the pipeline's input: NATS itself says so."""
        try:
            await self.nc.request(self.inlet(key), b"hello", timeout=0.2)
        except nats.errors.NoRespondersError:
            return True
        except NatsTimeout:
            return False
        return False

    async def status(self, key: str) -> PipelineStatus | None:
        """The stored status; None if there is none that can be read."""
        bucket = await self.js.key_value(self.names.status)
        try:
            stored = await bucket.get(key)
            return decode(PipelineStatus, stored.value) if stored.value else None
        except (nats.js.errors.KeyNotFoundError, ValueError):
            return None

    async def events_with(self, key: str, reason: Reason) -> list[Event]:
        """The same, once such an event is among them: they are published after the status is stored."""

        async def told() -> list[Event]:
            found = await self.events(key)
            return found if any(e.data.reason is reason for e in found) else []

        events: list[Event] = await eventually(told)
        return events

    async def events(self, key: str = "*") -> list[Event]:
        """What happened to a pipeline so far, oldest first: `nats stream view <ns>-events`."""
        found: list[Event] = []
        subject = self.names.event_subject(key, "*")
        consumer = await self.js.subscribe(subject, ordered_consumer=True)
        try:
            while (await consumer.consumer_info()).num_pending or consumer.pending_msgs:
                found.append(decode(Event, (await consumer.next_msg(timeout=1.0)).data))
        finally:
            name = consumer._consumer
            await consumer.unsubscribe()
            await self.js.delete_consumer(self.names.events, name)
        return found

    async def phase(self, key: str) -> str | None:
        status = await self.status(key)
        return str(status.phase) if status else None

    async def reaches(self, key: str, phase: Phase | str, within: float = 20.0) -> PipelineStatus:
        """Wait for a phase that speaks of what is stored now."""
        revision = await self._revision(key)

        async def there() -> PipelineStatus | None:
            status = await self.status(key)
            if status is None or status.observed_revision < revision:
                return None
            return status if str(status.phase) == str(phase) else None

        async def shown() -> Any:
            return await there() or _Not(await self.status(key))

        found = await eventually(shown, within=within)
        assert isinstance(found, PipelineStatus)
        return found

    async def complains(self, key: str, reason: Reason, within: float = 10.0) -> PipelineStatus:
        """Wait until that is what is wrong."""

        async def told() -> Any:
            status = await self.status(key)
            complaint = status.complaint if status else None
            return status if complaint and complaint.reason is reason else _Not(status)

        found = await eventually(told, within=within)
        assert isinstance(found, PipelineStatus)
        return found

    async def restarted(self, key: str, times: int, within: float = 20.0) -> PipelineStatus:
        """Wait until the status says that it runs again, after that many ends."""

        async def there() -> Any:
            status = await self.status(key)
            good = status is not None and str(status.phase) == "Running"
            return status if good and status and status.restarts == times else _Not(status)

        found = await eventually(there, within=within)
        assert isinstance(found, PipelineStatus)
        return found

    async def _revision(self, key: str) -> int:
        try:
            return int((await (await self.pipelines()).get(key)).revision)
        except nats.js.errors.KeyNotFoundError:
            return 0

    async def request(self, endpoint: str, **body: Any) -> Any:
        """`nats micro request <ns> ENDPOINT BODY`."""
        return await self.request_raw(endpoint, json.dumps(body).encode())

    async def request_raw(self, endpoint: str, body: bytes, timeout: float = 10.0) -> Any:
        reply = await self.nc.request(self.names.endpoint(endpoint), body, timeout=timeout)
        return json.loads(reply.data) | {"headers": reply.headers or {}}

    async def consumers(self) -> int:
        """How many consumers the server keeps for this namespace's streams."""
        count = 0
        for name in (
            f"KV_{self.names.pipelines}",
            f"OBJ_{self.names.configs}",
            f"KV_{self.names.status}",
        ):
            count += (await self.js.stream_info(name)).state.consumer_count
        return count


class _Not:
    """Not there yet; shows the status it saw in a failure's message."""

    def __init__(self, status: PipelineStatus | None) -> None:
        self._status = status

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return f"status is {self._status!r}"


@asynccontextmanager
async def field_of(url: str, namespace: str) -> AsyncIterator[Field]:
    """A user's connection to the namespace."""
    nc = await nats.connect(url)
    try:
        yield Field(nc, Names(namespace))
    finally:
        await nc.close()
