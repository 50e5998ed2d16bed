"""The vocabulary of executors: what shapes an execution, what one is, and what a place tells of them.

`reconcile` decides by these values alone and knows nothing of executors; the contract (executors/contract.py)
says what the words mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nexthos_shared.model import Pipeline, Update
from nexthos_shared.reasons import Problem

State = Literal["prepared", "running", "stopping", "stopped"]
Stopped = Literal["drained", "killed", "asked"]
Progress = Literal["progressing", "available", "stalled", "complete", "failed", "deleting"]
Kind = Literal["service", "job"]

SAYS = "; the engine says: "  # in a problem's words: what follows is the engine's own last error


@dataclass(frozen=True, slots=True)
class Owner:
    """Who owns an execution: one installation of one namespace."""

    namespace: str
    installation: str


@dataclass(frozen=True, slots=True)
class Spec:
    """What shapes an execution. Two specs with equal `spec_hash` are the same."""

    id: str
    revision: int  # of the entry that it was first accepted from
    spec_hash: str
    digest: str  # sha256:<hex> of the configuration's bytes, pinned
    executor: str  # resolved: never empty
    definition: Pipeline


@dataclass(frozen=True, slots=True)
class Exit:
    """How an execution ended."""

    code: int | None  # None: not known, for example after a kill of the whole group or a reboot
    signalled: (
        bool  # somebody asked it to end (stop, or a signal to the group): exit 0 is then no success
    )
    problem: Problem | None = None  # cause in words, with the engine's last error line, if known


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution as its place knows it at this moment."""

    name: str
    id: str
    replica: int
    uid: str  # empty while prepared
    executor: str
    place: str
    spec_hash: str
    revision: int
    digest: str
    state: State
    exit: Exit | None = None  # set when stopped
    ready: bool | None = None  # every input and output connected; None: not known (yet)
    started_at: float | None = None  # seconds since the epoch
    endpoint: str | None = None  # base URL of the engine's own HTTP, as reachable from here
    problem: Problem | None = None  # what keeps it from being ready, if known
    symptoms: tuple[Problem, ...] = ()  # what goes wrong while it runs; `field`: the component
    stop_timeout: float = 30.0  # seconds to drain, as it was started with
    outdated: str = ""  # what the settings would make otherwise today, in words; "": nothing
    altered: str = ""  # what somebody changed of it since it was made, in words; "": nothing


@dataclass(frozen=True, slots=True)
class Workload:
    """What a platform should run by itself: replicas, rolling updates and restarts are its own."""

    spec: Spec
    replicas: int  # 0: paused; what the platform keeps of it stays
    update: Update


@dataclass(frozen=True, slots=True)
class WorkloadState:
    """One workload as its place knows it at this moment."""

    id: str
    kind: Kind
    uid: str  # one life of it: another after it was deleted and applied again
    executor: str
    place: str
    spec_hash: str  # of the spec that was applied last
    revision: int
    digest: str
    replicas: int  # as it was applied last
    ready: int = 0
    updated: int = 0  # replicas of the spec that was applied last
    restarts: int = 0  # of its present replicas, as the platform counts them
    state: Progress = "progressing"
    problem: Problem | None = None  # what keeps it from being ready, or why it failed
    outdated: str = ""  # what the settings would make otherwise today, in words; "": nothing
    altered: str = ""  # what somebody changed of it since it was applied, in words; "": nothing


Found = Execution | WorkloadState


@dataclass(frozen=True, slots=True)
class Listing:
    """Executions and workloads, and the places that answered in full: what is not listed is not *there*.

    The executions of a workload are read only: logs and metrics are asked of them, and nothing else.
    """

    executions: tuple[Execution, ...]
    places: frozenset[str]
    workloads: tuple[WorkloadState, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Stranger:
    """Something that runs of our namespace, and of another installation: not ours to touch."""

    installation: str
    what: str  # in words: a pipeline's id, or what holds several


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of an execution. `stream`: `log` for the engine's own log, `output` for the rest."""

    text: str
    stream: Literal["log", "output"]
    time: float | None = None  # seconds since the epoch, if the line says so
