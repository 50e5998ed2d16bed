"""What an apply or a verb would change, decided from values alone."""

from __future__ import annotations

import json

import pytest

from nexthos_shared.errors import InvalidDefinition, NotFound, Refused
from nexthos_shared.manifest.manifest import Manifest
from nexthos_shared.model import Wanted, parse_pipeline
from nexthos_shared.names import digest_of, version_of
from nexthos_shared.object_format import ConfigInfo
from nexthos_shared.plan import edit
from nexthos_shared.plan.change import decide, describe, undone
from nexthos_shared.plan.differences import described, differences
from nexthos_shared.reasons import Reason
from nexthos_shared.store import KvEntry

CONTENT = b"input: {stdin: {}}\n"
VERSION = version_of(CONTENT)


def manifest(content: bytes | None = CONTENT, **fields: object) -> Manifest:
    pinned = {"version": VERSION, "digest": digest_of(CONTENT)}
    return Manifest("a", "a.yaml", {"schema": 1, "id": "a"} | pinned | fields, content, "a.yaml")


def stored(**fields: object) -> KvEntry:
    value = json.dumps({"status": "published", "version": VERSION} | fields).encode()
    return KvEntry("a", 7, value, created=0.0)


def info(content: bytes = CONTENT) -> ConfigInfo:
    return ConfigInfo("a", VERSION, digest_of(content), len(content), "x", 1)


def test_what_is_not_stored_is_created_and_published() -> None:
    change = decide(manifest(), None, None)
    assert (change.action, change.based_on, change.put_config) == ("created", 0, True)
    assert describe(change) == f"pipeline/a created (version {VERSION}, published)"


def test_what_is_stored_already_is_left_and_its_status_is_kept() -> None:
    entry = stored(status="paused", restart_nonce=3)
    change = decide(manifest(), entry, info())
    assert (change.action, change.writes) == ("unchanged", False)
    assert (change.pipeline.status, change.pipeline.restart_nonce) == (Wanted.PAUSED, 3)


def test_each_field_that_changes_is_told() -> None:
    change = decide(manifest(replicas=3), stored(), info())
    assert (change.action, change.based_on) == ("configured", 7)
    assert describe(change) == "pipeline/a configured (replicas 1 -> 3)"


def test_a_version_with_other_bytes_and_one_without_bytes_are_refused() -> None:
    with pytest.raises(Refused) as changed:
        decide(manifest(), stored(), info(b"other"))
    with pytest.raises(Refused) as missing:
        decide(manifest(None), None, None)
    reasons = [e.value.problems[0].reason for e in (changed, missing)]
    assert reasons == [Reason.CONFIG_CHANGED, Reason.CONFIG_MISSING]


def test_an_entry_that_is_not_understood_is_replaced_and_that_is_told() -> None:
    change = decide(manifest(), KvEntry("a", 7, b"{", created=0.0), info())
    assert change.action == "configured"
    assert "not understood" in describe(change)


def test_a_pause_and_a_scaling_that_are_undone_are_told() -> None:
    revisions: list[edit.Raw] = [{"status": "published"}, {"status": "paused", "replicas": 4}]
    assert undone(revisions, decide(manifest(status="published"), None, None).pipeline) == [
        "undoes `nexthos pause`",
        "undoes a scaling to 4",
    ]


def test_values_of_variables_are_in_no_difference() -> None:
    old, new = (
        parse_pipeline(b'{"status": "draft", "env": {"PASSWORD": "%s"}}' % secret)
        for secret in (b"s3", b"s4")
    )
    (found,) = differences(old, new)
    assert (found.field, described(found)) == ("env.PASSWORD", "env.PASSWORD changed")
    assert "s3" not in str(found)
    assert "s4" not in str(found)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"status": "paused"}, "is paused, so there is nothing to restart"),
        ({"status": "draft"}, "is a draft"),
        ({"status": "running"}, "has a status that is not understood"),
        ({"status": "published", "restart_nonce": "x"}, "restart_nonce: is 'x'"),
    ],
)
def test_what_can_not_be_restarted_is_told_with_what_to_do(fields: edit.Raw, words: str) -> None:
    with pytest.raises(InvalidDefinition, match=words):
        edit.restart("a", fields)


def test_fields_that_nobody_knows_here_survive_an_edit() -> None:
    entry = {"status": "paused", "version": "1", "digest": "old", "newer": [1]}
    set_to = edit.status("a", entry, Wanted.PUBLISHED, info())
    assert entry | set_to == {
        "status": "published",
        "version": VERSION,
        "digest": digest_of(CONTENT),
        "newer": [1],
    }
    assert edit.read_raw("a", edit.to_bytes(entry)) == entry
    assert edit.restart("a", entry | set_to) == {"restart_nonce": 1}
    assert edit.replicas("a", entry, 1) == {}


def test_a_job_keeps_its_one_replica_and_a_publish_needs_a_version() -> None:
    with pytest.raises(InvalidDefinition, match="a job has one replica"):
        edit.replicas("a", {"lifecycle": "job"}, 2)
    with pytest.raises(InvalidDefinition, match="names no version"):
        edit.status("a", {}, Wanted.PUBLISHED)


@pytest.mark.parametrize(("value", "error"), [(None, NotFound), (b"{", InvalidDefinition)])
def test_what_is_no_entry_is_not_edited(value: bytes | None, error: type[Exception]) -> None:
    with pytest.raises(error):
        edit.read_raw("a", value)
