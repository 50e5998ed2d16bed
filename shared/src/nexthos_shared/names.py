"""Every name that is stored, sent or shown: buckets, keys, subjects, labels, variables, and their rules.

Nothing else spells a bucket, a subject or a label. Names that users choose are checked here, and a
name that was not checked never becomes part of a path, a subject or an argument.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from nexthos_shared.errors import InvalidName

ID_RULE = "1 to 36 lower-case letters, digits and inner hyphens"
_ID = re.compile(r"[a-z0-9]([a-z0-9-]{0,34}[a-z0-9])?")
_KEY = re.compile(r"[-/_=A-Za-z0-9]+(\.[-/_=A-Za-z0-9]+)*")
LONGEST_KEY = 200  # characters
NAMESPACE_RULE = "1 to 12 lower-case letters, digits and inner hyphens"
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?")
VERSION_RULE = "1 to 128 letters, digits and ._=- characters"
_VERSION = re.compile(r"[A-Za-z0-9._=-]{1,128}")
ENV_NAME_RULE = "letters, digits and underscores, no digit first"
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

DEFAULT_NAMESPACE = "nexthos"

# KV keys are subjects below $KV.<bucket>. and the bucket names below are streams KV_* and OBJ_*.
LEASE_KEY = "lease"
INSTALLATION_KEY = "installation"
ABANDONED = "abandoned."  # + place: somebody said that nothing lives there any more

# What an engine finds in its environment (architecture.md, "What an engine is given").
ENV_NATS_URL = "NATS_URL"
ENV_NATS_CREDS = "NATS_CREDS"
ENV_PIPELINE = "NEXTHOS_PIPELINE"
ENV_VERSION = "NEXTHOS_VERSION"
ENV_REPLICA = "NEXTHOS_REPLICA"
ENV_GC_HEADROOM = "NEXTHOS_GC_HEADROOM"  # bytes; a host's only, see engine/gc.go

# What the runner finds in its environment besides; none of it reaches the engine.
ENV_NAMESPACE = "NEXTHOS_NAMESPACE"
ENV_STORE_URL = "NEXTHOS_STORE_URL"  # NATS that holds the configuration
ENV_STORE_CREDS = "NEXTHOS_STORE_CREDS"  # credentials file for it
ENV_DIGEST = "NEXTHOS_DIGEST"  # sha256:<hex>, the only bytes that may run
ENV_LIFECYCLE = "NEXTHOS_LIFECYCLE"  # service | job
ENV_STOP_TIMEOUT = "NEXTHOS_STOP_TIMEOUT"  # seconds between SIGTERM and SIGKILL
ENV_HTTP_ADDRESS = "NEXTHOS_HTTP_ADDRESS"  # host:port of the engine's own HTTP
ENV_HTTP_PASSWORD = "NEXTHOS_HTTP_PASSWORD"  # of the engine's own HTTP
ENV_METRICS = "NEXTHOS_METRICS"  # yes | no: whether the file leaves metrics to the overlay
ENV_ENGINE_ENV = "NEXTHOS_ENV"  # the definition's variables, as a JSON object
ENV_DIR = "NEXTHOS_DIR"  # folder of this execution: configuration, metrics, credentials
ENV_FETCH_WITHIN = "NEXTHOS_FETCH_WITHIN"  # seconds to go on asking a NATS that is away
ENV_ENGINE = "NEXTHOS_ENGINE"  # path of the engine

# Headers of the endpoint `config`, about the whole of which a reply holds a part.
DIGEST_HEADER = "Nexthos-Digest"  # sha256:<hex>
SIZE_HEADER = "Nexthos-Size"  # bytes


def check_id(value: str) -> str:
    """Return `value` if it is a pipeline id, else raise InvalidName with the rule."""
    return _check("pipeline id", value, _ID, ID_RULE)


def is_id(value: str) -> bool:
    """Whether `value` is a pipeline id."""
    return _ID.fullmatch(value) is not None


def check_key(value: str) -> str:
    """Return `value` if a pipeline may be stored under it: an id, or what raw KV lets in (`A`, `a.b`).

    Such a key is looked at and removed, and never written. Raises InvalidName with the rule of an id.
    """
    may_be = len(value) <= LONGEST_KEY and _KEY.fullmatch(value)
    return value if may_be else check_id(value)


def check_namespace(value: str) -> str:
    """Return `value` if it is a namespace, else raise InvalidName with the rule."""
    return _check("namespace", value, _NAMESPACE, NAMESPACE_RULE)


def check_version(value: str) -> str:
    """Return `value` if it is a version (safe in an object name), else raise InvalidName."""
    return _check("version", value, _VERSION, VERSION_RULE)


def check_env_name(value: str) -> str:
    """Return `value` if it names an environment variable, else raise InvalidName."""
    return _check("environment variable", value, _ENV_NAME, ENV_NAME_RULE)


def _check(what: str, value: str, rule: re.Pattern[str], words: str) -> str:
    if rule.fullmatch(value):
        return value
    shown = value if len(value) <= 60 else f"{value[:57]}..."
    raise InvalidName(f"{what} {shown!r}: must be {words}")


def config_object(pipeline_id: str, version: str) -> str:
    """The object name of a configuration: `<id>/<version>`."""
    return f"{pipeline_id}/{version}"


def split_config_object(name: str) -> tuple[str, str] | None:
    """(id, version) of a configuration's object name, or None if it is not one."""
    pipeline_id, slash, version = name.partition("/")
    if slash and is_id(pipeline_id) and _VERSION.fullmatch(version):
        return pipeline_id, version
    return None


