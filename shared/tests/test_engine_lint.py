"""The engine's lint, on the real engine, and on engines that misbehave."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from nexthos_shared.engine import lint, locate_engine
from nexthos_shared.errors import EngineMissing
from nexthos_shared.object_format import MAX_CONFIG_BYTES
from nexthos_shared.reasons import Problem, Reason
from nexthos_testing.wait import eventually

GOOD = b"""\
input:
  generate: {mapping: root = 1, interval: 1s}
output:
  drop: {}
"""
SECRET = "hunter2-hunter2"


@pytest.fixture
def engine() -> Path:
    return locate_engine()


async def only(engine: Path, config: str | bytes, **env: str) -> Problem:
    content = config.encode() if isinstance(config, str) else config
    problems = await lint(engine, content, env, file="orders.yaml")
    assert len(problems) == 1, problems
    return problems[0]


async def test_a_good_file_passes(engine):
    assert await lint(engine, GOOD, {}) == []


async def test_an_unknown_field_is_told_with_line_and_column(engine):
    problem = await only(engine, "input:\n  stdin:\n    bogus: 1\noutput: {drop: {}}\n")

    assert problem.reason is Reason.LINT_FAILED
    assert problem.where == "orders.yaml:3:1"
    assert problem.message == "field bogus not recognised"


async def test_each_problem_is_told(engine):
    config = b"input:\n  stdin: {one: 1}\noutput:\n  stdout: {two: 2}\n"

    problems = await lint(engine, config, {})

    assert [(p.line, p.message) for p in problems] == [
        (2, "field one not recognised"),
        (4, "field two not recognised"),
    ]


async def test_broken_yaml_is_told_where_it_breaks(engine):
    problem = await only(engine, "input:\n  stdin: {}\noutput:\n  drop: {}\n bad: [\n")

    assert problem.reason is Reason.LINT_FAILED
    assert problem.line == 5
    assert problem.message == "yaml: did not find expected key"


@pytest.mark.parametrize("config", [b"", b"hello", b"[1, 2]"])
async def test_what_is_no_pipeline_at_all_is_refused(engine, config):
    problem = await only(engine, config)

    assert problem.reason is Reason.LINT_FAILED
    assert problem.line == 1


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ("input:\n  kafka_franz: {}\noutput: {drop: {}}", "input named 'kafka_franz'"),
        ("input:\n  type: kafka_franz\noutput: {drop: {}}", "input named 'kafka_franz'"),
        ("pipeline:\n  processors: [{aws_lambda: {}}]", "processor named 'aws_lambda'"),
        ("pipeline: {processors: []}\nmetrics:\n  statsd: {}", "metrics named 'statsd'"),
    ],
)
async def test_a_component_that_the_engine_lacks_is_named(engine, config, named):
    problem = await only(engine, config)

    assert problem.reason is Reason.COMPONENT_MISSING
    assert named in problem.message
    assert problem.line is not None


@pytest.mark.fault(52)
async def test_each_missing_variable_is_named_with_its_place(engine):
    config = GOOD.replace(b"root = 1", b'root = "${REGION}${ZONE}"').replace(b"1s", b"${EVERY:2s}")

    problems = await lint(engine, config, {})

    assert [(p.reason, p.field, p.line, p.column) for p in problems] == [
        (Reason.VARIABLE_MISSING, "env.REGION", 2, 31),
        (Reason.VARIABLE_MISSING, "env.ZONE", 2, 40),
    ]


async def test_what_a_missing_variable_breaks_is_not_told_as_a_problem_of_its_own(engine):
    problem = await only(engine, GOOD.replace(b"root = 1", b"root = ${A} + 1"))

    assert problem.reason is Reason.VARIABLE_MISSING


async def test_a_variable_with_a_default_is_fine(engine):
    config = GOOD.replace(b"1s", b"${EVERY:2s}")

    assert await lint(engine, config, {}) == []


async def test_lint_sees_the_variables_of_the_run_and_no_others(engine, monkeypatch):
    monkeypatch.setenv("REGION", "ours")
    config = GOOD.replace(b"root = 1", b'root = "${REGION}"')

    assert await lint(engine, config, {"REGION": "theirs"}) == []
    assert (await lint(engine, config, {}))[0].reason is Reason.VARIABLE_MISSING


@pytest.mark.fault(52)
@pytest.mark.parametrize(
    "secret", [SECRET, "s3c ret: #1", "first part\nsecond one", 'quo"ted \\ value']
)
async def test_a_variables_value_is_never_shown(engine, secret):
    config = f"input:\n  generate: {{mapping: 'root = {SECRET} +'}}\n  {SECRET}: 1\noutput: {{drop: {{}}}}\n"
    config = config.replace(SECRET, "${S}")

    problems = await lint(engine, config.encode(), {"S": secret})

    assert problems
    for part in {secret, *secret.splitlines(), secret[:5], secret[-5:]}:
        assert part not in str(problems)


async def test_a_column_behind_a_filled_in_variable_is_left_out(engine):
    problem = await only(engine, "input: {generate: {mapping: 'root = ${S} +'}}", S=SECRET)

    assert (problem.line, problem.column) == (1, None)


@pytest.mark.fault(49)
async def test_a_file_that_is_not_utf8_is_refused_with_the_line(engine):
    problem = await only(engine, b"input:\n  stdin: {}\n# caf\xe9\n")

    assert problem.reason is Reason.CONFIG_NOT_TEXT
    assert problem.line == 3


@pytest.mark.fault(49)
async def test_a_file_of_more_than_a_mebibyte_is_refused(engine):
    problem = await only(engine, GOOD + b"#" * (MAX_CONFIG_BYTES - len(GOOD) + 1))

    assert problem.reason is Reason.CONFIG_TOO_LARGE


async def test_a_file_of_a_mebibyte_is_linted(engine):
    assert await lint(engine, GOOD + b"#" * (MAX_CONFIG_BYTES - len(GOOD)), {}) == []


def bomb() -> bytes:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for old, new in zip("abcdefghijk", "bcdefghijkl", strict=True):
        lines.append(f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]")
    return "\n".join(lines).encode()


@pytest.mark.fault(49)
@pytest.mark.parametrize("config", [bomb(), b"input: " + b"[" * 100_000, b"- " * 100_000])
async def test_a_yaml_bomb_is_refused_within_bounds(engine, config):
    async with asyncio.timeout(5.0):
        problem = await only(engine, config)

    assert problem.reason is Reason.LINT_FAILED
    assert len(problem.message) <= 2000


async def test_the_temporary_file_is_not_named_and_not_left_behind(engine, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    problem = await only(engine, "input: {stdin: {bogus: 1}}")

    assert str(tmp_path) not in str(problem)
    assert list(tmp_path.iterdir()) == []


async def test_relative_paths_start_from_the_working_folder(engine, tmp_path):
    (tmp_path / "map.blobl").write_text("map plain { root = 1 }")
    config = GOOD.replace(b"root = 1", b"""'import "./map.blobl"'""")

    assert await lint(engine, config, {}, workdir=tmp_path) == []
    assert await lint(engine, config, {}) != []


# ---- engines that misbehave: programs of ours


def script(folder: Path, text: str) -> Path:
    file = folder / "engine"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


def alive(pids: Path) -> list[str]:
    return [pid for pid in pids.read_text().split() if is_running(pid)]


def is_running(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


HANGS = "trap '' TERM; /bin/sleep 60 & echo $$ $! > {pids}.new; mv {pids}.new {pids}; wait"
ENV = {"PATH": os.defpath}


async def test_an_engine_that_hangs_is_killed_with_its_children_and_not_linted(tmp_path):
    pids = tmp_path / "pids"

    problems = await lint(script(tmp_path, HANGS.format(pids=pids)), GOOD, ENV, timeout=3.0)

    assert [p.reason for p in problems] == [Reason.NOT_LINTED]
    assert len(pids.read_text().split()) == 2
    assert alive(pids) == []


async def test_a_cancelled_lint_leaves_no_process(tmp_path):
    pids = tmp_path / "pids"
    engine = script(tmp_path, HANGS.format(pids=pids))
    running = asyncio.create_task(lint(engine, GOOD, ENV))
    await eventually(pids.exists)

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert alive(pids) == []


@pytest.mark.parametrize("turns", range(8))
async def test_a_lint_that_is_cancelled_while_it_starts_leaves_no_process(tmp_path, turns):
    pids = tmp_path / "pids"
    running = asyncio.create_task(lint(script(tmp_path, HANGS.format(pids=pids)), GOOD, ENV))
    for _ in range(turns):
        await asyncio.sleep(0)
    deadline = time.monotonic() + 0.1
    while not pids.exists() and time.monotonic() < deadline:
        pass  # the loop stands still, as on a busy machine, while the child goes on

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert not pids.exists() or alive(pids) == []


async def test_a_flood_of_output_is_bounded(tmp_path):
    engine = script(tmp_path, "head -c 20000000 /dev/zero | tr '\\0' x; exit 1")

    problem = await only(engine, GOOD, **ENV)

    assert len(problem.message) <= 2000


async def test_an_endless_flood_ends_with_the_time_limit(tmp_path):
    problems = await lint(script(tmp_path, "exec cat /dev/zero"), GOOD, ENV, timeout=3.0)

    assert [p.reason for p in problems] == [Reason.NOT_LINTED]


@pytest.mark.parametrize("end", ["kill -9 $$", "exit 3"])
async def test_an_engine_that_dies_without_a_word_has_not_linted(tmp_path, end):
    assert (await only(script(tmp_path, end), GOOD, **ENV)).reason is Reason.NOT_LINTED


async def test_an_engine_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(EngineMissing, match="absent"):
        await lint(tmp_path / "absent", GOOD, {})
