"""`nexthos completion`: a script for the shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from nexthos_cli.app import App
from nexthos_cli.command.options import verb
from nexthos_cli.output.printing import echo_raw


@verb("completion")
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion(app: App, shell: str) -> None:
    """Print a completion script for SHELL: commands, options, pipeline ids, reasons.

    \b
    bash:  eval "$(nexthos completion bash)"
    zsh:   eval "$(nexthos completion zsh)"
    fish:  nexthos completion fish | source
    """  # noqa: D301  # click's mark for lines that must not be joined is a real one
    made = get_completion_class(shell)
    assert made is not None
    root = click.get_current_context().find_root().command
    echo_raw(made(root, {}, "nexthos", "_NEXTHOS_COMPLETE").source())
