"""All buckets of a namespace on one connection; made where none exists, never beside others."""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass

from nats.js import errors as js_errors
from nats.js.api import KeyValueConfig, ObjectStoreConfig, StorageType, StreamConfig

from nexthos_shared.errors import StoreConflict, StoreMissing
from nexthos_shared.models import MAX_DEFINITION_BYTES
from nexthos_shared.names import INSTALLATION_KEY, Names
from nexthos_shared.nats_client import Link
from nexthos_shared.stores.bucket import Bucket
from nexthos_shared.stores.configs import Configs
from nexthos_shared.stores.door import door

STREAM_EXISTS = 10058
HISTORY = 64  # revisions kept of a definition: what `history` and `rollback` can show


@dataclass(frozen=True, slots=True)
class Store:
    """The store of one namespace."""

    link: Link
    names: Names
    pipelines: Bucket
    statuses: Bucket
    control: Bucket
    configs: Configs

    @classmethod
    async def open(cls, link: Link, names: Names, *, create: bool, replicas: int = 1) -> Store:
        """Open the buckets; with `create`, make them all if none of them exists.

        Raises StoreMissing naming what is missing if some exist and others don't: creating an empty
        bucket beside full ones would look like a mass deletion to whoever compares them.
        """
        store = cls(
            link,
            names,
            Bucket(link, names.pipelines),
            Bucket(link, names.status),
            Bucket(link, names.control),
            Configs(link, names.configs),
        )
        missing = await store.missing()
        if len(missing) == len(store._streams()) and create:
            await store.setup(replicas)
        elif missing:
            every = len(missing) == len(store._streams())
            words = "no bucket of it exists" if every else f"missing: {', '.join(missing)}"
            raise StoreMissing(
                f"namespace {names.namespace!r}: {words}; start a controller or run `nexthos setup`"
            )
        return store

    async def missing(self) -> list[str]:
        """Names of the buckets that do not exist."""
        absent = []
        for bucket, stream in self._streams().items():
            try:
                with door(self.link, f"look at {bucket}"):
                    await self.link.js.stream_info(stream)
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
            with door(self.link, f"create {bucket}"):
                await self._create(bucket, replicas)
        return missing

    async def _create(self, bucket: str, replicas: int) -> None:
        js = self.link.js
        try:
            if bucket == self.configs.name:
                config = ObjectStoreConfig(
                    description="nexthos: engine configurations",
                    storage=StorageType.FILE,
                    replicas=replicas,
                )
                await js.create_object_store(bucket, config)
                await self._allow_direct(self.configs.stream)
            else:
                await js.create_key_value(self._kv_config(bucket, replicas))
                if bucket == self.statuses.name:
                    await self._forbid_rollup(self.statuses.stream)
        except js_errors.BadRequestError as error:
            if error.err_code != STREAM_EXISTS:  # another process was faster
                raise

    def _kv_config(self, bucket: str, replicas: int) -> KeyValueConfig:
        words, history = {
            self.pipelines.name: ("nexthos: pipeline definitions", HISTORY),
            self.statuses.name: ("nexthos: pipeline statuses, written by the controller", 1),
            self.control.name: ("nexthos: the controllers' own keys", 1),
        }[bucket]
        return KeyValueConfig(
            bucket=bucket,
            description=words,
            history=history,
            replicas=replicas,
            storage=StorageType.FILE,
            direct=True,
            max_value_size=2 * MAX_DEFINITION_BYTES if bucket == self.pipelines.name else None,
            limit_marker_ttl=60 if bucket == self.control.name else None,
        )

    async def _allow_direct(self, stream: str) -> None:
        info = await self.link.js.stream_info(stream)
        if not info.config.allow_direct:
            await self.link.js.update_stream(_with(info.config, allow_direct=True))

    async def _forbid_rollup(self, stream: str) -> None:
        """A writer of one status could otherwise wipe them all with one header (nats-facts, 17)."""
        info = await self.link.js.stream_info(stream)
        await self.link.js.update_stream(_with(info.config, allow_rollup_hdrs=False))

    async def installation(self) -> str:
        """The random id of this store, made by whoever asks first."""
        stored = await self.control.get(INSTALLATION_KEY)
        if stored is None or stored.value is None:
            with suppress(StoreConflict):  # somebody else was faster: theirs counts
                await self.control.create(INSTALLATION_KEY, secrets.token_hex(6).encode())
            stored = await self.control.get(INSTALLATION_KEY)
        if stored is None or stored.value is None:
            raise StoreMissing(f"{self.control.name}/{INSTALLATION_KEY} can't be read back")
        return stored.value.decode()


def _with(config: StreamConfig, **changes: bool) -> StreamConfig:
    return config.evolve(**changes)
