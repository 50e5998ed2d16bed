"""`nexthos logs`: the engine's lines of executions on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from nexthos_cli.completing import complete_ids
from nexthos_cli.context import App
from nexthos_cli.options import output, verb

if TYPE_CHECKING:
    from nexthos_cli.execution_logs import LocalLog
    from nexthos_shared.models import ExecutionReport


@verb("logs")
@click.argument("id", shell_complete=complete_ids)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines.")
@output("table", "json", "yaml")
def logs(app: App, id: str, follow: bool, tail: int | None) -> None:
    """Print the engine's lines of pipeline ID, of executions that run as processes on this machine.

    Which executions there are is read from the status; where one runs elsewhere, it is told where.
    """
    if follow and app.structured:
        raise click.UsageError(f"-f goes on for ever, and -o {app.format} is one document")
    app.run(_logs(app, id.removeprefix("pipeline/"), follow, tail))


async def _logs(app: App, key: str, follow: bool, tail: int | None) -> None:
    executions, installation = await _executions(app, key)
    from nexthos_cli import execution_logs
    from nexthos_cli.output import ExecutionLog, LogsOutput
    from nexthos_cli.render import structured
    from nexthos_shared.errors import NotFound

    found, elsewhere = execution_logs.find_logs(executions, os.environ, app.namespace, installation)
    for words in elsewhere:
        app.note(words)
    if not found:
        raise NotFound(f"pipeline {key}: no log of it is on this machine")
    read = {log.execution: log.lines(tail) for log in found}
    model = LogsOutput(
        id=key,
        executions=[
            ExecutionLog(execution=log.execution, path=str(log.path), lines=read[log.execution][0])
            for log in found
        ],
    )
    if structured(app, model):
        return
    _print(found, {name: lines for name, (lines, _) in read.items()})
    if follow:
        ends = {name: end for name, (_, end) in read.items()}
        await execution_logs.follow(found, ends, key, _line(found))
        app.note(f"the executions are gone: see nexthos status {key}")


async def _executions(app: App, key: str) -> tuple[list[ExecutionReport], str]:
    async with app.store() as store:
        from nexthos_cli.lines import read_status
        from nexthos_cli.selection import check_key
        from nexthos_shared.errors import NotFound
        from nexthos_shared.names import INSTALLATION_KEY

        status = read_status(await store.statuses.get(check_key(key, write=False)))
        entry = await store.pipelines.get(key)
        kept = await store.control.get(INSTALLATION_KEY)
    if status is None and (entry is None or entry.value is None):
        raise NotFound(f"no pipeline {key!r} is stored")
    if status is None or not status.executions:
        phase = f"it is {status.phase}" if status else "it was not looked at yet"
        raise NotFound(f"pipeline {key}: nothing of it runs or is kept: {phase}")
    return status.executions, (kept.value or b"").decode() if kept else ""


def _print(found: list[LocalLog], lines: dict[str, list[str]]) -> None:
    say = _line(found)
    for log in found:
        for text in lines[log.execution]:
            say(log.execution, text)


def _line(found: list[LocalLog]) -> Callable[[str, str], None]:
    several = len(found) > 1

    def say(execution: str, text: str) -> None:
        click.echo(f"[{execution}] {text}" if several else text)

    return say
