"""Sockets of nats-py's transport."""

from __future__ import annotations

import asyncio
from urllib.parse import urlparse

from nats.aio import client

import nexthos_shared.nats.wire  # noqa: F401  # importing it puts the transport right


async def test_a_transport_that_connects_again_leaves_no_socket_open() -> None:
    """A frozen server takes each try to connect, and never says a word."""
    taken: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: taken.append(writer), "127.0.0.1", 0)
    async with server:
        uri = urlparse(f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        transport = vars(client)["TcpTransport"]()
        await transport.connect(uri, buffer_size=100, connect_timeout=5)
        first = transport._io_writer
        await transport.connect(uri, buffer_size=100, connect_timeout=5)
        assert first is not None
        assert first.is_closing()
        assert transport._io_writer is not first
        transport.close()
        await transport.wait_closed()
        for writer in taken:
            writer.close()
            await writer.wait_closed()
