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
import binascii
import re
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from nexthos_shared import names
from nexthos_shared.errors import ConfigChanged, ConfigMissing, ConfigUnavailable, InvalidConfig
from nexthos_shared.reasons import Reason
from nexthos_shared.untrusted_json import read_object, whole

MAX_CONFIG_BYTES = 1024 * 1024
MOST_CHUNKS = 256  # of one object: 4 KiB each, where clients cut by 128 KiB; each costs a question
MOST_BYTES_TOLD = 2**53  # of a size: larger ones are no integers for every reader of JSON
READS = 5  # attempts at the same object, before its bytes count as damaged
READ_AGAIN = 0.02  # seconds, times the number of the attempt: a follower may lag behind
READ_WITHIN = 5.0  # seconds, when the object is overwritten under each read
ALL_WITHIN = 20.0  # seconds for all of it, however slowly each answer comes
META_BYTES = 64 * 1024  # of a meta; ours has 300
_NUID = re.compile(
    r"[A-Za-z0-9_-]{1,64}"
)  # a token of a subject, so nothing that a subject takes apart
_DIGEST = re.compile(r"SHA-256=([A-Za-z0-9_-]{43}=?)")


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
    broken: str = ""  # what is wrong with its meta; nothing else of it counts then

    @property
    def refusal(self) -> str:
        """Why nothing may be read by it, as a sentence; empty if it may."""
        name = names.config_object(self.id, self.version)
        if self.broken:
            return f"configuration {name}: its meta can't be used: {self.broken}; put it again"
        if self.chunks > MOST_CHUNKS:
            cut = f"is cut into {self.chunks} chunks, at most {MOST_CHUNKS} are read"
            return f"configuration {name} {cut}; put it again with chunks of 128 KiB"
        return ""


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


def name_of(bucket: str, subject: str) -> tuple[str, str] | None:
    """(id, version) of the configuration whose meta `subject` holds; None for all else."""
    encoded = subject.removeprefix(f"$O.{bucket}.M.")
    try:
        name = base64.b64decode(encoded, altchars=b"-_", validate=True).decode()
    except ValueError:  # binascii's and Unicode's are such
        return None
    return names.split_config_object(name) if meta_subject(bucket, name) == subject else None


