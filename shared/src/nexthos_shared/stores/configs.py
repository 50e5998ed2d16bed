"""The object bucket of configurations, in the standard Object Store format.

Reads never use nats-py's `ObjectStore.get`: it leaves a consumer behind each time, and hangs for ever
when the object is overwritten meanwhile (nats-facts.md, 2). Metas and chunks are direct gets.
"""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass, field
from typing import Any

from nats.aio.msg import Msg
from nats.js.api import ObjectMeta

from nexthos_shared import names
from nexthos_shared.errors import (
    ConfigChanged,
    ConfigMissing,
    ConfigUnavailable,
    InvalidConfig,
    StoreConflict,
)
from nexthos_shared.nats_client import Link
from nexthos_shared.reasons import Reason
from nexthos_shared.stores.bucket import stored_at
from nexthos_shared.stores.door import Nothing, door
from nexthos_shared.stores.feed import open_feed
from nexthos_shared.stores.identity import Identity, identity_of

MAX_CONFIG_BYTES = 1024 * 1024
READS = 5  # attempts at the same object, before its bytes count as damaged
READ_AGAIN = 0.02  # seconds, times the number of the attempt: a follower may lag behind
READ_WITHIN = 5.0  # seconds, when the object is overwritten under each read


@dataclass(frozen=True, slots=True)
class ConfigInfo:
    """One stored configuration. `digest` is `sha256:<hex>`."""

    id: str
    version: str
    digest: str
    size: int  # bytes
    nuid: str
    revision: int
    # Seconds since the epoch. Not compared: nats-py rounds it in two ways, a microsecond apart.
    created: float = field(default=0.0, compare=False)
    deleted: bool = False


class Configs:
    """Configurations by id and version."""

    def __init__(self, link: Link, name: str) -> None:
        self.link = link
        self.name = name
        self.stream = f"OBJ_{name}"
        self._root = f"$O.{name}"

    async def info(self, pipeline_id: str, version: str) -> ConfigInfo | None:
        """What is stored under `<id>/<version>`, or None."""
        name = names.config_object(pipeline_id, version)
        subject = f"{self._root}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"
        try:
            async with door(self.link, f"look at {self.name}/{name}", self.stream, subject):
                message = await self.link.js.get_last_msg(self.stream, subject, direct=True)
        except Nothing:
            return None
        info = _info(message.data or b"", message.seq or 0, stored_at(message))
        return None if info is None or info.deleted else info

    async def get(self, pipeline_id: str, version: str, *, digest: str | None = None) -> bytes:
        """The verified bytes.

        Raises ConfigMissing, ConfigChanged (they have another digest than asked for), InvalidConfig
        (larger than 1 MiB), ConfigUnavailable (can't be read just now, or damaged).
        """
        name = names.config_object(pipeline_id, version)
        deadline = asyncio.get_running_loop().time() + READ_WITHIN
        read, nuid = 0, ""
        while read < READS and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(read * READ_AGAIN)
            info = await self.info(pipeline_id, version)
            if info is None:
                raise ConfigMissing(f"no configuration {name} is stored")
            if digest is not None and info.digest != digest:
                raise ConfigChanged(f"configuration {name} is now {info.digest}, not {digest}")
            if info.size > MAX_CONFIG_BYTES:
                raise too_large(name, info.size)
            read = read + 1 if info.nuid == nuid else 1  # overwritten: the attempts begin anew
            nuid = info.nuid
            content = await self._chunks(info)
            if content is not None:
                return content
        raise ConfigUnavailable(f"configuration {name}: the bytes do not match what is promised")

    async def _chunks(self, info: ConfigInfo) -> bytes | None:
        """The bytes if size and SHA-256 are right; None if the object was overwritten meanwhile."""
        subject = f"{self._root}.C.{info.nuid}"
        what = f"read {self.name}/{info.id}/{info.version}"
        content, sequence = b"", 0
        while len(content) < info.size:
            try:
                async with door(self.link, what, self.stream, subject):
                    message = await self.link.js.get_msg(
                        self.stream, seq=sequence + 1, next=True, direct=True, subject=subject
                    )
            except Nothing:
                return None
            content += message.data or b""
            sequence = message.seq or 0
        return content if names.digest_of(content) == info.digest else None

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
            found = [self.read(message) for message in await feed.last_of_each()]
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

    def feed(self, pattern: str = ">") -> Any:
        """`async with configs.feed() as feed`: the metas; see `open_feed`."""
        return open_feed(self.link, self.stream, f"{self._root}.M.{pattern}")

    def read(self, message: Msg) -> ConfigInfo | None:
        """The info in a message of this bucket's feed; None if its name is no configuration's."""
        meta = message.metadata
        return _info(message.data, meta.sequence.stream, meta.timestamp.timestamp())


def too_large(name: str, size: int) -> InvalidConfig:
    """The refusal of a configuration of `size` bytes."""
    return InvalidConfig(
        f"configuration {name} has {size} bytes, at most {MAX_CONFIG_BYTES} are allowed",
        reason=Reason.CONFIG_TOO_LARGE,
    )


def _info(data: bytes, revision: int, created: float) -> ConfigInfo | None:
    try:
        meta = json.loads(data)
        named = names.split_config_object(str(meta["name"]))
        if named is None:
            return None
        deleted = bool(meta.get("deleted"))
        return ConfigInfo(
            id=named[0],
            version=named[1],
            digest="" if deleted else _digest(str(meta.get("digest", ""))),
            size=int(meta.get("size", 0)),
            nuid=str(meta.get("nuid", "")),
            revision=revision,
            created=created,
            deleted=deleted,
        )
    except (ValueError, KeyError, TypeError):
        return None  # not ours to understand: another program's object


def _digest(written: str) -> str:
    """`SHA-256=<base64url>` as `sha256:<hex>`."""
    encoded = written.removeprefix("SHA-256=")
    raw = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    return f"sha256:{raw.hex()}"
