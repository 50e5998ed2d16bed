"""`nexthos reconcile`: have the controller look again now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nexthos_cli.app import App
from nexthos_cli.command.completion import complete_ids
from nexthos_cli.command.options import output, verb

if TYPE_CHECKING:
    from nexthos_shared.model import ReconcileReply

MARGIN = 2.0  # seconds beyond the controller's own waiting


@verb("reconcile")
@click.argument("id", required=False, shell_complete=complete_ids)
@output("table", "json", "yaml")
def reconcile(app: App, id: str | None) -> None:
    """Have the controller look at pipeline ID again, or at all, and wait for what comes of it.

    Exit code 4 if something is still on its way after --timeout (4s).
    """
    app.run(_reconcile(app, id.removeprefix("pipeline/") if id else None))


async def _reconcile(app: App, id: str | None) -> None:
    async with app.link() as link:
        from nexthos_cli.output.render import structured
        from nexthos_cli.pipelines.selection import check_key
        from nexthos_cli.remote.request import ask
        from nexthos_shared.model import (
            DEFAULT_TIMEOUT,
            LONGEST_TIMEOUT,
            ReconcileReply,
            ReconcileRequest,
        )

        timeout = DEFAULT_TIMEOUT if app.timeout is None else app.timeout
        key, left = check_key(id, write=False) if id else None, timeout
        while True:  # the controller waits for some minutes at once
            within = min(left, LONGEST_TIMEOUT)
            request = ReconcileRequest(id=key, timeout=within)
            patience = within + MARGIN
            reply = await ask(link, app.names, "reconcile", request, ReconcileReply, patience)
            left -= within
            if not reply.unsettled or left <= 0:
                break
    if not structured(app, reply):
        _show(app, reply)
    _judge(reply, timeout)


def _show(app: App, reply: ReconcileReply) -> None:
    for outcome in reply.outcomes:
        state = "settled" if outcome.settled else "on its way"
        why = f" ({outcome.reason}: {outcome.message})" if outcome.reason else ""
        app.say(f"pipeline/{outcome.id} {state}: {outcome.phase or 'gone'}{why}")
    if not reply.outcomes:
        app.note("no pipelines")


def _judge(reply: ReconcileReply, timeout: float) -> None:
    from nexthos_cli.errors import NotInTime
    from nexthos_shared.reasons import Problem, Reason

    if reply.unsettled:
        late = [o.id for o in reply.outcomes if not o.settled]
        words = f"{reply.unsettled} not settled within {timeout:g}s: {', '.join(late[:10])}"
        raise NotInTime([Problem(Reason.TIMED_OUT, words)])
