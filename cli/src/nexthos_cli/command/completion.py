"""Completion of pipeline ids, places, reasons and schemas. Whatever goes wrong, the shell gets nothing."""

from __future__ import annotations

import asyncio
import contextlib
import re

import click
from click.shell_completion import CompletionItem

from nexthos_cli.app import App
from nexthos_shared.names import is_id
from nexthos_shared.process.lightly import import_lightly

ANSWER_WITHIN = 3.0  # seconds for the store: a person waits for the TAB
# A shell puts a completed word on the command line as it is: also `$(...)`, had somebody stored that.
_PLACE = re.compile(r"[-A-Za-z0-9_.:]+")


def complete_ids(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of stored pipelines that begin like that and are not named yet."""
    named = set(ctx.params.get("ids") or ())
    with contextlib.suppress(Exception):
        import_lightly()
        found = asyncio.run(_ids(ctx.ensure_object(App)))
        fitting = (i for i in found if is_id(i) and i.startswith(incomplete) and i not in named)
        return [CompletionItem(i) for i in fitting]
    return []


def complete_places(
    ctx: click.Context, _: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Places that statuses speak of."""
    with contextlib.suppress(Exception):
        import_lightly()
        found = asyncio.run(_places(ctx.ensure_object(App)))
        fitting = (p for p in found if _PLACE.fullmatch(p) and p.startswith(incomplete))
        return [CompletionItem(place) for place in fitting]
    return []


async def _places(app: App) -> list[str]:
    app.quiet = True
    async with asyncio.timeout(ANSWER_WITHIN), app.store() as store:
        from nexthos_cli.pipelines.places import residents

        return list(residents(await store.statuses.snapshot()))


async def _ids(app: App) -> list[str]:
    app.quiet = True
    async with asyncio.timeout(ANSWER_WITHIN), app.store() as store:
        return sorted(e.key for e in await store.pipelines.snapshot() if e.value is not None)


def complete_reasons(
    _: click.Context, __: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Reasons, in any case."""
    from nexthos_shared.reasons import EXPLANATIONS

    begun = incomplete.lower()
    return [
        CompletionItem(str(reason), help=row.meaning)
        for reason, row in EXPLANATIONS.items()
        if reason.lower().startswith(begun)
    ]