def read(
    bucket: str,
    pipeline_id: str,
    version: str,
    *,
    digest: str | None = None,
    known: ConfigInfo | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Reading:
    """The verified bytes, in a bounded number of direct gets; an object overwritten meanwhile is read again.

    `known` is what its meta said a moment ago, which saves asking for it: if the bytes are not what it
    promises, it is asked for all the same.

    Raises ConfigMissing, ConfigChanged (they have another digest than asked for), InvalidConfig
    (larger than 1 MiB, a meta that can't be used, too many chunks), ConfigUnavailable (damaged, overwritten
    all the time, or too slow).
    """
    name = names.config_object(pipeline_id, version)
    began = clock()
    end = _End(name, clock, began + ALL_WITHIN)
    if known is not None and known.digest == digest and not _unreadable(known):
        content = yield from _chunks(bucket, known, end)
        if content is not None:
            return content
    attempts, nuid = 0, ""
    while attempts < READS and clock() < began + READ_WITHIN:
        answer = yield Ask(meta_subject(bucket, name), wait=attempts * READ_AGAIN)
        info = info_of(answer, pipeline_id, version)
        if info is None or info.deleted:
            raise ConfigMissing(f"no configuration {name} is stored")
        if info.broken:
            raise InvalidConfig(info.refusal, reason=Reason.CONFIG_DAMAGED)
        if digest is not None and info.digest != digest:
            raise ConfigChanged(f"configuration {name} is now {info.digest}, not {digest}")
        if (error := _unreadable(info)) is not None:
            raise error
        attempts = attempts + 1 if info.nuid == nuid else 1  # overwritten: they begin anew
        nuid = info.nuid
        content = yield from _chunks(bucket, info, end)
        if content is not None:
            return content
    raise ConfigUnavailable(f"configuration {name}: the bytes do not match what is promised")


@dataclass(frozen=True, slots=True)
class _End:
    """When a read is given up."""

    name: str
    clock: Callable[[], float]
    deadline: float

    def check(self) -> None:
        """Raise ConfigUnavailable after it."""
        if self.clock() > self.deadline:
            words = f"configuration {self.name}: it could not be read within {ALL_WITHIN:.0f} s"
            raise ConfigUnavailable(words)


def _unreadable(info: ConfigInfo) -> InvalidConfig | None:
    if info.refusal:
        return InvalidConfig(info.refusal, reason=Reason.CONFIG_DAMAGED)
    if info.size > MAX_CONFIG_BYTES:
        return too_large(names.config_object(info.id, info.version), info.size)
    return None


def _chunks(
    bucket: str, info: ConfigInfo, end: _End
) -> Generator[Ask, Answer | None, bytes | None]:
    """The bytes if size and SHA-256 are right; None if the object was overwritten meanwhile.

    Raises InvalidConfig for more chunks than may be, ConfigUnavailable when it takes too long.
    """
    subject = f"$O.{bucket}.C.{info.nuid}"
    content, sequence, asked = b"", 0, 0
    while len(content) < info.size:
        end.check()
        if asked == (info.chunks or MOST_CHUNKS):
            if info.chunks:
                return None  # they are smaller than the meta says
            words = f"configuration {end.name} is cut into more than {MOST_CHUNKS} chunks"
            words += "; put it again with chunks of 128 KiB"
            raise InvalidConfig(words, reason=Reason.CONFIG_DAMAGED)
        # A get with the subject in its own can be granted by itself, but it knows the last chunk only.
        # Up to 128 KiB, as clients cut by default, the last one is all.
        answer = yield Ask(subject, None if info.chunks == 1 else sequence)
        if answer is None or not answer.data:
            return None
        asked += 1
        content += answer.data
        sequence = answer.sequence
    return content if names.digest_of(content) == info.digest else None


def too_large(name: str, size: int) -> InvalidConfig:
    """The refusal of a configuration of `size` bytes."""
    return InvalidConfig(
        f"configuration {name} has {size} bytes, at most {MAX_CONFIG_BYTES} are allowed",
        reason=Reason.CONFIG_TOO_LARGE,
    )


def info_of(answer: Answer | None, pipeline_id: str, version: str) -> ConfigInfo | None:
    """What the meta of `<id>/<version>` says; `broken` if that can't be used, None if there is none.

    The name is that of the subject: what the meta calls itself may be another pipeline's.
    """
    if answer is None:
        return None
    # Known by it and by its digest in many places.
    pipeline_id, version = sys.intern(pipeline_id), sys.intern(version)
    revision, created = answer.sequence, answer.created

    def broken(why: str) -> ConfigInfo:
        return ConfigInfo(pipeline_id, version, "", 0, "", revision, created, broken=why)

    meta = read_object(answer.data, most=META_BYTES)
    if meta is None:
        return broken("it is no JSON object, or beyond the bounds of one")
    if meta.get("name") != names.config_object(pipeline_id, version):
        return broken("its `name` is not the one that it is stored under")
    if meta.get("deleted") is True:
        return ConfigInfo(pipeline_id, version, "", 0, "", revision, created, deleted=True)
    digest, nuid = _digest(meta.get("digest")), meta.get("nuid")
    size, chunks = whole(meta.get("size", 0), MOST_BYTES_TOLD), meta.get("chunks", 0)
    chunks = whole(chunks, MOST_BYTES_TOLD)
    if digest is None:
        return broken("`digest` is no SHA-256")
    if not isinstance(nuid, str) or not _NUID.fullmatch(nuid):
        return broken("`nuid` is not 1 to 64 letters, digits, _ and -")
    if size is None or chunks is None:
        return broken("`size` or `chunks` is no whole number within bounds")
    digest = sys.intern(digest)
    return ConfigInfo(pipeline_id, version, digest, size, nuid, revision, created, chunks=chunks)


def _digest(written: object) -> str | None:
    """`SHA-256=<base64url>` as `sha256:<hex>`; None for anything else."""
    match = _DIGEST.fullmatch(written) if isinstance(written, str) else None
    if match is None:
        return None
    try:
        raw = base64.urlsafe_b64decode(match[1].rstrip("=") + "=")
    except binascii.Error:
        return None
    return f"sha256:{raw.hex()}"
