"""What streams of an engine would share: refused with its line, or kept in engines of their own."""

from __future__ import annotations

from functools import partial

import pytest

from nexthos_controller.executors.streams.body import body_of
from nexthos_controller.executors.streams.shares import agree
from nexthos_shared.errors import CannotRunHere
from nexthos_testing.rig import STEADY
from nexthos_testing.streams_rig import StreamsRig
from nexthos_testing.wait import eventually

METRIC = "pipeline: {processors: [{metric: {%s}}]}\n"


def with_metric(fields: str) -> bytes:
    return STEADY + (METRIC % fields).encode()


@pytest.mark.fault(106)
@pytest.mark.parametrize(
    ("processor", "words"),
    [
        ("metric: {type: counter, name: a, labels: {path: x}}", "'path'"),
        ("metric: {type: counter, name: a, labels: {label: x}}", "'label'"),
        ("metric: {type: gauge, name: a, labels: {b: x, stream: x}}", "'stream'"),
        ("metric: {type: counter, name: a, labels: {__x: y}}", "'__x'"),
        ("metric: {type: timing, name: a, labels: {quantile: x}}", "'quantile'"),
        ("metric: {type: gauge, name: input_received}", "input_received"),
        ("metric: {type: counter, name: input_latency_ns_count}", "input_latency_ns_count"),
        ("type: metric\n    plugin: {type: gauge, name: a, labels: {path: x}}", "'path'"),
        ('"m\\x65tric": {type: gauge, name: a, labels: {path: x}}', "'path'"),
        ('"\\u006detric": {type: gauge, name: a, labels: {"p\\u0061th": x}}', "'path'"),
        ('? "met\\\n      ric"\n    : {type: gauge, name: a, labels: {path: x}}', "'path'"),
        ("branch: {processors: [{metric: {type: gauge, name: a, labels: {path: x}}}]}", "'path'"),
        ("metric: {<<: {labels: {path: x}}, type: gauge, name: a, labels: {path: x}}", "'path'"),
    ],
)
def test_a_metric_that_the_engine_breaks_on_is_refused_with_its_line(processor, words):
    config = STEADY.decode() + f"pipeline:\n  processors:\n  - noop: {{}}\n  - {processor}\n"
    with pytest.raises(CannotRunHere, match=r"metric (a|input)") as raised:
        body_of(config.encode(), {})
    assert words in str(raised.value)
    assert raised.value.problem.line == 6


@pytest.mark.parametrize(
    "others",
    [
        "metric: {type: gauge, name: a}",
        "metric: {type: counter, name: a, labels: {b: x}}",
        "metric: {type: timing, name: a}",
    ],
)
def test_a_name_that_one_configuration_has_twice_is_refused(others):
    config = (
        STEADY.decode()
        + f"""\
pipeline:
  processors:
  - {others}
  - metric: {{type: counter, name: a}}
"""
    )
    with pytest.raises(CannotRunHere, match="metric a: the name is there already"):
        body_of(config.encode(), {})


def test_what_another_metric_makes_of_a_timing_is_refused_too():
    config = with_metric("type: timing, name: a}}, {metric: {type: counter, name: a_count")
    with pytest.raises(CannotRunHere, match="metric a"):
        body_of(config, {})


def test_metrics_of_one_name_agree_where_type_and_labels_do():
    one, same, other, labelled = [
        body_of(with_metric(f), {}).metrics
        for f in (
            "type: counter, name: a",
            "type: counter_by, name: a, value: 1",
            "type: gauge, name: a",
            "type: counter, name: a, labels: {b: c}",
        )
    ]
    assert agree(one, same)
    assert not agree(one, other)
    assert not agree(one, labelled)
    assert agree({}, other)


@pytest.mark.fault(106)
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("type: counter, name: a", "type: gauge, name: a"),
        ("type: counter, name: a, labels: {x: y}", "type: counter, name: a, labels: {z: y}"),
        ("type: counter, name: a", "type: counter, name: a, labels: {x: y}"),
        ("type: timing, name: a", "type: counter, name: a_count"),
    ],
)
async def test_two_streams_whose_metrics_differ_are_in_two_hosts_and_both_run(
    streams_rig: StreamsRig, first, second
):
    rig = streams_rig
    specs = [rig.spec(f"p{n}", config=with_metric(f)) for n, f in enumerate((first, second))]
    one, other = [await rig.executor.start(s, 0) for s in specs]
    assert (one.state, other.state) == ("running", "running")
    assert rig.host_of(one)[0] != rig.host_of(other)[0]
    await rig.executor.stop(one, 5.0)
    await rig.reopen()  # what an engine has registered stays, and is known to the next controller
    third = await rig.executor.start(rig.spec("third", config=with_metric(second)), 0)
    assert rig.host_of(third)[0] == rig.host_of(other)[0]


