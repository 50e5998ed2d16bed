"""A host: one engine process in streams mode, as it is stored and as it is started.

    <state>/hosts/<n>/host.json    whose it is, its life, its port and password
                      new.json     the same, as it was before it was started
                      root.yaml    what it is started with: nothing of any pipeline, readable by us alone
                      exit         the shim's note of its end
                      engine.log   the engine's own log: of all its streams
                      output.log   what it prints: its streams' output, which may look like anything
                      errors.log   what Go's runtime says of it, when it crashes

Comes in: numbers, a binary. Goes out: values and files. Starts nothing. The password and the root path
stand in root.yaml and not in argv, because whoever has them can read every stream's values, and can run
programs as this user: the host's API would do both for everybody on this machine.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import structlog
from pydantic import TypeAdapter, ValidationError

from nexthos_controller.execution import Owner
from nexthos_controller.executors.local import folders
from nexthos_controller.executors.local.processes import Session
from nexthos_controller.executors.streams.api import USER
from nexthos_controller.executors.streams.handle import HostId
from nexthos_shared import names

log = structlog.get_logger(__name__)

HANDLE = "host.json"
COPY = "new.json"
ROOT = "root.yaml"
LOG = "engine.log"
OUTPUT = "output.log"
ERRORS = "errors.log"
SHUTDOWN_TIMEOUT = 20.0  # seconds that streams may drain when the host itself is asked to end


@dataclass(frozen=True, slots=True)
class HostHandle:
    """As stored. `pid` is 0 while it is being spawned."""

    owner: Owner
    number: int
    engine: str  # which binary, and which one of that name
    port: int
    token: str  # http.root_path, which nobody else has
    password: str
    party: int  # how many suspects may share it; 0: it is for all others
    started_at: float  # seconds since the epoch
    pid: int = 0
    ticks: int = 0
    boot: str = ""
    first: str = ""  # the first stream that it was given
    shared: bool = False  # it was given another one, too
    retired: bool = False  # it gets no more
    metrics: Mapping[str, str] = field(default_factory=dict)  # that it has, see `shares`

    @property
    def id(self) -> HostId:
        """This life of it."""
        return HostId(self.number, self.pid, self.ticks, self.boot)

    @property
    def endpoint(self) -> str:
        """Base URL of its HTTP."""
        return f"http://127.0.0.1:{self.port}"

    def to_json(self) -> bytes:
        """As stored."""
        return _ADAPTER.dump_json(self)


_ADAPTER: TypeAdapter[HostHandle] = TypeAdapter(HostHandle)


# With 2,000 streams in 8 hosts that pass messages, 50 takes 200 MB less than Go's own 100, and no more time.
# By itself it has one stream at full speed in an almost empty host pass an eighth fewer messages.
_GARBAGE = "50"
# Bytes that a host's heap may grow by in any case, if the engine is ours; another one passes over it.
_HEADROOM = 32 << 20


def environment(folder: Path) -> dict[str, str]:
    """All that a host gets: nothing of any pipeline."""
    return {
        "PATH": path_of(folder),
        "GOGC": _GARBAGE,
        names.ENV_GC_HEADROOM: str(_HEADROOM),
    }


def path_of(folder: Path) -> str:
    """It ends with its folder, so its members can be told by it."""
    return f"{os.environ.get('PATH', os.defpath)}:{folder}"


def session_of(handle: HostHandle, folder: Path) -> Session:
    """Its processes."""
    return Session(handle.pid, handle.ticks, handle.boot, f"PATH={path_of(folder)}".encode())


def new_handle(
    owner: Owner, number: int, engine: str, port: int, party: int, now: float
) -> HostHandle:
    """One that was never started."""
    return HostHandle(
        owner=owner,
        number=number,
        engine=engine,
        port=port,
        token=f"/x{secrets.token_hex(16)}",
        password=secrets.token_hex(24),
        party=party,
        started_at=now,
    )


def root_config(handle: HostHandle, log: Path) -> bytes:
    """What the engine is started with. JSON is YAML.

    Its log is a file of its own: what a stream prints can't be told from a line of it.
    """
    hashed = base64.b64encode(hashlib.sha256(handle.password.encode()).digest()).decode()
    auth = {"enabled": True, "username": USER, "password_hash": hashed, "algorithm": "sha256"}
    config: dict[str, Any] = {
        "http": {
            "enabled": True,
            "address": f"127.0.0.1:{handle.port}",
            "root_path": handle.token,
            "debug_endpoints": False,
            "basic_auth": auth,
        },
        "logger": {
            "level": "INFO",
            "format": "json",
            "add_timestamp": True,
            "file": {"path": str(log), "rotate": False},  # it is cut in place, see `tending`
        },
        "metrics": {"prometheus": {}},
        "shutdown_delay": "0s",
        "shutdown_timeout": f"{SHUTDOWN_TIMEOUT:g}s",
    }
    return json.dumps(config).encode()


def publish(root: Path, handle: HostHandle) -> None:
    """Make its folder. Raises FileExistsError if the number is taken, OSError if it can't be made."""
    content = handle.to_json()
    files = {
        HANDLE: content,
        COPY: content,
        ROOT: root_config(handle, root / str(handle.number) / LOG),
    }
    folders.publish(root, handle.owner, str(handle.number), files)


def save(folder: Path, handle: HostHandle) -> None:
    """Replace its handle in one step. Raises OSError."""
    folders.replace_file(folder / HANDLE, handle.to_json())


def load(folder: Path) -> HostHandle | None:
    """What is stored, or its copy if that is damaged; None if it is nothing of ours. Raises OSError."""
    handle = _read(folder / HANDLE)
    if handle is None and (copy := _read(folder / COPY)) is not None:
        log.warning("a damaged handle of a host", folder=str(folder))
        handle = replace(copy, shared=True)  # as far as is known
    return handle if handle is not None and str(handle.number) == folder.name else None


def _read(file: Path) -> HostHandle | None:
    try:
        return _ADAPTER.validate_json(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError, PermissionError, ValidationError):
        return None
