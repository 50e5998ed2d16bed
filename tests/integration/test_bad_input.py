"""Bad input: each gives a message that names key and field, touches nothing else, never loops hot."""

from __future__ import annotations

import json

import pytest

from nexthos_shared.reasons import Reason
from nexthos_testing.controller import ControllerProcess, engine_processes
from nexthos_testing.field import Field
from nexthos_testing.wait import eventually

BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)


async def looks_at(controller: ControllerProcess, key: str) -> int:
    """How often the controller said something about a pipeline."""
    return sum(1 for line in controller.log() if line.get("pipeline") == key)


@pytest.mark.fault(46, 47)
@pytest.mark.parametrize(
    ("value", "reason", "words"),
    [
        (b"not json", Reason.INVALID_DEFINITION, "bad"),
        (b"[]", Reason.INVALID_DEFINITION, "bad"),
        (b"\xff\xfe{}", Reason.INVALID_DEFINITION, "bad"),
        (
            b'{"status":"published","version":"1","colour":"red"}',
            Reason.INVALID_DEFINITION,
            "colour",
        ),
        (b'{"status":"published","version":1}', Reason.INVALID_DEFINITION, "version"),
        (b'{"status":"published"}', Reason.INVALID_DEFINITION, "version"),
        (b'{"status":"published","version":"a/b"}', Reason.INVALID_DEFINITION, "version"),
        (b'{"status":"on","version":"1"}', Reason.UNKNOWN_STATUS, "status"),
        (b'{"version":"1"}', Reason.UNKNOWN_STATUS, "status"),
        (b'{"status":"published","version":"1","id":"other"}', Reason.INVALID_DEFINITION, "id"),
        (
            b'{"status":"published","version":"1","resources":{"memory":"lots"}}',
            Reason.INVALID_DEFINITION,
            "resources.memory",
        ),
        (b'{"status":"published","version":"1","executor":"nex"}', Reason.UNKNOWN_EXECUTOR, "nex"),
        (b'{"status":"published","version":"1","connection":"x"}', Reason.UNKNOWN_CONNECTION, "x"),
        (b'{"status":"published","version":"1","engine":"x"}', Reason.UNKNOWN_ENGINE, "x"),
        (b'{"status":"published","version":"1","schema":2}', Reason.INVALID_DEFINITION, "schema"),
        (
            b'{"status":"published","version":"1","x":"' + b"y" * 60_000 + b'"}',
            Reason.INVALID_DEFINITION,
            "x",
        ),
    ],
)
async def test_a_bad_entry_is_invalid_by_name_and_touches_nothing_else(
    field: Field, controller: ControllerProcess, value: bytes, reason: Reason, words: str
) -> None:
    await field.echo("good")
    await field.put("good")
    await field.reaches("good", "Running")
    before = engine_processes(controller.state_dir)
    await field.echo("bad")
    await field.put_raw("bad", value)
    status = await field.reaches("bad", "Invalid")
    assert status.complaint is not None
    assert status.complaint.reason is reason
    assert words in status.complaint.message
    assert engine_processes(controller.state_dir) == before
    quiet = await looks_at(controller, "bad")
    await field.request("reconcile", id="good")
    assert await looks_at(controller, "bad") - quiet <= 1


@pytest.mark.fault(50)
@pytest.mark.parametrize("key", ["A", "a.b", "UPPER", "x" * 200, "-a"])
async def test_a_key_that_is_no_id_is_invalid_under_that_key(field: Field, key: str) -> None:
    await field.put(key)
    status = await field.reaches(key, "Invalid")
    assert status.complaint is not None
    assert status.complaint.reason is Reason.INVALID_NAME
    await field.delete(key)

    async def is_gone() -> bool:
        return await field.status(key) is None

    await eventually(is_gone)


@pytest.mark.fault(50, 51)
@pytest.mark.parametrize("key", ["a..b", "a/../../x", "a b", "", "x" * 300])
async def test_the_service_refuses_what_can_be_no_key(field: Field, key: str) -> None:
    for endpoint in ("status", "reconcile"):
        reply = await field.request(endpoint, id=key)
        assert reply["code"] in (400, 404)
        assert reply["reason"] in ("InvalidName", "NotFound")


