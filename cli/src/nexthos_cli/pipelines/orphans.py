"""What runs although its definition is gone, and nobody deleted it: found, and removed on request.

Nothing is removed without a marker (the key's last entry is the only proof of a deletion), so
it is a marker that is written, and only where the key still holds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from nexthos_cli.app import App
from nexthos_cli.apply.write import in_parallel
from nexthos_cli.output.models import Acted
from nexthos_cli.output.printing import confirm
from nexthos_cli.pipelines.act import Done, finish
from nexthos_cli.wait.wait import Target
from nexthos_shared.errors import NexthosError, StoreConflict
from nexthos_shared.model import ConditionType, PipelineStatus
from nexthos_shared.model.entries import read_status

if TYPE_CHECKING:
    from nexthos_shared.store import KvEntry, Store


def orphaned(statuses: Iterable[KvEntry]) -> dict[str, PipelineStatus]:
    """The keys of which executions are left without a definition, sorted, with what is known of them."""
    found = {}
    for stored in sorted(statuses, key=lambda s: s.key):
        status = read_status(stored)
        condition = status.condition(ConditionType.ORPHANED) if status else None
        if status is not None and condition is not None and condition.status == "True":
            found[stored.key] = status
    return found


async def remove_orphans(app: App, *, yes: bool, wait: bool) -> None:
    """Ask, then mark each as deleted. Raises Refused, NotInTime, Abort."""
    async with app.store() as store:
        found = orphaned(await store.statuses.snapshot())
        done = Done()

        async def one(key: str) -> None:
            try:
                await _mark(store, key)
            except StoreConflict as error:
                app.note(f"left alone: {error}")
            except NexthosError as error:
                done.problems.append(error.problem)
            else:
                done.acted.append(Acted(id=key, action="deleted"))
                done.targets[key] = Target("deleted")

        if found:
            _ask(app, found, yes=yes)
        else:
            app.note("nothing is orphaned")
        await in_parallel(one, list(found))
        await finish(app, store, done, wait=wait)


def _ask(app: App, found: dict[str, PipelineStatus], *, yes: bool) -> None:
    for key, status in found.items():
        places = ", ".join(sorted({e.place for e in status.executions})) or "an unknown place"
        count = max(status.executions_total, len(status.executions))
        app.note(
            f"pipeline/{key}: version {status.version or '-'}, {count} execution(s) at {places}"
        )
    if not yes:
        words = f"remove what is left of {len(found)} pipelines without a definition?"
        confirm(words)


async def _mark(store: Store, key: str) -> None:
    """Write a delete marker where nothing is stored, by compare-and-set on that. Raises StoreConflict."""
    stored = await store.pipelines.get(key)
    if stored is not None and stored.value is not None:
        words = f"a definition of it is stored again (revision {stored.revision})"
        raise StoreConflict(f"pipeline {key!r}: {words}")
    await store.pipelines.delete(key, stored.revision if stored else 0)
