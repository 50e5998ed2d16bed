"""What an engine's log says of its readiness, and what must not be made of it."""

from __future__ import annotations

import pytest

from nexthos_controller.execution import SAYS
from nexthos_controller.executors.shared.log_symptoms import (
    ERRORS,
    LASTS,
    MAX_PATHS,
    MOST_ERRING,
    RECENT,
    WINDOW,
    Heard,
)
from nexthos_shared.reasons import Reason
from nexthos_shared.system_errors import with_advice

SECRET = "hunter2hunter2"


def error(message: str, path: str = "root.input") -> dict[str, str]:
    return {"level": "error", "msg": message, "path": path, "pipeline": "p"}


def active(kind: str, path: str = "root.input") -> dict[str, str]:
    return {"level": "info", "msg": f"Input type {kind} is now active", "path": path}


def heard(*entries: dict[str, str], at: float = 100.0, env: dict[str, str] | None = None) -> Heard:
    found = Heard({} if env is None else env)
    found.take(entries, at)
    return found


@pytest.mark.fault(128)
@pytest.mark.parametrize(
    "words",
    [
        "nats: consumer not found",
        "nats: no stream matches subject",
        "nats: Authorization Violation",
        "socket: too many open files",
    ],
)
def test_what_is_not_connected_says_why_in_the_engines_own_words(words):
    found = heard(error(f"Failed to connect to nats_jetstream: {words}"))
    ready, problem = found.verdict(False, "input not connected", 101.0)
    assert not ready
    assert problem is not None
    assert problem.reason is Reason.NOT_CONNECTED
    assert problem.message.endswith(
        f"{SAYS}Failed to connect to nats_jetstream: {with_advice(words)}"
    )


def test_what_is_not_connected_and_says_nothing_has_no_words():
    ready, problem = heard().verdict(False, "input not connected", 101.0)
    assert not ready
    assert problem is not None
    assert SAYS not in problem.message


def test_a_value_of_a_variable_is_masked_in_all_that_is_told():
    found = heard(error(f"Failed to connect to nats: {SECRET}"), env={"TOKEN": SECRET})
    _, problem = found.verdict(False, "input not connected", 101.0)
    assert problem is not None
    assert SECRET not in problem.message
    assert "***(TOKEN)" in problem.message


def test_where_variables_are_not_known_no_word_of_the_engine_is_told():
    found = Heard(None)
    found.take([error(f"Failed to connect to nats: {SECRET}")], 100.0)
    _, problem = found.verdict(False, "input not connected", 101.0)
    assert problem is not None
    assert SECRET not in problem.message
    for n in range(40):
        found.take([error(f"failed: {SECRET}")], 100.0 + n)
    [told] = found.erring(140.0)
    assert SECRET not in told.message


def test_messages_that_differ_in_a_number_are_told_once():
    """A status would be written at each look: a connection has another port each time."""
    found = heard(error("Failed to connect to x: dial 127.0.0.1:40001->127.0.0.1:1: refused"))
    first = found.verdict(False, "input not connected", 101.0)
    found.take([error("Failed to connect to x: dial 127.0.0.1:40002->127.0.0.1:1: refused")], 200.0)
    assert found.verdict(False, "input not connected", 201.0) == first


@pytest.mark.fault(129)
def test_a_listener_whose_address_is_taken_is_not_ready_for_as_long_as_it_lives():
    found = heard(error("Server error: listen tcp 127.0.0.1:80: bind: address already in use"))
    for now in (101.0, 10_000.0):
        ready, problem = found.verdict(True, "OK", now)
        assert not ready
        assert problem is not None
        assert problem.reason is Reason.PORT_IN_USE


@pytest.mark.fault(130)
@pytest.mark.parametrize(
    "message",
    [
        "Failed to connect to inproc output 'a': pipe was not found",
        "Failed to read message: open /nope: no such file or directory",
        "Failed to read message: open /root/x: permission denied",
        "Failed to read message: read /tmp: is a directory",
    ],
)
def test_what_is_said_again_and_again_holds_until_it_is_said_no_more(message):
    found = heard(error(message))
    ready, problem = found.verdict(True, "OK", 101.0)
    assert not ready
    assert problem is not None
    assert problem.reason is Reason.NOT_CONNECTED
    assert found.verdict(True, "OK", 100.0 + RECENT + 1) == (True, None)


