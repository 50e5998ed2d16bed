"""What the figures look like: a table for people, a JSON document to compare and keep.

The document: `schema` 2, `started` (ISO 8601), `extent`, `machine`, `load` before and after, and per figure
its raw values in order, so that any other statistic can still be taken from them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from benchmarks.extent import Extent
from benchmarks.figures import Figure, Unit, spread_of
from benchmarks.machine import Machine

Load = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Results:
    """One run of some benchmarks."""

    started: datetime
    extent: Extent
    machine: Machine
    load: tuple[Load, Load]  # before, after
    figures: Sequence[Figure]

    def document(self) -> dict[str, Any]:
        """The JSON document."""
        return {
            "schema": 2,
            "started": self.started.astimezone(UTC).isoformat(timespec="seconds"),
            "extent": self.extent.value,
            "machine": asdict(self.machine),
            "load": {"before": self.load[0], "after": self.load[1]},
            "figures": [_figure(f) for f in self.figures],
        }


def _figure(figure: Figure) -> dict[str, Any]:
    ratios = figure.ratios
    return {
        **asdict(figure),
        "runs": len(figure.ours),
        "ours_median": spread_of(figure.ours).median,
        "other_median": spread_of(figure.other).median if figure.other else None,
        "ratio": asdict(spread_of(ratios)) if ratios else None,
        "met": figure.met,
    }


def store(results: Results, folder: Path) -> Path:
    """Write the document into `folder`, named by when it began."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{results.started.astimezone(UTC):%Y%m%dT%H%M%SZ}.json"
    file.write_text(json.dumps(results.document(), indent=2) + "\n")
    return file


def show(results: Results, console: Console) -> None:
    """Print the table, and under it on what it was measured."""
    table = Table(box=None, pad_edge=False, header_style="")
    for name in ("WHAT", "OURS", "OTHER", "RATIO", "P10-P90", "TARGET", "RUNS", ""):
        left = name in ("WHAT", "")
        table.add_column(name, justify="left" if left else "right", no_wrap=not left)
    for figure in results.figures:
        table.add_row(*_cells(figure))
    console.print(table)
    for words in _below(results):
        console.print(words, highlight=False, soft_wrap=True)


def _cells(figure: Figure) -> list[str]:
    ratios, judged, target = figure.ratios, figure.judged, figure.target
    of_ratio = bool(ratios) and (target is None or target.of == "ratio")
    unit: Unit | Literal["ratio"] = "ratio" if of_ratio else figure.unit
    return [
        figure.what,
        _value(spread_of(figure.ours).median, figure.unit),
        _value(spread_of(figure.other).median, figure.unit) if figure.other else "",
        _value(spread_of(ratios).median, "ratio") if ratios else "",
        f"{_value(judged.p10, unit)}-{_value(judged.p90, unit)}",
        f"{'>=' if target.at_least else '<='} {_value(target.limit, unit)}" if target else "",
        str(len(figure.ours)),
        {True: "met", False: "missed", None: ""}[figure.met],
    ]


def _value(value: float, unit: Unit | Literal["ratio"]) -> str:
    match unit:
        case "s" if abs(value) < 0.9995:
            return f"{value * 1000:.{1 if abs(value) < 0.0995 else 0}f} ms"
        case "s":
            return f"{value:.2f} s"
        case "ratio":
            return f"{value:.{2 if value >= 0.095 else 4}f}"
        case "count":
            return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
        case _:
            return f"{value:.{2 if abs(value) < 9.95 else 0}f}{'' if unit == '/s' else ' '}{unit}"


def _below(results: Results) -> list[str]:
    machine = results.machine
    others = sorted({f.other_is for f in results.figures if f.other_is})
    packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    before, after = (" ".join(f"{n:.2f}" for n in load) for load in results.load)
    return [
        "",
        *(f"other: {words}" for words in others),
        f"{machine.cores} cores of {machine.cpu}, {machine.memory / 2**30:.0f} GiB, Linux "
        f"{machine.kernel}; Python {machine.python}, engine {machine.engine}, {packages}",
        f"load average before {before}, after {after}"
        + ("; --quick: too few runs to quote" if results.extent is Extent.QUICK else ""),
    ]
