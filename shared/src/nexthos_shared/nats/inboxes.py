"""Which subjects are inboxes: nothing that somebody else names is ever sent to on another one.

Whoever answers a message publishes with rights of its own to a subject that a stranger chose: to
`$JS.API.STREAM.DELETE.x` an answer is a command, to `$KV.x.y` a write.
"""

from __future__ import annotations

import re

MOST_CHARACTERS = 255  # clients make some 50
# `_INBOX_x.` is a user with inboxes of its own, `_R_.` what the import of a service makes of an inbox.
_TOKEN = r"[!-)+-\-/-=?-~]+"  # printable ASCII without `*`, `.` and `>`
_BEGINNING = re.compile(rf"_INBOX(_{_TOKEN})?|_R_")
_REST = re.compile(rf"(\.{_TOKEN})+")


def is_inbox(subject: str, prefix: str | None = None) -> bool:
    """Whether it is well-formed and begins as inboxes do; `prefix` is another such beginning.

    Never raises, whatever the subject is.
    """
    if len(subject) > MOST_CHARACTERS or subject.startswith("$"):
        return False
    if prefix and subject.startswith(f"{prefix}.") and _REST.fullmatch(subject, len(prefix)):
        return True
    first, _, _ = subject.partition(".")
    return bool(_BEGINNING.fullmatch(first) and _REST.fullmatch(subject, len(first)))


def reaches(pattern: str, subject: str) -> bool:
    """Whether a subscription to `pattern` receives what is sent to `subject`."""
    wanted, given = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted = wanted[:-1]
        if len(given) <= len(wanted):
            return False
        given = given[: len(wanted)]
    return len(wanted) == len(given) and all(
        token in ("*", there) for token, there in zip(wanted, given, strict=True)
    )
