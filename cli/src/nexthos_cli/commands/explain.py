"""`nexthos explain`: what a reason means and what to do."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import click

from nexthos_cli.app import App
from nexthos_cli.command.completion import complete_reasons
from nexthos_cli.command.options import output, verb
from nexthos_cli.output.printing import echo

if TYPE_CHECKING:
    from nexthos_shared.reasons import Reason


@verb("explain")
@click.argument("reason", required=False, shell_complete=complete_reasons)
@output("table", "json", "yaml")
def explain(app: App, reason: str | None) -> None:
    """Tell what REASON means and what to do; without REASON, list them all."""
    from nexthos_cli.output.models import ExplainedReason, ExplainOutput
    from nexthos_cli.output.render import structured, table
    from nexthos_shared.reasons import EXPLANATIONS

    asked_for = list(EXPLANATIONS) if reason is None else [_reason(reason)]
    rows = [
        ExplainedReason(reason=r, meaning=EXPLANATIONS[r].meaning, remedy=EXPLANATIONS[r].remedy)
        for r in asked_for
    ]
    if structured(app, ExplainOutput(reasons=rows)):
        return
    if reason is None:
        table(("REASON", "MEANING"), [[str(row.reason), row.meaning] for row in rows])
    else:
        echo(f"{rows[0].reason}: {rows[0].meaning}")
        echo(f"What to do: {rows[0].remedy}")


def _reason(text: str) -> Reason:
    from nexthos_shared.errors import NotFound
    from nexthos_shared.reasons import Reason

    by_name = {str(r).lower(): r for r in Reason}
    if found := by_name.get(text.lower()):
        return found
    close = difflib.get_close_matches(text.lower(), by_name, n=1)
    hint = f"; did you mean {by_name[close[0]]}?" if close else ""
    raise NotFound(f"no reason {text!r}{hint} (`nexthos explain` lists them)")
