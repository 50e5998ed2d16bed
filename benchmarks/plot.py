"""`python -m benchmarks.plot RESULTS FOLDER`: curves over the number of pipelines, as SVG.

Comes in: the JSON document of a run of `scale`. Goes out: a picture each of time and of memory. Both axes are
logarithmic, so what grows as the number does is a straight line, and one step up for one to the right.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from math import ceil, floor, log10
from pathlib import Path
from statistics import median
from typing import Any

import click
import pygal
from pygal.style import Style

# pygal finds its plugins by a finder of Python 2's kind, which made pytest's own imports fail after it.
sys.meta_path[:] = [f for f in sys.meta_path if hasattr(f, "find_spec")]

Curves = dict[str, list[tuple[int, float]]]

PICTURES = {  # file: title, unit, and the curves as `scale` names them
    "time.svg": (
        "Seconds of CPU by the number of stored pipelines",
        "s",
        (
            "boot, CPU",
            "boot until all are good, CPU",
            "restart, nothing to do, CPU",
            "resync, CPU",
        ),
    ),
    "memory.svg": (
        "MiB by the number of stored pipelines",
        "MiB",
        ("memory, RSS",),
    ),
    "puts.svg": (
        "Milliseconds from a put to the executor's call by the number of stored pipelines",
        "ms",
        (
            "put -> executor at rest, p50",
            "put -> executor at rest, p99",
            "put -> executor at 50/s, p50",
            "put -> executor at 50/s, p99",
        ),
    ),
}
# System fonts, no script and nothing from elsewhere: it is shown as an image.
STYLE = Style(
    background="white",
    plot_background="white",
    font_family="sans-serif",
    label_font_size=12,
    major_label_font_size=12,
    legend_font_size=12,
    title_font_size=14,
    colors=("#0072b2", "#d55e00", "#009e73", "#cc79a7"),
)


@click.command()
@click.argument("results", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def main(results: Path, folder: Path) -> None:
    """Draw the curves of RESULTS into FOLDER."""
    curves = curves_of(json.loads(results.read_text()))
    if not curves:
        raise click.ClickException(f"{results}: nothing of `scale` is in it")
    folder.mkdir(parents=True, exist_ok=True)
    for name, (title, unit, wanted) in PICTURES.items():
        shown = {curve: curves[curve] for curve in wanted if curve in curves}
        if not shown:
            continue
        picture(title, unit, shown).render_to_file(str(folder / name))
        click.echo(folder / name)


def curves_of(document: dict[str, Any]) -> Curves:
    """The medians of each curve, by the number of pipelines."""
    curves: Curves = {}
    for figure in document["figures"]:
        point = figure["point"]
        if point is None or not point["pipelines"]:  # 0 has no place on a logarithmic axis
            continue
        factor = 1000 if point["curve"].startswith("put") else 1  # milliseconds
        value = median(figure["ours"]) * factor
        curves.setdefault(point["curve"], []).append((point["pipelines"], value))
    return {curve: sorted(points) for curve, points in curves.items()}


def picture(title: str, unit: str, curves: Curves) -> pygal.XY:
    """One picture."""
    numbers = sorted({number for points in curves.values() for number, _ in points})
    chart = pygal.XY(
        title=title,
        logarithmic=True,
        js=[],
        style=STYLE,
        width=800,
        height=450,
        legend_at_bottom=True,
        legend_at_bottom_columns=2,
        x_title="pipelines",
        y_title=unit,
        x_value_formatter=lambda number: f"{number:,.0f}",
        value_formatter=lambda value: f"{value:g}",
        disable_xml_declaration=True,
    )
    chart.x_labels = numbers
    chart.y_labels = steps(value for points in curves.values() for _, value in points)
    chart.show_legend = len(curves) > 1
    chart.add_xml_filter(_without_scripts)
    for curve, points in curves.items():
        chart.add(curve, points)
    return chart


def steps(values: Iterable[float]) -> list[float]:
    """1, 2, 5, 10, ... from the one below the least to the one above the greatest."""
    values = list(values)
    lowest = floor(log10(min(values)))
    found = [
        n * 10.0**power for power in range(lowest, ceil(log10(max(values))) + 1) for n in (1, 2, 5)
    ]
    first = max((step for step in found if step <= min(values)), default=found[0])
    last = min((step for step in found if step >= max(values)), default=found[-1])
    return [step for step in found if first <= step <= last]


def _without_scripts(root: Any) -> Any:
    """pygal writes one even where it is to load none, and a browser shows no image's."""
    for parent in root.iter():
        for script in parent.findall("script"):
            parent.remove(script)
    return root


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.plot")
