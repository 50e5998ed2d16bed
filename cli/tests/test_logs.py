"""`nexthos logs`: what it asks of the controller, and what it prints of the answer."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import nats
import pytest

from nexthos_shared.names import Names
from nexthos_testing.tty import HOSTILE, on_terminal

NEXTHOS = Path(sys.executable).parent / "nexthos"
END = "Nexthos-Logs-End"


def line(text, replica=0, **more):
    name = f"x-a-{replica}-1"
    return {"execution": name, "replica": replica, "stream": "log", "text": text, **more}


def lines(*listed, dropped=0, replicas=1):
    return {"lines": list(listed), "dropped": dropped, "replicas": replicas}


@contextmanager
def telling(person, *messages, end="Complete", headers=None, reply_to=None):
    """A controller that answers `logs` with these messages and an end; yields what it was asked.

    A message that is to be answered is a request, so the next one comes when it was.
    """
    started: Future[None] = Future()
    stop = threading.Event()
    asked, answered = [], []

    async def tell(nc, message):
        asked.append(json.loads(message.data))
        for body in messages:
            if reply_to is not None:
                await nc.publish(message.reply, json.dumps(body).encode(), reply=reply_to)
            elif asked[-1].get("follow"):
                reply = await nc.request(message.reply, json.dumps(body).encode(), timeout=10)
                answered.append(reply.data)
            else:
                await nc.publish(message.reply, json.dumps(body).encode())
        if end is not None:
            await nc.publish(message.reply, b"", headers=headers or {END: end})

    async def run():
        tasks = set()
        nc = await nats.connect(person.url)  # a stranger's client, which checks no subject

        async def asks(message):
            tasks.add(asyncio.create_task(tell(nc, message)))

        try:
            await nc.subscribe(Names(person.namespace).endpoint("logs"), cb=asks)
            await nc.flush()
            started.set_result(None)
            await asyncio.to_thread(stop.wait)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            await nc.close()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    started.result(timeout=10)
    try:
        yield asked
    finally:
        stop.set()
        thread.join(timeout=10)


def test_lines_are_printed_as_they_are_and_parts_are_joined(person):
    body = lines(line('{"a": 1}'), line("long ", more=True), line("line"), line(""), line("end"))
    with telling(person, body, lines(line("more"))) as asked:
        result = person.does("logs", "a")
    assert result.stdout == '{"a": 1}\nlong line\n\nend\nmore\n'
    assert result.stderr == ""
    assert asked == [{"id": "a", "tail": 100, "follow": False}]


@pytest.mark.parametrize("reply_to", ["$JS.API.STREAM.PURGE.x", "x.y", "_INBOX.>"])
def test_nothing_is_sent_to_whatever_somebody_who_answers_names(person, reply_to, nats_server):
    sent = []

    async def record(message):
        sent.append(message.subject)

    async def watching():
        nc = await nats.connect(nats_server.url)
        try:
            await nc.subscribe(">", cb=record)
            await nc.flush()
            with telling(person, lines(line("one")), reply_to=reply_to):
                done = await asyncio.to_thread(person.does, "logs", "a", "--follow")
                assert done.stdout == "one\n"
            await nc.flush()
        finally:
            await nc.close()

    asyncio.run(watching())
    assert any(subject.endswith(".svc.logs") for subject in sent)
    assert reply_to not in sent


def test_lines_of_several_replicas_are_named(person):
    with telling(person, lines(line("one"), line("two", replica=1), replicas=2)):
        assert person.does("logs", "a").stdout == "[x-a-0-1] one\n[x-a-1-1] two\n"


def test_tail_and_replica_are_handed_on(person):
    with telling(person, lines()) as asked:
        assert person.does("logs", "pipeline/a", "--tail", "7", "--replica", "1").stdout == ""
    assert asked == [{"id": "a", "tail": 7, "follow": False, "replica": 1}]


def test_since_leaves_out_what_is_older_with_the_lines_that_belong_to_it(person):
    now = time.time()
    body = lines(
        line("nobody knows when"),
        line("old", time=now - 7200),
        line("of the old"),
        line("young", time=now - 60),
        line("of the young"),
        line("other, old", replica=1, time=now - 7200),
        line("of the young too"),
    )
    with telling(person, body) as asked:
        done = person.does("logs", "a", "--since", "1h")
    assert done.stdout == "young\nof the young\nof the young too\n"
    assert asked[0]["tail"] == 10_000


def test_lines_that_were_left_out_are_told(person):
    with telling(person, lines(line("one"), dropped=12)):
        result = person.does("logs", "a")
    assert result.stdout == "one\n"
    assert "12 lines were left out" in result.stderr


def test_following_answers_each_message_and_tells_why_it_ended(person):
    with telling(person, lines(line("one")), lines(), lines(line("two")), end="Deleted") as asked:
        result = person.does("logs", "a", "-f")
    assert result.stdout == "one\ntwo\n"
    assert "pipeline a was deleted" in result.stderr
    assert asked[0]["follow"] is True


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("Draft", "is a draft"),
        ("Complete", "is done"),
        ("ControllerStopped", "the controller stopped"),
        ("SomethingNew", "SomethingNew"),
    ],
)
def test_every_end_of_following_has_its_words(person, end, words):
    with telling(person, end=end):
        assert words in person.does("logs", "a", "-f").stderr


def test_following_is_ended_by_ctrl_c(person):
    with telling(person, lines(line("one")), end=None):
        process = person.spawn("logs", "a", "-f")
        assert process.stdout is not None
        assert process.stdout.readline() == "one\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Traceback" not in errors


def test_json_is_one_document_with_every_line(person):
    body = lines(line("one", time=1.5), line("two", replica=1), dropped=3)
    with telling(person, body, lines(line("three"))):
        done = person.json("logs", "a", schema="output-logs")
    assert (done["id"], done["dropped"]) == ("a", 3)
    assert [found["text"] for found in done["lines"]] == ["one", "two", "three"]
    assert done["lines"][0]["time"] == 1.5
    assert person.types("logs", "a", "-f", "-o", "json").exit_code == 2


def test_an_error_of_the_controller_is_told_with_its_reason(person):
    headers = {"Nats-Service-Error-Code": "429", "Nats-Service-Error": "Temporary: 16 follow"}
    with telling(person, headers=headers):
        result = person.types("logs", "a", "-f")
    assert result.exit_code == 1
    assert "16 follow" in result.stderr


def test_without_a_controller_it_says_so(person):
    result = person.types("logs", "a")
    assert result.exit_code == 1
    assert "NoController" in result.stderr


def test_a_controller_that_says_nothing_is_not_waited_for_for_ever(person):
    with telling(person, end=None):
        result = person.types("logs", "a", "--timeout", "200ms")
    assert result.exit_code == 4
    assert "said nothing" in result.stderr


@pytest.mark.fault(115)
def test_lines_of_an_engine_are_written_out_unless_raw_is_asked_for(person):
    entry = json.dumps({"level": "error", "msg": HOSTILE, "path": HOSTILE}, ensure_ascii=False)
    body = lines(line(HOSTILE), line(entry), line("tail " + HOSTILE, more=True), line("end"))
    with telling(person, body):
        shown = on_terminal([NEXTHOS, "logs", "orders"], person.env)
        assert shown.obeyed == []
        assert "ERROR \\x1b]0;title" in "\n".join(shown.lines)
        piped = person.does("logs", "orders").stdout
        assert "\x1b" not in piped
        assert json.loads(piped.splitlines()[1])["msg"] == HOSTILE
        raw = person.does("logs", "orders", "--raw").stdout
        assert raw == f"{HOSTILE}\n{entry}\ntail {HOSTILE}end\n"
        raw = on_terminal([NEXTHOS, "logs", "orders", "--raw"], person.env)
        assert "\x1b]0;title\x07" in raw.text
