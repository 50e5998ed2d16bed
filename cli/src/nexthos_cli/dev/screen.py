"""What `dev` shows: a live table with log lines above it on a terminal, plain lines elsewhere.

Comes in: statuses, log lines, sentences. Goes out: text. It decides nothing and waits for nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Self

from rich.live import Live
from rich.markup import escape as markup
from rich.table import Table
from rich.text import Text

from nexthos_cli.output.log_words import read_log
from nexthos_cli.output.render import COLOURS, live_table
from nexthos_cli.output.terminal import CleanConsole
from nexthos_controller.embedded import Count, LogLine
from nexthos_shared.model import Phase, PipelineStatus
from nexthos_shared.printable import printable

HEADER = ("PIPELINE", "PHASE", "READY", "VERSION", "IN", "OUT", "ERRORS", "RESTARTS", "REASON")
_QUIET = {"debug", "trace", "all"}
# What each engine says at its start, and what says nothing of the pipeline.
_BEGINNINGS = ("Running main config from", "Launching a ", "Listening for HTTP requests at")
MOST_SUBJECTS = 40  # in the last table
SLOW = 1.0  # seconds after which somebody who waits is told for what
REPEATS_EVERY = 10.0  # seconds: a message per bad record would bury everything else


class Screen:
    """Enter it to show a live table; outside of that, and off a terminal, everything is a line."""

    def __init__(self, console: CleanConsole) -> None:
        self.console = console
        self._statuses: dict[str, PipelineStatus] = {}
        self._counts: Mapping[str, Count] = {}
        self._live: Live | None = None
        self._repeats: dict[tuple[str, str], tuple[float, int]] = {}  # when told, and since then

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live = Live(
                get_renderable=self._table, console=self.console, refresh_per_second=4
            )
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, text: str, style: str = "") -> None:
        """A sentence of dev's own."""
        self.console.print(
            f"[{style}]{_shown(text)}[/]" if style else _shown(text),
            highlight=False,
            soft_wrap=True,
        )

    @contextmanager
    def slow(self, text: str) -> Iterator[None]:
        """Say what is being waited for, if it takes over a second."""
        timer = asyncio.get_running_loop().call_later(SLOW, self.say, f"{text} ...", "dim")
        try:
            yield
        finally:
            timer.cancel()

    def status(self, key: str, status: PipelineStatus | None) -> None:
        """A pipeline's status changed, or went."""
        old = self._statuses.get(key)
        # Never changed in place: the live table is drawn by a thread of its own.
        rest = {k: s for k, s in self._statuses.items() if k != key}
        self._statuses = rest if status is None else {**rest, key: status}
        if status is None:
            if old is not None:
                self._line(key, "removed", "")
            return
        told = (status.phase, _why(status), status.version)
        if old is None or (old.phase, _why(old), old.version) != told:
            words = f"{status.phase} {status.ready}/{status.replicas} version {status.version}"
            self._line(key, f"{words}  {_why(status)}".rstrip(), COLOURS[str(status.phase)])

    def counts(self, counts: Mapping[str, Count]) -> None:
        """New message counts, by pipeline. The mapping is not to be changed afterwards."""
        self._counts = counts

    def log(self, key: str, line: LogLine) -> None:
        """A line of a pipeline: its engine's log without debug chatter, or its output."""
        if line.stream == "output":
            self._line(key, line.text.expandtabs(), "")
            return
        level, text = _read_log(line.text)
        if level in _QUIET or text.startswith(_BEGINNINGS):
            return
        told, more = self._repeats.get((key, text), (float("-inf"), 0))
        now = time.monotonic()
        if now - told < REPEATS_EVERY:
            self._repeats[key, text] = (told, more + 1)
            return
        self._repeats[key, text] = (now, 0)
        again = f" ({more} more like this)" if more else ""
        self._line(key, f"{text}{again}", "red" if level in {"error", "fatal"} else "dim")

    def _line(self, key: str, text: str, style: str) -> None:
        clock = time.strftime("%H:%M:%S")
        shown = f"[{style}]{_shown(text)}[/]" if style else _shown(text)
        self.console.print(
            f"[dim]{clock}[/] [bold]{_shown(key):<20}[/] {shown}", highlight=False, soft_wrap=True
        )

    def _table(self) -> Text:
        return pipelines_table(self._statuses, self._counts, self.console.width)


def pipelines_table(
    statuses: Mapping[str, PipelineStatus], counts: Mapping[str, Count], width: int
) -> Text:
    """One line per pipeline with its messages in and out, in `width` columns."""
    rows = []
    for key, status in sorted(statuses.items()):
        count = counts.get(key, Count())
        numbers = (count.received, count.sent, count.errors, status.restarts)
        ready = f"{status.ready}/{status.replicas}"
        shown = [key, str(status.phase), ready, status.version or "-"]
        rows.append([*shown, *(f"{n:,}" for n in numbers), _why(status)])
    return live_table(HEADER, rows, width, right=frozenset(HEADER[4:8]))


def subjects_table(before: Mapping[str, int], after: Mapping[str, int]) -> Table | None:
    """Messages stored per subject of the users' streams; None if there are none."""
    if not after:
        return None
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("STREAM SUBJECT", no_wrap=True)
    table.add_column("NEW", justify="right")
    table.add_column("STORED", justify="right")
    for subject, count in sorted(after.items())[:MOST_SUBJECTS]:
        table.add_row(_shown(subject), f"{count - before.get(subject, 0):,}", f"{count:,}")
    if (more := len(after) - MOST_SUBJECTS) > 0:
        table.add_row(f"and {more:,} more", "", "")
    return table


def _why(status: PipelineStatus) -> str:
    complaint = status.complaint
    if complaint is None or (status.phase is Phase.STARTING and complaint.reason == "Starting"):
        return ""
    where = ":".join(
        str(part) for part in (complaint.file, complaint.line, complaint.column) if part is not None
    )
    return f"{complaint.reason}: {complaint.message}{f' ({where})' if where else ''}"


def _shown(text: str) -> str:
    """Words of others: neither a terminal nor rich's markup obeys them."""
    return markup(printable(text))


def _read_log(text: str) -> tuple[str, str]:
    """(level, message) of an engine's JSON line, with the component it speaks of."""
    words = read_log(text)
    return (words.level, words.text) if words else ("info", text)
