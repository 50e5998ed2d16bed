"""What deciding looks at, and what it answers: values only.

A `View` is everything that is known of one pipeline at one moment. A `Decision` is what to do next,
what to remember before doing it, and when to look again. Nobody here asks the time, the store or an
executor: the controller fills the view and carries out the steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from nexthos_controller.execution import Execution, Found, Spec, Workload, WorkloadState
from nexthos_shared.model import Entry, Memory, Place, Traits, Update
from nexthos_shared.reasons import Problem


@dataclass(frozen=True, slots=True)
class ConfigFacts:
    """What is known of the configuration object that the entry names."""

    digest: str | None = None  # None: there is no such object
    problem: Problem | None = None  # it can't be used (too large), or can't be asked for right now


@dataclass(frozen=True, slots=True)
class View:
    """Everything that is known of one pipeline at one moment."""

    key: str
    entry: Entry | None  # None: the key has no entry and no marker, which proves nothing
    memory: Memory
    now: float  # seconds since the epoch
    executions: tuple[Execution, ...] = ()
    workloads: tuple[WorkloadState, ...] = ()
    platforms: frozenset[str] = frozenset()  # executors whose platform does the replicas itself
    config: ConfigFacts = ConfigFacts()
    lints: Mapping[str, tuple[Problem, ...]] = field(default_factory=dict)
    #   spec hash -> what the engine's lint says; a missing hash was not asked yet
    checks: Mapping[str, tuple[Problem, ...]] = field(default_factory=dict)
    #   executor offered -> what it can't do of the entry's definition
    default_executor: str = "process"
    silent: tuple[Problem, ...] = ()  # executors and places of this pipeline that did not answer
    answered: frozenset[Place] = frozenset()  # places that answered in full
    abandoned: frozenset[str] = frozenset()  # places that somebody declared gone
    traits: Traits | None = None  # of the bytes of `memory.current`, if they were read
    connections: Mapping[str, str] = field(default_factory=dict)  # name -> NATS URL
    away: frozenset[str] = frozenset()  # NATS URLs that answered before, and don't now
    connected_since: float = 0.0  # the store answers since then (seconds since the epoch)
    good_stored: bool = False  # the object of `memory.last_good` still has the pinned bytes
    ready_debounce: float = 10.0  # seconds: shorter changes of readiness are not told
    fault: Problem | None = None  # what the last attempt to act ran into

    @property
    def own(self) -> tuple[Execution, ...]:
        """Executions that are ours to start and stop; those of a workload are its platform's."""
        return tuple(e for e in self.executions if e.executor not in self.platforms)

    @property
    def found(self) -> tuple[Found, ...]:
        """All that was found of it, whoever does its replicas."""
        return (*self.executions, *self.workloads)

    @property
    def is_empty(self) -> bool:
        """Whether nothing of it was found anywhere."""
        return not self.found


Mode = Literal["run", "keep", "none", "leave"]


@dataclass(frozen=True, slots=True)
class Target:
    """What should be there (architecture.md, table A).

    run: `spec`, `replicas` times. keep: nothing runs, what exists is kept. none: no trace.
    leave: nothing may be concluded, so whatever is there stays as it is.
    """

    mode: Mode
    spec: Spec | None = None
    replicas: int = 0
    update: Update = field(default_factory=Update)
    refused: Problem | None = None  # why the entry's own spec is not the target
    to_lint: Spec | None = None  # must pass the engine's lint before it may become the target


@dataclass(frozen=True, slots=True)
class Lint:
    """Ask the engine whether it takes this configuration."""

    spec: Spec


@dataclass(frozen=True, slots=True)
class Prepare:
    """Executor.prepare."""

    spec: Spec
    replica: int


@dataclass(frozen=True, slots=True)
class Start:
    """Executor.start."""

    spec: Spec
    replica: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Executor.stop."""

    execution: Execution
    grace: float  # seconds


@dataclass(frozen=True, slots=True)
class Remove:
    """Executor.remove."""

    execution: Execution


@dataclass(frozen=True, slots=True)
class Apply:
    """WorkloadExecutor.apply."""

    workload: Workload


@dataclass(frozen=True, slots=True)
class Delete:
    """WorkloadExecutor.delete."""

    workload: WorkloadState


Step = Lint | Prepare | Start | Stop | Remove | Apply | Delete


@dataclass(frozen=True, slots=True)
class Decision:
    """Carry out `steps` in order after writing `memory`; the first that fails ends the attempt."""

    target: Target
    memory: Memory
    steps: tuple[Step, ...] = ()
    look_again: float | None = None  # seconds from now; None: only when something changes
    late: Problem | None = None  # why the current definition did not get ready in its time
    forget: bool = False  # nothing is left of it: its status key goes too
