"""All buckets of a namespace on one connection; made where none exists, never beside others."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from dataclasses import dataclass

import structlog
from nats.js import errors as js_errors
from nats.js.api import DiscardPolicy, StorageType, StreamConfig

from nexthos_shared.errors import StoreConflict, StoreMissing, StoreUnavailable
from nexthos_shared.models import MAX_DEFINITION_BYTES
from nexthos_shared.names import INSTALLATION_KEY, Names
from nexthos_shared.nats_client import Link
from nexthos_shared.stores.bucket import Bucket
from nexthos_shared.stores.configs import Configs
from nexthos_shared.stores.door import door
from nexthos_shared.stores.events import Events
from nexthos_shared.stores.identity import identity_of

log = structlog.get_logger(__name__)

STREAM_EXISTS = 10058
INSTALLATION = "nexthos.installation"  # in the metadata of the bucket of pipelines
HISTORY = 64  # revisions kept of a definition: what `history` and `rollback` can show
MARKER_TTL = 60.0  # seconds that the marker of an expired key stays
SETTLE, SETTLE_CHECKS = 0.1, 10  # seconds and times to wait for another process that creates now
ANSWERS_WITHIN = 2.0  # seconds, a bucket that was just made


@dataclass(frozen=True, slots=True)
class Store:
    """The store of one namespace."""

    link: Link
    names: Names
    pipelines: Bucket
    statuses: Bucket
    control: Bucket
    configs: Configs
    events: Events

    @classmethod
    def of(cls, link: Link, names: Names) -> Store:
        """The buckets, unasked whether they exist: for those who may not look (a runner)."""
        return cls(
            link,
            names,
            Bucket(link, names.pipelines),
            Bucket(link, names.status, rollup=False),
            Bucket(link, names.control),
            Configs(link, names.configs),
            Events(link, names),
        )

    @classmethod
    async def open(cls, link: Link, names: Names, *, create: bool, replicas: int = 1) -> Store:
        """Open the buckets; with `create`, make them all if none of them exists.

        Raises StoreMissing naming what is missing if some exist and others don't: creating an empty
        bucket beside full ones would look like a mass deletion to whoever compares them.
        """
        store = cls.of(link, names)
        every = len(store._streams())
        missing = await store.missing()
        if len(missing) == every and create:
            await store.setup(replicas)
            return store
        for _ in range(SETTLE_CHECKS if create else 0):
            if not missing:
                break
            await asyncio.sleep(SETTLE)  # perhaps another process is creating them just now
            missing = await store.missing()
        if missing:
            words = (
                "no bucket of it exists"
                if len(missing) == every
                else f"missing: {', '.join(missing)}"
            )
            raise StoreMissing(
                f"namespace {names.namespace!r}: {words}; start a controller or run `nexthos setup`"
            )
        return store

    async def missing(self) -> list[str]:
        """Names of the buckets that do not exist."""
        absent = []
        for bucket, stream in self._streams().items():
            try:
                await identity_of(self.link, bucket, stream)
            except StoreMissing:
                absent.append(bucket)
        return absent

    def _streams(self) -> dict[str, str]:
        buckets = (self.pipelines, self.statuses, self.control, self.configs)
        return {b.name: b.stream for b in buckets}

    async def setup(self, replicas: int = 1) -> list[str]:
        """Create the buckets that are missing; returns their names."""
        missing = await self.missing()
        for bucket in missing:
            config = self._config(bucket, replicas)
            if bucket == self.pipelines.name:
                config.metadata = {INSTALLATION: await self._installation_key() or _random()}
            async with door(self.link, f"create {bucket}", config.name or bucket):
                try:
                    await self.link.js.add_stream(config)
                except js_errors.BadRequestError as error:
                    if error.err_code != STREAM_EXISTS:  # else another process was faster
                        raise
        try:
            await self.setup_events(replicas)
        except (
            StoreUnavailable
        ) as error:  # a small server may lack the room that the stream reserves
            log.warning("no stream of events", error=str(error))
        return missing

    async def setup_events(self, replicas: int = 1) -> None:
        """Create the stream of events where there is none: nothing rests on what it held."""
        config = self.events.config(replicas)
        async with door(self.link, f"create {config.name}", self.events.stream):
            try:
                await self.link.js.add_stream(config)
            except js_errors.BadRequestError as error:
                if error.err_code != STREAM_EXISTS:
                    raise

    def _config(self, bucket: str, replicas: int) -> StreamConfig:
        """The whole configuration in one request: a crash can't leave half of it.

        The standard streams of KV and Object Store, except that the status bucket forbids rollups: a
        writer of one status could otherwise wipe them all with one header (nats-facts.md, 17).
        """
        if bucket == self.configs.name:
            return StreamConfig(
                name=self.configs.stream,
                description="nexthos: engine configurations",
                subjects=[f"$O.{bucket}.C.>", f"$O.{bucket}.M.>"],
                storage=StorageType.FILE,
                num_replicas=replicas,
                discard=DiscardPolicy.NEW,
                allow_rollup_hdrs=True,
                allow_direct=True,
            )
        is_control = bucket == self.control.name
        is_pipelines = bucket == self.pipelines.name
        words = {
            self.pipelines.name: "nexthos: pipeline definitions",
            self.statuses.name: "nexthos: pipeline statuses, written by the controller",
            self.control.name: "nexthos: the controllers' own keys",
        }
        return StreamConfig(
            name=f"KV_{bucket}",
            description=words[bucket],
            subjects=[f"$KV.{bucket}.>"],
            max_msgs_per_subject=HISTORY if is_pipelines else 1,
            max_msg_size=2 * MAX_DEFINITION_BYTES if is_pipelines else -1,
            storage=StorageType.FILE,
            num_replicas=replicas,
            discard=DiscardPolicy.NEW,
            deny_delete=True,
            allow_direct=True,
            allow_rollup_hdrs=bucket != self.statuses.name,
            allow_msg_ttl=is_control,  # elsewhere a key that expires could bring back an older one
            subject_delete_marker_ttl=MARKER_TTL if is_control else None,
        )

    async def installation(self) -> str:
        """The random id of this store, made by whoever creates it.

        It stands in the control bucket, and in the metadata of the bucket of pipelines: were it lost
        with the one, nothing that runs would be known as ours, and all of it started a second time.
        """
        stored = await self._installation_key()
        if stored is None:
            made = await self._installation_noted() or _random()
            with suppress(StoreConflict):  # somebody else was faster: theirs counts
                await self.control.create(INSTALLATION_KEY, made.encode())
            stored = await self._installation_key()
        if stored is None:
            raise StoreMissing(f"{self.control.name}/{INSTALLATION_KEY} can't be read back")
        return stored

    async def _installation_key(self) -> str | None:
        """Waits a moment for a bucket that another process has just made: it exists before it answers."""
        until = asyncio.get_running_loop().time() + ANSWERS_WITHIN
        while True:
            try:
                stored = await self.control.get(INSTALLATION_KEY)
                break
            except StoreMissing:
                return None
            except StoreUnavailable:
                if asyncio.get_running_loop().time() > until:
                    raise
                await asyncio.sleep(SETTLE)
        return stored.value.decode() if stored and stored.value else None

    async def _installation_noted(self) -> str | None:
        async with door(self.link, f"look at {self.pipelines.name}", self.pipelines.stream):
            info = await self.link.js.stream_info(self.pipelines.stream)
        return (info.config.metadata or {}).get(INSTALLATION)


def _random() -> str:
    return secrets.token_hex(6)
