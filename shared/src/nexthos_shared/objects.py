"""A configuration as an object of the Object Store: its subjects, its meta, and how its bytes are read.

Comes in: what was asked for, and what direct gets answered. Goes out: what to ask next, and in the end
verified bytes. Knows no connection: the controller asks by nats-py, the runner over a socket, and both
drive the same `read`. It imports nothing heavy, because the runner's start-up time is every pipeline's.

    reading = read(bucket, "orders", "3")
    ask = next(reading)
    while True:                             # until StopIteration, whose value are the bytes
        ask = reading.send(<the answer to ask, or None where nothing is stored>)
"""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from nexthos_shared import names
from nexthos_shared.errors import ConfigChanged, ConfigMissing, ConfigUnavailable, InvalidConfig
from nexthos_shared.reasons import Reason

MAX_CONFIG_BYTES = 1024 * 1024
READS = 5  # attempts at the same object, before its bytes count as damaged
READ_AGAIN = 0.02  # seconds, times the number of the attempt: a follower may lag behind
READ_WITHIN = 5.0  # seconds, when the object is overwritten under each read


@dataclass(frozen=True, slots=True)
class ConfigInfo:
    """One stored configuration. `digest` is `sha256:<hex>`."""

    id: str
    version: str
    digest: str
    size: int  # bytes
    nuid: str
    revision: int
    # Seconds since the epoch. Not compared: nats-py rounds it in two ways, a microsecond apart.
    created: float = field(default=0.0, compare=False)
    deleted: bool = False
    chunks: int = field(default=0, compare=False)  # 0: not known


@dataclass(frozen=True, slots=True)
class Ask:
    """One direct get: the last message of `subject`, or the first one of it behind `after`."""

    subject: str
    after: int | None = None
    wait: float = 0.0  # seconds to let pass before


@dataclass(frozen=True, slots=True)
class Answer:
    """The message that was asked for."""

    data: bytes
    sequence: int
    created: float = 0.0  # seconds since the epoch


Reading = Generator[Ask, Answer | None, bytes]


def stream_of(bucket: str) -> str:
    """The stream behind an object bucket."""
    return f"OBJ_{bucket}"


def meta_subject(bucket: str, name: str) -> str:
    """Where the meta of the object `name` is stored."""
    return f"$O.{bucket}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"


def read(
    bucket: str,
    pipeline_id: str,
    version: str,
    *,
    digest: str | None = None,
    known: ConfigInfo | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Reading:
    """The verified bytes, in any number of direct gets; an object overwritten meanwhile is read again.

    `known` is what its meta said a moment ago, which saves asking for it: if the bytes are not what it
    promises, it is asked for all the same.

    Raises ConfigMissing, ConfigChanged (they have another digest than asked for), InvalidConfig
    (larger than 1 MiB), ConfigUnavailable (damaged, or overwritten all the time).
    """
    name = names.config_object(pipeline_id, version)
    deadline = clock() + READ_WITHIN
    if known is not None and known.digest == digest and known.size <= MAX_CONFIG_BYTES:
        content = yield from _chunks(bucket, known)
        if content is not None:
            return content
    attempts, nuid = 0, ""
    while attempts < READS and clock() < deadline:
        info = info_of((yield Ask(meta_subject(bucket, name), wait=attempts * READ_AGAIN)))
        if info is None or info.deleted:
            raise ConfigMissing(f"no configuration {name} is stored")
        if digest is not None and info.digest != digest:
            raise ConfigChanged(f"configuration {name} is now {info.digest}, not {digest}")
        if info.size > MAX_CONFIG_BYTES:
            raise too_large(name, info.size)
        attempts = attempts + 1 if info.nuid == nuid else 1  # overwritten: they begin anew
        nuid = info.nuid
        content = yield from _chunks(bucket, info)
        if content is not None:
            return content
    raise ConfigUnavailable(f"configuration {name}: the bytes do not match what is promised")


def _chunks(bucket: str, info: ConfigInfo) -> Generator[Ask, Answer | None, bytes | None]:
    """The bytes if size and SHA-256 are right; None if the object was overwritten meanwhile."""
    subject = f"$O.{bucket}.C.{info.nuid}"
    content, sequence = b"", 0
    while len(content) < info.size:
        # A get with the subject in its own can be granted by itself, but it knows the last chunk only.
        # Up to 128 KiB, as clients cut by default, the last one is all.
        answer = yield Ask(subject, None if info.chunks == 1 else sequence)
        if answer is None or not answer.data:
            return None
        content += answer.data
        sequence = answer.sequence
    return content if names.digest_of(content) == info.digest else None


def too_large(name: str, size: int) -> InvalidConfig:
    """The refusal of a configuration of `size` bytes."""
    return InvalidConfig(
        f"configuration {name} has {size} bytes, at most {MAX_CONFIG_BYTES} are allowed",
        reason=Reason.CONFIG_TOO_LARGE,
    )


def info_of(answer: Answer | None) -> ConfigInfo | None:
    """What a meta says; None for no meta, and for one that is no configuration's."""
    if answer is None:
        return None
    try:
        meta = json.loads(answer.data)
        named = names.split_config_object(str(meta["name"]))
        if named is None:
            return None
        deleted = bool(meta.get("deleted"))
        return ConfigInfo(
            id=sys.intern(named[0]),  # known by it and by its digest in many places
            version=sys.intern(named[1]),
            digest="" if deleted else sys.intern(_digest(str(meta.get("digest", "")))),
            size=int(meta.get("size", 0)),
            nuid=str(meta.get("nuid", "")),
            revision=answer.sequence,
            created=answer.created,
            deleted=deleted,
            chunks=int(meta.get("chunks", 0)),
        )
    except (ValueError, KeyError, TypeError):
        return None  # not ours to understand: another program's object


def _digest(written: str) -> str:
    """`SHA-256=<base64url>` as `sha256:<hex>`."""
    encoded = written.removeprefix("SHA-256=")
    raw = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    return f"sha256:{raw.hex()}"
