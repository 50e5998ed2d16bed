"""Printing: tables for people, JSON and YAML for programs, names for pipes.

Comes in: output models, rows. Goes out: text. Colours and rich only on a terminal; off it a table is
plain text with two spaces between columns, cut nowhere.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Sequence
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

from nexthos_cli.output.columns import Cell, arranged
from nexthos_cli.output.printing import Coloured, echo, echo_lines
from nexthos_shared.model.stored import Stored, plain
from nexthos_shared.printable import printable, printable_json, width
from nexthos_shared.reasons import Reason

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.text import Text

    from nexthos_cli.app import App
    from nexthos_cli.output.models import PipelineLine
    from nexthos_cli.output.terminal import CleanConsole

COLOURS = {
    "Running": "green",
    "Completed": "green",
    "ok": "green",
    "Starting": "yellow",
    "Stopping": "yellow",
    "warn": "yellow",
    "Paused": "blue",
    "Draft": "blue",
    "CrashLoop": "red",
    "Failed": "red",
    "Invalid": "red",
    "fail": "red",
    "Unknown": "magenta",
}
COLUMNS = ("ID", "WANTED", "PHASE", "READY", "VERSION", "RESTARTS", "AGE", "REASON")
WIDE = ("EXECUTOR", "PLACE", "REVISION", "NAME", "LABELS")


def structured(app: App, model: BaseModel | Stored) -> bool:
    """Print `model` if JSON, YAML or names are asked for; tells whether it was."""
    if app.format == "json":
        echo_lines(printable_json(_plain(model)))
    elif app.format == "yaml":
        echo_lines(yaml_text(_plain(model)), nl=False)
    elif app.format == "name":
        for item in getattr(model, "pipelines", ()):
            echo(f"pipeline/{item.id}")
    else:
        return False
    return True


def _plain(model: BaseModel | Stored) -> Any:
    if isinstance(model, Stored):
        return plain(model)
    return model.model_dump(mode="json", by_alias=True)


def yaml_text(value: Any) -> str:
    """YAML in block style; texts of several lines as `|` blocks where YAML can hold them so.

    What `printable` writes out stands in double quotes, where YAML reads those escapes as they are meant.
    """
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 1_000_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    written = io.StringIO()
    yaml.dump(_blocks(value), written)
    return written.getvalue()


def _blocks(value: Any) -> Any:
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString

    if isinstance(value, dict):
        return {_quoted(key): _blocks(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_blocks(item) for item in value]
    if isinstance(value, str) and "\n" in value:
        return LiteralScalarString(value) if _fits_block(value) else DoubleQuotedScalarString(value)
    return _quoted(value)


def _quoted(value: Any) -> Any:
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    if isinstance(value, str) and (_looks_typed(value) or printable(value) != value):
        return DoubleQuotedScalarString(value)
    return value


def _fits_block(text: str) -> bool:
    """Whether a `|` block would give back exactly this: YAML alters other line ends and controls."""
    return all(c in "\n\t" or c.isprintable() for c in text) and bool(text.strip())


def _looks_typed(text: str) -> bool:
    """Whether YAML, 1.1 or 1.2, would read the bare word as something other than text."""
    return not text or text[0] in "+-.0123456789" or text.lower() in _WORDS


_WORDS = {"true", "false", "null", "~", "yes", "no", "on", "off", "y", "n"}


def console(*, stderr: bool = False) -> CleanConsole:
    """A rich console; NO_COLOR is heeded by rich itself."""
    from nexthos_cli.output import terminal

    return terminal.console(stderr=stderr)


def on_terminal(*, stderr: bool = False) -> bool:
    """Whether a person looks at it."""
    return (sys.stderr if stderr else sys.stdout).isatty() and os.environ.get("TERM") != "dumb"


def colours(*, stderr: bool = False) -> bool:
    """Whether to colour: on a terminal, unless NO_COLOR is set (https://no-color.org)."""
    return on_terminal(stderr=stderr) and not os.environ.get("NO_COLOR")


def table(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Print a table."""
    listed = [list(row) for row in rows]
    if not on_terminal():
        for text in plain_table(header, [[_text(cell) for cell in row] for row in listed]):
            echo(text)
        return
    painted = colours()
    for line in arranged(header, _painted(listed), get_terminal_size().columns):
        echo(*(part if painted else part.text for part in line))


def _text(cell: Cell) -> str:
    return cell if isinstance(cell, str) else cell.text


def _painted(rows: Iterable[Sequence[Cell]]) -> list[list[Cell]]:
    """Known words in their colours."""
    return [
        [Coloured(cell, COLOURS.get(cell, "")) if isinstance(cell, str) else cell for cell in row]
        for row in rows
    ]


def plain_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with aligned columns, nothing cut."""
    everything = [[printable(cell) for cell in row] for row in (header, *rows)]
    widths = [max(width(row[n]) for row in everything) for n in range(len(header))]
    return [
        "  ".join(
            f"{cell}{' ' * (w - width(cell))}" for cell, w in zip(row, widths, strict=True)
        ).rstrip()
        for row in everything
    ]


def live_table(
    header: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    total: int,
    right: frozenset[str] = frozenset(),
) -> Text:
    """The same for what rich draws again and again, in `total` columns."""
    from rich.text import Text

    made = Text(no_wrap=True, end="")
    for line in arranged(header, _painted(rows), total, right):
        for part in line:
            made.append(part.text, f"{'bold ' if part.bold else ''}{part.colour}".strip() or None)
        made.append("\n")
    made.rstrip()
    return made


def line_header(wide: bool) -> tuple[str, ...]:
    """The columns of `ls`."""
    return (*COLUMNS[:-1], *WIDE, COLUMNS[-1]) if wide else COLUMNS


def line_row(line: PipelineLine, wide: bool) -> list[str]:
    """A pipeline as cells."""
    cells = [
        line.id,
        _wanted(line),
        str(line.phase or "-"),
        f"{line.ready}/{line.replicas}",
        _version(line),
        str(line.restarts),
        age(line.age),
    ]
    if wide:
        labels = ",".join(f"{k}={v}" for k, v in sorted(line.labels.items()))
        more = (line.executor, ",".join(line.places), str(line.revision), line.name, labels)
        cells += [cell or "-" for cell in more]
    return [*cells, _why(line)]


def _wanted(line: PipelineLine) -> str:
    if line.reason is Reason.ORPHANED and line.deleted:
        return "-"  # nobody deleted it
    return "deleted" if line.deleted else line.wanted or "?"


def _version(line: PipelineLine) -> str:
    if line.deleted or line.wanted_version in (None, line.version):
        return line.version or line.wanted_version or "-"
    return f"{line.version or '-'} (want {line.wanted_version})"


def _why(line: PipelineLine) -> str:
    if line.reason is None:
        return ""
    where = f" ({line.where})" if line.where and line.where not in line.message else ""
    return f"{line.reason}: {line.message}{where}" if line.message else str(line.reason)


def age(seconds: float) -> str:
    """`4s`, `3m`, `2h5m`, `3d`: about, as Kubernetes users know it."""
    total = int(seconds)
    if total < 60:
        return f"{total}s"
    if total < 3600:
        return f"{total // 60}m"
    if total < 24 * 3600:
        return f"{total // 3600}h{total % 3600 // 60}m"
    return f"{total // (24 * 3600)}d"
