"""What somebody with few rights stored, on the terminal of somebody who looks."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec import convert
from ruamel.yaml import YAML

from nexthos_shared.model import Event
from nexthos_testing.tty import FORGED, HOSTILE, on_terminal

NEXTHOS = Path(sys.executable).parent / "nexthos"

GOOD = {"status": "published", "version": "1"}
LABELS = {"team": HOSTILE}


def store_hostile(person):
    """A definition, a status and an event as their writers can make them."""
    person.put("orders", GOOD | {"labels": LABELS, "name": HOSTILE, "description": HOSTILE})
    ready = {"type": "Ready", "status": "False", "reason": "Exited", "message": HOSTILE}
    runs = {
        "name": HOSTILE,
        "uid": "1",
        "executor": HOSTILE,
        "place": HOSTILE,
        "replica": 0,
        "spec_hash": "x",
        "state": "running",
    }
    person.report(
        "orders",
        "CrashLoop",
        replicas=1,
        version="1",
        conditions=[ready | {"file": HOSTILE, "line": 1}],
        executions=[runs, runs | {"place": "host-1"}],
        controller=HOSTILE,
    )
    data = {"pipeline": HOSTILE, "reason": "Exited", "message": HOSTILE, "version": HOSTILE}
    event = convert(
        {
            "id": "1",
            "source": "x",
            "type": "nexthos.pipeline.phase",
            "subject": "orders",
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "data": data,
        },
        Event,
    )
    person.store(lambda store: store.events.publish(event))


def looks(person, *args, code=0, **options):
    shown = on_terminal([NEXTHOS, *args], person.env, **options)
    assert shown.code == code, shown.text
    assert shown.obeyed == []
    assert not any(line.strip().startswith(FORGED) for line in shown.lines), shown.text
    return shown


@pytest.mark.fault(115)
@pytest.mark.parametrize(
    "args",
    [
        ("ls",),
        ("ls", "-o", "wide"),
        ("ls", "-o", "json"),
        ("ls", "-o", "yaml"),
        ("status", "orders"),
        ("status", "orders", "-o", "json"),
        ("status", "orders", "-o", "yaml"),
        ("events",),
        ("events", "-o", "json"),
        ("get", "orders"),
        ("get", "orders", "-o", "json"),
        ("history", "orders"),
    ],
    ids=" ".join,
)
def test_what_was_stored_never_reaches_the_terminal_as_it_is(person, args):
    store_hostile(person)
    shown = looks(person, *args)
    assert ("title" in shown.text) is (args[0] != "history")  # which has no words of a person


def test_waiting_and_its_errors_are_written_out(person):
    store_hostile(person)
    shown = looks(person, "--timeout", "1s", "wait", "orders", "--for", "ready", code=1)
    assert "\\x1b]0;title" in shown.text


def test_doctor_and_prompts_are_written_out(person):
    store_hostile(person)
    looks(person, "doctor", code=1)
    shown = looks(person, "abandon", "host-1", code=1, typed=b"n\n")
    assert "gone for good?" in shown.text
    assert "\\x1b]0;title" in shown.text


def test_what_is_watched_is_written_out(person):
    store_hostile(person)
    follow = ("events", "-f")
    for args, words in (
        (("ls", "-w"), "\\x1b]0;title"),
        (follow, "\\x1b]0;title"),
        ((*follow, "-o", "json"), "\\u001b]0;title"),
    ):
        looks(person, *args, code=130, columns=200, until=words)


def test_off_a_terminal_text_is_written_out_too_and_json_and_yaml_read_the_same(person):
    store_hostile(person)
    table = person.does("ls", "-o", "wide").stdout
    assert len(table.splitlines()) == 2
    assert "\x1b" not in table
    stored = person.json("get", "orders", schema="manifest")
    assert stored["labels"] == LABELS
    text = person.does("get", "orders").stdout
    assert not set("\x1b\x9b\u202e") & set(text)
    assert YAML(typ="safe").load(text)["labels"] == LABELS


def test_errors_of_the_controller_are_written_out(person, controller):
    def refuse(_):
        error = {"Nats-Service-Error-Code": "404", "Nats-Service-Error": "x"}
        return {"headers": error, "reason": "NotFound", "message": HOSTILE, "errors": []}

    with controller(lambda *_: None, status=refuse, reconcile=refuse, usage=refuse):
        for args in (("status",), ("reconcile", "orders"), ("top", "--once")):
            looks(person, *args, code=1)


@pytest.mark.fault(115)
def test_names_of_files_are_written_out(person):
    name = os.fsencode(person.folder / "\x1b]0;title\x07\u202e.yaml") + b"\xff.yaml"
    with open(name, "wb") as file:
        file.write(b"input: {generate: {mapping: 'root = 1'}}\noutput: {nowhere: {}}\n")
    for verb in ("lint", "apply"):
        for path in (name, os.fsencode(person.folder)):
            shown = on_terminal([NEXTHOS, verb, path], person.env)
            assert shown.code == 1, shown.text
            assert shown.obeyed == []
            assert "\\x1b]0;title\\x07\\u202e" in shown.text
        shown = looks(person, verb, str(person.folder), "-o", "json", code=1)
        assert "a defect" not in shown.text


@pytest.mark.parametrize(
    "args",
    [
        (HOSTILE,),
        ("ls", HOSTILE),
        ("ls", "--phase", HOSTILE),
        ("status", HOSTILE),
        ("explain", HOSTILE),
        ("schema", HOSTILE),
        ("-n", HOSTILE, "ls"),
        ("--context", HOSTILE, "ls"),
        ("--creds", HOSTILE, "ls"),
        ("-s", f"nats://{HOSTILE}:1", "ls"),
        ("-s", "nats://127.0.0.1:1", "ls", "-l", HOSTILE),
    ],
)
def test_what_was_typed_is_written_out_in_errors(person, args):
    shown = on_terminal([NEXTHOS, *args], person.env)
    assert shown.code in (1, 2), shown.text
    assert shown.obeyed == []
    assert "defect" not in shown.text


@contextmanager
def answering(words):
    """A server that greets everybody with these bytes, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(words)

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        yield f"nats://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.fault(115)
def test_a_server_that_answers_with_escapes_does_not_reach_the_terminal(person):
    words = HOSTILE.replace("\n", "").replace("\r", "").replace("'", "")
    with answering(b"-ERR '%s'\r\n" % words.encode("utf-8", "surrogatepass")) as url:
        shown = on_terminal([NEXTHOS, "--timeout", "3s", "-s", url, "ls"], person.env)
        assert shown.code == 1, shown.text
        assert shown.obeyed == []


def test_completion_offers_no_key_that_a_shell_would_run(person):
    person.put("orders", GOOD)
    person.put("o/$(x)", GOOD)
    complete = {
        "_NEXTHOS_COMPLETE": "bash_complete",
        "COMP_WORDS": "nexthos status o",
        "COMP_CWORD": "2",
    }
    done = subprocess.run(
        [NEXTHOS], env={**os.environ, **person.env, **complete}, capture_output=True, text=True
    )
    assert done.stdout == "plain,orders\n"


def test_a_traceback_that_is_asked_for_is_written_out(person, monkeypatch):
    def break_(*_):
        raise ValueError(HOSTILE)

    monkeypatch.setattr("nexthos_cli.app.App.options", break_)
    person.env["NEXTHOS_DEBUG"] = "1"
    result = person.types("ls")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert not set("\x1b\x9b\u202e") & set(result.stderr)
