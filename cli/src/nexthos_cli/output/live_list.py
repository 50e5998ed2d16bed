"""`ls -w`: the lines as they change; a table that is redrawn on a terminal, lines elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nexthos_cli.output.lines import all_lines, matches
from nexthos_cli.output.printing import echo
from nexthos_cli.output.render import console, line_header, line_row, live_table, on_terminal
from nexthos_shared.store.watch import Snapshot, watch

if TYPE_CHECKING:
    from nexthos_cli.output.models import PipelineLine
    from nexthos_shared.store import Bucket, KvEntry, Store

SETTLE = 0.05  # seconds: a burst of changes is drawn once
REDRAW = 1.0  # seconds: ages go on


@dataclass(slots=True)
class Board:
    """What both buckets hold now."""

    labels: Mapping[str, str]
    phases: Iterable[str]
    entries: dict[str, KvEntry] = field(default_factory=dict)
    statuses: dict[str, KvEntry] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def lines(self) -> list[PipelineLine]:
        """What to show."""
        found = all_lines(self.entries.values(), self.statuses.values(), time.time())
        return [line for line in found if matches(line, self.labels, self.phases)]

    async def follow(self, bucket: Bucket, store: Store, kept: dict[str, KvEntry]) -> None:
        """Keep `kept` equal to the bucket, for ever."""
        async for change in watch(bucket, store.link):
            if isinstance(change, Snapshot):
                kept.clear()
                kept.update((e.key, e) for e in change.entries)
            else:
                kept[change.entry.key] = change.entry
            self.news.set()


async def watch_lines(
    store: Store, labels: Mapping[str, str], phases: Iterable[str], *, wide: bool
) -> None:
    """Show until Ctrl-C."""
    board = Board(labels, phases)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(board.follow(store.pipelines, store, board.entries))
        tasks.create_task(board.follow(store.statuses, store, board.statuses))
        await (_redraw(board, wide) if on_terminal() else _print(board, wide))


async def _redraw(board: Board, wide: bool) -> None:
    from rich.live import Live

    terminal = console()
    with Live(console=terminal, auto_refresh=False) as live:
        while True:
            rows = [line_row(line, wide) for line in board.lines()]
            live.update(live_table(line_header(wide), rows, terminal.width), refresh=True)
            try:
                async with asyncio.timeout(REDRAW):
                    await _next(board)
            except TimeoutError:
                continue


async def _print(board: Board, wide: bool) -> None:
    """A line for each pipeline whose line changed, ages aside."""
    shown: dict[str, list[str]] = {}
    echo("  ".join(line_header(wide)))
    while True:
        await _next(board)
        now = {ln.id: line_row(ln.model_copy(update={"age": 0.0}), wide) for ln in board.lines()}
        ages = {ln.id: line_row(ln, wide) for ln in board.lines()}
        for key, row in now.items():
            if shown.get(key) != row:
                echo("  ".join(ages.get(key, row)).rstrip())
        for key in shown.keys() - now.keys():
            echo(f"{key}  gone")
        shown = now


async def _next(board: Board) -> None:
    await board.news.wait()
    await asyncio.sleep(SETTLE)
    board.news.clear()
