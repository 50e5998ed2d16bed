"""Fixtures of the controller's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nexthos_controller.reconcile import decide
from nexthos_testing.docker_rig import DockerRig
from nexthos_testing.fake_rig import FakeRig
from nexthos_testing.house import Builder, House
from nexthos_testing.nats import NatsServer
from nexthos_testing.process_rig import ProcessRig
from nexthos_testing.rig import Rig
from nexthos_testing.streams_rig import StreamsRig

RIGS: dict[str, type[Rig]] = {
    "fake": FakeRig,
    "process": ProcessRig,
    "docker": DockerRig,
    "streams": StreamsRig,
}


@pytest.fixture
def builder(nats_server: NatsServer, namespace: str, tmp_path: Path) -> Builder:
    """What makes controllers in this process, over one fake world."""
    return Builder(nats_server.url, namespace, tmp_path / "state")


@pytest.fixture
async def house(builder: Builder) -> AsyncIterator[House]:
    """One of them, acting."""
    async with builder.house() as house:
        yield house


@pytest.fixture
def decided(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keys as they are thought about."""
    keys: list[str] = []

    def noted(view):
        keys.append(view.key)
        return decide(view)

    monkeypatch.setattr("nexthos_controller.loop.reconciler.decide", noted)
    return keys


# A container takes as long as five processes, and a busy daemon longer.
PATIENCE = {"docker": [pytest.mark.timeout(240), pytest.mark.docker]}


@pytest.fixture(params=[pytest.param(kind, marks=PATIENCE.get(kind, ())) for kind in sorted(RIGS)])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    """Each executor in turn, open, with the world behind it."""
    async with RIGS[request.param](tmp_path) as rig:
        yield rig


@pytest.fixture
async def process_rig(tmp_path: Path) -> AsyncIterator[ProcessRig]:
    """The process executor alone."""
    async with ProcessRig(tmp_path) as rig:
        yield rig


@pytest.fixture
async def streams_rig(tmp_path: Path) -> AsyncIterator[StreamsRig]:
    """The streams executor alone."""
    async with StreamsRig(tmp_path) as rig:
        yield rig


@pytest.fixture
async def docker_rig(docker_daemon: None, tmp_path: Path) -> AsyncIterator[DockerRig]:
    """The Docker executor alone."""
    async with DockerRig(tmp_path) as rig:
        yield rig


@pytest.fixture
async def fake_rig(tmp_path: Path) -> AsyncIterator[FakeRig]:
    """The fake alone."""
    async with FakeRig(tmp_path) as rig:
        yield rig
