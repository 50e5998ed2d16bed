"""Fixtures of the tests that walk through the whole house with real containers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from nexthos_testing.dockyard import Dockyard, dockyard
from nexthos_testing.guarded import MOST
from nexthos_testing.nats import NatsServer


@pytest.fixture(scope="session")
def open_nats(
    docker_daemon: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NatsServer]:
    """One server for the whole run that containers reach too; tests keep apart by namespace."""
    folder, everyone = tmp_path_factory.mktemp("open-nats"), range(MOST)
    server = NatsServer(folder, host="0.0.0.0", namespaces=everyone)
    with asyncio.Runner() as runner:
        runner.run(server.start())
        try:
            yield server
        finally:
            runner.run(server.kill())


@pytest.fixture
async def yard(open_nats: NatsServer, namespace: str, tmp_path: Path) -> AsyncIterator[Dockyard]:
    """A controller with the docker executor, of a namespace that nobody else uses."""
    async with dockyard(open_nats, namespace, tmp_path) as there:
        yield there
