"""An image registry of a test's own, on loopback: where it listens there, Docker asks for no TLS."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from pathlib import Path
from typing import Self

from nexthos_testing.docker import do_without
from nexthos_testing.nats import free_port
from nexthos_testing.wait import eventually

PROGRAMS = ("docker-registry", "registry")
CONFIG = """\
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}/images}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
log: {{level: error}}
"""


class Registry:
    """`async with Registry(folder)`; `host` is what names of images begin with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
        if program is None:
            do_without("no image registry can be started: install docker-registry")
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "config.yml"
        file.write_text(CONFIG.format(folder=self.folder, port=self.port))
        with (self.folder / "registry.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                program, "serve", file, stdout=log, stderr=log
            )
        await eventually(self._listens)
        return self

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        await self._process.wait()
