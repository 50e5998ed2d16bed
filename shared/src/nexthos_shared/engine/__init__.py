"""The engine as the rest of the house sees it: which one it is, how it is called, what it says.

Comes in: a binary's path, configuration bytes, an environment. Goes out: argv, an environment, what a
configuration contains, problems with line and column, readiness. Must not know executors, NATS or
where anything is stored. The measured facts behind it stand in the modules, next to what rests on them.

    profile     which distribution a binary is, its version, its command lines
    launch      the flags and the environment that an execution gets
    inspect     what a configuration contains that matters here
    tree        the same with lines and columns
    defects     what lint lets pass and the run fails on
    doubts      what runs and will hardly do what it was written for
    linting     the engine's own check, in a child that can't hang or leak
    handling    whose errors a configuration deals with itself
    schedule    cron expressions and time zones
    child       a process of the engine that ends in time
    symptoms    what goes wrong while it runs, as its log tells it
    messages    the engine's words, read as problems
    readiness   HTTP: is the process behind that port ours, and is it connected?
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nexthos_shared.engine.handling import handled
    from nexthos_shared.engine.inspect import ConfigShape, read_shape
    from nexthos_shared.engine.launch import environment, overlay
    from nexthos_shared.engine.linting import EMPTY, is_empty, lint, refused
    from nexthos_shared.engine.messages import last_error
    from nexthos_shared.engine.profile import (
        Distribution,
        EngineProfile,
        engine_version,
        locate_engine,
        profile_of,
        unusable,
    )
    from nexthos_shared.engine.readiness import Readiness, Ready, is_ready, scrape

__all__ = [
    "EMPTY",
    "ConfigShape",
    "Distribution",
    "EngineProfile",
    "Readiness",
    "Ready",
    "engine_version",
    "environment",
    "handled",
    "is_empty",
    "is_ready",
    "last_error",
    "lint",
    "locate_engine",
    "overlay",
    "profile_of",
    "read_shape",
    "refused",
    "scrape",
    "unusable",
]

# Loaded when asked for: the runner needs `launch` and `profile` without asyncio, which takes as long as
# all that it does. No module may bear the name of a function here, or it would take its place.
_HOME = {
    "environment": "launch",
    "overlay": "launch",
    "handled": "handling",
    "lint": "linting",
    "refused": "linting",
    "EMPTY": "linting",
    "is_empty": "linting",
    "last_error": "messages",
    "Distribution": "profile",
    "EngineProfile": "profile",
    "engine_version": "profile",
    "locate_engine": "profile",
    "profile_of": "profile",
    "unusable": "profile",
    "Readiness": "readiness",
    "Ready": "readiness",
    "is_ready": "readiness",
    "scrape": "readiness",
    "ConfigShape": "inspect",
    "read_shape": "inspect",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
