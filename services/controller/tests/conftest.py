"""Fixtures of the controller's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nexthos_testing.rig import RIGS, FakeRig, ProcessRig, Rig


@pytest.fixture(params=sorted(RIGS))
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
async def fake_rig(tmp_path: Path) -> AsyncIterator[FakeRig]:
    """The fake alone."""
    async with FakeRig(tmp_path) as rig:
        yield rig
