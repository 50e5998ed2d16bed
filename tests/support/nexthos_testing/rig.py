"""What the contract suite needs of each executor: the same acts on the world behind it, done its own way.

A later executor adds a rig and a name to the fixture `rig`; the tests stay as they are.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Self

import pytest

from nexthos_controller.executors.base import (
    Connection,
    Execution,
    Executor,
    ExecutorContext,
    Listing,
    Owner,
    Spec,
)
from nexthos_controller.executors.fake import FakeExecutor, FakeWorld
from nexthos_controller.executors.process import ProcessExecutor, ending, probe, processes
from nexthos_shared import names
from nexthos_shared.engine import locate_engine
from nexthos_shared.errors import NexthosError, StoreUnavailable
from nexthos_shared.models import Pipeline
from nexthos_shared.reasons import Problem, Reason
from nexthos_testing import puppet

Behaviour = Literal["steady", "puppet", "stubborn", "disconnected"]

STEADY = b"input: {generate: {interval: 10ms, mapping: 'root = \"hi\"'}}\noutput: {drop: {}}\n"
DISCONNECTED = b"""\
input: {generate: {interval: 10ms, mapping: 'root = "hi"'}}
output: {socket: {network: tcp, address: "127.0.0.1:1"}}
"""
SECRET = "s3cr3t-value-of-a-variable"


class Rig(ABC):
    """An executor, what it was given, and the world behind it. `async with` opens the executor."""

    kind: str
    limits = True  # whether it refuses resources that it can't enforce

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.owner = Owner("ns", "one")
        self.configs: dict[str, bytes] = {}
        self.fetches: list[str] = []
        self.fetch_error: NexthosError | None = None
        self.guards = 0
        self.guard_limit: int | None = None  # calls of the guard that pass
        self.engine = folder / "an-engine"
        self._executor: Executor | None = None

    # ---- what the executor is given

    async def fetch(self, spec: Spec) -> bytes:
        self.fetches.append(spec.digest)
        await asyncio.sleep(0)
        if self.fetch_error is not None:
            raise self.fetch_error
        return self.configs[spec.digest]

    def guard(self) -> None:
        self.guards += 1
        if self.guard_limit is not None and self.guards > self.guard_limit:
            raise StoreUnavailable("the lease is lost")

    def let_guard_pass(self, calls: int | None) -> None:
        """Let that many calls pass from now on; None: all."""
        self.guards, self.guard_limit = 0, calls

    def context(self, owner: Owner | None = None) -> ExecutorContext:
        return ExecutorContext(
            owner=owner or self.owner,
            fetch=self.fetch,
            engines={"default": locate_engine(), "puppet": self.engine},
            connections={"default": Connection("nats://127.0.0.1:1")},
            state_dir=self.folder / "state",
            guard=self.guard,
        )

    def spec(
        self,
        pipeline_id: str = "orders",
        behaviour: Behaviour = "steady",
        *,
        revision: int = 1,
        config: dict[str, Any] | bytes | None = None,
        **definition: Any,
    ) -> Spec:
        """A spec that behaves like that; `config` is the puppet's."""
        content = config if isinstance(config, bytes) else _content(behaviour, config)
        real = isinstance(config, bytes) or behaviour in ("steady", "disconnected")
        given = {"status": "published", "version": "1", "engine": "default" if real else "puppet"}
        pipeline = Pipeline.model_validate({**given, **definition}, strict=False)
        digest = names.digest_of(content)
        self.configs[digest] = content
        return Spec(
            id=pipeline_id,
            revision=revision,
            spec_hash=pipeline.spec_hash(digest),
            digest=digest,
            executor=self.kind,
            definition=pipeline,
        )

    # ---- the executor

    @abstractmethod
    def make(self, owner: Owner | None = None) -> Executor:
        """One that is not open yet, of this or of another owner, in the same world."""

    @property
    def executor(self) -> Executor:
        assert self._executor is not None
        return self._executor

    async def set_up(self) -> None:
        """What the world must have before the executor opens."""
        call = f"exec '{sys.executable}' -IS '{puppet.__file__}'"
        self.engine.write_text(f'#!/bin/sh\nunset PWD OLDPWD SHLVL\n{call} "$@"\n')
        self.engine.chmod(0o700)

    async def __aenter__(self) -> Self:
        await self.set_up()
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.let_guard_pass(None)
        if self._executor is not None:
            await self._executor.__aexit__(None, None, None)
        self.clean()

    async def close(self) -> None:
        """As a controller that ends."""
        await self.executor.__aexit__(None, None, None)
        self._executor = None

    async def open(self) -> None:
        """As the next controller."""
        self._executor = await self.make().__aenter__()

    async def reopen(self) -> None:
        await self.close()
        await self.open()

    @asynccontextmanager
    async def other(self, owner: Owner | None = None) -> AsyncIterator[Executor]:
        """Another installation's executor in the same world."""
        async with self.make(owner or Owner("ns", "two")) as executor:
            yield executor

    async def listing(self, spec: Spec) -> Listing:
        return await self.executor.find(spec.id)

    async def seen(self, spec: Spec, replica: int = 0) -> Execution:
        """The one execution of this spec and replica."""
        listing = await self.executor.find(spec.id)
        [one] = [
            e for e in listing.executions if (e.spec_hash, e.replica) == (spec.spec_hash, replica)
        ]
        return one

    # ---- the world behind it

    @abstractmethod
    def alive(self, name: str) -> int:
        """How many of that name really run."""

    @abstractmethod
    def finish(self, execution: Execution, code: int) -> None:
        """Let a puppet end by itself."""

    @abstractmethod
    def kill(self, execution: Execution) -> None:
        """End it from outside, all of it, by SIGKILL."""

    @abstractmethod
    def signal(self, execution: Execution) -> None:
        """Ask it from outside to end, all of it."""

    @abstractmethod
    def connect(self, execution: Execution, ready: bool) -> None:
        """Let a puppet become ready or unready."""

    @abstractmethod
    def say(self, execution: Execution, text: str, stream: Literal["log", "output"]) -> None:
        """Let a puppet write a line."""

    @abstractmethod
    def damage(self, execution: Execution) -> None:
        """Let the bytes that are kept with it be lost."""

    @abstractmethod
    def occupy(self, name: str) -> None:
        """Let something that is not ours have the name."""

    @abstractmethod
    def untouched(self, name: str) -> bool:
        """Whether what has the name by `occupy` is as it was."""

    @abstractmethod
    def traces(self, name: str) -> list[str]:
        """What is left of that name."""

    @abstractmethod
    def shown(self, execution: Execution) -> str:
        """Everything that others on the same platform can see of it: argv, labels."""

    @contextmanager
    @abstractmethod
    def immortal(self) -> Iterator[None]:
        """SIGKILL does nothing meanwhile."""

    @contextmanager
    @abstractmethod
    def unreachable(self) -> Iterator[None]:
        """No place answers meanwhile."""

    @contextmanager
    @abstractmethod
    def refusing(self) -> Iterator[None]:
        """The platform refuses to start anything meanwhile."""

    @abstractmethod
    def clean(self) -> None:
        """End whatever a failed test left."""