def version_of(content: bytes) -> str:
    """The CLI's default version: the first 12 hex digits of the content's SHA-256."""
    return hashlib.sha256(content).hexdigest()[:12]


def digest_of(content: bytes) -> str:
    """`sha256:<64 hex digits>` of the content, the form used everywhere here."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def execution_name(
    namespace: str, pipeline_id: str, replica: int, installation: str, spec_hash: str
) -> str:
    """`<ns>-<id>-<replica>-<hash8>`, at most 63 characters; never parsed, labels decide."""
    hash8 = hashlib.sha256(f"{installation}\n{spec_hash}".encode()).hexdigest()[:8]
    return f"{namespace}-{pipeline_id}-{replica}-{hash8}"


def runner_inbox(namespace: str, pipeline_id: str) -> str:
    """Where a runner's answers come: below `_INBOX.`, so that whoever answers clients may publish there."""
    return f"_INBOX.{namespace}.{pipeline_id}"


@dataclass(frozen=True, slots=True)
class Names:
    """All names of one namespace."""

    namespace: str = DEFAULT_NAMESPACE

    def __post_init__(self) -> None:
        check_namespace(self.namespace)

    @property
    def pipelines(self) -> str:
        """KV bucket of definitions."""
        return f"{self.namespace}-pipelines"

    @property
    def configs(self) -> str:
        """Object store bucket of configurations."""
        return f"{self.namespace}-configs"

    @property
    def status(self) -> str:
        """KV bucket of statuses."""
        return f"{self.namespace}-status"

    @property
    def control(self) -> str:
        """KV bucket of the controllers' own keys."""
        return f"{self.namespace}-control"

    @property
    def events(self) -> str:
        """Stream of events."""
        return f"{self.namespace}-events"

    def event_subject(self, pipeline_id: str, reason: str) -> str:
        """Subject of an event; `*` stands for every pipeline, or every reason."""
        return f"{self.namespace}.events.{pipeline_id}.{reason}"

    @property
    def service(self) -> str:
        """Name of the NATS micro service."""
        return self.namespace

    def endpoint(self, name: str) -> str:
        """Subject of an endpoint of the micro service."""
        return f"{self.namespace}.svc.{name}"

    def config_subject(self, pipeline_id: str) -> str:
        """Where a pipeline's runner asks for its configuration: NATS grants it that subject alone."""
        return self.endpoint(f"config.{pipeline_id}")
