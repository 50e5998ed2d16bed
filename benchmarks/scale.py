"""What a controller costs by the number of stored pipelines, and how soon a put is acted on.

The executor is the fake one, so all of it is the controller's own. Each round is a process and a server of
its own. `boot` is from taking part to nothing left to do, with every pipeline started for the first time;
`restart` the same where all of them run, and nothing has changed; `resync` what comes once a
minute: all watches are compared with the store, and everything is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median, quantiles

from benchmarks.extent import Extent
from benchmarks.figures import Figure, Point, Target, Unit
from benchmarks.ground import Ground, Progress, ground
from benchmarks.processes import MIB
from benchmarks.puts import Put, Puts, puts_into
from benchmarks.scale_child import CALLED
from benchmarks.scale_controller import Child, child
from benchmarks.stored import fill

NAMESPACE = "bscale"
AT_REST, AT_50, AT_500, RESYNCING = "at rest", "at 50/s", "at 500/s", "while a resync runs"
SLOW, FAST = 50, 500  # puts a second
OF_THE_PLAN, LARGE = 10_000, 50_000  # pipelines that the targets speak of
AN_IDLE = 1_000  # pipelines: of which idling is measured, as with streams in `idle`
A_MINUTE = 60.0  # seconds between two resyncs in earnest


@dataclass(frozen=True, slots=True)
class Scale:
    """How many are stored, how many rounds of each, and how much is done in a round."""

    sizes: tuple[int, ...]
    rounds: int
    puts: int
    repeats: int  # of restart and resync
    debounce: float  # seconds until what is ready is good
    resync_every: float  # seconds
    idle: float  # seconds; 0: not measured


SCALES = {
    Extent.QUICK: Scale(
        (100,), rounds=1, puts=10, repeats=1, debounce=0.5, resync_every=0.3, idle=0.0
    ),
    Extent.USUAL: Scale(
        (0, 1_000, OF_THE_PLAN),
        rounds=1,
        puts=100,
        repeats=3,
        debounce=10.0,
        resync_every=2.0,
        idle=0.0,
    ),
    Extent.FULL: Scale(
        (0, 1_000, OF_THE_PLAN, LARGE),
        rounds=3,
        puts=300,
        repeats=5,
        debounce=10.0,
        resync_every=2.0,
        idle=A_MINUTE,
    ),
}


@dataclass
class Round:
    """One controller's figures."""

    boot: dict[str, float]
    good: dict[str, float]  # from then on, until all are good
    restarts: list[dict[str, float]] = field(default_factory=list)
    resyncs: list[dict[str, float]] = field(default_factory=list)
    puts: dict[str, list[float]] = field(default_factory=dict)
    idle: list[float] = field(default_factory=list)  # parts of a core

    @property
    def after(self) -> float:
        """MiB of RSS, after a restart and resyncs."""
        return self.resyncs[-1]["rss"] / MIB

    @property
    def until_good(self) -> float:
        """CPU. A boot of many may last so long that its first are good before its last are started."""
        return self.boot["cpu"] + self.good["cpu"]


async def measure(extent: Extent, progress: Progress) -> list[Figure]:
    """Each size on ground of its own."""
    scale = SCALES[extent]
    figures: list[Figure] = []
    costs: dict[int, list[Round]] = {}
    for size in scale.sizes:
        times = 1 if size == LARGE else scale.rounds
        for number in range(times):
            progress(f"scale: {size:,} pipelines, round {number + 1} of {times}")
            costs.setdefault(size, []).append(await _round(scale, size, progress))
        figures += [*(_costs(size, costs[size]) if size else ()), *_put_figures(size, costs[size])]
    large = [size for size in scale.sizes if size]
    for small, big in pairwise(large):
        figures += _growth(small, costs[small], big, costs[big])
    return figures


# ---- one controller


async def _round(scale: Scale, size: int, progress: Progress) -> Round:
    async with ground() as here:
        await fill(here, NAMESPACE, size)
        seen = await _first(here, scale, size, progress)
        for _ in range(scale.repeats - 1):
            async with child(here, NAMESPACE, scale.debounce) as controller:
                await _restarted(controller, seen, size)
        resync = ("--resync", str(scale.resync_every))
        if scale.idle and size == AN_IDLE:
            progress(f"scale: {size:,} pipelines: idle for {scale.idle:g} s")
            await _idle(here, seen, scale)
        async with puts_into(here, NAMESPACE, CALLED) as puts:
            async with child(here, NAMESPACE, scale.debounce, *resync) as controller:
                await _restarted(controller, seen, size)
                await _resyncs(controller, seen, scale.repeats)
                progress(f"scale: {size:,} pipelines: puts")
                await _puts_meanwhile(controller, puts, seen, scale)
            async with child(here, NAMESPACE, scale.debounce) as controller:
                await controller.do("boot")
                await _puts(controller, puts, seen, scale)
    return seen


async def _first(here: Ground, scale: Scale, size: int, progress: Progress) -> Round:
    async with child(here, NAMESPACE, scale.debounce) as controller:
        progress(f"scale: {size:,} pipelines: boot")
        boot = await controller.do("boot")
        if boot["running"] != size:
            raise RuntimeError(f"{boot['running']} of {size} run")
        seen = Round(boot, await controller.do(f"calm {scale.debounce + 1 if size else 0}"))
        await controller.do("end")
    return seen


