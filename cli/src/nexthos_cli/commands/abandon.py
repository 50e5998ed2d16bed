"""`nexthos abandon`: say that a place is gone for good."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from nexthos_cli.app import App
from nexthos_cli.command.completion import complete_places
from nexthos_cli.command.options import output, verb
from nexthos_cli.output.printing import confirm

if TYPE_CHECKING:
    from nexthos_cli.pipelines.places import Resident

SHOWN = 20  # pipelines that are listed one by one


@verb("abandon")
@click.argument("place", shell_complete=complete_places)
@click.option("--undo", is_flag=True, help="Undo: treat the place as alive again.")
@click.option("--force", is_flag=True, help="Also a place that no status speaks of.")
@click.option("-y", "--yes", is_flag=True, help="Don't ask for confirmation.")
@output("table", "json", "yaml")
def abandon(app: App, place: str, undo: bool, force: bool, yes: bool) -> None:
    """Declare a place (a machine, a Docker daemon) gone for good, with all that lived there.

    What lives at a place that does not answer is unknown, so nothing of it is started elsewhere: that
    could be a second one. Whoever knows that the place never comes back says so with this. `nexthos
    status ID` and `nexthos ls -o wide` name places; `nexthos doctor` those that do not answer.
    """
    app.run(_undo(app, place) if undo else _abandon(app, place, force=force, yes=yes))


async def _abandon(app: App, place: str, *, force: bool, yes: bool) -> None:
    async with app.store() as store:
        from nexthos_cli.pipelines.places import declaration, read_abandoned, residents
        from nexthos_shared.model.control import abandoned_key

        stored = await store.control.get(abandoned_key(place))
        by_place = residents(await store.statuses.snapshot())
        there = by_place.get(place, [])
        if read_abandoned(stored):
            _tell(app, place, "unchanged", there)
            return
        if place not in by_place and not force:
            raise _unknown(place, list(by_place))
        _warn(app, place, there)
        if not yes:
            confirm(f"declare place {place} gone for good?")
        revision = stored.revision if stored else 0
        await store.control.update(abandoned_key(place), declaration(), revision)
    _tell(app, place, "abandoned", there)


async def _undo(app: App, place: str) -> None:
    async with app.store() as store:
        from nexthos_cli.pipelines.places import read_abandoned, residents
        from nexthos_shared.errors import NotFound
        from nexthos_shared.model.control import abandoned_key

        found = read_abandoned(await store.control.get(abandoned_key(place)))
        if found is None:
            raise NotFound(f"place {place!r} is not declared gone: there is nothing to undo")
        await store.control.delete(abandoned_key(place), found.revision)
        there = residents(await store.statuses.snapshot()).get(place, [])
    _tell(app, place, "undone", there)


def _unknown(place: str, known: Sequence[str]) -> Exception:
    from nexthos_shared.errors import NotFound

    shown = f"; they speak of {', '.join(known[:10])}" if known else ""
    return NotFound(f"no status speaks of place {place!r}{shown} (--force declares it gone anyway)")


def _warn(app: App, place: str, there: Sequence[Resident]) -> None:
    app.note(f"place {place}: {len(there)} pipelines have executions there, as far as is known")
    for one in there[:SHOWN]:
        app.note(f"  {one.id} ({one.phase}) {', '.join(one.executions) or 'perhaps'}")
    if len(there) > SHOWN:
        app.note(f"  and {len(there) - SHOWN} more")
    heard = [one.id for one in there if not one.silent]
    if heard:
        shown = ", ".join(heard[:5]) + (" ..." if len(heard) > 5 else "")
        app.note(f"warning: as of the last reports it answers (pipelines {shown})")
    app.note("warning: they may be started elsewhere then; if it is not gone, two of each may run")


def _tell(app: App, place: str, action: str, there: Sequence[Resident]) -> None:
    from nexthos_cli.output.models import AbandonOutput
    from nexthos_cli.output.render import structured

    ids = [one.id for one in there]
    model = AbandonOutput.model_validate({"place": place, "action": action, "pipelines": ids})
    if not structured(app, model):
        app.say(f"place/{place} {action}")
    if action == "abandoned":
        app.note(f"look further: nexthos ls; nexthos abandon {place} --undo, should it come back")
