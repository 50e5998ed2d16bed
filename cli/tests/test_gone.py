"""Entries that ended without a marker, and buckets that make them end: what people are told."""

from __future__ import annotations

import json

import pytest

SECOND = 10**9  # nanoseconds
ORPHANED = {"type": "Orphaned", "status": "True", "reason": "Orphaned", "message": "left"}


def change(person, bucket, **settings):
    """`nats stream edit`."""

    async def work(store):
        stream = getattr(store, bucket).stream
        js = store.link.js
        stored = (await js._api_request(f"{js._prefix}.STREAM.INFO.{stream}"))["config"]
        wanted = {**stored, **settings}
        await js._api_request(f"{js._prefix}.STREAM.UPDATE.{stream}", json.dumps(wanted).encode())

    person.store(work)


def check(person, name):
    result = person.types("doctor", "-o", "json")
    return next(c for c in json.loads(result.stdout)["checks"] if c["name"] == name)


@pytest.mark.fault(126)
@pytest.mark.parametrize("bucket", ["pipelines", "statuses", "configs"])
def test_a_ttl_of_a_bucket_is_named_with_what_it_does_and_what_ends_it(person, bucket):
    change(person, bucket, max_age=8 * SECOND, duplicate_window=8 * SECOND)
    found = check(person, "settings")
    assert found["result"] == "warn"
    assert "max_age is 8s, should be 0: with this TTL" in found["message"]
    assert "nexthos setup" in found["remedy"]
    assert "max_age 8s -> 0" in person.does("setup").stdout
    assert check(person, "settings")["result"] == "ok"


@pytest.mark.fault(126)
def test_what_nobody_deleted_is_not_called_deleted(person):
    person.report("a", "Unknown", revision=1, conditions=[ORPHANED], executions_total=1)
    [line] = [row for row in person.does("ls").stdout.splitlines() if row.startswith("a ")]
    assert "deleted" not in line
    assert "Orphaned" in line
