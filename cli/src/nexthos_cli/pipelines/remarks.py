"""What a stored configuration has to say to whoever scales its pipeline, or removes it.

Comes in: a key. Goes out: sentences for stderr. What can't be read says nothing: none of it refuses anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from nexthos_shared.errors import NexthosError
from nexthos_shared.model.entries import read_definition, read_status

if TYPE_CHECKING:
    from nexthos_shared.store import Store

MOST = 100  # pipelines of one command that are looked at: each costs two questions more


async def of_replicas(store: Store, key: str, replicas: int) -> list[str]:
    """What so many replicas of it can't share, with the line and the recipe."""
    from nexthos_shared.engine.doubts import Where, unshared

    content, environment, executor = await _stored(store, key)
    where = Where(executor=executor, replicas=replicas)
    told = await asyncio.to_thread(unshared, content, environment, where)
    return [
        f"warning: pipeline {key}:{problem.where}: {problem.message} ({problem.reason})"
        for problem in told
    ]


async def of_consumers(store: Store, key: str) -> list[str]:
    """Which consumers stay behind it in NATS, and hold back what their streams may drop."""
    from nexthos_shared.engine.doubts import durables

    content, environment, _ = await _stored(store, key)
    told = await asyncio.to_thread(durables, content, environment)
    return [
        f"pipeline/{key}: its consumer {durable!r} stays, with its position: "
        f"`nats consumer rm {stream or 'STREAM'} {durable}` removes it"
        for stream, durable in told
    ]


async def _stored(store: Store, key: str) -> tuple[bytes, Mapping[str, str], str]:
    """Bytes, variables and executor, as far as they can be read."""
    try:
        entry = read_definition(await store.pipelines.get(key)) or {}
        version = entry.get("version")
        content = await store.configs.get(key, version) if isinstance(version, str) else b""
        status = read_status(await store.statuses.get(key))
    except NexthosError:
        return b"", {}, ""
    env, executor = entry.get("env"), entry.get("executor")
    if executor is None and status is not None:
        executor = next((e.executor for e in status.executions), None)
    return content, env if isinstance(env, dict) else {}, str(executor or "process")