async def test_two_streams_with_the_same_metric_share_a_host_and_count_each_its_own(
    streams_rig: StreamsRig,
):
    rig = streams_rig
    specs = [rig.spec(n, config=with_metric("type: counter, name: mine")) for n in ("a", "b")]
    executions = [await rig.executor.start(s, 0) for s in specs]
    assert len(rig.hosts()) == 1

    async def counted(execution) -> bool:
        return "\nmine{" in await rig.executor.metrics(execution)

    for execution in executions:
        await eventually(partial(counted, execution))


@pytest.mark.fault(107)
@pytest.mark.parametrize(
    "part",
    [
        "input: {inproc: a}",
        "output: {inproc: a}",
        'input: {"\\x69nproc": a}',
        "input: {type: inproc, plugin: a}",
        "input: {broker: {inputs: [{generate: {mapping: root = 1}}, {inproc: a}]}}",
        "input: {read_until: {check: 'true', input: {inproc: a}}}",
    ],
)
def test_a_pipe_that_all_streams_of_an_engine_would_share_is_refused_with_its_line(part):
    with pytest.raises(CannotRunHere, match="inproc") as raised:
        body_of(f"# mine\n{part}\n".encode(), {})
    assert raised.value.problem.line == 2


@pytest.mark.fault(107)
@pytest.mark.parametrize(
    "mapping",
    [
        'root = count("a")',
        "root = count('a')",
        'root = this.x + count( name: "a" )',
        "root = count(this.x)",
    ],
)
def test_a_counter_that_all_streams_of_an_engine_would_share_is_refused_with_its_line(mapping):
    config = f"input: {{generate: {{count: 1}}}}\npipeline:\n  processors:\n  - mapping: |\n      {mapping}\n"
    with pytest.raises(CannotRunHere, match=r"write counter\(\)") as raised:
        body_of(config.encode(), {})
    assert raised.value.problem.line == 4
    with pytest.raises(CannotRunHere, match=r"write counter\(\)"):
        body_of(
            b"input: {generate: {mapping: 'root = 1'}}\noutput: {file: {path: '${! count(\"a\") }'}}\n",
            {},
        )


@pytest.mark.parametrize(
    "mapping",
    [
        "root = counter()",
        "root = this.count",
        'root = "count(*)"',
        '# root = count("a")',
        "root = this.x.count(1)",
    ],
)
def test_what_counts_for_itself_or_does_not_count_is_not(mapping):
    config = f"input: {{generate: {{count: 1}}}}\npipeline:\n  processors:\n  - mapping: |\n      {mapping}\n"
    assert body_of(config.encode(), {}).metrics == {}


def test_a_call_of_env_that_is_written_with_escapes_is_refused_as_any_other():
    config = b'input: {generate: {mapping: "root = \\x65nv(\\"HOME\\")"}}\n'
    with pytest.raises(CannotRunHere, match="reads the shared engine's environment"):
        body_of(config, {"HOME": "x"})


@pytest.mark.fault(107)
@pytest.mark.parametrize(
    "log",
    [
        "{fields: {stream: other}}",
        "{fields_mapping: 'root.stream = \"other\"'}",
        "{fields_mapping: 'root = this'}",
        "{fields_mapping: 'stream = \"other\"'}",
        "{fields_mapping: 'root.\"str\" = 1'}",
        "{fields_mapping: 'from \"./a.blobl\"'}",
    ],
)
def test_a_line_of_the_log_that_could_name_another_stream_is_refused_with_its_line(log):
    config = f"input: {{generate: {{}}}}\npipeline:\n  processors:\n  - log: {log}\n"
    with pytest.raises(CannotRunHere, match="whose a line is") as raised:
        body_of(config.encode(), {})
    assert raised.value.problem.line == 4


def test_other_fields_of_a_line_are_a_pipelines_own():
    config = b"""\
input: {generate: {}}
pipeline:
  processors:
  - log: {message: hi, fields: {order: '${! this.id }'}}
  - log:
      fields_mapping: |
        root.order = this.id
        root.kind = if this.a == 1 { "a" }
"""
    assert body_of(config, {}).metrics == {}


@pytest.mark.fault(107)
@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("input: {http_server: {}}", "give it one"),
        ("input: {http_server: {path: ../../streams}}", "give it one"),
        ("output: {http_server: {address: '', path: /ready}}", "give it one"),
        ("input: {broker: {inputs: [{http_server: {path: /x}}]}}", "give it one"),
        ("input: {dynamic: {inputs: {}, prefix: ../..}}", "another executor"),
        ("output: {dynamic: {outputs: {a: {drop: {}}}}}", "another executor"),
    ],
)
def test_what_listens_on_the_shared_engines_http_is_refused_with_its_line(part, words):
    with pytest.raises(CannotRunHere, match=words) as raised:
        body_of(f"# mine\n{part}\n".encode(), {})
    assert raised.value.problem.line == 2


def test_an_http_server_with_an_address_of_its_own_is_not():
    config = b"input: {http_server: {address: '127.0.0.1:1'}}\noutput: {drop: {}}\n"
    assert body_of(config, {}).content == config
