"""What is stored of pipelines, as far as the watch has brought it.

Keeps bytes and revisions, and understands an entry when it is asked for: decoded models of 10,000 entries
take 45 MB more than their bytes.
"""

from __future__ import annotations

from functools import lru_cache

from nexthos_shared.model import Entry, read_entry
from nexthos_shared.store import KvEntry
from nexthos_shared.store.watch import Snapshot

# One look asks three or four times; this many are looked at or waited for at about the same time.
_understood = lru_cache(maxsize=256)(read_entry)


class Desired:
    """Entries by key, markers included."""

    def __init__(self) -> None:
        self._entries: dict[str, KvEntry] = {}

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

    def stamp(self, key: str) -> tuple[int, int]:
        """Another whenever the entry is another: a bucket that was put back counts its revisions anew."""
        stored = self._entries.get(key)
        return (stored.revision, hash(stored.value)) if stored else (0, 0)

    def replace(self, snapshot: Snapshot[KvEntry]) -> set[str]:
        """Take over a snapshot of all entries; returns the keys that differ.

        One of the same bucket never puts an older revision back, one of a re-created
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
