"""`nexthos publish` (alias `resume`): let pipelines run."""

from __future__ import annotations

import click

from nexthos_cli.app import App
from nexthos_cli.command.options import output, selection, verb, waiting


@verb("publish")
@selection
@click.option("--version", metavar="VERSION", help="Run this stored version from now on.")
@waiting
@output("table", "name", "json", "yaml")
def publish(
    app: App,
    ids: tuple[str, ...],
    labels: tuple[str, ...],
    everything: bool,
    yes: bool,
    version: str | None,
    wait: bool,
) -> None:
    """Run pipelines as they are stored; with --version, at that version.

    A paused execution is resumed where its executor kept it. Everything else of the entry stays as it is.
    """
    from nexthos_cli.pipelines.act import Deed, act
    from nexthos_cli.pipelines.entry import set_status
    from nexthos_cli.pipelines.selection import Selection
    from nexthos_shared.model import Wanted

    deed = Deed("publish", "published", set_status(Wanted.PUBLISHED, version), wait=wait)
    app.run(act(app, Selection(ids, labels, everything, yes).checked(), deed))
