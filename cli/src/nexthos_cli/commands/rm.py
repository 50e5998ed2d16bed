"""`nexthos rm`: delete pipelines."""

from __future__ import annotations

import click

from nexthos_cli.context import App
from nexthos_cli.options import output, selection, verb, waiting


@verb("rm")
@selection
@click.option("--keep-configs", is_flag=True, help="Leave the stored configurations.")
@waiting
@output("table", "name", "json", "yaml")
def rm(
    app: App,
    ids: tuple[str, ...],
    labels: tuple[str, ...],
    everything: bool,
    yes: bool,
    keep_configs: bool,
    wait: bool,
) -> None:
    """Delete pipelines: the controller removes what runs, then the status.

    The stored configurations go too, after the definition. Deleting a pipeline whose definition is gone
    already removes executions that were left alone (`Orphaned`).
    """
    from nexthos_cli.acting import remove
    from nexthos_cli.selection import Selection

    chosen = Selection(ids, labels, everything, yes).checked()
    app.run(remove(app, chosen, keep_configs=keep_configs, wait=wait))
