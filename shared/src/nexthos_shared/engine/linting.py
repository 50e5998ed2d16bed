"""The engine's own check of a configuration, in a child that can't hang, flood or leak.

Comes in: the binary, bytes, the environment that a run would get. Goes out: problems with line and
column; none means that it passes. Must not know where the bytes come from.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from nexthos_shared.engine import defects
from nexthos_shared.engine.child import Finished, run_child
from nexthos_shared.engine.inspect import parse_bounded
from nexthos_shared.engine.messages import plain, read_message, without_values
from nexthos_shared.engine.profile import EngineProfile, not_started
from nexthos_shared.errors import StartFailed
from nexthos_shared.object_format import MAX_CONFIG_BYTES
from nexthos_shared.process.engine_user import EngineUser
from nexthos_shared.reasons import Problem, Reason
from nexthos_shared.yaml import Unreadable

MAX_PROBLEMS = 50
EMPTY = defects.EMPTY
WORKDIR = "executor_options.workdir"
MAX_EMPTY = 64  # bytes that may stand in what holds nothing: `--- null`, `{}`
MERGE = "field << not recognised"  # told by `defects`, with what to write
_ANY_DISTRIBUTION = EngineProfile(
    "bento"
)  # `lint FILE` is the same for all: asking would cost 30 ms


async def lint(
    binary: Path,
    config: bytes,
    env: Mapping[str, str],
    *,
    file: str = "config.yaml",
    timeout: float = 10.0,
    workdir: Path | None = None,
    user: EngineUser | None = None,
) -> list[Problem]:
    """What the engine has against `config`; empty if it passes.

    `env` is all that the child gets, so it must be the run's. `file` is the name shown in problems,
    `workdir` the folder that relative paths start from (default: a private, empty one), `timeout` in
    seconds, `user` who the engine runs as. Values of variables never stand in a message. Raises
    EngineMissing if `binary` can't be started, StartFailed for want of something, or of `workdir`; an
    engine that does not answer in time gives NotLinted.
    """
    seen = await refused(config, env, file=file)
    is_nothing = seen and seen[0].message in (defects.EMPTY, defects.NO_MAPPING)
    if is_nothing or (seen and _unacceptable(config)):
        return seen
    with tempfile.TemporaryDirectory(prefix="nexthos-lint-") as folder:
        path = Path(folder) / "config.yaml"
        path.write_bytes(config)
        if user is not None:
            user.give(path, 0o440)
            path.parent.chmod(0o711)
        argv = _ANY_DISTRIBUTION.lint_command(binary, path)
        try:
            where = workdir or Path(folder)
            done = await run_child(argv, env=env, timeout=timeout, cwd=where, user=user)
        except TimeoutError:
            return [
                Problem(
                    Reason.NOT_LINTED,
                    f"the engine's lint gave no answer in {timeout:g} s",
                    file=file,
                )
            ]
        except OSError as error:
            if workdir is not None and not workdir.is_dir():
                raise StartFailed(f"{workdir}: no such folder", field=WORKDIR) from error
            raise not_started(binary, error) from error
        found = [_without_folder(p, folder) for p in _problems(done, path)]
    placed = [_placed(problem, config) for problem in _without_echoes(found, config)]
    told = [replace(without_values(p, env), file=file) for p in placed if p.message != MERGE]
    return [*seen, *told][:MAX_PROBLEMS]


async def refused(config: bytes, env: Mapping[str, str], *, file: str) -> list[Problem]:
    """What is wrong whichever engine reads it, for engines too that can't be asked. Never raises."""
    if problem := _unacceptable(config):
        return [replace(problem, file=file)]
    # In a thread: 128 KiB of YAML take most of a second to parse.
    found = await asyncio.to_thread(defects.refused, config, env)
    return [replace(without_values(p, env), file=file) for p in found]


def _without_folder(problem: Problem, folder: str) -> Problem:
    """The folder is ours and gone by now: what is in it is named by its name alone."""
    message = problem.message.replace(f"{folder}/", "").replace(folder, "an empty folder")
    return replace(problem, message=message)


def _unacceptable(config: bytes) -> Problem | None:
    if len(config) > MAX_CONFIG_BYTES:
        return Problem(
            Reason.CONFIG_TOO_LARGE,
            f"the configuration has {len(config)} bytes, at most {MAX_CONFIG_BYTES} are allowed",
        )
    try:
        config.decode("utf-8")
    except UnicodeDecodeError as error:
        line = config.count(b"\n", 0, error.start) + 1
        return Problem(
            Reason.CONFIG_NOT_TEXT, f"not UTF-8: {error.reason} at byte {error.start}", line=line
        )
    if is_empty(config):
        return Problem(Reason.LINT_FAILED, EMPTY, line=1)
    return None


def is_empty(config: bytes) -> bool:
    """Whether it holds nothing: no bytes, comments only, `null`, `{}`. The engine lets that pass."""
    lines = (line.strip() for line in config.splitlines())
    rest = b"\n".join(line for line in lines if line and not line.startswith(b"#"))
    try:
        return len(rest) <= MAX_EMPTY and parse_bounded(rest) in (None, {})
    except Unreadable:
        return False


def _problems(done: Finished, path: Path) -> list[Problem]:
    if done.code == 0:
        return []
    messages = list(_messages(plain(done.stderr + done.stdout), path))
    if not messages:
        how = f"was killed by signal {-done.code}" if done.code < 0 else f"ended with {done.code}"
        return [Problem(Reason.NOT_LINTED, f"the engine's lint {how} and said nothing")]
    return [p for message in messages for p in read_message(message, default=Reason.LINT_FAILED)]


def _messages(text: str, path: Path) -> Iterator[str]:
    """One per problem: a line that begins with the path, and the lines that follow without it."""
    message = ""
    for line in text.splitlines():
        if line.startswith(str(path)) and message:
            yield message
            message = ""
        message = f"{message} {line.strip()}" if message else line.removeprefix(str(path))
    if message:
        yield message


def _without_echoes(problems: list[Problem], config: bytes) -> list[Problem]:
    """Leave out what is wrong only because a missing variable is empty: complaints of its line."""
    placed = [_placed(p, config) for p in problems if p.reason is Reason.VARIABLE_MISSING]
    lines = {p.line for p in placed if p.line is not None}
    return placed + [
        p for p in problems if p.reason is not Reason.VARIABLE_MISSING and p.line not in lines
    ]


def _placed(problem: Problem, config: bytes) -> Problem:
    """Correct the place where the engine does not tell it, or tells it wrongly."""
    if problem.reason is Reason.VARIABLE_MISSING and problem.field is not None:
        return _at_variable(problem, problem.field.removeprefix("env."), config.decode("utf-8"))
    if problem.message.startswith("yaml: "):
        try:
            parse_bounded(config)
        except Unreadable as error:
            if error.line is not None:
                return replace(problem, line=error.line, column=error.column)
    if problem.line is not None and "${" in _line(config, problem.line):
        return replace(problem, column=None)  # counted after the variables were filled in
    return problem


def _line(config: bytes, number: int) -> str:
    lines = config.decode("utf-8").splitlines()
    return lines[number - 1] if number <= len(lines) else ""


def _at_variable(problem: Problem, name: str, text: str) -> Problem:
    match = re.search(rf"\$\{{{re.escape(name)}\}}", text)
    if match is None:
        return problem
    line = text.count("\n", 0, match.start()) + 1
    return replace(problem, line=line, column=match.start() - text.rfind("\n", 0, match.start()))
