"""What would be a machine or a daemon, in memory, and how a test makes it misbehave.

A `FakeWorld` outlives the executor objects that look at it, so two controllers, or a controller before and
after a crash, can share one. `Faults` make it misbehave as real platforms do; `calls` holds every effect,
in order, for tests that count them.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from nexthos_controller.execution import Execution, Exit, LogLine, Owner
from nexthos_controller.executors.shared.hints import Hints
from nexthos_shared.errors import NexthosError
from nexthos_shared.reasons import Problem, Reason

Method = Literal["list", "find", "prepare", "start", "stop", "remove", "metrics"]


@dataclass
class Faults:
    """Misbehaviour, to be set and reset by a test at any time. A key is a method, or (method, id)."""

    hang: dict[object, asyncio.Event] = field(default_factory=dict)  # no return before it is set
    fail: dict[object, list[NexthosError]] = field(default_factory=dict)  # raised one by one
    lie: set[str] = field(default_factory=set)  # methods that say done and do nothing
    silent: set[str] = field(default_factory=set)  # places that don't answer
    never_ready: bool = False  # what starts stays not ready
    stubborn: bool = False  # outlives SIGTERM
    immortal: bool = False  # outlives SIGKILL
    refuse: bool = False  # the platform starts nothing: disk full
    unfit: bytes = b""  # bytes that hold it can't run here
    latency: float = 0.0  # seconds, of every call


@dataclass(frozen=True, slots=True)
class Call:
    """One effect, or one attempt at it. `execution` is a name; the places are those of the contract."""

    method: Method
    execution: str
    id: str
    uid: str = ""


@dataclass
class Thing:
    """What the world keeps of one execution."""

    owner: Owner
    execution: Execution
    content: bytes | None  # None: gone or damaged
    lines: list[LogLine] = field(default_factory=list)
    metrics: str = ""
    over: asyncio.Event = field(default_factory=asyncio.Event)


class FakeWorld:
    """The platform behind fake executors. Give the same one to several executors to let them share it."""

    def __init__(self, places: Iterable[str] = ("fake",)) -> None:
        self.faults = Faults()
        self.calls: list[Call] = []
        self.things: dict[str, Thing] = {}
        self.places = tuple(places)
        self.foreign: set[str] = set()  # names that something else carries
        self.hints: list[Hints] = []
        self._lives = itertools.count(1)

    # ---- what a test does to the world

    def finish(self, name: str, code: int | None = 0, *, signalled: bool = False) -> None:
        """Let it end by itself, as an engine would."""
        problem = None
        if code is None:
            problem = Problem(Reason.KILLED, "the engine was killed")
        elif code and not signalled:
            problem = Problem(Reason.EXITED, f"the engine ended with exit code {code}")
        self.end(self.things[name], Exit(code, signalled, problem))

    def set_ready(self, name: str, ready: bool | None, problem: Problem | None = None) -> None:
        """Let it become ready or unready."""
        self.change(self.things[name], ready=ready, problem=problem)

    def vanish(self, name: str) -> None:
        """Let it be gone, without a word to anybody."""
        self.things.pop(name).over.set()

    def say(self, name: str, text: str, stream: Literal["log", "output"] = "output") -> None:
        """Let it write a line."""
        self.things[name].lines.append(
            LogLine(text, stream, time.time() if stream == "log" else None)
        )

    def running(self, pipeline_id: str | None = None) -> list[Execution]:
        """What really runs, whatever an executor says."""
        executions = (t.execution for t in self.things.values())
        return [e for e in executions if e.state == "running" and pipeline_id in (None, e.id)]

    def count(self, method: Method, pipeline_id: str | None = None) -> int:
        """How often an effect was asked for."""
        return sum(c.method == method and pipeline_id in (None, c.id) for c in self.calls)

    # ---- what executors do to it

    def change(self, thing: Thing, **changes: object) -> None:
        """Change an execution and tell who listens."""
        thing.execution = replace(thing.execution, **changes)  # type: ignore[arg-type]
        for hints in self.hints:
            hints.add(thing.execution.id)

    def begin(self, thing: Thing) -> None:
        """A new life."""
        thing.over = asyncio.Event()
        ready = None if self.faults.never_ready else True
        uid = f"life-{next(self._lives)}"
        thing.metrics = f'fake_up{{uid="{uid}"}} 1\n'
        self.change(
            thing,
            uid=uid,
            state="running",
            exit=None,
            ready=ready,
            started_at=time.time(),
            endpoint=f"http://fake/{uid}",
        )

    def end(self, thing: Thing, exit: Exit) -> None:
        """The end of a life."""
        if thing.execution.state == "running":
            gone = {"ready": None, "endpoint": None, "problem": None}
            self.change(thing, state="stopped", exit=exit, **gone)
            thing.over.set()
