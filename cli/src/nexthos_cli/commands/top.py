"""`nexthos top`: what pipelines take, and what goes through them, refreshed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

import click

from nexthos_cli.completing import complete_ids
from nexthos_cli.context import App
from nexthos_cli.options import DurationType, output, verb
from nexthos_cli.printing import echo

if TYPE_CHECKING:
    from nexthos_cli.output import TopLine
    from nexthos_shared.models import Usage
    from nexthos_shared.nats_client import Link

COLUMNS = ("ID", "PHASE", "READY", "CPU%", "MEMORY", "IN/s", "OUT/s", "ERRORS/s", "RESTARTS")
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
@click.option("--once", is_flag=True, help="One table; so it is where there is no terminal.")
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

    A table needs two samples, so the first one comes after --every. CPU is in percent of one core. A
    dash is what is not known: nothing runs, or the configuration sends its metrics elsewhere.
    """
    from nexthos_cli.render import on_terminal
    from nexthos_cli.selection import check_key, read_labels

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


async def _top(
    app: App,
    ids: Sequence[str],
    labels: dict[str, str],
    sort: str,
    every: float,
    count: int | None,
) -> None:
    async with app.link() as link:
        from nexthos_cli.output import TopOutput
        from nexthos_cli.rates import top_lines
        from nexthos_cli.render import on_terminal, structured

        samples = _samples(app, link, ids, labels, every)
        at, before = await anext(samples)
        if on_terminal() and not app.structured and count != 1:
            await _redraw(samples, at, before, sort, count)
            return
        left = count or 0
        async for now, after in samples:
            lines = top_lines(before, after, now - at, sort)
            if not structured(app, TopOutput(seconds=now - at, pipelines=lines)):
                _show(app, lines, first=left == (count or 0))
            at, before, left = now, after, left - 1
            if left == 0:
                return


async def _samples(
    app: App, link: Link, ids: Sequence[str], labels: dict[str, str], every: float
) -> AsyncIterator[tuple[float, dict[str, Usage]]]:
    """When, and what the engines say; for ever."""
    while True:
        began = time.monotonic()
        yield began, await _sample(app, link, ids, labels)
        await asyncio.sleep(max(began + every - time.monotonic(), 0))


async def _sample(
    app: App, link: Link, ids: Sequence[str], labels: dict[str, str]
) -> dict[str, Usage]:
    from nexthos_cli.controller import ask
    from nexthos_shared.models import UsageReply, UsageRequest

    within = ANSWER_WITHIN if app.timeout is None else app.timeout
    found: dict[str, Usage] = {}
    cursor: str | None = None
    while True:
        request = UsageRequest(ids=list(ids), labels=labels, limit=PAGE, cursor=cursor)
        reply = await ask(link, app.names, "usage", request, UsageReply, within)
        found |= {usage.id: usage for usage in reply.pipelines}
        cursor = reply.cursor
        if cursor is None or len(found) >= MOST:
            return found


async def _redraw(
    samples: AsyncIterator[tuple[float, dict[str, Usage]]],
    at: float,
    before: dict[str, Usage],
    sort: str,
    count: int | None,
) -> None:
    from rich.live import Live

    from nexthos_cli.rates import top_lines
    from nexthos_cli.render import console, live_table

    shown = 0
    terminal = console()
    with Live(
        live_table(COLUMNS, [], terminal.width), console=terminal, auto_refresh=False
    ) as live:
        async for now, after in samples:
            rows = [_row(line) for line in top_lines(before, after, now - at, sort)]
            fitting = max(terminal.height - 3, 1)
            more = [[f"and {len(rows) - fitting} more", *[""] * (len(COLUMNS) - 1)]]
            live.update(
                live_table(
                    COLUMNS, rows[:fitting] + (more if len(rows) > fitting else []), terminal.width
                ),
                refresh=True,
            )
            at, before, shown = now, after, shown + 1
            if shown == count:
                return


def _show(app: App, lines: Sequence[TopLine], *, first: bool) -> None:
    from nexthos_cli.render import table

    if not lines:
        app.note("no pipelines")
        return
    if not first:
        echo()
    table(COLUMNS, [_row(line) for line in lines])


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
        str(line.restarts),
    ]


def _per_second(rate: float | None) -> str:
    """Whole numbers where they are large, one digit where they are small."""
    if rate is None:
        return "-"
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"
