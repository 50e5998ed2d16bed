"""What can run and will hardly do what it was written for is told with its place and what to write."""

from __future__ import annotations

import pytest

from nexthos_shared.engine.doubts import Where, doubts, files_read
from nexthos_shared.reasons import Reason

PROCESS, DOCKER, STREAMS = Where("process"), Where("docker"), Where("streams")


def told(
    config: str, where: Where = PROCESS, **env: str
) -> list[tuple[int | None, int | None, str]]:
    found = doubts(config.encode(), env, where)
    assert {p.reason for p in found} <= {Reason.HARDLY_MEANT}
    return [(p.line, p.column, p.message) for p in found]


@pytest.mark.fault(122)
@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("nats://nats:4222", PROCESS),
        ("nats://u:p@nats-server:4222", STREAMS),
        ("nats://a.example:4222,nats://nats:4222", PROCESS),
        ("tls://nats", DOCKER),
        ("nats://localhost:4222", DOCKER),
        ("nats://127.0.0.1:4222", DOCKER),
    ],
)
def test_an_address_that_only_a_compose_file_knows_is_told(url, where):
    config = f"input:\n  nats:\n    urls: ['{url}']\n    subject: a\noutput: {{drop: {{}}}}\n"
    [(line, column, words)] = told(config, where)
    assert (line, column) == (3, 12)
    assert "write ${NATS_URL}" in words
    assert "u:p@" not in words


@pytest.mark.parametrize(
    "url",
    [
        "${NATS_URL}",
        "nats://localhost:4222",
        "nats://nats.example:4222",
        "nats://[::1]:1",
        "http://api",
    ],
)
def test_other_addresses_are_fine(url):
    assert told(f"input: {{nats: {{urls: ['{url}'], subject: a}}}}\n") == []


@pytest.mark.fault(122)
@pytest.mark.parametrize(
    ("mapping", "line"),
    [
        ("'root.site = env(\"SITE\")'", 3),
        ("|\n          root.a = 1\n          root.site = env('SITE')", 5),
        ('|\n          # env("OTHER")\n          root = env("SITE").string()', 5),
    ],
)
def test_a_variable_that_a_mapping_finds_null_is_told(mapping, line):
    config = f"pipeline:\n  processors:\n    - mapping: {mapping}\n"
    [(where, _, words)] = told(config)
    assert where == line
    assert 'env("SITE") is null' in words
    assert "${SITE}" in words
    assert told(config, SITE="here") == []
    assert told(config, STREAMS) == []  # which refuses it
    assert told(config.replace("env(", "this.env(")) == []


def test_a_variable_with_a_value_to_fall_back_on_is_fine():
    assert told('pipeline: {processors: [{mapping: \'root = env("SITE").or("x")\'}]}') == []


@pytest.mark.fault(122)
@pytest.mark.parametrize(
    "call", ['ts_format("2006", "No/Where")', 'ts_tz("No/Where")', "ts_strftime('%Y', 'X')"]
)
def test_a_time_zone_that_is_none_is_told_in_a_mapping(call):
    [(line, _, words)] = told(
        f"pipeline:\n  processors:\n    - mapping: |\n        root = now().{call}\n"
    )
    assert line == 4
    assert "is no time zone" in words
    assert (
        told("pipeline: {processors: [{mapping: 'root = now().ts_tz(\"Europe/Berlin\")'}]}") == []
    )


@pytest.mark.fault(122)
@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("http:\n  address: 0.0.0.0:4195", "http.address: it is overridden"),
        ("http:\n  enabled: false", "http.enabled"),
        ("http:\n  debug_endpoints: true", "http.debug_endpoints"),
        ("logger:\n  file: {path: /x}", "nexthos logs"),
        ("metrics:\n  prometheus: {file_output_path: /x}", "CPU and memory"),
        ("metrics: {type: prometheus,\n  plugin: {a: b}}", "CPU and memory"),
        ("output: {drop: {}}\nshutdown_timeout: 5s", "stop_timeout"),
    ],
)
def test_what_every_engine_is_given_anew_is_told(section, words):
    [(line, _, said)] = told(f"{section}\n")
    assert line == 2
    assert words in said


