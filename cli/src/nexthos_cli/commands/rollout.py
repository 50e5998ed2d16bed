"""`nexthos rollout`: renew executions that were started with older settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from nexthos_cli.app import App
from nexthos_cli.command.options import output, selection, verb
from nexthos_cli.output.printing import confirm

if TYPE_CHECKING:
    from nexthos_cli.pipelines.rollout import Rollout
    from nexthos_cli.pipelines.selection import Selection
    from nexthos_shared.store import Store


@verb("rollout")
@selection
@click.option(
    "--max-parallel",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="How many at a time.",
)
@click.option(
    "--max-failures",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Go on while no more than N failed.",
)
@click.option("--dry-run", is_flag=True, help="Tell what is outdated and why, and do nothing.")
@output("table", "json", "yaml", "name")
def rollout(
    app: App,
    ids: tuple[str, ...],
    labels: tuple[str, ...],
    everything: bool,
    yes: bool,
    max_parallel: int,
    max_failures: int,
    dry_run: bool,
) -> None:
    """Renew what was started with older settings of the controller (`Outdated`), one after the other.

    Without ID and -l it means all of them, and asks first. Each is restarted and waited for (--timeout,
    60s each) until it is ready. More failures than --max-failures end it with exit code 1; what was not
    begun runs on as it is.
    """
    from nexthos_cli.pipelines.selection import Selection

    meant = Selection(ids, labels, everything or not (ids or labels), yes).checked()
    app.run(_rollout(app, meant, (max_parallel, max_failures), dry_run))


async def _rollout(app: App, selection: Selection, pace: tuple[int, int], dry_run: bool) -> None:
    async with app.store() as store:
        from nexthos_cli.output.models import Renewed, RolloutOutput
        from nexthos_cli.output.render import structured
        from nexthos_cli.pipelines.rollout import Rollout
        from nexthos_shared.errors import Refused

        found = await _outdated(app, store, selection)
        under_way = Rollout(app, store, *pace)
        if dry_run:
            for key, why in found.items():
                app.say(f"pipeline/{key} would be renewed: {why} (dry run)")
            renewed = [Renewed(id=k, result="skipped", message=w) for k, w in found.items()]
        else:
            await _run(app, under_way, found, ask=selection.everything and not selection.yes)
            renewed = [under_way.results[key] for key in found]
    structured(app, RolloutOutput(dry_run=dry_run, pipelines=renewed))
    if under_way.gave_up:
        raise Refused(under_way.problems())


async def _outdated(app: App, store: Store, selection: Selection) -> dict[str, str]:
    from nexthos_cli.pipelines.rollout import outdated
    from nexthos_cli.pipelines.selection import chosen

    keys = await chosen(store, replace(selection, yes=True), verb="renew", write=True)
    found = outdated(await store.statuses.snapshot())
    for key in selection.ids and keys:
        if key not in found:
            app.note(f"pipeline/{key}: nothing of it is outdated")
    if not selection.ids and not found.keys() & set(keys):
        app.note("nothing is outdated")
    return {key: found[key] for key in keys if key in found}


async def _run(app: App, under_way: Rollout, found: Mapping[str, str], *, ask: bool) -> None:
    if ask and found:
        shown = ", ".join(list(found)[:10])
        more = f" and {len(found) - 10} more" if len(found) > 10 else ""
        pace = f"{under_way.max_parallel} at a time"
        confirm(f"renew {len(found)} pipelines ({shown}{more}), {pace}?")
    await under_way.run(found)
