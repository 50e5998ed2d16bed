"""`python -m tests.soak`: strike, count, judge."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click
from rich.console import Console
from tests.soak.faults import Faults
from tests.soak.fleet import Fleet
from tests.soak.ground import Ground, ground
from tests.soak.report import Found, show, store
from tests.soak.story import Span, Verdict, judge
from tests.soak.upkeep import Upkeep, back_to, look, memory_of

from nexthos_testing.two import TICK, Witness
from nexthos_testing.wait import eventually

EVERY = 10.0  # seconds from one line of progress to the next
CALM = 5.0  # seconds until what runs counts as good, and nothing is written any more
SETTLES_WITHIN = 120.0  # seconds
INTERRUPTED = 130


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--minutes", default=10.0, show_default=True, help="How long faults are struck.")
@click.option("--pipelines", default=100, show_default=True, help="44 MB of memory each.")
@click.option("--seed", default=None, type=int, help="The same faults in the same order.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Keep the document there.")
def main(minutes: float, pipelines: int, seed: int | None, file: Path | None) -> None:
    """Strike NATS, two controllers and engines at random while pipelines run and are changed.

    Exit code 1 if one was down longer than it may be, was started without need, ran twice, or if files,
    tasks, memory or consumers are not back at their number before.
    """
    seed = random.randrange(1_000_000) if seed is None else seed
    try:
        found = asyncio.run(_run(minutes, pipelines, seed))
    except (KeyboardInterrupt, asyncio.CancelledError):
        click.echo("interrupted; nothing was left running", err=True)
        sys.exit(INTERRUPTED)
    show(found, Console(width=None if sys.stdout.isatty() else 160))
    if file is not None:
        store(found, file)
    sys.exit(1 if found.problems else 0)


async def _run(minutes: float, pipelines: int, seed: int) -> Found:
    running = asyncio.current_task()
    assert running is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    _say(f"seed {seed}: {pipelines} pipelines are started")
    async with ground() as place:
        dice = random.Random(seed)
        fleet = Fleet(pipelines, place.user, place.beats, random.Random(dice.random()))
        faults = Faults(place.pair, place.server, place.user, fleet, random.Random(dice.random()))
        began = time.monotonic()
        await fleet.publish_all()
        assert not (late := await fleet.settle(SETTLES_WITHIN)), late
        await asyncio.sleep(CALM)
        before = await look(place)
        fleet.count_from_now()
        _say(f"all run: {before.files} files, {sum(before.tasks.values())} tasks before")
        memory = await _strike(place, fleet, faults, minutes * 60)
        problems = await _calm_down(place, fleet, faults)
        after, more = await back_to(before, place)
        found = _judged(place, fleet, faults, began, before, after)
        found.seed, found.minutes, found.memory = seed, minutes, memory
        found.problems += problems + more
        place.keep = bool(found.problems)
        if place.keep:
            _say(f"logs are kept in {place.folder}")
    return found


async def _strike(place: Ground, fleet: Fleet, faults: Faults, seconds: float) -> list[int]:
    """Faults and changes at once, for that long; the first controller's memory from time to time."""
    memory: list[int] = []
    end = time.monotonic() + seconds
    tasks = [asyncio.create_task(t) for t in (faults.strike_on(), fleet.change_on())]
    try:
        while (left := end - time.monotonic()) > 0:
            done, _ = await asyncio.wait(
                tasks, timeout=min(EVERY, left), return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:  # neither ever ends by itself
                assert not task.cancelled(), f"{task} was cancelled from inside"
                task.result()
            memory.append(memory_of(place.first))
            _say(_progress(place, fleet, faults, left) + f", {memory[-1] >> 20} MiB")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return memory


def _progress(place: Ground, fleet: Fleet, faults: Faults, left: float) -> str:
    last = faults.history[-1][1] if faults.history else "none yet"
    heard = sum(life.count for h in place.beats.hearts.values() for life in h.lives)
    wanted = sum(story.runs for story in fleet.stories.values())
    return (
        f"{left:4.0f} s left: {faults.struck.total()} faults (last: {last}), "
        f"{fleet.asked.total()} changes, {wanted} pipelines should run, {heard} messages"
    )


async def _calm_down(place: Ground, fleet: Fleet, faults: Faults) -> list[str]:
    """Let everything run again, under the controller that was there from the start."""
    if not place.server.running:  # the last fault was cut short
        await place.server.start()
    await fleet.revive_all()
    late = await fleet.settle(SETTLES_WITHIN)
    leader = await place.pair.leader()
    if leader is not place.first:
        began = time.monotonic()
        await leader.terminate()
        await leader.spawn()
        await eventually(lambda: _leads(place), within=30.0, every=0.1)
        faults.excused.append(Span(began, time.monotonic()))
    await asyncio.sleep(CALM)
    return [f"not settled within {SETTLES_WITHIN:.0f} s: {words}" for words in late]


async def _leads(place: Ground) -> bool:
    return await place.pair.leader() is place.first


def _judged(
    place: Ground, fleet: Fleet, faults: Faults, began: float, before: Upkeep, after: Upkeep
) -> Found:
    end = time.monotonic()
    verdicts = [
        judge(story, place.beats.of(key), faults.excused, end)
        for key, story in fleet.stories.items()
    ]
    lives = [life for heart in place.beats.hearts.values() for life in heart.lives]
    return Found(
        seed=0,
        minutes=0.0,
        pipelines=len(verdicts),
        began=began,
        asked=dict(fleet.asked),
        struck=dict(faults.struck),
        takeovers=faults.takeovers,
        history=faults.history,
        messages=sum(life.count for life in lives),
        lost=sum(life.lost for life in lives),
        lives=len(lives),
        verdicts=verdicts,
        before=before,
        after=after,
        problems=_complaints(place, verdicts),
    )


def _complaints(place: Ground, verdicts: Sequence[Verdict]) -> list[str]:
    pair = place.pair
    turns = [
        (at, str(line["holder"]))
        for one in pair.members
        for at, line in zip(pair.leases(one), pair.said(one, "lease acquired"), strict=True)
    ]
    out_of_turn = Witness(sorted(turns)).out_of_turn(pair.starts(), slack=2 * TICK)
    defects = [
        f"controller {one.name}: {line['event']}: {str(line.get('exception', ''))[-300:]}"
        for one in pair.members
        for line in pair.log(one)
        if "exception" in line
    ]
    complaints = [words for verdict in verdicts for words in verdict.complaints]
    return complaints + [f"out of turn: {words}" for words in out_of_turn] + defects


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        main(prog_name="python -m tests.soak")