@pytest.mark.fault(130)
def test_an_input_that_never_tries_again_is_not_ready_although_it_calls_itself_active():
    found = heard(error("Failed to connect to nats_kv: nats: bucket not found"), active("nats_kv"))
    ready, problem = found.verdict(True, "OK", 10_000.0)
    assert not ready
    assert problem is not None
    assert "bucket not found" in problem.message


def test_an_input_of_a_bucket_that_had_no_server_for_a_time_is_ready_afterwards():
    words = "Failed to connect to nats_kv: nats: no servers available for connection"
    found = heard(error(words), active("nats_kv"))
    assert found.verdict(True, "OK", 101.0) == (True, None)


@pytest.mark.fault(131)
def test_a_dynamic_input_is_ready_once_one_of_its_inputs_is_active():
    found = heard(active("generate", "root.input.dynamic.inputs.a"))
    assert found.verdict(False, "input not connected", 101.0) == (True, None)
    assert not found.verdict(False, "output not connected", 101.0)[0]
    found.take([error("Failed to connect to nats: no", "root.input.broker.inputs.1")], 102.0)
    assert not found.verdict(False, "input not connected", 103.0)[0]


@pytest.mark.fault(133)
def test_errors_that_go_on_are_told_with_component_and_words_and_end_with_them():
    found = Heard({})
    for n in range(ERRORS + 1):
        found.take([error("failed assignment (line 1)", "root.pipeline.processors.0")], 3.0 * n)
    [problem] = found.erring(3.0 * ERRORS)
    assert problem.reason is Reason.ERRORING
    assert problem.field == "root.pipeline.processors.0"
    assert "root.pipeline.processors.0: failed assignment" in problem.message
    found.take([error("failed assignment (line 1)", problem.field)], 3.0 * ERRORS + 5)
    assert found.erring(3.0 * ERRORS + 6) == (problem,), "it is not told anew at each error"
    assert found.erring(3.0 * ERRORS + 5 + WINDOW + 1) == ()


@pytest.mark.fault(133)
def test_each_component_that_fails_is_told_by_itself():
    found = Heard({})
    for n in range(ERRORS + 1):
        for path in ("root.pipeline.processors.0", "root.output"):
            found.take([error("failed", path)], 3.0 * n)
    told = {problem.field for problem in found.erring(3.0 * ERRORS)}
    assert told == {"root.pipeline.processors.0", "root.output"}


@pytest.mark.parametrize("times", [[0.0] * 500, [0.0, LASTS + 1], [WINDOW * n for n in range(20)]])
def test_a_burst_and_rare_errors_are_no_condition(times):
    found = Heard({})
    for at in times:
        found.take([error("failed")], at)
        assert found.erring(at) == ()


def test_a_flood_of_errors_is_told_too():
    found = Heard({})
    for n in range(int(LASTS) + 2):
        found.take([error("failed")] * 5000, float(n))
    assert len(found.erring(LASTS + 2)) == 1


def test_failing_connections_are_no_failing_messages():
    found = Heard({})
    for n in range(100):
        found.take([error("Failed to connect to nats: no servers")], float(n))
    assert found.erring(100.0) == ()


def test_whatever_is_logged_takes_a_bounded_room():
    found = Heard({})
    for n in range(10_000):
        words = f"Failed to read message: open /{'x' * 1500}: no such file or directory"
        found.take([error(words, f"root.{n}"), error("Failed to connect to x", f"r{n}")], 1.0)
        found.take([error("failed", f"root.{n}")], 1.0 + n % 20)
    assert len(found._symptoms) <= MAX_PATHS
    assert len(found._unconnected) <= MAX_PATHS
    assert len(found._erring) <= MAX_PATHS
    assert len(found.erring(21.0)) <= MOST_ERRING
    _, problem = found.verdict(True, "OK", 2.0)
    assert problem is not None
    assert len(problem.message) < 1000


@pytest.mark.parametrize("entry", [{}, {"level": 3, "msg": None}, {"level": "error", "path": [1]}])
def test_an_entry_of_another_form_is_harmless(entry):
    found = heard(entry)
    assert found.verdict(True, "OK", 101.0) == (True, None)
