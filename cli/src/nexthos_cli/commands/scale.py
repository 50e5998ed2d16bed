"""`nexthos scale`: run more or fewer replicas."""

from __future__ import annotations

import click

from nexthos_cli.app import App
from nexthos_cli.command.options import output, selection, verb, waiting

MOST = 100  # as the definition allows


@verb("scale")
@selection
@click.option(
    "--replicas",
    type=click.IntRange(0, MOST),
    required=True,
    metavar="N",
    help="How many are to run, 1 to 100.",
)
@waiting
@output("table", "name", "json", "yaml")
def scale(
    app: App,
    ids: tuple[str, ...],
    labels: tuple[str, ...],
    everything: bool,
    yes: bool,
    replicas: int,
    wait: bool,
) -> None:
    """Run N replicas of pipelines. Those that run already are not restarted.

    A job has one replica. A later `apply` of a file that says otherwise undoes it, and says so. What its
    configuration can't share among replicas is told with the line and what to write.
    """
    from nexthos_cli.pipelines.act import Deed, act
    from nexthos_cli.pipelines.entry import set_replicas
    from nexthos_cli.pipelines.selection import Selection

    if replicas == 0:
        raise click.UsageError("0 replicas is what `nexthos pause` is for")
    detail = f"to {replicas} replica{'s' if replicas > 1 else ''}"
    deed = Deed("scale", "scaled", set_replicas(replicas), detail, wait, replicas)
    app.run(act(app, Selection(ids, labels, everything, yes).checked(), deed))
