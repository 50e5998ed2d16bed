"""What `executors.docker.volumes` and `.ports` of the controller's settings let definitions ask for. Pure.

    volumes: {names: [data, "cache-*"], roots: [/srv/in], folders: [/srv/out], targets: [/data, /in]}
    ports:   {addresses: [127.0.0.1], ranges: ["8000-8999"]}

Comes in: settings, and paths, names, addresses and numbers that were read already. Goes out: whether they
are allowed. Nothing is, unless it is listed; and some paths never are, whatever is listed.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

# Where the runner, its engine and what they load are (and all that begins with /lib), and what a kernel or
# Docker puts there. /var/run is another name of /run in most images.
NEVER = tuple(
    PurePosixPath(path)
    for path in (
        "/bin",
        "/boot",
        "/dev",
        "/etc",
        "/opt/nexthos",
        "/proc",
        "/root",
        "/run",
        "/sbin",
        "/sys",
        "/tmp",
        "/usr",
        "/var/lock",
        "/var/run",
        "/var/tmp",
    )
)
# Of the host: whoever has the socket, or what Docker keeps, has the machine.
SECRET = tuple(
    PurePosixPath(path)
    for path in ("/dev", "/etc", "/proc", "/root", "/run", "/sys", "/var/run", "/var/lib/docker")
)
_PATTERN = re.compile(r"[a-zA-Z0-9*][a-zA-Z0-9_.*-]{0,127}")
_ANONYMOUS = re.compile(r"[0-9a-f]{64}")
_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


def plain(text: str) -> PurePosixPath:
    """An absolute path without `.`, doubled and trailing slashes. Raises ValueError, also for `..`."""
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if not text.startswith("/") or ".." in parts or not text.isprintable():
        raise ValueError("must be an absolute path without `..`")
    return PurePosixPath("/", *parts)


def touches(path: PurePosixPath, others: Iterable[PurePosixPath]) -> bool:
    """Whether it is one of them, holds one, or lies in one; in whatever case, as some hosts have it."""
    mine = _folded(path)
    return any(mine.is_relative_to(o) or o.is_relative_to(mine) for o in map(_folded, others))


def is_reserved(path: PurePosixPath) -> bool:
    """Whether the runner, its engine or the system needs that path of a container."""
    top = _folded(path).parts[1:2]
    return touches(path, NEVER) or any(part.startswith("lib") for part in top)


def _folded(path: PurePosixPath) -> PurePosixPath:
    return PurePosixPath(str(path).casefold())


def _path(value: str) -> str:
    return str(plain(value))


def _target(value: str) -> str:
    if is_reserved(plain(value)):
        raise ValueError("holds, or lies in, what the runner needs: name a folder such as /data")
    return _path(value)


def _host(value: str) -> str:
    if touches(plain(value), SECRET):
        raise ValueError(
            "holds, or lies in, what gives the host away: name a folder such as /srv/in"
        )
    return _path(value)


def _pattern(value: str) -> str:
    if not _PATTERN.fullmatch(value):
        raise ValueError("must be a volume's name, in which `*` stands for anything")
    return value


def _address(value: str) -> str:
    return str(ipaddress.ip_address(value))


def _range(value: str) -> str:
    low, high = bounds(value)
    if not 0 < low <= high < 65536:
        raise ValueError("must be a port or a range of them, such as 8000-8999")
    return value


def bounds(value: str) -> tuple[int, int]:
    """Lowest and highest; (0, 0) for what is no range."""
    match = _RANGE.fullmatch(value)
    return (int(match[1]), int(match[2] or match[1])) if match else (0, 0)


Target = Annotated[str, AfterValidator(_target)]
HostPath = Annotated[str, AfterValidator(_host)]
Pattern = Annotated[str, AfterValidator(_pattern)]
Address = Annotated[str, AfterValidator(_address)]
Range = Annotated[str, AfterValidator(_range)]


class Volumes(BaseModel):
    """Which volumes, and where. Empty: none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    names: tuple[Pattern, ...] = Field((), description="named volumes; `*` stands for anything")
    roots: tuple[HostPath, ...] = Field(
        (), description="host folders that may be read, they and what is below them"
    )
    folders: tuple[HostPath, ...] = Field(
        (), description="host folders that may be written too, exactly these"
    )
    targets: tuple[Target, ...] = Field(
        (), description="where in the container: these folders, and what is below them"
    )

    @model_validator(mode="after")
    def _apart(self) -> Volumes:
        roots = [PurePosixPath(root) for root in self.roots]
        for folder in self.folders:
            if touches(PurePosixPath(folder), roots):
                raise ValueError(f"folders: {folder} holds one of the roots, or lies in one")
        return self

    def takes_name(self, name: str) -> bool:
        """Whether a volume of that name may be used. One without a name is another container's."""
        return not _ANONYMOUS.fullmatch(name) and any(fnmatchcase(name, p) for p in self.names)

    def takes_target(self, path: PurePosixPath) -> bool:
        """Whether something may be mounted there."""
        return not is_reserved(path) and any(path.is_relative_to(t) for t in self.targets)

    def takes_host(self, path: PurePosixPath, *, read_only: bool) -> bool:
        """Whether that path of the host may be mounted.

        Who may write in a folder can put a link there, which the daemon would follow at the next mount:
        so nothing below a folder that can be written is ever mounted by itself.
        """
        if str(path) in self.folders:
            return True
        return read_only and any(path.is_relative_to(root) for root in self.roots)


class Ports(BaseModel):
    """Which ports of the host. Both must be listed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    addresses: tuple[Address, ...] = Field(
        (), description="of the host; 0.0.0.0 is what an entry without an address asks for"
    )
    ranges: tuple[Range, ...] = Field((), description="of the host: 8080, or 8000-8999")

    def takes_address(self, address: str) -> bool:
        """Whether a port may be published there."""
        return address in self.addresses

    def takes_port(self, port: int) -> bool:
        """Whether that number may be published."""
        return any(low <= port <= high for low, high in map(bounds, self.ranges))
