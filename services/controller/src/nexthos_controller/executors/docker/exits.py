"""How a life ended, from the daemon's record of it, the signals that were sent, and the last log lines.

Comes in: a life that is over. Goes out: an `Exit`. Pure, so it is right whoever looks, and whenever.

    OOMKilled              the kernel took it for want of memory
    64..78                 the runner could not begin: exit_codes.py of nexthos_shared says why
    126, 127               the container's init could not begin the runner
    143                    the runner of a job, or the runner itself, was asked to end
    137                    killed
    0, 1                   the engine's own
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set

from nexthos_controller.execution import Exit
from nexthos_controller.executors.docker.life import Life
from nexthos_shared import exit_codes
from nexthos_shared.engine import last_error
from nexthos_shared.reasons import Problem, Reason
from nexthos_shared.untrusted_json import read_object

TAIL = 50  # lines of the log that are searched for a cause
ASKING = {"1", "2", "15", "SIGHUP", "SIGINT", "SIGTERM"}
KILLED, TERMINATED = 137, 143
NOT_BEGUN = (126, 127)
_ASKED = ("Received SIGTERM", "Received SIGINT")


def judge(life: Life, signals: Set[str], tail: Iterable[str]) -> Exit:
    """How `life` ended; `signals` are those that went by way of the daemon."""
    lines = list(tail)
    code = None if life.code == KILLED else life.code
    if life.oom:
        return Exit(code, False, _oom(life))
    asked = bool(signals & ASKING) or code == TERMINATED or (code == 0 and _told(lines))
    if asked or code == 0:
        return Exit(code, asked)
    return Exit(code, False, _cause(life, code, "\n".join(lines)))


def _oom(life: Life) -> Problem:
    words = (
        "the kernel killed it for want of memory; raise resources.memory, or give it less to hold"
    )
    return Problem(Reason.OOM_KILLED, words)


def _cause(life: Life, code: int | None, tail: str) -> Problem:
    found = last_error(tail, life.secrets)
    if code is None:
        words = "the container was killed (SIGKILL: by hand, or by the system)"
        last = f"; its last error was: {found.message}" if found else ""
        return Problem(Reason.KILLED, words + last)
    if (reason := exit_codes.reason_of(code)) is not None:
        said = found.message if found is not None else exit_codes.SENTENCES[exit_codes.Exit(code)]
        return Problem(reason, f"the runner could not start the engine: {said}")
    if found is not None:
        return found
    if code in NOT_BEGUN:
        words = (
            f"image {life.image}: its entrypoint can't be run: it is made for another architecture, or is no "
            "image of nexthos-runner; correct engines.<name>.image in the controller's settings"
        )
        return Problem(Reason.ENGINE_MISSING, words)
    if code > 128:
        return Problem(Reason.EXITED, f"the engine was ended by signal {code - 128}")
    return Problem(Reason.EXITED, f"the engine ended with exit code {code}")


def _told(lines: Iterable[str]) -> bool:
    """Whether the engine noted that a signal asked it to end."""
    return any(str(entry.get("msg", "")).startswith(_ASKED) for entry in _entries(lines))


def _entries(lines: Iterable[str]) -> Iterator[dict[str, object]]:
    for line in lines:
        if line.startswith("{") and any(words in line for words in _ASKED):
            entry = read_object(line.encode(errors="replace"))
            if entry is not None and "level" in entry:
                yield entry
