"""Lines on stdout, in the shape that the overlay gives the engine's: one reader for both.

Comes in: level, a sentence. Goes out: `{"level", "msg", "time", "pipeline", "version", "replica"}`. Must
not know what happens, and is silent where all is well: an engine's stdout may be its output.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress

LABELS = ("pipeline", "version", "replica")
_labels: dict[str, str] = {}


def label(labels: Mapping[str, str]) -> None:
    """Put these fields on each line from now on."""
    _labels.update(labels)


def warning(message: str) -> None:
    """It goes on, and somebody may want to know why it takes longer."""
    _write("warning", message)


def error(message: str) -> None:
    """It ends. The last such line is why."""
    _write("error", message)


def _write(level: str, message: str) -> None:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    line = json.dumps(
        {"level": level, "msg": message, "time": now, **_labels}, separators=(",", ":")
    )
    # A reader that left is no reason to end with another code. No buffer: what follows is an exec.
    with suppress(OSError):
        os.write(1, f"{line}\n".encode())
