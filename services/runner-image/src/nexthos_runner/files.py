"""Files that somebody else may have put there: a pipeline writes in the folder that the next start reads.

Comes in: a path. Goes out: bytes, or OSError. What is no regular file is refused at once: a FIFO would be
waited for, and a device read.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read(path: Path, most: int, *, links: bool = True) -> bytes:
    """Its first `most` bytes. Raises OSError, also for a link unless `links`, and for no regular file."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    with open(os.open(path, flags if links else flags | os.O_NOFOLLOW), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return file.read(most)
