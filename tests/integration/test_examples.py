"""Each example on a real engine and a real NATS: what goes in comes out, counted by class.

No controller takes part: a pipeline that runs here runs by hand as well.
"""

from __future__ import annotations

import csv
import json
import re
import runpy
import shutil
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import nats
import pytest

from nexthos_cli.manifest import resources
from nexthos_cli.manifest.loader import load
from nexthos_cli.manifest.sources import read_sources
from nexthos_shared.engine import handled, lint, locate_engine, read_shape
from nexthos_shared.manifest.manifest import Manifest
from nexthos_testing.engine import RunningEngine, running_engine
from nexthos_testing.nats import NatsServer
from nexthos_testing.wait import eventually

EXAMPLES = Path(__file__).parents[2] / "examples"
FOLDERS = sorted(path.parent for path in EXAMPLES.glob("*/nats.yaml"))
AT_ONCE = "rate_limit_resources.0.local.count=100000"


def pipelines(folder: Path) -> dict[str, Manifest]:
    """The pipelines of a folder, as `nexthos apply` reads them."""
    sources, problems = read_sources([str(folder)])
    loaded = load(sources)
    assert problems + loaded.problems == []
    return {manifest.id: manifest for manifest in loaded.manifests}


class Example:
    """One example's folder, on a server with what its nats.yaml asks for."""

    def __init__(self, folder: Path, server: NatsServer, js: Any, scratch: Path) -> None:
        self.folder = folder
        self.js = js
        self._server = server
        self._scratch = scratch
        self._pipelines = pipelines(folder)

    def run(self, pipeline_id: str, *overrides: str) -> AbstractAsyncContextManager[RunningEngine]:
        """Run a pipeline of the folder, in the folder."""
        manifest = self._pipelines[pipeline_id]
        assert manifest.content is not None
        return running_engine(
            manifest.content,
            self._scratch,
            env={"NATS_URL": self._server.url, **manifest.fields.get("env", {})},
            workdir=self.folder,
            overrides=overrides,
        )

    async def counts(self, stream: str) -> dict[str, int]:
        """Messages stored, by subject."""
        info = await self.js.stream_info(stream, subjects_filter=">")
        return dict(info.state.subjects or {})

    async def has_worked_off(self, stream: str, consumer: str) -> bool:
        """Whether the durable consumer has delivered all and all is acknowledged."""
        try:
            info = await self.js.consumer_info(stream, consumer)
        except nats.js.errors.NotFoundError:
            return False
        return not info.num_pending and not info.num_ack_pending

    async def messages(self, stream: str, subject: str) -> list[dict[str, Any]]:
        """All messages of a subject, oldest first."""
        found: list[dict[str, Any]] = []
        sequence = 1
        while True:
            try:
                message = await self.js.get_msg(stream, seq=sequence, next=True, subject=subject)
            except nats.js.errors.NotFoundError:
                return found
            found.append(json.loads(message.data))
            sequence = message.seq + 1


@pytest.fixture
async def example(
    request: pytest.FixtureRequest, fresh_nats: NatsServer, tmp_path: Path
) -> AsyncIterator[Example]:
    folder = EXAMPLES / request.param
    nc = await nats.connect(fresh_nats.url)
    try:
        await resources.ensure(nc.jetstream(), resources.load(folder / resources.FILE_NAME))
        yield Example(folder, fresh_nats, nc.jetstream(), tmp_path)
    finally:
        await nc.close()


