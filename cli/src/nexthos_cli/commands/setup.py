"""`nexthos setup`: create the buckets."""

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
    help="Copies of each bucket in a NATS cluster: 1, 3 or 5.",
)
@output("table", "json", "yaml")
def setup(app: App, replicas: int) -> None:
    """Create the buckets of the namespace that are missing; what exists stays as it is.

    A controller does the same where none of them exists, with one replica.
    """
    app.run(_setup(app, replicas))


async def _setup(app: App, replicas: int) -> None:
    from nexthos_cli.output import SetupOutput
    from nexthos_cli.render import structured

    async with app.link() as link:
        from nexthos_shared.stores import Store

        created = await Store.of(link, app.names).setup(replicas)
    names = app.names
    buckets = (names.pipelines, names.configs, names.status, names.control)
    existing = [name for name in buckets if name not in created]
    if structured(app, SetupOutput(created=created, existing=existing)):
        return
    for name in buckets:
        app.say(f"bucket/{name} {'created' if name in created else 'exists'}")
    if created and existing:
        app.note("a bucket was made beside others: look at `nexthos ls` before going on")
