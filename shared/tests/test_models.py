"""What a key of the pipelines bucket holds: understood as far as possible, and never a surprise."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import NODEFAULT, structs

from nexthos_shared.errors import InvalidDefinition
from nexthos_shared.model import (
    MAX_DEFINITION_BYTES,
    Accepted,
    Event,
    Memory,
    Phase,
    Pipeline,
    PipelineStatus,
    Wanted,
    parse_pipeline,
    read_entry,
)
from nexthos_shared.model.control import Claim
from nexthos_shared.model.pipeline import MAX_READ_BYTES
from nexthos_shared.model.stored import Stored, decode, encode
from nexthos_shared.reasons import EXPLANATIONS, Reason

FIELDS = st.sampled_from([*Pipeline.model_fields, "schema", "colour"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


def problem_of(found):
    assert found.problem is not None
    return found.problem


def entry(key="orders", **fields):
    return read_entry(key, 7, json.dumps(fields).encode())


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_read_without_an_error(value):
    found = read_entry("orders", 1, value)
    assert found.pipeline is not None or found.problem is not None


@given(st.text(max_size=60), st.dictionaries(FIELDS, JSON, max_size=6))
def test_arbitrary_json_under_an_arbitrary_key_is_read_without_an_error(key, fields):
    found = read_entry(key, 1, json.dumps(fields).encode())
    assert found.pipeline is not None or found.problem is not None


@pytest.mark.fault(85)
@given(st.dictionaries(FIELDS.filter(lambda f: f != "status"), JSON, max_size=6))
def test_paused_acts_whatever_else_is_wrong(fields):
    assert entry(status="paused", **fields).wanted is Wanted.PAUSED


@pytest.mark.parametrize(
    "rest",
    [
        b'"version": 3',
        b'"resources": {"cpu": 1' + b"0" * 400 + b"}",
        b'"stop_timeout": 1' + b"0" * 400,
        b'"retries": ' + b"9" * 5000,
        b'"colour": "red"',
        b'"schema": 99',
        b'"id": "another"',
        b'"name": "' + b"x" * 2 * MAX_DEFINITION_BYTES + b'"',
    ],
    ids=lambda rest: rest[:20].decode(),
)
def test_paused_acts_beside_an_invalid_field(rest):
    found = read_entry("orders", 1, b'{"status": "paused", ' + rest + b"}")
    assert found.wanted is Wanted.PAUSED
    assert found.pipeline is None
    assert found.problem is not None


def test_paused_acts_under_a_key_that_is_no_id():
    found = entry("A", status="paused")
    assert found.wanted is Wanted.PAUSED
    assert found.problem.reason is Reason.INVALID_NAME


def test_a_marker_is_a_deletion_and_nothing_else():
    found = read_entry("orders", 9, None)
    assert found.deleted
    assert (found.wanted, found.pipeline, found.problem) == (None, None, None)


def test_status_and_version_are_enough():
    found = entry(status="published", version="3")
    assert found.problem is None
    assert found.pipeline == Pipeline(status=Wanted.PUBLISHED, version="3")


@pytest.mark.parametrize("status", [None, "running", "Published", 1, ["paused"], {}])
def test_a_missing_or_unknown_status_changes_nothing_and_says_so(status):
    found = entry(**({} if status is None else {"status": status}), version="1")
    assert found.wanted is None
    assert found.problem.reason is Reason.UNKNOWN_STATUS


@pytest.mark.fault(47)
@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"colour": "red"}, "colour"),
        ({"resources": {"cpus": 1}}, "resources.cpus"),
        ({"update": {"strategy": "hope"}}, "update.strategy"),
        ({"replicas": "2"}, "replicas"),
        ({"replicas": 0}, "replicas"),
        ({"version": "a/b"}, "version"),
        ({"env": {"1A": "x"}}, "env.1A"),
        ({"env": {"A": 1}}, "env.A"),
        ({"env": {"A": "a\0b"}}, "env.A"),
        ({"env": {"NEXTHOS_VERSION": "x"}}, "env.NEXTHOS_VERSION"),
        ({"stop_timeout": "soon"}, "stop_timeout"),
        ({"stop_timeout": "25h"}, "stop_timeout"),
        ({"resources": {"memory": "1k"}}, "resources.memory"),
        ({"digest": "sha256:abc"}, "digest"),
        ({"schema": 2}, "schema"),
        ({"id": "another"}, "id"),
        ({"lifecycle": "job", "replicas": 2}, "replicas"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_the_field_that_is_wrong_is_named(fields, named):
    problem = entry(**{"status": "published", "version": "1"} | fields).problem
    assert problem.reason is Reason.INVALID_DEFINITION
    assert problem.field == named
    assert named in problem.message


def test_a_published_pipeline_must_name_its_version():
    problem = entry(status="published").problem
    assert problem.field == "version"


def test_not_a_number_is_not_json():
    found = read_entry("a", 1, b'{"status":"draft","executor_options":{"x":NaN}}')
    assert problem_of(found).field == "executor_options"


@pytest.mark.fault(49)
@pytest.mark.parametrize(
    "bomb",
    [
        b"[" * MAX_DEFINITION_BYTES,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b"9" * MAX_DEFINITION_BYTES,
        b"x" * (MAX_DEFINITION_BYTES + 1),
        b'{"status":"paused"}' + b" " * MAX_READ_BYTES,
    ],
    ids=["lists", "objects", "digits", "too large", "far too large"],
)
def test_a_bomb_is_refused_within_bounds(bomb):
    found = read_entry("orders", 1, bomb)
    assert found.pipeline is None
    assert problem_of(found).reason is Reason.INVALID_DEFINITION
    assert found.wanted is None
    assert len(problem_of(found).message) < 500


def test_a_value_of_the_entry_is_never_in_the_message():
    found = entry(status="published", version="1", env={"TOKEN": ["s3cret"]})
    assert "s3cret" not in found.problem.message


def test_a_definition_survives_being_written_and_read():
    pipeline = parse_pipeline(
        b'{"status":"published","version":"1","resources":{"cpu":"500m","memory":"256Mi"},'
        b'"stop_timeout":"1m30s","update":{"ready_timeout":2},"schema":1}'
    )
    again = parse_pipeline(pipeline.model_dump_json(by_alias=True).encode())
    assert again == pipeline
    assert again.spec_hash("d") == pipeline.spec_hash("d")


@pytest.mark.parametrize(
    "change",
    [
        {"version": "2"},
        {"env": {"A": "1"}},
        {"connection": "other"},
        {"engine": "other"},
        {"resources": {"cpu": 1}},
        {"lifecycle": "job"},
        {"stop_timeout": "1s"},
        {"executor": "docker"},
        {"executor_options": {"ports": []}},
        {"restart_nonce": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_shapes_an_execution_changes_its_hash(change):
    plain = entry(status="published", version="1").pipeline
    other = entry(**{"status": "published", "version": "1"} | change).pipeline
    assert not plain.same_shape(other)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Orders"},
        {"description": "x"},
        {"labels": {"a": "b"}},
        {"replicas": 3},
        {"update": {"strategy": "rolling"}},
        {"status": "paused"},
        {"id": "orders"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_does_not_reach_an_execution_leaves_its_hash(change):
    plain = entry(status="published", version="1").pipeline
    other = entry(**{"status": "published", "version": "1"} | change).pipeline
    assert plain.same_shape(other)


def test_an_unreadable_definition_raises_with_key_and_field():
    with pytest.raises(InvalidDefinition, match=r"pipeline 'orders': colour"):
        parse_pipeline(b'{"status":"draft","colour":1}', key="orders")


def test_a_status_of_a_newer_controller_is_read():
    status = decode(PipelineStatus, b'{"phase":"Running","invented_later":{"x":1}}')
    assert status.phase is Phase.RUNNING


def test_every_reason_is_explained():
    assert set(EXPLANATIONS) == set(Reason)


def accepted(**fields):
    definition = Pipeline(status=Wanted.PUBLISHED, version="1")
    return Accepted(revision=1, spec_hash="a", digest="b", definition=definition, **fields)


@pytest.mark.parametrize("good", ["current", accepted(was_ready=True), None])
def test_what_was_good_last_is_written_once_where_it_is_the_current_one(good):
    memory = Memory(current=accepted(), last_good=good)
    assert memory.good == (accepted() if good == "current" else good)
    assert decode(Memory, encode(memory)) == memory


STORED = (
    Path(__file__).parent / "stored"
)  # written by the version before, whose models were pydantic's


@pytest.mark.parametrize("name", ["status-current", "status-older"])
def test_a_status_of_the_version_before_is_read_and_written_as_it_wrote_it(name: str) -> None:
    value = (STORED / f"{name}.json").read_bytes()
    status = decode(PipelineStatus, value)
    assert status.memory.good is not None
    assert status.memory.good.definition.version == ("2" if name == "status-current" else "1")
    assert present(json.loads(encode(status))) == json.loads(value)


def present(value: Any) -> Any:
    """`value` without what is null, which both versions read as absent."""
    if isinstance(value, dict):
        return {key: present(part) for key, part in value.items() if part is not None}
    return [present(part) for part in value] if isinstance(value, list) else value


def test_a_status_with_a_field_of_a_later_version_is_read_everywhere_in_it() -> None:
    value = json.loads((STORED / "status-current.json").read_bytes())
    for part in (value, value["memory"], value["memory"]["slots"]["0"], value["conditions"][0]):
        part["invented_later"] = {"x": 1}
    assert decode(PipelineStatus, json.dumps(value)).ready == 1


@pytest.mark.parametrize("kind", [PipelineStatus, Event, Claim])
def test_a_field_at_its_default_is_written_unless_it_has_no_value(kind: type[Stored]) -> None:
    """Readers find a 0: they need not know what a missing field means."""
    for field in structs.fields(kind):
        if field.default is not NODEFAULT:
            assert field.default is None, field.name
