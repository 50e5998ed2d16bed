"""What of a configuration becomes a stream, what is dropped, and what is refused with its line."""

from __future__ import annotations

import pytest
from ruamel.yaml import YAML

from nexthos_controller.executors.streams.body import body_of
from nexthos_shared.errors import CannotRunHere, InvalidConfig, SettingsError
from nexthos_shared.reasons import Reason
from nexthos_testing.streams_rig import StreamsRig

PLAIN = b"# mine\ninput:\n  generate: {mapping: 'root = on'}\n\noutput:\n  drop: {}\n"


def read(body: bytes):
    return YAML(typ="safe", pure=True).load(body.decode())


def test_four_sections_are_handed_on_byte_for_byte():
    assert body_of(PLAIN, {}).content == PLAIN


@pytest.mark.parametrize(
    "config",
    [
        "http: {address: 'x:1', cors: {a: b}}\ninput: {a: 1}\nlogger: {format: json}\noutput: {b: 2}\n",
        "input: {a: 1}\noutput: {b: 2}\nhttp:\n  address: x\n  basic_auth:\n    enabled: true\n",
        "---\nshutdown_timeout: 3s\ninput:\n  a: 1\n# c\nmetrics: {prometheus: {}}\noutput:\n  b: 2\n",
        '{"http": {"a": 1}, "input": {"a": 1}, "logger": {"level": "info"}, "output": {"b": 2}, "tests": []}',
        '{"input": {"a": 1}, "output": {"b": 2}, "http": {}}',
        '{"http": {},\n "input": {"a": 1},\n "output": {"b": 2}\n}',
        "cache_resources: []\ntracer: {none: {}}\ninput: {a: 1}\noutput: {b: 2}",
    ],
)
def test_what_is_overridden_anyway_is_dropped_and_lines_stay(config):
    body = body_of(config.encode(), {}).content
    assert read(body) == {"input": {"a": 1}, "output": {"b": 2}}
    assert body.count(b"\n") == config.count("\n")
    line = next(n for n, text in enumerate(config.splitlines()) if "input" in text)
    assert b"input" in body.splitlines()[line]


@pytest.mark.parametrize(
    ("section", "field"),
    [
        ("cache_resources: [{label: c, memory: {}}]", "cache_resources"),
        ("rate_limit_resources:\n- label: c\n", "rate_limit_resources"),
        ("input_resources: [{label: c}]", "input_resources"),
        ("output_resources: [{label: c}]", "output_resources"),
        ("processor_resources: [{label: c}]", "processor_resources"),
        ("metrics: {statsd: {address: x}}", "metrics"),
        ("metrics: {prometheus: {use_histogram_timing: true}}", "metrics"),
        ("tracer: {jaeger: {}}", "tracer"),
        ("logger: {level: DEBUG}", "logger"),
        ("logger: {static_fields: {a: b}}", "logger"),
        ("error_handling: {strategy: reject}", "error_handling"),
    ],
)
def test_what_would_be_shared_or_ignored_is_refused_with_its_line(section, field):
    with pytest.raises(CannotRunHere) as raised:
        body_of(f"input: {{a: 1}}\n\n{section}\noutput: {{b: 2}}\n".encode(), {})
    problem = raised.value.problem
    assert (problem.reason, problem.field, problem.line) == (Reason.CANNOT_RUN_HERE, field, 3)


def test_what_is_not_known_is_left_for_the_engine_to_refuse():
    config = b"input: {a: 1}\nbogus: {x: 1}\n"
    assert body_of(config, {}).content == config
    assert body_of(b"input: [\n", {}).content == b"input: [\n"


def test_an_anchor_that_would_be_lost_is_refused():
    with pytest.raises(CannotRunHere) as raised:
        body_of(b"http: {address: &a x}\ninput: {b: *a}\n", {})
    assert raised.value.problem.line == 2


def test_a_missing_variable_is_told_by_its_name():
    with pytest.raises(InvalidConfig) as raised:
        body_of(b"input: {a: '${TOKEN}'}\n", {})
    problem = raised.value.problem
    assert (problem.reason, problem.field) == (Reason.VARIABLE_MISSING, "env.TOKEN")


@pytest.mark.parametrize(
    "call",
    ['env("REGION")', "env('REGION')", r"env(\"REGION\")", 'env( "REGION" )', "env(this.name)"],
)
def test_a_mapping_that_reads_the_shared_engines_environment_is_refused_with_its_line(call):
    config = f"input:\n  generate:\n    mapping: root = {call}\noutput: {{drop: {{}}}}\n".encode()
    with pytest.raises(CannotRunHere, match=r"env\(") as caught:
        body_of(config, {"REGION": "eu"})
    assert caught.value.problem.line == 3


@pytest.mark.parametrize(
    "call", ['env("OTHER")', 'root = 1 # env("REGION")', "this.env(1)", "getenv(1)", '"${REGION}"']
)
def test_what_reads_the_same_in_a_shared_engine_is_not(call):
    body_of(f"input: {{generate: {{mapping: '{call}'}}}}\n".encode(), {"REGION": "eu"})


def test_what_no_body_can_say_is_refused_with_its_line():
    with pytest.raises(CannotRunHere) as raised:
        body_of(b"input: {a: x}\noutput: {a: '${{A:${{A}}}'}\n", {"A": "secret"})
    assert raised.value.problem.line == 2
    assert "secret" not in raised.value.problem.message


@pytest.mark.fault(49)
def test_what_is_too_large_to_be_taken_apart_is_refused():
    with pytest.raises(CannotRunHere):
        body_of(b"http: {}\ninput: {a: '" + b"x" * 200_000 + b"'}\n", {})
    bomb = b"http: {}\ninput: " + b"[" * 2000 + b"]" * 2000
    with pytest.raises(CannotRunHere):
        body_of(bomb, {})
    plain = b"input: {a: '" + b"x" * 200_000 + b"'}\n"
    assert body_of(plain, {}).content == plain


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"cap": 0}, "executors.streams.cap"),
        ({"caps": 3}, "executors.streams.caps"),
        ({"idle": "soon"}, "executors.streams.idle"),
    ],
)
def test_settings_are_checked(streams_rig: StreamsRig, options, field):
    streams_rig.options = options
    with pytest.raises(SettingsError) as raised:
        streams_rig.make()
    assert raised.value.problem.field == field


@pytest.mark.parametrize(
    "config",
    [
        b"input: {a: 1}\n\xff: 1\n",
        b"\xff\xfe" + PLAIN.decode().encode("utf-16-le"),
        PLAIN.decode().encode("utf-16"),
        b"\xfe\xff" + PLAIN.decode().encode("utf-16-be"),
    ],
)
def test_bytes_that_are_no_utf8_are_refused_as_by_every_executor(config):
    with pytest.raises(InvalidConfig) as raised:
        body_of(config, {})
    assert raised.value.problem.reason is Reason.CONFIG_NOT_TEXT
    assert raised.value.problem.line == 1 + config[: config.find(b"\xff")].count(b"\n")


@pytest.mark.parametrize(
    "section",
    ["cache_resources: [{label: c, memory: {}}]", "rate_limit_resources: [{label: r, local: {}}]"],
)
def test_who_needs_a_resource_is_sent_to_another_executor(section):
    with pytest.raises(CannotRunHere, match="name another executor"):
        body_of(f"input: {{a: 1}}\n{section}\n".encode(), {})
