"""What Python itself prints when nobody else does: stray logs of libraries, and errors that end a program.

They hold words of others too, so they are made printable as everything else that reaches a terminal.
"""

from __future__ import annotations

import io
import logging
import sys
import traceback
from types import TracebackType

from nexthos_shared.printable import printable


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), lines=True)


def clean_last_resorts() -> None:
    """Make them so, and let a character that stdout or stderr lacks be written out instead of raising."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_Formatter())
    sys.excepthook = _show
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None, /) -> None:
    text = "".join(traceback.format_exception(kind, error, trace))
    sys.stderr.write(printable(text, lines=True))
