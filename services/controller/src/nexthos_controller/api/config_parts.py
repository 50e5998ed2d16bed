"""Configurations, part after part, for runners: a runner asks the controller, and no stream of the store.

Comes in: a request and the pipeline that its subject names. Goes out: bytes from an offset on, with size and
digest of the whole. A runner's user then needs one subject, by which NATS tells pipelines apart; a direct
get would take the subject of another pipeline's bytes, and store them under any reply.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict

from nexthos_controller.api.endpoint import SHORT, Endpoint, Raw
from nexthos_shared import names
from nexthos_shared.errors import ConfigChanged, ConfigMissing, StoreUnavailable, TooManyRequests
from nexthos_shared.model import CONFIG_PART_BYTES, ConfigRequest
from nexthos_shared.names import DIGEST_HEADER, SIZE_HEADER
from nexthos_shared.store import Configs

READ_WITHIN = 10.0  # seconds for one request
READERS = 4  # configurations read out of the store at once
WAITING = 8  # requests for one pipeline that are answered at once; more are told to come again
REMEMBERED = 8  # configurations kept for their next parts, of at most 1 MiB each

Key = tuple[str, str, str]  # id, version, digest: one pipeline's digest opens no other one's bytes


class Handout:
    """Hands out what is stored, at any version of a pipeline that has one."""

    def __init__(self, configs: Configs) -> None:
        self._configs = configs
        self._kept: OrderedDict[Key, bytes] = OrderedDict()
        self._readers = asyncio.Semaphore(READERS)
        self._asking: Counter[str] = Counter()

    @property
    def endpoint(self) -> Endpoint:
        """A new one at each call, as `Offer` wants it."""
        return Endpoint("config", ConfigRequest, (), raw=self.part, at_once=32, waiting=SHORT)

    async def part(self, pipeline_id: str, request: ConfigRequest) -> Raw:
        """The bytes from `offset` on, as many as go into a reply.

        Raises InvalidName, ConfigMissing, ConfigChanged, ConfigUnavailable, InvalidConfig (too large),
        StoreUnavailable, TooManyRequests.
        """
        names.check_id(pipeline_id)
        names.check_version(request.version)
        if self._asking[pipeline_id] >= WAITING:
            words = f"{WAITING} requests for {pipeline_id} are being answered: ask again"
            raise TooManyRequests(words)
        self._asking[pipeline_id] += 1
        try:
            async with asyncio.timeout(READ_WITHIN):
                digest, content = await self._content(pipeline_id, request)
        except TimeoutError as error:
            words = f"{pipeline_id}/{request.version} was not read within {READ_WITHIN:g} s"
            raise StoreUnavailable(words) from error
        finally:
            self._asking[pipeline_id] -= 1
            if not self._asking[pipeline_id]:
                del self._asking[pipeline_id]
        most = self._configs.link.room(CONFIG_PART_BYTES)
        headers = {DIGEST_HEADER: digest, SIZE_HEADER: str(len(content))}
        return Raw(content[request.offset : request.offset + most], headers)

    async def _content(self, pipeline_id: str, request: ConfigRequest) -> tuple[str, bytes]:
        """Digest and bytes. What is stored is asked for at the first part; the next ones are of the same."""
        version, digest = request.version, request.digest
        if request.offset and digest and (kept := self._look(pipeline_id, version, digest)):
            return digest, kept
        async with self._readers:
            info = await self._configs.info(pipeline_id, version)
            name = names.config_object(pipeline_id, version)
            if info is None:
                raise ConfigMissing(f"no configuration {name} is stored")
            if digest is not None and info.digest != digest:
                raise ConfigChanged(f"configuration {name} is now {info.digest}, not {digest}")
            if kept := self._look(pipeline_id, version, info.digest):
                return info.digest, kept
            content = await self._configs.get(pipeline_id, version, digest=digest, known=info)
        # Without a digest asked for it may have been overwritten meanwhile: its bytes say what they are.
        found = names.digest_of(content)
        self._kept[pipeline_id, version, found] = content
        while len(self._kept) > REMEMBERED:
            self._kept.popitem(last=False)
        return found, content

    def _look(self, pipeline_id: str, version: str, digest: str) -> bytes | None:
        key = (pipeline_id, version, digest)
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)
