"""The parent of a job's engine: it hands on what it is asked, and tells a drained job from a completed one.

    python -I -m nexthos_runner.job ENGINE ARGUMENT...

The engine ends with 0 when it finished and when it was asked to end. The runner execs this program, so
nothing of what it knew (the store's URL, credentials) stays in memory or in /proc while the job runs.
The engine's variables come under other names, which neither the loader nor Python obeys here: a
definition's LD_PRELOAD is loaded into its engine, and into nothing of ours.
It comes in with the asking signals blocked: one that was sent during the exec is not lost.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping

MARK = "NEXTHOS_JOB_"  # before the name of each of the engine's variables
ASKED = 143
ASKS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})
_PYTHONS = (signal.SIGPIPE, signal.SIGXFSZ)  # ignored by Python, not to be by the engine


def marked(env: Mapping[str, str]) -> dict[str, str]:
    """The environment of this program, which holds that of its engine."""
    return {f"{MARK}{name}": value for name, value in env.items()}


def run(argv: list[str]) -> int:
    """Start the engine and stay until it ends; its code, 128+n if signal n ended it, 143 if asked."""
    wanted = {number for number in ASKS if signal.getsignal(number) is not signal.SIG_IGN}
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would leave no exit code
    awaited = wanted | {signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    engine = os.posix_spawn(argv[0], argv, _given(), setsigmask=[], setsigdef=[*wanted, *_PYTHONS])
    asked = False
    while True:
        number = signal.sigwait(awaited)
        if number != signal.SIGCHLD:
            asked = True
            os.kill(engine, number)  # still ours: it is reaped below, and that is the end
            continue
        status = _reaped(engine)
        if status is not None:
            return ASKED if asked else _code(status)


def _given() -> dict[bytes, bytes]:
    """The engine's environment. What has no mark is not for it, such as LC_CTYPE, which Python adds."""
    mark = MARK.encode()
    return {n.removeprefix(mark): v for n, v in os.environb.items() if n.startswith(mark)}


def _reaped(engine: int) -> int | None:
    """Reap whoever ended: as PID 1 we inherit the engine's children. The engine's status, if it did."""
    while True:
        try:
            child, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if child == 0:
            return None
        if child == engine:
            return status


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def main() -> int:
    """Run what stands in the arguments."""
    try:
        return run(sys.argv[1:])
    except OSError as error:
        from pathlib import Path

        from nexthos_runner import log
        from nexthos_shared.engine.profile import not_started
        from nexthos_shared.exit_codes import Exit

        log.label(
            {name: os.environ.get(f"{MARK}NEXTHOS_{name.upper()}", "") for name in log.LABELS}
        )
        log.error(str(not_started(Path(sys.argv[1]), error)))
        return Exit.NO_ENGINE


if __name__ == "__main__":
    sys.exit(main())
