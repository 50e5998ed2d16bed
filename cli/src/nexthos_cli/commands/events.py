"""`nexthos events`: what happened to pipelines."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from nexthos_cli.app import App
from nexthos_cli.command.completion import complete_ids
from nexthos_cli.command.options import DurationType, output, verb
from nexthos_cli.output.printing import echo, echo_lines
from nexthos_shared.printable import printable_json

if TYPE_CHECKING:
    from nexthos_shared.model import Event
    from nexthos_shared.store import Store

HEADER = ("TIME", "PIPELINE", "REASON", "PHASE", "VERSION", "MESSAGE")
DAY = 24 * 3600.0  # seconds


@verb("events")
@click.argument("id", required=False, shell_complete=complete_ids)
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens from now on.")
@click.option(
    "--since",
    type=DurationType(),
    metavar="TIME",
    help="Only entries newer than this, e.g. 1h. Default: 24h.",
)
@click.option("--bad", is_flag=True, help="Only what somebody may have to do something about.")
@output("table", "json", "yaml")
def events(app: App, id: str | None, follow: bool, since: float | None, bad: bool) -> None:
    """Tell what happened to pipeline ID, or to all: one line per transition, oldest first.

    Among those of all stands which controller took over from which, and why.

    They are read from the store, which keeps them for a week or 64 MiB: no controller need run. With -f,
    -o json prints one event per line.
    """
    from nexthos_shared.names import check_id

    if follow and app.format == "yaml":
        raise click.UsageError("-f goes on for ever, and -o yaml is one document")
    key = check_id(id.removeprefix("pipeline/")) if id is not None else "*"
    app.run(_events(app, key, time.time() - (DAY if since is None else since), follow, bad))


async def _events(app: App, key: str, moment: float, follow: bool, bad: bool) -> None:
    async with app.store() as store:
        if follow:
            await _follow(app, store, key, moment, bad)
            return
        from nexthos_cli.output.models import EventsOutput
        from nexthos_cli.output.render import structured, table

        found = [e for e in await store.events.since(moment, key) if e.data.bad or not bad]
    if structured(app, EventsOutput(events=found)):
        return
    if not found:
        app.note("nothing happened in that time")
        return
    table(HEADER, [_row(event) for event in found])


async def _follow(app: App, store: Store, key: str, moment: float, bad: bool) -> None:
    from contextlib import aclosing

    from nexthos_shared.store.watch import follow_events

    async with aclosing(follow_events(store.events, moment, key)) as found:
        async for event in found:
            if event.data.bad or not bad:
                _print(app, event)


def _print(app: App, event: Event) -> None:
    if app.structured:
        from nexthos_shared.model.stored import plain

        echo_lines(printable_json(plain(event), indent=None))
    else:
        echo("  ".join(_row(event)))


def _row(event: Event) -> list[str]:
    from datetime import datetime

    data = event.data
    try:
        when = f"{datetime.fromisoformat(event.time).astimezone():%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError):  # anybody may publish there
        when = event.time
    return [
        when,
        data.pipeline or "-",
        str(data.reason),
        str(data.phase or "-"),
        data.version or "-",
        " ".join(data.message.split()),
    ]
