"""Lines of a running engine's log that say that it does not work, while its HTTP says that it is ready.

Comes in: a message that was logged as an error. Goes out: what it means. A row for each, with how long
it holds: what is said once and never mended holds for good, all else as long as it is said again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from nexthos_shared.reasons import Reason

_RESTART = "; it does not try again: `nexthos restart` once that is put right"


@dataclass(frozen=True, slots=True)
class Symptom:
    """What a line means."""

    reason: Reason
    for_good: bool = False  # the engine says it once, and never tries again
    advice: str = ""


# bento v1.20.0 and benthos; the words of the operating system are Go's.
_TABLE = (
    # http_server, and whatever else serves: the listener is given up, and the input counts as connected.
    (
        re.compile(r"Server error: listen .*: bind: address already in use"),
        Symptom(Reason.PORT_IN_USE, for_good=True, advice=_RESTART),
    ),
    (
        re.compile(r"Server error: listen "),
        Symptom(Reason.NOT_CONNECTED, for_good=True, advice=_RESTART),
    ),
    (re.compile(r"bind: address already in use"), Symptom(Reason.PORT_IN_USE)),
    # The input of an `inproc` whose output is in no stream of this process.
    (re.compile(r"pipe was not found"), Symptom(Reason.NOT_CONNECTED)),
    # kvReader.Connect keeps a connection that it has closed, and takes that for connected.
    (
        re.compile(
            r"Failed to connect to nats_kv: (?!.*(no servers available|[Aa]uthorization|"
            r"dial |timeout|connection closed))"
        ),
        Symptom(Reason.NOT_CONNECTED, for_good=True, advice=_RESTART),
    ),
    # A file that is opened at the first read: the input counts as connected before.
    (
        re.compile(
            r"Failed to read message: .*(no such file or directory|permission denied|"
            r"is a directory|too many open files)"
        ),
        Symptom(Reason.NOT_CONNECTED),
    ),
)


def symptom_of(message: str) -> Symptom | None:
    """What `message`, logged as an error, says of readiness; None if nothing."""
    return next((symptom for words, symptom in _TABLE if words.search(message)), None)
