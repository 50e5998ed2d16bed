"""The micro service, asked as the `nats` CLI asks any NATS service."""

from __future__ import annotations

import asyncio
import json

import nats
import pytest
from jsonschema import Draft202012Validator

from nexthos_testing.controller import ControllerProcess
from nexthos_testing.field import Field
from nexthos_testing.wait import eventually


async def info(field: Field) -> dict[str, object]:
    reply = await field.nc.request(f"$SRV.INFO.{field.names.service}", b"", timeout=5)
    return dict(json.loads(reply.data))


async def test_the_service_answers_ping_info_and_stats(field: Field) -> None:
    for verb in ("PING", "INFO", "STATS"):
        reply = json.loads((await field.nc.request(f"$SRV.{verb}.{field.names.service}", b"")).data)
        assert reply["type"] == f"io.nats.micro.v1.{verb.lower()}_response"
        assert reply["name"] == field.names.namespace


async def test_each_endpoint_has_its_schemas_and_a_subject_of_the_namespace(field: Field) -> None:
    endpoints = {e["name"]: e for e in (await info(field))["endpoints"]}  # type: ignore[attr-defined]
    assert set(endpoints) == {"status", "list", "reconcile", "logs", "usage", "config"}
    assert endpoints["config"].pop("subject") == f"{field.names.config_subject('*')}"
    for name, endpoint in endpoints.items():
        if name != "config":
            assert endpoint["subject"] == f"{field.names.namespace}.svc.{name}"
        for kind in ("request_schema", "response_schema"):
            schema = json.loads(endpoint["metadata"][kind])
            Draft202012Validator.check_schema(schema)
            assert schema.keys() & {"properties", "anyOf", "format"}, name


async def test_status_tells_definition_and_status(field: Field) -> None:
    await field.echo("orders")
    await field.put("orders", labels={"team": "a"})
    await field.reaches("orders", "Running")
    await field.request("reconcile", id="orders")
    reply = await field.request("status", id="orders")
    assert reply["definition"]["labels"] == {"team": "a"}
    assert reply["status"]["phase"] == "Running"
    assert reply["status"]["executions"][0]["state"] == "running"


async def test_status_without_id_tells_of_the_controller_and_its_executors(field: Field) -> None:
    reply = await field.request("status")
    assert reply["namespace"] == field.names.namespace
    assert [(e["name"], e["default"], e["reachable"]) for e in reply["executors"]] == [
        ("process", True, True)
    ]
    assert "bento" in reply["engine"]


async def test_an_empty_body_is_an_empty_request(field: Field) -> None:
    assert (await field.request_raw("status", b""))["ready"] is True


async def test_list_pages_selects_by_label_and_by_phase(field: Field) -> None:
    for n in range(5):
        await field.put(f"p{n}", "paused", labels={"parity": "even" if n % 2 == 0 else "odd"})
    await field.put("broken", "published", version="none")
    await field.reaches("broken", "Invalid")
    for n in range(5):
        await field.reaches(f"p{n}", "Paused")
    await field.request("reconcile")
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await field.request("list", limit=2, phase="Paused", **cursor)
        assert page["total"] == 5
        seen += [p["id"] for p in page["pipelines"]]
        if "cursor" not in page:
            break
        cursor = {"cursor": page["cursor"]}
    assert seen == [f"p{n}" for n in range(5)]
    even = await field.request("list", labels={"parity": "even"})
    assert [p["id"] for p in even["pipelines"]] == ["p0", "p2", "p4"]
    assert even["pipelines"][0]["phase"] == "Paused"


async def test_reconcile_waits_for_the_outcome(field: Field) -> None:
    await field.echo("orders")
    await field.put("orders")

    async def known() -> bool:
        reply = await field.request("reconcile", id="orders", timeout="4s")
        return bool(reply.get("outcomes"))

    await eventually(known)
    outcome = (await field.request("reconcile", id="orders"))["outcomes"][0]
    assert (outcome["phase"], outcome["settled"]) == ("Running", True)
    everything = await field.request("reconcile")
    assert everything["unsettled"] == 0


