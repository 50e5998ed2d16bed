"""A `nats.yaml` beside pipelines, under `apply` and `lint`: made, checked, refused."""

from __future__ import annotations

import pytest

PLAIN = """\
input: {generate: {mapping: 'root = "hello"', interval: 1s}}
output: {drop: {}}
"""


@pytest.fixture
def stream(namespace):
    return f"S_{namespace}"


@pytest.fixture
def folder(person, stream, tmp_path):
    """`write(more)` saves a folder whose `nats.yaml` says `more` of the stream."""
    root = tmp_path / "folder"
    root.mkdir()
    (root / "orders.yaml").write_text(PLAIN)

    def write(more=""):
        text = f"streams:\n  - {{name: {stream}, subjects: [{stream}.>]{more}}}\n"
        text += f"kv: [{{bucket: {stream}, values: {{a: b}}}}]\n"
        (root / "nats.yaml").write_text(text)
        return str(root)

    return write


def streams(person):
    async def names(store):
        found: set[str | None] = set()  # in pages of 256: the server is other tests' too
        while page := await store.link.js.streams_info(offset=len(found)):
            found |= {info.config.name for info in page}
        return found

    return person.store(names)


def test_apply_makes_what_is_missing_and_finds_it_right_the_second_time(person, folder, stream):
    out = person.does("apply", folder()).stdout
    assert f"created stream {stream}" in out
    assert f"created KV bucket {stream}" in out
    assert "pipeline/orders created" in out
    assert stream in streams(person)
    assert "created" not in person.does("apply", folder()).stdout


def test_a_dry_run_says_what_would_be_made_and_makes_nothing(person, folder, stream):
    out = person.does("apply", "--dry-run", folder()).stdout
    assert f"stream {stream} created (dry run)" in out
    assert f"KV bucket {stream} created (dry run)" in out
    assert stream not in streams(person)


def test_what_differs_is_named_field_by_field_and_nothing_is_written(person, folder, stream):
    folder()
    person.does("apply", folder())
    person.does("rm", "orders")
    result = person.types("apply", folder(", max_age: 1h, storage: memory"))
    for field in ("max_age is", "storage is 'file' on the server and 'memory' in the file"):
        assert f"stream {stream}: {field}" in result.stderr
    assert "orders" not in person.types("get", "-o", "name").stdout


def test_lint_names_line_and_field_of_what_is_wrong(person, folder):
    result = person.types("lint", folder(", subject: x"))
    assert "nats.yaml:2" in result.stderr
    assert "subject" in result.stderr
    assert "nats.yaml: ok" in person.does("lint", folder()).stdout
