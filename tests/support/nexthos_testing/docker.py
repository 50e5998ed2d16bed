"""A real Docker daemon for tests, where there is one, and what tests do to it by hand."""

from __future__ import annotations

import functools
import io
import ipaddress
import os
import tarfile
from pathlib import Path
from typing import Any, NoReturn

import docker
import pytest
from docker.errors import DockerException, ImageNotFound, NotFound
from docker.utils import kwargs_from_env

from nexthos_controller.executors.docker.unix_socket import close_refused_sockets
from nexthos_testing import puppet

close_refused_sockets()

RUNNER = "nexthos/runner:dev"
PUPPET = "nexthos/puppet:test"
SOCKET = Path("/var/run/docker.sock")
DOCKERFILE = f"""\
FROM {RUNNER}
COPY puppet.py puppet-engine /usr/local/bin/
ENV NEXTHOS_ENGINE=/usr/local/bin/puppet-engine
"""
ENGINE = '#!/bin/sh\nunset PWD OLDPWD SHLVL\nexec /opt/nexthos/bin/python -IS /usr/local/bin/puppet.py "$@"\n'


def client_of_here(*, timeout: int) -> docker.APIClient:
    """The daemon that `docker` and the controller would ask: DOCKER_HOST counts."""
    return docker.APIClient(version="auto", timeout=timeout, **kwargs_from_env())


@functools.cache
def what_is_missing() -> str:
    """Why no test can use Docker here; empty if they can."""
    try:
        client = client_of_here(timeout=30)
    except DockerException:
        return "no Docker daemon answers: start one (scripts/docker-daemon as root), then `make images`"
    try:
        client.inspect_image(RUNNER)  # type: ignore[no-untyped-call]
    except ImageNotFound:
        return f"there is no image {RUNNER}: `make images` builds it"
    finally:
        client.close()
    return ""


def need_docker() -> None:
    """Skip the test where Docker is missing, or let it fail where it must not be."""
    if missing := what_is_missing():
        do_without(missing)


def do_without(missing: str) -> NoReturn:
    """Skip for want of what `missing` names; fail where that must be there."""
    if "docker" in os.environ.get("NEXTHOS_TEST_REQUIRE", ""):
        pytest.fail(missing)
    pytest.skip(missing)


@functools.cache
def puppet_image() -> str:
    """The runner's image with the puppet as its engine."""
    files = {
        "Dockerfile": (DOCKERFILE.encode(), 0o644),
        "puppet.py": (Path(puppet.__file__).read_bytes(), 0o644),
        "puppet-engine": (ENGINE.encode(), 0o755),
    }
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for name, (content, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    context.seek(0)
    client = client_of_here(timeout=60)
    try:
        said = list(
            client.build(fileobj=context, custom_context=True, tag=PUPPET, decode=True, rm=True)
        )
        assert not any("error" in item for item in said), said
    finally:
        client.close()
    return PUPPET


class Hands:
    """What somebody does with `docker` by hand. Blocking; close it."""

    def __init__(self) -> None:
        self.api = client_of_here(timeout=30)

    def close(self) -> None:
        self.api.close()

    def named(self, name: str) -> dict[str, Any] | None:
        """All that is known of the container of exactly that name."""
        try:
            return dict(self.api.inspect_container(name))
        except NotFound:
            return None

    def labelled(self, **labels: str) -> list[dict[str, Any]]:
        """Containers with these `nexthos.` labels, in whatever state."""
        wanted = [f"nexthos.{name}={value}" for name, value in labels.items()]
        return list(self.api.containers(all=True, filters={"label": wanted}))

    def kill(self, container: str, signal: str = "SIGKILL") -> None:
        self.api.kill(container, signal)

    def run_in(self, container: str, script: str) -> None:
        """A shell inside it, as the user that it runs as."""
        made = self.api.exec_create(container, ["sh", "-c", script])
        self.api.exec_start(made["Id"])

    def volumes_of(self, container: str) -> list[str]:
        """Names of the volumes that it has."""
        mounts = self.api.inspect_container(container)["Mounts"]
        return [m["Name"] for m in mounts if m["Type"] == "volume"]

    def has_volume(self, name: str) -> bool:
        try:
            self.api.inspect_volume(name)
        except NotFound:
            return False
        return True

    def gateway(self) -> str:
        """The address of this machine as containers on the default bridge see it."""
        config = self.api.inspect_network("bridge")["IPAM"]["Config"][0]
        subnet = ipaddress.ip_network(config["Subnet"])
        return str(config.get("Gateway") or next(subnet.hosts()))

    def remove_all(self, **labels: str) -> None:
        """Remove containers with these labels, running or not, and their volumes."""
        for container in self.labelled(**labels):
            try:
                self.api.remove_container(container["Id"], force=True, v=True)
            except NotFound:
                continue
