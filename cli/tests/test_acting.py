"""publish, pause, draft, rm: one field is changed, everything else stays as its writer wrote it."""

from __future__ import annotations

import json

import pytest

from nexthos_shared import names
from nexthos_shared.errors import StoreConflict
from nexthos_shared.store import Bucket

ODD = {
    "version": "1",
    "status": "published",
    "from_the_future": {"deep": [1, 2.5, None, "é"]},
    "env": {"A": "1"},
}


@pytest.mark.parametrize(("verb", "status"), [("pause", "paused"), ("draft", "draft")])
def test_only_the_status_changes_and_unknown_fields_survive(person, verb, status):
    person.put("orders", ODD)
    assert person.does(verb, "orders").stdout.startswith("pipeline/orders ")
    assert person.stored("orders") == ODD | {"status": status}
    person.does("publish", "orders")
    assert person.stored("orders") == ODD


def test_a_second_time_is_unchanged_and_writes_nothing(person):
    person.put("orders", ODD)
    person.does("pause", "orders")
    before = person.revision("orders")
    assert person.does("pause", "orders").stdout == "pipeline/orders unchanged\n"
    assert person.revision("orders") == before


def test_publish_at_a_version_takes_its_digest_along(person):
    first, second = (person.file("orders.yaml"), "input: {stdin: {}}\noutput: {drop: {}}\n")
    person.does("apply", first)
    old = person.stored("orders")
    person.does("apply", person.file("orders.yaml", second))
    person.does("resume", "orders", "--version", old["version"])
    assert person.stored("orders") == old


def test_publish_at_a_version_that_is_not_stored_names_those_that_are(person):
    person.does("apply", person.file("orders.yaml"))
    version = person.stored("orders")["version"]
    result = person.types("publish", "orders", "--version", "nine")
    assert result.exit_code == 1
    assert f"no configuration orders/nine is stored; stored are {version}" in result.stderr
    assert person.types("publish", "orders", "--version", "a/b").exit_code == 1


def test_publish_needs_a_version(person):
    person.put("orders", {"status": "draft"})
    result = person.types("publish", "orders")
    assert result.exit_code == 1
    assert "publish it with --version" in result.stderr


def test_a_conflict_is_tried_again_on_what_is_stored_then(person, monkeypatch):
    person.put("orders", ODD)
    update = Bucket.update
    lost: list[str] = []

    async def losing(self, key, value, revision):
        if not lost:
            lost.append(key)
            await self.put(key, json.dumps(ODD | {"replicas": 3}).encode())
            raise StoreConflict("somebody was faster")
        return await update(self, key, value, revision)

    monkeypatch.setattr(Bucket, "update", losing)
    person.does("pause", "orders")
    assert lost == ["orders"]
    assert person.stored("orders") == ODD | {"replicas": 3, "status": "paused"}


def test_a_conflict_of_apply_is_planned_anew(person, monkeypatch):
    file = person.file("orders.yaml")
    person.does("apply", file)
    entry = person.stored("orders")
    update = Bucket.update
    lost: list[str] = []

    async def losing(self, key, value, revision):
        if not lost:
            lost.append(key)
            await self.put(key, json.dumps(entry | {"status": "paused"}).encode())
        return await update(self, key, value, revision)

    monkeypatch.setattr(Bucket, "update", losing)
    person.does("apply", file, "-e", "A=1")
    assert person.stored("orders")["status"] == "paused"
    assert person.stored("orders")["env"] == {"A": "1"}


def test_labels_and_all_select_and_all_asks_first(person):
    for key, team in (("a", "web"), ("b", "web"), ("c", "shop")):
        person.put(key, {"status": "published", "version": "1", "labels": {"team": team}})
    person.does("pause", "-l", "team=web")
    assert [person.stored(k)["status"] for k in "abc"] == ["paused", "paused", "published"]
    asked = person.types("draft", "--all", input="n\n")
    assert asked.exit_code == 1
    assert "draft 3 pipelines (a, b, c)?" in asked.stderr
    assert person.stored("a")["status"] == "paused"
    person.does("draft", "--all", input="y\n")
    person.does("publish", "--all", "-y")
    assert [person.stored(k)["status"] for k in "abc"] == ["published"] * 3
    assert person.types("pause", "-l", "team=none").exit_code == 1


@pytest.mark.parametrize("args", [(), ("a", "--all"), ("a", "-l", "x=y"), ("-l", "x")])
def test_a_selection_that_says_nothing_or_contradicts_itself_is_a_usage_error(person, args):
    for verb in ("publish", "pause", "draft", "rm", "wait"):
        assert person.types(verb, *args).exit_code == 2


def test_one_missing_name_keeps_the_others_from_being_touched(person):
    person.put("orders", ODD)
    result = person.types("pause", "orders", "nowhere", "elsewhere")
    assert result.exit_code == 1
    assert "nowhere" in result.stderr
    assert "elsewhere" in result.stderr
    assert person.stored("orders") == ODD


def test_rm_deletes_the_entry_then_its_configurations(person):
    for text in ("input: {stdin: {}}\noutput: {drop: {}}\n", "output: {drop: {}}\n"):
        person.does("apply", person.file("orders.yaml", text), person.file("other.yaml"))
    assert len(person.store(lambda store: store.configs.list("orders"))) == 2
    assert person.does("rm", "orders").stdout == "pipeline/orders deleted\n"
    assert person.stored("orders") is None
    assert person.store(lambda store: store.configs.list("orders")) == []
    assert len(person.store(lambda store: store.configs.list("other"))) == 1
    assert person.types("rm", "orders").exit_code == 1


def test_rm_can_keep_the_configurations(person):
    person.does("apply", person.file("orders.yaml"))
    person.does("rm", "orders", "--keep-configs")
    assert len(person.store(lambda store: store.configs.list("orders"))) == 1


def test_rm_writes_the_marker_that_removes_orphans(person):
    person.report("orders", "Unknown", revision=1)
    person.does("rm", "orders")
    entry = person.store(lambda store: store.pipelines.get("orders"))
    assert entry is not None
    assert entry.value is None


def test_a_kept_configuration_is_published_again_by_a_manifest(person):
    person.does("apply", person.file("orders.yaml"))
    content = (person.folder / "orders.yaml").read_bytes()
    person.does("rm", "orders", "--keep-configs")
    text = f'schema: 1\nid: orders\nversion: "{names.version_of(content)}"\n'
    assert "pipeline/orders created" in person.does("apply", "-", input=text).stdout
