"""`nexthos draft`: stop pipelines, keep only what is stored."""

from __future__ import annotations

from nexthos_cli.app import App
from nexthos_cli.command.options import output, selection, verb, waiting


@verb("draft")
@selection
@waiting
@output("table", "name", "json", "yaml")
def draft(
    app: App,
    ids: tuple[str, ...],
    labels: tuple[str, ...],
    everything: bool,
    yes: bool,
    wait: bool,
) -> None:
    """Stop pipelines and leave no trace of what ran; definition and configurations stay stored."""
    from nexthos_cli.pipelines.act import Deed, act
    from nexthos_cli.pipelines.entry import set_status
    from nexthos_cli.pipelines.selection import Selection
    from nexthos_shared.model import Wanted

    deed = Deed("draft", "drafted", set_status(Wanted.DRAFT), wait=wait)
    app.run(act(app, Selection(ids, labels, everything, yes).checked(), deed))
