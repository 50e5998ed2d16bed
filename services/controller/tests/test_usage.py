"""The endpoint `usage` over a fake executor and a real NATS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from nexthos_controller.api import usage
from nexthos_shared.errors import ExecutorUnreachable
from nexthos_testing.house import CONFIG, Builder, House
from nexthos_testing.nats import NatsServer
from nexthos_testing.wait import eventually


@pytest.fixture
async def house(nats_server: NatsServer, namespace: str, tmp_path: Path) -> AsyncIterator[House]:
    async with Builder(nats_server.url, namespace, tmp_path / "state").house() as house:
        yield house


def text(received: int, sent: int = 0, errors: int = 0, memory: int | None = None) -> str:
    lines = f"input_received {received}\noutput_sent {sent}\noutput_error {errors}\n"
    if memory is not None:
        lines += f"process_cpu_seconds_total 0.5\nprocess_resident_memory_bytes {memory}\n"
    return lines


async def runs(house: House, *keys: str, **fields: Any) -> None:
    for key in keys:
        await house.field.config(key, CONFIG)
        await house.field.put(key, **fields)
    for key in keys:
        await house.field.reaches(key, "Running")


async def test_figures_of_all_executions_are_summed_up_by_pipeline(house):
    await runs(house, "orders", replicas=2)
    for thing in house.world.things.values():
        thing.metrics = text(10, 7, 1, memory=1000)
    reply = await house.field.request("usage")
    [pipeline] = reply["pipelines"]
    figures = ("received", "sent", "errors", "cpu_seconds", "memory_bytes")
    assert [pipeline[figure] for figure in figures] == [20, 14, 2, 1.0, 2000]
    assert (pipeline["phase"], pipeline["ready"], pipeline["replicas"]) == ("Running", 2, 2)
    assert len({(e["execution"], e["uid"]) for e in pipeline["executions"]}) == 2
    assert all(e["running"] and e["at"] > 0 for e in pipeline["executions"])
    assert "reason" not in pipeline
    assert "cursor" not in reply


async def test_figures_of_an_engine_without_process_metrics_are_partly_null(house):
    await runs(house, "orders")
    house.world.things[house.name("orders")].metrics = text(10)
    [pipeline] = (await house.field.request("usage", ids=["orders"]))["pipelines"]
    assert pipeline["received"] == 10
    assert "cpu_seconds" not in pipeline


@pytest.mark.parametrize(
    "metrics", ["", "up 1\n", '{"input_received": 1}', 'input_received{a="} 1']
)
async def test_metrics_that_go_elsewhere_are_null_with_the_reason(house, metrics):
    await runs(house, "orders")
    house.world.things[house.name("orders")].metrics = metrics
    [pipeline] = (await house.field.request("usage"))["pipelines"]
    assert pipeline["reason"] == "MetricsNotScraped"
    assert "received" not in pipeline


async def test_an_engine_that_is_not_ready_yet_is_starting(house):
    house.world.faults.never_ready = True
    await house.publish("orders")
    await house.field.reaches("orders", "Starting")
    await eventually(lambda: house.world.running("orders"))
    house.world.things[house.name("orders")].metrics = ""

    async def starting() -> bool:
        [pipeline] = (await house.field.request("usage"))["pipelines"]
        return bool(pipeline.get("reason") == "Starting")

    await eventually(starting)


async def test_one_that_hangs_and_one_that_fails_cost_only_their_own_figures(house, monkeypatch):
    monkeypatch.setattr(usage, "ANSWER_WITHIN", 0.5)
    monkeypatch.setattr(usage, "AT_ONCE", 3)
    await runs(house, "failing", "hanging", *(f"p{n}" for n in range(10)))
    for thing in house.world.things.values():
        thing.metrics = text(1)
    faults = house.world.faults
    faults.hang["metrics", "hanging"] = asyncio.Event()
    faults.fail["metrics", "failing"] = [ExecutorUnreachable("gone")]
    reply = await house.field.request("usage")
    reasons = {p["id"]: p.get("reason") for p in reply["pipelines"]}
    assert reasons.pop("hanging") == "TimedOut"
    assert reasons.pop("failing") == "ExecutorUnreachable"
    assert set(reasons.values()) == {None}
    faults.hang["find", "p3"] = asyncio.Event()
    reply = await house.field.request("usage")
    reasons = {p["id"]: p.get("reason") for p in reply["pipelines"]}
    assert [key for key, reason in reasons.items() if reason] == ["hanging", "p3"]
    for gate in faults.hang.values():
        gate.set()


async def test_it_pages_selects_and_tells_of_what_does_not_run(house):
    for n in range(5):
        await house.field.put(f"p{n}", "paused", labels={"parity": "even" if n % 2 == 0 else "odd"})
        await house.field.reaches(f"p{n}", "Paused")
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await house.field.request("usage", limit=2, **cursor)
        assert page["total"] == 5
        seen += [p["id"] for p in page["pipelines"]]
        if "cursor" not in page:
            break
        cursor = {"cursor": page["cursor"]}
    assert seen == [f"p{n}" for n in range(5)]
    odd = await house.field.request("usage", labels={"parity": "odd"})
    assert [p["id"] for p in odd["pipelines"]] == ["p1", "p3"]
    assert all("received" not in p and "reason" not in p for p in odd["pipelines"])
    some = await house.field.request("usage", ids=["p4", "p1", "p4"])
    assert [p["id"] for p in some["pipelines"]] == ["p1", "p4"]


async def test_a_page_of_many_executions_ends_early(house, monkeypatch):
    monkeypatch.setattr(usage, "MOST_EXECUTIONS", 5)
    await runs(house, "a", "b", "c", replicas=3)
    first = await house.field.request("usage")
    assert ([p["id"] for p in first["pipelines"]], first["cursor"]) == (["a"], "a")


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        ({"ids": ["nobody"]}, 404, "nobody"),
        ({"ids": ["no such/id"]}, 400, "no such/id"),
        ({"limit": 501}, 400, "limit"),
        ({"ids": ["x"] * 1001}, 400, "ids"),
    ],
)
async def test_a_bad_request_gets_an_error(house, request_, code, words):
    reply = await house.field.request("usage", **request_)
    assert reply["code"] == code
    assert words in reply["message"]
