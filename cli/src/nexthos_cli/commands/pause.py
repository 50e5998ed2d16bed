"""`nexthos pause`: stop pipelines and keep them."""

from __future__ import annotations

from nexthos_cli.app import App
from nexthos_cli.command.options import output, selection, verb, waiting


@verb("pause")
@selection
@waiting
@output("table", "name", "json", "yaml")
def pause(
    app: App,
    ids: tuple[str, ...],
    labels: tuple[str, ...],
    everything: bool,
    yes: bool,
    wait: bool,
) -> None:
    """Stop pipelines and keep them; `nexthos publish` lets them go on.

    Works whatever else of an entry is wrong. A later `apply` of a file without `status` leaves it paused.
    """
    from nexthos_cli.pipelines.act import Deed, act
    from nexthos_cli.pipelines.entry import set_status
    from nexthos_cli.pipelines.selection import Selection
    from nexthos_shared.model import Wanted

    deed = Deed("pause", "paused", set_status(Wanted.PAUSED), wait=wait)
    app.run(act(app, Selection(ids, labels, everything, yes).checked(), deed))
