"""A table in the columns that a terminal has: what decides stays whole, what explains gives way.

Comes in: cells, a width. Goes out: lines made of coloured parts. Pure. Where a table is too wide, its last
column is folded; where too little would be left for that, it goes below its row, and columns before it
too if need be. Names are folded last. No word of what a pipeline is or why is ever cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nexthos_cli.output.printing import Coloured
from nexthos_shared.printable import printable, width

GAP = 2  # columns between two cells
INDENT = "    "  # of what stands below its row
WORTH = 32  # columns: less is no room for a sentence
NAME = 12  # columns that a folded name keeps
# Names that somebody chose, or a machine made: as long as they like.
FOLDED = {"ID", "PIPELINE", "VERSION", "NAME", "PLACE", "PLACES", "EXECUTOR", "LABELS", "SUBJECT"}

Cell = str | Coloured
Line = list[Coloured]


def arranged(
    header: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    total: int,
    right: frozenset[str] = frozenset(),
) -> Iterator[Line]:
    """The lines of the table, its header first; none wider than `total`, if that is 40 or more.

    Columns named in `right` are aligned there.
    """
    cells = [[_cell(cell) for cell in row] for row in rows]
    table = [[Coloured(name, "", bold=True) for name in header], *cells]
    widths = [max(width(row[n].text) for row in table) for n in range(len(header))]
    beside = _fitted(header, widths, total)
    for row in table:
        yield from _row(row[: len(beside)], beside, [name in right for name in header])
        yield from _below(row[len(beside) :], total)


def _cell(cell: Cell) -> Coloured:
    return (
        cell._replace(text=printable(cell.text))
        if isinstance(cell, Coloured)
        else (Coloured(printable(cell), ""))
    )


def _fitted(header: Sequence[str], widths: Sequence[int], total: int) -> list[int]:
    """Widths of those columns that stand beside each other; the others go below."""
    left = total - _sum(widths[:-1]) - GAP
    if left >= min(widths[-1], WORTH):
        return [*widths[:-1], min(widths[-1], left)]
    for count in range(len(header), 1, -1):
        kept = list(widths[:count])
        names = [n for n in range(count) if header[n] in FOLDED and kept[n] > NAME]
        least = [NAME if n in names else w for n, w in enumerate(kept)]
        if _sum(least) <= total:
            return _shrunk(kept, names, total)
    return [min(widths[0], total)]


def _shrunk(widths: list[int], names: Sequence[int], total: int) -> list[int]:
    """The widest name gives first."""
    while _sum(widths) > total:
        widest = max(names, key=lambda n: widths[n])
        widths[widest] -= 1
    return widths


def _sum(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _row(row: Sequence[Coloured], widths: Sequence[int], right: Sequence[bool]) -> Iterator[Line]:
    folded = [folds(cell.text, w) for cell, w in zip(row, widths, strict=True)]
    for number in range(max(map(len, folded))):
        line: Line = []
        for n, (cell, texts) in enumerate(zip(row, folded, strict=True)):
            text = texts[number] if number < len(texts) else ""
            space = " " * (widths[n] - width(text))
            before, after = (space, "") if right[n] else ("", space)
            after = "" if n == len(row) - 1 else after + " " * GAP
            line += [Coloured(before, ""), cell._replace(text=text), Coloured(after, "")]
        yield line


def _below(row: Sequence[Coloured], total: int) -> Iterator[Line]:
    """What found no room, in the order of its columns."""
    text = (" " * GAP).join(cell.text for cell in row if cell.text).strip()
    bold = any(cell.bold for cell in row)
    for line in folds(text, total - len(INDENT)) if text else ():
        yield [Coloured(INDENT, ""), Coloured(line, "", bold)]


def folds(text: str, most: int) -> list[str]:
    """Lines of at most `most` columns, broken between words; in a word that is longer than a line."""
    lines, line = [], ""
    for word in _words(text, most):
        if line and width(line) + width(word.rstrip()) > most:
            lines.append(line.rstrip())
            line = ""
        line += word
    return [*lines, line.rstrip()]


def _words(text: str, most: int) -> Iterator[str]:
    """Words with the spaces behind them, cut where one is longer than a line."""
    word, room = "", most
    for char in text:
        starts = char != " " and word.endswith(" ")
        if word and (starts or (char != " " and width(char) > room)):
            yield word
            word, room = "", most
        word += char
        room -= width(char)
    yield word
