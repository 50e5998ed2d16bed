from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from benchmarks.extent import Extent
from benchmarks.figures import Figure, Point, Target, spread_of
from benchmarks.machine import Machine
from benchmarks.plot import curves_of, steps
from benchmarks.plot import main as plot
from benchmarks.report import Results, show, store
from click.testing import CliRunner
from rich.console import Console

MACHINE = Machine("a cpu", 2, 2**34, "6.1", "3.11", "v1", {"nats-py": "2.16.0"})


def results(*figures: Figure) -> Results:
    load = (0.1, 0.2, 0.3)
    return Results(
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), Extent.USUAL, MACHINE, (load, load), figures
    )


def table(*figures: Figure) -> str:
    shown = io.StringIO()
    show(results(*figures), Console(width=200, file=shown))
    return shown.getvalue()


def test_the_spread_leaves_out_the_tenth_at_either_end() -> None:
    spread = spread_of([float(n) for n in range(101)])
    assert (spread.median, spread.p10, spread.p90) == (50.0, 10.0, 90.0)


def test_one_run_has_a_spread_without_width() -> None:
    assert spread_of([3.0]) == spread_of([3.0, 3.0])


def test_nothing_measured_is_no_figure() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        spread_of([])


def test_a_ratio_is_taken_within_each_pair() -> None:
    # Both became ten times slower in between: by medians alone ours would look far worse.
    figure = Figure("x", "s", ours=(1.1, 11.0, 1.1), other=(1.0, 10.0, 10.0))
    assert figure.ratios == pytest.approx((1.1, 1.1, 0.11))
    assert figure.judged.median == pytest.approx(1.1)


def test_runs_that_make_no_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="no pairs"):
        Figure("x", "s", ours=(1.0, 2.0), other=(1.0,))


@pytest.mark.parametrize(
    ("target", "met"),
    [
        (Target(1.5, "ratio"), False),
        (Target(2.0, "ratio"), True),
        (Target(1.5, "ours"), False),
        (Target(4.0, "ours"), True),
        (Target(2.0, "ratio", at_least=True), True),
        (Target(2.1, "ratio", at_least=True), False),
        (None, None),
    ],
)
def test_a_target_speaks_of_the_ratio_or_of_our_own_value(
    target: Target | None, met: bool | None
) -> None:
    assert Figure("x", "s", ours=(4.0,), other=(2.0,), target=target).met is met


def test_the_table_shows_figure_ratio_spread_target_and_verdict() -> None:
    figure = Figure("publish", "s", (0.05, 0.06), (0.04, 0.04), "by hand", Target(1.25, "ratio"))
    shown = table(figure)
    row = next(line for line in shown.splitlines() if line.startswith("publish"))
    assert row.split() == [
        *("publish", "55.0", "ms", "40.0", "ms", "1.38", "1.27-1.48", "<=", "1.25", "2", "missed")
    ]
    assert "other: by hand" in shown
    assert "load average before 0.10 0.20 0.30, after 0.10 0.20 0.30" in shown


def test_a_figure_without_another_side_shows_the_spread_of_its_own() -> None:
    shown = table(Figure("restarted", "count", (0.0, 2.0, 4.0), target=Target(0, "ours")))
    row = next(line for line in shown.splitlines() if line.startswith("restarted"))
    assert row.split() == ["restarted", "2", "0.4-3.6", "<=", "0", "3", "missed"]


def test_a_target_of_at_least_is_shown_as_one() -> None:
    figure = Figure("drained", "/s", (1234.5,), target=Target(100, "ours", at_least=True))
    row = next(line for line in table(figure).splitlines() if line.startswith("drained"))
    assert row.split() == ["drained", "1234/s", "1234/s-1234/s", ">=", "100/s", "1", "met"]


def test_the_document_keeps_every_value_in_the_order_measured(tmp_path: Path) -> None:
    figure = Figure("x", "s", (3.0, 1.0, 2.0), (1.0, 1.0, 1.0), "by hand", Target(2.0, "ratio"))
    file = store(results(figure), tmp_path / "new")
    assert file.name == "20260102T030405Z.json"
    document = json.loads(file.read_text())
    (kept,) = document["figures"]
    assert kept["ours"] == [3.0, 1.0, 2.0]
    assert (kept["ratio"]["median"], kept["met"]) == (2.0, True)
    assert document["machine"]["cpu"] == "a cpu"
    assert document["load"] == {"before": [0.1, 0.2, 0.3], "after": [0.1, 0.2, 0.3]}


def test_curves_are_drawn_over_the_number_of_pipelines_without_scripts(tmp_path: Path) -> None:
    figures = [
        Figure(f"{n} stored: {curve}", "count", (float(n),), point=Point(curve, n))
        for n in (0, 10, 100)
        for curve in ("boot, CPU", "resync, CPU", "memory, RSS")
    ]
    file = store(results(*figures), tmp_path)
    assert curves_of(json.loads(file.read_text()))["boot, CPU"] == [(10, 10.0), (100, 100.0)]
    done = CliRunner().invoke(plot, [str(file), str(tmp_path / "drawn")])
    assert done.exit_code == 0, done.output
    drawn = {f.name: f.read_text() for f in (tmp_path / "drawn").iterdir()}
    assert set(drawn) == {"time.svg", "memory.svg"}
    assert "boot, CPU" in drawn["time.svg"]
    assert "resync, CPU" in drawn["time.svg"]
    assert "<script" not in "".join(drawn.values())


def test_an_axis_has_steps_from_below_the_least_to_above_the_greatest() -> None:
    assert steps([0.3, 4.0, 12.0]) == pytest.approx([0.2, 0.5, 1, 2, 5, 10, 20])
    assert steps([10.0]) == [10.0]
