"""Fixtures of the tests that walk through the whole house: real NATS, real engines, real controller."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nexthos_testing.controller import ControllerProcess, controller_process
from nexthos_testing.field import Field, field_of
from nexthos_testing.nats import NatsServer


@pytest.fixture
async def controller(
    nats_server: NatsServer, namespace: str, tmp_path: Path
) -> AsyncIterator[ControllerProcess]:
    """A controller process of a namespace that nobody else uses."""
    async with controller_process(nats_server.url, namespace, tmp_path / "state") as running:
        yield running


@pytest.fixture
async def field(
    nats_server: NatsServer, namespace: str, controller: ControllerProcess
) -> AsyncIterator[Field]:
    """A user of that namespace."""
    async with field_of(nats_server.url, namespace) as user:
        yield user
