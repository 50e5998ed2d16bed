"""What `nexthos dev` shows on a terminal, and what elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import pty
import signal
import struct
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from nexthos_testing.dev import ENDS_WITHIN, NEXTHOS, Dev, environment
from nexthos_testing.process_rig import pids_below
from nexthos_testing.wait import eventually

ESCAPE = "\x1b"
COLOUR = "\x1b[32m"  # green, as Running is
STEADY = """\
input: {generate: {interval: 100ms, mapping: 'root = "x"'}}
output: {drop: {}}
"""


@dataclass
class Terminal:
    """`dev` with a terminal for its three streams."""

    process: asyncio.subprocess.Process
    fd: int
    seen: bytes = b""

    def read(self) -> str:
        """Everything that has appeared on it."""
        with contextlib.suppress(BlockingIOError):
            try:
                while chunk := os.read(self.fd, 65536):
                    self.seen += chunk
            except OSError as error:
                if error.errno != errno.EIO:  # nobody has it open any more
                    raise
        return self.seen.decode(errors="replace")

    async def shows(self, *words: str) -> str:
        def look() -> bool:
            text = self.read()
            return all(word in text for word in words)

        try:
            await eventually(look, within=25.0)
        except AssertionError:
            raise AssertionError(f"{words} not shown:\n{self.read()}") from None
        return self.read()

    async def ctrl_c(self) -> str:
        """Typed, not sent: the terminal makes the signal."""
        os.write(self.fd, b"\x03")
        return await self.end()

    async def end(self) -> str:
        async with asyncio.timeout(ENDS_WITHIN):
            while self.process.returncode is None:
                self.read()  # or it would wait for room on the terminal
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.02):
                        await self.process.wait()
        return self.read()


@asynccontextmanager
async def terminal(home: Path, folder: Path, **environ: str) -> AsyncIterator[Terminal]:
    folder.mkdir()
    home.mkdir()
    (folder / "steady.yaml").write_text(STEADY)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
    os.set_blocking(ours, False)
    process = await asyncio.create_subprocess_exec(
        *(NEXTHOS, "dev", folder, "--port", "0"),
        env=environment(home, **{"TERM": "xterm-256color", **environ}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(ours)
        for pid in pids_below(home):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


async def test_on_a_terminal_a_live_table_appears_and_ctrl_c_ends_it(tmp_path: Path) -> None:
    async with terminal(tmp_path / "home", tmp_path / "pipelines") as screen:
        await screen.shows("PIPELINE", "RESTARTS", "steady", "Running", "1/1", COLOUR)
        drawn = len(screen.read())
        await eventually(lambda: len(screen.read()) > drawn)  # it is drawn again and again
        text = await screen.ctrl_c()
        assert screen.process.returncode == 0, text
        assert "Traceback" not in text
        assert "Exception" not in text
        assert "\x1b[?25h" in text[text.rindex("\x1b[?25l") :]  # the cursor is back
        assert pids_below(tmp_path / "home") == {}


async def test_with_no_color_a_terminal_gets_none(tmp_path: Path) -> None:
    async with terminal(tmp_path / "home", tmp_path / "pipelines", NO_COLOR="1") as screen:
        text = await screen.shows("PIPELINE", "steady", "Running")
        assert not any(f"\x1b[{code}m" in text for code in range(30, 38))
        assert COLOUR not in await screen.ctrl_c()


async def test_a_terminal_that_is_closed_ends_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with terminal(home, tmp_path / "pipelines") as screen:
        await screen.shows("steady", "Running")
        screen.process.send_signal(signal.SIGHUP)
        await screen.end()
        assert pids_below(home) == {}


@pytest.mark.fault(116)
async def test_a_terminal_that_goes_away_ends_it_as_ctrl_c_does(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with terminal(home, tmp_path / "pipelines") as screen:
        await screen.shows("steady", "Running")
        assert pids_below(home)
        os.close(screen.fd)  # the window is closed: SIGHUP, and every write fails
        screen.fd = os.open(os.devnull, os.O_RDONLY)
        async with asyncio.timeout(ENDS_WITHIN):
            assert await screen.process.wait() == 0
        assert pids_below(home) == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_off_a_terminal_there_are_plain_lines_only(
    tmp_path: Path, number: signal.Signals
) -> None:
    dev = Dev(tmp_path / "home", tmp_path / "pipelines")
    dev.write("steady.yaml", STEADY)
    try:
        await dev.start()
        await dev.says(r"\d\d:\d\d:\d\d steady +Running 1/1 version \w+\n")
        dev.signal(number)
        assert await dev.ends() == 0
        assert ESCAPE not in dev.output
        assert dev.output.count("PIPELINE ") == 1  # the one at the end
    finally:
        await dev.clean()
