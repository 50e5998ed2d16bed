"""How a command fails: which errors it may end with, what is printed, which exit code comes out.

0 done, 1 failed or invalid, 2 usage, 4 not there in time, 130 ended by Ctrl-C. Nobody sees a
traceback; a defect is told as one line (NEXTHOS_DEBUG=1 shows where it was raised).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from nexthos_cli.output.printing import Coloured, echo, echo_lines, show_traceback, show_usage_error
from nexthos_shared.errors import NexthosError, Refused, TemporaryError, TerminalError
from nexthos_shared.printable import printable_json
from nexthos_shared.reasons import Problem, Reason

DONE, FAILED, USAGE, NOT_IN_TIME, INTERRUPTED, READER_GONE = 0, 1, 2, 4, 130, 141


class NotUnderstood(TerminalError):
    """The controller's answer is not what this version knows."""

    reason = Reason.INTERNAL_ERROR


class FolderInUse(TerminalError):
    """Another `nexthos dev` runs the folder."""

    reason = Reason.ANOTHER_CONTROLLER


class NotInTime(TemporaryError):
    """It was waited for, and did not come."""

    reason = Reason.TIMED_OUT

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(p.message for p in problems))
        self.problems = list(problems)


def run_and_report(run: Callable[[], Any], argv: Sequence[str]) -> int:
    """Run; print what went wrong to stderr, as JSON if `argv` asks for it. Returns the exit code."""
    as_json = wants_json(argv)
    try:
        code = run()
        sys.stdout.flush()
        return code if isinstance(code, int) else DONE
    except click.UsageError as error:
        if not as_json:
            show_usage_error(error)
            return USAGE
        return _report([Problem(Reason.INVALID_REQUEST, error.format_message())], USAGE, True)
    except click.exceptions.Abort:
        echo("nothing was changed", err=True)
        return FAILED
    except BrokenPipeError:
        return reader_gone()
    except Exception as error:
        problems = list(_problems(error))
        code = NOT_IN_TIME if isinstance(error, NotInTime) else FAILED
        if os.environ.get("NEXTHOS_DEBUG"):
            show_traceback()
        return _report(problems, code, as_json)


def reader_gone() -> int:
    """Whoever read our output has gone (`nexthos ls | head -1`): no error, but nothing more to say.

    Python would complain once more when it flushes at the end, so what is left goes nowhere.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return READER_GONE


def wants_json(argv: Sequence[str]) -> bool:
    """Whether errors are to be JSON too. Read from the raw arguments: they may not even parse."""
    joined = " ".join(argv)
    return any(f"{flag}json" in joined for flag in ("-o ", "-o", "--output ", "--output="))


def _problems(error: BaseException) -> Iterable[Problem]:
    if isinstance(error, Refused | NotInTime):
        yield from error.problems
    elif isinstance(error, NexthosError):
        yield error.problem
    elif isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _problems(inner)
    elif isinstance(error, OSError):
        words = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        yield Problem(Reason.INVALID_SETTINGS, words)
    else:
        words = f"a defect of nexthos: {type(error).__name__}: {error}"
        yield Problem(Reason.INTERNAL_ERROR, words)


def _report(problems: Sequence[Problem], code: int, as_json: bool) -> int:
    if as_json:
        echo_lines(printable_json(error_document(problems, code)), err=True)
        return code
    colour = "red" if sys.stderr.isatty() and not os.environ.get("NO_COLOR") else ""
    for problem in problems:
        echo(Coloured("error:", colour, bold=True), f" {sentence(problem)}", err=True)
    for reason in dict.fromkeys(p.reason for p in problems):
        echo(f"see: nexthos explain {reason}", err=True)
    return code


def sentence(problem: Problem) -> str:
    """`file:line:column: message (Reason)` on one line, as compilers write it."""
    where = "" if problem.where and problem.where in problem.message else problem.where
    message = " ".join(problem.message.split())
    return f"{where}{': ' if where else ''}{message} ({problem.reason})"


def error_document(problems: Sequence[Problem], code: int) -> dict[str, Any]:
    """The JSON form of errors: `nexthos schema output-error`."""
    return {
        "exit_code": code,
        "errors": [
            {
                "reason": str(p.reason),
                "message": p.message,
                "field": p.field,
                "file": p.file,
                "line": p.line,
                "column": p.column,
            }
            for p in problems
        ],
    }
