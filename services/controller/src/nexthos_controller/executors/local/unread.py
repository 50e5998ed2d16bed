"""The lines of one life's log that nobody here has read yet: one stat where there are none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from nexthos_shared.untrusted_json import read_object

MOST = 64 * 1024  # bytes read at a look; of more than that the newest


class Unread:
    """From `offset` on, the log's size when that life began."""

    def __init__(self, log: Path, offset: int = 0) -> None:
        self._log = log
        self._at = offset

    def lines(self) -> list[bytes]:
        """Whole lines since the last call. Never raises."""
        try:
            size = self._log.stat().st_size
            if size < self._at:
                self._at = 0  # it was cut
            if size == self._at:
                return []
            with self._log.open("rb") as file:
                skipped = size - self._at > MOST
                file.seek(size - MOST if skipped else self._at)
                read = file.read(MOST)
                end = file.tell()
        except OSError:
            return []
        *whole, rest = read.split(b"\n")
        self._at = end - (len(rest) if len(rest) < MOST else 0)
        return whole[1:] if skipped else whole


def entries_of(lines: Iterable[bytes], pipeline_id: str | None = None) -> Iterator[dict[str, Any]]:
    """The engine's own of them, where others may be: those that name the pipeline, and a level."""
    for raw in lines:
        if not raw.startswith(b"{"):
            continue
        entry = read_object(raw)
        if entry is not None and "level" in entry and pipeline_id in (None, entry.get("pipeline")):
            yield entry
