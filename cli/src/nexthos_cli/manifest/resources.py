"""`nats.yaml`: the streams and buckets that the pipelines of a folder expect to find.

Comes in: a file beside the pipelines, and a JetStream. Goes out: what was missing is there, and a
sentence for each thing that was made. Must not know pipelines. `dev` and `apply` make what is missing;
`apply` refuses what exists with other settings.

What exists is never changed, whatever the file says: not a stream's subjects, not a key's value.

    streams:
      - {name: LOGS, subjects: [logs.>], max_age: 1h, max_bytes: 64Mi}
    kv:
      - bucket: customers
        values:
          c-1001: {name: Ada, tier: gold}    # stored as JSON; a text is stored as it is
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from nats import errors as nats_errors
from nats.js import JetStreamContext
from nats.js import api as js_api
from nats.js import errors as js_errors
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from nexthos_cli.manifest.sources import Source
from nexthos_shared.errors import InvalidDefinition, StoreUnavailable
from nexthos_shared.manifest.documents import Document, Unreadable, read_documents
from nexthos_shared.model.quantities import Duration, MemoryBytes
from nexthos_shared.reasons import Problem

FILE_NAME = "nats.yaml"
MAX_BYTES = 256 * 1024
_PIPELINE = re.compile(rb"^(schema|input|output|pipeline|buffer)\s*:", re.MULTILINE)

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Subject = Annotated[str, StringConstraints(pattern=r"^[^\s.]+(\.[^\s.]+)*$")]
Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_=/-]+(\.[A-Za-z0-9_=/-]+)*$")]


class _Written(BaseModel):
    """Unknown fields are refused with the field named."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class StreamSpec(_Written):
    """A stream that pipelines publish to or consume from."""

    name: Name
    subjects: Annotated[list[Subject], Field(min_length=1)]
    description: str = ""
    storage: Literal["file", "memory"] = "file"
    max_age: Duration | None = Field(None, description="messages older than that go, e.g. 1h")
    max_bytes: MemoryBytes | None = Field(None, description="the oldest go beyond that, e.g. 64Mi")


class BucketSpec(_Written):
    """A KV bucket, with the values it begins with."""

    bucket: Name
    description: str = ""
    history: Annotated[int, Field(ge=1, le=64)] = 1
    values: dict[Key, Any] = Field(default_factory=dict)


class Resources(_Written):
    """What a `nats.yaml` says."""

    streams: list[StreamSpec] = Field(default_factory=list)
    kv: list[BucketSpec] = Field(default_factory=list)


def load(path: Path) -> Resources:
    """Read a `nats.yaml`. Raises InvalidDefinition with file, line and field."""
    try:
        raw = path.read_bytes()
        document = _document(raw)
    except OSError as error:
        raise InvalidDefinition(f"{path}: {error.strerror}", file=str(path)) from error
    except (Unreadable, UnicodeDecodeError) as error:
        line = error.mark.line if isinstance(error, Unreadable) and error.mark else None
        where = f"{path}:{line}" if line else str(path)
        raise InvalidDefinition(f"{where}: {error}", file=str(path), line=line) from error
    try:
        return Resources.model_validate({} if document.value is None else document.value)
    except ValidationError as error:
        raise _explained(path, document, error) from error


def _document(raw: bytes) -> Document:
    if len(raw) > MAX_BYTES:
        raise Unreadable(f"{len(raw)} bytes, at most {MAX_BYTES} are allowed")
    documents = read_documents(raw.decode("utf-8-sig"))
    if len(documents) > 1:
        raise Unreadable("more than one document")
    return documents[0] if documents else Document()


def _explained(path: Path, document: Document, error: ValidationError) -> InvalidDefinition:
    first = error.errors(include_url=False, include_input=False)[0]
    place = tuple(part for part in first["loc"] if part != "[key]")
    mark = document.mark(place, key=True)
    field = ".".join(str(part) for part in place)
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "is not a field of it (unknown fields are refused)"
    where = f"{path}:{mark.line}" if mark else str(path)
    return InvalidDefinition(
        f"{where}: {field or 'the file'}: {message}",
        file=str(path),
        field=field or None,
        line=mark.line if mark else None,
        column=mark.column if mark else None,
    )


def is_resources(source: Source) -> bool:
    """A `nats.yaml`, unless it is a pipeline that somebody named so, as documentation does."""
    named = source.path is not None and source.path.name == FILE_NAME
    return named and _PIPELINE.search(source.content) is None


