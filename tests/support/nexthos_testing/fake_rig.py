"""The rig of the fake executor: the reference of what a rig does to a world."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from nexthos_controller.execution import Execution, Owner, Spec
from nexthos_controller.executors.contract import ReplicaExecutor
from nexthos_controller.executors.fake import FakeExecutor, FakeWorld
from nexthos_shared.reasons import Problem, Reason
from nexthos_testing.rig import Rig


class FakeRig(Rig):
    """The reference."""

    kind = "fake"
    refuses_bytes = True

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.world = FakeWorld()
        self.world.faults.unfit = b"cache_resources"

    def make(self, owner: Owner | None = None) -> ReplicaExecutor:
        return FakeExecutor(self.context(owner), self.world)

    def spec(self, *args: Any, **more: Any) -> Spec:
        behaviour = args[1] if len(args) > 1 else more.get("behaviour", "steady")
        self.world.faults.stubborn = behaviour == "stubborn"
        self.world.faults.never_ready = behaviour == "disconnected"
        return super().spec(*args, **more)

    def alive(self, name: str) -> int:
        return sum(e.name == name for e in self.world.running())

    def finish(self, execution: Execution, code: int) -> None:
        self.world.finish(execution.name, code)

    def kill(self, execution: Execution) -> None:
        self.world.finish(execution.name, None)

    def signal(self, execution: Execution) -> None:
        self.world.finish(execution.name, 0, signalled=True)

    def connect(self, execution: Execution, ready: bool) -> None:
        problem = None if ready else Problem(Reason.NOT_CONNECTED, "not connected")
        self.world.set_ready(execution.name, ready, problem)

    def say(self, execution: Execution, text: str, stream: Literal["log", "output"]) -> None:
        self.world.say(execution.name, text, stream)

    def damage(self, execution: Execution) -> None:
        self.world.things[execution.name].content = None

    def occupy(self, name: str) -> None:
        self.world.foreign.add(name)

    def untouched(self, name: str) -> bool:
        return name in self.world.foreign and name not in self.world.things

    def traces(self, name: str) -> list[str]:
        return [n for n in self.world.things if n == name]

    def shown(self, execution: Execution) -> str:
        return repr(self.world.things[execution.name].execution) + repr(self.world.calls)

    @contextmanager
    def immortal(self) -> Iterator[None]:
        self.world.faults.immortal = True
        yield
        self.world.faults.immortal = False

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        self.world.faults.silent = set(self.world.places)
        yield
        self.world.faults.silent = set()

    @contextmanager
    def refusing(self) -> Iterator[None]:
        self.world.faults.refuse = True
        yield
        self.world.faults.refuse = False

    def clean(self) -> None:
        self.world.things.clear()
