"""The executor contract: how one pipeline is made to run somewhere.

An executor knows how to start, stop, find and remove *executions*; it decides nothing. `reconcile`
decides, `loop.reconciler` calls, and each sentence below has a test in the contract suite
(`tests/contract/`), which runs over every executor and over the fake one.

Words
    spec        what shapes an execution: the definition, the digest of its bytes, their hash
    execution   what an executor spawned for one replica of one spec
    place       where an execution lives: a machine, a Docker daemon, a cluster, a NEX node
    uid         one life of an execution: a process (PID + start time + boot id), a container, a
                workload. Whatever ends something is aimed at the uid that was observed.

Rules for all methods
    - Only what carries our owner label (namespace + installation) is ever touched.
    - Absence is never proof: an execution is gone when the place where it lived answered without it.
      A place that did not answer is not in `Listing.places`.
    - Names are deterministic: the same spec and replica give the same name, so a call repeated
      after a crash finds what the first one made. Names are never parsed; labels decide.
    - Nothing secret stands in names, labels, argv or logs.
    - A call may be cancelled at any await; the next call heals what was left half done.
    - Errors are those of `nexthos_shared.errors`: TemporaryError (tried again), TerminalError (told
      to the user). Another exception is a defect of the executor.
    - `guard()` of the context is called before each effect, and again before a SIGKILL: it raises
      when this controller may no longer act, and then nothing more is done.

An execution's life
    (nothing) --prepare--> prepared --start--> running --(ends)--> stopped --start--> running ...
    remove leads from prepared or stopped to nothing. A state never goes backwards within one uid.

    One whose end was asked for and is not confirmed is `stopping`: nothing is started in its place.

Streams in a shared engine, containers and NEX workloads are executions in this sense: `uid` is the host
and the count of its lives, the container and its start, the workload's id; `prepare` is a folder, create
and pull, an auction.

Two kinds
    ReplicaExecutor   we do the replicas: prepare, start, stop, remove (process, streams, docker, NEX)
    WorkloadExecutor  its platform does them: apply, delete (Kubernetes); its executions are read only
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nexthos_controller.execution import (
    Execution,
    Listing,
    LogLine,
    Owner,
    Spec,
    Stopped,
    Stranger,
    Workload,
    WorkloadState,
)
from nexthos_shared.model import Pipeline
from nexthos_shared.process.engine_user import EngineUsers
from nexthos_shared.reasons import Problem


@dataclass(frozen=True, slots=True)
class Connection:
    """A NATS that executions of a pipeline get as NATS_URL and NATS_CREDS."""

    url: str
    creds: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorContext:
    """What every executor is given once; it must not know more of the controller."""

    owner: Owner
    fetch: Callable[[Spec], Awaitable[bytes]]  # verified bytes of spec.digest, or
    #   ConfigMissing, ConfigChanged, ConfigUnavailable
    connections: Mapping[str, Connection]  # name -> NATS; "default" is always there
    guard: Callable[[], None] = field(default=lambda: None)
    images: Mapping[str, str] = field(default_factory=dict)  # engine's name -> image with a runner
    options: Mapping[str, Any] = field(default_factory=dict)  # this executor's own settings


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalContext(ExecutorContext):
    """What those are given besides that run engines on this machine."""

    engines: Mapping[str, Path]  # name -> binary
    state_dir: Path
    engine_users: EngineUsers | None = None  # who engines run as; None: who we are


class Executor(ABC):
    """The contract. `async with executor:` opens it; leaving it stops no execution."""

    name: str
    """What `executor` in a definition says: process, streams, docker, kubernetes, nex, fake."""

    here = False
    """Whether executions see the files of this machine."""

    async def __aenter__(self) -> Self:
        """Open connections and take up watching what already runs."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release everything that was opened; executions live on."""
        return

    @abstractmethod
    def check(self, definition: Pipeline) -> list[Problem]:
        """What this executor can't do for this definition; empty if it can run. Pure: no I/O.

        Unknown engine and connection names, unknown `executor_options` and limits that can't be
        enforced are problems (UnknownEngine, UnknownConnection, CannotRunHere) with `field` set.
        """

    async def refusals(self, spec: Spec, config: bytes) -> list[Problem]:
        """What this executor can't do of these bytes; empty if it can run them. No effect anywhere.

        `prepare` and `start` raise the first of them.
        """
        return []

    @abstractmethod
    async def list(self) -> Listing:
        """Everything that carries our owner label, whatever its state, over all places.

        A place that answers only in part is not among `places`. Raises ExecutorUnreachable when
        none answered. Another installation's executions are not listed.
        """

    @abstractmethod
    async def find(self, pipeline_id: str) -> Listing:
        """As `list`, for one pipeline; cheap enough to be called at every look at it."""

    async def strangers(self) -> frozenset[Stranger]:
        """What runs here of our namespace and of another installation, as far as it can be seen.

        It is told and nothing else: a store that came back empty is another installation.
        """
        return frozenset()

    @abstractmethod
    def events(self) -> AsyncIterator[str]:
        """Ids to look at again: something started, became ready or unready, or ended.

        Hints only: they may come late, twice or never, and the iterator may end; correctness never
        rests on it.
        """

    @abstractmethod
    def logs(
        self, execution: Execution, *, tail: int = 100, follow: bool = False
    ) -> AsyncIterator[LogLine]:
        """The last `tail` lines, oldest first; with `follow` also new ones, until it is stopped."""

    @abstractmethod
    async def metrics(self, execution: Execution) -> str:
        """The engine's own metrics as Prometheus text; the last ones if it ended; "" if unknown."""


