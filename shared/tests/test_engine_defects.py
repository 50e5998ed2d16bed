"""What the engine's lint lets pass and a run fails on, told with its line; on values and the real engine."""

from __future__ import annotations

import pytest

from nexthos_shared.engine import lint, locate_engine
from nexthos_shared.engine.defects import refused
from nexthos_shared.engine.schedule import fault_of
from nexthos_shared.reasons import Reason

GOOD = "input: {generate: {interval: 1s, mapping: root = 1}}\noutput: {drop: {}}\n"


def said(config: str, **env: str) -> list[tuple[int | None, str]]:
    return [(p.line, p.message) for p in refused(config.encode(), env)]


@pytest.mark.fault(119)
@pytest.mark.parametrize(
    "config",
    ["", "\n \n", "# only\n# comments", "null\n", "~", "---\n", "--- # x\n...\n", "{}", "\ufeff"],
)
async def test_an_empty_configuration_is_told_as_such(config):
    [problem] = await lint(locate_engine(), config.encode(), {}, file="a.yaml")
    assert problem.message == "the configuration is empty"
    assert problem.reason is Reason.LINT_FAILED


@pytest.mark.fault(119)
@pytest.mark.parametrize("config", ["hello", "[1, 2]", "- a\n", "42", "'input: x'"])
async def test_what_is_no_mapping_is_told_as_such(config):
    [problem] = await lint(locate_engine(), config.encode(), {}, file="a.yaml")
    assert problem.message.startswith("the configuration is no mapping")
    assert (problem.file, problem.line) == ("a.yaml", 1)


@pytest.mark.fault(120)
@pytest.mark.parametrize(
    ("config", "line", "words"),
    [
        (GOOD + "---\ninput: {}\n", 3, "a second document"),
        (GOOD + "---\n---\nhello\n", 4, "a second document"),
        (GOOD + "---\n{broken\n", 3, "a second document"),
        (GOOD + "input: {stdin: {}}\n", 3, "key 'input' stands here twice, first in line 1"),
        (GOOD.replace("interval: 1s", "interval: 1s, interval: 2s"), 1, "key 'interval'"),
        ('{"input": {}, "in\\u0070ut": {}}', 1, "key 'input'"),
    ],
)
def test_what_the_engine_would_drop_in_silence_is_told_with_its_line(config, line, words):
    [(where, message)] = said(config)
    assert where == line
    assert words in message


@pytest.mark.parametrize("end", ["---\n", "...\n", "---\n# nothing\n", "--- null\n"])
def test_a_mark_with_nothing_behind_it_is_no_second_document(end):
    assert said("---\n" + GOOD + end) == []


@pytest.mark.fault(120)
@pytest.mark.parametrize("value", ["*x", "[*x]", "{interval: 1s}"])
async def test_a_merge_key_is_told_once_with_its_line(value):
    config = "input:\n  generate:\n    mapping: &x {a: b}\n"
    config += f"    <<: {value}\noutput: {{drop: {{}}}}\n"
    problems = await lint(locate_engine(), config.encode(), {})
    assert [p.line for p in problems if "<<" in p.message] == [4]
    assert said(config.replace("<<", "'<<'")) == []


@pytest.mark.fault(121)
@pytest.mark.parametrize(
    "interval",
    ["99 * * * *", "TZ=Nowhere/X 1 * * * *", "1x", "@never", "@every 1x", "UTC * * * * *", "* * *"],
)
async def test_an_interval_that_the_start_would_fail_on_is_told_with_its_place(interval):
    config = f"input:\n  generate:\n    interval: '{interval}'\n    mapping: root = 1\n"
    [problem] = await lint(locate_engine(), (config + "output: {drop: {}}\n").encode(), {})
    assert (problem.line, problem.column) == (3, 15)
    assert problem.message.startswith("interval: ")


@pytest.mark.parametrize(
    "interval",
    [
        *("", "0", "1s", "1h30m", ".5s", "@hourly", "@every 5m", "*/5 * * * *", "? ? ? ? ?"),
        *("0 0 1,15 jan-MAR 1-5", "CRON_TZ=UTC 1 2 3 4 5 6", "5/15 * * * *"),
        "TZ=Europe/Berlin 0 8 * * MON-FRI",
    ],
)
def test_an_interval_that_the_engine_takes_is_fine(interval):
    assert fault_of(interval) == ""


@pytest.mark.fault(121)
@pytest.mark.parametrize(
    ("part", "words"),
    [
        (
            "pipeline: {processors: [{cache: {resource: no, operator: get, key: a}}]}",
            "no cache 'no'",
        ),
        ("pipeline: {processors: [{rate_limit: {resource: no}}]}", "no rate limit 'no'"),
        ("pipeline: {processors: [{dedupe: {cache: no, key: a}}]}", "no cache 'no'"),
        (
            "pipeline: {processors: [{cached: {cache: no, key: a, processors: []}}]}",
            "no cache 'no'",
        ),
        ("pipeline: {processors: [{resource: no}]}", "no processor 'no'"),
        ("pipeline: {processors: [{http: {url: http://x, rate_limit: no}}]}", "no rate limit 'no'"),
        ("pipeline: {processors: [{resource: '${WHICH}'}]}", "no processor 'no'"),
        ("cache_resources: [{label: c, multilevel: [no]}]", "no cache 'no'"),
        ("buffer: {none: {}}\n'output': {resource: no}", "no output 'no'"),
    ],
)
def test_a_resource_that_is_not_there_is_told_with_its_line(part, words):
    head = "input: {stdin: {}}\n" if "output" in part else GOOD
    found = said(head + part + "\n", WHICH="no")
    assert len(found) == 1
    assert words in found[0][1]
    assert "other files are not loaded" in found[0][1]


def test_resources_that_are_there_or_can_t_be_told_are_fine():
    config = """
input: {resource: in}
pipeline:
  processors:
    - cache: {resource: '${C:one}', operator: get, key: a}
    - resource: '${UNKNOWN}'
    - http: {url: http://x, rate_limit: ''}
    - branch: {processors: [{resource: p}]}
    - mapping: 'root.resource = "no"'
    - opensearch: {resource: whatever}
output: {broker: {outputs: [{resource: out}, {cache: {target: one, key: a}}]}}
input_resources: [{label: in, stdin: {}}]
cache_resources: [{label: one, memory: {}}]
processor_resources: [{label: p, noop: {}}]
output_resources: [{label: out, drop: {}}]
"""
    assert said(config) == []


def test_what_is_no_yaml_before_its_variables_are_filled_in_is_left_to_the_engine():
    assert said("input: ${A\n  - : [", A="x") == []
    assert said("${ALL}", ALL="input: {stdin: {}}") == []


async def test_a_message_names_no_folder_of_ours_and_is_one_line():
    config = GOOD.replace("root = 1", "'root = \"a'")
    config += (
        'pipeline:\n  processors:\n    - mapping: |\n        import "./x.blobl"\n        root = 1\n'
    )
    problems = await lint(locate_engine(), config.encode(), {})
    assert problems
    for problem in problems:
        assert "nexthos-lint-" not in problem.message
        assert "\n" not in problem.message
