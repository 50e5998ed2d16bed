"""`nexthos restart`: replace what runs by the same anew."""

from __future__ import annotations

from nexthos_cli.app import App
from nexthos_cli.command.options import output, selection, verb, waiting


@verb("restart")
@selection
@waiting
@output("table", "name", "json", "yaml")
def restart(
    app: App,
    ids: tuple[str, ...],
    labels: tuple[str, ...],
    everything: bool,
    yes: bool,
    wait: bool,
) -> None:
    """Restart pipelines, keeping their definition, as an update of its `update.strategy` would.

    It raises `restart_nonce` of the entry. What was refused after a rollback is tried once more, and a
    job that has ended runs again. Only what is published can be restarted; -l and --all skip the others.
    """
    from nexthos_cli.pipelines.act import Deed, act
    from nexthos_cli.pipelines.entry import raise_nonce
    from nexthos_cli.pipelines.selection import Selection

    deed = Deed("restart", "restarted", raise_nonce, wait=wait)
    app.run(act(app, Selection(ids, labels, everything, yes).checked(), deed))
