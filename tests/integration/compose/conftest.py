"""The project of compose.yaml, started once, and a user outside of it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
from pytest_docker.plugin import get_docker_services

from nexthos_testing.docker import Hands, need_docker
from nexthos_testing.field import Field, field_of
from nexthos_testing.nats import free_port

ROOT = Path(__file__).parents[3]
BASE = "nexthos/base:local"  # where no registry is asked: see scripts/base-images
NEXTHOS = Path(sys.executable).parent / "nexthos"
# The project's own files, but for its network: somebody may run the real one beside the tests.
OVER = """\
services:
  controller:
    volumes: ["{settings}:/etc/nexthos/controller.yaml:ro"]
networks: {{default: {{name: {network}}}}}
"""


@dataclass(frozen=True)
class Project:
    """A running compose project, as its user knows it."""

    name: str
    files: tuple[Path, ...]
    url: str
    http: str

    def compose(self, *words: str) -> str:
        """`docker compose ...`; what it printed. Raises CalledProcessError."""
        files = [part for file in self.files for part in ("-f", str(file))]
        command = ["docker", "compose", *files, "-p", self.name, *words]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        return done.stdout

    def container(self, service: str) -> str:
        """The id of the one container of a service."""
        return self.compose("ps", "-a", "-q", service).strip()

    async def nexthos(self, *words: str) -> tuple[int, str, str]:
        """The CLI on the host; exit code, output, errors."""
        process = await asyncio.create_subprocess_exec(
            NEXTHOS,
            *words,
            env={**os.environ, "NATS_URL": self.url, "NO_COLOR": "1"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60.0):
            out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    async def did(self, *words: str) -> str:
        """The CLI's output, where it must succeed."""
        code, out, err = await self.nexthos(*words)
        assert code == 0, (words, out, err)
        return out

    async def json(self, *words: str) -> Any:
        """What it says in JSON."""
        return json.loads(await self.did(*words, "-o", "json"))


@contextmanager
def project(name: str, folder: Path, *more: Path) -> Iterator[Project]:
    """`docker compose up --build --wait`; afterwards nothing of it is left."""
    need_docker()
    settings = folder / "controller.yaml"
    written = (ROOT / "deploy/compose/controller.yaml").read_text()
    assert "network: nexthos" in written
    settings.write_text(written.replace("network: nexthos", f"network: {name}"))
    settings.chmod(0o644)
    over = folder / "over.yaml"
    over.write_text(OVER.format(settings=settings, network=name))
    files = (ROOT / "compose.yaml", *more, over)
    with pytest.MonkeyPatch.context() as patch:
        nats, http = free_port(), free_port()
        patch.chdir(ROOT)
        patch.setenv("NATS_PORT", str(nats))
        patch.setenv("NEXTHOS_HTTP_PORT", str(http))
        if list((ROOT / "engine/dist").glob("*.whl")):  # as `make images` built them: all is cached
            patch.setenv("ENGINE_WHEEL", "prebuilt")
        there = Project(name, files, f"nats://127.0.0.1:{nats}", f"http://127.0.0.1:{http}")
        up, down = ["up --build --wait"], ["down --volumes --timeout 5"]
        texts = [str(file) for file in files]
        try:
            with get_docker_services("docker compose", texts, name, up, []):
                yield there
        finally:
            _end_executions(name)
            with get_docker_services("docker compose", texts, name, [], down):
                pass


def _end_executions(network: str) -> None:
    """Executions are no containers of the project: a failed test leaves them in its network."""
    hands = Hands()
    try:
        for container in hands.api.containers(all=True, filters={"network": network}):
            if "nexthos.pipeline" in container["Labels"]:
                hands.api.remove_container(container["Id"], force=True, v=True)
    finally:
        hands.close()


@pytest.fixture(scope="session")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """compose.yaml as it stands."""
    with project("nexthos-test", tmp_path_factory.mktemp("compose")) as there:
        yield there


@pytest.fixture(scope="session")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """With the proxy before the Docker socket."""
    proxy = ROOT / "deploy/compose/socket-proxy.yaml"
    with project("nexthos-test-proxy", tmp_path_factory.mktemp("proxied"), proxy) as there:
        yield there


@pytest.fixture
async def field(composed: Project) -> AsyncIterator[Field]:
    """A user with the `nats` CLI."""
    async with field_of(composed.url, "nexthos") as user:
        yield user


@pytest.fixture
def hands() -> Iterator[Hands]:
    """A user with the `docker` CLI."""
    there = Hands()
    yield there
    there.close()


@pytest.fixture
def daemon() -> Iterator[docker.APIClient]:
    """The daemon itself, without the proxy."""
    need_docker()
    client = docker.APIClient(version="auto", timeout=60)
    yield client
    client.close()


@pytest.fixture
def proxy(daemon: docker.APIClient) -> Iterator[str]:
    """The URL of a socket proxy of this test's own."""
    base = {"BASE_IMAGE": BASE} if daemon.images(BASE) else {}
    path = str(ROOT / "deploy/compose/socket-proxy")
    tag = "nexthos/socket-proxy:test"
    said = list(daemon.build(path=path, tag=tag, buildargs=base, decode=True, rm=True))
    assert not any("error" in item for item in said), said

    socket = "/var/run/docker.sock"
    host = daemon.create_host_config(
        binds=[f"{socket}:{socket}"],
        group_add=[os.stat(socket).st_gid],
        port_bindings={"2375/tcp": ("127.0.0.1", None)},
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
    )
    name = f"proxy-{uuid.uuid4().hex[:8]}"
    made = daemon.create_container(tag, name=name, ports=[2375], host_config=host)["Id"]
    try:
        daemon.start(made)
        port = daemon.inspect_container(made)["NetworkSettings"]["Ports"]["2375/tcp"][0]["HostPort"]
        yield f"http://127.0.0.1:{port}"
    finally:
        daemon.remove_container(made, force=True)
