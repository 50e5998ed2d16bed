"""`nexthos logs`: the engines' lines of a pipeline, wherever it runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from nexthos_cli.completing import complete_ids
from nexthos_cli.context import App
from nexthos_cli.options import DurationType, output, verb

if TYPE_CHECKING:
    from nexthos_cli.log_reading import LogReading, Since
    from nexthos_shared.models import LogsLine, LogsReply, LogsRequest

TAIL = 100  # lines, unless more are asked for or --since says how far to go back
FIRST_WITHIN = 4.0  # seconds


@verb("logs")
@click.argument("id", shell_complete=complete_ids)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
@click.option(
    "--tail",
    type=click.IntRange(0, 10_000),
    metavar="N",
    help="The last N lines of each execution (100; with --since 10000).",
)
@click.option("--since", type=DurationType(), metavar="TIME", help="Not older than that: 10m.")
@click.option("--replica", type=click.IntRange(min=0), metavar="N", help="Of this replica only.")
@output("table", "json", "yaml")
def logs(
    app: App,
    id: str,
    follow: bool,
    tail: int | None,
    since: float | None,
    replica: int | None,
) -> None:
    """Print the engines' lines of pipeline ID, in order of time; the controller must run.

    With -f new lines come as they are written, also those of a restart or a new version, until the
    pipeline is deleted, a draft or a job that is done. Lines of several replicas begin with their
    execution's name. --since looks at the time that an engine's line carries.
    """
    if follow and app.structured:
        raise click.UsageError(f"-f goes on for ever, and -o {app.format} is one document")
    from nexthos_cli.selection import check_key
    from nexthos_shared.models import MOST_LINES, LogsRequest

    if tail is None:
        tail = TAIL if since is None else MOST_LINES
    key = check_key(id.removeprefix("pipeline/"), write=False)
    request = LogsRequest(id=key, tail=tail, follow=follow, replica=replica)
    app.run(_logs(app, request, None if since is None else time.time() - since))


async def _logs(app: App, request: LogsRequest, moment: float | None) -> None:
    async with app.link() as link:
        from nexthos_cli.log_reading import LogReading, Since

        within = FIRST_WITHIN if app.timeout is None else app.timeout
        async with LogReading(link, app.names, request, within) as reading:
            if app.structured:
                await _document(app, reading, Since(moment))
            else:
                await _print(app, reading, Since(moment))


async def _document(app: App, reading: LogReading, since: Since) -> None:
    from nexthos_cli.output import LogsOutput
    from nexthos_cli.render import structured

    lines: list[LogsLine] = []
    dropped = 0
    async for reply in reading.replies():
        lines += (line for line in reply.lines if since.lets(line))
        dropped += reply.dropped
    structured(app, LogsOutput(id=reading.request.id, lines=lines, dropped=dropped))


async def _print(app: App, reading: LogReading, since: Since) -> None:
    async for reply in reading.replies():
        if reply.dropped:
            app.note(f"{reply.dropped} lines were left out here: too many, too fast")
        shown = [line for line in reply.lines if since.lets(line)]
        # In a thread: a pager that stands still must not keep us from answering the server. Shielded:
        # Ctrl-C cancels between any two lines of Python, also of those that take over what the thread
        # returned, which then complain on stderr.
        said = asyncio.get_running_loop().run_in_executor(None, _say, shown, reply)
        await asyncio.shield(said)
    if reading.request.follow:
        app.note(_ended(reading))


def _say(lines: Sequence[LogsLine], reply: LogsReply) -> None:
    for line in lines:
        several = reply.replicas > 1 or line.replica > 0
        text = f"[{line.execution}] {line.text}" if several else line.text
        click.echo(text, nl=not line.more)


def _ended(reading: LogReading) -> str:
    from nexthos_shared.models import LogsEnd

    key = reading.request.id
    match reading.end:
        case LogsEnd.DELETED:
            return f"pipeline {key} was deleted"
        case LogsEnd.DRAFT:
            return f"pipeline {key} is a draft: nothing of it runs"
        case LogsEnd.COMPLETE:
            return f"pipeline {key} is done: see nexthos status {key}"
        case LogsEnd.CONTROLLER_STOPPED:
            return "the controller stopped: ask again when one runs"
        case other:
            return f"that was all: {other}"
