"""What a container is created with. Pure: from a spec, the settings and an image to the daemon's terms.

Everything is hardened by default: no root, no capability, no new privilege, a root file system that
can't be written, bounds on memory, processes and files. It restarts nothing by itself, since then
counts and reasons would be in two places.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nexthos_controller.execution import Spec
from nexthos_controller.executors.contract import Connection
from nexthos_controller.executors.docker import variables
from nexthos_controller.executors.docker.labels import MADE, PREFIX, Labels
from nexthos_controller.executors.docker.life import PORT
from nexthos_controller.executors.docker.options import FOLDER, ports_of, volumes_of
from nexthos_controller.executors.docker.settings import DockerSettings
from nexthos_shared import names

ENGINE_CREDS, STORE_CREDS = "nats.creds", "store.creds"


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is here. `reference` is its digest where it has one, else its name."""

    reference: str
    id: str
    env: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """All that shapes one container."""

    spec: Spec
    replica: int
    labels: Labels
    image: Image
    settings: DockerSettings
    connection: Connection
    store: Connection
    port: int  # of the engine's own HTTP, in the container
    token: str  # its password
    takes_metrics: bool

    def environment(self) -> dict[str, str]:
        """What the runner finds; of this it hands the engine what an engine is given.

        The definition's variables are one of them, as text: the loader, Python and TLS of the runner
        obey theirs (LD_PRELOAD, PYTHONPATH, SSL_CERT_FILE, ...), and it holds the store's credentials.
        """
        definition = self.spec.definition
        address = "127.0.0.1" if self.settings.network == "host" else "0.0.0.0"
        env = {
            names.ENV_PIPELINE: self.spec.id,
            names.ENV_VERSION: definition.version or "",
            names.ENV_REPLICA: str(self.replica),
            names.ENV_NAMESPACE: self.labels.owner.namespace,
            names.ENV_STORE_URL: self.store.url,
            names.ENV_DIGEST: self.spec.digest,
            names.ENV_LIFECYCLE: definition.lifecycle,
            names.ENV_STOP_TIMEOUT: f"{definition.stop_timeout:g}",
            names.ENV_HTTP_ADDRESS: f"{address}:{self.port}",
            names.ENV_HTTP_PASSWORD: self.token,
            names.ENV_METRICS: "yes" if self.takes_metrics else "no",
            names.ENV_ENGINE_ENV: variables.packed(definition.env),
            names.ENV_DIR: FOLDER,
            names.ENV_NATS_URL: self.connection.url,
        }
        if self.connection.creds is not None:
            env[names.ENV_NATS_CREDS] = f"{FOLDER}/{ENGINE_CREDS}"
        if self.store.creds is not None:
            env[names.ENV_STORE_CREDS] = f"{FOLDER}/{STORE_CREDS}"
        return env

    def config(self) -> dict[str, Any]:
        """As `Daemon.create` takes it."""
        ports = ports_of(self.spec.definition, self.settings)
        env = [f"{name}={value}" for name, value in sorted(self.environment().items())]
        host, labels, image = self._host_config(), self.labels.to_docker(), self.image
        identity = (image.reference, image.id, self.settings.user)
        made = _digest_of(identity, _merged(image.env, env), labels, host)
        return {
            "image": image.reference,
            "environment": env,
            "use_config_proxy": False,  # variables of the controller's own docker configuration
            "labels": {**labels, MADE: made},
            "user": self.settings.user,
            "volumes": [FOLDER],
            "ports": [(p.port, p.kind) for p in ports] + ([PORT] if self._published else []),
            "host_config": host,
        }

    @property
    def _published(self) -> bool:
        return self.settings.reach == "loopback" and self.settings.network != "host"

    def _host_config(self) -> dict[str, Any]:
        definition, settings = self.spec.definition, self.settings
        limits: dict[str, Any] = {}
        if memory := definition.resources.memory or settings.memory:
            limits |= {"mem_limit": memory, "memswap_limit": memory}
        if definition.resources.cpu:
            limits["nano_cpus"] = round(definition.resources.cpu * 10**9)
        if settings.runtime:
            limits["runtime"] = settings.runtime
        published: dict[str, Any] = {}
        for port in ports_of(definition, settings):
            published[f"{port.port}/{port.kind}"] = (port.address, port.host)
        if self._published:
            published[f"{PORT}/tcp"] = ("127.0.0.1", None)
        return {
            "network_mode": settings.network or "bridge",
            "binds": [v.bind for v in volumes_of(definition, settings)],
            "port_bindings": published,
            "read_only": True,
            "tmpfs": {"/tmp": "rw,noexec,nosuid,nodev,size=16m,mode=1777"},
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "init": True,
            "pids_limit": settings.pids,
            "ulimits": [{"Name": "nofile", "Soft": settings.files, "Hard": settings.files}],
            "restart_policy": {"Name": "no"},
            "log_config": {
                "Type": "json-file",
                "Config": {"max-size": settings.log_size, "max-file": "2"},
            },
            **limits,
        }


def altered(inspected: Mapping[str, Any]) -> str:
    """What somebody changed of a container since we made it, in words; empty if nothing.

    Nobody can change these of a container that exists, so one that differs was created anew by hand.
    Limits are left out: a kernel that lacks one makes the daemon drop it.
    """
    config = inspected["Config"]
    labels = config.get("Labels") or {}
    identity = (config["Image"], inspected["Image"], config.get("User") or "")
    now = _digest_of(identity, config.get("Env") or [], labels, inspected["HostConfig"])
    if now == labels.get(MADE):
        return ""
    return "its image, variables, labels, user or mounts are not those that it was made with"


_HOST = (  # name as docker-py takes it, as the daemon answers it
    ("network_mode", "NetworkMode"),
    ("binds", "Binds"),
    ("read_only", "ReadonlyRootfs"),
    ("privileged", "Privileged"),
    ("cap_add", "CapAdd"),
    ("cap_drop", "CapDrop"),
)


def _digest_of(
    identity: tuple[str, str, str],
    env: list[str],
    labels: Mapping[str, str],
    host: Mapping[str, Any],
) -> str:
    """Of an image's reference and id and a user, and the rest in either form."""
    policy = host.get("restart_policy") or host.get("RestartPolicy") or {}
    ours = {n: v for n, v in labels.items() if n.startswith(PREFIX) and n != MADE}
    facts = [
        *identity,
        sorted(env),
        sorted(ours.items()),
        policy.get("Name") or "no",
        [host.get(given) or host.get(answered) or None for given, answered in _HOST],
    ]
    return names.digest_of(json.dumps(facts).encode())


def _merged(image_env: tuple[str, ...], env: list[str]) -> list[str]:
    """The image's variables with ours over them, as the daemon does it."""
    merged = dict(pair.partition("=")[::2] for pair in (*image_env, *env))
    return [f"{name}={value}" for name, value in merged.items()]
