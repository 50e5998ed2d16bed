"""`nexthos logs`: the engines' lines of a pipeline, wherever it runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from nexthos_cli.app import App
from nexthos_cli.command.completion import complete_ids
from nexthos_cli.command.options import DurationType, output, verb
from nexthos_cli.output.printing import Coloured, echo, echo_raw
from nexthos_shared.printable import escaped_json

if TYPE_CHECKING:
    from nexthos_cli.remote.logs import LogReading, Since
    from nexthos_shared.model import LogsLine, LogsReply, LogsRequest

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
@click.option(
    "--since", type=DurationType(), metavar="TIME", help="Only entries newer than this, e.g. 10m."
)
@click.option("--replica", type=click.IntRange(min=0), metavar="N", help="Of this replica only.")
@click.option(
    "--raw", is_flag=True, help="Lines as the engine wrote them, with all a terminal obeys."
)
@output("table", "json", "yaml")
def logs(
    app: App,
    id: str,
    follow: bool,
    tail: int | None,
    since: float | None,
    replica: int | None,
    raw: bool,
) -> None:
    """Print the engines' lines of pipeline ID, in order of time; the controller must run.

    With -f new lines come as they are written, also those of a restart or a new version, until the
    pipeline is deleted, a draft or a job that is done. Lines of several replicas begin with their
    execution's name. --since looks at the time that an engine's line carries.

    On a terminal an engine's line is shown as TIME LEVEL MESSAGE (path), elsewhere as the JSON that it
    is. Controls and other characters that a terminal obeys are written out, unless --raw is given.
    """
    if raw and app.structured:
        raise click.UsageError(f"--raw prints lines, and -o {app.format} a document")
    if follow and app.structured:
        raise click.UsageError(f"-f goes on for ever, and -o {app.format} is one document")
    from nexthos_cli.pipelines.selection import check_key
    from nexthos_shared.model import MOST_LINES, LogsRequest

    if tail is None:
        tail = TAIL if since is None else MOST_LINES
    key = check_key(id.removeprefix("pipeline/"), write=False)
    request = LogsRequest(id=key, tail=tail, follow=follow, replica=replica)
    app.run(_logs(app, request, None if since is None else time.time() - since, raw=raw))


async def _logs(app: App, request: LogsRequest, moment: float | None, *, raw: bool) -> None:
    async with app.link() as link:
        from nexthos_cli.remote.logs import LogReading, Since

        within = FIRST_WITHIN if app.timeout is None else app.timeout
        async with LogReading(link, app.names, request, within) as reading:
            if app.structured:
                await _document(app, reading, Since(moment))
            else:
                await _print(app, reading, Since(moment), raw=raw)


async def _document(app: App, reading: LogReading, since: Since) -> None:
    from nexthos_cli.output.models import LogsOutput
    from nexthos_cli.output.render import structured

    lines: list[LogsLine] = []
    dropped = 0
    async for reply in reading.replies():
        lines += (line for line in reply.lines if since.lets(line))
        dropped += reply.dropped
    structured(app, LogsOutput(id=reading.request.id, lines=lines, dropped=dropped))


async def _print(app: App, reading: LogReading, since: Since, *, raw: bool) -> None:
    from nexthos_cli.output.render import on_terminal

    say = _say_raw if raw else _say_to_people if on_terminal() else _say
    async for reply in reading.replies():
        if reply.dropped:
            app.note(f"{reply.dropped} lines were left out here: too many, too fast")
        shown = [line for line in reply.lines if since.lets(line)]
        # In a thread: a pager that stands still must not keep us from answering the server. Shielded:
        # Ctrl-C cancels between any two lines of Python, also of those that take over what the thread
        # returned, which then complain on stderr.
        said = asyncio.get_running_loop().run_in_executor(None, say, shown, reply)
        await asyncio.shield(said)
    if reading.request.follow:
        app.note(_ended(reading))


def _say(lines: Sequence[LogsLine], reply: LogsReply) -> None:
    """Escapes are those of JSON, which most lines are; a tab becomes the spaces that it stands for."""
    for line in lines:
        echo(_whose(line, reply), escaped_json(line.text.expandtabs()), nl=not line.more)


def _say_raw(lines: Sequence[LogsLine], reply: LogsReply) -> None:
    for line in lines:
        echo(_whose(line, reply), nl=False)
        echo_raw(line.text, nl=not line.more)


def _say_to_people(lines: Sequence[LogsLine], reply: LogsReply) -> None:
    from nexthos_cli.output.log_words import COLOURS, clock, read_log
    from nexthos_cli.output.render import colours

    coloured = colours()
    for line in lines:
        words = None if line.more or line.stream != "log" else read_log(line.text)
        if words is None:
            echo(_whose(line, reply), line.text.expandtabs(), nl=not line.more)
            continue
        level = Coloured(
            f"{words.level.upper():<5}", COLOURS.get(words.level, "") if coloured else ""
        )
        echo(_whose(line, reply), f"{clock(line.time)} ", level, f" {words.text}")


def _whose(line: LogsLine, reply: LogsReply) -> str:
    return f"[{line.execution}] " if reply.replicas > 1 or line.replica > 0 else ""


def _ended(reading: LogReading) -> str:
    from nexthos_shared.model import LogsEnd

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
