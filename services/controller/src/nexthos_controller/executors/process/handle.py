"""What is stored of an execution. How its folder comes, changes and goes is `machine.folders`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from nexthos_controller import failpoints
from nexthos_controller.execution import Exit, Owner
from nexthos_controller.executors.local import belongings, folders
from nexthos_controller.executors.local.processes import Session
from nexthos_shared import names
from nexthos_shared.model import Pipeline, parse_duration
from nexthos_shared.problems import first_mistake

HANDLE = "handle.json"
PREPARED = "prepared.json"
CONFIG = "config.yaml"
LOG = "engine.log"
METRICS = "metrics.prom"
PASSWORD = "password"  # of its HTTP; beside the handle, which a hand or a full disk may damage


@dataclass(frozen=True, slots=True)
class Life:
    """One life of an execution. `pid` is 0 while it is being spawned."""

    pid: int
    ticks: int
    boot: str
    port: int
    token: str  # the password of the engine's HTTP; empty: not known
    started_at: float  # seconds since the epoch
    log_offset: int  # bytes of engine.log that belong to earlier lives
    user: int | None = None  # that it runs as; None: who the controller is
    made_with: Mapping[str, str] = field(
        default_factory=dict
    )  # what the settings made of its names
    stopping: bool = False  # somebody asked it to end
    exit: Exit | None = None

    @property
    def uid(self) -> str:
        """`<pid>-<start ticks>-<boot id>`: no other process, on no other boot, has the same."""
        return f"{self.pid}-{self.ticks}-{self.boot}"

    @property
    def endpoint(self) -> str:
        """Base URL of the engine's own HTTP."""
        return f"http://127.0.0.1:{self.port}"


def metrics_of(folder: Path, life: Life | None) -> Path:
    """The engine's last metrics: it makes a file beside it first, so it lies where the engine may."""
    own = life is not None and life.user is not None
    return folder / belongings.WORK / METRICS if own else folder / METRICS


@dataclass(frozen=True, slots=True)
class Handle:
    """Whose it is, what shaped it, its last life, and the one that is being spawned, if any."""

    name: str
    owner: Owner
    id: str
    replica: int
    spec_hash: str
    revision: int
    digest: str
    takes_metrics: bool
    definition: dict[str, Any] | None = None  # None: only a running process could tell, see shim.py
    life: Life | None = None
    spawning: Life | None = None
    starts: int = 0

    @property
    def env(self) -> Mapping[str, str] | None:
        """The definition's variables, whose values are shown to nobody; None if not known."""
        return None if self.definition is None else self.definition.get("env") or {}

    @property
    def stop_timeout(self) -> float:
        """Seconds to drain; the usual ones if what shaped it is not known."""
        stored = (self.definition or {}).get("stop_timeout")
        usual: float = Pipeline.model_fields["stop_timeout"].default
        try:
            return usual if stored is None else parse_duration(stored)
        except ValueError:  # somebody edited the file
            return usual

    @property
    def session(self) -> Session | None:
        """The processes of its last life."""
        if self.life is None:
            return None
        mark = f"{names.ENV_PIPELINE}={self.id}".encode()
        return Session(self.life.pid, self.life.ticks, self.life.boot, mark)

    def to_json(self) -> bytes:
        """As stored."""
        return _ADAPTER.dump_json(self)


_ADAPTER: TypeAdapter[Handle] = TypeAdapter(Handle)


def read_handle_json(content: bytes) -> Handle:
    """Raises ValueError for what is no handle."""
    try:
        return _ADAPTER.validate_json(content)
    except ValidationError as error:
        raise ValueError(first_mistake(error).words) from error


# ---- folders


def publish(root: Path, handle: Handle, config: bytes) -> None:
    """Make the whole folder. Raises FileExistsError if there is one, OSError if it can't be made."""
    content = handle.to_json()
    files = {HANDLE: content, PREPARED: content, CONFIG: config}
    reached = partial(failpoints.reach, "process.preparing")
    folders.publish(root, handle.owner, handle.name, files, reached)


def save(folder: Path, handle: Handle) -> None:
    """Replace the handle in one step. Raises OSError."""
    folders.replace_file(folder / HANDLE, handle.to_json())


def load(folder: Path) -> tuple[Handle | None, str]:
    """The folder's handle and "", or the best that is left of it and what is wrong with it.

    Raises NotADirectoryError, PermissionError or FileNotFoundError for what is no folder of ours, and
    another OSError (too many open files) where nothing can be said.
    """
    try:
        return _load(folder / HANDLE, folder), ""
    except (ValueError, FileNotFoundError) as error:
        damage = str(error) or type(error).__name__
        found = isinstance(error, ValueError)
    with suppress(ValueError, FileNotFoundError):
        return _load(folder / PREPARED, folder), damage
    if not found:
        raise FileNotFoundError(f"{folder}: no handle")
    return None, damage


def _load(file: Path, folder: Path) -> Handle:
    handle = read_handle_json(file.read_bytes())
    if handle.name != folder.name:
        raise ValueError(f"it is the handle of {handle.name}")
    return handle