def read_all(sources: Sequence[Source]) -> tuple[list[tuple[str, Resources]], list[Problem]]:
    """Those of `sources` that are such files, by shown name, and what is wrong with them."""
    found, problems = list[tuple[str, Resources]](), list[Problem]()
    for source in sources:
        if source.path is None or not is_resources(source):
            continue
        try:
            found.append((source.name, load(source.path)))
        except InvalidDefinition as error:
            problems.append(error.problem)
    return found, problems


async def compare(js: JetStreamContext, wanted: Resources) -> tuple[list[str], list[str]]:
    """What `ensure` would make, and what exists with other settings; changes nothing.

    Raises StoreUnavailable where the server does not answer.
    """
    absent, other = list[str](), list[str]()
    for stream in wanted.streams:
        await _compare(js, stream.name, f"stream {stream.name}", _of_stream(stream), absent, other)
    for bucket in wanted.kv:
        fields = {"history": bucket.history, "description": bucket.description or None}
        what = f"KV bucket {bucket.bucket}"
        await _compare(js, f"KV_{bucket.bucket}", what, fields, absent, other)
    return absent, other


def _of_stream(spec: StreamSpec) -> dict[str, Any]:
    return {
        "subjects": sorted(spec.subjects),
        "description": spec.description or None,
        "storage": spec.storage,
        "max_age": spec.max_age,
        "max_bytes": spec.max_bytes,
    }


async def _compare(
    js: JetStreamContext,
    name: str,
    what: str,
    fields: dict[str, Any],
    absent: list[str],
    other: list[str],
) -> None:
    """What the file leaves out may be as it is."""
    async with _door(what):
        try:
            config = (await js.stream_info(name)).config
        except js_errors.NotFoundError:
            absent.append(what)
            return
    there = {
        "subjects": sorted(config.subjects or []),
        "description": config.description,
        "storage": str(getattr(config.storage, "value", config.storage)),
        "max_age": config.max_age,
        "max_bytes": config.max_bytes,
        "history": config.max_msgs_per_subject,
    }
    other += [
        f"{what}: {field} is {there[field]!r} on the server and {value!r} in the file"
        for field, value in fields.items()
        if value is not None and there[field] != value
    ]


async def ensure(js: JetStreamContext, resources: Resources) -> list[str]:
    """Make what is absent; a sentence per thing made, none if all was there.

    Raises InvalidDefinition where the server refuses what is asked (subjects that another stream has
    already), StoreUnavailable where it does not answer.
    """
    made: list[str] = []
    for stream in resources.streams:
        made += await _ensure_stream(js, stream)
    for bucket in resources.kv:
        made += await _ensure_bucket(js, bucket)
    return made


async def _ensure_stream(js: JetStreamContext, spec: StreamSpec) -> list[str]:
    what = f"stream {spec.name}"
    config = js_api.StreamConfig(
        name=spec.name,
        subjects=spec.subjects,
        description=spec.description or None,
        storage=js_api.StorageType(spec.storage),
        max_age=spec.max_age,
        max_bytes=spec.max_bytes,
    )
    async with _door(what):
        try:
            await js.stream_info(spec.name)
            return []
        except js_errors.NotFoundError:
            await js.add_stream(config)
    return [f"created {what} ({', '.join(spec.subjects)})"]


async def _ensure_bucket(js: JetStreamContext, spec: BucketSpec) -> list[str]:
    what = f"KV bucket {spec.bucket}"
    made: list[str] = []
    async with _door(what):
        try:
            bucket = await js.key_value(spec.bucket)
        except js_errors.BucketNotFoundError:
            bucket = await js.create_key_value(
                js_api.KeyValueConfig(
                    bucket=spec.bucket, description=spec.description or None, history=spec.history
                )
            )
            made.append(f"created {what}")
        absent = [key for key in spec.values if not await _has(bucket, key)]
        for key in absent:
            await bucket.put(key, _encoded(spec.values[key]))
    if absent:
        made.append(f"put {len(absent)} of {len(spec.values)} keys into {what}")
    return made


async def _has(bucket: Any, key: str) -> bool:
    try:
        await bucket.get(key)
    except js_errors.KeyNotFoundError:
        return False
    return True


def _encoded(value: Any) -> bytes:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text.encode()


@asynccontextmanager
async def _door(what: str) -> AsyncIterator[None]:
    """Translate what nats-py raises, with the name of the thing that was asked for."""
    try:
        yield
    except js_errors.BadRequestError as error:
        raise InvalidDefinition(f"{what}: {error.description or error}") from error
    except (nats_errors.Error, js_errors.Error, TimeoutError, OSError) as error:
        raise StoreUnavailable(f"{what}: {error}") from error
