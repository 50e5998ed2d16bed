"""What runs, looked at by commands: real engines, a real controller, and nothing but NATS in between."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from nexthos_testing.controller import CONTROLLER, ControllerProcess, engine_processes
from nexthos_testing.field import Field
from nexthos_testing.log_reader import log_reader
from nexthos_testing.wait import eventually

NEXTHOS = CONTROLLER.parent / "nexthos"
COUNTING = """\
input: {{generate: {{mapping: 'root = "{mark} %v".format(count("n"))', interval: 10ms}}}}
output: {{stdout: {{}}}}
"""


async def command(controller: ControllerProcess, *args: str) -> asyncio.subprocess.Process:
    """The real command, in an environment that has NATS and nothing of the controller's folders."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NATS_", "NEXTHOS_"))}
    more = {"NATS_URL": controller.url, "NEXTHOS_NAMESPACE": controller.namespace}
    return await asyncio.create_subprocess_exec(
        NEXTHOS, *args, env=kept | more, stdout=-1, stderr=-1, limit=2**20
    )


@asynccontextmanager
async def follower(
    controller: ControllerProcess, *args: str
) -> AsyncIterator[asyncio.StreamReader]:
    process = await command(controller, "logs", "-f", *args)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30.0):
            yield process.stdout
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
        assert (process.returncode, errors) == (130, b"")


async def document(controller: ControllerProcess, *args: str) -> Any:
    process = await command(controller, *args, "-o", "json")
    out, errors = await process.communicate()
    assert process.returncode == 0, errors
    return json.loads(out)


async def until(stream: asyncio.StreamReader, words: str) -> list[str]:
    """Lines up to the first one with these words."""
    lines: list[str] = []
    while not lines or words not in lines[-1]:
        line = await stream.readline()
        assert line, lines[-5:]
        lines.append(line.decode())
    return lines


async def test_logs_are_followed_over_a_crash_and_a_new_version(
    field: Field, controller: ControllerProcess
) -> None:
    await field.config("orders", COUNTING.format(mark="first"))
    await field.put("orders")
    await field.reaches("orders", "Running")
    async with follower(controller, "orders", "--tail", "5") as lines:
        await until(lines, "first")
        [pid] = engine_processes(controller.state_dir)
        os.kill(pid, signal.SIGKILL)
        again = await until(lines, '"msg":"Running main config')
        assert not [line for line in again[:-1] if line.startswith("{")]
        assert (await until(lines, "first"))[-1] == "first 1\n"
        await field.config("orders", COUNTING.format(mark="second"), "2")
        await field.put("orders", version="2")
        fresh = await until(lines, "second")
        assert fresh[-1] == "second 1\n"
        assert "Running main config" in "".join(fresh)


async def test_logs_of_a_plain_request_are_those_of_the_command(
    field: Field, controller: ControllerProcess
) -> None:
    await field.config(
        "orders", "input: {generate: {mapping: root = 1, count: 3}}\noutput: {stdout: {}}\n"
    )
    await field.put("orders", lifecycle="job")
    await field.reaches("orders", "Completed")
    async with log_reader(field, "orders") as reader:
        assert await reader.until_end() == "Complete"
    assert [line["text"] for line in reader.lines if line["stream"] == "output"] == ["1"] * 3
    timed = [line["time"] for line in reader.lines if line["stream"] == "log"]
    assert timed
    assert all(timed)
    done = await document(controller, "logs", "orders", "--since", "1h")
    assert [line["text"] for line in done["lines"]] == reader.texts
    assert (await document(controller, "logs", "orders", "--tail", "1"))["lines"] == [
        reader.lines[-1]
    ]


async def test_top_shows_what_an_engine_takes_and_what_goes_through_it(
    field: Field, controller: ControllerProcess
) -> None:
    await field.config("orders", COUNTING.format(mark="x"))
    await field.put("orders")
    elsewhere = COUNTING.format(mark="y") + "metrics: {logger: {}}\n"
    await field.config("silent", elsewhere)
    await field.put("silent")
    await field.reaches("orders", "Running")
    await field.reaches("silent", "Running")

    async def shown() -> Any:
        done = await document(controller, "top", "--every", "500ms", "--sort", "rate")
        orders, silent = done["pipelines"]
        assert silent["reason"] == "MetricsNotScraped"
        assert silent["received_per_second"] is None
        rates = [orders[f"{name}_per_second"] for name in ("received", "sent")]
        return orders if all(rates) and orders["cpu_percent"] is not None else None

    orders = await eventually(shown)
    assert (orders["id"], orders["phase"], orders["ready"]) == ("orders", "Running", 1)
    assert orders["memory_bytes"] > 2**20
    assert orders["errors_per_second"] == 0
