"""`nexthos history`: what was stored of a pipeline before."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING

import click

from nexthos_cli.app import App
from nexthos_cli.command.completion import complete_ids
from nexthos_cli.command.options import output, verb

if TYPE_CHECKING:
    from nexthos_cli.output.models import HistoryOutput, RevisionOutput
    from nexthos_cli.pipelines.history import Revision

HEADER = ("REVISION", "AGE", "STATUS", "VERSION", "CHANGED")
WIDE = ("REVISION", "TIME", "STATUS", "VERSION", "CHANGED")


@verb("history")
@click.argument("id", shell_complete=complete_ids)
@output("table", "wide", "json", "yaml")
def history(app: App, id: str) -> None:
    """List what was stored of pipeline ID: the last 64 revisions at most, the present one last.

    CHANGED names the fields that differ from the revision before; -o wide tells the values too. `nexthos
    rollback ID --revision N` puts the definition of one of them again.
    """
    app.run(_history(app, id.removeprefix("pipeline/")))


async def _history(app: App, key: str) -> None:
    async with app.store() as store:
        from nexthos_cli.output.models import HistoryOutput
        from nexthos_cli.output.render import structured
        from nexthos_cli.pipelines.history import kept
        from nexthos_cli.pipelines.selection import check_key

        revisions = await kept(store, check_key(key, write=False))
    model = HistoryOutput(id=key, revisions=[_model(revision) for revision in revisions])
    if not structured(app, model):
        _show(app, model)


def _model(revision: Revision) -> RevisionOutput:
    from nexthos_cli.output.models import RevisionOutput

    entry, pipeline = revision.entry, revision.pipeline
    return RevisionOutput(
        revision=entry.revision,
        created=revision.created,
        deleted=entry.deleted,
        status=str(entry.wanted) if entry.wanted else None,
        version=pipeline.version if pipeline else None,
        first=revision.first,
        changes=list(revision.changes),
        problem=entry.problem.message if entry.problem else None,
    )


def _show(app: App, model: HistoryOutput) -> None:
    from nexthos_cli.output.render import table

    wide, now = app.format == "wide", time.time()
    table(WIDE if wide else HEADER, [_row(one, wide, now) for one in model.revisions])


def _row(one: RevisionOutput, wide: bool, now: float) -> list[str]:
    from nexthos_cli.output.render import age

    when = datetime.fromtimestamp(one.created).astimezone()
    shown = when.isoformat(sep=" ", timespec="seconds") if wide else age(max(now - one.created, 0))
    status = "deleted" if one.deleted else one.status or "?"
    return [str(one.revision), shown, status, one.version or "-", _changed(one, wide)]


def _changed(one: RevisionOutput, wide: bool) -> str:
    from nexthos_shared.plan.differences import described

    if one.problem:
        return f"not understood: {' '.join(one.problem.split())}"
    if one.deleted:
        return ""
    if one.first:
        return "first that is kept"
    said = [described(d) if wide else d.field for d in one.changes]
    return ", ".join(said) or "nothing"
