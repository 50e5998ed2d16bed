"""Every reason that `nexthos doctor` is said to see is produced, and the real command shows it.

A reason of a condition is produced by the status that a controller would write; what a check is about is
produced for real where that is cheap, else by the answer that a controller would give.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from nexthos_shared import object_format
from nexthos_shared.names import INSTALLATION_KEY, LEASE_KEY
from nexthos_shared.reasons import SEEN_BY_DOCTOR, Doctor, Reason
from nexthos_testing.nats import NatsServer

USERS = 'authorization { users: [{user: all, password: x, permissions: {publish: ">"}}] }'
WORDS = "because of the test"
Person = Any  # the fixture
Answering = Callable[..., AbstractContextManager[None]]
CONTROLLER = {
    "controller": "host-1",
    "version": "0.1.0",
    "namespace": "x",
    "installation": "abc",
    "started_at": 1.0,
    "ready": True,
    "store": "nats://x",
    "engine": "/engine",
    "pipelines": 1,
    "queued": 0,
}
CLAIM = {"holder": "host-1", "host": "host-1", "since": time.time(), "ttl": 3.0, "life": "1"}


def condition(kind: str, value: str, reason: Reason, message: str = "") -> dict[str, Any]:
    return {"type": kind, "status": value, "reason": reason, "message": message}


def of(*kinds: Doctor) -> list[Reason]:
    return [reason for reason in Reason if SEEN_BY_DOCTOR[reason] in kinds]


def diagnosis(person: Person, *args: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """The exit code, and (result, message with remedy) of each check by name."""
    result = person.types("doctor", *args)
    lines = result.stdout.replace("\n      ->", " ->").splitlines()
    return result.exit_code, {
        line[6:].partition(":")[0]: (line[:4].strip(), line[6:]) for line in lines
    }


@contextmanager
def answering(person: Person, controller: Answering, **more: Any) -> Iterator[None]:
    """A controller runs and acts, and says `more` of itself."""
    person.store(lambda store: store.control.put(LEASE_KEY, json.dumps(CLAIM).encode()))
    with controller(lambda *_: None, status=lambda _: {**CONTROLLER, **more}):
        yield


def test_every_reason_is_marked_as_seen_by_doctor_or_not() -> None:
    assert set(SEEN_BY_DOCTOR) == set(Reason)


# ---- what a pipeline's conditions say

SAID_BY = {Reason.NAME_CONFLICT: "NameConflict", Reason.ERRORING: "Erroring"}
RUNNERS = [Reason.STORE_UNAVAILABLE, Reason.NOT_PERMITTED]  # exit codes of a container's runner


@pytest.mark.fault(133)
@pytest.mark.parametrize("reason", [*of(Doctor.FAILS), *RUNNERS])
def test_doctor_exits_1_and_names_what_keeps_a_pipeline_from_its_work(
    person: Person, controller: Answering, reason: Reason
) -> None:
    kind = SAID_BY.get(reason, "Ready")
    bad = condition(kind, "True" if reason in SAID_BY else "False", reason, WORDS)
    person.put("well", {"status": "published", "version": "1"})
    with answering(person, controller):
        person.report("well", "Running", conditions=[condition("Ready", "True", Reason.READY)])
        person.report("orders", "Running", revision=0, conditions=[bad])
        code, checks = diagnosis(person)
    assert checks["pipelines"][0] == "fail"
    assert f"orders: {reason}: {WORDS}" in checks["pipelines"][1]
    assert "well" not in checks["pipelines"][1]
    assert code == 1


@pytest.mark.parametrize("kind", ["Valid", "Progressing", "Reachable"])
def test_it_does_so_whichever_condition_says_it(
    person: Person, controller: Answering, kind: str
) -> None:
    with answering(person, controller):
        bad = condition(kind, "False", Reason.INTERNAL_ERROR, WORDS)
        person.report("orders", "Running", revision=0, conditions=[bad])
        code, checks = diagnosis(person)
    assert (code, checks["pipelines"][0]) == (1, "fail")


@pytest.mark.parametrize("reason", of(Doctor.NOTICE, Doctor.PASSES))
def test_what_is_no_failure_is_none_to_doctor(
    person: Person, controller: Answering, reason: Reason
) -> None:
    warning = condition("Warning", "True", reason, WORDS)
    passing = condition("Ready", "False", reason, WORDS)
    with answering(person, controller):
        person.report("orders", "Running", revision=0, conditions=[warning, passing])
        code, checks = diagnosis(person)
    assert (code, checks["pipelines"][0]) == (0, "ok")


# ---- what a check is about


def reported(reason: Reason) -> Callable[[Person], None]:
    def produce(person: Person) -> None:
        bad = [condition(str(reason), "True", reason, WORDS)]
        person.report("orders", "Running", revision=0, conditions=bad)

    return produce


def missing_bucket(person: Person) -> None:
    person.store(lambda store: store.link.js.delete_key_value(store.names.status))


def other_installation(person: Person) -> None:
    person.store(lambda store: store.installation())
    person.store(lambda store: store.control.put(INSTALLATION_KEY, b"000000000000"))


def broken_meta(person: Person) -> None:
    async def write(store: Any) -> None:
        subject = object_format.meta_subject(store.configs.name, "orders/2")
        await store.link.nc.publish(subject, b"no JSON")
        await store.link.nc.flush()

    person.store(write)


IN_THE_STORE: dict[Reason, tuple[Callable[[Person], None], str, str]] = {
    Reason.NOT_DELIVERING: (reported(Reason.NOT_DELIVERING), "delivery", "warn"),
    Reason.ORPHANED: (reported(Reason.ORPHANED), "orphans", "warn"),
    Reason.OUTDATED: (reported(Reason.OUTDATED), "outdated", "warn"),
    Reason.STORE_MISSING: (missing_bucket, "buckets", "fail"),
    Reason.INSTALLATION_DIFFERS: (other_installation, "installation", "fail"),
    Reason.MESSAGE_SKIPPED: (broken_meta, "messages", "warn"),
}
SAID = {"reason": "", "message": WORDS}
OF_A_CONTROLLER: dict[Reason, tuple[dict[str, Any], str]] = {
    Reason.ENGINES_AS_ROOT: ({"risks": [SAID]}, "warn"),
    Reason.CREDENTIALS_SHARED: ({"risks": [SAID]}, "warn"),
    Reason.CREDENTIALS_WITHHELD: ({"risks": [SAID]}, "warn"),
    Reason.OTHER_INSTALLATION: ({"problems": [SAID]}, "warn"),
    Reason.STORE_REFUSED: ({"problems": [SAID]}, "fail"),
    Reason.WATCH_BEHIND: ({"problems": [SAID], "ready": False}, "fail"),
}
OF_THE_CONNECTION = {Reason.STORE_UNAVAILABLE, Reason.NOT_PERMITTED, Reason.NO_CONTROLLER}


def test_each_of_them_is_produced_below() -> None:
    assert {*IN_THE_STORE, *OF_A_CONTROLLER, *OF_THE_CONNECTION} == set(of(Doctor.CHECKS))


@pytest.mark.parametrize("reason", IN_THE_STORE)
def test_doctor_shows_what_it_finds_in_the_store(
    person: Person, controller: Answering, reason: Reason
) -> None:
    produce, name, result = IN_THE_STORE[reason]
    with answering(person, controller):
        healthy, before = diagnosis(person)
        produce(person)
        code, after = diagnosis(person)
    assert (healthy, before[name][0]) == (0, "ok")
    assert after[name][0] == result
    assert "->" in after[name][1]
    assert code == (1 if result == "fail" else 0)


@pytest.mark.parametrize("reason", OF_A_CONTROLLER)
def test_doctor_shows_what_a_controller_says_of_itself(
    person: Person, controller: Answering, reason: Reason
) -> None:
    answer, result = OF_A_CONTROLLER[reason]
    told = {k: [{**SAID, "reason": reason}] if v == [SAID] else v for k, v in answer.items()}
    with answering(person, controller, **told):
        code, checks = diagnosis(person)
    assert checks["controller"][0] == result
    assert WORDS in checks["controller"][1]
    assert f"nexthos explain {reason}" in checks["controller"][1]
    assert code == (1 if result == "fail" else 0)


def test_what_is_wrong_hides_no_risk(person: Person, controller: Answering) -> None:
    problem = {"reason": Reason.OTHER_INSTALLATION, "message": "another one"}
    risk = {"reason": Reason.ENGINES_AS_ROOT, "message": "as root"}
    with answering(person, controller, problems=[problem], risks=[risk]):
        line = diagnosis(person)[1]["controller"][1]
    assert "another one" in line
    assert "as root" in line


def test_doctor_exits_1_without_a_controller(person: Person) -> None:
    code, checks = diagnosis(person)
    assert (code, checks["controller"][0]) == (1, "fail")


def test_doctor_exits_1_where_nats_does_not_answer(person: Person) -> None:
    person.env["NATS_URL"] = "nats://127.0.0.1:1"
    code, checks = diagnosis(person)
    assert (code, checks["connection"][0]) == (1, "fail")
    assert "nexthos explain StoreUnavailable" in checks["connection"][1]


async def test_doctor_exits_1_where_nats_refuses_these_credentials(
    person: Person, tmp_path: Any
) -> None:
    async with NatsServer(tmp_path / "nats", config=USERS) as server:
        person.env["NATS_URL"] = server.url
        code, checks = await asyncio.to_thread(
            diagnosis, person, "--user", "all", "--password", "y"
        )
    assert (code, checks["connection"][0]) == (1, "fail")
    assert "nexthos explain NotPermitted" in checks["connection"][1]
