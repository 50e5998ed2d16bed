"""What somebody who means harm would write: bytes for metas, entries and keys, and raw lines for NATS."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hypothesis import strategies as st

# Each stopped something once, or is next to what did.
KNOWN = [
    b"",
    b"\x00",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"{}",
    b'"x"',
    b"NaN",
    b"1e999",
    b"-1e999",
    b"9" * 5000,
    b"[" * 200_000,
    b'{"a":' * 100_000,
    b"[" * 200_000 + b"]" * 200_000,
    b'{"size": 1e999}',
    b'{"size": NaN}',
    b'{"name": "\\ud800"}',
    b'{"status": "\\udfff", "version": "\\ud800"}',
    b'"' + b'\\"' * 50_000,
    b"\xef\xbb\xbf{}",
    json.dumps({"status": "published"}).encode("utf-16"),
]

_numbers = st.one_of(
    st.integers(),
    st.sampled_from([2**63, -(2**63), 2**64, 10**400, -1, 0]),
    st.floats(allow_nan=True, allow_infinity=True),
)
_texts = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["\ud800", "a b", ">", "*", "x y 0\r\n\r\nPUB a 0", "\x1b[31m", "../..", "x" * 70_000]
    ),
)
_leaves = st.one_of(st.none(), st.booleans(), _numbers, _texts)
values = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(_texts, inner, max_size=4)
    ),
    max_leaves=12,
)


def _json(value: object) -> bytes:
    """As Python writes it: surrogates escaped, NaN and Infinity as no JSON has them."""
    return json.dumps(value).encode()


def objects(*fields: str) -> st.SearchStrategy[bytes]:
    """JSON objects with some of these fields, and anything in them."""
    named = st.dictionaries(st.sampled_from(fields), values, max_size=len(fields))
    return named.map(_json)


def anything(*fields: str) -> st.SearchStrategy[bytes]:
    """Bytes of any kind; more often objects with these fields."""
    return st.one_of(
        objects(*fields), st.sampled_from(KNOWN), values.map(_json), st.binary(max_size=200)
    )


META = ("name", "size", "chunks", "nuid", "digest", "deleted", "options", "headers", "mtime")
ENTRY = [
    "status",
    "version",
    "executor",
    "engine",
    "connection",
    "env",
    "labels",
    "replicas",
    "resources",
    "update",
    "lifecycle",
    "stop_timeout",
    "digest",
    "id",
    "options",
    "streams",
    "process",
    "docker",
]
STATUS = ("phase", "ready", "memory", "executions", "conditions", "updated_at", "observed_revision")
CLAIM = ("holder", "host", "since", "ttl", "life", "process", "released")
REQUEST = (
    "id",
    "timeout",
    "limit",
    "cursor",
    "labels",
    "tail",
    "follow",
    "replica",
    "phase",
    "ids",
)


def meta(name: str, content: bytes = b"", /, **more: object) -> bytes:
    """The meta of an object, right but for what is said otherwise."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode()
    said = {
        "name": name,
        "size": len(content),
        "chunks": 1,
        "nuid": "N",
        "digest": f"SHA-256={digest}",
    }
    return json.dumps(said | more).encode()


class RawNats:
    """A connection that sends what it is told, whether a client library would or not."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def publish(
        self, subject: bytes, body: bytes = b"", *, reply: bytes = b"", head: bytes | None = None
    ) -> None:
        """PUB, or HPUB with these very bytes as its headers; returns when the server has read it."""
        words = [subject, *([reply] if reply else [])]
        if head is None:
            line = b"PUB " + b" ".join([*words, b"%d" % len(body)])
        else:
            sizes = [b"%d" % len(head), b"%d" % (len(head) + len(body))]
            line = b"HPUB " + b" ".join([*words, *sizes])
        self._writer.write(line + b"\r\n" + (head or b"") + body + b"\r\n")
        await self._read()

    async def publish_many(self, subject: bytes, bodies: list[bytes]) -> None:
        """One after the other; the server is waited for at the end."""
        for body in bodies:
            self._writer.write(b"PUB %s %d\r\n%s\r\n" % (subject, len(body), body))
        await self._read()

    async def _read(self) -> None:
        self._writer.write(b"PING\r\n")
        while (said := await self._reader.readline()) != b"PONG\r\n":
            assert not said.startswith(b"-ERR"), said
            assert said, "the server closed the connection"


@asynccontextmanager
async def raw_nats(url: str) -> AsyncIterator[RawNats]:
    """A connection to the server at `url`."""
    host, _, port = url.removeprefix("nats://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        await reader.readline()
        writer.write(b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"protocol":1}\r\n')
        yield RawNats(reader, writer)
    finally:
        writer.close()
        await writer.wait_closed()
