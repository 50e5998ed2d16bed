"""history and rollback: what was stored before, and the way back to it."""

from __future__ import annotations

import json

import pytest

from nexthos_shared import names
from nexthos_shared.errors import StoreConflict
from nexthos_shared.store import Bucket

GOOD = {"status": "published", "version": "1"}


def config(person, key, version, content=b"output: {drop: {}}\n"):
    """Store a configuration, over whatever is there; returns its digest."""
    person.store(lambda store: store.configs.put(key, version, content))
    return names.digest_of(content)


def rows(person, *args):
    """The lines of `history`, as cells."""
    out = person.does("history", "a", *args).stdout.splitlines()[1:]
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in out]


@pytest.fixture
def two_versions(person):
    """Pipeline `a`: version 1, then version 2 with three replicas; both configurations are stored."""
    for version in ("1", "2"):
        config(person, "a", version)
    person.put("a", GOOD | {"name": "first"})
    person.put("a", GOOD | {"version": "2", "replicas": 3})
    return person


def test_history_tells_what_changed_oldest_first_and_markers(person):
    person.put("a", GOOD | {"env": {"TOKEN": "secret"}})
    person.put("a", GOOD | {"version": "2", "replicas": 3, "env": {"TOKEN": "other"}})
    person.put("a", GOOD | {"version": "2", "replicas": 3, "env": {"TOKEN": "other"}, "id": "a"})
    person.store(lambda store: store.pipelines.delete("a"))
    person.put("a", GOOD | {"status": "draft"})
    found = rows(person)
    assert [row[0] for row in found] == ["1", "2", "3", "4", "5"]
    assert [row[2] for row in found] == ["published", "published", "published", "deleted", "draft"]
    assert found[0][3:] == ["1", "first that is kept"]
    assert found[1][3:] == ["2", "version, replicas, env.TOKEN"]
    assert found[2][3:] == ["2", "nothing"]
    assert found[3][3:] == ["-"]
    assert found[4][3:] == ["1", "first that is kept"]
    assert "secret" not in person.does("history", "a", "-o", "json").stdout


def test_wide_history_tells_the_values_and_the_time(person):
    person.put("a", GOOD)
    person.put("a", GOOD | {"version": "2", "replicas": 3})
    last = rows(person, "-o", "wide")[-1]
    assert last[-1] == "version 1 -> 2, replicas 1 -> 3"
    assert last[1].startswith("20")


def test_history_lives_with_entries_that_are_not_understood(person):
    person.put("a", GOOD)
    person.put("a", b"not json")
    person.put("a", GOOD | {"colour": 1})
    person.put("a", GOOD | {"replicas": 2})
    found = rows(person)
    assert [row[2] for row in found] == ["published", "?", "published", "published"]
    assert found[1][4].startswith("not understood: ")
    assert "colour" in found[2][4]
    assert found[3][4] == "replicas"


def test_history_keeps_the_last_64(person):
    for n in range(70):
        person.put("a", GOOD | {"restart_nonce": n})
    assert [row[0] for row in rows(person)] == [str(n) for n in range(7, 71)]


def test_history_of_nothing_is_not_found(person):
    assert "no pipeline 'a' is stored" in person.types("history", "a").stderr
    assert person.types("history", "a").exit_code == 1
    assert person.types("history", "a b").exit_code == 1


def test_rollback_puts_the_whole_definition_before_again(two_versions):
    result = two_versions.does("rollback", "a")
    assert result.stdout == "pipeline/a rolled back to revision 1 (version 1) as revision 3\n"
    assert "changed: version 2 -> 1, name - -> first, replicas 3 -> 1" in result.stderr
    assert two_versions.stored("a") == GOOD | {"name": "first"}


def test_a_second_rollback_goes_forth_again(two_versions):
    two_versions.does("rollback", "a")
    two_versions.does("rollback", "a")
    assert two_versions.stored("a") == GOOD | {"version": "2", "replicas": 3}


