"""A Docker daemon of a test's own, to be stopped, killed, frozen and started again; needs root.

It shares nothing with the machine's daemon but the kernel: folders, socket, containerd and identity are its
own, and no packet filter is touched. Containers use `network: host`; its bridge is there because a daemon
without one deletes `docker0`, which is the other daemon's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Self

import docker

from nexthos_testing.docker import RUNNER, Hands, do_without, need_docker
from nexthos_testing.locks import alone
from nexthos_testing.wait import eventually

# /etc/docker holds the key that a daemon's id is made of, so each daemon needs one of its own.
OWN_ETC = 'mkdir -p /etc/docker && mount --bind "$0" /etc/docker && exec "$@"'

BRIDGE, ADDRESS = "nexthos-test0", "10.213.77.1/24"


def _have_bridge() -> None:
    """Make it where it is not; it stays, since another test's daemon may use it."""
    subprocess.run(
        ["ip", "link", "add", BRIDGE, "type", "bridge"], check=False, capture_output=True
    )
    subprocess.run(["ip", "addr", "add", ADDRESS, "dev", BRIDGE], check=False, capture_output=True)
    subprocess.run(["ip", "link", "set", BRIDGE, "up"], check=True)


def need_dockerd() -> None:
    """Skip where no second daemon can be started."""
    need_docker()
    if os.geteuid() != 0 or not all(
        map(shutil.which, ("docker", "dockerd", "ip", "unshare", "mount"))
    ):
        do_without("a Docker daemon of the test's own needs root, dockerd, ip, unshare and mount")


class HandsAt(Hands):
    """Hands at another daemon."""

    def __init__(self, host: str) -> None:
        self.api = docker.APIClient(host, version="auto", timeout=30)


class Dockerd:
    """One daemon; the same data over restarts. `folder` must be short: a socket's path ends at 107."""

    def __init__(self, folder: Path, *, live_restore: bool = False) -> None:
        self.folder = folder
        self.live_restore = live_restore
        self._process: asyncio.subprocess.Process | None = None

    @property
    def host(self) -> str:
        return f"unix://{self.folder}/docker.sock"

    @property
    def log(self) -> str:
        return (self.folder / "dockerd.log").read_text()

    async def start(self) -> None:
        (self.folder / "etc").mkdir(parents=True, exist_ok=True)
        (self.folder / "pid").unlink(missing_ok=True)
        _have_bridge()
        command: list[str | Path] = [
            *("unshare", "--mount", "sh", "-c", OWN_ETC, self.folder / "etc", "dockerd"),
            *("--data-root", self.folder / "data", "--exec-root", self.folder / "exec"),
            *("--pidfile", self.folder / "pid", "--host", self.host),
            *("--bridge", BRIDGE, "--iptables=false", "--ip6tables=false"),
        ]
        with (self.folder / "dockerd.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                *(["--live-restore"] if self.live_restore else []),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        await eventually(self._answers, within=20.0, every=0.05)

    async def _answers(self) -> bool:
        assert self.running, self.log[-2000:]
        try:
            async with asyncio.timeout(5.0):
                reader, writer = await asyncio.open_unix_connection(f"{self.folder}/docker.sock")
                try:
                    writer.write(b"GET /_ping HTTP/1.0\r\n\r\n")
                    answer = await reader.read()
                finally:
                    writer.close()
                    await writer.wait_closed()
        except (OSError, TimeoutError):
            return False
        return answer.endswith(b"OK")

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def stop(self) -> None:
        """As systemd would; containers end with it, but for `live_restore`."""
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """As `kill -9`. Its containers live until the next start, its containerd dies with it."""
        await self._end(signal.SIGKILL)
        # Where nobody reaps orphans, the next one would take what is left of it for a live one.
        (self.folder / "exec/containerd/containerd.pid").unlink(missing_ok=True)

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    def freeze(self) -> None:
        """It answers no more, and takes connections all the same."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def _end(self, number: signal.Signals) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(number)
        async with asyncio.timeout(40.0):
            await process.wait()

    async def have_image(self) -> None:
        """The runner's image, copied from the machine's own daemon where it is not here yet."""
        ours, theirs = HandsAt(self.host), Hands()
        wanted = theirs.api.inspect_image(RUNNER)["Id"]  # type: ignore[no-untyped-call]
        there = [image["Id"] for image in ours.api.images(RUNNER)]
        ours.close()
        theirs.close()
        if wanted not in there:
            copying = f"docker save {RUNNER} | docker --host {self.host} load"
            done = await asyncio.create_subprocess_shell(copying, stdout=-1)
            said, _ = await done.communicate()
            assert done.returncode == 0, said

    async def __aenter__(self) -> Self:
        await self.start()
        await self.have_image()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.running:
            self.thaw()
        else:
            await self.start()
        hands = HandsAt(self.host)
        for container in hands.api.containers(all=True):
            await asyncio.to_thread(hands.api.remove_container, container["Id"], force=True, v=True)
        hands.close()
        await self.stop()


def sweep(folder: Path) -> None:
    """Remove what a daemon left, once nobody uses it."""
    if folder.exists():
        with alone(folder), contextlib.suppress(OSError):
            shutil.rmtree(folder)
