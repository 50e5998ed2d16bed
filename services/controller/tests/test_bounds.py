"""Floods of requests: each endpoint has bounds of its own, and nothing is held for who left."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.errors import TimeoutError as NatsTimeout

from nexthos_controller.api import inbox
from nexthos_controller.api import leader as answers
from nexthos_controller.api.endpoint import Endpoint
from nexthos_controller.api.in_flight import Line
from nexthos_shared.model import StatusRequest
from nexthos_testing.house import CONFIG, Builder, House
from nexthos_testing.log_reader import in_flight
from nexthos_testing.wait import eventually

MOST = 64  # reconciles at once


@pytest.fixture
def gate(builder: Builder) -> asyncio.Event:
    """Until it is set the pipeline `slow` stays Starting."""
    gate = builder.world.faults.hang["start", "slow"] = asyncio.Event()
    return gate


@pytest.fixture
async def slow(builder: Builder, gate: asyncio.Event) -> AsyncIterator[House]:
    async with builder.house() as house:
        await house.field.config("slow", CONFIG)
        await house.field.put("slow")
        await house.field.reaches("slow", "Starting")
        yield house


@pytest.fixture
async def stranger(slow: House) -> AsyncIterator[Client]:
    """Whoever asks, and may leave."""
    nc = await nats.connect(slow.running.context.options.url)
    yield nc
    await nc.close()


async def reconciling(nc: Client, house: House, count: int, **request: Any) -> list[Any]:
    """As many requests at once, all of one connection; their replies, where one came in time."""
    subject, body = house.field.names.endpoint("reconcile"), json.dumps(request).encode()
    asked = (nc.request(subject, body, timeout=20) for _ in range(count))
    replies = await asyncio.gather(*asked, return_exceptions=True)
    return [json.loads(r.data) if not isinstance(r, BaseException) else r for r in replies]


async def free(house: House) -> bool:
    return await in_flight(house.field) == 0


async def test_a_day_is_no_timeout(slow: House, stranger: Client) -> None:
    replies = await reconciling(stranger, slow, 70, id="slow", timeout=86400)
    assert {reply["code"] for reply in replies} in ({400}, {400, 429})  # all came at once
    assert "300" in next(reply["message"] for reply in replies if reply["code"] == 400)
    assert await free(slow)


@pytest.mark.fault(90)
async def test_beyond_its_places_an_endpoint_says_so_and_others_answer(
    slow: House, stranger: Client, gate: asyncio.Event
) -> None:
    asked = asyncio.create_task(reconciling(stranger, slow, 100, id="slow", timeout="4m"))

    async def full() -> bool:
        return await in_flight(slow.field) == MOST

    await eventually(full)
    refused = await slow.field.request("reconcile", id="slow")
    assert (refused["code"], refused["reason"]) == (429, "TooManyRequests")
    assert (await slow.field.request("status", id="slow"))["status"]["phase"] == "Starting"
    assert (await slow.field.request("list"))["total"] == 1
    assert len((await slow.field.request("usage"))["pipelines"]) == 1
    assert (await slow.field.request("logs", id="nobody"))["code"] == 404
    gate.set()
    told = Counter(reply.get("reason", reply.get("unsettled")) for reply in await asked)
    assert told == {0: MOST, "TooManyRequests": 100 - MOST}
    await eventually(lambda: free(slow))


@pytest.mark.fault(90)
async def test_places_of_those_that_left_are_free_again(
    slow: House, stranger: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "UNHEARD", 0.1)
    subject = slow.field.names.endpoint("reconcile")
    asked = asyncio.create_task(reconciling(stranger, slow, 50, id="slow", timeout="5m"))
    for _ in range(MOST - 50):
        await slow.field.nc.publish(subject, b'{"id": "slow", "timeout": "5m"}')  # and no reply
    await eventually(lambda: in_flight(slow.field))
    asked.cancel()
    await stranger.close()
    await eventually(lambda: free(slow))
    reply = await slow.field.request("reconcile", id="slow", timeout="10ms")
    assert reply["unsettled"] == 1


async def test_whoever_listens_to_all_its_replies_is_waited_for(
    slow: House, gate: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[bool] = []
    waits = inbox.Asking._waits

    async def noted(self: inbox.Asking) -> bool:
        looks.append(await waits(self))
        return looks[-1]

    monkeypatch.setattr(inbox, "UNHEARD", 0.02)
    monkeypatch.setattr(inbox, "ANSWER_WITHIN", 0.02)
    monkeypatch.setattr(inbox.Asking, "_waits", noted)
    asked = asyncio.create_task(slow.field.request("reconcile", id="slow", timeout="4m"))
    await eventually(lambda: len(looks) >= 5)
    assert not asked.done()
    gate.set()
    assert (await asked)["unsettled"] == 0
    assert set(looks) == {True}


async def test_whoever_listens_to_one_reply_alone_is_told_early_how_it_stands(
    slow: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "UNHEARD", 0.02)
    nc = slow.field.nc
    subscription = await nc.subscribe(reply := nc.new_inbox())
    body = b'{"id": "slow", "timeout": "4m"}'
    await nc.publish(slow.field.names.endpoint("reconcile"), body, reply=reply)
    told = json.loads((await subscription.next_msg(timeout=10)).data)
    assert told["unsettled"] == 1
    with pytest.raises(NatsTimeout):  # that was all
        await subscription.next_msg(timeout=0.2)


@pytest.mark.fault(90)
async def test_all_reconciles_together_wait_for_a_bounded_number(
    slow: House, stranger: Client, gate: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "MOST_AWAITED", 3)
    for number in range(3):
        await slow.field.put(f"p{number}", "paused")
        await slow.field.reaches(f"p{number}", "Paused")
    asked = asyncio.create_task(reconciling(stranger, slow, 1, timeout="4m"))
    await eventually(lambda: in_flight(slow.field))  # more than the bound, but alone
    refused = await slow.field.request("reconcile", id="slow")
    assert (refused["code"], refused["reason"]) == (429, "TooManyRequests")
    gate.set()
    [reply] = await asked
    assert (len(reply["outcomes"]), reply["unsettled"]) == (4, 0)
    assert (await slow.field.request("reconcile", id="p1"))["unsettled"] == 0


async def test_thousands_that_ask_at_once_wait_and_are_all_answered(
    slow: House, stranger: Client
) -> None:
    async def ask(endpoint: str) -> Any:
        subject = slow.field.names.endpoint(endpoint)
        return json.loads((await stranger.request(subject, b"{}", timeout=60)).data)

    names = ["status", "list"] * 1000
    replies = await asyncio.gather(*(ask(name) for name in names))
    assert [reply for reply in replies if "code" in reply] == []


class _Request:
    """As much of a request as a line looks at."""

    def __init__(self, size: int = 1) -> None:
        self.data = bytes(size)


@pytest.mark.fault(90)
async def test_a_line_is_bounded_in_number_and_in_bytes_and_keeps_its_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nexthos_controller.api.in_flight.WAITING_BYTES", 1000)
    gate, served = asyncio.Event(), list[Any]()

    async def serve(_: Endpoint, request: Any) -> None:
        await gate.wait()
        served.append(request)

    line = Line(Endpoint("x", StatusRequest, (), at_once=2, waiting=3), serve)
    requests: list[Any] = [_Request() for _ in range(7)]
    assert [line.take(r) for r in requests] == [True] * 5 + [False] * 2
    gate.set()
    await eventually(lambda: len(served) == 5)
    assert served == requests[:5]
    gate.clear()
    large: list[Any] = [_Request(600) for _ in range(4)]
    assert [line.take(r) for r in large] == [True] * 3 + [False]
    line.end()
    await eventually(lambda: not line.served)
    assert served == requests[:5]