def test_rollback_passes_over_what_shapes_no_other_execution(two_versions):
    for more in ({"replicas": 5}, {"replicas": 5, "restart_nonce": 4}, {"name": "last"}):
        two_versions.put("a", GOOD | {"version": "2"} | more)
    assert "revision 1 (version 1)" in two_versions.does("rollback", "a", "--dry-run").stdout


def test_status_stays_and_the_nonce_never_goes_back(two_versions):
    two_versions.put("a", GOOD | {"version": "2", "status": "paused", "restart_nonce": 4})
    result = two_versions.does("rollback", "a")
    assert two_versions.stored("a") == {
        "status": "paused",
        "version": "1",
        "name": "first",
        "restart_nonce": 4,
    }
    assert "its status stays paused: `nexthos publish a` runs it" in result.stderr


def test_the_nonce_is_the_largest_that_ever_was(two_versions):
    two_versions.put("a", GOOD | {"version": "2", "restart_nonce": 9})
    two_versions.put("a", GOOD | {"version": "2", "restart_nonce": 1})
    two_versions.does("rollback", "a")
    assert two_versions.stored("a")["restart_nonce"] == 9


def test_a_revision_or_the_last_one_with_a_version_can_be_named(two_versions):
    two_versions.put("a", GOOD | {"version": "1", "name": "again"})
    config(two_versions, "a", "3")
    two_versions.put("a", GOOD | {"version": "3"})
    assert "revision 3 (version 1)" in two_versions.does("rollback", "a", "--version", "1").stdout
    assert two_versions.stored("a")["name"] == "again"
    assert "revision 2 " in two_versions.does("rollback", "a", "--revision", "2").stdout
    assert two_versions.stored("a") == GOOD | {"version": "2", "replicas": 3}
    both = two_versions.types("rollback", "a", "--revision", "2", "--version", "1")
    assert both.exit_code == 2


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--revision", "9"), "revision 9 is not kept; kept are 1, 2"),
        (("--version", "9"), "no revision that is kept names version '9'; kept are 1, 2"),
        (("--revision", "2"), "the definition of revision 2 is the present one"),
        (("--version", "2"), "the definition of revision 2 is the present one"),
    ],
)
def test_what_can_not_be_gone_back_to_is_told_with_what_can(two_versions, args, words):
    result = two_versions.types("rollback", "a", *args)
    assert result.exit_code == 1
    assert f"pipeline 'a': {words}" in result.stderr
    assert two_versions.revision("a") == 2


def test_without_anything_earlier_there_is_no_way_back(person):
    config(person, "a", "1")
    person.put("a", GOOD)
    person.put("a", GOOD | {"name": "x"})
    result = person.types("rollback", "a")
    assert result.exit_code == 1
    assert (
        "no earlier definition that is kept differs in more than replicas (`nexthos history a`"
        in result.stderr
    )
    assert person.types("rollback", "nowhere").exit_code == 1


def test_what_was_deleted_comes_back_only_by_its_revision(two_versions):
    two_versions.store(lambda store: store.pipelines.delete("a"))
    asked = two_versions.types("rollback", "a")
    assert asked.exit_code == 1
    assert "pipeline 'a' is deleted; name the --revision" in asked.stderr
    marker = two_versions.types("rollback", "a", "--revision", "3")
    assert "revision 3 can't come back: it is a deletion" in marker.stderr
    two_versions.does("rollback", "a", "--revision", "2")
    assert two_versions.stored("a") == GOOD | {"version": "2", "replicas": 3}
    alone = two_versions.types("rollback", "a")
    assert "no earlier definition" in alone.stderr


def test_an_entry_that_is_not_understood_is_a_reason_to_go_back_and_no_way_to_go(two_versions):
    two_versions.put("a", b"not json")
    two_versions.put("a", {"status": "paused", "colour": 1})
    refused = two_versions.types("rollback", "a", "--revision", "3")
    assert refused.exit_code == 1
    assert "revision 3 can't come back: " in refused.stderr
    two_versions.does("rollback", "a")
    assert two_versions.stored("a") == GOOD | {"version": "2", "replicas": 3, "status": "paused"}


