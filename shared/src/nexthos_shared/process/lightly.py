"""How a process that has to start fast imports the store."""

from __future__ import annotations

import importlib
import sys


def import_lightly() -> None:
    """Import the store without two libraries that it would load and not use.

    nats-py loads aiohttp, where the extra `websockets` is installed, and structlog loads rich: 0.2 s of
    CPU and 10 MB each. Both work without, so the import of the two fails here, and only here: for a
    `ws://` aiohttp is loaded later (see `nats.wire`). Without rich, a traceback in the log does not show
    the values of variables. Called after one of them was imported, this saves less and changes nothing
    else.
    """
    spared = [name for name in ("aiohttp", "rich") if name not in sys.modules]
    for name in spared:
        sys.modules[name] = None  # type: ignore[assignment]  # makes `import name` fail
    try:
        importlib.import_module("nexthos_shared.store")
    finally:
        for name in spared:
            del sys.modules[name]
