"""What is stored of pipelines, as far as the watch has brought it.

Keeps bytes and revisions, and understands an entry when it is asked for (scale-facts.md: decoded
models of 10,000 entries cost 45 MB more than their bytes).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic_core import from_json

from nexthos_shared import names
from nexthos_shared.model import MAX_DEFINITION_BYTES, Entry, read_entry
from nexthos_shared.store import KvEntry
from nexthos_shared.store.watch import Snapshot


@dataclass(frozen=True, slots=True)
class Brief:
    """What a look must know of an entry before it can say that nothing has changed."""

    revision: int | None = None  # None: neither an entry nor a marker is known
    content: int = 0  # a hash of it: in a bucket that was put back, a revision comes a second time
    version: str | None = None
    executor: str | None = None


NOTHING = Brief()

# One look asks three or four times; this many are looked at or waited for at about the same time.
_understood = lru_cache(maxsize=256)(read_entry)


class Desired:
    """Entries by key, markers included."""

    def __init__(self) -> None:
        self._entries: dict[str, KvEntry] = {}
        self._briefs: dict[str, Brief] = {}

    def __len__(self) -> int:
        """Keys that hold a definition."""
        return sum(1 for e in self._entries.values() if e.value is not None)

    def keys(self) -> list[str]:
        """Every key that was seen, markers included."""
        return list(self._entries)

    def stored(self, key: str) -> KvEntry | None:
        """The raw entry, or None if neither an entry nor a marker is known."""
        return self._entries.get(key)

    def entry(self, key: str) -> Entry | None:
        """The entry, understood as far as possible."""
        stored = self._entries.get(key)
        return _understood(key, stored.revision, stored.value) if stored else None

    def brief(self, key: str) -> Brief:
        """The entry in brief; read once per revision. To understand it takes ten times as long."""
        stored, known = self._entries.get(key), self._briefs.get(key)
        if stored is None:
            self._briefs.pop(key, None)
            return NOTHING
        content = hash(stored.value)
        if known is None or (known.revision, known.content) != (stored.revision, content):
            known = self._briefs[key] = self._brief(stored, content)
        return known

    def replace(self, snapshot: Snapshot[KvEntry]) -> set[str]:
        """Take over a snapshot of all entries; returns the keys that differ.

        One of the same bucket never puts an older revision back (scale-facts.md), one of a re-created
        bucket replaces everything.
        """
        listed = {e.key: e for e in snapshot.entries}
        if snapshot.changed_identity:
            keys = self._entries.keys() | listed.keys()
            self._entries = listed
            return keys
        changed = {entry.key for entry in snapshot.entries if self.change(entry)}
        newest = max((e.revision for e in snapshot.entries), default=0)
        newest = max(
            newest, snapshot.whole_to
        )  # where the last ones are gone, nothing tells by itself
        gone = self._entries.keys() - listed.keys()
        gone = {key for key in gone if self._entries[key].revision <= newest}
        for key in gone:
            del self._entries[key]
        return changed | gone

    def change(self, entry: KvEntry) -> bool:
        """Take over one entry; returns whether it is another one than is known."""
        known = self._entries.get(entry.key)
        if known is not None and known.revision >= entry.revision:
            return False
        self._entries[entry.key] = entry
        return True

    def _brief(self, stored: KvEntry, content: int) -> Brief:
        written = _read(stored.value)
        version, executor = written.get("version"), written.get("executor")
        if executor is not None:  # what is refused asks for none
            entry = self.entry(stored.key)
            executor = entry.pipeline.executor if entry and entry.pipeline else None
        # One of 10,000 characters, asked for as a subject, has the server close the connection.
        named = None
        if isinstance(version, str) and names.is_version(version):
            named = sys.intern(version)
        return Brief(stored.revision, content, named, executor)


def _read(value: bytes | None) -> dict[str, Any]:
    """The fields as they are written; none where it is no JSON object."""
    try:
        written = from_json(value or b"") if len(value or b"") <= MAX_DEFINITION_BYTES else None
    except ValueError:
        written = None
    return written if isinstance(written, dict) else {}
