"""`python -m benchmarks.profile VERB`: where the time of a controller goes, by sampling its process.

The same process as in `scale`, over the same store, but sampled; its own figures are worth nothing. Goes
out: a page to click through, and the same as text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks.ground import Ground, Progress, ground
from benchmarks.puts import puts_into
from benchmarks.scale_child import CALLED
from benchmarks.scale_controller import child
from benchmarks.stored import fill

NAMESPACE = "bprofile"
DEBOUNCE = 2.0  # seconds: shorter than in earnest, since it is waited for
FOLDER = Path(__file__).parent / "results"
VERBS = ("boot", "restart", "resync", "puts", "good")
PUTS, RATE = 500, 100.0


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("verb", type=click.Choice(VERBS))
@click.option("--pipelines", default=10_000, show_default=True, help="How many are stored.")
@click.option("--folder", type=click.Path(path_type=Path), default=FOLDER, show_default=True)
def main(verb: str, pipelines: int, folder: Path) -> None:
    """Sample a boot, a restart with nothing to do, a resync, puts, or what follows a boot."""
    folder.mkdir(parents=True, exist_ok=True)
    report = folder.absolute() / f"profile-{verb}-{pipelines}.html"
    asyncio.run(_profile(verb, pipelines, report))
    click.echo(report.with_suffix(".txt").read_text())
    click.echo(f"kept in {report}", err=True)


async def _profile(verb: str, pipelines: int, report: Path) -> None:
    sampled = {"restart": "boot", "puts": "calm", "good": "calm"}.get(verb, verb)
    options = ("--profile", sampled, "--report", str(report), "--resync", "2")
    async with ground() as here:
        Progress()(f"profile: storing {pipelines:,} pipelines")
        await fill(here, NAMESPACE, pipelines)
        if verb in ("restart", "resync"):
            await _restarted(
                here, options, ("boot",) if verb == "restart" else ("boot", "resync 3")
            )
            return
        async with (
            child(here, NAMESPACE, DEBOUNCE, *options) as controller,
            puts_into(here, NAMESPACE, CALLED) as puts,
        ):
            await controller.do("boot")
            if verb == "good":
                await controller.do(f"calm {DEBOUNCE + 1}")
            elif verb == "puts":
                meanwhile = controller.begin(f"calm {PUTS / RATE + 3}")
                await puts.at_rate("put", PUTS, RATE)
                await meanwhile


async def _restarted(here: Ground, options: Sequence[str], verbs: Sequence[str]) -> None:
    """Where everything runs already."""
    async with child(here, NAMESPACE, DEBOUNCE) as before:
        await before.do("boot")
        await before.do(f"calm {DEBOUNCE + 1}")
        await before.do("end")
    async with child(here, NAMESPACE, DEBOUNCE, *options) as controller:
        for verb in verbs:
            await controller.do(verb)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.profile")
