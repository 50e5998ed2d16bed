"""`nexthos ls`: one line per pipeline."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import click

from nexthos_cli.app import App
from nexthos_cli.command.options import output, verb

if TYPE_CHECKING:
    from nexthos_cli.output.models import PipelineLine

PHASES = (
    "Draft",
    "Starting",
    "Running",
    "Stopping",
    "Paused",
    "Completed",
    "CrashLoop",
    "Failed",
    "Invalid",
    "Unknown",
    "-",
)
STALE = 10.0  # seconds after which a change that nobody looked at is worth a word


@verb("ls")
@click.option("-w", "--watch", is_flag=True, help="Go on, and show what changes.")
@click.option("-l", "labels", multiple=True, metavar="KEY=VALUE", help="Only with this label.")
@click.option(
    "--phase",
    "phases",
    multiple=True,
    type=click.Choice(PHASES, case_sensitive=False),
    help="Only in this phase.",
)
@output("table", "wide", "json", "yaml", "name")
def ls(app: App, watch: bool, labels: tuple[str, ...], phases: tuple[str, ...]) -> None:
    """List pipelines, one line each.

    WANTED is what is stored, PHASE what the controller reports. AGE counts from the last change of the
    definition. REASON is what to know first: `nexthos explain REASON`, `nexthos status ID`.
    """
    from nexthos_cli.pipelines.selection import read_labels

    wanted = read_labels(labels)
    if watch and app.structured:
        raise click.UsageError(f"-w goes on for ever, and -o {app.format} is one document")
    app.run(_watch(app, wanted, phases) if watch else _ls(app, wanted, phases))


async def _ls(app: App, labels: dict[str, str], phases: tuple[str, ...]) -> None:
    async with app.store() as store:
        from nexthos_cli.output.lines import all_lines, matches
        from nexthos_cli.output.models import LsOutput
        from nexthos_cli.output.render import line_header, line_row, structured, table

        found = await asyncio.gather(store.pipelines.snapshot(), store.statuses.snapshot())
        lines = [ln for ln in all_lines(*found, time.time()) if matches(ln, labels, phases)]
    if not structured(app, LsOutput(pipelines=lines)):
        wide = app.format == "wide"
        if lines:
            table(line_header(wide), [line_row(ln, wide) for ln in lines])
        else:
            none = f"no pipelines in namespace {app.namespace}: put some with `nexthos apply FILE`"
            app.note("no pipeline matches" if labels or phases else none)
    _remark(app, lines)


def _remark(app: App, lines: list[PipelineLine]) -> None:
    unseen = [ln.id for ln in lines if ln.phase is None and not ln.deleted]
    if unseen:
        shown = ", ".join(unseen[:3]) + ("..." if len(unseen) > 3 else "")
        app.note(f"{shown}: not reconciled yet: is a controller running? (`nexthos doctor`)")
    elif any((ln.observed_revision or 0) < ln.revision and ln.age > STALE for ln in lines):
        app.note("changes are not looked at: is a controller running? (`nexthos doctor`)")


async def _watch(app: App, labels: dict[str, str], phases: tuple[str, ...]) -> None:
    from nexthos_cli.output.live_list import watch_lines

    async with app.store() as store:
        await watch_lines(store, labels, phases, wide=app.format == "wide")
