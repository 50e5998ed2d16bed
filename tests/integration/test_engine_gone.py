"""The engine's binary goes away while pipelines run: it is named as the cause, and they come back with it."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from nexthos_shared.engine import locate_engine
from nexthos_shared.reasons import Reason
from nexthos_testing.controller import ControllerProcess, engine_processes
from nexthos_testing.field import field_of
from nexthos_testing.nats import NatsServer
from nexthos_testing.wait import eventually

CONFIG = "input: {generate: {mapping: 'root = 1', interval: 1s}}\noutput: {drop: {}}\n"


def removed(engine: Path) -> None:
    engine.unlink()


def not_executable(engine: Path) -> None:
    engine.chmod(0o644)


def a_folder(engine: Path) -> None:
    engine.unlink()
    engine.mkdir()


@pytest.mark.fault(144)
@pytest.mark.parametrize("executor", ["process", "streams"])
@pytest.mark.parametrize("gone", [removed, not_executable, a_folder])
async def test_an_engine_that_is_gone_is_named_and_its_pipelines_come_back_with_it(
    nats_server: NatsServer,
    namespace: str,
    tmp_path: Path,
    executor: str,
    gone: Callable[[Path], None],
):
    engine = tmp_path / "engine"
    shutil.copy(locate_engine(), engine)
    state = tmp_path / "state"
    state.mkdir()
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"executor: {executor}\n")
    environ = {"NEXTHOS_ENGINE": str(engine), "NEXTHOS_CONFIG": str(settings)}
    controller = ControllerProcess(nats_server.url, namespace, state, environ)
    await controller.start()
    try:
        async with field_of(nats_server.url, namespace) as field:
            await field.config("orders", CONFIG)
            await field.put("orders", version="1", executor=executor)
            await field.reaches("orders", "Running")
            gone(engine)
            for pid in engine_processes(state):
                os.kill(pid, signal.SIGKILL)

            async def is_named() -> bool:
                status = await field.status("orders")
                complaint = status.complaint if status else None
                return complaint is not None and complaint.reason is Reason.ENGINE_MISSING

            await eventually(is_named, within=20.0)
            shutil.rmtree(engine) if engine.is_dir() else engine.unlink(missing_ok=True)
            shutil.copy(locate_engine(), engine)
            await field.reaches("orders", "Running", within=30.0)
    finally:
        await controller.kill()
        for pid in engine_processes(state):
            os.kill(pid, signal.SIGKILL)
