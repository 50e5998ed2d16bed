"""`nexthos top`: tables of two samples, on a terminal and off it, and as JSON."""

from __future__ import annotations

import itertools
import os
import pty
import signal
import subprocess

import pytest

from nexthos_testing.controller import CONTROLLER

NEXTHOS = CONTROLLER.parent / "nexthos"


@pytest.fixture
def counting():
    """Answers `usage`: each time 10 more messages and 20 ms of CPU, half a second later."""
    samples = itertools.count(1)
    asked = []

    def answer(request):
        asked.append(request)
        n = next(samples)
        execution = {
            "execution": "x-a-0-1",
            "uid": "u1",
            "replica": 0,
            "running": True,
            "at": n * 0.5,
            "received": n * 1000,
            "sent": n * 10,
            "errors": 0,
            "cpu_seconds": n * 0.02,
            "memory_bytes": 3 * 2**20,
        }
        a = {
            "id": "a",
            "phase": "Running",
            "ready": 1,
            "replicas": 1,
            "restarts": 2,
            "memory_bytes": 3 * 2**20,
            "received": n * 1000,
            "sent": n * 10,
            "errors": 0,
            "executions": [execution],
        }
        b = {"id": "b", "phase": "Paused"}
        if request.get("cursor") == "a":
            return {"pipelines": [b], "total": 2}
        return {"pipelines": [a], "total": 2, "cursor": "a"}

    answer.asked = asked  # type: ignore[attr-defined]
    return answer


def cells(text):
    return [[cell for cell in line.split("  ") if cell] for line in text.splitlines()]


def test_one_table_comes_after_two_samples_where_there_is_no_terminal(person, controller, counting):
    with controller(lambda *_: None, usage=counting):
        done = person.does("top", "--every", "100ms")
    header, a, b = cells(done.stdout)
    assert header[:5] == ["ID", "PHASE", "READY", "CPU%", "MEMORY"]
    assert [cell.strip() for cell in a] == (
        ["a", "Running", "1/1", "4.0", "3.0Mi", "2,000", "20.0", "0.0", "3,000", "30", "0", "2"]
    )
    assert [cell.strip() for cell in b] == ["b", "Paused", "0/0", *["-"] * 8, "0"]
    assert len(counting.asked) == 4


def test_what_is_not_shown_is_told(person, controller, counting):
    def answer(request):
        return {**counting(request), "total": 1_500}

    with controller(lambda *_: None, usage=answer):
        done = person.does("top", "--every", "100ms")
    assert "and 1498 more" in done.stderr


def test_count_says_how_many_tables(person, controller, counting):
    with controller(lambda *_: None, usage=counting):
        done = person.does("top", "--every", "100ms", "--count", "3")
    assert done.stdout.count("CPU%") == 3


def test_what_is_asked_for_is_handed_on(person, controller, counting):
    with controller(lambda *_: None, usage=counting):
        person.does("top", "a", "pipeline/b", "-l", "team=x", "--every", "100ms", "--once")
    assert counting.asked[0]["ids"] == ["a", "b"]
    assert counting.asked[0]["labels"] == {"team": "x"}


def test_json_has_one_object_per_pipeline_and_null_for_what_is_not_known(
    person, controller, counting
):
    with controller(lambda *_: None, usage=counting):
        done = person.json("top", "--every", "100ms", schema="output-top")
    a, b = done["pipelines"]
    assert (a["id"], a["received_per_second"]) == ("a", 2000.0)
    assert a["cpu_percent"] == pytest.approx(4.0)
    assert (b["id"], b["received_per_second"], b["memory_bytes"]) == ("b", None, None)
    assert done["seconds"] > 0


def test_a_terminal_gets_a_table_in_place_until_ctrl_c(person, controller, counting):
    main, sub = pty.openpty()
    with controller(lambda *_: None, usage=counting):
        process = subprocess.Popen(
            [NEXTHOS, "top", "--every", "100ms"],
            env={**os.environ, **person.env, "TERM": "xterm", "COLUMNS": "120", "LINES": "20"},
            stdout=sub,
            stderr=sub,
        )
        os.close(sub)
        seen = b""
        while seen.count(b"2,000") < 3:
            seen += os.read(main, 65536)
        process.send_signal(signal.SIGINT)
        try:
            while more := os.read(main, 65536):
                seen += more
        except OSError:
            pass
        assert process.wait(timeout=10) == 130
    os.close(main)
    assert b"Traceback" not in seen
    assert b"\x1b[1A" in seen  # the cursor goes back up: no second table below the first


@pytest.mark.parametrize(
    "args",
    [
        ("--every", "10ms"),
        ("--once", "--count", "2"),
        ("-o", "json", "--count", "2"),
        ("--sort", "age"),
        ("--count", "0"),
    ],
)
def test_contradictions_are_refused(person, args):
    assert person.types("top", *args).exit_code == 2


def test_without_a_controller_it_says_so(person):
    result = person.types("top")
    assert result.exit_code == 1
    assert "NoController" in result.stderr


def test_where_there_are_no_pipelines_it_says_so(person, controller):
    with controller(lambda *_: None, usage=lambda _: {"pipelines": [], "total": 0}):
        done = person.does("top", "--every", "100ms")
    assert (done.stdout, done.stderr) == ("", "no pipelines\n")
