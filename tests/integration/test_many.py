"""Many pipelines, many changes, many reconnects: bounds hold and nothing is left behind."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from nexthos_testing.controller import ControllerProcess, controller_process
from nexthos_testing.field import Field, field_of
from nexthos_testing.nats import NatsServer
from nexthos_testing.wait import eventually


def open_files(controller: ControllerProcess) -> int:
    assert controller.process is not None
    return len(os.listdir(f"/proc/{controller.process.pid}/fd"))


async def test_a_thousand_changes_and_fifty_reconnects_leave_consumers_and_files_as_before(
    fresh_nats: NatsServer, namespace: str, tmp_path: Path
) -> None:
    async with (
        controller_process(fresh_nats.url, namespace, tmp_path / "state") as controller,
        field_of(fresh_nats.url, namespace) as field,
    ):
        await field.echo("orders")
        await field.put("orders")
        await field.reaches("orders", "Running")
        await field.request("reconcile")
        consumers, files = await field.consumers(), open_files(controller)
        assert consumers == 2
        for n in range(1000):
            await field.put("other", "paused", name=str(n))
            if n % 20 == 0:
                await drop_connections(field)
        await field.reaches("other", "Paused")

        async def consumers_as_before() -> bool:
            return await field.consumers() == consumers

        await eventually(consumers_as_before, within=20.0)
        await eventually(lambda: open_files(controller) <= files, within=20.0)
        assert await field.says("orders") == "v1 hello"


async def drop_connections(field: Field) -> None:
    """The server throws the controller out, as a network does; it comes back by itself."""
    reply = await field.nc.request(f"$SRV.PING.{field.names.service}", b"", timeout=5.0)
    assert reply.data
    await field.nc.publish(f"{field.names.namespace}.drop", b"")
    await asyncio.sleep(0)


async def test_a_pipeline_whose_start_hangs_keeps_no_other_from_running(field: Field) -> None:
    for n in range(20):
        await field.echo(f"p{n}")
        await field.put(f"p{n}")
    for n in range(20):
        await field.reaches(f"p{n}", "Running", within=60.0)