def test_a_configuration_that_is_gone_is_named(two_versions):
    two_versions.store(lambda store: store.configs.delete("a", "1"))
    for more in ((), ("--dry-run",)):
        result = two_versions.types("rollback", "a", *more)
        assert result.exit_code == 1
        assert "the configuration a/1 of revision 1 is gone" in result.stderr
        assert "ConfigMissing" in result.stderr
    assert two_versions.revision("a") == 2


def test_a_configuration_with_other_bytes_than_the_definition_pins_is_named(person):
    digest = config(person, "a", "1", b"old")
    config(person, "a", "2")
    person.put("a", GOOD | {"digest": digest})
    person.put("a", GOOD | {"version": "2"})
    other = config(person, "a", "1", b"new")
    result = person.types("rollback", "a")
    assert result.exit_code == 1
    words = f"the configuration a/1 is now {other}, and revision 1 ran as {digest}"
    assert words in result.stderr
    assert "ConfigChanged" in result.stderr
    config(person, "a", "1", b"old")
    person.does("rollback", "a")


def test_a_configuration_with_other_bytes_than_the_controller_accepted_is_named(two_versions):
    digest = names.digest_of(b"old")
    accepted = {"revision": 1, "spec_hash": "0", "digest": digest, "definition": GOOD}
    two_versions.report("a", "Running", memory={"last_good": accepted})
    result = two_versions.types("rollback", "a")
    assert result.exit_code == 1
    assert f"revision 1 ran as {digest}" in result.stderr


@pytest.mark.parametrize(("good", "told"), [(1, True), (2, False), (3, False), (0, False)])
def test_the_answer_names_the_last_definition_that_became_ready(two_versions, good, told):
    """Revision 2 comes back; that revision 1 was the last that worked is worth knowing."""
    config(two_versions, "a", "3")
    two_versions.put("a", GOOD | {"version": "3"})
    if good:
        digest = names.digest_of(b"a: 1")
        accepted = {"revision": good, "spec_hash": "0", "digest": digest, "definition": GOOD}
        two_versions.report("a", "Running", memory={"last_good": accepted})
    result = two_versions.does("rollback", "a", "--dry-run")
    assert "revision 2 (version 2)" in result.stdout
    assert ("`nexthos rollback a --revision 1` goes back to that one" in result.stderr) is told
    answer = json.loads(two_versions.does("rollback", "a", "-o", "json").stdout)
    assert (answer["back_to"], answer["last_good"]) == (2, good)


def test_a_dry_run_writes_nothing(two_versions):
    result = two_versions.does("rollback", "a", "--dry-run")
    assert "pipeline/a would be rolled back to revision 1 (version 1) (dry run)" in result.stdout
    assert two_versions.revision("a") == 2
    assert two_versions.types("rollback", "a", "--dry-run", "--wait").exit_code == 2


def test_who_loses_against_another_writer_is_told_to_look_again(two_versions, monkeypatch):
    update = Bucket.update

    async def losing(self, key, value, revision, **more):
        await self.put(key, json.dumps(GOOD | {"name": "theirs"}).encode())
        return await update(self, key, value, revision, **more)

    monkeypatch.setattr(Bucket, "update", losing)
    result = two_versions.types("rollback", "a")
    assert result.exit_code == 1
    assert str(StoreConflict.reason) in result.stderr
    assert "look at `nexthos history a` again" in result.stderr
    assert two_versions.stored("a") == GOOD | {"name": "theirs"}


def test_rollback_waits_for_the_version_that_comes_back(two_versions, controller):
    def runs(_, entry):
        return {
            "phase": "Running",
            "observed_revision": entry.revision,
            "ready": 1,
            "replicas": 1,
            "version": json.loads(entry.value)["version"],
        }

    with controller(runs):
        assert "pipeline/a ready after" in two_versions.does("rollback", "a", "--wait").stdout
