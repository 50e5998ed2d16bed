"""Lines of an execution's log: the engine's own are told from what else it printed."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from nexthos_controller.execution import LogLine
from nexthos_shared.untrusted_json import read_object


def read_line(raw: bytes, pipeline_id: str) -> LogLine:
    """The engine's own lines are JSON with level, message and the pipeline's id; all else is output."""
    text = raw.decode("utf-8", "replace").rstrip("\r")
    if text.startswith("{"):
        entry = read_object(raw)
        if entry is None:
            return LogLine(text, "output")
        if entry.get("pipeline") == pipeline_id and {"level", "msg"} <= entry.keys():
            return LogLine(text, "log", seconds_of(entry.get("time")))
    return LogLine(text, "output")


def seconds_of(text: object) -> float | None:
    """Seconds since the epoch of an RFC 3339 time; None if it is none."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError):  # the year 1
        return None


def own_line(message: str, pipeline_id: str) -> bytes:
    """A line in the engine's form, for what we have to say in its log."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    entry = {"level": "warn", "msg": message, "pipeline": pipeline_id, "time": now}
    return json.dumps(entry).encode() + b"\n"
