"""The buckets in memory, with the contract of the real ones: `test_memory_store.py` runs over both.

A virtual clock can't wait for a server. What the real server adds (its restarts, permissions, lags) is
shown by the tests that have one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar, cast

from nexthos_shared import names
from nexthos_shared.errors import ConfigChanged, ConfigMissing, NexthosError, StoreConflict
from nexthos_shared.nats.connection import Link
from nexthos_shared.store import Bucket, ConfigInfo, Configs, KvEntry
from nexthos_shared.store.identity import Identity

T = TypeVar("T")
NO_LINK = cast(Link, None)


class MemoryBucket(Bucket):
    """A KV bucket. `on_write` hears of each entry at the moment at which it is stored."""

    def __init__(self, name: str = "memory") -> None:
        super().__init__(NO_LINK, name)
        self.on_write: Callable[[KvEntry], None] = lambda _: None
        self.refuses: list[NexthosError] = []  # raised by the next writes, which are not made
        self.loses: list[NexthosError] = []  # raised by the next writes, which are made
        self._lives = 1
        self._last = 0
        self._entries: dict[str, list[KvEntry]] = {}

    async def get(self, key: str) -> KvEntry | None:
        """See Bucket."""
        self._subject(key)
        entries = self._entries.get(key)
        return entries[-1] if entries else None

    async def put(self, key: str, value: bytes) -> int:
        """See Bucket."""
        return self._write(key, value)

    async def update(self, key: str, value: bytes, revision: int, *, ttl: int | None = None) -> int:
        """See Bucket; nothing here expires."""
        return self._write(key, value, revision)

    async def delete(self, key: str, revision: int | None = None) -> None:
        """See Bucket."""
        self._write(key, None, revision)

    async def history(self, key: str) -> list[KvEntry]:
        """See Bucket."""
        self._subject(key)
        return list(self._entries.get(key, ()))

    async def each(self, what: Callable[[KvEntry], T]) -> list[T]:
        """See Bucket; in order of revisions, as a server sends them."""
        last = sorted((e[-1] for e in self._entries.values()), key=lambda e: e.revision)
        return [what(entry) for entry in last]

    async def identity(self) -> Identity:
        """See Bucket."""
        return Identity(f"life {self._lives}", self._last)

    def make_anew(self) -> None:
        """As if somebody had deleted the bucket and created it again."""
        self._lives, self._last, self._entries = self._lives + 1, 0, {}

    def _write(self, key: str, value: bytes | None, expected: int | None = None) -> int:
        self._subject(key)
        if self.refuses:
            raise self.refuses.pop(0)
        entries = self._entries.get(key, [])
        last = entries[-1].revision if entries else 0
        if expected not in (None, last):
            raise StoreConflict(f"write {self.name}/{key}: somebody else wrote it ({last})")
        self._last += 1
        entry = KvEntry(key, self._last, value)
        self._entries[key] = [*entries, entry]
        self.on_write(entry)
        if self.loses:
            raise self.loses.pop(0)
        return self._last


class MemoryConfigs(Configs):
    """The object bucket."""

    def __init__(self, name: str = "memory") -> None:
        super().__init__(NO_LINK, name)
        self._last = 0
        self._objects: dict[tuple[str, str], tuple[ConfigInfo, bytes]] = {}

    async def info(self, pipeline_id: str, version: str) -> ConfigInfo | None:
        """See Configs."""
        stored = self._objects.get((pipeline_id, version))
        return stored[0] if stored else None

    async def get(
        self,
        pipeline_id: str,
        version: str,
        *,
        digest: str | None = None,
        known: ConfigInfo | None = None,
    ) -> bytes:
        """See Configs."""
        name = names.config_object(pipeline_id, version)
        stored = self._objects.get((pipeline_id, version))
        if stored is None:
            raise ConfigMissing(f"no configuration {name} is stored")
        info, content = stored
        if digest not in (None, info.digest):
            raise ConfigChanged(f"configuration {name} is now {info.digest}, not {digest}")
        return content

    async def put(
        self, pipeline_id: str, version: str, content: bytes, *, description: str = ""
    ) -> ConfigInfo:
        """See Configs; its size is not looked at."""
        names.config_object(names.check_id(pipeline_id), names.check_version(version))
        digest = names.digest_of(content)
        stored = self._objects.get((pipeline_id, version))
        if stored is not None and stored[0].digest == digest:
            return stored[0]
        self._last += 1
        info = ConfigInfo(
            pipeline_id, version, digest, len(content), f"nuid-{self._last}", self._last
        )
        self._objects[pipeline_id, version] = info, content
        return info

    async def delete(self, pipeline_id: str, version: str) -> None:
        """See Configs."""
        self._objects.pop((pipeline_id, version), None)

    def content(self, pipeline_id: str, version: str) -> bytes | None:
        """What is stored, for whoever judges."""
        stored = self._objects.get((pipeline_id, version))
        return stored[1] if stored else None

    async def list(self, pipeline_id: str | None = None) -> list[ConfigInfo]:
        """See Configs."""
        found = sorted((i for i, _ in self._objects.values()), key=lambda i: i.revision)
        return [i for i in found if pipeline_id in (None, i.id)]


def gone(info: ConfigInfo) -> ConfigInfo:
    """As the watch tells that an object was deleted."""
    return replace(info, digest="", deleted=True)
