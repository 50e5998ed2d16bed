"""Readers of bytes that others wrote: whatever they are, a value within bounds or none."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexthos_shared import object_format
from nexthos_shared.model import Event, PipelineStatus, read_entry
from nexthos_shared.model.entries import read_definition, read_status
from nexthos_shared.model.stored import read
from nexthos_shared.object_format import Answer, info_of
from nexthos_shared.store import KvEntry
from nexthos_shared.untrusted_json import MOST_DEPTH, number, read_json, read_object, whole
from nexthos_testing import hostile


@pytest.mark.parametrize("value", [0, -1.5, "ä", [1, [2]], {"a": None}, True, "\U0001f600"])
def test_what_is_json_is_read_as_it_is(value):
    assert read_json(json.dumps(value).encode()) == value
    assert read_json(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize(
    "data",
    [
        None,
        b"",
        b"{",
        b"NaN",
        b"[Infinity]",
        b"1e999",
        b"[-1e999]",
        b"9" * 5000,
        b"[" * 200_000,
        b"[" * 200_000 + b"]" * 200_000,
        b'{"a":' * 100_000,
        b"[" * (MOST_DEPTH + 1) + b"]" * (MOST_DEPTH + 1),
        b'["\\ud800"]',
        b'"\xff"',
        '{"a": 1}'.encode("utf-16"),
        b" " * (1024 * 1024) + b"1",
    ],
)
def test_what_is_none_or_out_of_bounds_is_none(data):
    assert read_json(data) is None


def test_brackets_in_strings_are_no_depth():
    text = "[{" * 500 + '"' + "\\"
    assert read_json(json.dumps([text] * 3).encode()) == [text] * 3


def test_many_quotes_are_read_in_no_time():
    # With a pattern that begins again at each quote this took minutes: the suite's own limit would tell.
    assert read_json(b"[" * 100 + b'"' + b'\\"' * 400_000) is None


@pytest.mark.parametrize("value", [True, -1, 1.0, "1", None, 2**60])
def test_a_whole_number_is_nothing_else(value):
    assert whole(value, 2**53) is None


@pytest.mark.parametrize("value", [True, math.inf, math.nan, 10**400, "1", None])
def test_a_number_is_a_finite_one(value):
    assert number(value) is None


@given(hostile.anything("a", "b"))
def test_no_bytes_raise(data):
    value = read_json(data)
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    assert read_object(data) in (None, value)


@pytest.mark.fault(99)
@given(hostile.anything(*hostile.META))
def test_no_meta_raises_and_what_is_taken_is_within_bounds(data):
    info = info_of(Answer(data, 7), "orders", "1")
    assert info is not None
    assert (info.id, info.version, info.revision) == ("orders", "1", 7)
    assert 0 <= info.size <= 2**53
    if not info.broken and not info.deleted:
        assert info.nuid.replace("-", "a").replace("_", "a").isalnum()
        assert info.nuid.isascii()


@given(st.text(max_size=60), st.binary(max_size=40))
def test_no_subject_of_a_meta_raises(text, data):
    import base64

    for encoded in (text, base64.urlsafe_b64encode(data).decode()):
        object_format.name_of("b", f"$O.b.M.{encoded}")


@given(hostile.anything(*hostile.ENTRY))
def test_no_entry_raises(data):
    read_entry("orders", 1, data)
    read_definition(KvEntry("orders", 1, data))


@given(hostile.anything(*hostile.STATUS))
def test_no_status_and_no_event_raises(data):
    read_status(KvEntry("orders", 1, data))
    read(Event, data)
    read(PipelineStatus, data)


@pytest.mark.parametrize(
    "more",
    [
        {"updated_at": 1e300},
        {"restarts": 10**400},
        {"memory": {"slots": {"0": {"not_before": 1e300}}}},
        {"memory": {"slots": {"0": {"failures": 10**30}}}},
        {"conditions": [{"type": "Valid", "status": "True", "reason": "Valid", "since": -1}]},
    ],
)
def test_a_status_that_can_not_be_counted_with_is_none(more):
    data = json.dumps({"phase": "Running"} | more).encode()
    assert read_status(KvEntry("orders", 1, data)) is None


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"nuid": "x y 0\r\n\r\nPUB $JS.API.STREAM.PURGE.KV_a 0\r\n\r\n"}, "nuid"),
        ({"nuid": ">"}, "nuid"),
        ({"nuid": "*"}, "nuid"),
        ({"nuid": ""}, "nuid"),
        ({"nuid": "a.b"}, "nuid"),
        ({"nuid": "n" * 65}, "nuid"),
        ({"nuid": 7}, "nuid"),
        ({"size": True}, "size"),
        ({"size": -1}, "size"),
        ({"size": 2.5}, "size"),
        ({"size": 2**60}, "size"),
        ({"chunks": "1"}, "chunks"),
        ({"name": "other/1"}, "name"),
        ({"name": ["orders/1"]}, "name"),
        ({"digest": "SHA-256=!"}, "digest"),
        ({"digest": 5}, "digest"),
        ({"digest": "SHA-256=" + "A" * 44}, "digest"),
    ],
)
def test_a_meta_with_a_field_out_of_bounds_is_broken_by_that_field(more, words):
    info = info_of(Answer(hostile.meta("orders/1", **more), 1), "orders", "1")
    assert info is not None
    assert words in info.broken
    assert "configuration orders/1" in info.refusal


@pytest.mark.parametrize("nuid", ["0aZ", "a-b_c", "n" * 64])
def test_names_that_clients_give_to_chunks_are_taken(nuid):
    info = info_of(Answer(hostile.meta("orders/1", nuid=nuid), 1), "orders", "1")
    assert info is not None
    assert not info.broken
