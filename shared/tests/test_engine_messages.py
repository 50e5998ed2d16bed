"""Logs as engines write them, read as problems."""

import json

import pytest

from nexthos_shared.engine import last_error
from nexthos_shared.engine.messages import LogMask
from nexthos_shared.reasons import Problem, Reason
from nexthos_testing.engine import running_engine

PLAIN_MISSING = (
    "Configuration file read error: /s/e/config.yaml: (2,1) "
    "unable to infer input type from candidates: [kafka_franz]"
)


def entry(level: str, msg: str, **more: str) -> str:
    return json.dumps({"level": level, "msg": msg, "pipeline": "p", "time": "now", **more})


def log(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


def test_a_log_without_errors_says_nothing():
    assert last_error(log(entry("info", "Listening"), "some output", "{broken", "[]", "{}")) is None
    assert last_error("") is None


def test_the_first_lint_error_of_the_last_start_is_the_cause():
    text = log(
        entry("error", "Config lint error", lint="/s/e/config.yaml(9,9) of the start before"),
        entry("info", "Running main config from specified file"),
        entry(
            "error", "Config lint error", lint="/s/e/config.yaml(4,7) field bogus not recognised"
        ),
        entry("error", "Config lint error", lint="/s/e/config.yaml(8,1) another"),
        entry("error", "Shutting down due to linter errors, to prevent shutdown run Bento with"),
    )

    assert last_error(text) == Problem(
        Reason.LINT_FAILED, "field bogus not recognised", line=4, column=7
    )


def test_a_missing_component_is_told_as_plain_text_and_named():
    problem = last_error(log(entry("info", "x"), PLAIN_MISSING))

    assert problem is not None
    assert (problem.reason, problem.line) == (Reason.COMPONENT_MISSING, 2)
    assert "kafka_franz" in problem.message
    assert "/s/e" not in problem.message


def test_a_missing_variable_is_named():
    line = entry("error", "x", lint="(1,1) required environment variables were not set: [A B]")

    problem = last_error(log(line))

    assert problem is not None
    assert (problem.reason, problem.field) == (Reason.VARIABLE_MISSING, "env.A")


def test_broken_yaml_is_told_without_the_path():
    problem = last_error("Configuration file read error: /s/c.yaml: yaml: line 3: did not find x\n")

    assert problem == Problem(Reason.LINT_FAILED, "yaml: did not find x", line=3)


def test_any_other_error_is_the_reason_of_an_exit():
    text = log(entry("error", "first"), entry("error", "Service closing due to: no"), "output")

    assert last_error(text) == Problem(Reason.EXITED, "Service closing due to: no")


@pytest.mark.parametrize("line", ["panic: boom", "fatal error: out of memory"])
def test_a_crash_of_the_engine_is_told(line):
    assert last_error(log(line, "", "goroutine 1 [running]:")) == Problem(Reason.EXITED, line)


def test_values_of_variables_are_replaced_by_their_names():
    text = log(entry("error", "dial nats://u:pa55word@host: cut `pa55wor...` refused, code 7"))
    env = {"NATS_PASSWORD": "pa55word", "CODE": "7", "NEXTHOS_REPLICA": "0", "EMPTY": ""}

    problem = last_error(text, env)

    assert problem is not None
    assert "pa55" not in problem.message
    assert problem.message.endswith("code ***(CODE)")


def test_a_huge_log_is_looked_at_from_its_end():
    text = log(entry("error", "long ago")) + "x" * 100_000 + "\n" + log(entry("error", "y" * 9000))

    problem = last_error(text)

    assert problem is not None
    assert problem.message == "y" * 2000


# ---- the real engine's own words


@pytest.mark.parametrize(
    ("config", "reason", "line"),
    [
        ("input:\n  stdin: {bogus: 1}\noutput: {drop: {}}\n", Reason.LINT_FAILED, 2),
        ("input:\n  stdin: {}\noutput:\n  kafka_franz: {}\n", Reason.COMPONENT_MISSING, 4),
        (
            "input:\n  stdin: {}\noutput:\n  stdout: {codec: '${C}'}\n",
            Reason.VARIABLE_MISSING,
            None,
        ),
        ("input:\n  stdin: {}\noutput: {resource: nowhere}\n", Reason.EXITED, None),
        ("input: [\n", Reason.LINT_FAILED, 1),
    ],
)
async def test_an_engine_that_refuses_to_start_has_told_why(tmp_path, config, reason, line):
    async with running_engine(config, tmp_path) as engine:
        assert await engine.finished() == 1

        problem = last_error(engine.log)

    assert problem is not None
    assert problem.reason is reason
    assert problem.line == line
    assert str(tmp_path) not in problem.message


async def test_an_engine_that_was_stopped_has_nothing_to_tell(tmp_path):
    config = "input: {generate: {mapping: root = 1, interval: 10ms}}\noutput: {drop: {}}\n"
    async with running_engine(config, tmp_path) as engine:
        await engine.until_ready()
        assert await engine.stop() == 0

    assert last_error(engine.log) is None


async def test_a_build_failure_never_shows_a_value(tmp_path):
    config = "input: {generate: {mapping: root = 1, count: '${COUNT}'}}\noutput: {drop: {}}\n"
    async with running_engine(config, tmp_path, env={"COUNT": "hunter2hunter2"}) as engine:
        assert await engine.finished() == 1

    assert "hunter2" in engine.log
    problem = last_error(engine.log, {"COUNT": "hunter2hunter2"})
    assert problem is not None
    assert "hunter" not in problem.message


@pytest.mark.parametrize(
    ("value", "line", "shown"),
    [
        ("hunter2hunter2", "dial hunter2hunter2 failed", "dial ***(PASS) failed"),
        ("pass", "Get http://u:pass@host/: no", "Get http://u:***(PASS)@host/: no"),
        ("p@ss", "Get http://u:p%40ss@host/: no", "Get http://u:***(PASS)@host/: no"),
        ('a"b"c"d"e', '{"msg": "a\\"b\\"c\\"d\\"e"}', '{"msg": "***(PASS)"}'),
        ("pass", "it passes", "it passes"),
        ("1", "1 of 1 http://host/1", "1 of 1 http://host/1"),
    ],
)
def test_a_line_of_a_log_hides_values_that_may_be_secret(value, line, shown):
    assert LogMask({"PASS": value, "PATH": "/usr/bin/something"})(line) == shown