def _content(behaviour: Behaviour, config: dict[str, Any] | None) -> bytes:
    if behaviour == "steady":
        return STEADY
    if behaviour == "disconnected":
        return DISCONNECTED
    stubborn = {"term": "ignore"} if behaviour == "stubborn" else {}
    return json.dumps({**stubborn, **(config or {})}).encode()


class FakeRig(Rig):
    """The reference."""

    kind = "fake"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.world = FakeWorld()

    def make(self, owner: Owner | None = None) -> Executor:
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


class ProcessRig(Rig):
    """Real processes, real engines."""

    kind = "process"

    async def __aenter__(self) -> Self:
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(probe, "LAST_PAUSE", 0.1)  # 5 s in earnest: a test would take as long
        return await super().__aenter__()

    async def __aexit__(self, *reason: object) -> None:
        await super().__aexit__(*reason)
        self._patch.undo()

    @property
    def root(self) -> Path:
        return self.folder / "state" / "executions"

    def make(self, owner: Owner | None = None) -> Executor:
        return ProcessExecutor(self.context(owner))

    def pids(self, name: str) -> dict[int, int]:
        """Leaders' PIDs by that of everything alive that names the folder, or lives in such a session."""
        return pids_below(self.root / name)

    def alive(self, name: str) -> int:
        return len(set(self.pids(name).values()))

    def order(self, execution: Execution, words: str) -> None:
        with (self.root / execution.name / "orders").open("a") as orders:
            orders.write(f"{words}\n")

    def finish(self, execution: Execution, code: int) -> None:
        self.order(execution, f"exit {code}")

    def kill(self, execution: Execution) -> None:
        os.killpg(leader(execution), signal.SIGKILL)

    def signal(self, execution: Execution) -> None:
        os.killpg(leader(execution), signal.SIGTERM)

    def connect(self, execution: Execution, ready: bool) -> None:
        self.order(execution, f"ready {int(ready)}")

    def say(self, execution: Execution, text: str, stream: Literal["log", "output"]) -> None:
        self.order(execution, f"{'log' if stream == 'log' else 'say'} {text}")

    def damage(self, execution: Execution) -> None:
        (self.root / execution.name / "config.yaml").write_text("nonsense")

    def occupy(self, name: str) -> None:
        (self.root / name).mkdir()
        (self.root / name / "precious").write_text("not ours")

    def untouched(self, name: str) -> bool:
        return [f.read_text() for f in (self.root / name).iterdir()] == ["not ours"]

    def traces(self, name: str) -> list[str]:
        return [str(path) for path in self.root.iterdir() if name in path.name]

    def shown(self, execution: Execution) -> str:
        pids = self.pids(execution.name)
        lines = (Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids)
        return b"\n".join(lines).replace(b"\0", b" ").decode()

    @contextmanager
    def immortal(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(processes, "signal_group", lambda *_, **__: None)
            patch.setattr(processes, "signal_one", lambda *_, **__: None)
            patch.setattr(ending, "KILL_WITHIN", 0.1)
            yield

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        """Its folder can't be read: a file stands in its place."""
        away = self.root.with_name("away")
        self.root.rename(away)
        self.root.write_text("")
        yield
        self.root.unlink()
        away.rename(self.root)

    @contextmanager
    def refusing(self) -> Iterator[None]:
        with disk_full():
            yield

    def clean(self) -> None:
        for pid in pids_below(self.root):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder / "state", ignore_errors=True)


def leader(execution: Execution) -> int:
    """PID of a process execution's session."""
    return int(execution.uid.partition("-")[0])


def pids_below(folder: Path) -> dict[int, int]:
    """Sessions by PID of everything alive that names a path in `folder`, or lives in such a session."""
    found: dict[int, tuple[int, bool]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):
            line = (entry / "stat").read_text()
            fields = line[line.rindex(")") + 2 :].split()
            named = str(folder).encode() in (entry / "cmdline").read_bytes()
            if fields[0] != "Z" and int(entry.name) != os.getpid():
                found[int(entry.name)] = int(fields[3]), named
    sessions = {session for session, named in found.values() if named}
    return {pid: session for pid, (session, _) in found.items() if session in sessions}


@contextmanager
def disk_full() -> Iterator[None]:
    """No file may grow, as on a full disk: needs no disk of its own, and no root."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, kept)


RIGS: dict[str, type[Rig]] = {"fake": FakeRig, "process": ProcessRig}