async def test_reconcile_says_when_it_is_not_there_in_time(field: Field) -> None:
    text = field.echo_text("orders").replace("${NATS_URL}", "nats://127.0.0.1:1")
    await field.config("orders", text)
    await field.put("orders")
    await field.reaches("orders", "Starting")
    reply = await field.request("reconcile", id="orders", timeout="200ms")
    assert reply["unsettled"] == 1
    assert reply["outcomes"][0]["settled"] is False


@pytest.mark.fault(66)
@pytest.mark.parametrize(
    ("endpoint", "body", "code", "words"),
    [
        ("status", b"{", 400, "JSON"),
        ("status", b"[]", 400, "object"),
        ("status", b'{"idd": "x"}', 400, "idd"),
        ("status", b'{"id": 1}', 400, "id"),
        ("status", b'{"id": "nobody"}', 404, "nobody"),
        ("list", b'{"limit": 0}', 400, "limit"),
        ("list", b'{"phase": "Happy"}', 400, "phase"),
        ("reconcile", b'{"timeout": "soon"}', 400, "timeout"),
        ("reconcile", b'{"id": "nobody"}', 404, "nobody"),
        ("status", b'{"id": "' + b"x" * 300_000 + b'"}', 413, "262144"),
        ("status", b"\xff\xfe", 400, ""),
    ],
)
async def test_a_bad_request_gets_an_error_and_the_service_lives(
    field: Field, endpoint: str, body: bytes, code: int, words: str
) -> None:
    reply = await field.request_raw(endpoint, body)
    assert reply["code"] == code
    assert words in reply["message"]
    assert reply["headers"]["Nats-Service-Error-Code"] == str(code)
    assert reply["headers"]["Nats-Service-Error"]
    assert (await field.request("status"))["ready"] is True


async def test_errors_are_counted_in_the_statistics(field: Field) -> None:
    async def counted() -> tuple[int, int, str]:
        reply = await field.nc.request(f"$SRV.STATS.{field.names.service}", b"")
        [stats] = [e for e in json.loads(reply.data)["endpoints"] if e["name"] == "status"]
        return stats["num_requests"], stats["num_errors"], stats["last_error"]

    requests, errors, _ = await counted()
    await field.request("status", id="nobody")
    await field.request("status")
    now = await counted()
    assert now[:2] == (requests + 2, errors + 1)
    assert "nobody" in now[2]


@pytest.mark.fault(66)
async def test_a_request_without_reply_subject_does_no_harm(field: Field) -> None:
    await field.nc.publish(field.names.endpoint("status"), b"{}")
    await field.nc.publish(field.names.endpoint("status"), b"nonsense")
    assert (await field.request("status"))["ready"] is True


async def test_a_slow_request_does_not_keep_others_waiting(field: Field) -> None:
    text = field.echo_text("slow").replace("${NATS_URL}", "nats://127.0.0.1:1")
    await field.config("slow", text)
    await field.put("slow")
    await field.reaches("slow", "Starting")
    slow = [
        asyncio.create_task(field.request("reconcile", id="slow", timeout="3s")) for _ in range(20)
    ]
    async with asyncio.timeout(2.0):
        reply = await field.request("reconcile", timeout="10ms")
    assert reply["unsettled"] == 1
    assert not any(task.done() for task in slow)
    await asyncio.gather(*slow)


async def test_requests_in_flight_are_answered_on_shutdown(
    field: Field, controller: ControllerProcess
) -> None:
    text = field.echo_text("slow").replace("${NATS_URL}", "nats://127.0.0.1:1")
    await field.config("slow", text)
    await field.put("slow")
    await field.reaches("slow", "Starting")
    request = asyncio.create_task(field.request("reconcile", id="slow", timeout="1500ms"))

    async def in_flight() -> bool:
        reply = await field.nc.request(f"$SRV.STATS.{field.names.service}", b"")
        return any(e["data"]["in_flight"] for e in json.loads(reply.data)["endpoints"])

    await eventually(in_flight)
    assert await controller.terminate() == 0
    assert (await request)["unsettled"] == 1
    with pytest.raises(nats.errors.NoRespondersError):
        await field.request("status")