async def _restarted(controller: Child, seen: Round, size: int) -> None:
    restart = await controller.do("boot")
    if restart["starts"] or restart["running"] != size:
        raise RuntimeError("a restart with nothing to do started something")
    seen.restarts.append(restart)
    await controller.do("calm 1")


async def _resyncs(controller: Child, seen: Round, times: int) -> None:
    """The first is left out: it may have begun in the boot."""
    for _ in range(times + 1):
        seen.resyncs.append(await controller.do("resync 1"))
    del seen.resyncs[0]


async def _idle(here: Ground, seen: Round, scale: Scale) -> None:
    """No executor is asked for anything but to list: what is left is the controller's own."""
    async with child(here, NAMESPACE, scale.debounce, "--resync", str(A_MINUTE)) as controller:
        await controller.do("boot")
        await controller.do("calm 5")
        window = await controller.do(f"calm {scale.idle}")
        seen.idle.append(window["cpu"] / window["wall"])


async def _puts_meanwhile(controller: Child, puts: Puts, seen: Round, scale: Scale) -> None:
    """Of those that are sent while resyncs come one after the other, those that meet one."""
    times = round(scale.puts / SLOW / scale.resync_every) + 1
    resyncing = controller.begin(f"resync {times}")
    sent = await puts.at_rate("meanwhile", scale.puts, SLOW)
    spans = (await resyncing)["spans"]
    during = [p for p in sent if any(begin <= p.at <= end for begin, end in spans)]
    seen.puts[RESYNCING] = _took(during)
    await controller.do("calm 1")


async def _puts(controller: Child, puts: Puts, seen: Round, scale: Scale) -> None:
    seen.puts[AT_REST] = _took(await puts.one_by_one("rest", scale.puts))
    seen.puts[AT_50] = _took(await puts.at_rate("slow", scale.puts, SLOW))
    await controller.do("calm 1")
    seen.puts[AT_500] = _took(await puts.at_rate("fast", 5 * scale.puts, FAST))


def _took(puts: Sequence[Put]) -> list[float]:
    return [put.took for put in puts]


# ---- figures


def _costs(size: int, rounds: list[Round]) -> list[Figure]:
    def of(what: str, unit: Unit, values: Sequence[float], limit: float | None = None) -> Figure:
        target = None if limit is None else Target(limit, "ours")
        point = Point(what, size)
        return Figure(f"{size:,} stored: {what}", unit, tuple(values), target=target, point=point)

    plan, large = size == OF_THE_PLAN, size == LARGE
    restarts = [restart for r in rounds for restart in r.restarts]
    memory = 120 if plan else 250 if large else None
    idle = [100 * part for r in rounds for part in r.idle]
    return [
        of("boot to converged", "s", [r.boot["wall"] for r in rounds], 2.0 if plan else None),
        of("boot, CPU", "s", [r.boot["cpu"] for r in rounds]),
        of("boot until all are good, CPU", "s", [r.until_good for r in rounds]),
        of("boot, longest pause of its loop", "s", [r.boot["pause"] for r in rounds]),
        of("restart, nothing to do", "s", [r["wall"] for r in restarts], 1.0 if plan else None),
        of("restart, nothing to do, CPU", "s", [r["cpu"] for r in restarts]),
        of(
            "resync, CPU",
            "s",
            [s["each"] for r in rounds for s in r.resyncs],
            0.3 if plan else None,
        ),
        of("memory, RSS", "MiB", [r.good["rss"] / MIB for r in rounds], memory),
        of("memory after a restart, RSS", "MiB", [r.after for r in rounds], memory),
        *([of("idle, CPU of a core", "%", idle, 1.0)] if idle else []),
    ]


def _put_figures(size: int, rounds: list[Round]) -> list[Figure]:
    figures = []
    for when in (AT_REST, AT_50, AT_500, RESYNCING):
        each = [r.puts[when] for r in rounds if r.puts[when]]
        if not each:  # a resync of so few is over before a put is sent
            continue
        for name, values, limit in (
            ("p50", [took for puts in each for took in puts], 0.002),
            ("p99", [_p99(puts) for puts in each], 0.015),
        ):
            what = f"put -> executor {when}, {name}"
            target = Target(limit, "ours") if size == OF_THE_PLAN else None
            point = Point(what, size)
            figures.append(
                Figure(f"{size:,} stored: {what}", "s", tuple(values), target=target, point=point)
            )
    return figures


def _p99(values: list[float]) -> float:
    return quantiles(values, n=100, method="inclusive")[-1] if len(values) > 1 else values[0]


def _growth(small: int, fewer: list[Round], big: int, more: list[Round]) -> list[Figure]:
    """How many times the CPU so many times the pipelines cost."""
    target = Target(5.5, "ratio") if (small, big) == (OF_THE_PLAN, LARGE) else None

    def grown(what: str, ours: list[float], other: list[float]) -> Figure:
        words = f"{small:,} -> {big:,} stored: {what}"
        other_is = "the smaller of the two numbers of pipelines, where a row names two"
        return Figure(words, "s", (median(ours),), (median(other),), other_is, target)

    return [
        grown(
            "boot until all are good, CPU",
            [r.until_good for r in more],
            [r.until_good for r in fewer],
        ),
        grown(
            "restart, CPU",
            [s["cpu"] for r in more for s in r.restarts],
            [s["cpu"] for r in fewer for s in r.restarts],
        ),
        grown(
            "resync, CPU",
            [s["each"] for r in more for s in r.resyncs],
            [s["each"] for r in fewer for s in r.resyncs],
        ),
    ]
