"""The user that engines run as where that is another one than who starts them, or a range of users.

Comes in: a name, or numbers. Goes out: who it is, what `subprocess` needs to become it, and files that it
may read. Starts nothing. Changing users takes the rights to do so (root, or CAP_SETUID and CAP_SETGID).
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nexthos_shared.errors import SettingsError

_NUMBERS = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?(?::(\d{1,10}))?")
_LAST = 2**32 - 2  # the number behind it stands for nobody


@dataclass(frozen=True, slots=True)
class EngineUser:
    """One user. Never root."""

    uid: int
    gid: int

    def to_become(self) -> dict[str, Any]:
        """Arguments of `subprocess`: this user, this group, and no other groups."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def give(self, path: Path, mode: int) -> None:
        """Make it this user's, and our group's; what is its own already stays. Raises OSError.

        The mode is set while it is ours: who gave a file away may not change it. Links are not followed.
        """
        owner, us = os.lstat(path).st_uid, (os.geteuid(), os.getegid())
        if owner == self.uid:
            return
        if owner != us[0]:
            os.chown(path, *us, follow_symlinks=False)
        os.chmod(path, mode)
        os.chown(path, self.uid, us[1], follow_symlinks=False)


@dataclass(frozen=True, slots=True)
class EngineUsers:
    """Users from `first` to `last`, of one group. One alone is everybody's; of more, each has its own."""

    first: int
    last: int
    gid: int

    def __contains__(self, uid: object) -> bool:
        return isinstance(uid, int) and self.first <= uid <= self.last

    def numbered(self, number: int) -> EngineUser:
        """One of them; of negative numbers from the last on."""
        return EngineUser(self.first + number % (self.last - self.first + 1), self.gid)

    def free(self, taken: Collection[int], before: int | None) -> EngineUser | None:
        """The one it was before, or one that nobody has; None if there is none."""
        if self.first == self.last or (before in self and before not in taken):
            return EngineUser(
                before if before in self and before is not None else self.first, self.gid
            )
        found = next((uid for uid in range(self.first, self.last + 1) if uid not in taken), None)
        return None if found is None else EngineUser(found, self.gid)

    def __str__(self) -> str:
        return f"{self.first}-{self.last}:{self.gid}"


def engine_users_of(text: str) -> EngineUsers | None:
    """Who `text` names: a user, or `uid`, `uid:gid`, `first-last`, `first-last:gid`; None if it is empty.

    Raises SettingsError.
    """
    if not text:
        return None
    if match := _NUMBERS.fullmatch(text):
        first = int(match[1])
        last, gid = int(match[2] or first), int(match[3] or first)
    else:
        first, gid = _named(text)
        last = first
    if not (0 < first <= last <= _LAST and 0 < gid <= _LAST):
        words = f"engine_user: {text!r}: engines must be neither root nor of its group"
        raise SettingsError(words, field="engine_user")
    return EngineUsers(first, last, gid)


def _named(name: str) -> tuple[int, int]:
    try:
        entry = pwd.getpwnam(name)
    except (KeyError, ValueError) as error:
        words = f"engine_user: there is no user {name!r} (or write `uid:gid`)"
        raise SettingsError(words, field="engine_user") from error
    return entry.pw_uid, entry.pw_gid
