"""scale and restart: one field of the entry, by compare-and-set."""

from __future__ import annotations

import json

import pytest

from nexthos_shared.errors import StoreConflict
from nexthos_shared.store import Bucket

GOOD = {"status": "published", "version": "1", "from_the_future": [1]}


def test_scale_changes_the_replicas_and_nothing_else(person):
    person.put("a", GOOD)
    assert person.does("scale", "a", "--replicas", "3").stdout == (
        "pipeline/a scaled to 3 replicas\n"
    )
    assert person.stored("a") == GOOD | {"replicas": 3}
    before = person.revision("a")
    assert person.does("scale", "a", "--replicas", "3").stdout == "pipeline/a unchanged\n"
    person.put("b", GOOD)
    person.does("scale", "b", "--replicas", "1")
    assert (person.revision("a"), person.stored("b")) == (before, GOOD)


def test_a_job_is_not_scaled_and_told_why(person):
    person.put("a", GOOD | {"lifecycle": "job"})
    result = person.types("scale", "a", "--replicas", "2")
    assert result.exit_code == 1
    assert "pipeline 'a': replicas: a job has one replica" in result.stderr
    assert person.stored("a") == GOOD | {"lifecycle": "job"}
    person.does("scale", "a", "--replicas", "1")


def test_how_many_must_be_said_and_can_be(person):
    person.put("a", GOOD)
    for args in ((), ("--replicas", "101"), ("--replicas", "-1"), ("--replicas", "many")):
        assert person.types("scale", "a", *args).exit_code == 2
    none = person.types("scale", "a", "--replicas", "0")
    assert none.exit_code == 2
    assert "nexthos pause" in none.stderr


def test_restart_raises_the_nonce_each_time(person):
    person.put("a", GOOD)
    assert person.does("restart", "a").stdout == "pipeline/a restarted\n"
    person.does("restart", "a")
    assert person.stored("a") == GOOD | {"restart_nonce": 2}


def test_two_who_restart_at_once_both_do(person, monkeypatch):
    person.put("a", GOOD)
    update = Bucket.update
    lost: list[str] = []

    async def losing(self, key, value, revision, **more):
        if not lost:
            lost.append(key)
            await self.put(key, json.dumps(GOOD | {"restart_nonce": 1}).encode())
            raise StoreConflict("somebody was faster")
        return await update(self, key, value, revision, **more)

    monkeypatch.setattr(Bucket, "update", losing)
    person.does("restart", "a")
    assert person.stored("a")["restart_nonce"] == 2


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("paused", "is paused, so there is nothing to restart: `nexthos publish a`"),
        ("draft", "is a draft, so there is nothing to restart: `nexthos publish a`"),
        ("odd", "has a status that is not understood"),
    ],
)
def test_only_what_is_published_can_be_restarted(person, status, words):
    person.put("a", GOOD | {"status": status})
    result = person.types("restart", "a")
    assert result.exit_code == 1
    assert f"pipeline 'a': {words}" in result.stderr
    assert person.stored("a") == GOOD | {"status": status}


@pytest.mark.parametrize("nonce", ["1", -1, True, None, 1.5])
def test_a_nonce_that_is_none_is_named(person, nonce):
    person.put("a", GOOD | {"restart_nonce": nonce})
    result = person.types("restart", "a")
    assert result.exit_code == 1
    assert "restart_nonce: is " in result.stderr


def test_restarting_by_label_or_all_skips_what_does_not_run(person):
    web = {"version": "1", "labels": {"team": "web"}}
    person.put("a", web | {"status": "published"})
    person.put("b", web | {"status": "paused"})
    by_label = person.does("restart", "-l", "team=web")
    assert by_label.stdout == "pipeline/a restarted\n"
    assert "skipped: pipeline 'b': is paused" in by_label.stderr
    assert person.types("restart", "--all", input="n\n").exit_code == 1
    person.does("restart", "--all", "-y")
    assert person.stored("a")["restart_nonce"] == 2
    assert "restart_nonce" not in person.stored("b")


def test_both_wait_for_the_revision_that_they_wrote(person, controller):
    seen = []

    def runs(_, entry):
        wanted = json.loads(entry.value)
        seen.append(wanted)
        replicas = wanted.get("replicas", 1)
        return {
            "phase": "Running",
            "observed_revision": entry.revision,
            "ready": replicas,
            "replicas": replicas,
            "version": wanted["version"],
        }

    person.put("a", GOOD)
    with controller(runs):
        scaled = person.does("scale", "a", "--replicas", "2", "--wait").stdout
        restarted = person.does("restart", "a", "--wait").stdout
    assert "pipeline/a ready after" in scaled
    assert "pipeline/a ready after" in restarted
    assert seen[-1] == GOOD | {"replicas": 2, "restart_nonce": 1}


def test_scaling_what_is_paused_waits_for_it_to_be_paused(person):
    person.put("a", GOOD | {"status": "paused"})
    person.report("a", "Paused", revision=2)
    out = person.does("scale", "a", "--replicas", "2", "--wait").stdout
    assert "pipeline/a paused after" in out


DURABLE = """\
input:
  nats_jetstream: {{urls: ["nats://127.0.0.1:1"], stream: ORDERS, subject: a, durable: '{name}'{more}}}
output: {{drop: {{}}}}
"""


def configured(person, content: str, **entry: object) -> None:
    person.put("a", GOOD | entry)
    person.store(lambda store: store.configs.put("a", "1", content.encode()))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (DURABLE.format(name="d", more=""), "never get ready: write `queue: NAME`"),
        ("input: {generate: {mapping: 'root = 1'}}\noutput: {drop: {}}\n", "makes every message"),
        ("input: {nats: {subject: a}}\noutput: {drop: {}}\n", "write `queue: NAME` to share"),
    ],
)
def test_scale_tells_what_can_not_be_shared_with_line_and_recipe(person, content, words):
    configured(person, content)
    result = person.does("scale", "a", "--replicas", "3")
    assert words in result.stderr
    assert "(HardlyMeant)" in result.stderr
    assert result.stdout == "pipeline/a scaled to 3 replicas\n"
    assert "warning" not in person.does("scale", "a", "--replicas", "1").stderr


def test_scale_says_nothing_of_what_is_shared_or_can_not_be_read(person):
    configured(person, DURABLE.format(name="d", more=", queue: d"))
    assert "warning" not in person.does("scale", "a", "--replicas", "2").stderr
    configured(person, "\tno: [yaml")
    assert "warning" not in person.does("scale", "a", "--replicas", "3").stderr
    person.put("b", GOOD | {"version": 7})
    assert "warning" not in person.types("scale", "b", "--replicas", "3").stderr


def test_rm_names_the_consumers_that_stay_behind(person):
    configured(person, DURABLE.format(name="${WHO}", more=""), env={"WHO": "worker"})
    result = person.does("rm", "a", "-y")
    assert "`nats consumer rm ORDERS worker` removes it" in result.stderr
    configured(person, DURABLE.format(name="theirs", more=", bind: true"))
    assert "consumer" not in person.does("rm", "a", "-y").stderr
