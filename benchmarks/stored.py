"""Thousands of stored pipelines, put as the `nats` CLI puts them, and fast.

Comes in: a namespace and a number. Goes out: definitions of some 400 bytes, each with its configuration.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets

from benchmarks.ground import Ground
from nexthos_shared.names import Names
from nexthos_shared.nats.connection import ConnectOptions, connect
from nexthos_shared.store import Store
from nexthos_testing.wait import eventually

WITHIN = 600.0  # seconds
CONFIG = b"input: {generate: {interval: 60s, mapping: 'root = 1'}}\noutput: {drop: {}}\n"


async def fill(here: Ground, namespace: str, size: int) -> None:
    """As the `nats` CLI stores them, without waiting for each."""
    options = ConnectOptions(here.url)
    async with connect(options, name="bench", daemon=False) as link:
        await Store.open(link, Names(namespace), create=True)
    for number in range(size):
        await store(here, namespace, f"p{number:06d}")
        if number % 200 == 0:
            await here.nc.flush()
    stream = f"KV_{namespace}-pipelines"
    for number in range(size):
        await put(here, namespace, f"p{number:06d}", number)
        if number % 500 == 0:
            await here.nc.flush()
    await eventually(lambda: _holds(here, stream, size), within=WITHIN, every=0.05)


async def _holds(here: Ground, stream: str, size: int) -> bool:
    return bool((await here.nc.jetstream().stream_info(stream)).state.messages >= size)


async def put(here: Ground, namespace: str, key: str, number: int = 0) -> None:
    """A definition, without waiting for the server."""
    await here.nc.publish(f"$KV.{namespace}-pipelines.{key}", _definition(number))


async def store(here: Ground, namespace: str, key: str) -> None:
    """A configuration object: its one chunk and its meta. Without waiting for the server."""
    nuid, name = secrets.token_hex(11), f"{key}/1"
    digest = base64.urlsafe_b64encode(hashlib.sha256(CONFIG).digest()).decode()
    meta = {
        "name": name,
        "bucket": f"{namespace}-configs",
        "nuid": nuid,
        "size": len(CONFIG),
        "mtime": "2026-01-01T00:00:00Z",
        "chunks": 1,
        "digest": f"SHA-256={digest}",
        "options": {"max_chunk_size": 128 * 1024},
    }
    encoded = base64.urlsafe_b64encode(name.encode()).decode()
    await here.nc.publish(f"$O.{namespace}-configs.C.{nuid}", CONFIG)
    await here.nc.publish(f"$O.{namespace}-configs.M.{encoded}", json.dumps(meta).encode())


def _definition(number: int) -> bytes:
    entry = {
        "status": "published",
        "version": "1",
        "name": f"Pipeline {number}",
        "description": "One of many, with as much said of it as people usually say",
        "labels": {"team": "a", "number": str(number)},
        "env": {"REGION": "eu", "SHARD": str(number)},
        "update": {"strategy": "recreate", "ready_timeout": "30s"},
    }
    return json.dumps(entry).encode()
