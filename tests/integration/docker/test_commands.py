"""What runs in containers, looked at by commands, with nothing but NATS in between."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from nexthos_testing.dockyard import Dockyard
from nexthos_testing.wait import eventually

COUNTING = """\
input: {{generate: {{mapping: 'root = "{mark} %v".format(count("n"))', interval: 10ms}}}}
output: {{stdout: {{}}}}
"""


async def document(yard: Dockyard, *args: str) -> Any:
    return json.loads(await yard.does(*args, "-o", "json"))


@asynccontextmanager
async def follower(yard: Dockyard, *args: str) -> AsyncIterator[asyncio.StreamReader]:
    process = await yard.command("logs", "-f", *args)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(40.0):
            yield process.stdout
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
        assert (process.returncode, errors) == (130, b"")


async def until(stream: asyncio.StreamReader, words: str) -> list[str]:
    """Lines up to the first one with these words."""
    lines: list[str] = []
    while not lines or words not in lines[-1]:
        line = await stream.readline()
        assert line, lines[-5:]
        lines.append(line.decode())
    return lines


async def until_all(stream: asyncio.StreamReader, *words: str) -> list[str]:
    """Lines up to that with which the last of these words has come."""
    lines: list[str] = []
    while not all(any(word in line for line in lines) for word in words):
        lines += await until(stream, "")
    return lines


async def test_logs_are_followed_over_a_crash_and_a_new_version(yard: Dockyard) -> None:
    await yard.field.config("orders", COUNTING.format(mark="first"))
    await yard.field.put("orders")
    await yard.field.reaches("orders", "Running")
    async with follower(yard, "orders", "--tail", "5") as lines:
        await until_all(lines, "00\n")  # a first line that comes below is another life's
        yard.hands.kill(yard.one("orders")["Id"])
        # The daemon copies output and log each by itself: which of the two comes first is chance.
        await until_all(lines, "first 1\n", '"msg":"Running main config')
        await yard.field.config("orders", COUNTING.format(mark="second"), "2")
        await yard.field.put("orders", version="2")
        fresh = await until_all(lines, "second ", '"msg":"Running main config')
        assert next(line for line in fresh if line.startswith("second")) == "second 1\n"


async def test_logs_of_a_job_are_there_after_it_has_ended(yard: Dockyard) -> None:
    text = "input: {generate: {mapping: root = 1, count: 3}}\noutput: {stdout: {}}\n"
    await yard.field.config("load", text)
    await yard.field.put("load", lifecycle="job")
    await yard.field.reaches("load", "Completed")
    done = (await document(yard, "logs", "load"))["lines"]
    assert [line["text"] for line in done if line["stream"] == "output"] == ["1"] * 3
    assert all(line["time"] for line in done)
    last = (await document(yard, "logs", "load", "--tail", "1"))["lines"]
    assert [line["text"] for line in last] == [done[-1]["text"]]
    assert (await yard.does("logs", "load")).splitlines().count("1") == 3


async def test_status_ls_and_doctor_speak_of_the_container(yard: Dockyard) -> None:
    container = await yard.runs("orders")
    place = yard.hands.api.info()["ID"]
    told = await document(yard, "status", "orders")
    [execution] = told["status"]["executions"]
    assert execution["uid"].startswith(container[:12])
    assert (execution["executor"], execution["place"]) == ("docker", place)
    words = await yard.does("status", "orders")
    assert "docker" in words
    assert yard.one("orders")["Name"].lstrip("/") in words
    line = next(n for n in (await yard.does("ls")).splitlines() if n.startswith("orders"))
    assert ("Running" in line, "1/1" in line) == (True, True)
    assert place in await yard.does("ls", "-o", "wide")
    process = await yard.command("doctor")
    out, errors = await process.communicate()
    assert process.returncode == 0, out + errors


async def test_top_shows_what_a_container_takes_and_what_goes_through_it(yard: Dockyard) -> None:
    await yard.field.config("orders", COUNTING.format(mark="x"))
    await yard.field.put("orders")
    await yard.field.reaches("orders", "Running")

    async def shown() -> Any:
        [orders] = (await document(yard, "top", "--every", "500ms"))["pipelines"]
        rates = [orders[f"{name}_per_second"] for name in ("received", "sent")]
        return orders if all(rates) and orders["cpu_percent"] is not None else None

    orders = await eventually(shown)
    assert (orders["id"], orders["phase"], orders["ready"]) == ("orders", "Running", 1)
    assert orders["memory_bytes"] > 2**20
