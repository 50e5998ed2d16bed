"""What a soak found: a table for people, a JSON document to keep."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from tests.soak.story import Down, Verdict
from tests.soak.upkeep import Upkeep


@dataclass
class Found:
    """Everything; `problems` is empty if all of it holds."""

    seed: int
    minutes: float
    pipelines: int
    began: float  # seconds of time.monotonic, which all other times are of
    asked: dict[str, int]
    struck: dict[str, int]
    takeovers: dict[str, list[float]]
    history: list[tuple[float, str]]
    messages: int
    lost: int  # on their way to us, as the engines count
    lives: int
    verdicts: list[Verdict]
    before: Upkeep
    after: Upkeep
    memory: list[int] = field(default_factory=list)  # bytes, every ten seconds
    problems: list[str] = field(default_factory=list)

    @property
    def downs(self) -> list[Down]:
        return [down for verdict in self.verdicts for down in verdict.downs]

    @property
    def acted(self) -> list[float]:
        return [seconds for verdict in self.verdicts for seconds in verdict.acted]


def document(found: Found) -> dict[str, Any]:
    """The JSON document; times of `history` are seconds from the start."""
    kept = asdict(found)
    del kept["verdicts"]
    return {
        "schema": 1,
        **kept,
        "holds": not found.problems,
        "history": [(round(at - found.began, 1), what) for at, what in found.history],
        "downs": [
            {**asdict(d), "since": d.span.since - found.began, "span": d.span.length}
            for d in found.downs
        ],
        "acted": found.acted,
    }


def store(found: Found, file: Path) -> None:
    """Write the document."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document(found), indent=2) + "\n")


def show(found: Found, console: Console) -> None:
    """Print the table, and under it what does not hold."""
    table = Table(box=None, pad_edge=False, header_style="")
    table.add_column("WHAT")
    table.add_column("FOUND")
    for row in _rows(found):
        table.add_row(*row)
    console.print(table)
    for problem in found.problems:
        console.print(f"does not hold: {problem}", highlight=False, soft_wrap=True)
    console.print("all of it holds" if not found.problems else "", highlight=False)


def _rows(found: Found) -> list[tuple[str, str]]:
    before, after = found.before, found.after
    rows = [
        ("faults", _counted(found.struck)),
        ("changes", _counted(found.asked)),
        (
            "messages",
            f"{found.messages} heard of {found.lives} engines, {found.lost} lost on the way",
        ),
        ("changes acted on after", _spread(found.acted)),
        ("silences of pipelines that should run", _spread([d.span.length for d in found.downs])),
        (
            "  what was left of what was allowed",
            _spread([d.allowed - d.charged for d in found.downs]),
        ),
    ]
    for what, seconds in sorted(found.takeovers.items()):
        rows.append((f"taken over: {what}", _spread(seconds)))
    return [
        *rows,
        ("open files", f"{before.files} -> {after.files}"),
        ("tasks", f"{sum(before.tasks.values())} -> {sum(after.tasks.values())}"),
        ("threads", f"{before.threads} -> {after.threads}"),
        ("memory", f"{before.memory >> 20} -> {after.memory >> 20} MiB"),
        ("consumers", f"{sum(before.consumers.values())} -> {sum(after.consumers.values())}"),
        (
            "engines, folders",
            f"{before.engines}, {before.folders} -> {after.engines}, {after.folders}",
        ),
        ("seed", f"{found.seed}, {found.pipelines} pipelines, {found.minutes:g} min"),
    ]


def _counted(counts: dict[str, int]) -> str:
    listed = ", ".join(f"{n} {what}" for what, n in sorted(counts.items()))
    return f"{sum(counts.values())}: {listed}" if counts else "none"


def _spread(seconds: Sequence[float]) -> str:
    if not seconds:
        return "none"
    return (
        f"{len(seconds)}: {min(seconds):.2f} s at least, {statistics.median(seconds):.2f} s in the "
        f"middle, {max(seconds):.2f} s at most"
    )
