"""What the runner was told: its environment, read once and checked.

Comes in: an environment. Goes out: `Settings`, or `Failed` with code 64 that names the variable and never
shows a value that may be secret. Must not know NATS, files or processes.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from nexthos_runner.failed import Failed
from nexthos_shared import names
from nexthos_shared.errors import InvalidName
from nexthos_shared.exit_codes import Exit
from nexthos_shared.nats.urls import DEFAULT_URL

_T = TypeVar("_T")
NATS_CA, NATS_CERT, NATS_KEY = "NATS_CA", "NATS_CERT", "NATS_KEY"

# Name, default, meaning: `--help` prints it, a test compares the README with it.
VARIABLES: tuple[tuple[str, str, str], ...] = (
    (names.ENV_PIPELINE, "required", "id of the pipeline"),
    (names.ENV_VERSION, "required", "version of its configuration"),
    (names.ENV_REPLICA, "0", "number of this replica"),
    (
        names.ENV_NAMESPACE,
        names.DEFAULT_NAMESPACE,
        "it is asked for on <namespace>.svc.config.<id>",
    ),
    (names.ENV_STORE_URL, "NATS_URL", "NATS where the controller hands out the configuration"),
    (names.ENV_STORE_CREDS, "NATS_CREDS, if both are one NATS", "credentials file for it"),
    (names.ENV_FETCH_WITHIN, "30", "seconds to go on asking a NATS that is away"),
    (names.ENV_DIGEST, "none pinned", "sha256:<hex>, the only bytes that may run"),
    (names.ENV_DIR, "a new one in TMPDIR", "folder of this execution, and where the engine runs"),
    (names.ENV_LIFECYCLE, "service", "service, or job: its end counts"),
    (names.ENV_STOP_TIMEOUT, "30", "seconds between SIGTERM and SIGKILL"),
    (names.ENV_HTTP_ADDRESS, "127.0.0.1:4195", "host:port of the engine's own HTTP"),
    (names.ENV_HTTP_PASSWORD, "none", "what opens that, of user nexthos"),
    (names.ENV_METRICS, "by the bytes", "yes or no: whether they leave metrics to us"),
    (names.ENV_ENGINE, "nexthos-engine", "path or name of the engine"),
    (names.ENV_ENGINE_ENV, "none", "variables that the engine gets too, as a JSON object"),
    (names.ENV_NATS_URL, DEFAULT_URL, "NATS that the engine gets"),
    (names.ENV_NATS_CREDS, "none", "credentials file that the engine gets"),
    (NATS_CA, "the system's", "authorities that sign the store's certificate"),
    (f"{NATS_CERT}, {NATS_KEY}", "none", "certificate to show to the store, and its key"),
)
_RESERVED = "NEXTHOS_"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]*):\d{1,5}")
_PASSWORD = re.compile(r"[0-9a-f]{32,}")  # its hash is known to everybody on the machine


@dataclass(frozen=True, slots=True)
class Settings:
    """One execution. Paths are absolute: the working folder changes."""

    pipeline: str
    version: str
    replica: int
    namespace: str
    store_url: str
    store_creds: Path | None
    store_ca: Path | None
    store_cert: Path | None
    store_key: Path | None
    fetch_within: float  # seconds
    digest: str | None
    folder: Path | None
    is_job: bool
    stop_timeout: float  # seconds
    address: str
    http_password: str  # empty: it is open to whoever reaches it
    metrics: bool | None  # None: nobody has looked
    nats_url: str
    nats_creds: Path | None
    env: Mapping[str, str]  # the definition's, for the engine alone

    @property
    def labels(self) -> dict[str, str]:
        """The static fields of each log line."""
        return labels_of(self.pipeline, self.version, str(self.replica))


def labels_of(pipeline: str, version: str, replica: str) -> dict[str, str]:
    """The fields that the engine's lines bear too."""
    return {"pipeline": pipeline, "version": version, "replica": replica}


