"""What is stored of an execution, since the engine forgets everything: `<state>/streams/<name>/`.

handle.json    whose it is, what shaped it, its last life
config.yaml    the pinned bytes
engine.log     the engine's lines of it, of lives that have ended and of what its host's log no longer has
output.log     what it printed, of lives that have ended, where it had its host to itself
metrics.prom   its last metrics
base.prom      what its host had counted under its name before its last life
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from nexthos_controller.execution import Exit, Owner
from nexthos_controller.executors.local import folders
from nexthos_shared.model import Pipeline, parse_duration
from nexthos_shared.problems import first_mistake

HANDLE = "handle.json"
PREPARED = "prepared.json"
CONFIG = "config.yaml"
LOG = "engine.log"
OUTPUT = "output.log"
METRICS = "metrics.prom"
BASE = "base.prom"


@dataclass(frozen=True, slots=True)
class HostId:
    """A host, one life of it: no other process, on no other boot, has the same."""

    number: int
    pid: int
    ticks: int
    boot: str

    def __str__(self) -> str:
        return f"{self.pid}-{self.ticks}-{self.boot}"


@dataclass(frozen=True, slots=True)
class Life:
    """One life of an execution: a stream in a host."""

    host: HostId
    count: int  # which of this execution's lives it is
    started_at: float  # seconds since the epoch
    log_offset: int  # bytes of the host's log when it began
    output_offset: int = 0  # bytes of what the host had printed then
    made_with: Mapping[str, str] = field(default_factory=dict)
    stopping: bool = False  # somebody asked it to end
    exit: Exit | None = None

    @property
    def uid(self) -> str:
        """The host's, and which life it is."""
        return f"{self.host}-{self.count}"


@dataclass(frozen=True, slots=True)
class Handle:
    """Whose it is, what shaped it, its last life, and the one that its host was asked to create, if any.

    `creating` is noted before the host is asked. That it has begun is the host's to say, and is not noted
    again before something else is: a file's replacement takes as long as a third of the engine's part.
    `party` is how many may share a host with it: 0 as many as the settings say; see `suspicion`.
    """

    name: str
    owner: Owner
    id: str
    replica: int
    spec_hash: str
    revision: int
    digest: str
    definition: dict[str, Any]
    life: Life | None = None
    creating: Life | None = None
    starts: int = 0
    party: int = 0

    @property
    def running(self) -> bool:
        """Whether its last life has not ended, as far as is known."""
        return self.life is not None and self.life.exit is None

    @property
    def home(self) -> HostId | None:
        """The host in which it runs, or may have begun to."""
        life = self.life if self.running else self.creating
        return life.host if life is not None else None

    def begun(self, life: Life) -> Handle:
        """With that life in place of the one that was to be created."""
        return replace(self, life=life, creating=None)

    @property
    def env(self) -> Mapping[str, str]:
        """The definition's variables, whose values are shown to nobody."""
        return self.definition.get("env") or {}

    @property
    def stop_timeout(self) -> float:
        """Seconds to drain."""
        stored = self.definition.get("stop_timeout")
        usual: float = Pipeline.model_fields["stop_timeout"].default
        try:
            return usual if stored is None else parse_duration(stored)
        except ValueError:  # somebody edited the file
            return usual

    def to_json(self) -> bytes:
        """As stored."""
        return _ADAPTER.dump_json(self)


_ADAPTER: TypeAdapter[Handle] = TypeAdapter(Handle)


def publish(root: Path, handle: Handle, config: bytes) -> None:
    """Make the whole folder. Raises FileExistsError if there is one, OSError if it can't be made."""
    content = handle.to_json()
    files = {HANDLE: content, PREPARED: content, CONFIG: config}
    folders.publish(root, handle.owner, handle.name, files)


def save(folder: Path, handle: Handle) -> None:
    """Replace the handle in one step. Raises OSError."""
    folders.replace_file(folder / HANDLE, handle.to_json())


def load(folder: Path) -> tuple[Handle | None, str]:
    """The folder's handle and "", or what was noted when it was prepared and what is wrong since.

    Raises FileNotFoundError, NotADirectoryError, PermissionError for what is no folder of ours, and
    another OSError where nothing can be said.
    """
    try:
        return _load(folder / HANDLE, folder), ""
    except (ValueError, FileNotFoundError) as error:
        damage = str(error) or type(error).__name__
        missing = isinstance(error, FileNotFoundError)
    try:
        return _load(folder / PREPARED, folder), damage
    except FileNotFoundError:
        if missing:
            raise
    except ValueError:
        pass
    return None, damage


def _load(file: Path, folder: Path) -> Handle:
    try:
        handle = _ADAPTER.validate_json(file.read_bytes())
    except ValidationError as error:
        raise ValueError(first_mistake(error).words) from error
    if handle.name != folder.name:
        raise ValueError(f"it is the handle of {handle.name}")
    return handle
