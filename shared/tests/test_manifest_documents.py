"""YAML as values with places, bounded."""

from __future__ import annotations

import pytest

from nexthos_shared.manifest.documents import Mark, Unreadable, read_documents


def test_values_are_those_of_yaml_1_2_and_of_json():
    text = "a: [1, -2, 0o14, 0x1F, 1.5, 1e3, true, False, null, ~, yes, on, 2024-01-01, .inf, 1_0, 010]"
    assert read_documents(text)[0].value["a"] == [
        1,
        -2,
        12,
        31,
        1.5,
        1000.0,
        True,
        False,
        None,
        None,
        "yes",
        "on",
        "2024-01-01",
        ".inf",
        "1_0",
        10,
    ]


def test_quotes_blocks_and_tags_make_text():
    document = read_documents("a: '1'\nb: \"true\"\nc: !!str 1\nd: |\n  1\ne: >-\n  x\n  y\n")[0]
    assert document.value == {"a": "1", "b": "true", "c": "1", "d": "1\n", "e": "x y"}
    assert document.blocks == {("d",)}


def test_every_part_has_its_place():
    document = read_documents("a:\n  - b: 1\n    c: [x, y]\n")[0]
    assert document.mark(("a", 0, "c", 1)) == Mark(3, 12)
    assert document.mark(("a", 0, "c"), key=True) == Mark(3, 5)
    assert document.mark(("a", 0, "nowhere")) == Mark(2, 5)


def test_aliases_are_the_value_they_name():
    assert read_documents("a: &x {b: 1}\nc: *x\nd: [*x, *x]\n")[0].value["d"] == [{"b": 1}] * 2


def test_merge_keys_are_ordinary_keys_as_yaml_1_2_has_it():
    assert "<<" in read_documents("a: &x {b: 1}\nc: {<<: *x}\n")[0].value["c"]


@pytest.mark.parametrize(
    "text",
    ["a: [", "a: *x", "a: !x 1", "? [a]\n: 1", "a: 1\na: 2", "[" * 100, "a: 'x", "\x01", "{a: b"],
)
def test_what_is_not_yaml_is_unreadable_and_nothing_else(text):
    with pytest.raises(Unreadable):
        read_documents(text)


def test_documents_are_told_apart():
    assert [d.value for d in read_documents("a: 1\n---\n---\nb: 2\n...\n")] == [
        {"a": 1},
        None,
        {"b": 2},
    ]
    assert read_documents("") == []
