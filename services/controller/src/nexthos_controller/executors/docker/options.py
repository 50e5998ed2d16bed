"""`executor_options` of a definition that runs in a container: ports and volumes, each only where allowed.

    ports:   ["8080:8080", "127.0.0.1:9000:9000/udp"]     [ADDRESS:]PORT:PORT[/tcp|udp], as docker run -p
    volumes: ["data:/data", "/srv/in:/in:ro"]             NAME or host path : path in the container [:ro]

Comes in: a definition and the settings. Goes out: what to create the container with, or problems that
name the field. A host path reaches no further than the settings' `volume_roots`, links are not followed
here (the host is the daemon's, not ours), so a root must hold no link that leads out of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from nexthos_controller.executors.docker.settings import DockerSettings
from nexthos_shared.models import Pipeline
from nexthos_shared.reasons import Problem, Reason

FOLDER = "/run/nexthos"
KNOWN = ("ports", "volumes")
_PORT = re.compile(
    r"(?:(?P<address>[\d.]+|\[[\da-fA-F:]+\]):)?(?P<host>\d+):(?P<port>\d+)(?:/(?P<kind>tcp|udp))?"
)
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}")
_NEVER = (
    "never allowed are the Docker socket, privileged containers, and host paths outside the "
    "controller's executors.docker.volume_roots"
)


@dataclass(frozen=True, slots=True)
class Port:
    """A port of the container, published on the host."""

    host: int
    port: int
    kind: str = "tcp"
    address: str = ""  # empty: every address of the host


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


class Refused(ValueError):
    """What is wrong with one entry."""


def ports_of(definition: Pipeline) -> list[Port]:
    """Raises Refused."""
    return [_port(text) for text in _texts(definition.executor_options.get("ports", []))]


def volumes_of(definition: Pipeline, settings: DockerSettings) -> list[Volume]:
    """Raises Refused."""
    texts = _texts(definition.executor_options.get("volumes", []))
    volumes = [_volume(text, settings) for text in texts]
    targets = [v.target for v in volumes]
    if len(set(targets)) < len(targets):
        raise Refused("two of them have the same path in the container")
    return volumes


def problems_of(definition: Pipeline, settings: DockerSettings) -> Iterator[Problem]:
    """Everything in `executor_options` that can't be done."""
    for option in definition.executor_options:
        if option not in KNOWN:
            yield _cannot(
                option, f"the docker executor knows no such option (it knows: {', '.join(KNOWN)})"
            )
        elif option not in settings.allow:
            yield _cannot(
                option,
                f"not allowed by the controller's settings (executors.docker.allow); {_NEVER}",
            )
        else:
            try:
                ports_of(definition) if option == "ports" else volumes_of(definition, settings)
            except Refused as error:
                yield _cannot(option, str(error))
    if definition.executor_options.get("ports") and _overlaps(definition):
        words = "one container at a time can have a port of the host: one replica, and no rolling update"
        yield _cannot("ports", words)


def _overlaps(definition: Pipeline) -> bool:
    """Whether two of its containers may run at once."""
    rolls = definition.update.strategy == "rolling" and definition.lifecycle == "service"
    return rolls or definition.replicas > 1


def _cannot(option: str, words: str) -> Problem:
    field = f"executor_options.{option}"
    return Problem(Reason.CANNOT_RUN_HERE, f"{field}: {words}", field=field)


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise Refused("must be a list of texts")
    return value


def _port(text: str) -> Port:
    match = _PORT.fullmatch(text)
    if match is None:
        raise Refused(f"{text!r}: must be [ADDRESS:]PORT:PORT[/tcp|udp], such as 8080:8080")
    port = Port(
        int(match["host"]), int(match["port"]), match["kind"] or "tcp", match["address"] or ""
    )
    if not (0 < port.host < 65536 and 0 < port.port < 65536):
        raise Refused(f"{text!r}: a port is a number from 1 to 65535")
    return port


def _volume(text: str, settings: DockerSettings) -> Volume:
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    path = PurePosixPath(target)
    if not source or mode not in ("", "ro", "rw"):
        raise Refused(f"{text!r}: must be SOURCE:PATH[:ro], such as data:/data")
    if not path.is_absolute() or ".." in path.parts or path == PurePosixPath("/"):
        raise Refused(f"{text!r}: {target!r} must be an absolute path in the container")
    if path.is_relative_to(FOLDER) or PurePosixPath(FOLDER).is_relative_to(path):
        raise Refused(f"{text!r}: {FOLDER} is the execution's own")
    if source.startswith("/"):
        _check_root(text, PurePosixPath(source), settings)
    elif not _NAME.fullmatch(source):
        raise Refused(f"{text!r}: {source!r} is neither a volume's name nor an absolute path")
    return Volume(source, target, mode == "ro")


def _check_root(text: str, source: PurePosixPath, settings: DockerSettings) -> None:
    if ".." in source.parts or source.name == "docker.sock":
        raise Refused(f"{text!r}: {_NEVER}")
    if not any(source.is_relative_to(root) for root in settings.volume_roots):
        roots = ", ".join(str(root) for root in settings.volume_roots) or "none"
        raise Refused(f"{text!r}: {_NEVER} ({roots})")
