"""What is read out of a configuration, and what can't hurt us while it is read."""

import pytest

from nexthos_shared.engine import ConfigShape, read_shape
from nexthos_shared.engine.inspect import MAX_PARSED_BYTES, parse_bounded

NATS_TO_NATS = b"""\
input: {nats: {urls: ["${NATS_URL}"], subject: a}}
output: {nats: {urls: ["${NATS_URL}"], subject: b}}
"""


def shape(text: str) -> ConfigShape:
    return read_shape(text.encode())


def test_an_ordinary_pipeline_has_nothing_special():
    assert read_shape(NATS_TO_NATS) == ConfigShape()


@pytest.mark.parametrize("nothing", ["", "metrics:\n", "metrics: {}\n", "metrics: null\n"])
def test_no_or_empty_metrics_leave_room_for_ours(nothing):
    found = shape(f"input: {{stdin: {{}}}}\n{nothing}")

    assert found.names_metrics is None
    assert found.takes_metrics
    assert found.scrapable


@pytest.mark.parametrize(
    ("metrics", "named"),
    [
        ("{none: {}}", "none"),
        ("\n  statsd: {address: localhost:8125}", "statsd"),
        ("\n  mapping: root = this\n  json_api: {}", "json_api"),
        ("{type: logger}", "logger"),
        ("{mapping: root = this}", ""),
        ("[1]", ""),
    ],
)
def test_other_metrics_are_named_and_take_none_of_ours(metrics, named):
    found = shape(f"metrics: {metrics}\n")

    assert found.names_metrics == named
    assert not found.takes_metrics
    assert not found.scrapable


@pytest.mark.parametrize(
    "options", ["{}", "{use_histogram_timing: true}", "", "{file_output_path: ''}"]
)
def test_prometheus_metrics_of_the_files_own_are_scraped_and_added_to(options):
    found = shape(f"metrics:\n  prometheus: {options}\n")

    assert found.scrapable
    assert found.takes_metrics


@pytest.mark.parametrize(
    "metrics",
    [
        "prometheus: {file_output_path: /x}",
        "type: prometheus\n  plugin: {use_histogram_timing: true}",
    ],
)
def test_metrics_that_nothing_can_be_added_to_are_left_alone(metrics):
    found = shape(f"metrics:\n  {metrics}\n")

    assert found.scrapable
    assert not found.takes_metrics
    assert found.closed_metrics


@pytest.mark.parametrize(
    "text", ["output: {drop: {}}\n", "input:\noutput: {drop: {}}\n", "{output: {drop: {}}}"]
)
def test_where_no_input_is_written_it_is_stdin_and_ends(text):
    assert shape(text).finite_input


def test_an_input_that_is_written_ends_only_if_its_kind_does():
    assert not shape("input:\n  nats: {}\noutput: {drop: {}}\n").finite_input
    assert not shape("input: {nats: {}}\noutput: {drop: {}}\n").finite_input


@pytest.mark.parametrize("server", ["{path: /post}", "", '{address: ""}', "{address: null}"])
def test_an_http_server_without_an_address_is_seen(server):
    assert shape(f"input:\n  http_server: {server}\n").http_server_without_address


def test_an_http_server_without_an_address_is_seen_deep_inside_and_in_an_output():
    inside = "input:\n  broker:\n    inputs:\n      - http_server: {path: /a}\n"
    output = "output: {http_server: {path: /get}}"

    assert shape(inside).http_server_without_address
    assert shape(output).http_server_without_address


def test_an_http_server_with_an_address_is_fine():
    assert not shape("input: {http_server: {address: 0.0.0.0:8080}}").http_server_without_address


@pytest.mark.parametrize(
    "source",
    [
        "file: {paths: [a]}",
        "csv: {paths: [a]}",
        "stdin: {}",
        "generate: {count: 5, mapping: root = 1}",
        "read_until: {input: {nats: {}}}",
        "sequence: {inputs: [{file: {}}, {csv: {}}]}",
        "broker: {inputs: [{file: {}}, {generate: {count: 1}}]}",
        "resource: lines",
    ],
)
def test_an_input_that_ends_is_seen(source):
    config = f"input:\n  {source}\ninput_resources:\n  - {{label: lines, file: {{paths: [a]}}}}\n"

    assert shape(config).finite_input


@pytest.mark.parametrize(
    "source",
    [
        "nats: {subject: count}",
        "generate: {interval: 1s}  # count",
        "generate: {count: 0}",
        "broker: {inputs: [{file: {}}, {nats: {}}]}",
        "resource: nowhere  # file",
        "sequence: {inputs: []}",
    ],
)
def test_an_input_that_goes_on_or_is_unclear_is_not_called_finite(source):
    assert not shape(f"input:\n  {source}\n").finite_input


def test_words_of_yaml_1_1_stay_words():
    assert set(parse_bounded(b"on: 1\nyes: 2\nno: 3\n")) == {"on", "yes", "no"}


def test_aliases_and_merges_are_followed():
    config = "x: &m {none: {}}\ny: &f {file: {path: /a}}\nmetrics: *m\ninput: {<<: *f}\n"

    assert shape(config).names_metrics == "none"
    assert shape(config).finite_input


def test_json_is_yaml():
    assert shape('{"input": {"stdin": {}}, "metrics": {"none": {}}}').names_metrics == "none"


def test_only_the_first_document_counts():
    assert shape("metrics: {none: {}}\n---\nmetrics: {statsd: {}}\n").names_metrics == "none"


@pytest.mark.parametrize(
    "config",
    [
        b"metrics: [",
        b"\tmetrics: 1",
        b"metrics: \xff",
        b"metrics: *nowhere\nfile: {",
        b"metrics: \x00",
        b"just text of a file",
        b"- file",
        b"{a: b}: file",
        b"a: b: c: file",
        b"%YAML 9.9\n---\nfile: x",
    ],
)
def test_what_is_no_configuration_never_raises(config):
    assert read_shape(config).finite_input is False


def test_a_file_beyond_the_bounds_is_unknown_and_still_gets_no_second_metrics_type():
    padding = b"#" * MAX_PARSED_BYTES

    assert read_shape(b"metrics: {none: {}}\n" + padding) == ConfigShape(
        known=False, names_metrics=""
    )
    assert read_shape(b"input: {file: {}}\n" + padding) == ConfigShape(known=False)


def bomb() -> bytes:
    lines = ["metrics: &a [x, x, x, x, x, x, x, x, x]"]
    for old, new in zip("abcdefghijk", "bcdefghijkl", strict=True):
        lines.append(f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]")
    return "\n".join([*lines, "input: {http_server: *l}"]).encode()


@pytest.mark.fault(49)
@pytest.mark.parametrize(
    "config",
    [
        bomb(),
        b"metrics: " + b"[" * 100_000,
        b"metrics: " + b"{a: " * 30_000,
        b"metrics:\n  " + b"- " * 60_000,
        b"metrics: " + b"&a [*a, *a]",
        b"metrics: &a\n  <<: *a\n",
        b"metrics: [" + b"x, " * 40_000 + b"]",
        b"metrics: " + b"? " * 60_000,
        b"metrics: '" + b"x" * 120_000 + b"'",
    ],
    ids=range(9),
)
def test_a_yaml_bomb_costs_what_its_bytes_cost(config):
    # Without bounds, the first would be 9 to the 11th strings, and some would end in a RecursionError.
    assert isinstance(read_shape(config), ConfigShape)
