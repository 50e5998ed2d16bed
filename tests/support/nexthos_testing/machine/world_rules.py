"""What platforms and engines do, and what people do to them behind the controller's back."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from nexthos_controller.execution import Execution, Owner
from nexthos_controller.executors.fake import Thing
from nexthos_shared import names as naming
from nexthos_shared.errors import ExecutorUnreachable, NameConflict, NexthosError, StartFailed
from nexthos_testing.machine.chronicle import EXECUTORS
from nexthos_testing.machine.rules import KEYS, keys, numbers
from nexthos_testing.machine.store_rules import CONTENT, StoreRules
from nexthos_testing.machine.world import Life, WatchedWorld

METHODS = ("find", "prepare", "start", "stop", "remove")
ERRORS: dict[str, type[NexthosError]] = {
    "find": ExecutorUnreachable,
    "prepare": StartFailed,
    "start": NameConflict,
    "stop": ExecutorUnreachable,
    "remove": ExecutorUnreachable,
}
NEIGHBOURS = Owner("memory", "theirs")
GOOD_AFTER = 12.0  # seconds
FLAGS = ("never_ready", "stubborn", "immortal", "refuse")

worlds = st.sampled_from([EXECUTORS[0], EXECUTORS[0], EXECUTORS[1]])
methods = st.sampled_from(METHODS)


class WorldRules(StoreRules):
    """Rules about the platforms."""

    def let_neighbours_run(self) -> None:
        """Another installation has pipelines of the same names on the same machine."""
        world = self.ground.worlds[EXECUTORS[0]]
        for key in KEYS:
            name = naming.execution_name("memory", key, 0, NEIGHBOURS.installation, "0" * 64)
            self._leave(world, NEIGHBOURS, name, key, 0, "0" * 64)

    def _leave(
        self, world: WatchedWorld, owner: Owner, name: str, key: str, replica: int, spec: str
    ) -> None:
        digest = naming.digest_of(CONTENT["1"])
        execution = Execution(
            name, key, replica, "", world.executor, world.here, spec, 1, digest, "prepared"
        )
        thing = Thing(owner, execution, CONTENT["1"])
        world.things[name] = thing
        world.begin(thing)

    def _pick(self, number: int) -> Life | None:
        """One of ours that runs."""
        lives = [x for x in self.ground.running() if x.execution.id in KEYS]
        return lives[number % len(lives)] if lives else None

    def _world(self, life: Life) -> WatchedWorld:
        return self.ground.worlds[life.execution.executor]

    # ---- engines

    @rule(number=numbers, code=st.sampled_from([0, 0, 1, 7, 7, None]), signalled=st.booleans())
    def end_one(self, number: int, code: int | None, signalled: bool) -> None:
        if (life := self._pick(number)) is not None:
            self._world(life).finish(life.execution.name, code, signalled=signalled)
            self.do()

    @rule(number=numbers, times=st.integers(2, 7))
    def one_crashes_again_and_again(self, number: int, times: int) -> None:
        """As soon as it runs again, for a while."""
        life = self._pick(number)
        for time in range(times if life is not None else 0):
            assert life is not None
            for again in self.ground.running(life.execution.id):
                if again.replica == life.replica and again.spec == life.spec:
                    self._world(again).finish(again.execution.name, 7)
            self.do(asyncio.sleep(1.3 * 2**time))

    @rule(number=numbers)
    def vanish(self, number: int) -> None:
        if (life := self._pick(number)) is not None:
            self._world(life).vanish(life.execution.name)
            self.do()

    @rule(number=numbers, ready=st.sampled_from([True, True, False, None]))
    def become_ready_or_not(self, number: int, ready: bool | None) -> None:
        if (life := self._pick(number)) is not None:
            self._world(life).set_ready(life.execution.name, ready)
            self.do()

    @rule(
        key=keys,
        seconds=st.sampled_from([5.0, 35.0]),
        times=st.integers(1, 2),
        over=st.booleans(),
    )
    def updates_do_not_get_ready(self, key: str, seconds: float, times: int, over: bool) -> None:
        """After a good time what starts, wherever, is not ready; for a while, or longer."""
        self.do(asyncio.sleep(GOOD_AFTER))
        for world in self.ground.worlds.values():
            world.faults.never_ready = True
        for time in range(times):
            self.change_the_version(key, True)
            self.change(key, {"env": {"TIME": str(time)}}, True)
            self.do(asyncio.sleep(seconds))
        for world in self.ground.worlds.values():
            world.faults.never_ready = not over

    @rule(number=numbers)
    def lose_one_and_its_bytes(self, number: int) -> None:
        """Somebody cleaned up, here and there."""
        if (life := self._pick(number)) is not None:
            pipeline = self.ground.chronicle.definition_of(life.execution)
            if pipeline is not None and pipeline.version is not None:
                self.remove_an_object(life.execution.id, pipeline.version, True)
            self._world(life).vanish(life.execution.name)
            self.do()

    @rule(key=keys, code=st.sampled_from([0, 0, 7]))
    def a_job_is_done(self, key: str, code: int) -> None:
        """It runs, and ends by itself."""
        self.make_it_a_job_or_a_service(key, True)
        for life in self.ground.running(key):
            self._world(life).finish(life.execution.name, code)
        self.do()

    # ---- people

    @precondition(lambda self: self.ground.is_faultless and self.is_awake)
    @rule(number=numbers, same=st.booleans())
    def start_another_by_hand(self, number: int, same: bool) -> None:
        """A twin of one that runs, or something that nobody knows."""
        life = self._pick(number)
        if life is None:
            return
        (key, replica), world = life.replica, self._world(life)
        spec = life.spec if same else "f" * 64
        name = f"{life.execution.name}-{len(world.things)}"
        self._leave(world, self.ground.owner, name, key, replica, spec)
        thing = world.things[name]
        thing.execution = replace(
            thing.execution, digest=life.execution.digest, revision=life.execution.revision
        )
        self.acting.controller.queue.add(key)
        self.do()

    @rule(key=keys, world=worlds, version=st.sampled_from(["1", "2"]))
    def take_its_name(self, key: str, world: str, version: str) -> None:
        """Something that is not ours has the name that the next start would give."""
        published = self.ground.chronicle.published.get(key)
        if published is None:
            return
        wanted = published.model_copy(update={"version": version})
        spec = wanted.spec_hash(naming.digest_of(CONTENT[version]))
        name = naming.execution_name("memory", key, 0, self.ground.owner.installation, spec)
        if name not in self.ground.worlds[world].things:
            self.ground.worlds[world].foreign.add(name)

    # ---- platforms

    @rule(world=worlds, key=keys, method=methods, times=st.integers(1, 3))
    def calls_fail(self, world: str, key: str, method: str, times: int) -> None:
        error = ERRORS[method]
        self.ground.worlds[world].faults.fail[method, key] = [error("no")] * times

    @rule(world=worlds, key=keys, method=methods)
    def a_call_hangs(self, world: str, key: str, method: str) -> None:
        self.ground.worlds[world].faults.hang.setdefault((method, key), asyncio.Event())

    @rule(world=worlds)
    def hanging_calls_return(self, world: str) -> None:
        faults = self.ground.worlds[world].faults
        for hanging in faults.hang.values():
            hanging.set()
        faults.hang.clear()
        self.do()

    @rule(world=worlds, method=st.sampled_from(["prepare", "start", "stop", "remove", None]))
    def lie(self, world: str, method: str | None) -> None:
        lie = self.ground.worlds[world].faults.lie
        if method is None:
            lie.clear()
        else:
            lie.add(method)

    @rule(world=worlds, flag=st.sampled_from(FLAGS), on=st.booleans())
    def misbehave_or_not(self, world: str, flag: str, on: bool) -> None:
        setattr(self.ground.worlds[world].faults, flag, on)

    @precondition(lambda self: not self.ground.chronicle.forgotten)
    @rule(world=worlds, which=st.sampled_from(["here", "there", "both"]))
    def fall_silent(self, world: str, which: str) -> None:
        there = self.ground.worlds[world]
        every = {"here": {there.here}, "there": {there.there}}
        there.faults.silent |= every.get(which, set(there.places))
        self.do()

    @precondition(lambda self: not self.ground.chronicle.forgotten)
    @rule(world=worlds)
    def be_another_machine(self, world: str) -> None:
        """What answers under the same address is another place, and the first one is not heard of."""
        there = self.ground.worlds[world]
        there.places = (there.there, there.here)
        there.faults.silent = {there.here}
        self.do()

    @rule(world=worlds)
    def answer_again(self, world: str) -> None:
        there = self.ground.worlds[world]
        if there.here not in self.ground.abandoned:
            there.faults.silent.clear()
            there.places = (there.here, there.there)
            self.do()

    @precondition(lambda self: self.is_awake and not self.ground.chronicle.forgotten)
    @rule()
    def lose_a_machine_and_say_so(self) -> None:
        """All that lived there is gone, nobody answers, and somebody declares it."""
        world = self.ground.worlds["docker"]
        for _, thing in self.ground.things():
            if thing.execution.executor == "docker" and thing.execution.place == world.here:
                del world.things[thing.execution.name]
        world.places = (world.there, world.here)
        world.faults.silent = {world.here}
        self.ground.abandoned.add(world.here)
        self.acting.controller.abandoned = frozenset(self.ground.abandoned)
        for key in KEYS:
            self.acting.controller.queue.add(key)
        self.do()
