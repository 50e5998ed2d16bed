"""One life of a container, read from what the daemon says of it. Pure.

A container lives once from each start to the next end, so a life's uid is the container's id and the
moment it was started: whoever holds an older uid misses what runs now in the same container.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from nexthos_controller.execution import State
from nexthos_controller.executors.docker import variables
from nexthos_controller.executors.docker.labels import Labels, read_labels
from nexthos_shared import names

PORT = 4195  # of the engine's own HTTP, in the container
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True, slots=True)
class Life:
    """What is known of a container at one moment."""

    container: str
    name: str
    labels: Labels
    state: State
    started: int = 0  # nanoseconds since the epoch, by the daemon's clock; 0: never
    finished: int = 0
    code: int | None = None
    oom: bool = False
    endpoint: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    image: str = ""
    altered: str = ""
    frozen: bool = False  # `docker pause`, by hand

    @property
    def uid(self) -> str:
        """Empty while it has not been started."""
        return f"{self.container[:12]}-{self.started}" if self.started else ""

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self.state == "running"

    @property
    def token(self) -> str:
        """The password of its HTTP."""
        return self.env.get(names.ENV_HTTP_PASSWORD, "")

    @property
    def secrets(self) -> dict[str, str]:
        """The definition's own variables, whose values are shown to nobody."""
        return variables.unpacked(self.env.get(names.ENV_ENGINE_ENV, ""))


def read_life(inspected: Mapping[str, Any], loopback: bool) -> Life | None:
    """None for what is not ours, or is on its way out."""
    config, state = inspected["Config"], inspected["State"]
    labels = read_labels(config.get("Labels"))
    if labels is None or state["Status"] == "removing":
        return None
    env = dict(pair.split("=", 1) for pair in config.get("Env") or () if "=" in pair)
    started = nanoseconds(state["StartedAt"])
    known = state_of(state["Status"])
    return Life(
        container=inspected["Id"],
        name=inspected["Name"].lstrip("/"),
        labels=labels,
        state=known if started or known == "running" else "prepared",
        started=started,
        finished=nanoseconds(state["FinishedAt"]),
        code=state["ExitCode"] if known == "stopped" else None,
        oom=bool(state.get("OOMKilled")),
        endpoint=_endpoint(inspected, env, loopback) if known == "running" else None,
        env=env,
        image=config.get("Image") or "",
        frozen=state["Status"] == "paused",
    )


def state_of(status: str) -> State:
    """The daemon's word as one of ours."""
    if status == "created":
        return "prepared"
    return "running" if status in ("running", "paused", "restarting") else "stopped"


def _endpoint(inspected: Mapping[str, Any], env: Mapping[str, str], loopback: bool) -> str | None:
    networking = inspected["NetworkSettings"]
    port = env.get(names.ENV_HTTP_ADDRESS, "").rpartition(":")[2]
    if inspected["HostConfig"].get("NetworkMode") == "host":
        return f"http://127.0.0.1:{port}"
    if loopback:
        published = (networking.get("Ports") or {}).get(f"{PORT}/tcp")
        return f"http://127.0.0.1:{published[0]['HostPort']}" if published else None
    for network in (networking.get("Networks") or {}).values():
        if network.get("IPAddress"):
            return f"http://{network['IPAddress']}:{port}"
    return None


def nanoseconds(text: str) -> int:
    """Since the epoch; 0 for the daemon's `never`, which is the year 1."""
    match = _TIME.fullmatch(text or "")
    if match is None or match[1].startswith("0001-"):
        return 0
    whole = datetime.fromisoformat(match[1] + match[3].replace("Z", "+00:00")).astimezone(UTC)
    return int(whole.timestamp()) * 10**9 + int((match[2] or "0").ljust(9, "0")[:9])
