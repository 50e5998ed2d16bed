"""The way to stdout and stderr: whatever is printed passes here, or the console of `terminal`.

Comes in: text, most of it with words that others wrote. Goes out: the same, with nothing in it that a
terminal obeys. Colours and line feeds are made here and never taken from the text. `ruff check` refuses
`click.echo` and rich's consoles anywhere else.
"""

from __future__ import annotations

import traceback
from typing import NamedTuple

import click

from nexthos_shared.printable import printable


class Coloured(NamedTuple):
    """A part of a line in a colour; an empty one leaves it as it is."""

    text: str
    colour: str
    bold: bool = False


def echo(*parts: str | Coloured, err: bool = False, nl: bool = True) -> None:
    """Print one line, made of these parts without anything between them."""
    click.echo("".join(map(_part, parts)), err=err, nl=nl)  # noqa: TID251


def _part(part: str | Coloured) -> str:
    if isinstance(part, str):
        return printable(part)
    text = printable(part.text)
    return click.style(text, fg=part.colour, bold=part.bold or None) if part.colour else text


def echo_lines(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print a document of ours, whose line feeds mean what they say."""
    click.echo(printable(text, lines=True), err=err, nl=nl)  # noqa: TID251


def echo_raw(text: str, *, nl: bool = True) -> None:
    """Print text as it is: what somebody asked for by name (`logs --raw`), or what is ours alone."""
    click.echo(text, nl=nl, color=True)  # noqa: TID251


def confirm(question: str) -> None:
    """Ask on stderr. Raises Abort unless the answer is yes."""
    click.confirm(printable(question), abort=True, err=True)  # noqa: TID251


def show_usage_error(error: click.UsageError) -> None:
    """As `error.show()`: its words may hold what was typed, and a shell types names of files."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        echo_lines(error.format_message(), err=True)
        return
    if error.ctx is not None:
        echo_lines(error.ctx.get_usage(), err=True)
        echo(f"Try '{error.ctx.command_path} --help' for help.", err=True)
        echo(err=True)
    echo(f"Error: {' '.join(error.format_message().split())}", err=True)


def show_traceback() -> None:
    """The error that is being handled, with where it was raised."""
    echo_lines(traceback.format_exc(), err=True, nl=False)
