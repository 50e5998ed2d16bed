"""Open files: some are kept free, so that a controller with too few can still look, stop and tell.

An engine costs two that stay open for as long as it runs: its pidfd, and the connection over which it is
asked. Where these took all, no folder could be read any more, so nothing could even be removed.
"""

from __future__ import annotations

import errno
import os
import resource

from nexthos_shared.errors import StartFailed
from nexthos_shared.system_errors import words_of

MOST_KEPT = 64  # for a look at folders and processes, logs, requests, a connection to NATS
SHARE = 4  # at most one in so many
WANTED = words_of(OSError(errno.EMFILE, os.strerror(errno.EMFILE)))


def has_room() -> bool:
    """Whether one more may stay open. The system gives the lowest free number: what holds one is below."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        lowest = os.open("/", os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return False
    os.close(lowest)
    return limit == resource.RLIM_INFINITY or lowest < limit - min(MOST_KEPT, limit // SHARE)


def refuse_without_room() -> None:
    """Raises StartFailed where what is about to start could be neither watched nor asked."""
    if not has_room():
        raise StartFailed(f"no engine is started: {WANTED}")
