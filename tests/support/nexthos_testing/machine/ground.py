"""What outlives every controller: the store, the platforms, the clock, and who judges."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry

from nexthos_controller.execution import Execution, Owner
from nexthos_controller.executors.fake import Thing
from nexthos_controller.telemetry.instruments import Instruments
from nexthos_shared.model import Entry, read_entry
from nexthos_shared.store import KvEntry
from nexthos_testing.machine.acting import LOOK
from nexthos_testing.machine.chronicle import EXECUTORS, Chronicle
from nexthos_testing.machine.clock import VirtualLoop
from nexthos_testing.machine.judge import Judge
from nexthos_testing.machine.store import MemoryBucket, MemoryConfigs
from nexthos_testing.machine.world import Life, WatchedWorld

EPOCH = 1_700_000_000.0


class Ground:
    """See the module."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.owner = Owner("memory", "ours")
        self.pipelines, self.statuses = MemoryBucket("pipelines"), MemoryBucket("statuses")
        self.buckets = {"pipelines": self.pipelines, "statuses": self.statuses}
        self.configs = MemoryConfigs()
        self.instruments = Instruments.of(CollectorRegistry())
        self.chronicle = Chronicle(self.configs)
        self.judge = Judge(self.chronicle, self.owner, self.now)
        self.worlds = {name: WatchedWorld(name, self.now, self.judge) for name in EXECUTORS}
        self.judge.worlds = self.worlds
        self.pipelines.on_write = self._wrote
        self.statuses.on_write = self.judge.told
        self.deaf = False  # no hint of an executor comes through
        self.abandoned: set[str] = set()  # places that somebody declared gone

    def now(self) -> float:
        """Seconds since the epoch, as everybody here has them."""
        return EPOCH + self.loop.time()

    def _wrote(self, stored: KvEntry) -> None:
        assert LOOK.get() is None, "a controller writes a definition"
        self.chronicle.wrote(read_entry(stored.key, stored.revision, stored.value))

    # ---- what is there

    def entry(self, key: str) -> Entry | None:
        """What is stored under a key."""
        stored = self.loop.run_until_complete(self.pipelines.get(key))
        return read_entry(key, stored.revision, stored.value) if stored else None

    def owned(self) -> set[str]:
        """Pipelines of which an executor would list something."""
        return {
            t.execution.id
            for world in self.worlds.values()
            for t in world.things.values()
            if t.owner == self.owner and t.execution.place not in world.faults.silent
        }

    def things(self, key: str | None = None) -> list[tuple[WatchedWorld, Thing]]:
        """Ours, whatever their state."""
        return [
            (world, thing)
            for world in self.worlds.values()
            for _, thing in sorted(world.things.items())
            if thing.owner == self.owner and key in (None, thing.execution.id)
        ]

    def running(self, key: str | None = None) -> list[Life]:
        """Ours that run."""
        lives = (life for world in self.worlds.values() for life in world.running_lives())
        ours = (life for life in lives if life.thing.owner == self.owner)
        return [life for life in ours if key in (None, life.execution.id)]

    def executions(self, key: str) -> Sequence[Execution]:
        """Ours of one pipeline."""
        return [thing.execution for _, thing in self.things(key)]

    # ---- faults

    @property
    def all_places_answer(self) -> bool:
        """Whether whatever there is can be seen."""
        knobs = (k for w in self.worlds.values() for k in (w.faults.silent, w.faults.hang))
        return not any(knobs) and not any(
            f for w in self.worlds.values() for f in w.faults.fail.values()
        )

    @property
    def is_faultless(self) -> bool:
        """Whether nothing misbehaves at the moment."""
        store = self.statuses.refuses or self.statuses.loses or self.deaf
        return not store and not any(_misbehaves(world) for world in self.worlds.values())

    def heal(self) -> None:
        """No fault any more: what was declared or left is as it should be."""
        self.deaf = False
        self.abandoned.clear()
        self.statuses.refuses.clear()
        self.statuses.loses.clear()
        for world in self.worlds.values():
            faults = world.faults
            for hanging in faults.hang.values():
                hanging.set()
            for knobs in (faults.hang, faults.fail, faults.lie, faults.silent, world.foreign):
                knobs.clear()
            faults.never_ready = faults.stubborn = faults.immortal = faults.refuse = False
            world.places = (world.here, world.there)
            for life in world.running_lives():
                if life.thing.owner == self.owner:
                    world.set_ready(life.execution.name, True)


def _misbehaves(world: WatchedWorld) -> bool:
    faults = world.faults
    knobs = (faults.hang, faults.lie, faults.silent, world.foreign)
    flags = (faults.never_ready, faults.stubborn, faults.immortal, faults.refuse)
    return any(knobs) or any(faults.fail.values()) or any(flags)
