"""The runner's own exit codes: one sentence and one reason each. Everybody who must read them looks here.

They follow sysexits(3), because the engine behind the runner ends with 0, with 1 or by a signal, and
never with one of these. The controller turns a code into a reason by `reason_of`, and finds the words
in the last error line of the log (`nexthos_shared.engine.last_error`).
"""

from __future__ import annotations

from enum import IntEnum

from nexthos_shared.reasons import Reason


class Exit(IntEnum):
    """Why there is no engine."""

    USAGE = 64
    CHANGED = 65
    MISSING = 66
    AWAY = 69
    DEFECT = 70
    NO_ENGINE = 72
    NO_FOLDER = 73
    DAMAGED = 74
    REFUSED = 77
    SETTINGS = 78
    ASKED = 143


SENTENCES: dict[Exit, str] = {
    Exit.USAGE: "An argument, or a variable that is missing or can't be read as what it should be.",
    Exit.CHANGED: "The stored configuration does not have the digest that was pinned.",
    Exit.MISSING: "The configuration is not stored.",
    Exit.AWAY: "NATS, or the bucket, did not answer in time.",
    Exit.DEFECT: "A defect of the runner.",
    Exit.NO_ENGINE: "The engine is missing or is no program.",
    Exit.NO_FOLDER: "The execution's folder can't be written.",
    Exit.DAMAGED: "The stored configuration is damaged, or larger than 1 MiB.",
    Exit.REFUSED: "NATS refuses the credentials or a subject.",
    Exit.SETTINGS: "A file that a variable names (credentials, certificates) can't be used.",
    Exit.ASKED: "A signal asked it to end before the engine began, or asked a job, whatever the engine said.",
}

_REASONS: dict[Exit, Reason] = {
    Exit.USAGE: Reason.INVALID_SETTINGS,
    Exit.CHANGED: Reason.CONFIG_CHANGED,
    Exit.MISSING: Reason.CONFIG_MISSING,
    Exit.AWAY: Reason.STORE_UNAVAILABLE,
    Exit.DEFECT: Reason.INTERNAL_ERROR,
    Exit.NO_ENGINE: Reason.ENGINE_MISSING,
    Exit.NO_FOLDER: Reason.START_FAILED,
    Exit.DAMAGED: Reason.CONFIG_UNAVAILABLE,
    Exit.REFUSED: Reason.NOT_PERMITTED,
    Exit.SETTINGS: Reason.INVALID_SETTINGS,
}


def reason_of(code: int) -> Reason | None:
    """Why the runner ended with `code`; None for what is the engine's end, or was asked for (143)."""
    return _REASONS.get(Exit(code)) if code in SENTENCES else None
