"""What of a folder belongs to the user that engines run as, where that is another one than ours.

Comes in: folders, names of files. Goes out: the same folders, in which an engine can do its work and nothing
else. Must not know what the files are.

    <state>/, executions/, hosts/     ours, 0711: whoever knows a name gets through, nobody gets a list
    executions/<name>/                ours, 0711: nothing in it can be replaced, or made a link, but by us
        what an engine reads          its user's, 0440, our group's
        exit                          its user's, 0640, made empty before it starts
        work/                         its user's: where relative paths start, and all that it may make
        all else                      ours, 0600: handles, in which variables stand, and logs
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from nexthos_shared.process.engine_user import EngineUser, EngineUsers
from nexthos_shared.system_errors import passes

OURS, OPEN = 0o700, 0o711
WORK = "work"


def open_up(users: EngineUsers | None, *folders: Path) -> None:
    """Let these users' processes get through folders of ours. Raises OSError."""
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True, mode=OURS)
        if users is not None and folder.stat().st_uid == os.geteuid():
            folder.chmod(OPEN)


def own_of(user: EngineUser | None, folder: Path) -> Path:
    """Where an engine may make files."""
    return folder / WORK if user is not None else folder


def read_theirs(file: Path, limit: int, uid: int | None = None) -> str:
    """The first `limit` bytes of what an engine of that user wrote; empty if there is none.

    It may have put anything in its place: a link to what we may read and it may not, a pipe that nobody
    writes to, a file without an end. Raises OSError where something ran out: that is no absence.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with open(os.open(file, flags), "rb") as opened:
            status = os.fstat(opened.fileno())
            if not stat.S_ISREG(status.st_mode) or (uid is not None and status.st_uid != uid):
                return ""
            return opened.read(limit).decode("utf-8", "replace")
    except OSError as error:
        if passes(error):
            raise
        return ""


def hand_over(
    user: EngineUser | None, folder: Path, *, reads: Iterable[str], writes: Iterable[str]
) -> Path:
    """Give the user what is its own; where it may work: `folder` where there is no other. Raises OSError."""
    if user is None:
        return folder
    for name in reads:
        user.give(folder / name, 0o440)
    for name in writes:
        file = folder / name
        file.unlink(missing_ok=True)
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        user.give(file, 0o640)
    work = own_of(user, folder)
    work.mkdir(mode=0o700, exist_ok=True)
    user.give(work, 0o770)
    folder.chmod(OPEN)
    return work
