"""`nexthos setup`: create the buckets, and the stream of events."""

from __future__ import annotations

import click

from nexthos_cli.context import App
from nexthos_cli.options import output, verb


@verb("setup")
@click.option(
    "--replicas",
    type=click.IntRange(1, 5),
    default=1,
    show_default=True,
    help="Copies of each in a NATS cluster: 1, 3 or 5.",
)
@output("table", "json", "yaml")
def setup(app: App, replicas: int) -> None:
    """Create what is missing of the namespace: four buckets, and the stream of events.

    What exists stays as it is. A controller does the same where no bucket exists, with one replica.
    """
    app.run(_setup(app, replicas))


async def _setup(app: App, replicas: int) -> None:
    from nexthos_cli.diagnosis import has_events
    from nexthos_cli.output import SetupOutput
    from nexthos_cli.render import structured

    names = app.names
    async with app.link() as link:
        from nexthos_shared.stores import Store

        store = Store.of(link, names)
        had_events = await has_events(store)
        created = await store.setup(replicas)
    if not had_events:
        created = [*created, names.events]
    buckets = (names.pipelines, names.configs, names.status, names.control)
    existing = [name for name in (*buckets, names.events) if name not in created]
    if structured(app, SetupOutput(created=created, existing=existing)):
        return
    for name in (*buckets, names.events):
        kind = "stream" if name == names.events else "bucket"
        app.say(f"{kind}/{name} {'created' if name in created else 'exists'}")
    if set(created) & set(buckets) and set(existing) & set(buckets):
        app.note("a bucket was made beside others: look at `nexthos ls` before going on")
