"""The controller's own log: structlog, for people on a terminal, JSON elsewhere."""

from __future__ import annotations

import io
import logging
import os
import sys
import textwrap
from typing import TextIO

import structlog

from nexthos_shared.printable import printable


def configure_logs(format: str, level: str) -> None:
    """`format`: console, json, or empty for console on a terminal and JSON elsewhere."""
    console = format == "console" or (not format and sys.stderr.isatty())
    renderer: structlog.typing.Processor
    renderer = (
        console_renderer(colors=sys.stderr.isatty() and not os.environ.get("NO_COLOR"))
        if console
        else structlog.processors.JSONRenderer()
    )
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _drop_empty,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    processors.append(_clean if console else structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def console_renderer(*, colors: bool) -> structlog.dev.ConsoleRenderer:
    """Lines for people. Tracebacks without the values of variables: those may be secrets."""
    return structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=_traceback)


def _clean(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """A terminal obeys nothing in what others wrote, and a line of the log is one line."""
    return {key: _cleaned(key, value) for key, value in event.items()}


def _cleaned(key: str, value: object) -> object:
    if key == "exc_info" or value is None or isinstance(value, bool | int | float):
        return value
    return printable(value if isinstance(value, str) else repr(value))


def _traceback(out: TextIO, raised: structlog.typing.ExcInfo) -> None:
    """Indented: what an error says must not look like another line of the log."""
    written = io.StringIO()
    structlog.dev.plain_traceback(written, raised)
    out.write(textwrap.indent(printable(written.getvalue(), lines=True), "  "))


def _drop_empty(
    _: object, __: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    return {key: value for key, value in event.items() if value is not None}
