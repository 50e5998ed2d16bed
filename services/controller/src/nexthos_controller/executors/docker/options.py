"""`executor_options` of a definition that runs in a container: ports and volumes, each only where allowed.

    ports:   ["8080:8080", "127.0.0.1:9000:9000/udp"]     [ADDRESS:]PORT:PORT[/tcp|udp], as docker run -p
    volumes: ["data:/data", "/srv/in:/in:ro"]             NAME or host path : path in the container [:ro]

Comes in: a definition and the settings. Goes out: what to create the container with, or problems that
name the field and the setting. Links of the host are not followed here (the host is the daemon's, not
ours), so a root must hold no link that leads out of it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from nexthos_controller.executors.docker.allowed import is_reserved, plain, touches
from nexthos_controller.executors.docker.settings import DockerSettings
from nexthos_controller.executors.shared import binding
from nexthos_shared.model import Pipeline
from nexthos_shared.reasons import Problem

FOLDER = "/run/nexthos"
KNOWN = ("ports", "volumes")
SHOWN = 200  # characters of what a definition says
_PORT = re.compile(
    r"(?:(?P<address>[0-9.]+|\[[0-9a-fA-F:.]+\]):)?"
    r"(?P<host>[0-9]{1,5}):(?P<port>[0-9]{1,5})(?:/(?P<kind>tcp|udp))?"
)
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}")
_EVERY = "0.0.0.0"
_NEVER = (
    "never allowed are sockets such as Docker's, privileged containers, and host paths outside the "
    "controller's executors.docker.volumes.roots and .folders"
)


@dataclass(frozen=True, slots=True)
class Port:
    """A port of the container, published on the host."""

    host: int
    port: int
    kind: str = "tcp"
    address: str = _EVERY  # every one of IPv4


@dataclass(frozen=True, slots=True)
class Volume:
    """A named volume or a host path, at a path of the container."""

    source: str
    target: str
    read_only: bool = False

    @property
    def bind(self) -> str:
        """As `docker run -v` takes it."""
        return f"{self.source}:{self.target}:{'ro' if self.read_only else 'rw'}"


class OptionRefused(ValueError):
    """What is wrong with one entry."""


def ports_of(definition: Pipeline, settings: DockerSettings) -> list[Port]:
    """Raises OptionRefused."""
    texts = _texts(definition.executor_options.get("ports", []))
    ports = [_port(text, settings) for text in texts]
    for taken in ([(p.port, p.kind) for p in ports], [(p.address, p.host, p.kind) for p in ports]):
        if len(set(taken)) < len(taken):
            raise OptionRefused("two of them have the same port")
    return ports


def volumes_of(definition: Pipeline, settings: DockerSettings) -> list[Volume]:
    """Raises OptionRefused."""
    texts = _texts(definition.executor_options.get("volumes", []))
    volumes = [_volume(text, settings) for text in texts]
    targets = [PurePosixPath(v.target) for v in volumes]
    for n, target in enumerate(targets):
        # A link in the outer one would lead the inner one anywhere.
        if touches(target, targets[:n]):
            raise OptionRefused(
                "two of them have the same path in the container, or one within the other"
            )
    return volumes


def problems_of(definition: Pipeline, settings: DockerSettings) -> Iterator[Problem]:
    """Everything in `executor_options` that can't be done."""
    for option in definition.executor_options:
        if option not in KNOWN:
            yield _cannot(
                option, f"the docker executor knows no such option (it knows: {', '.join(KNOWN)})"
            )
            continue
        try:
            (ports_of if option == "ports" else volumes_of)(definition, settings)
        except OptionRefused as error:
            yield _cannot(option, str(error))
    if definition.executor_options.get("ports") and _overlaps(definition):
        words = "one container at a time can have a port of the host: one replica, and no rolling update"
        yield _cannot("ports", words)


def _overlaps(definition: Pipeline) -> bool:
    """Whether two of its containers may run at once."""
    rolls = definition.update.strategy == "rolling" and definition.lifecycle == "service"
    return rolls or definition.replicas > 1


def _cannot(option: str, words: str) -> Problem:
    return binding.cannot(f"executor_options.{option}", words)


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise OptionRefused("must be a list of texts")
    return value


def _listed(text: str, what: str, setting: str, allowed: Iterable[str]) -> OptionRefused:
    """What is said of a value that the settings do not list."""
    there = ", ".join(allowed) or "nothing"
    return OptionRefused(f"{_shown(text)}: {what} is not in executors.docker.{setting} ({there})")


def _shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")


def _port(text: str, settings: DockerSettings) -> Port:
    match = _PORT.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        address = str(ipaddress.ip_address((match["address"] or _EVERY).strip("[]")))
    except ValueError:
        words = f"{_shown(text)}: must be [ADDRESS:]PORT:PORT[/tcp|udp], such as 8080:8080"
        raise OptionRefused(words) from None
    port = Port(int(match["host"]), int(match["port"]), match["kind"] or "tcp", address)
    if not (0 < port.host < 65536 and 0 < port.port < 65536):
        raise OptionRefused(f"{_shown(text)}: a port is a number from 1 to 65535")
    allowed = settings.ports
    if not allowed.takes_port(port.host):
        raise _listed(text, f"port {port.host}", "ports.ranges", allowed.ranges)
    if not allowed.takes_address(address):
        what = address if match["address"] else f"every address ({_EVERY})"
        raise _listed(text, what, "ports.addresses", allowed.addresses)
    return port


def _volume(text: str, settings: DockerSettings) -> Volume:
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    if not source or mode not in ("", "ro", "rw"):
        raise OptionRefused(f"{_shown(text)}: must be SOURCE:PATH[:ro], such as data:/data")
    where = _target(text, target, settings)
    if source.startswith("/"):
        source = _host_path(text, source, settings, read_only=mode == "ro")
    elif not _NAME.fullmatch(source):
        raise OptionRefused(
            f"{_shown(text)}: {_shown(source)} is neither a volume's name nor an absolute path"
        )
    elif not settings.volumes.takes_name(source):
        raise _listed(text, f"volume {_shown(source)}", "volumes.names", settings.volumes.names)
    return Volume(source, where, mode == "ro")


def _target(text: str, target: str, settings: DockerSettings) -> str:
    try:
        path = plain(target)
    except ValueError as error:
        raise OptionRefused(f"{_shown(text)}: {_shown(target)} {error}, in the container") from None
    if is_reserved(path):
        words = "the runner's own, the engine's or the system's: nothing is mounted there"
        raise OptionRefused(f"{_shown(text)}: {_shown(target)} is {words}")
    if not settings.volumes.takes_target(path):
        raise _listed(text, f"path {_shown(target)}", "volumes.targets", settings.volumes.targets)
    return str(path)


def _host_path(text: str, source: str, settings: DockerSettings, *, read_only: bool) -> str:
    allowed = settings.volumes
    there = ", ".join((*allowed.roots, *allowed.folders)) or "none"
    refused = OptionRefused(f"{_shown(text)}: {_NEVER} ({there})")
    try:
        path = plain(source)
    except ValueError:
        raise refused from None
    if path.suffix.casefold() == ".sock" or not allowed.takes_host(path, read_only=True):
        raise refused
    if not allowed.takes_host(path, read_only=read_only):
        raise OptionRefused(f"{_shown(text)}: below executors.docker.volumes.roots only with :ro")
    return str(path)
