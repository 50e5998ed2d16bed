"""`nexthos rollback`: put an earlier definition again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nexthos_cli.app import App
from nexthos_cli.command.completion import complete_ids
from nexthos_cli.command.options import output, verb, waiting

if TYPE_CHECKING:
    from nexthos_cli.output.models import RollbackOutput, Waited
    from nexthos_cli.pipelines.history import WayBack
    from nexthos_shared.store import Store


@verb("rollback")
@click.argument("id", shell_complete=complete_ids)
@click.option(
    "--revision", type=click.IntRange(min=1), metavar="N", help="Go back to this revision."
)
@click.option(
    "--version", metavar="VERSION", help="Go back to the last revision with this version."
)
@click.option("--dry-run", is_flag=True, help="Print what would be done, and write nothing.")
@waiting
@output("table", "json", "yaml")
def rollback(
    app: App, id: str, revision: int | None, version: str | None, dry_run: bool, wait: bool
) -> None:
    """Store an earlier definition of pipeline ID again, whole, as a new revision.

    Without --revision and --version, this is the latest one that would run something else than the
    present one; replicas and restarts don't count. It need not be the last one that became ready, to
    which the controller itself rolls back: the answer names that one too (`last_good` with -o json).
    `nexthos history ID` lists all revisions. `status` stays as it is (a paused pipeline stays paused),
    and `restart_nonce` never goes back. It is refused if the configuration of that revision is gone or
    has changed.
    """
    if revision is not None and version is not None:
        raise click.UsageError("name a --revision or a --version, not both")
    if dry_run and wait:
        raise click.UsageError("--dry-run does nothing that could be waited for")
    app.run(_rollback(app, id.removeprefix("pipeline/"), revision, version, dry_run, wait))


async def _rollback(
    app: App, key: str, revision: int | None, version: str | None, dry_run: bool, wait: bool
) -> None:
    async with app.store() as store:
        from nexthos_cli.output.render import structured
        from nexthos_cli.pipelines.history import check_config, kept, way_back
        from nexthos_cli.wait.progress import conclude, wait_and_show
        from nexthos_cli.wait.wait import GOAL_OF, Target
        from nexthos_shared.model.entries import read_status
        from nexthos_shared.names import check_id

        revisions = await kept(store, check_id(key))
        way = way_back(key, revisions, revision, version)
        status = read_status(await store.statuses.get(key))
        last_good = status.good_revision if status else 0
        await check_config(store, key, way.back_to, status)
        written = 0 if dry_run else await _write(store, key, way)
        _tell(app, key, way, written, last_good)
        waiting = None
        if wait:
            targets = {key: Target(GOAL_OF[way.status], written, way.version)}
            waiting = await wait_and_show(app, store, targets)
    waited = waiting.results[key] if waiting else None
    structured(app, _model(key, way, written, last_good, waited))
    if waiting:
        conclude(app, waiting)


async def _write(store: Store, key: str, way: WayBack) -> int:
    """By compare-and-set, once: whoever chose a revision chose it against what was stored then."""
    from nexthos_shared.errors import StoreConflict

    try:
        return await store.pipelines.update(key, way.value, way.present.number)
    except StoreConflict as error:
        words = (
            f"pipeline {key!r}: somebody wrote it just now; look at `nexthos history {key}` again"
        )
        raise StoreConflict(words) from error


def _tell(app: App, key: str, way: WayBack, written: int, last_good: int) -> None:
    from nexthos_shared.plan.differences import described

    back_to = f"revision {way.back_to.number} (version {way.version or '-'})"
    changes = ", ".join(described(d) for d in way.changes)
    if written:
        app.say(f"pipeline/{key} rolled back to {back_to} as revision {written}")
    else:
        app.say(f"pipeline/{key} would be rolled back to {back_to} (dry run)")
    if changes:
        app.note(f"changed: {changes}")
    if last_good not in (0, way.back_to.number, way.present.number):
        other = f"`nexthos rollback {key} --revision {last_good}` goes back to that one"
        app.note(f"the last definition that became ready is revision {last_good}: {other}")
    if way.status != "published":
        app.note(f"its status stays {way.status}: `nexthos publish {key}` runs it")


def _model(
    key: str, way: WayBack, written: int, last_good: int, waited: Waited | None
) -> RollbackOutput:
    from nexthos_cli.output.models import RollbackOutput

    return RollbackOutput(
        id=key,
        dry_run=not written,
        back_to=way.back_to.number,
        before=way.present.number,
        revision=written,
        last_good=last_good,
        version=way.version,
        status=str(way.status),
        changes=list(way.changes),
        waited=waited,
    )
