"""What engines, daemons and files say: whatever it is, its reader gives a value, None or its own error."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexthos_controller.api import leader
from nexthos_controller.election.lease import _claim_of
from nexthos_controller.election.process import is_dead
from nexthos_controller.execution import Owner
from nexthos_controller.executors.docker import exits, labels
from nexthos_controller.executors.docker.life import nanoseconds
from nexthos_controller.executors.local import shim
from nexthos_controller.executors.process import handle
from nexthos_controller.executors.shared.lines import read_line
from nexthos_controller.executors.streams import lines
from nexthos_controller.executors.streams.api import Api, NotOurs, Silent, _messages
from nexthos_controller.http import metrics
from nexthos_controller.loop import brokers
from nexthos_controller.telemetry.engine_metrics import read_figures
from nexthos_shared.engine import last_error, read_shape
from nexthos_shared.engine.readiness import is_ready, scrape
from nexthos_shared.model import PipelineStatus
from nexthos_shared.model.stored import read
from nexthos_shared.store import KvEntry
from nexthos_testing import hostile

DEEP = b'{"msg":"Received SIGTERM","level":' + b"[" * 200_000
LINES = [DEEP, b'{"level":"error","msg":' + b"[" * 200_000, b'["Received SIGTERM"]', b"{\xff"]


@pytest.mark.fault(103)
@given(hostile.anything("level", "msg", "pipeline", "stream", "time", "lint"))
def test_no_line_of_a_log_raises(raw):
    text = raw.decode("utf-8", "replace")
    read_line(raw, "orders")
    lines.read(raw + b'"stream":"orders"', "orders")
    lines.printed(raw)
    shim.told(text + "Received SIGTERM")
    last_error(text, {})
    list(exits._entries([text]))


@pytest.mark.parametrize("raw", LINES, ids=range(len(LINES)))
def test_such_a_line_says_nothing(raw):
    text = raw.decode("utf-8", "replace")
    assert read_line(raw, "orders").stream == "output"
    assert not shim.told(text)
    assert list(exits._entries([text])) == []
    assert last_error(text, {}) is None


FIGURES = ["NaN", "+Inf", "-Inf", "1e999", "-1", "1e400", "9" * 5000, "x", ""]


@pytest.mark.parametrize("figure", FIGURES)
def test_a_figure_that_is_no_count_is_a_value_error(figure):
    with pytest.raises(ValueError):  # noqa: PT011 - the contract names no more
        read_figures(f'input_received{{path="a"}} {figure}\n')


@given(st.text(max_size=200))
def test_no_metrics_raise_anything_else(text):
    with contextlib.suppress(ValueError):
        read_figures(f"input_received {text}\n{text}")


@given(st.dictionaries(st.sampled_from(sorted(labels.Labels.__slots__)), st.text(max_size=20)))
def test_no_labels_raise(found):
    right = labels.Labels(
        Owner("a", "0123456789ab"), "orders", 0, 1, "1", "sha256:1", "h", 5.0, {}
    ).to_docker()
    assert labels.read_labels(right) is not None
    changed = {f"{labels.PREFIX}{key.replace('_', '-')}": value for key, value in found.items()}
    labels.read_labels(right | changed)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("replica", "9" * 5000),
        ("replica", "-1"),
        ("revision", "\u0661"),
        ("stop-timeout", "nan"),
        ("stop-timeout", "1e999"),
        ("made-with", "[" * 200_000),
        ("made-with", "[]"),
        ("made-with", '{"a": 1}'),
    ],
)
def test_labels_that_are_none_of_ours_are_none(name, value):
    right = labels.Labels(
        Owner("a", "0123456789ab"), "orders", 0, 1, "1", "sha256:1", "h", 5.0, {}
    ).to_docker()
    assert labels.read_labels(right | {f"{labels.PREFIX}{name}": value}) is None


@given(st.text(max_size=40))
def test_no_time_of_a_daemon_raises(text):
    nanoseconds(text)


@given(hostile.anything("name", "owner", "life", "definition", "id"))
def test_no_handle_raises_but_a_value_error(data):
    with contextlib.suppress(ValueError):
        handle.read_handle_json(data)


@given(hostile.anything(*hostile.CLAIM))
def test_no_lease_raises(data):
    claim = _claim_of(KvEntry("lease", 1, data))
    if claim is not None:
        is_dead(claim.process)


def test_a_lease_of_a_process_with_5000_digits_is_no_dead_one():
    assert not is_dead(f"{'x ' * 2}{'9' * 5000} 1")


@given(hostile.anything(*hostile.STATUS))
def test_no_stored_status_raises(data):
    for kind in (PipelineStatus, metrics._Status, brokers._Status, leader._Phase):
        read(kind, data)


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)))
def test_no_configuration_raises(data):
    read_shape(b"metrics: {}\n" + data)
    read_shape(data)


BOMBS = [
    b"metrics: " + b"[" * 100_000,
    b"metrics: " + b"{a: " * 30_000,
    b"metrics: &a [*a]\n",
    b"metrics: !!python/object:os.system {}\n",
    b"%YAML 9.9\n---\nmetrics: x\n",
    b"%TAG ! x\n---\nmetrics: !y z\n",
    b'metrics: "\\UFFFFFFFF"\n',
    b"a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
    + b"".join(
        b"a%d: &a%d [%s]\n" % (n, n, b",".join([b"*a%d" % (n - 1)] * 10)) for n in range(1, 9)
    )
    + b"metrics: *a8\n",
    b"metrics: |" + b" " * 100_000,
    b"? " * 20_000 + b"metrics",
    b"- " * 60_000 + b"metrics",
]


@pytest.mark.parametrize("config", BOMBS, ids=range(len(BOMBS)))
def test_a_bomb_of_yaml_costs_no_more_than_its_bytes(config):
    read_shape(config)  # the suite's own limit tells, if it takes longer


@asynccontextmanager
async def answering(answer: bytes):
    """A program that says this to whoever connects."""

    async def say(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(say, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


ANSWERS = [
    b"",
    b"\xff\xfe",
    b"HTTP/1.1 999999999999 x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 10_000 + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 9\xb2\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 10_000 + b"\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"x: y\r\n" * 100_000,
    b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 100_000,
    ok(b"[" * 200_000),
    ok(b"\xff" * 100),
]


@pytest.mark.fault(103)
@pytest.mark.parametrize("answer", ANSWERS, ids=range(len(ANSWERS)))
async def test_no_answer_of_who_listens_there_raises(answer):
    async with answering(answer) as port:
        assert await is_ready(f"http://127.0.0.1:{port}", "/x") in ("down", "not-ours")
        await scrape(f"http://127.0.0.1:{port}", "/x", timeout=2.0)
        api = Api(port, "/x", "secret")
        for ask in (api.ping, api.streams, api.unconnected, api.metrics):
            with contextlib.suppress(Silent, NotOurs):
                await ask()
        await api.close()


@pytest.mark.parametrize("body", [*hostile.KNOWN, b'{"a": {"active": []}, "b": 1}'])
async def test_no_list_of_streams_raises_but_that_it_is_silent(body, monkeypatch):
    api = Api(1, "/x", "secret")

    async def says(_: str) -> tuple[int, bytes]:
        return 200, body

    monkeypatch.setattr(api, "_get", says)
    if body == b"{}":
        assert await api.streams() == {}
    else:
        with pytest.raises(Silent):
            await api.streams()


@given(hostile.anything("lint_errors", "linting_errors"))
def test_no_refusal_of_an_engine_raises(body):
    _messages(body.decode("utf-8", "replace"))
