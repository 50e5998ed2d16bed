"""rollout: what was started with older settings is renewed at a pace, and it stops when that goes wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from functools import partial

import pytest

from nexthos_testing.wait import eventually

GOOD = {"status": "published", "version": "1"}


def condition(kind, value, reason, message=""):
    return {"type": kind, "status": value, "reason": reason, "message": message}


def status(phase, revision, **more):
    return {"phase": phase, "observed_revision": revision, "version": "1", **more}


OLDER = condition("Outdated", "True", "Outdated", "started with engine 1, 2 is the present one")


def as_before(entry):
    """What a controller says of one that nobody restarted."""
    return status("Running", entry.revision, ready=1, replicas=1, conditions=[OLDER])


def was_restarted(entry):
    return json.loads(entry.value).get("restart_nonce", 0) > 0


def older(person, *keys, **more):
    """Pipelines that run with older settings."""
    for key in keys:
        person.put(key, GOOD | more)
        person.report(key, "Running", ready=1, replicas=1, version="1", conditions=[OLDER])


class House:
    """A controller under which what is restarted becomes ready, except `broken`; keeps count."""

    def __init__(self, broken: Collection[str] = (), fresh: Collection[str] = ()) -> None:
        self.broken = broken
        self.fresh = fresh
        self.begun: list[str] = []

    def __call__(self, key, entry):
        if not was_restarted(entry) and key not in self.fresh:
            return as_before(entry)
        self.begun.append(key)
        if key in self.broken:
            back = condition("Progressing", "False", "RolledBack", "no broker; it runs as before")
            return status("Running", entry.revision, conditions=[OLDER, back])
        return status("Running", entry.revision, ready=1, replicas=1)


def nonces(person, keys):
    return {key: person.stored(key).get("restart_nonce", 0) for key in keys}


def test_only_what_is_outdated_is_renewed_one_after_the_other(person, controller):
    older(person, "a", "b")
    person.put("new", GOOD)
    person.report("new", "Running", ready=1, replicas=1, version="1")
    house = House(fresh={"new"})
    with controller(house):
        result = person.does("rollout", "-y")
    assert house.begun[-2:] == ["a", "b"]
    assert nonces(person, ["a", "b", "new"]) == {"a": 1, "b": 1, "new": 0}
    assert [line.split(" after ")[0] for line in result.stdout.splitlines()] == [
        "pipeline/a ready",
        "pipeline/b ready",
    ]
    assert "pipeline/a: renewing, 1 of 2" in result.stderr
    assert "nothing is outdated" in person.does("rollout", "-y").stderr


def test_it_means_all_and_asks_unless_named(person, controller):
    older(person, "a", "b", "c", labels={"team": "web"})
    no = person.types("rollout", input="n\n")
    assert no.exit_code == 1
    assert "renew 3 pipelines (a, b, c), 1 at a time?" in no.stderr
    assert nonces(person, "abc") == {"a": 0, "b": 0, "c": 0}
    with controller(House()):
        person.does("rollout", "b")
        assert nonces(person, "abc") == {"a": 0, "b": 1, "c": 0}
        again = person.does("rollout", "b")
        assert "pipeline/b: nothing of it is outdated" in again.stderr
        person.does("rollout", "-l", "team=web")
    assert nonces(person, "abc") == {"a": 1, "b": 1, "c": 1}


def test_a_failure_ends_it_and_tells_what_was_not_renewed(person, controller):
    older(person, "a", "b", "c", "d")
    with controller(House(broken={"b"})):
        result = person.types("rollout", "--all", "-y")
    assert result.exit_code == 1
    assert nonces(person, "abcd") == {"a": 1, "b": 1, "c": 0, "d": 0}
    story = "pipeline b: rolled back: no broker; it runs as before (RolledBack)"
    assert f"error: {story}" in result.stderr
    assert "error: not renewed: c, d; 1 failed, 0 may (Outdated)" in result.stderr
    assert "pipeline/b failed: rolled back: no broker" in result.stdout


def test_some_failures_can_be_allowed(person, controller):
    older(person, "a", "b", "c")
    with controller(House(broken={"a"})):
        result = person.does("rollout", "-y", "--max-failures", "1")
    assert "pipeline/a failed" in result.stdout
    assert nonces(person, "abc") == {"a": 1, "b": 1, "c": 1}


def test_what_is_not_ready_in_time_failed(person):
    older(person, "a", "b")
    result = person.types("rollout", "-y", "--timeout", "100ms")
    assert result.exit_code == 1
    assert "pipeline a: not ready within 0.1s; last: Running 1/1 (Outdated: " in result.stderr
    assert "(TimedOut)" in result.stderr
    assert nonces(person, "ab") == {"a": 1, "b": 0}


def test_several_are_renewed_at_once_and_no_more(person, controller):
    keys = ["a", "b", "c", "d", "e"]
    older(person, *keys)
    begun: list[str] = []
    ready: list[str] = []
    at_once: list[int] = []

    def starts(key, entry):
        if not was_restarted(entry):
            return as_before(entry)
        begun.append(key)
        at_once.append(len(begun) - len(ready))
        return status("Starting", entry.revision, replicas=1)

    def has_begun(due: int) -> bool:
        return len(begun) == due

    with controller(starts):
        process = person.spawn("rollout", "-y", "--max-parallel", "2", "--timeout", "30s")
        for number in range(len(keys)):
            due = min(number + 2, len(keys))
            asyncio.run(eventually(partial(has_begun, due)))
            ready.append(begun[number])
            person.report(begun[number], "Running", ready=1, replicas=1, version="1")
        out, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert out.count(" ready after ") == len(keys)
    assert max(at_once) == 2


def test_what_was_paused_or_renewed_meanwhile_is_left_alone_and_no_failure(person, controller):
    older(person, "a")
    person.put("a", GOOD | {"status": "paused"})
    with controller(House()):
        result = person.does("rollout", "a")
    assert "pipeline/a skipped: is paused" in result.stdout
    assert nonces(person, "a") == {"a": 0}


def test_a_dry_run_tells_what_and_why_and_writes_nothing(person):
    older(person, "a")
    result = person.does("rollout", "--dry-run")
    words = "pipeline/a would be renewed: started with engine 1, 2 is the present one (dry run)"
    assert result.stdout == words + "\n"
    assert nonces(person, "a") == {"a": 0}


def test_an_older_condition_that_is_false_is_none(person):
    person.put("a", GOOD)
    fresh = condition("Outdated", "False", "Outdated")
    person.report("a", "Running", ready=1, replicas=1, version="1", conditions=[fresh])
    assert "nothing is outdated" in person.does("rollout", "--dry-run").stderr


@pytest.mark.parametrize(
    "args", [("--max-parallel", "0"), ("--max-failures", "-1"), ("a", "--all")]
)
def test_a_pace_that_is_none_is_a_usage_error(person, args):
    assert person.types("rollout", *args).exit_code == 2
