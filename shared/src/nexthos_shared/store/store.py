"""All buckets of a namespace on one connection; made where none exists, never beside others."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog
from nats.js import errors as js_errors
from nats.js.api import StreamConfig

from nexthos_shared.errors import (
    InstallationDiffers,
    NexthosError,
    NotPermitted,
    StoreConflict,
    StoreMissing,
    StoreUnavailable,
)
from nexthos_shared.model.control import read_installation
from nexthos_shared.names import INSTALLATION_KEY, Names
from nexthos_shared.nats.asking import asked
from nexthos_shared.nats.connection import Link
from nexthos_shared.store.bucket import Bucket
from nexthos_shared.store.configs import Configs
from nexthos_shared.store.events import Events
from nexthos_shared.store.identity import identity_of
from nexthos_shared.store.streams import Difference, bucket_config, differences

log = structlog.get_logger(__name__)

STREAM_EXISTS = 10058
INSTALLATION = "nexthos.installation"  # in the metadata of each bucket
REPLACED = "nexthos.installation-replaced"  # beside it: which one it was before somebody chose this
SETTLE, SETTLE_CHECKS = 0.1, 10  # seconds and times to wait for another process that creates now
SLOW = 5.0  # seconds: what makes or changes a stream may take that long, and is not hurried
ANSWERS_WITHIN = 2.0  # seconds, a bucket that was just made


@dataclass(slots=True)
class Made:
    """What `setup` made, and what the server refused, by name."""

    created: list[str] = field(default_factory=list)
    refused: dict[str, NexthosError] = field(default_factory=dict)

    async def note(self, name: str, making: Awaitable[None]) -> None:
        """Whether it was made. Raises what is no refusal, such as a lost connection."""
        try:
            await making
        except (NotPermitted, StoreUnavailable) as error:
            if isinstance(error, StoreUnavailable) and error.passes:
                raise
            self.refused[name] = error
        else:
            self.created.append(name)


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
            Bucket(link, names.status),
            Bucket(link, names.control),
            Configs(link, names.configs),
            Events(link, names),
        )

    @classmethod
    async def open(
        cls, link: Link, names: Names, *, create: bool, replicas: int = 1, known: str | None = None
    ) -> Store:
        """Open the buckets; with `create`, make them all if none of them exists.

        `known` is which installation it was, for a store that came back empty.

        Raises StoreMissing naming what is missing if some exist and others don't: creating an empty
        bucket beside full ones would look like a mass deletion to whoever compares them.
        """
        store = cls.of(link, names)
        every = len(store._streams())
        missing = await store.missing()
        if create and await store._may_complete(missing):
            made = await store.setup(replicas, known)
            for bucket in missing:
                if bucket in made.refused:
                    raise made.refused[bucket]
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

    async def _may_complete(self, missing: Sequence[str]) -> bool:
        """Whether what is missing can be made without a look of deletion: all, or beside empty ones.

        A store is left half made where an account's limit refused the rest.
        """
        if len(missing) in (0, len(self._streams())):
            return bool(missing)
        told = (self.pipelines, self.statuses, self.configs)
        there = [bucket for bucket in told if bucket.name not in missing]
        return bool(there) and not any([(await bucket.identity()).last for bucket in there])

    def buckets(self) -> tuple[str, ...]:
        """Names of the buckets."""
        return tuple(self._streams())

    def _streams(self) -> dict[str, str]:
        buckets = (self.pipelines, self.statuses, self.control, self.configs)
        return {b.name: b.stream for b in buckets}

    async def setup(self, replicas: int = 1, known: str | None = None, max_bytes: int = -1) -> Made:
        """Create what is missing, and go on where one is refused. `known`: see `open`.

        `max_bytes` is the limit of each bucket; -1: none, which some accounts refuse.
        """
        missing = await self.missing()
        installation = await self._installation_for_new(known, missing) if missing else ""
        made = Made()
        for bucket in missing:
            config = bucket_config(self.names, bucket, replicas)
            config.metadata, config.max_bytes = {INSTALLATION: installation}, max_bytes
            await made.note(bucket, self._create(bucket, config))
        if not await self.has_events():
            # Nothing rests on it: a small server may lack the room that it reserves.
            await made.note(self.names.events, self.setup_events(replicas))
        return made

    async def has_events(self) -> bool:
        """Whether the stream of events exists. Raises StoreUnavailable, NotPermitted."""
        try:
            await identity_of(self.link, self.names.events, self.names.events)
        except StoreMissing:
            return False
        return True

    async def differing(self) -> dict[str, list[Difference]]:
        """Streams whose settings are not as they must be, and in what."""
        found = {}
        for stream in self.streams():
            with suppress(StoreMissing):  # `missing` tells that
                stored = await self._stored_config(stream)
                if differ := differences(self.names, stream, stored):
                    found[stream] = differ
        return found

    def streams(self) -> tuple[str, ...]:
        """Names of the streams behind all of it."""
        return (*self._streams().values(), self.events.stream)

    async def mend(self, stream: str) -> list[Difference]:
        """Make a stream's settings as they must be; returns what was changed.

        Everything else in its configuration stays as it is stored. Raises StoreUnavailable with the
        server's words where it refuses that change: some can't be taken back.
        """
        stored = await self._stored_config(stream)
        changed = differences(self.names, stream, stored)
        if changed:
            wanted = {**stored, **{one.setting: one.wanted for one in changed}}
            await self._change(stream, wanted, "settings")
        return changed

    async def _change(self, stream: str, wanted: dict[str, Any], what: str) -> None:
        # nats-py's own reading of a configuration leaves out what it does not know.
        body = json.dumps(wanted).encode()
        await self._api(f"change the {what} of {stream}", "STREAM.UPDATE", stream, body)

    async def _stored_config(self, stream: str) -> dict[str, Any]:
        info = await self._api(f"look at {stream}", "STREAM.INFO", stream)
        return dict(info["config"])

    async def _api(self, what: str, verb: str, stream: str, body: bytes = b"") -> dict[str, Any]:
        async def question(within: float) -> dict[str, Any]:
            js = self.link.js
            subject = f"{js._prefix}.{verb}.{stream}"
            answer: dict[str, Any] = await js._api_request(subject, body, timeout=max(within, SLOW))
            return answer

        return await asked(self.link, what, stream, question)

    async def _create(self, name: str, config: StreamConfig) -> None:
        """Unless it is there: another process was faster, or the answer to an earlier try was lost."""

        async def question(within: float) -> None:
            try:
                async with asyncio.timeout(max(within, SLOW)):
                    await self.link.js.add_stream(config)
            except js_errors.BadRequestError as error:
                if error.err_code != STREAM_EXISTS:
                    raise

        await asked(self.link, f"create {name}", config.name or name, question)

    async def setup_events(self, replicas: int = 1) -> None:
        """Create the stream of events where there is none: nothing rests on what it held."""
        config = self.events.config(replicas)
        await self._create(self.events.stream, config)

    async def installation(self, known: str | None = None) -> str:
        """The random id of this store, made by whoever creates it.

        It stands in the control bucket, and in the metadata of all buckets: were it lost with the one,
        nothing that runs would be known as ours, and all of it started a second time. `known` is what it
        was before, for a store that does not say, and for one that was made anew as another.

        Raises InstallationDiffers where the key says another thing, or no such id, or all say another one
        than `known`.
        """
        found = await self.stored_installation(known)
        if found is None:
            made = await self._agreed(known) or _random()
            with suppress(StoreConflict):  # somebody else was faster: theirs counts
                await self.control.create(INSTALLATION_KEY, made.encode())
            found = await self.stored_installation(known)
        if found is None:
            raise StoreMissing(f"{self.control.name}/{INSTALLATION_KEY} can't be read back")
        return found

    async def stored_installation(self, known: str | None = None) -> str | None:
        """The same as far as the key is there, and nothing is written. Raises InstallationDiffers."""
        stored = await self._installation_key()
        if stored is None:
            return None
        found, noted = read_installation(stored), await self._agreed(known)
        if found is None or noted not in (None, found):
            raise self._differs(stored, noted)
        return found

    async def _agreed(self, known: str | None) -> str | None:
        """What the metadata say, or `known`. Raises InstallationDiffers where they say another one."""
        noted = await self._noted()
        if known is None or noted is None or known in (noted.installation, noted.replaced):
            return noted.installation if noted else known
        raise InstallationDiffers(
            f"the buckets of {self.names.namespace!r} were made anew as installation "
            f"{noted.installation}, and what this controller runs is of {known}: `nexthos setup "
            f"--installation {known}` keeps that, a restart of the controller begins anew beside it; until "
            "then nothing is started or stopped"
        )

    async def take_over(self, installation: str) -> bool:
        """Make this store that of `installation`, whose executions are known as ours then.

        Returns whether it was another one. Raises InstallationDiffers where a controller acted on it and
        it has entries: what runs for these would be seen no more, and started a second time.
        """
        noted, key = await self._noted(), await self._installation_key()
        now = noted.installation if noted else read_installation(key)
        if now not in (None, installation) and key is not None:
            entries = [e for e in await self.pipelines.snapshot() if e.value is not None]
            if entries:
                raise InstallationDiffers(
                    f"this store is of installation {now} and has {len(entries)} entries, so it can't be "
                    f"that of {installation}: `nexthos rm --all` and wait until they are gone, then do this, "
                    "then apply them again"
                )
        replaced = now if now != installation else noted.replaced if noted else None
        for bucket in (self.pipelines, self.configs, self.statuses, self.control):
            await self._note(bucket.stream, _Note(installation, replaced))
        if key != installation.encode():
            await self.control.put(INSTALLATION_KEY, installation.encode())
        return now != installation

    async def _note(self, stream: str, note: _Note) -> None:
        stored = await self._stored_config(stream)
        metadata = stored.get("metadata") or {}
        if metadata.get(INSTALLATION) != note.installation:
            wanted = {**metadata, INSTALLATION: note.installation, REPLACED: note.replaced or ""}
            await self._change(stream, {**stored, "metadata": wanted}, "installation")

    def _differs(self, stored: bytes, noted: str | None) -> InstallationDiffers:
        key, shown = (
            f"{self.control.name}/{INSTALLATION_KEY}",
            stored[:40].decode("ascii", "replace"),
        )
        words = f"{key} is {shown!r}, "
        if noted is None:
            words += "which is no id of an installation (12 hex digits): write the right one back, as the "
            words += "state folder's name and the containers' label nexthos.installation have it"
        else:
            words += f"but this store was made as {noted}: `nats kv del {self.control.name} "
            words += f"{INSTALLATION_KEY}` has that written again"
        return InstallationDiffers(f"{words}; until then nothing is started or stopped")

    async def _installation_for_new(self, known: str | None, missing: Sequence[str]) -> str:
        """What a bucket that is made now is to say."""
        # In another domain nobody says that a bucket is not there: a get waits for its whole time.
        absent = self.control.name in missing
        stored = None if absent else await self._installation_key()
        noted = await self._noted()
        found = noted.installation if noted else read_installation(stored)
        return found or known or _random()

    async def _installation_key(self) -> bytes | None:
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
        return stored.value if stored else None

    async def _noted(self) -> _Note | None:
        """What the buckets' metadata say, that of the pipelines first; None if they say nothing."""
        for bucket in (self.pipelines, self.configs, self.statuses, self.control):
            try:
                stored = await self._stored_config(bucket.stream)
            except StoreMissing:
                continue
            metadata = stored.get("metadata") or {}
            if (found := read_installation(metadata.get(INSTALLATION, "").encode())) is not None:
                return _Note(found, read_installation(metadata.get(REPLACED, "").encode()))
        return None


@dataclass(frozen=True, slots=True)
class _Note:
    """What the metadata of a bucket say; `replaced`: what it was until somebody chose this one."""

    installation: str
    replaced: str | None


def _random() -> str:
    return secrets.token_hex(6)
