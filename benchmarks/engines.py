"""Engines that somebody starts by hand: one configuration each, or a host of many streams.

Comes in: files and bodies. Goes out: processes that end with their block, and what a host answers. Uses
nothing of the controller, except to read which port and password one of its hosts has.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from nexthos_controller.executors.shared.ports import free_port
from nexthos_shared import engine
from nexthos_shared.engine.readiness import Connection
from nexthos_testing.controller import engine_processes
from nexthos_testing.wait import eventually

USER = "nexthos"  # of the controller's hosts


async def command(file: Path) -> list[str]:
    """What starts the default engine with a configuration."""
    binary = engine.locate_engine()
    return (await engine.profile_of(binary)).run_command(binary, file)


@asynccontextmanager
async def by_hand(argv: list[str], url: str, log: Path) -> AsyncIterator[int]:
    """An engine beside ours, with the environment that ours has; its PID. It is ended with the block."""
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *argv,
            env={"PATH": os.defpath, "NATS_URL": url},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


class Host:
    """The REST API of one engine in streams mode, over one connection."""

    def __init__(self, pid: int, port: int, root: str = "", password: str = "") -> None:
        self.pid = pid
        self.port = port
        basic = base64.b64encode(f"{USER}:{password}".encode()).decode()
        self._headers = f"Authorization: Basic {basic}\r\n" if password else ""
        self._root = root
        self._connection: Connection | None = None

    async def __aenter__(self) -> Self:
        self._connection = await Connection.open("127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._connection is not None
        await self._connection.close()

    async def create(self, name: str, body: bytes) -> None:
        """The raw POST."""
        status, said = await self._ask("POST", f"/streams/{name}", body)
        if status != 200:
            raise RuntimeError(f"{name}: {status} {said.decode()}")

    async def delete(self, name: str) -> None:
        """End a stream, and wait until it has."""
        await self._ask("DELETE", f"/streams/{name}")

    async def is_ready(self, name: str) -> bool:
        """Whether that stream is there and connected."""
        return (await self._ask("GET", f"/{name}/ready"))[0] == 200

    async def streams(self) -> dict[str, dict[str, Any]]:
        """Everything in it: `active`, `uptime` in seconds."""
        status, body = await self._ask("GET", "/streams")
        if status != 200:
            raise RuntimeError(f"/streams: {status}")
        return dict(json.loads(body))

    async def _ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        assert self._connection is not None
        return await self._connection.request(method, f"{self._root}{path}", body, self._headers)


@asynccontextmanager
async def host_by_hand(folder: Path, url: str) -> AsyncIterator[Host]:
    """An engine in streams mode without any stream."""
    port, file = free_port(()), folder / "host.yaml"
    config = {"http": {"address": f"127.0.0.1:{port}"}, "logger": {"format": "json"}}
    file.write_text(json.dumps(config))  # JSON is YAML
    async with by_hand([*await command(file), "streams"], url, folder / "host.log") as pid:
        await eventually(lambda: _listens(port))
        async with Host(pid, port) as host:
            yield host


async def _listens(port: int) -> bool:
    try:
        connection = await Connection.open("127.0.0.1", port)
    except OSError:
        return False
    await connection.close()
    return True


def hosts_of(state_dir: Path) -> list[Host]:
    """Those that run for a controller, not opened yet."""
    alive, found = engine_processes(state_dir), []
    for file in sorted(state_dir.glob("hosts/[0-9]*/host.json")):
        handle = json.loads(file.read_bytes())
        root = str(file.with_name("root.yaml"))
        pids = [pid for pid, argv in alive.items() if root in argv]
        found += [Host(pid, handle["port"], handle["token"], handle["password"]) for pid in pids]
    return found
