"""What the contract suite needs of each executor: the same acts on the world behind it, done its own way.

A later executor adds a rig (fake_rig.py and process_rig.py are two) and a name to the fixture `rig`; the
tests stay as they are.
"""

from __future__ import annotations

import asyncio
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Literal, Self

from nexthos_controller.execution import Execution, Listing, Owner, Spec
from nexthos_controller.executors.contract import Connection, LocalContext, ReplicaExecutor
from nexthos_shared import names
from nexthos_shared.engine import locate_engine
from nexthos_shared.errors import EngineMissing, NexthosError, StoreUnavailable
from nexthos_shared.model import Pipeline
from nexthos_testing import puppet

Behaviour = Literal["steady", "puppet", "stubborn", "disconnected"]

STEADY = b"input: {generate: {interval: 10ms, mapping: 'root = \"hi\"'}}\noutput: {drop: {}}\n"
DISCONNECTED = b"""\
input: {generate: {interval: 10ms, mapping: 'root = "hi"'}}
output: {socket: {network: tcp, address: "127.0.0.1:1"}}
"""
UNFIT = STEADY + b"cache_resources: [{label: c, memory: {}}]\n"  # where an engine is shared
SECRET = "s3cr3t-value-of-a-variable"


class Rig(ABC):
    """An executor, what it was given, and the world behind it. `async with` opens the executor."""

    kind: str
    limits = True  # whether it refuses resources that it can't enforce
    refuses_bytes = False  # whether it refuses UNFIT
    engine_lost: type[NexthosError] = EngineMissing  # what `prepare` raises then

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # What runs is found by its command line, and tests beside this one run things, too. The same for
        # the same folder: a controller that is to be killed has a rig of its own.
        self.owner = Owner("ns", f"one-{names.digest_of(str(folder).encode())[7:15]}")
        self.configs: dict[str, bytes] = {}
        self.fetches: list[str] = []
        self.fetch_error: NexthosError | None = None
        self.guards = 0
        self.guard_limit: int | None = None  # calls of the guard that pass
        self.engine = folder / "an-engine"
        self._executor: ReplicaExecutor | None = None

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

    def context(self, owner: Owner | None = None) -> LocalContext:
        if owner is not None and not owner.installation.endswith(self.owner.installation):
            owner = Owner(owner.namespace, f"{owner.installation}-{self.owner.installation}")
        return LocalContext(
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
    def make(self, owner: Owner | None = None) -> ReplicaExecutor:
        """One that is not open yet, of this or of another owner, in the same world."""

    @property
    def executor(self) -> ReplicaExecutor:
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
    async def other(self, owner: Owner | None = None) -> AsyncIterator[ReplicaExecutor]:
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

    def lose_engine(self) -> None:
        """Let the puppet's engine be gone."""
        self.engine.unlink()

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
