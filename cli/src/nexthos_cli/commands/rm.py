"""`nexthos rm`: delete pipelines."""

from __future__ import annotations

import click

from nexthos_cli.app import App
from nexthos_cli.command.options import output, selection, verb, waiting


@verb("rm")
@selection
@click.option("--keep-configs", is_flag=True, help="Leave the stored configurations.")
@click.option("--orphans", is_flag=True, help="All that runs without a definition; asks first.")
@waiting
@output("table", "name", "json", "yaml")
def rm(
    app: App,
    ids: tuple[str, ...],
    labels: tuple[str, ...],
    everything: bool,
    yes: bool,
    keep_configs: bool,
    orphans: bool,
    wait: bool,
) -> None:
    """Delete pipelines: the controller removes what runs, then the status.

    The stored configurations go too, after the definition. With --orphans: what is left of pipelines
    whose definition is gone without having been deleted (`Orphaned`), for example because its bucket
    was lost; a definition that came back meanwhile is left alone, and configurations stay.
    """
    from nexthos_cli.pipelines.act import remove
    from nexthos_cli.pipelines.orphans import remove_orphans
    from nexthos_cli.pipelines.selection import Selection

    if not orphans:
        chosen = Selection(ids, labels, everything, yes).checked()
        app.run(remove(app, chosen, keep_configs=keep_configs, wait=wait))
        return
    if ids or labels or everything:
        raise click.UsageError("--orphans means all of them: name no others beside it")
    app.run(remove_orphans(app, yes=yes, wait=wait))
