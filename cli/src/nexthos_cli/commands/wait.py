"""`nexthos wait`: until it is so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nexthos_cli.app import App
from nexthos_cli.command.options import output, selection, verb

if TYPE_CHECKING:
    from nexthos_cli.output.models import Goal
    from nexthos_cli.pipelines.selection import Selection
    from nexthos_cli.wait.wait import Target
    from nexthos_shared.store import Store

GOALS = ("ready", "paused", "draft", "completed", "deleted")


@verb("wait")
@selection
@click.option(
    "--for",
    "goal",
    type=click.Choice(GOALS),
    default="ready",
    show_default=True,
    help="What to wait for.",
)
@output("table", "json", "yaml")
def wait(
    app: App,
    ids: tuple[str, ...],
    labels: tuple[str, ...],
    everything: bool,
    yes: bool,
    goal: Goal,
) -> None:
    """Wait until pipelines are ready, paused, draft, completed or deleted (--timeout, 60s).

    It is the state that is judged, for the definition that is stored now. Exit code 1 as soon as it
    can't come true, 4 if it is not there in time.
    """
    from nexthos_cli.pipelines.selection import Selection

    app.run(_wait(app, Selection(ids, labels, everything, yes=True).checked(), goal))


async def _wait(app: App, selection: Selection, goal: Goal) -> None:
    async with app.store() as store:
        from nexthos_cli.output.models import WaitedFor, WaitOutput
        from nexthos_cli.output.render import structured
        from nexthos_cli.wait.progress import conclude, wait_and_show

        waiting = await wait_and_show(app, store, await _targets(store, selection, goal))
    found = [
        WaitedFor(id=key, **waited.model_dump()) for key, waited in sorted(waiting.results.items())
    ]
    structured(app, WaitOutput(pipelines=found))
    conclude(app, waiting)


async def _targets(store: Store, selection: Selection, goal: Goal) -> dict[str, Target]:
    from nexthos_cli.pipelines.selection import check_key, chosen
    from nexthos_cli.wait.wait import Target
    from nexthos_shared.model import read_entry

    if goal == "deleted":
        named = [check_key(key, write=False) for key in selection.ids]
        keys = named or await chosen(store, selection, verb="wait", write=False)
        return {key: Target("deleted") for key in keys}
    targets = {}
    for key in await chosen(store, selection, verb="wait", write=True):
        stored = await store.pipelines.get(key)
        entry = read_entry(key, stored.revision, stored.value) if stored else None
        version = entry.pipeline.version if entry and entry.pipeline else None
        targets[key] = Target(goal, stored.revision if stored else 0, version)
    return targets
