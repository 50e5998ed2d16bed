"""`nexthos get`: a pipeline as a manifest that `apply` takes back."""

from __future__ import annotations

from typing import Any

import click

from nexthos_cli.app import App
from nexthos_cli.command.options import output, selection, verb
from nexthos_cli.output.printing import echo, echo_lines
from nexthos_shared.printable import printable_json


@verb("get")
@selection
@click.option("--config", "with_config", is_flag=True, help="Include the engine configuration.")
@output("yaml", "json", "name")
def get(
    app: App,
    ids: tuple[str, ...],
    labels: tuple[str, ...],
    everything: bool,
    yes: bool,
    with_config: bool,
) -> None:
    """Print pipelines as manifests that `nexthos apply -f -` takes back.

    With --config the configuration is part of it, so that it can be edited or moved elsewhere.
    """
    from nexthos_cli.pipelines.selection import Selection

    chosen = Selection(ids, labels, everything, yes=True).checked()
    app.run(_get(app, chosen, with_config))


async def _get(app: App, selection: Any, with_config: bool) -> None:
    from nexthos_cli.manifest.export import manifest_of
    from nexthos_cli.output.render import yaml_text
    from nexthos_cli.pipelines.selection import chosen

    async with app.store() as store:
        keys = await chosen(store, selection, verb="get", write=False)
        if app.format == "json" and len(keys) > 1:
            raise click.UsageError("-o json is one document: name one pipeline, or use -o yaml")
        found = [await manifest_of(store, key, with_config=with_config) for key in keys]
    if app.format == "name":
        for key in keys:
            echo(f"pipeline/{key}")
    elif app.format == "json":
        echo_lines(printable_json(found[0]))
    else:
        echo_lines("---\n".join(yaml_text(manifest) for manifest in found), nl=False)