class ReplicaExecutor(Executor):
    """An executor of which we do the replicas: each is started, watched and started again by us."""

    @abstractmethod
    async def prepare(self, spec: Spec, replica: int) -> None:
        """Do all that can fail before an old execution is stopped: fetch, pull, create, auction.

        After: `start` needs nothing from the store. A second call does nothing. What is already
        prepared, running or kept under that name is left as it is. May do nothing at all.
        Raises NameConflict if something that is not ours has the name; ConfigMissing,
        ConfigChanged, ConfigUnavailable from `fetch`; EngineMissing; StartFailed.
        """

    @abstractmethod
    async def start(self, spec: Spec, replica: int) -> Execution:
        """Make it run. After: exactly one execution of that name runs, or an error was raised.

        Returns as soon as it runs, not when it is ready. Prepares what was not prepared. One that
        runs already is returned as it is (same uid). One that was kept is resumed in place, with
        the bytes that were kept with it; nothing is fetched while those are there and intact.
        Errors as `prepare`.
        """

    @abstractmethod
    async def stop(self, execution: Execution, grace: float) -> Stopped:
        """End that life of it: SIGTERM, `grace` seconds, SIGKILL, to the whole group.

        After: nothing of it runs; it is kept, with its handle, bytes and log, and its exit says
        `signalled`. Returns "drained" if it ended within the grace by itself, else "killed". "asked"
        says that no confirmation is to be had: it is `stopping` until its place answers without it.
        If another uid runs under that name, or it has ended already, nothing is done and "drained" is
        returned.
        Raises StillRunning if it outlived the kill. A cancelled stop leaves it running or ended,
        never half known.
        """

    @abstractmethod
    async def remove(self, execution: Execution) -> None:
        """Leave no trace of it: no handle, file, volume, log. A second call does nothing.

        Raises StillRunning if it runs. If another uid lives under that name, nothing is done.
        """


class WorkloadExecutor(Executor):
    """An executor whose platform does replicas, rolling updates and restarts by itself."""

    @abstractmethod
    async def apply(self, workload: Workload) -> None:
        """Have the platform run it so: create it, or change what is there of this pipeline and kind.

        Idempotent. Returns when the platform has accepted it, not when it is ready; 0 replicas pause
        it (a job is suspended). The bytes of `spec.digest` go with it: what runs asks nobody for them.
        Raises NameConflict if something that is not ours has the name; ConfigMissing, ConfigChanged,
        ConfigUnavailable from `fetch`; CannotRunHere, StartFailed.
        """

    @abstractmethod
    async def delete(self, workload: WorkloadState) -> None:
        """Have that life of it removed, with all that belongs to it; its replicas drain first.

        Returns when the platform was asked: it is `deleting` until its place answers without it. If
        another uid lives under that name, or nothing does, nothing is done.
        """
