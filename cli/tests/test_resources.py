"""`nats.yaml`: what it may say, and that on a real server only what is absent is made."""

import json

import nats
import pytest

from nexthos_cli.manifest.resources import BucketSpec, Resources, StreamSpec, ensure, load
from nexthos_shared.errors import InvalidDefinition, StoreUnavailable

EVERYTHING = """\
streams:
  - name: LOGS
    description: lines
    subjects: [logs.>, "raw.*"]
    storage: memory
    max_age: 1h
    max_bytes: 64Mi
kv:
  - bucket: customers
    history: 5
    values:
      c-1: {name: Ada, tier: gold}
      greeting: hello
      on: 3
"""


def written(folder, text):
    file = folder / "nats.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


@pytest.fixture
async def js(fresh_nats):
    nc = await nats.connect(fresh_nats.url)
    try:
        yield nc.jetstream()
    finally:
        await nc.close()


# ---- reading


def test_streams_and_buckets_are_read_with_their_limits_and_values(tmp_path):
    found = load(written(tmp_path, EVERYTHING))

    assert found.streams == [
        StreamSpec(
            name="LOGS",
            description="lines",
            subjects=["logs.>", "raw.*"],
            storage="memory",
            max_age=3600.0,
            max_bytes=64 * 1024 * 1024,
        )
    ]
    values = {"c-1": {"name": "Ada", "tier": "gold"}, "greeting": "hello", "on": 3}
    assert found.kv == [BucketSpec(bucket="customers", history=5, values=values)]


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "streams: []\n"])
def test_a_file_that_asks_for_nothing_is_fine(tmp_path, text):
    assert load(written(tmp_path, text)) == Resources()


@pytest.mark.parametrize(
    ("text", "line", "field"),
    [
        ("streams:\n  - name: LOGS\n    subjects: [a]\n    subject: b\n", 4, "streams.0.subject"),
        ("streams:\n  - {name: LOGS, subjects: []}\n", 2, "streams.0.subjects"),
        ("streams:\n  - {name: A B, subjects: [a]}\n", 2, "streams.0.name"),
        ("streams:\n  - {name: A, subjects: [a..b]}\n", 2, "streams.0.subjects.0"),
        ("streams:\n  - {name: A, subjects: [a], max_age: soon}\n", 2, "streams.0.max_age"),
        ("kv:\n  - bucket: b\n    values:\n      a b: 1\n", 4, "kv.0.values.a b"),
        ("kv:\n  - {bucket: b, history: 65}\n", 2, "kv.0.history"),
        ("queues: []\n", 1, "queues"),
        ("- a\n", 1, None),
        ("streams: [\n", 2, None),
        ("a: 1\n---\nb: 2\n", None, None),
    ],
)
def test_a_mistake_is_told_with_line_and_field(tmp_path, text, line, field):
    with pytest.raises(InvalidDefinition, match=r"nats\.yaml") as told:
        load(written(tmp_path, text))

    assert (told.value.problem.line, told.value.problem.field) == (line, field)


@pytest.mark.parametrize("text", [b"\xff", b"#" * 300_000, b"a: " + b"[" * 5000])
def test_what_is_no_text_or_beyond_the_bounds_is_refused(tmp_path, text):
    with pytest.raises(InvalidDefinition, match=r"nats\.yaml"):
        load(written(tmp_path, text))


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(InvalidDefinition, match="No such file"):
        load(tmp_path / "nats.yaml")


# ---- making


async def test_what_is_absent_is_made_as_written_and_told(js, tmp_path):
    told = await ensure(js, load(written(tmp_path, EVERYTHING)))

    assert told == [
        "created stream LOGS (logs.>, raw.*)",
        "created KV bucket customers",
        "put 3 of 3 keys into KV bucket customers",
    ]
    config = (await js.stream_info("LOGS")).config
    assert (config.subjects, config.max_age, config.max_bytes, config.description) == (
        ["logs.>", "raw.*"],
        3600.0,
        64 * 1024 * 1024,
        "lines",
    )
    bucket = await js.key_value("customers")
    assert json.loads((await bucket.get("c-1")).value) == {"name": "Ada", "tier": "gold"}
    assert (await bucket.get("greeting")).value == b"hello"
    assert (await bucket.get("on")).value == b"3"
    assert (await bucket.status()).history == 5


async def test_a_second_time_there_is_nothing_to_do(js, tmp_path):
    wanted = load(written(tmp_path, EVERYTHING))
    await ensure(js, wanted)

    assert await ensure(js, wanted) == []


async def test_what_exists_is_never_changed(js):
    await js.add_stream(name="LOGS", subjects=["mine"])
    bucket = await js.create_key_value(bucket="customers")
    await bucket.put("c-1", b"mine")
    wanted = Resources(
        streams=[StreamSpec(name="LOGS", subjects=["logs.>"])],
        kv=[BucketSpec(bucket="customers", values={"c-1": "theirs", "c-2": "new"})],
    )

    told = await ensure(js, wanted)

    assert told == ["put 1 of 2 keys into KV bucket customers"]
    assert (await js.stream_info("LOGS")).config.subjects == ["mine"]
    assert (await bucket.get("c-1")).value == b"mine"
    assert (await bucket.get("c-2")).value == b"new"


async def test_a_key_that_somebody_deleted_comes_back(js):
    wanted = Resources(kv=[BucketSpec(bucket="customers", values={"c-1": "x"})])
    await ensure(js, wanted)
    await (await js.key_value("customers")).delete("c-1")

    assert await ensure(js, wanted) == ["put 1 of 1 keys into KV bucket customers"]


async def test_subjects_that_another_stream_has_are_refused_by_name(js):
    await js.add_stream(name="OTHER", subjects=["logs.>"])

    with pytest.raises(InvalidDefinition, match="stream LOGS: subjects overlap"):
        await ensure(js, Resources(streams=[StreamSpec(name="LOGS", subjects=["logs.access"])]))


async def test_a_server_that_went_away_is_told_as_such(fresh_nats):
    nc = await nats.connect(fresh_nats.url, allow_reconnect=False)
    js = nc.jetstream(timeout=0.2)
    await fresh_nats.stop()

    with pytest.raises(StoreUnavailable, match="stream LOGS"):
        await ensure(js, Resources(streams=[StreamSpec(name="LOGS", subjects=["logs.>"])]))

    await nc.close()
