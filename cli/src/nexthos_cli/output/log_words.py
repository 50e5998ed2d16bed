"""What an engine's line says, for people: time, level, message, and the component it speaks of.

Comes in: a line of a log, which may be anything. Goes out: its parts, or None where it is no JSON of an
engine's. Must not know where lines come from.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

COLOURS = {"fatal": "red", "error": "red", "warn": "yellow", "warning": "yellow"}
# What the overlay puts into each line is known to a reader who asked for the lines of one pipeline.
_OURS = {"pipeline", "version", "replica", "stream"}
_TOLD = {"level", "msg", "time", "path", "label", "@service"} | _OURS


@dataclass(frozen=True, slots=True)
class LogWords:
    """The parts of one line; `details` are what a `log` processor added."""

    level: str
    message: str
    where: str
    details: str

    @property
    def text(self) -> str:
        """`MESSAGE name=value (path)`."""
        where = f" ({self.where})" if self.where else ""
        details = f" {self.details}" if self.details else ""
        return f"{self.message}{details}{where}"


def read_log(text: str) -> LogWords | None:
    """The parts of an engine's line; None for any other line."""
    if not text.startswith("{"):
        return None
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or "msg" not in entry:
        return None
    details = (
        f"{key}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in entry.items()
        if key not in _TOLD
    )
    return LogWords(
        level=str(entry.get("level", "info")).lower(),
        message=str(entry["msg"]),
        where=str(entry.get("path") or entry.get("label") or ""),
        details=" ".join(sorted(details)),
    )


def clock(seconds: float | None) -> str:
    """The time of a line as it is here; as wide where there is none."""
    try:
        at = datetime.fromtimestamp(seconds) if seconds is not None else None
    except (ValueError, OverflowError, OSError):  # a year that no calendar has
        at = None
    return f"{at:%Y-%m-%d %H:%M:%S}" if at else "-".ljust(19)
