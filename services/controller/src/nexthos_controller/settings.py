"""Settings of a controller: environment variables over a YAML file named by NEXTHOS_CONFIG.

Comes in: environment and file. Goes out: a frozen `Settings`. An unknown name in the file is an error,
an unknown NEXTHOS_* variable a warning. How NATS is reached is `nats.options`', as for the `nats` CLI.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from nexthos_shared import names
from nexthos_shared.errors import InvalidName, SettingsError
from nexthos_shared.model.quantities import Duration
from nexthos_shared.nats.urls import has_credentials
from nexthos_shared.problems import first_mistake

# Read by others than this model: the file's own name, engines of other parts, faults of tests.
FOREIGN = {"NEXTHOS_CONFIG", "NEXTHOS_FAULT", "NEXTHOS_STORE_URL"}


SHORTEST_TOKEN = 16  # characters: what can be guessed keeps nobody out


def _namespace(value: str) -> str:
    try:
        return names.check_namespace(value)
    except InvalidName as error:
        raise ValueError(str(error)) from error


def _no_credentials(url: str) -> str:
    if has_credentials(url):
        raise ValueError("must hold no user or password: use a credentials file (creds)")
    return url


NatsUrl = Annotated[str, AfterValidator(_no_credentials)]  # it is shown, by `docker inspect` too


class Part(BaseModel):
    """Unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ConnectionSettings(Part):
    """A NATS that pipelines may use by name."""

    url: NatsUrl
    creds: Path | None = None


class EngineSettings(Part):
    """An engine that pipelines may use by name: a binary here, an image with a runner, or both."""

    binary: Path | None = None
    image: str | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> EngineSettings:
        if self.binary is None and self.image is None:
            raise ValueError("must name a binary, an image, or both")
        return self


class Settings(Part):
    """All settings; each has a default that works on a machine with a NATS server."""

    namespace: Annotated[str, AfterValidator(_namespace)] = names.DEFAULT_NAMESPACE
    executor: str = Field("process", description="default executor")
    state_dir: Path | None = Field(None, description="default: <XDG state>/nexthos/<ns>-<id>")
    http: str = Field(
        "127.0.0.1:4280", description="health and metrics: host:port (0 picks one), or unix:/path"
    )
    http_token_file: Path | None = Field(
        None, description="file of a token, without which nobody reads metrics over HTTP"
    )
    engine: Path | None = Field(None, description="path of the default engine")
    engine_user: str = Field(
        "",
        description="who engines of this machine run as: a name, uid:gid or first-last:gid",
    )
    log_format: str = Field("", pattern="^(|console|json)$")
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$")
    connections: dict[str, ConnectionSettings] = Field(default_factory=dict)
    engines: dict[str, EngineSettings] = Field(default_factory=dict)
    executors: dict[str, dict[str, Any]] = Field(default_factory=dict)
    resync: Duration = 60.0
    lease_ttl: Annotated[Duration, Field(ge=1.0, le=60.0)] = Field(
        3.0, description="seconds until another controller may act where one was killed"
    )
    ready_debounce: Duration = Field(
        10.0,
        description="how long readiness must last before it counts, and its loss before it is reported",
    )
    workers: int = Field(16, ge=1, le=256, description="pipelines looked at at once")


FROM_ENVIRONMENT = (
    "namespace",
    "executor",
    "state_dir",
    "http",
    "http_token_file",
    "engine",
    "engine_user",
    "log_format",
    "log_level",
    "resync",
    "lease_ttl",
    "ready_debounce",
)


def load_settings(environ: Mapping[str, str] | None = None) -> tuple[Settings, list[str]]:
    """The settings, and warnings about variables nobody reads. Raises SettingsError."""
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    file = environ.get("NEXTHOS_CONFIG")
    if file:
        values |= _read_file(Path(file))
    for name in FROM_ENVIRONMENT:
        if value := environ.get(f"NEXTHOS_{name.upper()}"):
            values[name] = value
    known = {f"NEXTHOS_{name.upper()}" for name in FROM_ENVIRONMENT} | FOREIGN
    unknown = sorted(n for n in environ if n.startswith("NEXTHOS_") and n not in known)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise _explained(error, file) from error
    return settings, [f"{name}: no such setting; it is ignored" for name in unknown]


def _read_file(path: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML  # here, since most controllers have no file: 9 ms
    from ruamel.yaml.error import YAMLError

    try:
        document = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"NEXTHOS_CONFIG={path}: {error.strerror}") from error
    except (YAMLError, UnicodeDecodeError) as error:
        words = " ".join(str(error).split())
        raise SettingsError(f"NEXTHOS_CONFIG={path}: {words}", file=str(path)) from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise SettingsError(f"NEXTHOS_CONFIG={path}: must be a mapping of settings")
    return document


def _explained(error: ValidationError, file: str | None) -> SettingsError:
    first = first_mistake(error, of="the settings")
    name = str(first.path[0]) if first.path else ""
    where = f"NEXTHOS_{name.upper()}" if name in FROM_ENVIRONMENT else file
    return SettingsError(f"{where}: {first.field}: {first.words}", field=first.field, file=file)


def settings_error(error: ValidationError, section: str) -> SettingsError:
    """What is wrong first with a section of the settings, `executors.docker`."""
    first = first_mistake(error, of="the settings")
    field = f"{section}.{first.field}" if first.field else section
    return SettingsError(f"{field}: {first.words}", field=field)


def read_token(path: Path) -> str:
    """The token in a file, in one line. Raises SettingsError, which does not tell it."""
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        words = error.strerror if isinstance(error, OSError) else "holds more than ASCII"
        raise _token_unusable(path, words or str(error)) from None
    if not token.isprintable() or " " in token or len(token) < SHORTEST_TOKEN:
        words = f"must hold a token of at least {SHORTEST_TOKEN} printable characters in one line"
        raise _token_unusable(path, words)
    return token


def _token_unusable(path: Path, words: str) -> SettingsError:
    return SettingsError(
        f"NEXTHOS_HTTP_TOKEN_FILE={path}: {words}", field="http_token_file", file=str(path)
    )


def default_state_dir(environ: Mapping[str, str], namespace: str, installation: str) -> Path:
    """`$XDG_STATE_HOME/nexthos/<ns>-<installation>`: two installations never share one."""
    base = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME", "/")) / ".local/state")
    return Path(base) / "nexthos" / f"{namespace}-{installation}"