def on(folder: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("example", [folder], indirect=True)


# ---- all examples


def test_there_are_at_least_three_and_both_kinds_of_file_occur():
    found = [manifest for folder in FOLDERS for manifest in pipelines(folder).values()]

    assert len(FOLDERS) >= 3
    assert {bool(manifest.document.value) for manifest in found} == {True, False}
    assert {manifest.fields.get("lifecycle", "service") for manifest in found} == {"service", "job"}


@pytest.mark.fault(133)
@pytest.mark.parametrize("pipeline", ["enrich-orders", "parse-access-log"])
def test_errors_that_an_example_expects_are_known_to_be_dealt_with(pipeline):
    content = pipelines(EXAMPLES)[pipeline].content
    assert content is not None
    assert "root.pipeline.processors.0" in handled(content)


def test_all_examples_together_define_no_pipeline_twice():
    assert len(pipelines(EXAMPLES)) == sum(len(pipelines(folder)) for folder in FOLDERS)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
async def test_each_pipeline_passes_lint_and_each_job_ends(folder):
    for manifest in pipelines(folder).values():
        env = {"NATS_URL": "nats://127.0.0.1:4222", **manifest.fields.get("env", {})}
        assert manifest.content is not None

        assert await lint(locate_engine(), manifest.content, env, workdir=folder) == []
        ends = manifest.fields.get("lifecycle") == "job"
        assert read_shape(manifest.content).finite_input is ends


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_each_readme_names_all_that_the_folder_needs_and_brings(folder):
    readme = (folder / "README.md").read_text()
    needed = resources.load(folder / resources.FILE_NAME)

    for name in pipelines(folder):
        assert f"`{name}`" in readme
    for name in [s.name for s in needed.streams] + [b.bucket for b in needed.kv]:
        assert f"`{name}`" in readme


@pytest.mark.parametrize(
    ("script", "data"),
    [("access-log/make-access-log.py", "access.log"), ("sales-report/make-sales.py", "sales.csv")],
)
def test_the_data_is_what_the_script_beside_it_makes(tmp_path, script, data):
    shutil.copy(EXAMPLES / script, tmp_path)

    runpy.run_path(str(tmp_path / Path(script).name), run_name="__main__")

    shipped = (EXAMPLES / script).with_name(data)
    assert (tmp_path / data).read_bytes() == shipped.read_bytes()


# ---- access-log

COMBINED = re.compile(r'\S+ \S+ \S+ \[[^\]]+\] "[^"]*" (\d)\d\d (\d+|-) "[^"]*" "[^"]*"')


def classes_of(log: Path) -> Counter[str]:
    """Lines by subject, worked out without the engine."""
    found = (COMBINED.fullmatch(line) for line in log.read_text().splitlines())
    return Counter(f"access.{m[1]}xx" if m else "access.malformed" for m in found)


@on("access-log")
async def test_each_line_of_the_access_log_comes_out_under_its_class(example):
    expected = classes_of(example.folder / "access.log")
    assert len(expected) == 6
    async with (
        example.run("parse-access-log") as parse,
        example.run("load-access-log", AT_ONCE) as loading,
    ):
        assert await loading.finished() == 0, loading.log
        await eventually(lambda: example.has_worked_off("LOGS", "parse-access-log"), within=30.0)
        assert await parse.stop() == 0

    assert await example.counts("LOGS") == {"logs.access": expected.total()}
    assert await example.counts("ACCESS") == expected
    assert f'output_sent{{label="",path="root.output"}} {expected.total()}' in (
        parse.metrics_file.read_text()
    )


@on("access-log")
async def test_a_parsed_line_says_all_that_the_line_said(example):
    async with example.run("load-access-log", AT_ONCE) as loading:
        assert await loading.finished() == 0, loading.log
    async with example.run("parse-access-log"):
        await eventually(lambda: example.has_worked_off("LOGS", "parse-access-log"), within=30.0)

    good = await example.messages("ACCESS", "access.2xx")
    first = next(request for request in good if request["path"] == "/products/lamp-12")
    assert first == {
        "time": "2026-11-23T06:03:23Z",
        "client": "198.51.100.132",
        "method": "GET",
        "path": "/products/lamp-12",
        "http": "2.0",
        "status": 200,
        "bytes": 9120,
        "agent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 "
        "(KHTML, like Gecko) Version/18.1 Safari/605.1.15",
    }
    assert {request.get("user") for request in good} == {None, "ada", "grace", "linus"}
    knocks = [r for r in await example.messages("ACCESS", "access.4xx") if "method" not in r]
    assert {(r["path"], r["status"]) for r in knocks} == {("\\x16\\x03\\x01", 400)}
    for broken in await example.messages("ACCESS", "access.malformed"):
        assert broken.keys() == {"line", "problem"}


@on("access-log")
async def test_parsing_goes_on_where_it_was_stopped(example: Example):
    expected = classes_of(example.folder / "access.log")

    async def out() -> int:
        return sum((await example.counts("ACCESS")).values())

    async def some_are_out() -> bool:
        return await out() > 300

    async with example.run("load-access-log", AT_ONCE) as loading:
        async with example.run("parse-access-log") as first:
            await eventually(some_are_out, within=30.0)
            assert await first.stop() == 0
        before = await out()
        assert await loading.finished() == 0
    async with example.run("parse-access-log"):
        await eventually(lambda: example.has_worked_off("LOGS", "parse-access-log"), within=45.0)

    counts = await example.counts("ACCESS")
    assert counts.keys() == expected.keys()
    assert all(counts[subject] >= expected[subject] for subject in expected)  # at least once
    assert sum(counts.values()) < expected.total() + before  # not all over again


# ---- enrich-orders


@on("enrich-orders")
async def test_each_order_comes_out_enriched_or_as_of_an_unknown_customer(example: Example):
    async def enough() -> bool:
        return (await example.counts("ORDERS")).get("orders.new", 0) >= 130

    async with example.run("enrich-orders") as enrich:
        async with example.run("place-orders", "input.generate.interval=5ms") as place:
            await eventually(enough, within=30.0)
            assert await place.stop() == 0
        await eventually(lambda: example.has_worked_off("ORDERS", "enrich-orders"), within=30.0)
        assert await enrich.stop() == 0

    counts = await example.counts("ORDERS")
    placed = counts["orders.new"]
    assert counts == {
        "orders.new": placed,
        "orders.enriched": placed - placed // 13,
        "orders.unknown-customer": placed // 13,
    }


@on("enrich-orders")
async def test_an_enriched_order_carries_customer_and_total(example):
    order = {"order": "o-1", "customer": "c-1001", "quantity": 2, "unit_price": 39.9}
    await example.js.publish("orders.new", json.dumps(order).encode())
    await example.js.publish("orders.new", json.dumps(order | {"customer": "c-7"}).encode())
    async with example.run("enrich-orders"):
        await eventually(lambda: has_consumed(example), within=30.0)

    customer = {"id": "c-1001", "name": "Aurora Bakery", "country": "NO", "tier": "gold"}
    assert await example.messages("ORDERS", "orders.enriched") == [
        order | {"customer": customer | {"discount": 0.1}, "total": 71.82}
    ]
    assert await example.messages("ORDERS", "orders.unknown-customer") == [
        order | {"customer": "c-7"}
    ]


async def has_consumed(example: Example) -> bool:
    counts = await example.counts("ORDERS")
    return counts.keys() >= {"orders.enriched", "orders.unknown-customer"}


@on("enrich-orders")
async def test_a_customer_that_changes_is_seen_by_the_next_order(example):
    customers = await example.js.key_value("customers")
    await customers.put("c-1001", b'{"name": "Aurora & Sons", "discount": 0.5}')
    order = {"customer": "c-1001", "quantity": 1, "unit_price": 10}
    await example.js.publish("orders.new", json.dumps(order).encode())

    async with example.run("enrich-orders"):
        found = await eventually(lambda: example.messages("ORDERS", "orders.enriched"), within=30.0)

    assert (found[0]["customer"]["name"], found[0]["total"]) == ("Aurora & Sons", 5)


# ---- sales-report


@on("sales-report")
async def test_the_report_adds_up_each_region_and_ends(example):
    async with example.run("sales-report") as report:
        assert await report.finished() == 0, report.log

    bucket = await example.js.key_value("revenue")
    stored = {key: json.loads((await bucket.get(key)).value) for key in await bucket.keys()}
    with (example.folder / "sales.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(region["sales"] for region in stored.values()) == len(rows) == 600
    assert stored == {name: by_hand(name, rows) for name in {row["region"] for row in rows}}


def by_hand(region: str, rows: list[dict[str, str]]) -> dict[str, Any]:
    mine = [row for row in rows if row["region"] == region]
    cents = sum(round(float(row["unit_price"]) * 100) * int(row["quantity"]) for row in mine)
    return {
        "region": region,
        "sales": len(mine),
        "units": sum(int(row["quantity"]) for row in mine),
        "revenue": cents / 100,
        "currency": "EUR",
        "first": min(row["date"] for row in mine),
        "last": max(row["date"] for row in mine),
    }
