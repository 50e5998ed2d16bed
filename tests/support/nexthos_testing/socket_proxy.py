"""The socket proxy as a process of this machine, before the daemon or before a wire that can be cut."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nexthos_testing.docker import SOCKET
from nexthos_testing.golang import ROOT, go

SOURCES = ROOT / "deploy/compose/socket-proxy"


@dataclass(frozen=True)
class Proxy:
    """One that listens. `log` has a line of JSON for each refusal."""

    port: int
    log: Path

    @property
    def host(self) -> str:
        """As DOCKER_HOST."""
        return f"tcp://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def compiled(folder: Path) -> Path:
    """The program, built in `folder` unless it is there. Skips the test where no Go can be had."""
    binary = folder / "socket-proxy"
    if not binary.exists():
        done = go("build", "-o", binary, ".", folder=SOURCES)
        assert done.returncode == 0, done.stderr
    return binary


@contextmanager
def proxy_before(binary: Path, folder: Path, *flags: str, socket: Path = SOCKET) -> Iterator[Proxy]:
    """Ends it by SIGTERM, which it obeys."""
    file = folder / "socket-proxy.log"
    command = [str(binary), "-listen=127.0.0.1:0", f"-socket={socket}", *flags]
    with file.open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield Proxy(_port_in(file), file)
        finally:
            process.terminate()
            assert process.wait(10) == 0, file.read_text()


def _port_in(log: Path) -> int:
    """That of its first line, which says where it listens."""
    deadline = time.monotonic() + 20.0
    while "\n" not in (text := log.read_text()):
        assert time.monotonic() < deadline, text
        time.sleep(0.01)
    first = json.loads(text.splitlines()[0])
    assert first["msg"] == "listening", text
    return int(first["address"].rpartition(":")[2])
