"""The user that engines run as where that is another one than who starts them.

Comes in: a name, or numbers. Goes out: who it is, what `subprocess` needs to become it, and files that it
may read. Starts nothing. Changing users takes the rights to do so (root, or CAP_SETUID and CAP_SETGID).
"""

from __future__ import annotations

import os
import pwd
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nexthos_shared.errors import SettingsError

_NUMBERS = re.compile(r"(\d{1,10})(?::(\d{1,10}))?")
_LAST = 2**32 - 2  # the number behind it stands for nobody


@dataclass(frozen=True, slots=True)
class EngineUser:
    """Never root."""

    uid: int
    gid: int

    def to_become(self) -> dict[str, Any]:
        """Arguments of `subprocess`: this user, this group, and no other groups."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def give(self, path: Path, mode: int) -> None:
        """Make it this user's, and our group's; what is its own already stays. Raises OSError.

        The mode comes first: who gave a file away may not change it. Links are not followed.
        """
        if os.lstat(path).st_uid != self.uid:
            os.chmod(path, mode)
            os.chown(path, self.uid, os.getegid(), follow_symlinks=False)


def engine_user_of(text: str) -> EngineUser | None:
    """Who `text` names: a user's name, or `uid` or `uid:gid`; None if it is empty. Raises SettingsError."""
    if not text:
        return None
    if match := _NUMBERS.fullmatch(text):
        uid, gid = int(match[1]), int(match[2] or match[1])
    else:
        try:
            entry = pwd.getpwnam(text)
        except (KeyError, ValueError) as error:
            words = f"engine_user: there is no user {text!r} (or write `uid:gid`)"
            raise SettingsError(words, field="engine_user") from error
        uid, gid = entry.pw_uid, entry.pw_gid
    if not (0 < uid <= _LAST and 0 < gid <= _LAST):
        words = f"engine_user: {text!r}: engines must be neither root nor of its group"
        raise SettingsError(words, field="engine_user")
    return EngineUser(uid, gid)
