"""Another controller acts: the events say who took over from whom, and why."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nexthos_shared.model import Event, EventType
from nexthos_shared.nats.connection import ConnectOptions, connect
from nexthos_shared.store import Store
from nexthos_testing.controller import ControllerProcess
from nexthos_testing.field import Field, field_of
from nexthos_testing.nats import NatsServer
from nexthos_testing.two import Pair, pair_of
from nexthos_testing.wait import eventually


@pytest.fixture
async def field(nats_server: NatsServer, namespace: str) -> AsyncIterator[Field]:
    async with field_of(nats_server.url, namespace) as user:
        yield user


@pytest.fixture
async def pair(nats_server: NatsServer, field: Field, tmp_path: Path) -> AsyncIterator[Pair]:
    async with pair_of(nats_server.url, field.names.namespace, tmp_path / "state") as both:
        yield both


def holder(pair: Pair, one: ControllerProcess) -> str:
    return str(pair.said(one, "lease acquired")[-1]["holder"])


async def takeovers(server: NatsServer, field: Field) -> list[Event]:
    async with connect(ConnectOptions(server.url), name="test", daemon=False) as link:
        events = await Store.of(link, field.names).events.since(0.0)
    return [event for event in events if event.type is EventType.TAKEOVER]


@pytest.mark.fault(136)
@pytest.mark.parametrize(
    ("how", "why", "bad"),
    [
        (signal.SIGTERM, "it handed the lease over", False),
        (signal.SIGKILL, "its process ended without handing the lease over", True),
        (signal.SIGSTOP, "it did not renew the lease for", True),
    ],
)
async def test_a_takeover_is_an_event_that_says_from_whom_and_why(
    nats_server: NatsServer,
    field: Field,
    pair: Pair,
    how: signal.Signals,
    why: str,
    bad: bool,
) -> None:
    leader, began = await pair.leader(), time.time()
    other, before = pair.other(leader), holder(pair, leader)
    await pair.stands_by(other, 0.0)
    assert await takeovers(nats_server, field) == []
    assert leader.process is not None
    leader.process.send_signal(how)
    try:
        await pair.acts(other, began)

        async def told() -> list[Event]:
            return await takeovers(nats_server, field)

        (event,) = await eventually(told, within=20.0)
    finally:
        leader.process.send_signal(signal.SIGCONT) if leader.running else None
    assert f"{holder(pair, other)} acts in place of {before} on " in event.data.message
    assert why in event.data.message
    assert (event.subject, event.data.pipeline, event.data.bad) == ("_controller", "", bad)
