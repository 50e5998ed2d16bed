"""What no library sends: the bytes of NATS' own protocol, as an attacker writes them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class Raw:
    """A connection of which nothing is checked."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, line: bytes, headers: bytes = b"", data: bytes = b"") -> None:
        """`line` without its sizes, such as `PUB a` or `HPUB a reply`; returns when the server has it."""
        sizes = [str(len(headers))] if headers else []
        sizes.append(str(len(headers) + len(data)))
        self._writer.write(line + b" " + " ".join(sizes).encode() + b"\r\n")
        self._writer.write(headers + data + b"\r\nPING\r\n")
        async with asyncio.timeout(10.0):
            while (answer := await self._reader.readline()) != b"PONG\r\n":
                assert not answer.startswith(b"-ERR"), answer
                assert answer, "the server hung up"


@asynccontextmanager
async def raw_nats(url: str, **credentials: str) -> AsyncIterator[Raw]:
    """A raw connection; `credentials` are `user` and `pass`."""
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        options = {"verbose": False, "headers": True, "no_responders": True, **credentials}
        await reader.readline()
        writer.write(b"CONNECT " + json.dumps(options).encode() + b"\r\n")
        yield Raw(reader, writer)
    finally:
        writer.close()
        await writer.wait_closed()
