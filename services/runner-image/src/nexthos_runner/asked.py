"""Signals that ask for the end, while there is no engine yet.

A thread waits for them: the main thread may be deep in the resolver, which no Python handler interrupts.
It also makes them count for PID 1, where the kernel drops what nobody waits for.
"""

from __future__ import annotations

import _thread
import os
import signal

from nexthos_runner import log
from nexthos_shared.exit_codes import Exit

ASKS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
# Python ignores these, and what is ignored stays so across an exec.
_PYTHONS = (signal.SIGPIPE, signal.SIGXFSZ)


def heed() -> None:
    """From now on such a signal ends the process with 143, at once. What was ignored stays ignored."""
    wanted = [number for number in ASKS if signal.getsignal(number) is not signal.SIG_IGN]
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    _thread.start_new_thread(_wait, (wanted,))


def _wait(wanted: list[signal.Signals]) -> None:
    number = signal.sigwait(wanted)
    log.warning(f"asked to end by {signal.Signals(number).name} before the engine began")
    os._exit(Exit.ASKED)


def as_found() -> None:
    """Leave signals to the program that comes next, as a shell would."""
    for number in _PYTHONS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKS)
