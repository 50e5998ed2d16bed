"""The rig of the Docker executor with the socket proxy between it and the daemon."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Self

from nexthos_controller.execution import Owner
from nexthos_controller.executors.contract import LocalContext
from nexthos_testing.docker import PUPPET, RUNNER, SOCKET
from nexthos_testing.docker_rig import DockerRig
from nexthos_testing.socket_proxy import compiled, proxy_before
from nexthos_testing.wire import Wire


class ProxiedRig(DockerRig):
    """What is cut is the wire behind the proxy: then the daemon is away, and the proxy is not."""

    async def __aenter__(self) -> Self:
        binary = compiled(self.folder.parent)
        self._more = ExitStack()
        # A Unix socket's path has 107 bytes at most.
        short = Path(self._more.enter_context(tempfile.TemporaryDirectory(prefix="nexthos-")))
        behind = self._more.enter_context(closing(Wire(SOCKET, short / "s")))
        images = f"-images={RUNNER},{PUPPET},nexthos/is-nowhere:1"
        before = proxy_before(binary, short, "-namespace=ns", images, socket=short / "s")
        self._proxy = self._more.enter_context(before)
        await super().__aenter__()
        self.wire.close()
        self.wire = behind
        return self

    async def __aexit__(self, *reason: object) -> None:
        await super().__aexit__(*reason)
        self._more.close()

    def context(self, owner: Owner | None = None) -> LocalContext:
        given = super().context(owner)
        return replace(given, options={**given.options, "host": self._proxy.host})
