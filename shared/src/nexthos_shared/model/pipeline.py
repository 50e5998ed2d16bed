"""The pipeline definition: the entry that users put into the bucket `<ns>-pipelines`.

Comes in as the bytes of a KV entry; goes out as an `Entry`: what is wanted, the definition if it can
be understood, the problem if it can't. Knows nothing of NATS, executors or what runs.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from nexthos_shared import names
from nexthos_shared.errors import InvalidDefinition, InvalidName
from nexthos_shared.model.quantities import Cpu, Duration, MemoryBytes
from nexthos_shared.problems import first_mistake
from nexthos_shared.reasons import Problem, Reason

MAX_DEFINITION_BYTES = 64 * 1024
MAX_READ_BYTES = (
    1024 * 1024
)  # NATS's own limit: `status` is still read in what is refused as too large
SPEC_FORMAT = 1  # raise when spec_hash covers other fields: every execution is then Outdated


class Wanted(StrEnum):
    """What the user wants of a pipeline: the `status` of its entry."""

    PUBLISHED = "published"
    PAUSED = "paused"
    DRAFT = "draft"


def _named(check: Any) -> AfterValidator:
    def validate(value: str) -> str:
        try:
            return str(check(value))
        except InvalidName as error:
            raise ValueError(str(error)) from error

    return AfterValidator(validate)


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not contain a NUL character")
    return value


def _is_json(value: dict[str, Any]) -> dict[str, Any]:
    try:
        if value:  # it hardly ever has any, and each status is read through here
            json.dumps(value, allow_nan=False)
    except ValueError:
        raise ValueError("NaN and Infinity are not JSON") from None
    return value


PipelineId = Annotated[str, _named(names.check_id)]
Version = Annotated[str, _named(names.check_version)]
EnvName = Annotated[str, _named(names.check_env_name)]
EnvValue = Annotated[str, AfterValidator(_no_nul)]
SimpleName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]


class Strict(BaseModel):
    """Unknown fields are refused with the field named; values are not coerced; frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Resources(Strict):
    """Limits; what an executor can't enforce it refuses."""

    cpu: Cpu | None = Field(None, description="cores: 0.5 or 500m")
    memory: MemoryBytes | None = Field(None, description="bytes: 268435456, 256M or 256Mi")


class Update(Strict):
    """How a new version replaces a running one."""

    strategy: Literal["recreate", "rolling"] = Field(
        "recreate",
        description="recreate stops the old version first; rolling starts each new replica before",
    )
    ready_timeout: Duration = Field(30.0, description="time to become ready, e.g. 30s")
    rollback: bool = Field(True, description="go back to the version that was ready, if it is late")


