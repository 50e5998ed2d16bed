"""`nexthos setup`: create the buckets and the stream of events, and put their settings right."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from nexthos_cli.context import App
from nexthos_cli.options import output, verb

if TYPE_CHECKING:
    from nexthos_shared.errors import NexthosError
    from nexthos_shared.stores import Store


def installation_id(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Raises BadParameter for what is no id of an installation."""
    if value is not None and not re.fullmatch(r"[0-9a-f]{12}", value):
        raise click.BadParameter("12 hex digits, as `nexthos status` names it")
    return value


@verb("setup")
@click.option(
    "--replicas",
    type=click.IntRange(1, 5),
    default=1,
    show_default=True,
    help="Copies of each in a NATS cluster: 1, 3 or 5.",
)
@click.option(
    "--installation",
    metavar="ID",
    callback=installation_id,
    help="Make this store, which must be empty, that of executions that a lost one left running.",
)
@output("table", "json", "yaml")
def setup(app: App, replicas: int, installation: str | None) -> None:
    """Create what is missing of the namespace: four buckets, and the stream of events.

    What exists keeps what it holds, its replicas and limits; settings that nexthos rests on (see
    `nexthos doctor`) are put right, and told. A controller creates the same where no bucket exists, with
    one replica, and changes nothing.
    """
    app.run(_setup(app, replicas, installation))


async def _setup(app: App, replicas: int, installation: str | None) -> None:
    from nexthos_cli.diagnosis import has_events
    from nexthos_cli.output import SetupOutput
    from nexthos_cli.render import structured

    names = app.names
    async with app.link() as link:
        from nexthos_shared.stores import Store

        store = Store.of(link, names)
        had_events = await has_events(store)
        created = await store.setup(replicas, installation)
        took = installation is not None and await store.take_over(installation)
        changed, refused = await _mend(store)
    if not had_events:
        created = [*created, names.events]
    buckets = (names.pipelines, names.configs, names.status, names.control)
    existing = [name for name in (*buckets, names.events) if name not in created]
    if not structured(app, SetupOutput(created=created, existing=existing, changed=changed)):
        for name in (*buckets, names.events):
            kind = "stream" if name == names.events else "bucket"
            app.say(f"{kind}/{name} {'created' if name in created else 'exists'}")
        for stream, words in changed.items():
            app.say(f"stream/{stream} changed: {'; '.join(words)}")
        if took:
            app.say(f"installation/{installation} taken over: what it runs is ours")
        if set(created) & set(buckets) and set(existing) & set(buckets):
            app.note("a bucket was made beside others: look at `nexthos ls` before going on")
    if refused is not None:
        raise refused


async def _mend(store: Store) -> tuple[dict[str, list[str]], NexthosError | None]:
    """Put settings right, of each stream that can be; what was, and the first error."""
    from nexthos_shared.errors import NexthosError, StoreMissing

    changed: dict[str, list[str]] = {}
    refused: NexthosError | None = None
    for stream in store.streams():
        try:
            done = await store.mend(stream)
        except StoreMissing:
            continue  # the stream of events, for which there is no room
        except NexthosError as error:
            refused = refused or error
            continue
        if done:
            changed[stream] = [difference.change for difference in done]
    return changed, refused
