"""stdout and stderr of a program that starts others, and whose terminal may be closed meanwhile.

A write to a terminal that is gone fails with EIO; in the middle of an end that left engines behind. Such
writes go nowhere instead, and mean what SIGHUP means, which not every closed terminal sends.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO


class _Enduring(io.FileIO):
    def write(self, data: Any, /) -> int:
        try:
            return super().write(data) or 0
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            if signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL:  # somebody listens
                os.kill(os.getpid(), signal.SIGHUP)
            return len(data)


@contextmanager
def enduring_streams() -> Iterator[None]:
    """Replace both, where they are terminals."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_enduring(stream) for stream in before)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stdout, sys.stderr = before


def _enduring(stream: TextIO) -> TextIO:
    if not stream.isatty():
        return stream
    raw = io.BufferedWriter(_Enduring(stream.fileno(), "w", closefd=False))
    return io.TextIOWrapper(raw, stream.encoding, stream.errors, line_buffering=True)
