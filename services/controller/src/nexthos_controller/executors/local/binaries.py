"""Engines of this machine: the binary that a name stands for, and how one is told from another.

Comes in: the executor's context, a definition. Goes out: values, or what is wrong with them.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from nexthos_controller.executors.contract import LocalContext
from nexthos_controller.executors.shared import binding
from nexthos_shared.errors import EngineMissing
from nexthos_shared.model import Pipeline
from nexthos_shared.reasons import Reason


def binary_of(context: LocalContext, definition: Pipeline) -> Path:
    """The engine's binary. Raises EngineMissing if it is not there, or no program."""
    binary = context.engines.get(definition.engine)
    if binary is None:
        raise EngineMissing(
            binding.unknown_engine(definition.engine).message,
            reason=Reason.UNKNOWN_ENGINE,
            field="engine",
        )
    if not (binary.is_file() and os.access(binary, os.X_OK)):
        raise EngineMissing(f"{binary}: no such executable file", field="engine")
    return binary


def made_with(context: LocalContext, engine: str, connection: str) -> dict[str, str]:
    """What the settings make of these names today, to be compared with what they did."""
    binary = context.engines.get(engine)
    made = binding.made_with(context, engine, identity_of(binary) if binary else None, connection)
    return {**made, "user": str(context.engine_users or "the controller's")}


def identity_of(binary: Path) -> str:
    """What changes when another one is put in its place."""
    try:
        stat = binary.stat()
    except OSError:
        return str(binary)
    changed = datetime.fromtimestamp(stat.st_mtime, UTC).isoformat(timespec="milliseconds")
    return f"{binary} of {changed}"
