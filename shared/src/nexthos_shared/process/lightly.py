"""How a process that has to start fast imports the store."""

from __future__ import annotations

import importlib
import sys


def import_lightly() -> None:
    """Import the store, less two libraries that it would load and not use.

    nats-py loads aiohttp for WebSockets, structlog loads rich for tracebacks: 0.2 s of CPU and more. Both
    do without if the import fails, so it fails while they are loaded, and only then: aiohttp is there
    for a `ws://` (see `nats.connection`). Structlog's tracebacks stay without rich, which would show the
    values of variables.
    """
    spared = [name for name in ("aiohttp", "rich") if name not in sys.modules]
    for name in spared:
        sys.modules[name] = None  # type: ignore[assignment]  # makes `import name` fail
    try:
        importlib.import_module("nexthos_shared.store")
    finally:
        for name in spared:
            del sys.modules[name]
