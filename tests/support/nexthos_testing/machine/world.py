"""Platforms that tell what is done to them, and by which look: what a controller says is not asked.

Two worlds, one behind each executor, with two places each. A thing that a rule puts there, ends or takes
away was nobody's look: it was done by hand, or by the world itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from nexthos_controller.execution import Execution, Exit, Spec, Stopped
from nexthos_controller.executors.contract import LocalContext
from nexthos_controller.executors.fake import FakeExecutor, FakeWorld, Thing
from nexthos_shared.errors import ExecutorUnreachable
from nexthos_shared.reasons import Problem, Reason

BAD = b"input: {no_such_input: {}}\n"  # what an engine refuses: it ends with 1 before it is ready


@dataclass(eq=False)
class Life:
    """One life of an execution."""

    thing: Thing
    execution: Execution  # as it began
    began: float
    by_hand: bool
    was_ready: bool = False
    ended: float | None = None
    outcome: Literal["", "completed", "failed"] = ""  # of a life that ended by itself
    lied_about: bool = False  # a stop said that it had ended it, and had not

    @property
    def replica(self) -> tuple[str, int]:
        """Pipeline and replica."""
        return self.execution.id, self.execution.replica

    @property
    def spec(self) -> str:
        """Its spec hash."""
        return self.execution.spec_hash

    @property
    def runs(self) -> bool:
        """Whether it lives."""
        return self.ended is None


class Witness(Protocol):
    """Who hears of everything that happens to things."""

    def made(self, thing: Thing) -> None: ...

    def began(self, life: Life) -> None: ...

    def ended(self, life: Life, exit: Exit | None) -> None: ...

    def asked(self, life: Life) -> None: ...

    def removed(self, thing: Thing) -> None: ...


class WatchedWorld(FakeWorld):
    """See the module."""

    def __init__(self, executor: str, now: Callable[[], float], witness: Witness) -> None:
        self.here, self.there = f"{executor}-here", f"{executor}-there"
        super().__init__((self.here, self.there))
        self.executor = executor
        self.things = _Things(self)
        self.lives: dict[str, Life] = {}  # by uid
        self.witness = witness
        self._now = now

    def life(self, thing: Thing) -> Life | None:
        """The last life of a thing."""
        return self.lives.get(thing.execution.uid)

    def running_lives(self) -> list[Life]:
        """What really runs."""
        lives = (self.life(t) for t in self.things.values() if t.execution.state == "running")
        return [life for life in lives if life is not None]

    def change(self, thing: Thing, **changes: object) -> None:
        """See FakeWorld."""
        life = self.life(thing)
        super().change(thing, **changes)
        if life is None or life.execution.uid != thing.execution.uid:
            return
        life.was_ready = life.was_ready or bool(thing.execution.ready)
        exit = thing.execution.exit
        if not life.runs and exit is not None and exit.signalled:
            self.witness.asked(life)

    def begin(self, thing: Thing) -> None:
        """See FakeWorld. An engine that is given what it refuses ends at once."""
        super().begin(thing)
        uid = f"{self.executor}-{thing.execution.uid}"
        bad = thing.content == BAD
        thing.execution = replace(
            thing.execution,
            uid=uid,
            started_at=self._now(),
            ready=None if bad else thing.execution.ready,
        )
        life = Life(thing, thing.execution, self._now(), by_hand=False)
        life.was_ready = bool(thing.execution.ready)
        self.lives[uid] = life
        if bad:
            self.end(thing, Exit(1, False, Problem(Reason.EXITED, "no such input")))
        self.witness.began(life)

    def end(self, thing: Thing, exit: Exit) -> None:
        """See FakeWorld."""
        life = self.life(thing)
        super().end(thing, exit)
        self.over(life, exit)

    def over(self, life: Life | None, exit: Exit | None) -> None:
        """A life has ended, or is nowhere to be found any more."""
        if life is not None and life.runs:
            life.ended = self._now()
            self.witness.ended(life, exit)


class _Things(dict[str, Thing]):
    """What a world keeps, and tells."""

    def __init__(self, world: WatchedWorld) -> None:
        super().__init__()
        self._world = world

    def __setitem__(self, name: str, thing: Thing) -> None:
        super().__setitem__(name, thing)
        self._world.witness.made(thing)

    def __delitem__(self, name: str) -> None:
        self.pop(name)

    def pop(self, name: str, *default: Any) -> Any:
        """As of a dict."""
        thing = super().pop(name)
        self._world.over(self._world.life(thing), None)
        self._world.witness.removed(thing)
        return thing


class WatchedExecutor(FakeExecutor):
    """A view of such a world under the executor's name."""

    def __init__(self, context: LocalContext, world: WatchedWorld) -> None:
        super().__init__(context, world)
        self.name = world.executor
        self._watched = world

    async def prepare(self, spec: Spec, replica: int) -> None:
        """See FakeExecutor. What does not answer makes nothing."""
        self._answers()
        await super().prepare(spec, replica)

    async def start(self, spec: Spec, replica: int) -> Execution:
        """See FakeExecutor."""
        self._answers()
        return await super().start(spec, replica)

    def _answers(self) -> None:
        if self._watched.places[0] in self._watched.faults.silent:
            raise ExecutorUnreachable(f"{self._watched.places[0]} does not answer")

    async def stop(self, execution: Execution, grace: float) -> Stopped:
        """See FakeExecutor."""
        if "stop" in self._watched.faults.lie and (life := self._watched.lives.get(execution.uid)):
            life.lied_about = True
        return await super().stop(execution, grace)
