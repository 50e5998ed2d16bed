"""What was asked of the daemon is done, and the answer gets lost: it is found, and done once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nexthos_testing.deaf import DeafWire
from nexthos_testing.docker import SOCKET
from nexthos_testing.dockyard import Dockyard, dockyard
from nexthos_testing.nats import NatsServer
from nexthos_testing.wait import eventually


@pytest.fixture
async def deaf(
    open_nats: NatsServer, namespace: str, tmp_path: Path
) -> AsyncIterator[tuple[DeafWire, Dockyard]]:
    """A controller whose wire to the daemon may lose answers."""
    wire = DeafWire(SOCKET)
    try:
        async with dockyard(open_nats, namespace, tmp_path, {"host": wire.address}) as yard:
            yield wire, yard
    finally:
        wire.close()


@pytest.mark.fault(5)
@pytest.mark.parametrize(
    "request_line",
    ["POST /v[^ ]+/containers/create", "POST /v[^ ]+/containers/[0-9a-f]+/start"],
    ids=["create", "start"],
)
async def test_when_the_answer_to_its_start_is_lost_the_one_container_is_taken_up(
    deaf: tuple[DeafWire, Dockyard], request_line: str
) -> None:
    wire, yard = deaf
    wire.lose(request_line)
    await yard.field.echo("orders")
    await yard.field.put("orders")
    await eventually(wire.lost.is_set)
    await eventually(yard.containers)
    first = yard.one("orders")["Id"]
    assert await yard.field.says("orders") == "v1 hello"
    status = await yard.field.reaches("orders", "Running")
    assert (yard.one("orders")["Id"], status.restarts, status.drifts) == (first, 0, 0)


@pytest.mark.parametrize(
    "request_line", ["POST /v[^ ]+/kill", "DELETE /v[^ ]+/containers/"], ids=["kill", "remove"]
)
async def test_when_the_answer_to_its_end_is_lost_it_is_gone_all_the_same(
    deaf: tuple[DeafWire, Dockyard], request_line: str
) -> None:
    wire, yard = deaf
    await yard.runs("orders")
    wire.lose(request_line)
    await yard.field.delete("orders")
    await eventually(wire.lost.is_set)
    await yard.gone("orders")
    assert (yard.containers("orders"), yard.left("orders")) == ([], [])