class Pipeline(Strict):
    """A pipeline definition. Only `status` and `version` matter to start."""

    model_config = ConfigDict(json_schema_extra={"title": "Pipeline"})

    status: Annotated[Wanted, Field(strict=False)] = Field(
        description="published runs `version`; paused stops and keeps; draft leaves no trace"
    )
    version: Version | None = Field(None, description="the configuration object <id>/<version>")
    id: PipelineId | None = Field(None, description="the key; may be left out, must match if given")
    name: Annotated[str, Field(max_length=200)] = Field("", description="a title for people")
    description: Annotated[str, Field(max_length=4000)] = Field(
        "", description="what it is for, for people"
    )
    labels: dict[str, str] = Field(
        default_factory=dict, description="to select by, `-l team=a`; they reach no engine"
    )
    digest: Digest | None = Field(None, description="refuse any other bytes: sha256:<hex>")
    executor: SimpleName | None = Field(
        None, description="omitted: where it already runs, else the controller's default"
    )
    engine: SimpleName = Field("default", description="which engine, by its name in the settings")
    connection: SimpleName = Field(
        "default", description="which NATS its engine is given, by its name in the settings"
    )
    lifecycle: Literal["service", "job"] = Field(
        "service", description="a service runs until it is stopped, a job until it is done"
    )
    retries: Annotated[int, Field(ge=0, le=1000)] = Field(
        5, description="of a job: how often it is started again after an error, 0 to 1000"
    )
    replicas: Annotated[int, Field(ge=1, le=100)] = Field(
        1, description="how many engines run it at the same time, 1 to 100"
    )
    env: dict[EnvName, EnvValue] = Field(
        default_factory=dict, description="variables of its engine, for `${NAME}`; not for secrets"
    )
    resources: Resources = Field(
        default_factory=Resources, description="limits: `cpu` in cores, `memory` in bytes"
    )
    update: Update = Field(
        default_factory=Update,
        description="how a new version replaces a running one: `strategy` recreate or rolling, "
        "`ready_timeout`, `rollback`",
    )
    stop_timeout: Duration = Field(30.0, description="time to drain before it is killed, e.g. 30s")
    executor_options: Annotated[dict[str, Any], AfterValidator(_is_json)] = Field(
        default_factory=dict,
        description="what only its executor understands, see docs/executors.md",
    )
    restart_nonce: Annotated[int, Field(ge=0)] = Field(
        0, description="another number restarts it: `nexthos restart` counts it up"
    )
    schema_: Literal[1] = Field(1, alias="schema", description="the form of this definition")

    @model_validator(mode="after")
    def _consistent(self) -> Pipeline:
        if self.status is Wanted.PUBLISHED and self.version is None:
            raise ValueError("version: a published pipeline must name its version")
        if self.lifecycle == "job" and self.replicas != 1:
            raise ValueError("replicas: a job has one replica")
        if reserved := sorted(name for name in self.env if name.startswith(_RESERVED_ENV)):
            raise ValueError(f"env.{reserved[0]}: is set by nexthos and can't be overridden")
        return self

    def spec_hash(self, digest: str) -> str:
        """64 hex digits over what shapes an execution, with the resolved digest of its bytes.

        Name, description, labels, replicas, update and status never reach an execution, so changing
        them restarts nothing. Names are hashed as written, not what settings make of them today.
        """
        shaping = self.model_dump(mode="json", include=_SHAPING, by_alias=True)
        shaping |= {"digest": digest, "format": SPEC_FORMAT}
        canonical = json.dumps(shaping, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def same_shape(self, other: Pipeline) -> bool:
        """Whether both shape the same execution if their bytes are the same."""
        return self == other or self.spec_hash("") == other.spec_hash("")


_RESERVED_ENV = "NEXTHOS_"  # what the runner is told begins so, and what an engine is told by us
_SHAPING = {
    "version",
    "env",
    "connection",
    "engine",
    "resources",
    "lifecycle",
    "stop_timeout",
    "executor",
    "executor_options",
    "restart_nonce",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a key holds, as far as it could be understood. Never raises; says what is wrong instead.

    `deleted`: the key's last entry is a delete or purge marker, the only proof of deletion.
    `wanted` is read first and alone: it is set even if anything else of the entry is wrong.
    """

    key: str
    revision: int
    deleted: bool = False
    wanted: Wanted | None = None
    pipeline: Pipeline | None = None
    problem: Problem | None = None


def read_entry(key: str, revision: int, value: bytes | None) -> Entry:
    """Understand the bytes under `key`; None stands for a delete or purge marker."""
    if value is None:
        return Entry(key=key, revision=revision, deleted=True)
    try:
        names.check_id(key)
        pipeline = parse_pipeline(value, key=key)
    except (InvalidDefinition, InvalidName) as error:
        wanted = _wanted_alone(value)
        return Entry(key=key, revision=revision, wanted=wanted, problem=error.problem)
    return Entry(key=key, revision=revision, wanted=pipeline.status, pipeline=pipeline)


def _wanted_alone(value: bytes) -> Wanted | None:
    if len(value) > MAX_READ_BYTES:
        return None
    try:  # numbers stay text: Python refuses to make an int of more than 4,300 digits
        return Wanted(json.loads(value, parse_int=str, parse_float=str)["status"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def parse_pipeline(value: bytes, *, key: str | None = None) -> Pipeline:
    """The definition in `value` (JSON). Raises InvalidDefinition naming key, field and what is due."""
    subject = f"pipeline {key!r}" if key else "pipeline"
    if len(value) > MAX_DEFINITION_BYTES:
        raise InvalidDefinition(
            f"{subject}: the definition has {len(value)} bytes, at most {MAX_DEFINITION_BYTES} allowed"
        )
    try:
        pipeline = Pipeline.model_validate_json(value)
    except ValidationError as error:
        raise _explained(subject, error) from error
    if key is not None and pipeline.id not in (None, key):
        raise InvalidDefinition(
            f"{subject}: id: is {pipeline.id!r} but must equal the key or be left out", field="id"
        )
    return pipeline


def _explained(subject: str, error: ValidationError) -> InvalidDefinition:
    first = first_mistake(error, of="a pipeline", fields=_FIELDS)
    reason = Reason.UNKNOWN_STATUS if first.field == "status" else Reason.INVALID_DEFINITION
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return InvalidDefinition(
        f"{subject}: {first.sentence}{more}", reason=reason, field=first.field or None
    )


_FIELDS = {info.alias or name for name, info in Pipeline.model_fields.items()}
