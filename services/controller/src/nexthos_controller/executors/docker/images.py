"""Having an image: it is here, or it is pulled, with a word in the log of how far that is."""

from __future__ import annotations

import asyncio
import time

import structlog

from nexthos_controller.executors.docker.container import Image
from nexthos_controller.executors.docker.daemon import Daemon, DaemonRefused, Gone
from nexthos_shared.errors import StartFailed
from nexthos_shared.reasons import Reason

TELL_EVERY = 5.0  # seconds

log = structlog.get_logger(__name__)


class Images:
    """Images by name. Several that need the same one share a pull."""

    def __init__(self, daemon: Daemon, pull: bool) -> None:
        self._daemon = daemon
        self._pull = pull
        self._pulls: dict[str, asyncio.Task[None]] = {}
        self.ids: dict[str, str] = {}  # as last seen

    async def have(self, name: str) -> Image:
        """The image, pulled if it is not here. Raises StartFailed (ImageMissing), ExecutorUnreachable."""
        try:
            return await self._look(name)
        except Gone:
            if not self._pull:
                raise _missing(name, "and executors.docker.pull is `never`") from None
        await self._pulled(name)
        try:
            return await self._look(name)
        except Gone:
            raise _missing(name, "after it was pulled") from None

    async def refresh(self) -> None:
        """See which images the known names stand for by now."""
        for name in list(self.ids):
            try:
                await self._look(name)
            except Gone:
                self.ids.pop(name, None)

    async def _look(self, name: str) -> Image:
        found = await self._daemon.image(name)
        digests = found.get("RepoDigests") or []
        self.ids[name] = found["Id"]
        env = tuple((found.get("Config") or {}).get("Env") or ())
        return Image(digests[0] if digests else name, found["Id"], env)

    async def _pulled(self, name: str) -> None:
        task = self._pulls.get(name)
        if task is None or task.done():
            task = self._pulls[name] = asyncio.create_task(self._fetch(name), name=f"pull {name}")
        await asyncio.shield(task)

    async def _fetch(self, name: str) -> None:
        log.info("pulling an image", image=name)
        told = time.monotonic()
        try:
            async for item in self._daemon.pull(name):
                if "error" in item:
                    raise _missing(name, f"and can't be pulled: {item['error']}")
                if time.monotonic() - told > TELL_EVERY:
                    told = time.monotonic()
                    log.info(
                        "pulling an image",
                        image=name,
                        status=item.get("status"),
                        of=item.get("progress"),
                    )
        except (DaemonRefused, Gone) as error:
            raise _missing(name, f"and can't be pulled: {error}") from error
        log.info("pulled an image", image=name)

    async def close(self) -> None:
        """Wait for no pull."""
        for task in self._pulls.values():
            task.cancel()
        await asyncio.gather(*self._pulls.values(), return_exceptions=True)


def _missing(name: str, why: str) -> StartFailed:
    return StartFailed(
        f"image {name} is not on the Docker host, {why}", reason=Reason.IMAGE_MISSING
    )
