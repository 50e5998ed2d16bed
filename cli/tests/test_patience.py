"""A NATS that is away for a moment: a command goes on until its `--timeout`, and not where nothing helps."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from nexthos_shared.names import Names
from nexthos_shared.nats.connection import ConnectOptions, connect
from nexthos_shared.store import Store
from nexthos_testing.nats import NatsServer, free_port
from nexthos_testing.wait import eventually

from .conftest import NEXTHOS, PLAIN

LONG = "600s"  # longer than a test may take
COMMANDS = [
    ["ls"],
    ["setup"],
    ["apply", "new.yaml"],
    ["get", "orders"],
    ["history", "orders"],
    ["events"],
    ["scale", "orders", "--replicas", "2"],
    ["draft", "orders", "-y"],
    ["rm", "orders", "-y"],
    ["status", "orders"],
    ["restart", "orders", "-y"],
]


class Typed:
    """A command that runs; what it says is read from a file, as it is written."""

    def __init__(self, process: asyncio.subprocess.Process, said: Path) -> None:
        self.process = process
        self._said = said

    @property
    def said(self) -> str:
        return self._said.read_text()

    async def says(self, words: str) -> None:
        await eventually(lambda: words in self.said or self._ended(), within=30.0)
        assert words in self.said

    def _ended(self) -> bool:
        return self.process.returncode is not None

    async def ends(self) -> int:
        async with asyncio.timeout(40.0):
            return await self.process.wait()


@asynccontextmanager
async def typed(url: str, folder: Path, *args: str, timeout: str = LONG) -> AsyncIterator[Typed]:
    said = folder / "said"
    with said.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            NEXTHOS,
            *args,
            "--timeout",
            timeout,
            "-s",
            url,
            cwd=folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env={**os.environ, "HOME": str(folder)},
        )
    try:
        yield Typed(process, said)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """With a pipeline `orders` in its store, and a file `new.yaml` beside it."""
    (tmp_path / "new.yaml").write_text(PLAIN)
    async with NatsServer(tmp_path / "nats") as server:
        async with connect(ConnectOptions(server.url), name="test", daemon=False) as link:
            store = await Store.open(link, Names("nexthos"), create=True)
            await store.configs.put("orders", "1", PLAIN.encode())
            await store.pipelines.put("orders", b'{"status": "published", "version": "1"}')
        yield server


async def keys(server: NatsServer) -> dict[str, int]:
    """How many revisions of each key of the pipelines are kept."""
    async with connect(ConnectOptions(server.url), name="test", daemon=False) as link:
        store = await Store.open(link, Names("nexthos"), create=False)
        found = await store.pipelines.snapshot()
        return {e.key: len(await store.pipelines.history(e.key)) for e in found}


@pytest.mark.fault(135)
@pytest.mark.parametrize("args", COMMANDS, ids=lambda args: args[0])
async def test_a_command_that_is_typed_while_nats_restarts_waits_for_it(
    server: NatsServer, tmp_path: Path, args: list[str]
) -> None:
    await server.kill()
    async with typed(server.url, tmp_path, *args) as command:
        await command.says("waiting for NATS at")
        await server.start()
        assert await command.ends() == 0, command.said
    assert await keys(server) == {
        "orders": 2 if args[0] in ("scale", "draft", "rm", "restart") else 1,
        **({"new": 1} if args[0] == "apply" else {}),
    }


@pytest.mark.fault(135)
@pytest.mark.parametrize("args", COMMANDS, ids=lambda args: args[0])
async def test_a_command_that_is_typed_while_nats_is_frozen_waits_for_it(
    server: NatsServer, tmp_path: Path, args: list[str]
) -> None:
    server.signal(signal.SIGSTOP)
    try:
        async with typed(server.url, tmp_path, *args) as command:
            await command.says("waiting for NATS at")
            server.signal(signal.SIGCONT)
            assert await command.ends() == 0, command.said
    finally:
        server.signal(signal.SIGCONT)


@pytest.mark.fault(135)
async def test_a_command_whose_time_is_up_says_what_it_waited_for(tmp_path: Path) -> None:
    url = f"nats://127.0.0.1:{free_port()}"
    async with typed(url, tmp_path, "ls", timeout="1s") as command:
        assert await command.ends() == 1
        assert "can't be reached: connection refused" in command.said
        assert "waiting for NATS at" in command.said


@pytest.mark.fault(135)
async def test_what_does_not_pass_is_told_at_once(tmp_path: Path) -> None:
    async with typed("nats://no-such-host.invalid:4222", tmp_path, "ls") as command:
        assert await command.ends() == 1
        assert "can't be reached" in command.said
    login = "authorization { user: a, password: b }"
    wrong = ("--user", "a", "--password", "c")
    async with (
        NatsServer(tmp_path / "login", config=login) as server,
        typed(server.url, tmp_path, "ls", *wrong) as command,
    ):
        assert await command.ends() == 1
        assert "refuses these credentials" in command.said
    async with NatsServer(tmp_path / "plain", jetstream=None) as server:
        for args in (["ls"], ["setup"], ["rm", "orders", "-y"]):
            async with typed(server.url, tmp_path, *args) as command:
                assert await command.ends() == 1
                assert "JetStream" in command.said
    async with (
        NatsServer(tmp_path / "empty") as server,
        typed(server.url, tmp_path, "ls") as command,
    ):
        assert await command.ends() == 1
        assert "StoreMissing" in command.said


@pytest.mark.fault(135)
async def test_ctrl_c_ends_it_while_it_waits(tmp_path: Path) -> None:
    url = f"nats://127.0.0.1:{free_port()}"
    async with typed(url, tmp_path, "ls") as command:
        await command.says("waiting for NATS at")
        command.process.send_signal(signal.SIGINT)
        assert await command.ends() == 130