@pytest.mark.fault(48, 49, 52)
@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (b"inptu: {}\n", Reason.LINT_FAILED),
        (b"input:\n  stdin: {}\n  nonsense: 1\noutput: {drop: {}}\n", Reason.LINT_FAILED),
        (b"\xff\xfe\x00input", Reason.CONFIG_NOT_TEXT),
        (BOMB.encode(), Reason.LINT_FAILED),
        (
            b"input: {generate: {mapping: 'root = 1'}}\noutput: {drop: {}}\n#" + b"x" * 1024 * 1024,
            Reason.CONFIG_TOO_LARGE,
        ),
        (b"input: {kafka_franz: {}}\noutput: {drop: {}}\n", Reason.COMPONENT_MISSING),
        (b"input: {stdin: {}}\noutput: {file: {path: '${NOWHERE}'}}\n", Reason.VARIABLE_MISSING),
    ],
)
async def test_a_first_publish_of_a_bad_configuration_is_invalid_and_leaves_nothing_running(
    field: Field, controller: ControllerProcess, config: bytes, reason: Reason
) -> None:
    await field.config("bad", config)
    await field.put("bad")
    status = await field.reaches("bad", "Invalid")
    assert status.complaint is not None
    assert status.complaint.reason is reason, status.complaint
    assert engine_processes(controller.state_dir) == {}
    assert list((controller.state_dir / "executions").iterdir()) == []


async def test_a_bad_new_version_names_file_line_and_column_while_the_old_one_runs_on(
    field: Field, controller: ControllerProcess
) -> None:
    await field.echo("orders")
    await field.put("orders")
    await field.reaches("orders", "Running")
    before = engine_processes(controller.state_dir)
    await field.config("orders", field.echo_text("orders").replace("subject", "subjekt", 1), "2")
    await field.put("orders", version="2")
    status = await field.complains("orders", Reason.LINT_FAILED)
    assert status.complaint is not None
    assert (status.phase, status.version) == ("Running", "1")
    assert (status.complaint.file, status.complaint.line) == ("orders/2", 4)
    assert status.complaint.column is not None
    assert engine_processes(controller.state_dir) == before
    assert await field.says("orders") == "v1 hello"


@pytest.mark.fault(86)
async def test_an_overwritten_object_is_never_silently_picked_up(
    field: Field, controller: ControllerProcess
) -> None:
    await field.echo("orders", "v1")
    await field.put("orders")
    await field.reaches("orders", "Running")
    await field.echo("orders", "overwritten", "1")
    await field.complains("orders", Reason.CONFIG_CHANGED)
    await field.put("orders", "paused")
    await field.reaches("orders", "Paused")
    await field.put("orders")
    await field.until_it_says("orders", "v1 hello")


async def test_a_missing_new_version_is_named_while_the_old_one_runs_on(field: Field) -> None:
    await field.echo("orders")
    await field.put("orders")
    await field.reaches("orders", "Running")
    revision = await field.put("orders", version="2")
    status = await field.reaches("orders", "Running")
    assert status.observed_revision == revision
    assert status.complaint is not None
    assert (status.complaint.type, status.complaint.reason) == ("Valid", Reason.CONFIG_MISSING)
    assert "orders/2" in status.complaint.message
    assert await field.says("orders") == "v1 hello"


@pytest.mark.fault(45)
async def test_a_wrong_digest_is_refused_while_the_old_version_runs_on(field: Field) -> None:
    await field.echo("orders")
    await field.put("orders")
    await field.reaches("orders", "Running")
    await field.echo("orders", "v2", "2")
    await field.put("orders", version="2", digest="sha256:" + "0" * 64)
    status = await field.reaches("orders", "Running")
    assert status.complaint is not None
    assert status.complaint.reason is Reason.DIGEST_MISMATCH
    assert await field.says("orders") == "v1 hello"


@pytest.mark.fault(85)
async def test_paused_with_anything_else_wrong_pauses(
    field: Field, controller: ControllerProcess
) -> None:
    await field.echo("orders")
    await field.put("orders")
    await field.reaches("orders", "Running")
    await field.put_raw("orders", json.dumps({"status": "paused", "colour": 1}).encode())
    await field.reaches("orders", "Paused")
    assert engine_processes(controller.state_dir) == {}
