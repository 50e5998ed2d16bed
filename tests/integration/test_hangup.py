"""The terminal from which a controller was started is closed."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import signal
import sys
import termios
from pathlib import Path

import pytest

from nexthos_testing.controller import ControllerProcess
from nexthos_testing.nats import NatsServer
from nexthos_testing.wait import eventually

CONTROLLER = Path(sys.executable).parent / "nexthos-controller"


@pytest.mark.fault(116)
async def test_a_hangup_ends_the_controller_as_sigterm_does(controller: ControllerProcess) -> None:
    assert await controller.signal(signal.SIGHUP) == 0
    assert "ended by a signal" in [line["event"] for line in controller.log()]


@pytest.mark.fault(116)
async def test_a_closed_terminal_ends_the_controller_in_order(
    nats_server: NatsServer, namespace: str, tmp_path: Path
) -> None:
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(CONTROLLER, "run"),
        env={
            **os.environ,
            "NATS_URL": nats_server.url,
            "NEXTHOS_NAMESPACE": namespace,
            "NEXTHOS_STATE_DIR": str(tmp_path / "state"),
            "NEXTHOS_HTTP": "127.0.0.1:0",
            "NEXTHOS_LOG_LEVEL": "debug",
        },
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    seen = b""

    def acts() -> bool:
        nonlocal seen
        try:
            seen += os.read(ours, 65536)
        except BlockingIOError:
            return False
        return b"acts" in seen

    try:
        await eventually(acts, within=25.0)
        os.close(ours)
        async with asyncio.timeout(15.0):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
