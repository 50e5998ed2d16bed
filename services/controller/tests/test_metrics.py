"""What Prometheus reads of the controller: true, documented, and gone with its pipeline."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from nexthos_controller.executors.contract import Executor, ReplicaExecutor, WorkloadExecutor
from nexthos_controller.executors.fake import FakeExecutor, fake_context
from nexthos_controller.executors.instrumented import MeasuredReplicas, MeasuredWorkloads, measured
from nexthos_controller.http.metrics import PipelineMetrics, SiteMetrics
from nexthos_controller.http.server import serve_http
from nexthos_controller.telemetry.instruments import Instruments
from nexthos_shared.errors import ExecutorUnreachable
from nexthos_testing.house import Builder, House
from nexthos_testing.nats import NatsServer
from nexthos_testing.wait import eventually

DOCUMENT = Path(__file__).parents[3] / "docs" / "metrics.md"


@pytest.fixture
async def house(nats_server: NatsServer, namespace: str, tmp_path: Path) -> AsyncIterator[House]:
    async with Builder(nats_server.url, namespace, tmp_path / "state").house() as house:
        yield house


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def pipeline_metrics(house: House) -> CollectorRegistry:
    assert house.running.term is not None
    registry = CollectorRegistry()
    registry.register(PipelineMetrics(house.running.term.controller))
    return registry


async def fetch(url: str) -> tuple[int, str]:
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), body


async def test_the_documentation_names_every_metric_with_its_type_and_no_other(house, registry):
    Instruments.of(registry)
    registry.register(SiteMetrics(lambda: True, lambda: 0, lambda: 0))
    registry.register(PipelineMetrics(house.running.term.controller))
    text = generate_latest(registry).decode()
    rows = re.findall(r"^\| `(nexthos_\w+)` \| (\w+) \|", DOCUMENT.read_text(), re.MULTILINE)

    assert sorted(rows) == sorted(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))


async def test_the_controller_serves_them_over_http(house):
    status, text = await fetch(house.running.http)
    assert status == 200
    assert 'nexthos_pipelines{phase="Running"} 0.0' in text


async def test_series_of_a_pipeline_follow_its_status_and_go_with_it(house):
    registry = pipeline_metrics(house)

    def of(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    await house.publish("orders")
    await house.field.reaches("orders", "Running")
    await eventually(lambda: of("nexthos_pipeline_ready", pipeline="orders") == 1)
    assert of("nexthos_pipeline_replicas", pipeline="orders") == 1
    assert of("nexthos_pipelines", phase="Running") == 1
    assert of("nexthos_pipeline_restarts_total", pipeline="orders") == 0
    house.world.finish(house.name("orders"), 1)
    await house.field.restarted("orders", 1)
    assert of("nexthos_pipeline_restarts_total", pipeline="orders") == 1
    await house.field.delete("orders")
    await eventually(lambda: of("nexthos_pipeline_ready", pipeline="orders") is None)
    assert of("nexthos_pipelines", phase="Running") == 0
    assert "orders" not in generate_latest(registry).decode()


async def test_a_standby_says_that_it_does_not_lead(registry):
    leads = True
    registry.register(SiteMetrics(lambda: leads, lambda: 3, lambda: 2))
    assert registry.get_sample_value("nexthos_leader") == 1
    leads = False
    assert registry.get_sample_value("nexthos_leader") == 0
    assert registry.get_sample_value("nexthos_nats_reconnects_total") == 3


async def test_looks_are_counted_by_their_result_and_keep_it(registry):
    instruments = Instruments.of(registry)

    async def look(key: str) -> float | None:
        if key == "good":
            return 5.0
        raise ExecutorUnreachable("gone") if key == "bad" else KeyError(key)

    looking = instruments.looking(look)
    assert await looking("good") == 5.0
    for key, error in (("bad", ExecutorUnreachable), ("worse", KeyError)):
        with pytest.raises(error):
            await looking(key)
    for result in ("ok", "failed", "defect"):
        assert registry.get_sample_value("nexthos_reconciles_total", {"result": result}) == 1
    assert registry.get_sample_value("nexthos_reconcile_duration_seconds_count") == 3


async def test_calls_of_an_executor_are_timed_and_their_errors_counted(registry):
    instruments = Instruments.of(registry)
    fake = FakeExecutor(fake_context())
    labels = {"executor": "fake", "method": "find"}
    async with measured(fake, instruments.call) as executor:
        await executor.find("orders")
        fake.world.faults.fail["find"] = [ExecutorUnreachable("gone")]
        with pytest.raises(ExecutorUnreachable):
            await executor.find("orders")
    seconds = "nexthos_executor_call_duration_seconds_count"
    assert registry.get_sample_value(seconds, labels) == 2
    assert registry.get_sample_value("nexthos_executor_errors_total", labels) == 1


def test_a_measured_executor_hands_on_the_whole_contract():
    for contract, handed_on in (
        (ReplicaExecutor, MeasuredReplicas),
        (WorkloadExecutor, MeasuredWorkloads),
    ):
        missing = {
            name
            for name in dir(contract)
            if callable(getattr(contract, name))
            and getattr(handed_on, name) is getattr(contract, name)
            and name in {**vars(Executor), **vars(contract)}
        }
        assert not missing - {"__init__"}


async def test_a_scrape_does_not_disturb_the_loop_while_the_book_changes(house):
    """The text is made in a thread, from a book that the loop goes on writing."""
    book = house.running.term.controller.statuses
    async with serve_http("127.0.0.1:0", pipeline_metrics(house), lambda: True) as url:
        await house.publish("orders")
        status = await house.field.reaches("orders", "Running")
        texts = []
        for n in range(20):
            await book.report(f"other-{n}", None, status)
            texts.append(await fetch(url))
    assert [code for code, _ in texts] == [200] * 20
    assert 'nexthos_pipeline_ready{pipeline="other-19"}' in texts[-1][1]
