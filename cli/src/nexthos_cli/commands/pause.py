"""`nexthos pause`: stop pipelines and keep them."""

from __future__ import annotations

from nexthos_cli.context import App
from nexthos_cli.options import output, selection, verb, waiting


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
    from nexthos_cli.acting import Deed, act
    from nexthos_cli.entries import set_status
    from nexthos_cli.selection import Selection
    from nexthos_shared.models import Wanted

    deed = Deed("pause", "paused", set_status(Wanted.PAUSED), wait=wait)
    app.run(act(app, Selection(ids, labels, everything, yes).checked(), deed))
