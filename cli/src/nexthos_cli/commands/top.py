"""`nexthos top`: what pipelines take, and what goes through them, refreshed."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from nexthos_cli.app import App
from nexthos_cli.command.completion import complete_ids
from nexthos_cli.command.options import DurationType, output, verb
from nexthos_cli.output.printing import echo

if TYPE_CHECKING:
    from nexthos_cli.output.models import TopLine, TopOutput
    from nexthos_shared.model import Usage
    from nexthos_shared.nats.connection import Link

COLUMNS = (
    *("ID", "PHASE", "READY", "CPU%", "MEMORY", "IN/s", "OUT/s", "ERRORS/s"),
    *("IN", "OUT", "ERRORS", "RESTARTS"),
)
MOST = 1000  # pipelines shown; more would take longer to read than they stay true
PAGE = 250
ANSWER_WITHIN = 5.0  # seconds for one page


@verb("top")
@click.argument("ids", nargs=-1, metavar="[ID]...", shell_complete=complete_ids)
@click.option("-l", "labels", multiple=True, metavar="KEY=VALUE", help="Only with this label.")
@click.option(
    "--sort",
    type=click.Choice(("cpu", "memory", "rate", "name")),
    default="cpu",
    show_default=True,
    help="What comes first.",
)
@click.option(
    "--every",
    type=DurationType(),
    default="2s",
    metavar="TIME",
    show_default=True,
    help="Between two samples.",
)
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N tables.")
@click.option(
    "--once", is_flag=True, help="Print one table and exit (default when not on a terminal)."
)
@output("table", "json", "yaml")
def top(
    app: App,
    ids: tuple[str, ...],
    labels: tuple[str, ...],
    sort: str,
    every: float,
    count: int | None,
    once: bool,
) -> None:
    """Show CPU, memory and messages per second of pipelines, as their engines count them.

    A table needs two samples, so the first one comes after --every. CPU is in percent of one core.
    Where few messages pass, rates are those of the last minute, as far as it was watched. IN, OUT and
    ERRORS count since the engines' start. A dash is what is not known: nothing runs, or the
    configuration sends its metrics elsewhere.
    """
    from nexthos_cli.output.render import on_terminal
    from nexthos_cli.pipelines.selection import check_key, read_labels

    if every < 0.1:
        raise click.UsageError("--every: at least 100ms")
    if once and count not in (None, 1):
        raise click.UsageError("--once is one table, and --count says otherwise")
    if app.structured and count not in (None, 1):
        raise click.UsageError(f"-o {app.format} is one document: leave --count out")
    if once or app.structured or (count is None and not on_terminal()):
        count = 1
    keys = [check_key(key.removeprefix("pipeline/"), write=False) for key in ids]
    app.run(_top(app, keys, read_labels(labels), sort, every, count))


@dataclass(frozen=True)
class Sample:
    """What the engines said at one time."""

    at: float  # seconds, of a clock that only goes forward
    usages: Mapping[str, Usage]
    total: int  # pipelines, shown or not


class Watched:
    """The samples of the last minute."""

    def __init__(self, sort: str) -> None:
        self._sort = sort
        self._past: deque[Sample] = deque()
        self.seconds = 0.0  # between the last two

    def lines(self, now: Sample) -> list[TopLine] | None:
        """What `now` says after those before it; None of the first."""
        from nexthos_cli.output.rates import WINDOW, top_lines

        while self._past and now.at - self._past[0].at > WINDOW and len(self._past) > 1:
            self._past.popleft()
        found = None
        if self._past:
            self.seconds = now.at - self._past[-1].at
            past = [sample.usages for sample in self._past]
            found = top_lines(past, now.usages, self.seconds, self._sort)
        self._past.append(now)
        return found


async def _top(
    app: App,
    ids: Sequence[str],
    labels: dict[str, str],
    sort: str,
    every: float,
    count: int | None,
) -> None:
    async with app.link() as link:
        from nexthos_cli.output.models import TopOutput
        from nexthos_cli.output.render import on_terminal, structured

        samples, watched = _samples(app, link, ids, labels, every), Watched(sort)
        if on_terminal() and not app.structured and count != 1:
            await _redraw(samples, watched, count)
            return
        shown = 0
        async for sample in samples:
            lines = watched.lines(sample)
            if lines is None:
                continue
            output = TopOutput(seconds=watched.seconds, pipelines=lines, total=sample.total)
            if not structured(app, output):
                _show(app, output, first=shown == 0)
            shown += 1
            if shown == (count or 1):
                return


async def _samples(
    app: App, link: Link, ids: Sequence[str], labels: dict[str, str], every: float
) -> AsyncIterator[Sample]:
    """What the engines say, each `every` seconds, for ever."""
    while True:
        began = time.monotonic()
        yield await _sample(app, link, ids, labels)
        await asyncio.sleep(max(began + every - time.monotonic(), 0))


async def _sample(app: App, link: Link, ids: Sequence[str], labels: dict[str, str]) -> Sample:
    from nexthos_cli.remote.request import ask
    from nexthos_shared.model import UsageReply, UsageRequest

    within = ANSWER_WITHIN if app.timeout is None else app.timeout
    found: dict[str, Usage] = {}
    cursor: str | None = None
    began = time.monotonic()
    while True:
        request = UsageRequest(ids=list(ids), labels=labels, limit=PAGE, cursor=cursor)
        reply = await ask(link, app.names, "usage", request, UsageReply, within)
        found |= {usage.id: usage for usage in reply.pipelines}
        cursor = reply.cursor
        if cursor is None or len(found) >= MOST:
            return Sample(began, found, reply.total)


async def _redraw(samples: AsyncIterator[Sample], watched: Watched, count: int | None) -> None:
    from rich.live import Live

    from nexthos_cli.output.render import console, live_table

    shown = 0
    terminal = console()
    with Live(
        live_table(COLUMNS, [], terminal.width), console=terminal, auto_refresh=False
    ) as live:
        async for sample in samples:
            lines = watched.lines(sample)
            if lines is None:
                continue
            fitting = max(terminal.height - 3, 1)
            rows = [_row(line) for line in lines[:fitting]]
            if more := sample.total - len(rows):
                rows.append([f"and {more} more", *[""] * (len(COLUMNS) - 1)])
            live.update(live_table(COLUMNS, rows, terminal.width), refresh=True)
            shown += 1
            if shown == count:
                return


def _show(app: App, output: TopOutput, *, first: bool) -> None:
    from nexthos_cli.output.render import table

    lines = output.pipelines
    if not lines:
        app.note("no pipelines")
        return
    if not first:
        echo()
    table(COLUMNS, [_row(line) for line in lines])
    if more := output.total - len(lines):
        app.note(f"and {more} more: name some, or choose by -l LABEL=VALUE")


def _row(line: TopLine) -> list[str]:
    return [
        line.id,
        str(line.phase or "-"),
        f"{line.ready}/{line.replicas}",
        "-" if line.cpu_percent is None else f"{line.cpu_percent:.1f}",
        "-" if line.memory_bytes is None else f"{line.memory_bytes / 2**20:.1f}Mi",
        _per_second(line.received_per_second),
        _per_second(line.sent_per_second),
        _per_second(line.errors_per_second),
        *("-" if n is None else f"{n:,}" for n in (line.received, line.sent, line.errors)),
        str(line.restarts),
    ]


def _per_second(rate: float | None) -> str:
    """Whole numbers where they are large, one digit where they are small."""
    if rate is None:
        return "-"
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"
