"""Real engines that call themselves ready and do not work, and those that work and are not called so."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from nexthos_controller.execution import SAYS
from nexthos_controller.executors.shared import delivery
from nexthos_controller.executors.streams import watch
from nexthos_shared.reasons import Reason
from nexthos_testing.nats import NatsServer, free_port
from nexthos_testing.rig import Rig
from nexthos_testing.wait import eventually

DROP = "output: {drop: {}}\n"
SHARED = [pytest.param("process_rig", id="process"), pytest.param("streams_rig", id="streams")]


@pytest.fixture(params=SHARED)
def either(request: pytest.FixtureRequest) -> Rig:
    """A real engine of its own, and one that is shared."""
    rig: Rig = request.getfixturevalue(request.param)
    return rig


@pytest.fixture
def taken() -> Iterator[str]:
    """An address that somebody else has."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield f"127.0.0.1:{other.getsockname()[1]}"


async def unready(rig: Rig, config: str, *words: str, **definition: Any):
    """It as it is seen once it is not ready for a reason that has `words`."""
    spec = rig.spec("orders", config=config.encode(), **definition)
    await rig.executor.start(spec, 0)

    async def found():
        seen = await rig.seen(spec)
        told = seen.problem.message if seen.problem else ""
        return seen if seen.ready is False and all(w in told for w in words) else None

    return await eventually(found)


@pytest.mark.fault(128)
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("subject: nobody.has.it, durable: d", "no stream matches subject"),
        ("stream: NONE, durable: d, bind: true", "stream not found"),
    ],
)
async def test_the_engines_own_last_error_is_told(either, nats_server: NatsServer, given, words):
    config = f"input: {{nats_jetstream: {{urls: ['{nats_server.url}'], {given}}}}}\n{DROP}"
    seen = await unready(either, config, SAYS, words)
    assert seen.problem.reason is Reason.NOT_CONNECTED


@pytest.mark.fault(132)
@pytest.mark.parametrize("users", ["user: u, password: secret", "token: secret"])
async def test_a_nats_that_asks_for_credentials_is_named_as_the_cause(either, tmp_path, users):
    users = f"authorization {{ {users} }}"
    async with NatsServer(tmp_path / "nats", config=users) as server:
        config = f"input: {{nats: {{urls: ['{server.url}'], subject: a}}}}\n{DROP}"
        await unready(either, config, SAYS, "Authorization Violation")


@pytest.mark.fault(129)
@pytest.mark.parametrize(
    "given",
    [
        "http_server: {{address: '{0}', path: /in}}",
        "socket_server: {{network: tcp, address: '{0}'}}",
        "broker: {{inputs: [{{http_server: {{address: '{0}'}}}}, {{generate: {{mapping: 'root = 1'}}}}]}}",
    ],
)
async def test_a_server_on_a_taken_address_is_not_ready(either, taken, given):
    seen = await unready(either, f"input: {{{given.format(taken)}}}\n{DROP}", taken)
    assert seen.problem.reason is Reason.PORT_IN_USE


@pytest.mark.fault(129)
async def test_of_two_replicas_with_one_address_one_is_not_ready(process_rig):
    rig = process_rig
    config = f"input: {{http_server: {{address: '127.0.0.1:{free_port()}', path: /in}}}}\n{DROP}"
    spec = rig.spec("orders", config=config.encode(), replicas=2)
    for replica in (0, 1):
        await rig.executor.start(spec, replica)

    async def found():
        both = [await rig.seen(spec, replica) for replica in (0, 1)]
        return sorted(
            e.problem.reason if e.problem else "ready" for e in both if e.ready is not None
        )

    await eventually(lambda: _is(found, [Reason.PORT_IN_USE, "ready"]))


async def _is(found, wanted):
    return await found() == wanted


@pytest.mark.fault(130)
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("file: {paths: [/nowhere/x.txt]}", "no such file or directory"),
        ("csv: {paths: [/nowhere/x.csv]}", "no such file or directory"),
    ],
)
async def test_a_file_that_is_not_there_is_no_ready_input(either, given, words):
    await unready(either, f"input: {{{given}}}\n{DROP}", words)


@pytest.mark.fault(130)
async def test_a_pipe_whose_other_end_is_in_another_pipeline_is_not_ready(process_rig):
    await unready(process_rig, f"input: {{inproc: elsewhere}}\n{DROP}", "pipe was not found")


@pytest.mark.fault(130)
async def test_a_bucket_that_is_not_there_is_no_ready_input(either, nats_server: NatsServer):
    given = f"nats_kv: {{urls: ['{nats_server.url}'], bucket: nobody-made-it}}"
    seen = await unready(either, f"input: {{{given}}}\n{DROP}", "bucket not found")
    assert "nexthos restart" in seen.problem.message


@pytest.mark.fault(131)
async def test_a_dynamic_input_whose_messages_flow_is_ready(process_rig):
    inner = "{generate: {mapping: 'root = 1', interval: 10ms}}"
    config = f"input: {{dynamic: {{inputs: {{a: {inner}}}}}}}\n{DROP}"
    rig = process_rig
    spec = rig.spec("orders", config=config.encode())
    await rig.executor.start(spec, 0)

    async def ready():
        return (await rig.seen(spec)).ready

    await eventually(ready)


@pytest.mark.fault(133)
@pytest.mark.parametrize(
    ("rest", "words"),
    [
        (
            "pipeline: {processors: [{mapping: 'root = this.a.uppercase()'}]}\n" + DROP,
            "processors.0",
        ),
        (
            "output: {http_client: {url: 'http://127.0.0.1:1/', retries: 1, retry_period: 1ms}}\n",
            "refused",
        ),
    ],
)
async def test_what_is_ready_while_every_message_fails_says_so(either, rest, words, monkeypatch):
    monkeypatch.setattr("nexthos_controller.executors.shared.log_symptoms.LASTS", 1.0)
    config = f"input: {{generate: {{mapping: 'root = {{}}', interval: 100ms}}}}\n{rest}"
    spec = either.spec("orders", config=config.encode())
    await either.executor.start(spec, 0)

    async def erring():
        seen = await either.seen(spec)
        return seen if seen.symptoms else None

    seen = await eventually(erring)
    assert seen.ready
    [problem] = seen.symptoms
    assert problem.reason is Reason.ERRORING
    assert words in problem.message


@pytest.mark.fault(133)
async def test_what_takes_messages_and_gives_none_on_says_so(either, monkeypatch):
    """It logs nothing: each message is dropped by a mapping, as by one with a slip in its condition."""
    for name, value in (("EVERY", 0.2), ("SILENT_FOR", 1.0)):
        monkeypatch.setattr(delivery, name, value)
    monkeypatch.setattr(watch, "EVERY", 0.2)
    dropped = "pipeline: {processors: [{mapping: 'root = deleted()'}]}\n"
    config = f"input: {{generate: {{mapping: 'root = {{}}', interval: 20ms}}}}\n{dropped}{DROP}"
    spec = either.spec("orders", config=config.encode())
    await either.executor.start(spec, 0)

    async def silent():
        seen = await either.seen(spec)
        return seen if seen.symptoms else None

    seen = await eventually(silent)
    assert seen.ready
    assert [p.reason for p in seen.symptoms] == [Reason.NOT_DELIVERING]
