"""What the operating system refuses because something ran out, in words with the next step.

Comes in: an OSError. Goes out: its words. One table for all who start programs or write files, so that a full
disk or too few open files is never told as a defect, nor as a missing program.
"""

from __future__ import annotations

import errno

FILES = (
    "raise the limit of open files (LimitNOFILE of the controller's service, which engines inherit, or "
    "executors.docker.files)"
)
OUT_OF_FILES = "too many open files"
_ADVICE = {
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), FILES),
    **dict.fromkeys(
        (errno.ENOSPC, errno.EDQUOT),
        "make room where the controller's state folder and temporary folder are",
    ),
    errno.EFBIG: "raise the limit of a file's size (LimitFSIZE of the controller's service)",
    **dict.fromkeys(
        (errno.ENOMEM, errno.EAGAIN), "the machine has no more memory or processes to give"
    ),
    errno.EROFS: "the controller's state folder can't be written to; see why in the kernel's log",
    errno.EIO: "the disk of the controller's state folder fails; see the kernel's log",
    errno.ETXTBSY: "somebody is writing that file; it is tried again",
}


def passes(error: BaseException) -> bool:
    """Whether the same call may succeed once there is room again; nothing is wrong with what was asked."""
    return isinstance(error, OSError) and error.errno in _ADVICE


def with_advice(words: str) -> str:
    """What an engine said, and what to do where it ran out of open files; Go's words are the system's."""
    return f"{words}: {FILES}" if OUT_OF_FILES in words else words


def words_of(error: OSError) -> str:
    """What happened, with what to do about it where that is known; never empty."""
    words = error.strerror or str(error) or type(error).__name__
    advice = _ADVICE.get(error.errno or 0)
    return f"{words.lower()}: {advice}" if advice else words
