"""What an execution's engine is given besides its file: flags that override it, and an environment.

Comes in: address, labels, limits, the definition's env. Goes out: `path=value` for `-s`, a dict. Must
not know the file's text: it is handed over byte for byte (`inspect` says what must be known of it).

Measured with bento v1.20.0, and read in the benthos sources, which share the code:
- `path=` with nothing behind it is refused; `path=null` empties a text field, whether the file sets
  it or not. `path=""` sets two quotation marks.
- The flag library splits values at commas, so no override may hold one.
- With `logger.file.path=null` logs go to stdout, or to stderr where the main output is stdout.
  A path such as /dev/stdout would mix them, and with `rotate: true` the engine renames that file.
- Endpoints are registered twice, below `/` and below `http.root_path`, those of an `http_server` input
  without an address too. Basic authentication wraps them all: a password that nobody else has proves whose
  engine answers, and keeps others of the machine out. Every user may read a command line, so only the
  password's hash stands there; flags are taken as they are, so it can't be a variable's name either.
- Where the file names no metrics, prometheus is the default of every engine that has it.
- CPU time and memory among the metrics cost nothing until they are read, and then the engine 0.5 ms.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path

from nexthos_shared import names
from nexthos_shared.errors import SettingsError

HTTP_USER = "nexthos"
KILL_MARGIN = 2.0  # seconds between the engine's own shutdown timeout and our kill
_FIXED = (
    "http.enabled=true",
    "http.cert_file=null",
    "http.key_file=null",
    "http.debug_endpoints=false",
    "logger.format=json",
    "logger.add_timestamp=true",
    "logger.level_name=level",
    "logger.message_name=msg",
    "logger.timestamp_name=time",
    "logger.file.path=null",
    "logger.file.rotate=false",
    "shutdown_delay=0s",
)
_FROM_BASE = ("PATH", "HOME", "TZ", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR")


def overlay(
    *,
    address: str,
    password: str,
    labels: Mapping[str, str],
    stop_timeout: float,
    metrics: bool,
    metrics_file: Path | None = None,
) -> list[str]:
    """The overrides for `EngineProfile.run_command`.

    `address` is host:port of the engine's HTTP, `password` what opens it (hexadecimal digits, long enough
    that its hash may be known; empty: it is open to whoever reaches it), `labels` the static fields of each
    log line, `stop_timeout` seconds until we kill.
    `metrics` says that the file names no metrics of its own and the engine has prometheus
    (`ConfigShape.takes_metrics and EngineProfile.has_prometheus`): only then the process's own figures
    are added, and `metrics_file` is named, to which the engine writes all metrics when it ends,
    finished or stopped. Raises SettingsError for a value that can't be passed.
    """
    overrides = [f"http.address={address}", *_authentication(password), *_FIXED]
    overrides += [f"logger.static_fields.{name}={value}" for name, value in labels.items()]
    # 0 would end it before its first message is through
    drain = max(round((stop_timeout - KILL_MARGIN) * 1000), 100)
    overrides.append(f"shutdown_timeout={drain}ms")
    if metrics:
        overrides.append("metrics.prometheus.add_process_metrics=true")
    if metrics and metrics_file is not None:
        overrides.append(f"metrics.prometheus.file_output_path={metrics_file}")
    for override in overrides:
        _check(override)
    return overrides


def _authentication(password: str) -> list[str]:
    if not password:
        return ["http.basic_auth.enabled=false"]
    hashed = base64.b64encode(hashlib.sha256(password.encode()).digest()).decode()
    return [
        "http.basic_auth.enabled=true",
        f"http.basic_auth.username={HTTP_USER}",
        "http.basic_auth.algorithm=sha256",
        f"http.basic_auth.password_hash={hashed}",
    ]


def _check(override: str) -> None:
    path, _, value = override.partition("=")
    if not value or "," in value:
        raise SettingsError(
            f"{path}: an engine can't be given {value!r} (empty, or with a comma in it)"
        )


def environment(
    *,
    nats_url: str,
    nats_creds: Path | None = None,
    pipeline: str,
    version: str,
    replica: int,
    env: Mapping[str, str],
    base: Mapping[str, str],
) -> dict[str, str]:
    """The whole environment of an engine, for running and for lint alike.

    `env` is the definition's: it may set NATS_URL or TZ anew, never the NEXTHOS_* names. Of `base`
    (the caller's own environment) only PATH, HOME, TZ, LANG and the certificate variables pass.
    """
    given = {name: base[name] for name in _FROM_BASE if name in base}
    given[names.ENV_NATS_URL] = nats_url
    if nats_creds is not None:
        given[names.ENV_NATS_CREDS] = str(nats_creds)
    given |= env
    given[names.ENV_PIPELINE] = pipeline
    given[names.ENV_VERSION] = version
    given[names.ENV_REPLICA] = str(replica)
    return given
