"""The project of compose.yaml, started once, and a user outside of it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
from pytest_docker.plugin import get_docker_services

from nexthos_testing.docker import Hands, client_of_here
from nexthos_testing.field import Field, field_of
from nexthos_testing.locks import alone
from nexthos_testing.nats import free_port
from nexthos_testing.socket_proxy import compiled, proxy_before

ROOT = Path(__file__).parents[3]
NEXTHOS = Path(sys.executable).parent / "nexthos"
# The project's own files, but for its network: somebody may run the real one beside the tests.
OVER = """\
services:
  controller:
    volumes: ["{settings}:/etc/nexthos/controller.yaml:ro"]
networks: {{default: {{name: {network}}}}}
"""
PROXY_OVER = """\
services:
  docker-api:
    command: ["-images=nexthos/runner:dev", "-networks={network}"]
"""


@dataclass(frozen=True)
class Project:
    """A running compose project, as its user knows it."""

    name: str
    folder: Path
    files: tuple[Path, ...]
    environ: Mapping[str, str]

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.environ['NATS_PORT']}"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.environ['NEXTHOS_HTTP_PORT']}"

    def compose(self, *words: str) -> str:
        """`docker compose ...`; what it printed. Raises CalledProcessError."""
        files = [part for file in self.files for part in ("-f", str(file))]
        command = ["docker", "compose", *files, "-p", self.name, *words]
        env = {**os.environ, **self.environ}
        done = subprocess.run(
            command, cwd=ROOT, check=True, capture_output=True, text=True, env=env
        )
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


def _start(name: str, folder: Path, more: tuple[Path, ...]) -> Project:
    """`docker compose up --build --wait`."""
    settings = folder / "controller.yaml"
    written = (ROOT / "deploy/compose/controller.yaml").read_text()
    assert "network: nexthos" in written
    settings.write_text(written.replace("network: nexthos", f"network: {name}"))
    settings.chmod(0o644)
    (folder / "over.yaml").write_text(OVER.format(settings=settings, network=name))
    (folder / "proxy.yaml").write_text(PROXY_OVER.format(network=name))
    ports = {"NATS_PORT": str(free_port()), "NEXTHOS_HTTP_PORT": str(free_port())}
    if list((ROOT / "engine/dist").glob("*.whl")):  # as `make images` built them: all is cached
        ports["ENGINE_WHEEL"] = "prebuilt"
    (folder / "environ.json").write_text(json.dumps(ports))
    there = _join(name, folder, more)
    try:
        with _compose(there, up=["up --build --wait"]):
            pass
    except BaseException:
        _end(there)
        raise
    return there


def _join(name: str, folder: Path, more: tuple[Path, ...]) -> Project:
    environ = json.loads((folder / "environ.json").read_text())
    over = [folder / "over.yaml", *([folder / "proxy.yaml"] if more else [])]
    return Project(name, folder, (ROOT / "compose.yaml", *more, *over), environ)


def _end(there: Project) -> None:
    _end_executions(there.name)
    with _compose(there, down=["down --volumes --timeout 5"]):
        pass


@contextmanager
def _compose(there: Project, up: Sequence[str] = (), down: Sequence[str] = ()) -> Iterator[None]:
    """pytest-docker's own way, with the project's variables and folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        for variable, value in there.environ.items():
            patch.setenv(variable, value)
        files = [str(file) for file in there.files]
        with get_docker_services("docker compose", files, there.name, list(up), list(down)):
            yield


def _end_executions(network: str) -> None:
    """Executions are no containers of the project: a failed test leaves them in its network."""
    hands = Hands()
    try:
        for container in hands.api.containers(all=True, filters={"network": network}):
            if "nexthos.pipeline" in container["Labels"]:
                hands.api.remove_container(container["Id"], force=True, v=True)
    finally:
        hands.close()


@contextmanager
def shared(name: str, factory: pytest.TempPathFactory, *more: Path) -> Iterator[Project]:
    """The project, started by the first worker that needs it, and ended by the last one."""
    common = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        common = common.parent
    folder = common / name
    with alone(folder):
        users = folder / "users"
        there = _join(name, folder, more) if users.exists() else _start(name, folder, more)
        users.write_text(f"{int(users.read_text()) + 1 if users.exists() else 1}")
    try:
        yield there
    finally:
        with alone(folder):
            left = int(users.read_text()) - 1
            users.write_text(f"{left}")
            if not left:
                users.unlink()
                _end(there)


@pytest.fixture(scope="session")
def composed_project(
    docker_daemon: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    """compose.yaml as it stands."""
    with shared("nexthos-test", tmp_path_factory) as there:
        yield there


@pytest.fixture(scope="session")
def proxied(docker_daemon: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """With the proxy before the Docker socket."""
    proxy = ROOT / "deploy/compose/socket-proxy.yaml"
    with shared("nexthos-test-proxy", tmp_path_factory, proxy) as there:
        yield there


@pytest.fixture
def composed(composed_project: Project) -> Iterator[Project]:
    """One test at a time: one of them kills the controller of all."""
    with alone(composed_project.folder / "turn"):
        yield composed_project


@pytest.fixture
async def field(composed: Project) -> AsyncIterator[Field]:
    """A user with the `nats` CLI."""
    async with field_of(composed.url, "nexthos") as user:
        yield user


@pytest.fixture
def hands(docker_daemon: None) -> Iterator[Hands]:
    """A user with the `docker` CLI."""
    there = Hands()
    yield there
    there.close()


@pytest.fixture
def daemon(docker_daemon: None) -> Iterator[docker.APIClient]:
    """The daemon itself, without the proxy."""
    client = client_of_here(timeout=60)
    yield client
    client.close()


@pytest.fixture(scope="session")
def proxy_program(docker_daemon: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The socket proxy, compiled; its image is the one of the project `proxied`."""
    common = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        common = common.parent
    with alone(common / "socket-proxy-program") as folder:
        return compiled(folder)


@pytest.fixture
def proxy(proxy_program: Path, namespace: str, tmp_path: Path) -> Iterator[str]:
    """The URL of a socket proxy of this test's own namespace, before the real daemon."""
    with proxy_before(proxy_program, tmp_path, f"-namespace={namespace}") as there:
        yield there.url
