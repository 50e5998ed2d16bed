"""The object bucket of configurations, in the standard Object Store format.

Reads never use nats-py's `ObjectStore.get`: it leaves a consumer behind each time, and hangs for ever
when the object is overwritten meanwhile (nats-facts.md, 2). Metas and chunks are direct gets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from functools import partial
from typing import Any

from nats.aio.msg import Msg
from nats.js.api import ObjectMeta, RawStreamMsg

from nexthos_shared import names, objects
from nexthos_shared.errors import ConfigUnavailable, StoreConflict
from nexthos_shared.nats_client import Link
from nexthos_shared.objects import MAX_CONFIG_BYTES, ConfigInfo, too_large
from nexthos_shared.stores.asking import asked
from nexthos_shared.stores.bucket import stored_at
from nexthos_shared.stores.door import Nothing, door
from nexthos_shared.stores.feed import open_feed
from nexthos_shared.stores.identity import Identity, identity_of

__all__ = ["MAX_CONFIG_BYTES", "ConfigInfo", "Configs", "too_large"]


class Configs:
    """Configurations by id and version."""

    def __init__(self, link: Link, name: str) -> None:
        self.link = link
        self.name = name
        self.stream = objects.stream_of(name)
        self._root = f"$O.{name}"

    async def info(self, pipeline_id: str, version: str) -> ConfigInfo | None:
        """What is stored under `<id>/<version>`, or None."""
        name = names.config_object(pipeline_id, version)
        ask = objects.Ask(objects.meta_subject(self.name, name))
        info = objects.info_of(await self._answer(ask, f"look at {self.name}/{name}"))
        return None if info is None or info.deleted else info

    async def get(
        self,
        pipeline_id: str,
        version: str,
        *,
        digest: str | None = None,
        known: ConfigInfo | None = None,
    ) -> bytes:
        """The verified bytes; `known`, if its meta was seen with that digest, saves one question.

        Raises ConfigMissing, ConfigChanged (they have another digest than asked for), InvalidConfig
        (larger than 1 MiB), ConfigUnavailable (can't be read just now, or damaged).
        """
        what = f"read {self.name}/{names.config_object(pipeline_id, version)}"
        clock = asyncio.get_running_loop().time
        reading = objects.read(
            self.name, pipeline_id, version, digest=digest, known=known, clock=clock
        )
        answer = None
        while True:
            try:
                ask = reading.send(answer)
            except StopIteration as end:
                return bytes(end.value)
            await asyncio.sleep(ask.wait)
            answer = await self._answer(ask, what)

    async def _answer(self, ask: objects.Ask, what: str) -> objects.Answer | None:
        try:
            async with door(self.link, what, self.stream, ask.subject):
                message = await asked(partial(self._message, ask))
        except Nothing:
            return None
        return objects.Answer(message.data or b"", message.seq or 0, stored_at(message))

    async def _message(self, ask: objects.Ask, within: float) -> RawStreamMsg:
        async with asyncio.timeout(within):
            if ask.after is None:
                return await self.link.js.get_last_msg(self.stream, ask.subject, direct=True)
            return await self.link.js.get_msg(
                self.stream, seq=ask.after + 1, next=True, direct=True, subject=ask.subject
            )

    async def put(
        self, pipeline_id: str, version: str, content: bytes, *, description: str = ""
    ) -> ConfigInfo:
        """Store; the same bytes once more write nothing.

        Raises InvalidConfig above 1 MiB, StoreConflict if others wrote it at the same moment.
        """
        name = names.config_object(names.check_id(pipeline_id), names.check_version(version))
        if len(content) > MAX_CONFIG_BYTES:
            raise too_large(name, len(content))
        stored = await self.info(pipeline_id, version)
        if stored is not None and stored.digest == names.digest_of(content):
            return stored
        async with door(self.link, f"write {self.name}/{name}", self.stream, self._root):
            objects = await self.link.js.object_store(self.name)
            meta = ObjectMeta(name=name, description=description or None)
            await objects.put(name, content, meta=meta)
        written = await self.info(pipeline_id, version)
        if written is None:
            raise ConfigUnavailable(f"configuration {name}: written, but can't be read back")
        if written.digest != names.digest_of(content):
            raise StoreConflict(f"configuration {name}: somebody else overwrote it at once")
        return written

    async def delete(self, pipeline_id: str, version: str) -> None:
        """Delete; what is not there is not missed."""
        name = names.config_object(pipeline_id, version)
        try:
            async with door(self.link, f"delete {self.name}/{name}", self.stream, self._root):
                objects = await self.link.js.object_store(self.name)
                await objects.delete(name)
        except Nothing:
            return

    async def list(self, pipeline_id: str | None = None) -> list[ConfigInfo]:
        """What is stored, oldest first; of one pipeline, or of all."""
        async with self.feed() as feed:
            found = await feed.last_of_each(self.read)
        return [
            info
            for info in sorted((i for i in found if i), key=lambda i: i.revision)
            if not info.deleted and pipeline_id in (None, info.id)
        ]

    async def identity(self) -> Identity:
        """Which bucket it is, and how far it got: see `Identity`."""
        return await identity_of(self.link, self.name, self.stream)

    async def created(self) -> str:
        """The bucket's birthday: one that was deleted and made again has another one."""
        return (await self.identity()).created

    def feed(self, pattern: str = ">", *, values: bool = True) -> Any:
        """`async with configs.feed() as feed`: the metas; see `open_feed`."""
        return open_feed(self.link, self.stream, f"{self._root}.M.{pattern}", values=values)

    def subjects(self, info: ConfigInfo | None) -> tuple[Hashable, int] | None:
        """Its name, and how many subjects it stands for: its meta's, and its chunks'. See `Tally`."""
        if info is None:
            return None
        return hash((info.id, info.version)), 1 if info.deleted or not info.size else 2

    def read(self, message: Msg) -> ConfigInfo | None:
        """The info in a message of this bucket's feed; None if its name is no configuration's."""
        meta = message.metadata
        answer = objects.Answer(message.data, meta.sequence.stream, meta.timestamp.timestamp())
        return objects.info_of(answer)
