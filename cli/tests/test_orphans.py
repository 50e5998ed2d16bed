"""rm --orphans, abandon: what nobody may guess is asked of a person, and written down."""

from __future__ import annotations

import json

import pytest

from nexthos_shared.names import ABANDONED
from nexthos_shared.store import Bucket

GOOD = {"status": "published", "version": "1"}
ORPHANED = {"type": "Orphaned", "status": "True", "reason": "Orphaned", "message": "left"}
SILENT = {"type": "Reachable", "status": "False", "reason": "PlaceLost", "message": "silent"}


def execution(name, place="m1"):
    return {
        "name": name,
        "uid": "1",
        "executor": "process",
        "place": place,
        "replica": 0,
        "spec_hash": "0",
        "state": "running",
    }


def orphan(person, key):
    """What a controller says of executions without a definition."""
    person.report(
        key,
        "Running",
        revision=0,
        version="1",
        conditions=[ORPHANED],
        executions=[execution(f"x-{key}-0")],
        executions_total=1,
    )


def marker(person, key):
    """Whether the key's last entry is a marker; None if it never held anything."""
    entry = person.store(lambda store: store.pipelines.get(key))
    return None if entry is None else entry.value is None


# ---- rm --orphans


@pytest.mark.fault(18)
def test_orphans_are_told_asked_about_and_marked_as_deleted(person):
    orphan(person, "a")
    orphan(person, "b")
    person.put("owned", GOOD)
    person.report("owned", "Running")
    no = person.types("rm", "--orphans", input="n\n")
    assert no.exit_code == 1
    assert "pipeline/a: version 1, 1 execution(s) at m1" in no.stderr
    assert "remove what is left of 2 pipelines without a definition?" in no.stderr
    assert marker(person, "a") is None
    done = person.does("rm", "--orphans", input="y\n")
    assert done.stdout == "pipeline/a deleted\npipeline/b deleted\n"
    assert [marker(person, key) for key in ("a", "b", "owned")] == [True, True, False]


def test_without_a_terminal_and_without_yes_nothing_is_removed(person):
    orphan(person, "a")
    assert person.types("rm", "--orphans").exit_code == 1
    assert marker(person, "a") is None
    person.does("rm", "--orphans", "-y")
    assert marker(person, "a") is True


def test_their_configurations_stay(person):
    person.store(lambda store: store.configs.put("a", "1", b"output: {drop: {}}"))
    orphan(person, "a")
    person.does("rm", "--orphans", "-y")
    assert len(person.store(lambda store: store.configs.list("a"))) == 1


def test_a_definition_that_came_back_is_left_alone(person):
    orphan(person, "a")
    orphan(person, "b")
    person.put("a", GOOD)
    result = person.does("rm", "--orphans", "-y")
    assert result.stdout == "pipeline/b deleted\n"
    assert "left alone: pipeline 'a': a definition of it is stored again (revision 1)" in (
        result.stderr
    )
    assert person.stored("a") == GOOD


def test_a_definition_that_comes_back_just_then_is_left_alone(person, monkeypatch):
    orphan(person, "a")
    delete = Bucket.delete

    async def late(self, key, revision=None):
        await self.put(key, json.dumps(GOOD).encode())
        await delete(self, key, revision)

    monkeypatch.setattr(Bucket, "delete", late)
    result = person.does("rm", "--orphans", "-y")
    assert "left alone" in result.stderr
    assert person.stored("a") == GOOD


def test_no_orphans_are_nothing_to_do(person):
    result = person.does("rm", "--orphans")
    assert (result.stdout, result.stderr) == ("", "nothing is orphaned\n")


@pytest.mark.parametrize("args", [("a",), ("--all",), ("-l", "x=y")])
def test_orphans_and_others_are_not_removed_in_one_breath(person, args):
    assert person.types("rm", "--orphans", *args).exit_code == 2


def test_their_removal_is_waited_for(person, controller):
    orphan(person, "a")
    with controller(lambda *_: None):
        assert "pipeline/a deleted after" in person.does("rm", "--orphans", "-y", "--wait").stdout


# ---- abandon


def lives(person, key, place, *conditions):
    person.put(key, GOOD)
    person.report(
        key,
        "Unknown",
        executions=[execution(f"x-{key}-0", place)],
        executions_total=1,
        conditions=list(conditions),
    )


def declared(person, place):
    entry = person.store(lambda store: store.control.get(f"{ABANDONED}{place}"))
    return json.loads(entry.value) if entry and entry.value is not None else None


def test_a_place_is_declared_gone_by_somebody_after_who_lives_there_was_told(person):
    lives(person, "a", "m1", SILENT)
    lives(person, "b", "m2")
    no = person.types("abandon", "m1", input="n\n")
    assert no.exit_code == 1
    assert "place m1: 1 pipelines have executions there" in no.stderr
    assert "  a (Unknown) x-a-0" in no.stderr
    assert "if it is not gone, two of each may run" in no.stderr
    assert "it answers" not in no.stderr
    assert declared(person, "m1") is None
    assert person.does("abandon", "m1", input="y\n").stdout == "place/m1 abandoned\n"
    told = declared(person, "m1")
    assert "@" in told["by"]
    assert told["at"] > 0
    assert declared(person, "m2") is None


def test_a_place_that_is_only_remembered_is_known_too(person):
    person.put("a", GOOD)
    memory = {"places": [{"executor": "process", "place": "m1"}]}
    slots = {"slots": {"0": {"place": "m2"}}}
    person.report("a", "Unknown", memory=memory | slots)
    for place in ("m1", "m2"):
        assert "  a (Unknown) perhaps" in person.does("abandon", place, "-y").stderr
        assert declared(person, place) is not None


def test_a_place_that_answers_is_warned_about(person):
    lives(person, "a", "m1")
    result = person.does("abandon", "m1", "-y")
    assert "as of the last reports it answers (pipelines a)" in result.stderr


def test_a_second_time_changes_nothing(person):
    lives(person, "a", "m1", SILENT)
    person.does("abandon", "m1", "-y")
    before = declared(person, "m1")
    assert person.does("abandon", "m1").stdout == "place/m1 unchanged\n"
    assert declared(person, "m1") == before


def test_an_unknown_place_is_refused_unless_forced(person):
    lives(person, "a", "m1", SILENT)
    result = person.types("abandon", "m9", "-y")
    assert result.exit_code == 1
    assert "no status speaks of place 'm9'; they speak of m1" in result.stderr
    assert declared(person, "m9") is None
    person.does("abandon", "m9", "-y", "--force")
    assert declared(person, "m9") is not None


def test_it_can_be_undone_and_done_again(person):
    lives(person, "a", "m1", SILENT)
    assert person.types("abandon", "m1", "--undo").exit_code == 1
    person.does("abandon", "m1", "-y")
    assert person.does("abandon", "m1", "--undo").stdout == "place/m1 undone\n"
    assert declared(person, "m1") is None
    person.does("abandon", "m1", "-y")
    assert declared(person, "m1") is not None


@pytest.mark.parametrize("place", ["", "a b", "a..b", "*", "x" * 2000])
def test_what_can_not_be_a_place_is_refused(person, place):
    for args in (("-y", "--force"), ("--undo",)):
        result = person.types("abandon", place, *args)
        assert result.exit_code == 1
        assert "InvalidName" in result.stderr


@pytest.mark.parametrize("place", ["7TRN:IPZB:QYBB", "9c1f/2", "node.example"])
def test_places_as_daemons_hosts_and_nodes_name_themselves_are_taken(person, place):
    person.does("abandon", place, "-y", "--force")
    assert declared(person, place) is not None
