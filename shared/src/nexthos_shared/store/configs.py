"""The object bucket of configurations, in the standard Object Store format.

Reads never use nats-py's `ObjectStore.get`: it leaves a consumer behind each time, and hangs for ever
when the object is overwritten meanwhile. Metas and chunks are direct gets.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import Awaitable, Hashable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from nats.aio.msg import Msg
from nats.js.api import PubAck, RawStreamMsg

from nexthos_shared import names, object_format
from nexthos_shared.errors import ConfigUnavailable, StoreConflict
from nexthos_shared.nats.asking import asked
from nexthos_shared.nats.connection import Link
from nexthos_shared.nats.consumer import open_feed
from nexthos_shared.nats.errors import Nothing
from nexthos_shared.object_format import MAX_CONFIG_BYTES, ConfigInfo, too_large
from nexthos_shared.store.bucket import MESSAGE_ID, stored_at
from nexthos_shared.store.identity import Identity, identity_of

__all__ = ["MAX_CONFIG_BYTES", "ConfigInfo", "Configs", "too_large"]

ROLLUP = "Nats-Rollup"  # the last meta of a name is the only one
CHUNK_BYTES = 128 * 1024  # as clients cut by default


class Configs:
    """Configurations by id and version."""

    def __init__(self, link: Link, name: str) -> None:
        self.link = link
        self.name = name
        self.stream = object_format.stream_of(name)
        self._root = f"$O.{name}"

    async def info(self, pipeline_id: str, version: str) -> ConfigInfo | None:
        """What is stored under `<id>/<version>`, or None; its meta may be `broken`."""
        name = names.config_object(pipeline_id, version)
        ask = object_format.Ask(object_format.meta_subject(self.name, name))
        answer = await self._answer(ask, f"look at {self.name}/{name}")
        info = object_format.info_of(answer, pipeline_id, version)
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
        reading = object_format.read(
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

    async def _answer(self, ask: object_format.Ask, what: str) -> object_format.Answer | None:
        try:
            question = partial(self._message, ask)
            message = await asked(self.link, what, self.stream, question, ask.subject)
        except Nothing:
            return None
        return object_format.Answer(message.data or b"", message.seq or 0, stored_at(message))

    async def _message(self, ask: object_format.Ask, within: float) -> RawStreamMsg:
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
        await self._write(name, content, description)
        await self._purge([stored] if stored else [])
        written = await self.info(pipeline_id, version)
        if written is None:
            raise ConfigUnavailable(f"configuration {name}: written, but can't be read back")
        if written.digest != names.digest_of(content):
            raise StoreConflict(f"configuration {name}: somebody else overwrote it at once")
        return written

    async def delete(self, pipeline_id: str, version: str) -> None:
        """Delete; what is not there is not missed, and what can't be read is deleted like all else."""
        stored = await self.info(pipeline_id, version)
        if stored is not None:
            await self._delete(stored)
            await self._purge([stored])

    async def delete_all(self, pipeline_id: str) -> list[str]:
        """Delete all configurations of a pipeline; returns their versions."""
        stored = await self.list(pipeline_id)
        for info in stored:
            await self._delete(info)
        await self._purge(stored)
        return [info.version for info in stored]

    async def _delete(self, info: ConfigInfo) -> None:
        name = names.config_object(info.id, info.version)
        nuid = info.nuid or secrets.token_hex(11)  # clients miss it even in a deleted object
        await self._write_meta(_Meta(name, self.name, nuid, deleted=True))

    async def _write(self, name: str, content: bytes, description: str) -> None:
        """The chunks, then the meta that names them: a crash in between leaves what was there before."""
        nuid = secrets.token_hex(11)
        subject = f"{self._root}.C.{nuid}"
        size = self.link.room(CHUNK_BYTES)
        cuts = range(0, len(content), size)
        for start in cuts:
            await self._publish(name, subject, content[start : start + size])
        raw = bytes.fromhex(names.digest_of(content).removeprefix("sha256:"))
        digest = f"SHA-256={base64.urlsafe_b64encode(raw).decode()}"
        meta = _Meta(
            name, self.name, nuid, len(content), len(cuts), digest, description or None, cut=size
        )
        await self._write_meta(meta)

    async def _write_meta(self, meta: _Meta) -> None:
        subject = object_format.meta_subject(self.name, meta.name)
        await self._publish(meta.name, subject, meta.to_json(), {ROLLUP: "sub"})

    async def _publish(
        self, name: str, subject: str, payload: bytes, headers: dict[str, str] | None = None
    ) -> None:
        # The server stores what bears the same id once: a chunk that came twice would spoil the object.
        named = {**(headers or {}), MESSAGE_ID: secrets.token_hex(8)}

        def send(within: float) -> Awaitable[PubAck]:
            return self.link.js.publish(subject, payload, timeout=within, headers=named)

        await asked(self.link, f"write {self.name}/{name}", self.stream, send, subject)

    async def _purge(self, old: list[ConfigInfo]) -> None:
        """Remove the chunks of objects that are no more. Left behind they cost room and nothing else.

        Unless another meta names the same: whoever wrote one of these may have wanted those gone.
        """
        nuids = {info.nuid for info in old if info.nuid}
        if nuids:
            nuids -= {info.nuid for info in await self.list()}
        for nuid in sorted(nuids):
            subject = f"{self._root}.C.{nuid}"
            purge = partial(self._purge_once, subject)
            await asked(self.link, f"purge {subject}", self.stream, purge, subject)

    async def _purge_once(self, subject: str, within: float) -> None:
        async with asyncio.timeout(within):
            await self.link.js.purge_stream(self.stream, subject=subject)

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
        if info is None or info.broken:
            return None
        return hash((info.id, info.version)), 1 if info.deleted or not info.size else 2

    def read(self, message: Msg) -> ConfigInfo | None:
        """The info in a message of this bucket's feed; None if its name is no configuration's."""
        named = object_format.name_of(self.name, message.subject)
        if named is None:
            return None
        meta = message.metadata
        answer = object_format.Answer(
            message.data, meta.sequence.stream, meta.timestamp.timestamp()
        )
        info = object_format.info_of(answer, *named)
        if info is not None and info.broken:
            words = f"{names.config_object(*named)}: {info.broken}"
            self.link.skips.note(message.subject, info.revision, words)
        return info


@dataclass(frozen=True, slots=True)
class _Meta:
    """What the Object Store keeps of an object (ADR-20)."""

    name: str
    bucket: str
    nuid: str
    size: int = 0  # bytes
    chunks: int = 0
    digest: str = ""
    description: str | None = None
    deleted: bool = False
    cut: int = CHUNK_BYTES  # bytes of a chunk

    def to_json(self) -> bytes:
        """As clients write it; they read what time it is from the message."""
        said = {key: value for key, value in asdict(self).items() if value is not None}
        said["mtime"] = datetime.now(UTC).isoformat()
        said["options"] = {"max_chunk_size": said.pop("cut")}
        if not self.deleted:
            del said["deleted"]
        return json.dumps(said).encode()
