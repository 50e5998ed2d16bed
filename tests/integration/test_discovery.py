"""What Prometheus is told: targets whose series go on, read through the controller, whatever runs them."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from nexthos_controller.executors.shared.ports import free_port
from nexthos_testing.controller import ControllerProcess, controller_process
from nexthos_testing.field import Field, field_of
from nexthos_testing.nats import NatsServer
from nexthos_testing.wait import eventually

METRICS = Path(__file__).parents[2] / "docs" / "metrics.md"


@pytest.fixture
async def controller(
    nats_server: NatsServer, namespace: str, tmp_path: Path
) -> AsyncIterator[ControllerProcess]:
    settings = tmp_path / "settings.yaml"
    settings.write_text("executor: streams\nexecutors: {process: {}, streams: {}}\n")
    started = controller_process(
        nats_server.url, namespace, tmp_path / "state", NEXTHOS_CONFIG=str(settings)
    )
    async with started as controller:
        yield controller


@pytest.fixture
async def field(controller: ControllerProcess) -> AsyncIterator[Field]:
    async with field_of(controller.url, controller.namespace) as field:
        yield field


def url_of(controller: ControllerProcess) -> str:
    """Where it serves, as its log says."""
    found = [str(line["http"]) for line in controller.log() if "http" in line]
    return found[-1]


async def ask(url: str) -> tuple[int, str, str]:
    """Status, type of content and text."""

    def asked() -> tuple[int, str, str]:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.headers["Content-Type"], answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers["Content-Type"], error.read().decode()

    return await asyncio.to_thread(asked)


async def targets(controller: ControllerProcess) -> dict[str, dict[str, Any]]:
    """Groups of `/sd` by instance."""
    return await told(url_of(controller))


async def told(url: str) -> dict[str, dict[str, Any]]:
    """The same of whoever serves there."""
    status, kind, text = await ask(f"{url}/sd")
    assert (status, kind) == (200, "application/json; charset=utf-8")
    return {group["labels"]["instance"]: group for group in json.loads(text)}


async def scrape(group: dict[str, Any]) -> tuple[int, str, str]:
    """What Prometheus would read of a target."""
    [address] = group["targets"]
    return await ask(f"http://{address}{group['labels']['__metrics_path__']}")


def lasting(group: dict[str, Any]) -> dict[str, str]:
    """The labels of its series: those that Prometheus does not drop after relabelling."""
    return {k: v for k, v in group["labels"].items() if not k.startswith("__")}


async def sent(controller: ControllerProcess, instance: str) -> float:
    """Messages that its engine says it sent; -1 where it says nothing."""
    group = (await targets(controller)).get(instance)
    status, _, text = await scrape(group) if group is not None else (0, "", "")
    found = re.search(r"^output_sent\{[^}]*\} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if status == 200 and found else -1.0


async def test_series_go_on_over_versions_and_executors(controller, field):
    await field.echo("orders")
    await field.echo("orders", mark="v2", version="2")
    seen = []
    for version, executor in (("1", "streams"), ("2", "streams"), ("2", "process")):
        await field.put("orders", version=version, executor=executor, labels={"team.x": "a"})
        await field.reaches("orders", "Running")
        await field.says("orders")

        async def has_sent() -> bool:
            return await sent(controller, "orders/0") >= 1.0

        await eventually(has_sent)
        [group] = (await targets(controller)).values()
        seen.append(lasting(group))
        labels = group["labels"]
        assert labels["__meta_nexthos_version"] == version
        assert labels["__meta_nexthos_executor"] == executor
        assert labels["__meta_nexthos_label_team_x"] == "a"
        _, kind, text = await scrape(group)
        assert kind == "text/plain; version=0.0.4; charset=utf-8"
        assert 'stream="' not in text
    known = {"instance": "orders/0", "pipeline": "orders", "replica": "0"}
    assert seen == [{**known, "namespace": controller.namespace}] * 3


async def test_each_replica_is_a_target_and_what_is_at_rest_is_none(controller, field):
    for key in ("orders", "quiet", "elsewhere"):
        await field.echo(key)
    await field.config("elsewhere", field.echo_text("elsewhere") + "metrics: {none: {}}\n")
    await field.put("orders", replicas=2)
    await field.put("quiet")
    await field.put("elsewhere", executor="process")
    for key in ("orders", "quiet", "elsewhere"):
        await field.reaches(key, "Running")
    await field.put("quiet", "paused")
    await field.reaches("quiet", "Paused")
    assert sorted(await targets(controller)) == ["orders/0", "orders/1"]
    for path, words in (("quiet/0", "'quiet' does not run"), ("nobody/7", "'nobody'")):
        status, _, text = await ask(f"{url_of(controller)}/pipelines/{path}/metrics")
        assert status == 404
        assert words in text
    await field.delete("orders")
    await eventually(partial(no_targets, controller))


async def no_targets(controller: ControllerProcess) -> bool:
    return await targets(controller) == {}


async def test_a_standby_tells_no_target_and_reads_none(controller, field):
    """Prometheus asks all controllers: only the one that acts may tell of a pipeline."""
    await field.echo("orders")
    await field.put("orders")
    await field.reaches("orders", "Running")
    standby = ControllerProcess(
        controller.url, controller.namespace, controller.state_dir, controller.environ, name="-two"
    )
    address = f"127.0.0.1:{free_port(())}"
    await standby.spawn(NEXTHOS_HTTP=address)
    try:
        await eventually(partial(is_ready, f"http://{address}"))
        assert await told(f"http://{address}") == {}
        status, _, _ = await ask(f"http://{address}/pipelines/orders/0/metrics")
        assert status == 503
    finally:
        await standby.kill()


async def is_ready(url: str) -> bool:
    try:
        status, _, _ = await ask(f"{url}/readyz")
    except urllib.error.URLError:
        return False
    return status == 200


def test_the_documented_scrape_configuration_asks_what_is_served():
    text = METRICS.read_text()
    block = re.search(r"```yaml\n(scrape_configs:.*?)```", text, re.DOTALL)
    assert block is not None
    jobs = YAML(typ="safe").load(block[1])["scrape_configs"]
    [discovering] = [job for job in jobs if "http_sd_configs" in job]
    [configured] = discovering["http_sd_configs"]
    assert configured["url"].endswith("/sd")
    rules = discovering["relabel_configs"]
    used = {name for rule in rules for name in rule.get("source_labels", [])}
    assert used <= {f"__meta_nexthos_{name}" for name in ("version", "executor", "place", "phase")}
