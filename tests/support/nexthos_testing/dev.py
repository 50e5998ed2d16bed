"""`nexthos dev` as a process of its own, with a home of its own: started, read, signalled."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from nexthos_testing.field import Field, field_of
from nexthos_testing.process_rig import pids_below
from nexthos_testing.wait import eventually

NEXTHOS = Path(sys.executable).parent / "nexthos"
ENDS_WITHIN = 5.0  # seconds: what is promised after a Ctrl-C


def environment(home: Path, **more: str) -> dict[str, str]:
    """Nothing of whoever runs the tests: no server, no settings, no state."""
    prefixes = ("NATS_", "NEXTHOS_", "XDG_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(prefixes)}
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        kept.pop(name, None)
    ours = {"HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "PYTHONWARNINGS": "error"}
    return {**kept, **ours, **more}


@dataclass
class Dev:
    """One folder under `nexthos dev`; may be started several times."""

    home: Path
    folder: Path
    namespace: str = "nexthos"
    process: asyncio.subprocess.Process | None = None
    _read: bytearray = field(default_factory=bytearray)
    _reader: asyncio.Task[None] | None = None

    def write(self, name: str, text: str) -> Path:
        """Save a file of the folder, as an editor does."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    @property
    def output(self) -> str:
        """What this start has printed so far, both streams."""
        return self._read.decode(errors="replace")

    async def start(self, *args: str, **environ: str) -> None:
        """Start it and return at once."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.home.mkdir(exist_ok=True)
        self._read = bytearray()
        self.process = await asyncio.create_subprocess_exec(
            NEXTHOS,
            "dev",
            str(self.folder),
            *(() if "-s" in args or "--port" in args else ("--port", "0")),
            *args,
            env=environment(self.home, NEXTHOS_NAMESPACE=self.namespace, **environ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = asyncio.create_task(self._collect(self.process))

    async def _collect(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while chunk := await process.stdout.read(65536):
            self._read += chunk

    async def says(self, pattern: str, within: float = 20.0) -> re.Match[str]:
        """Wait until what it printed matches."""

        def look() -> re.Match[str] | None:
            found = re.search(pattern, self.output)
            assert found or not self.over, f"{pattern!r} was never printed:\n{self.output}"
            return found

        try:
            match = await eventually(look, within=within)
        except AssertionError as error:
            raise AssertionError(f"{pattern!r} not printed ({error}):\n{self.output}") from None
        assert isinstance(match, re.Match)
        return match

    @property
    def over(self) -> bool:
        return self.process is not None and self.process.returncode is not None

    async def url(self) -> str:
        """Of its NATS server."""
        return (await self.says(r"NATS (nats://\S+\d)"))[1]

    @asynccontextmanager
    async def user(self) -> AsyncIterator[Field]:
        """Somebody at its NATS server."""
        async with field_of(await self.url(), self.namespace) as user:
            yield user

    def signal(self, number: int = signal.SIGINT) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def ends(self, within: float = ENDS_WITHIN) -> int:
        """Its exit code; it ended in time, without a traceback, and left no process behind."""
        assert self.process is not None
        assert self._reader is not None
        try:
            async with asyncio.timeout(within):
                code = await self.process.wait()
        except TimeoutError:
            raise AssertionError(f"it did not end:\n{self.output}\n{self.alive()}") from None
        await self._reader
        for word in ("Traceback", "Exception ignored", "Warning:"):
            assert word not in self.output, self.output
        assert self.alive() == {}, self.output
        return code

    async def kill(self) -> None:
        """As `kill -9`: nothing is cleaned up."""
        assert self.process is not None
        assert self._reader is not None
        self.process.kill()
        await self.process.wait()
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    def alive(self) -> dict[int, str]:
        """Command lines of engines, shims and servers below its home, by PID."""
        found = {}
        for pid in pids_below(self.home):
            with contextlib.suppress(OSError):
                argv = Path(f"/proc/{pid}/cmdline").read_bytes()
                found[pid] = argv.replace(b"\0", b" ").decode(errors="replace")
        if self.process is not None:
            found.pop(self.process.pid, None)
        return found

    def engines(self) -> list[int]:
        """PIDs of its engines."""
        return [p for p, argv in self.alive().items() if "nexthos-engine" in argv.split(" ")[0]]

    async def clean(self) -> None:
        """Leave nothing behind, whatever went wrong."""
        if self.process is not None and not self.over:
            await self.kill()
        for pid in self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await eventually(lambda: not self.alive())
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)