@pytest.mark.fault(122)
@pytest.mark.parametrize(
    "part",
    [
        "output:\n  file: {path: out.txt}",
        "output:\n  broker: {outputs: [{file: {path: './a/${!timestamp()}'}}]}",
        "buffer:\n  sqlite: {path: b.db}",
        "cache_resources:\n  - {label: a, file: {directory: cache}}",
        "output:\n  file: {path: '${PLACE}'}",
    ],
)
def test_a_relative_path_of_what_is_written_is_told(part):
    [(line, _, words)] = told(part, PLACE="hunter2-hunter2")
    assert line == 2
    assert "write an absolute path" in words
    assert "hunter2" not in words
    assert told(part, Where("process", workdir=True), PLACE="x") == []


def test_an_absolute_path_and_one_that_is_not_known_are_fine():
    assert told("output: {file: {path: /data/out}}") == []
    assert told("output: {file: {path: '${PLACE}'}}") == []
    assert told("output: {file: {path: '${PLACE}'}}", PLACE="/data/x") == []


@pytest.mark.fault(122)
@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("generate: {interval: 1s}", "makes every message"),
        ("broker: {inputs: [{generate: {}}]}", "makes every message"),
        ("nats: {subject: a}", "queue: NAME"),
        ("nats_jetstream: {subject: a}", "`durable: NAME` and `queue: NAME`"),
        ("nats_jetstream: {subject: a, durable: d}", "nats consumer rm STREAM d"),
        ("file: {paths: [a.csv]}", "reads all of it"),
        ("sequence: {inputs: [{csv: {paths: [a.csv]}}]}", "reads all of it"),
        ("stdin: {}", "reads all of it"),
        ("nats_kv: {bucket: b}", "gets every message"),
        ("websocket: {url: 'ws://x.example'}", "gets every message"),
        ("mqtt: {urls: [x], topics: [a]}", "end each other's connection"),
        ("http_server: {address: '0.0.0.0:4195'}", "0.0.0.0:4195 can be bound by one"),
        ("socket_server: {address: '127.0.0.1:9000'}", "127.0.0.1:9000 can be bound by one"),
    ],
)
def test_an_input_that_replicas_do_not_share_is_told_with_the_recipe(source, words):
    [(line, _, said)] = told(f"input:\n  {source}\n", Where(replicas=3))
    assert line == 2
    assert words in said
    assert told(f"input:\n  {source}\n") == []


@pytest.mark.parametrize(
    "source",
    [
        "nats: {queue: q}",
        "nats_jetstream: {durable: d, queue: q}",
        "nats_jetstream: {durable: d, bind: true}",
        "http_server: {path: /post}",
        "socket_server: {address: '127.0.0.1:0'}",
        "inproc: a",
    ],
)
def test_an_input_that_replicas_share_is_fine(source):
    assert told(f"input: {{{source}}}\n", Where(replicas=3)) == []


def test_a_container_has_an_address_of_its_own_to_bind():
    source = "input: {http_server: {address: '0.0.0.0:4195'}}\n"
    assert told(source, Where(executor="docker", replicas=3)) == []
    assert len(told(source, Where(executor="streams", replicas=3))) == 1


def test_files_that_messages_need_are_named_with_their_places():
    config = b"pipeline:\n  processors:\n    - json_schema: {schema_path: 'file://./${S}.json'}\n"
    config += b"    - protobuf: {import_paths: [/a, b]}\n    - avro: {schema_path: 'http://x/y'}\n"
    found = files_read(config, {"S": "s"})
    assert [(path, p.line) for path, p in found] == [("./s.json", 3), ("/a", 4), ("b", 4)]


@pytest.mark.parametrize("config", ["", "x", "[1]", "{", "a: *b", "\x00", "${X", "nats://[::1"])
def test_no_text_raises(config):
    assert told(config) == []
    assert files_read(config.encode(), {}) == []