def read(environ: Mapping[str, str]) -> Settings:
    """What `environ` says. An empty variable counts as none."""
    told = _Told(environ)
    pipeline = told.named(names.ENV_PIPELINE, names.check_id)
    version = told.named(names.ENV_VERSION, names.check_version)
    replica = told.number(names.ENV_REPLICA, 0, whole=True)
    nats_url, nats_creds = (
        told.text(names.ENV_NATS_URL, DEFAULT_URL),
        told.path(names.ENV_NATS_CREDS),
    )
    elsewhere = told.text(names.ENV_STORE_URL)  # another NATS is not shown this one's credentials
    return Settings(
        pipeline=pipeline,
        version=version,
        replica=int(replica),
        namespace=told.named(names.ENV_NAMESPACE, names.check_namespace, names.DEFAULT_NAMESPACE),
        store_url=elsewhere or nats_url,
        store_creds=told.path(names.ENV_STORE_CREDS) or (None if elsewhere else nats_creds),
        store_ca=told.path(NATS_CA),
        store_cert=told.path(NATS_CERT),
        store_key=told.path(NATS_KEY),
        fetch_within=told.number(names.ENV_FETCH_WITHIN, 30.0),
        digest=told.matching(names.ENV_DIGEST, _DIGEST, "sha256: and 64 hex digits") or None,
        folder=told.path(names.ENV_DIR),
        is_job=told.one_of(names.ENV_LIFECYCLE, {"service": False, "job": True}, False),
        stop_timeout=told.number(names.ENV_STOP_TIMEOUT, 30.0),
        address=told.matching(names.ENV_HTTP_ADDRESS, _ADDRESS, "host:port", "127.0.0.1:4195"),
        http_password=told.password(names.ENV_HTTP_PASSWORD),
        metrics=told.one_of(names.ENV_METRICS, {"yes": True, "no": False, "": None}, None),
        nats_url=nats_url,
        nats_creds=nats_creds,
        env=told.engine_env(),
    )


class _Told:
    """The environment, variable by variable."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def text(self, name: str, default: str = "") -> str:
        return self._environ.get(name) or default

    def path(self, name: str) -> Path | None:
        text = self.text(name)
        return Path(os.path.abspath(text)) if text else None

    def named(self, name: str, check: Callable[[str], str], default: str = "") -> str:
        text = self.text(name, default)
        if not text:
            raise _wrong(name, "is required")
        try:
            return check(text)
        except InvalidName as error:
            raise _wrong(name, str(error)) from error

    def number(self, name: str, default: float, *, whole: bool = False) -> float:
        text = self.text(name)
        if not text:
            return default
        try:
            value = float(int(text) if whole else float(text))
        except ValueError:
            value = -1.0
        if not 0 <= value < 1e9:
            raise _wrong(name, f"{text!r}: must be a number, 0 or more")
        return value

    def matching(self, name: str, rule: re.Pattern[str], words: str, default: str = "") -> str:
        text = self.text(name)
        if text and rule.fullmatch(text) is None:
            raise _wrong(name, f"{text!r}: must be {words}")
        return text or default

    def password(self, name: str) -> str:
        text = self.text(name)
        if text and _PASSWORD.fullmatch(text) is None:
            raise _wrong(name, "must be 32 or more random digits, 0 to 9 and a to f")
        return text

    def one_of(self, name: str, choices: Mapping[str, _T], default: _T) -> _T:
        text = self.text(name)
        if text and text not in choices:
            raise _wrong(name, f"{text!r}: must be {' or '.join(c for c in choices if c)}")
        return choices[text] if text else default

    def engine_env(self) -> dict[str, str]:
        """The definition's variables. None of them is ever one of this process."""
        name = names.ENV_ENGINE_ENV
        try:
            given = json.loads(self.text(name, "{}"))
        except (ValueError, RecursionError):
            given = None
        if not isinstance(given, dict) or not all(_is_value(value) for value in given.values()):
            raise _wrong(name, "must be a JSON object of texts")
        for key in given:
            try:
                names.check_env_name(key)
            except InvalidName as error:
                raise _wrong(name, str(error)) from error
            if key.startswith(_RESERVED):
                raise _wrong(name, f"{key} is the runner's own")
        return given


def _is_value(value: object) -> bool:
    """Whether an environment can hold it: `execve` takes no NUL, and no half of a surrogate pair."""
    try:
        return isinstance(value, str) and b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False


def _wrong(name: str, words: str) -> Failed:
    return Failed(Exit.USAGE, f"{name}: {words}")
