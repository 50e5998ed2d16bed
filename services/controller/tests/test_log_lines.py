"""Lines that wait for a reader: bounded in bytes, in order, and none is lost without being counted."""

from __future__ import annotations

import asyncio
import json

from hypothesis import given
from hypothesis import strategies as st

from nexthos_controller.api.log_lines import Waiting, messages, pieces
from nexthos_controller.execution import Execution, LogLine
from nexthos_shared.model import LOGS_MESSAGE_BYTES, LogsReply
from nexthos_shared.model.stored import decode

EXECUTION = Execution("ns-orders-0-1", "orders", 0, "u", "fake", "here", "", 1, "", "running")


@given(st.lists(st.text(max_size=20_000), max_size=20))
def test_messages_are_replies_of_a_bounded_size_and_hold_every_character(texts):
    lines = [p for text in texts for p in pieces(EXECUTION, LogLine(text, "output", 1.5))]
    bodies = list(messages(lines, 7, 2))
    replies = [decode(LogsReply, body) for body in bodies]

    assert all(len(body) <= LOGS_MESSAGE_BYTES for body in bodies)
    assert (replies[0].dropped, sum(r.dropped for r in replies)) == (7, 7)
    told = [
        "".join(["", line.text, "" if line.more else "\n"]) for r in replies for line in r.lines
    ]
    assert "".join(told) == "".join(f"{text}\n" for text in texts)


async def test_what_nobody_takes_is_dropped_from_the_oldest_on_and_counted():
    waiting = Waiting(limit=1000)
    for n in range(150):
        await waiting.put(b"%010d" % n)
        assert waiting.size <= 1000
    waiting.close()
    lines, dropped = await waiting.take(1.0) or ([], 0)

    assert dropped > 0
    assert [int(line) for line in lines] == list(range(dropped, 150))
    assert await waiting.take(1.0) is None


async def test_a_writer_waits_a_moment_for_a_reader_that_is_merely_busy():
    waiting = Waiting(limit=100)
    for n in range(10):
        await waiting.put(b"%010d" % n)
    writer = asyncio.create_task(waiting.put(b"the next"))
    await asyncio.sleep(0)
    taken = await waiting.take(1.0)
    await writer

    assert taken == ([b"%010d" % n for n in range(10)], 0)
    assert await waiting.take(1.0) == ([b"the next"], 0)


async def test_no_lines_come_where_there_are_none_yet():
    waiting = Waiting()

    assert await waiting.take(0.01) == ([], 0)


async def test_writers_let_others_run():
    waiting, ticks = Waiting(), 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(tick())
    for _ in range(1000):
        await waiting.put(json.dumps({}).encode())
    task.cancel()

    assert ticks > 10
