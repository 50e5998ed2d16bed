"""`python -m benchmarks`: run them, print the table, keep the JSON document."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from benchmarks import (
    idle,
    publish_ready,
    publish_ready_docker,
    publish_ready_streams,
    restart,
    scale,
    streams,
    throughput,
)
from benchmarks.extent import Extent
from benchmarks.figures import Figure
from benchmarks.ground import Progress
from benchmarks.machine import load, this_machine
from benchmarks.report import Results, show, store

RESULTS = Path(__file__).parent / "results"
INTERRUPTED = 130

Measure = Callable[[Extent, Progress], Awaitable[list[Figure]]]

BENCHMARKS: Mapping[str, Measure] = {
    "publish-ready": publish_ready.measure,
    "publish-ready-streams": publish_ready_streams.measure,
    "publish-ready-docker": publish_ready_docker.measure,
    "throughput": throughput.measure,
    "restart": restart.measure,
    "streams": streams.measure,
    "idle": idle.measure,
    "scale": scale.measure,
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", multiple=True, type=click.Choice([*BENCHMARKS]), help="Run only this.")
@click.option(
    "--quick",
    "extent",
    flag_value=Extent.QUICK,
    type=Extent,
    help="A few runs: does it work at all? Nothing to quote.",
)
@click.option(
    "--full",
    "extent",
    flag_value=Extent.FULL,
    type=Extent,
    help="More of everything: half an hour.",
)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
@click.option(
    "--results",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=RESULTS,
    help="Where the JSON document is kept  [benchmarks/results]",
)
def main(only: tuple[str, ...], extent: Extent | None, output: str, folder: Path) -> None:
    """Measure nexthos side by side with the same thing done without it.

    Prints one table, and keeps every value in a JSON document. A missed target is shown and is no
    failure: the exit code is 1 only if something could not be measured.
    """
    try:
        results = asyncio.run(_run(only or tuple(BENCHMARKS), extent or Extent.USUAL))
    except (KeyboardInterrupt, asyncio.CancelledError):
        click.echo("\ninterrupted; nothing was left running", err=True)
        sys.exit(INTERRUPTED)
    file = store(results, folder)
    if output == "json":
        click.echo(json.dumps(results.document(), indent=2))
    else:
        wide = None if sys.stdout.isatty() else 160
        show(results, Console(width=wide))
    click.echo(f"kept in {file}", err=True)


async def _run(names: tuple[str, ...], extent: Extent) -> Results:
    running = asyncio.current_task()
    assert running is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    started, machine, before = datetime.now(UTC), await this_machine(), load()
    progress = Progress()
    figures: list[Figure] = []
    for name in names:
        figures += await BENCHMARKS[name](extent, progress)
        progress.done()
    return Results(started, extent, machine, (before, load()), figures)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
