"""Objects in many small chunks: they cost their own pipelines time, and no other one a place."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from nexthos_shared import object_format
from nexthos_shared.errors import ConfigUnavailable, InvalidConfig
from nexthos_shared.names import digest_of
from nexthos_shared.object_format import MOST_CHUNKS, Answer, Ask, ConfigInfo
from nexthos_shared.reasons import Reason
from nexthos_testing import hostile
from nexthos_testing.hostile import raw_nats
from nexthos_testing.wait import eventually

MANY = 20


async def put_in_pieces(house, key: str, content: bytes, chunks: int) -> None:
    """An object as a client would write it that cuts after each byte; its meta says `chunks`."""
    names = house.field.names
    async with raw_nats(house.running.context.options.url) as raw:
        subject = f"$O.{names.configs}.C.{key}".encode()
        await raw.publish_many(subject, [content[i : i + 1] for i in range(len(content))])
        meta = hostile.meta(f"{key}/1", content, nuid=key, chunks=chunks)
        await raw.publish(object_format.meta_subject(names.configs, f"{key}/1").encode(), meta)


@pytest.mark.fault(102)
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("told", "reason", "words"),
    [
        (0, Reason.CONFIG_DAMAGED, f"more than {MOST_CHUNKS} chunks; put it again"),
        (3_000, Reason.CONFIG_DAMAGED, "is cut into 3000 chunks"),
        (200, Reason.CONFIG_UNAVAILABLE, "the bytes do not match what is promised"),
    ],
)
async def test_objects_of_thousands_of_chunks_keep_no_worker_from_others(
    builder, told, reason, words
):
    async with builder.house(workers=4) as house:
        for number in range(MANY):
            await put_in_pieces(house, f"slow{number}", b"x" * 3_000, told)
            await house.field.put(f"slow{number}")
        await house.publish("good")
        await house.field.reaches("good", "Running")
        complaint = await eventually(partial(complaint_of, house, "slow0", reason), within=60.0)
        assert words in complaint.message


async def complaint_of(house, key: str, reason: Reason):
    status = await house.field.status(key)
    found = status.complaint if status else None
    return found if found is not None and found.reason is reason else None


async def test_a_look_that_waits_for_bytes_gives_its_place_to_others(builder, monkeypatch):
    never = asyncio.Event()
    async with builder.house(workers=1) as house:
        configs = house.running.term.controller.facts._configs
        real = type(configs).get

        async def slow(self, pipeline_id, version, **more):
            if pipeline_id == "slow":
                await never.wait()
            return await real(self, pipeline_id, version, **more)

        monkeypatch.setattr(type(configs), "get", slow)
        await house.publish("slow")
        await house.field.reaches("slow", "Starting")
        await house.publish("good")
        await house.field.reaches("good", "Running")


def info_of(chunks: int, size: int = 1000) -> ConfigInfo:
    return ConfigInfo("orders", "1", digest_of(b"x" * size), size, "N", 1, chunks=chunks)


def ask_all(reading) -> int:
    """How often something is asked of a bucket that answers everything with one byte."""
    asked, answer = 0, None
    while True:
        ask = reading.send(answer)
        assert isinstance(ask, Ask)
        asked += 1
        if ".M." in ask.subject:
            answer = Answer(hostile.meta("orders/1", b"x" * 1000, chunks=0), 1)
        else:
            answer = Answer(b"x", (ask.after or 0) + 1)


def test_no_more_than_a_bounded_number_of_questions_is_asked():
    reading = object_format.read("b", "orders", "1", clock=lambda: 0.0)
    with pytest.raises(InvalidConfig, match=f"more than {MOST_CHUNKS} chunks; put it again"):
        ask_all(reading)


def test_a_meta_that_promises_one_chunk_is_asked_for_no_more():
    known = info_of(1)
    reading = object_format.read(
        "b", "orders", "1", digest=known.digest, known=known, clock=lambda: 0.0
    )
    assert next(reading).subject == "$O.b.C.N"
    assert ".M." in reading.send(Answer(b"x", 1)).subject


def test_a_read_that_takes_too_long_is_given_up():
    now = iter(range(0, 1000, 7))
    known = info_of(100)
    reading = object_format.read(
        "b", "orders", "1", digest=known.digest, known=known, clock=lambda: float(next(now))
    )
    with pytest.raises(ConfigUnavailable, match="could not be read within 20 s"):
        ask_all(reading)
