"""What `executors.docker` of the controller's settings may say, and what it means when it says nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from nexthos_controller.executors.docker.allowed import Ports, Volumes
from nexthos_controller.settings import ConnectionSettings, settings_error
from nexthos_shared.model.quantities import MemoryBytes

_USER = re.compile(r"\d+(:\d+)?")


def _unprivileged(value: str) -> str:
    if not _USER.fullmatch(value) or int(value.partition(":")[0]) == 0:
        raise ValueError("must be a numeric user (or user:group) other than 0")
    return value


class DockerSettings(BaseModel):
    """Unknown names are refused. Times are seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str | None = Field(
        None, description="as DOCKER_HOST; default: that, else the local socket"
    )
    network: str | None = Field(None, description="network to join; default: Docker's own bridge")
    reach: Literal["container", "loopback"] = Field(
        "container",
        description="how engines are asked whether they are ready: at the container's address, or, "
        "where that can't be reached (Docker Desktop), at a port published on the host's loopback",
    )
    volumes: Volumes = Field(Volumes(), description="which volumes definitions may ask for")
    ports: Ports = Field(Ports(), description="which ports of the host definitions may ask for")
    store: ConnectionSettings | None = Field(
        None, description="where the runner fetches; default: connection default"
    )
    user: Annotated[str, AfterValidator(_unprivileged)] = "10001:10001"
    memory: MemoryBytes | None = Field(None, description="of a pipeline that names no limit")
    pids: int = Field(256, ge=16, description="processes and threads per container")
    files: int = Field(16384, ge=256, description="open files per process")
    runtime: str | None = Field(
        None, description="OCI runtime, such as runsc; default: the daemon's"
    )
    pull: Literal["missing", "never"] = "missing"
    log_size: str = Field("10m", pattern=r"^\d+[kmg]$", description="of each of two log files")
    timeout: int = Field(30, ge=1, description="of one call of the daemon")


def read_settings(options: Mapping[str, Any]) -> DockerSettings:
    """The settings, or SettingsError that names the field."""
    try:
        return DockerSettings.model_validate(options)
    except ValidationError as error:
        raise settings_error(error, "executors.docker") from error
