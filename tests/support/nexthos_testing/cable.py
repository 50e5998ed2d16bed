"""A cable between a client and its server, to be pulled out while both live."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import Self

_CLIENT = re.compile(rb'"name": ?"([^"]*)"')  # in what a client says of itself first


class Cable:
    """`async with Cable(port)`: connections to `url` reach 127.0.0.1:port until `pull`.

    `clog(name)` holds back what the server sends to the client of that name, as a long line of
    answers before it would.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._port = 0
        self._server: asyncio.Server | None = None
        self._lines: set[asyncio.Task[None]] = set()
        self._clogged = ""
        self._clear = asyncio.Event()
        self._clear.set()

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self._port}"

    async def plug(self) -> None:
        """Carry connections (again), at the same address."""
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def pull(self) -> None:
        """End every connection, and take no new one."""
        assert self._server is not None
        self._server.close()
        for line in self._lines:
            line.cancel()
        await asyncio.gather(*self._lines, return_exceptions=True)
        await self._server.wait_closed()

    def clog(self, name: str) -> None:
        """Until `clear`."""
        self._clogged = name
        self._clear.clear()

    def clear(self) -> None:
        """Carry everything again, what was held back first."""
        self._clear.set()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.current_task()
        assert line is not None
        self._lines.add(line)
        line.add_done_callback(self._lines.discard)
        with suppress(OSError, asyncio.CancelledError):
            there, back = await asyncio.open_connection("127.0.0.1", self._to)
            try:
                await self._both_ways(reader, back, there, writer)
            finally:
                back.close()
        writer.close()

    async def _both_ways(
        self,
        reader: asyncio.StreamReader,
        back: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        said: list[str] = []  # who the client is, once it has said so

        async def ask() -> None:
            while data := await reader.read(65536):
                if not said and (found := _CLIENT.search(data)):
                    said.append(found[1].decode())
                back.write(data)
                await back.drain()
            back.close()

        async def answer() -> None:
            while data := await there.read(65536):
                if said == [self._clogged]:
                    await self._clear.wait()
                writer.write(data)
                await writer.drain()
            writer.close()

        await asyncio.gather(ask(), answer())

    async def __aenter__(self) -> Self:
        await self.plug()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.pull()
