"""What a container is created with, and whether somebody made another one in its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nexthos_controller.execution import Owner, Spec
from nexthos_controller.executors.contract import Connection
from nexthos_controller.executors.docker.container import Image, Plan, altered
from nexthos_controller.executors.docker.labels import MADE, Labels, read_labels
from nexthos_controller.executors.docker.settings import DockerSettings, read_settings
from nexthos_shared.errors import SettingsError
from nexthos_shared.model import Pipeline

DIGEST = f"sha256:{'a' * 64}"
LABELS = Labels(
    owner=Owner("ns", "one"),
    id="orders",
    replica=0,
    revision=7,
    version="1",
    digest=DIGEST,
    spec_hash="hash",
    stop_timeout=12.5,
    made_with={"controller": "0.1", "engine default": "sha256:1"},
)
CREDS = Path("/run/secrets/nats.creds")


def plan(definition=None, settings=None, *, creds=None, image_env=("PATH=/bin",)) -> Plan:
    pipeline = Pipeline.model_validate(
        {"status": "published", "version": "1", **(definition or {})}, strict=False
    )
    return Plan(
        spec=Spec("orders", 7, "hash", DIGEST, "docker", pipeline),
        replica=0,
        labels=LABELS,
        image=Image("nexthos/runner:dev", "sha256:1", image_env),
        settings=DockerSettings.model_validate(settings or {}),
        connection=Connection("nats://nats:4222", creds),
        store=Connection("nats://store:4222", creds),
        port=4195,
        token="abc",
        takes_metrics=True,
    )


def test_a_container_is_hardened_whatever_the_definition_says():
    config = plan({"env": {"A": "1"}, "resources": {"cpu": "500m", "memory": "64Mi"}}).config()
    host = config["host_config"]
    assert config["user"] == "10001:10001"
    assert (host["read_only"], host["init"]) == (True, True)
    assert (host["cap_drop"], host["security_opt"]) == (["ALL"], ["no-new-privileges"])
    assert host["restart_policy"] == {"Name": "no"}
    assert host["mem_limit"] == host["memswap_limit"] == 64 * 1024 * 1024
    assert host["nano_cpus"] == 500_000_000
    assert host["pids_limit"] == 256
    assert "noexec" in host["tmpfs"]["/tmp"]
    assert host["log_config"]["Config"] == {"max-size": "10m", "max-file": "2"}
    assert not {"privileged", "cap_add", "pid_mode", "devices"} & host.keys()


def test_without_a_limit_of_its_own_it_gets_that_of_the_settings_or_none():
    assert "mem_limit" not in plan().config()["host_config"]
    host = plan(settings={"memory": "1Gi"}).config()["host_config"]
    assert host["mem_limit"] == host["memswap_limit"] == 1024**3


def test_the_runner_is_told_everything_and_no_secret():
    env = plan({"env": {"B": "2", "A": "1"}, "lifecycle": "job"}, creds=CREDS).environment()
    assert env == {
        "NATS_URL": "nats://nats:4222",
        "NATS_CREDS": "/run/nexthos/nats.creds",
        "NEXTHOS_PIPELINE": "orders",
        "NEXTHOS_VERSION": "1",
        "NEXTHOS_REPLICA": "0",
        "NEXTHOS_NAMESPACE": "ns",
        "NEXTHOS_STORE_URL": "nats://store:4222",
        "NEXTHOS_STORE_CREDS": "/run/nexthos/store.creds",
        "NEXTHOS_DIGEST": DIGEST,
        "NEXTHOS_LIFECYCLE": "job",
        "NEXTHOS_STOP_TIMEOUT": "30",
        "NEXTHOS_HTTP_ADDRESS": "0.0.0.0:4195",
        "NEXTHOS_HTTP_PASSWORD": "abc",
        "NEXTHOS_METRICS": "yes",
        "NEXTHOS_ENV": '{"A":"1","B":"2"}',
        "NEXTHOS_DIR": "/run/nexthos",
    }


HOSTILE = {
    "LD_PRELOAD": "/run/nexthos/x.so",
    "PATH": "/run/nexthos",
    "PYTHONPATH": "/run/nexthos",
    "HOME": "/run/nexthos",
    "TMPDIR": "/run/nexthos",
    "HTTPS_PROXY": "http://mine:1",
    "SSL_CERT_FILE": "/run/nexthos/ca",
    "GODEBUG": "http2debug=2",
    "NATS_URL": "nats://mine:1",
    "NATS_CREDS": "/run/nexthos/store.creds",
}


@pytest.mark.fault(93)
def test_no_variable_of_a_definition_is_one_of_the_container():
    mine, none = (plan({"env": env}, creds=CREDS).environment() for env in (HOSTILE, {}))
    assert json.loads(mine.pop("NEXTHOS_ENV")) == HOSTILE
    assert none.pop("NEXTHOS_ENV") == "{}"
    assert mine == none


def test_on_the_hosts_network_the_engine_listens_on_loopback_only():
    assert plan(settings={"network": "host"}).environment()["NEXTHOS_HTTP_ADDRESS"] == (
        "127.0.0.1:4195"
    )


def test_ports_and_volumes_are_passed_on_and_the_engines_own_port_where_it_must_be_reached():
    options = {"ports": ["127.0.0.1:8080:80/udp"], "volumes": ["data:/data:ro"]}
    settings = {
        "volumes": {"names": ["data"], "targets": ["/data"]},
        "ports": {"addresses": ["127.0.0.1"], "ranges": ["8080"]},
        "reach": "loopback",
    }
    config = plan({"executor_options": options}, settings).config()
    assert config["ports"] == [(80, "udp"), 4195]
    assert config["host_config"]["binds"] == ["data:/data:ro"]
    assert config["host_config"]["port_bindings"] == {
        "80/udp": ("127.0.0.1", 8080),
        "4195/tcp": ("127.0.0.1", None),
    }


def test_labels_are_read_back_as_they_were_written():
    assert read_labels(plan().config()["labels"]) == LABELS


@pytest.mark.parametrize("missing", sorted(LABELS.to_docker()))
def test_what_lacks_a_label_of_ours_is_not_ours(missing):
    labels = LABELS.to_docker()
    del labels[missing]
    assert read_labels(labels) is None
    is_text = missing.endswith(
        ("namespace", "installation", "pipeline", "version", "digest", "spec-hash")
    )
    assert (read_labels({**labels, missing: "{"}) is not None) is is_text


def answered(**changes: Any) -> dict[str, Any]:
    """As the daemon shows the container of `plan()`."""
    config = plan().config()
    host = config["host_config"]
    inspected: dict[str, Any] = {
        "Image": "sha256:1",
        "Config": {
            "Image": config["image"],
            "Env": ["PATH=/bin", *config["environment"]],
            "User": config["user"],
            "Labels": {**config["labels"], "org.opencontainers.image.title": "runner"},
        },
        "HostConfig": {
            "NetworkMode": host["network_mode"],
            "Binds": None,
            "ReadonlyRootfs": True,
            "Privileged": False,
            "CapAdd": None,
            "CapDrop": ["ALL"],
            "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
            "Memory": 0,
        },
    }
    for path, value in changes.items():
        part, _, name = path.partition("__")
        inspected[part] = value if not name else {**inspected[part], name: value}
    return inspected


def test_a_container_as_it_was_made_is_not_altered():
    assert altered(answered()) == ""


@pytest.mark.fault(31)
@pytest.mark.parametrize(
    "change",
    [
        {"Image": "sha256:2"},
        {"Config__Image": "evil:1"},
        {"Config__Env": ["PATH=/bin", "LD_PRELOAD=/x"]},
        {"Config__User": "0"},
        {"Config__Labels": {**LABELS.to_docker(), "nexthos.replica": "1"}},
        {"HostConfig__Privileged": True},
        {"HostConfig__CapAdd": ["SYS_ADMIN"]},
        {"HostConfig__CapDrop": None},
        {"HostConfig__ReadonlyRootfs": False},
        {"HostConfig__Binds": ["/:/host"]},
        {"HostConfig__NetworkMode": "host"},
        {"HostConfig__RestartPolicy": {"Name": "always"}},
    ],
)
def test_one_that_somebody_made_otherwise_is_altered(change):
    inspected = answered(**change)
    inspected["Config"]["Labels"].setdefault(MADE, answered()["Config"]["Labels"][MADE])
    assert "not those that it was made with" in altered(inspected)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"nework": "x"}, "executors.docker.nework"),
        ({"user": "0"}, "executors.docker.user"),
        ({"user": "root"}, "executors.docker.user"),
        ({"allow": ["volumes"]}, "executors.docker.allow"),
        ({"volumes": {"privileged": []}}, "executors.docker.volumes.privileged"),
        ({"volumes": {"names": ["../x"]}}, "executors.docker.volumes.names.0"),
        ({"volumes": {"names": ["[a-z]"]}}, "executors.docker.volumes.names.0"),
        ({"volumes": {"roots": ["/"]}}, "executors.docker.volumes.roots.0"),
        ({"volumes": {"roots": ["relative"]}}, "executors.docker.volumes.roots.0"),
        ({"volumes": {"roots": ["/srv/../run"]}}, "executors.docker.volumes.roots.0"),
        ({"volumes": {"roots": ["/var"]}}, "executors.docker.volumes.roots.0"),
        ({"volumes": {"folders": ["//Run/user"]}}, "executors.docker.volumes.folders.0"),
        ({"volumes": {"roots": ["/srv"], "folders": ["/srv/out"]}}, "executors.docker.volumes"),
        ({"volumes": {"roots": ["/srv/a"], "folders": ["/srv"]}}, "executors.docker.volumes"),
        ({"volumes": {"targets": ["/data", "/opt"]}}, "executors.docker.volumes.targets.1"),
        ({"volumes": {"targets": ["/"]}}, "executors.docker.volumes.targets.0"),
        ({"ports": {"ranges": ["0-80"]}}, "executors.docker.ports.ranges.0"),
        ({"ports": {"ranges": ["80-70"]}}, "executors.docker.ports.ranges.0"),
        ({"ports": {"ranges": ["1-65536"]}}, "executors.docker.ports.ranges.0"),
        ({"ports": {"ranges": ["http"]}}, "executors.docker.ports.ranges.0"),
        ({"ports": {"addresses": ["localhost"]}}, "executors.docker.ports.addresses.0"),
        ({"store": {"url": "nats://x", "token": "t"}}, "executors.docker.store.token"),
        ({"pids": 1}, "executors.docker.pids"),
        ({"log_size": "10"}, "executors.docker.log_size"),
    ],
)
def test_settings_that_can_not_be_used_are_named(options, field):
    with pytest.raises(SettingsError) as error:
        read_settings(options)
    assert error.value.problem.field == field
    assert field in str(error.value)
