"""`nexthos schema`: JSON Schemas, generated from the models."""

from __future__ import annotations

import difflib

import click
from click.shell_completion import CompletionItem

from nexthos_cli.app import App
from nexthos_cli.command.options import verb
from nexthos_cli.output.printing import echo, echo_lines
from nexthos_shared.printable import printable_json


def _complete(_: click.Context, __: click.Parameter, begun: str) -> list[CompletionItem]:
    from nexthos_cli.schemas import models

    return [CompletionItem(name) for name in models() if name.startswith(begun)]


@verb("schema")
@click.argument("name", required=False, shell_complete=_complete)
def schema(app: App, name: str | None) -> None:
    """Print the JSON Schema of NAME; without NAME, list what there is.

    `manifest` is what `apply` takes, `pipeline` and `status` are what is stored, `output-ls` is what
    `nexthos ls -o json` prints, and so on.
    """
    from nexthos_cli.schemas import models
    from nexthos_shared.errors import NotFound
    from nexthos_shared.model.stored import schema as schema_of

    known = models()
    if name is None:
        for one in known:
            echo(one)
    elif name in known:
        echo_lines(printable_json(schema_of(*known[name])))
    else:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise NotFound(f"no schema {name!r}{hint} (`nexthos schema` lists them)")
