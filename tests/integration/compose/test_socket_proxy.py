"""The proxy passes on what the docker executor asks, and nothing that leads out of a container."""

from __future__ import annotations

import io
import json
import socket
import tarfile
import time
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import docker
import pytest
import requests

from nexthos_controller.executors.docker.daemon import hang_up
from nexthos_testing.docker import RUNNER

pytestmark = pytest.mark.timeout(180)  # its image is built first


def status_of(proxy: str, method: str, path: str, **more: Any) -> int:
    """Waits until the proxy listens."""
    until = time.monotonic() + 10
    while True:
        try:
            return requests.request(method, proxy + path, timeout=20, **more).status_code
        except requests.ConnectionError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


@pytest.fixture
def behind(proxy: str) -> Iterator[docker.APIClient]:
    """docker-py, which knows of no proxy."""
    assert status_of(proxy, "GET", "/_ping") == 200
    client = docker.APIClient("tcp://" + urlsplit(proxy).netloc, version="auto", timeout=30)
    yield client
    client.close()


def test_what_the_executor_asks_passes(behind: docker.APIClient, daemon: docker.APIClient) -> None:
    limits: Any = {
        "ulimits": [{"Name": "nofile", "Soft": 1024, "Hard": 1024}],
        "log_config": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}},
        "restart_policy": {"Name": "no"},
    }
    host = behind.create_host_config(
        network_mode="bridge",
        read_only=True,
        tmpfs={"/tmp": "rw,size=16m"},
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        init=True,
        pids_limit=64,
        **limits,
        mem_limit=64 << 20,
        port_bindings={"4195/tcp": ("127.0.0.1", None)},
    )
    script = ["sh", "-c", "echo said; exec sleep 1000"]
    name = f"proxied-{uuid.uuid4().hex[:8]}"
    config: Any = {
        "entrypoint": script,
        "volumes": ["/run/nexthos"],
        "ports": [4195],
        "host_config": host,
    }
    env = ["LOCATION=é/x:/y", "LONG=" + "x" * 64_000]
    made = behind.create_container(RUNNER, name=name, environment=env, **config)["Id"]
    try:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            entry = tarfile.TarInfo("config.yaml")
            entry.size = 1 << 20
            tar.addfile(entry, io.BytesIO(bytes(entry.size)))
        assert behind.put_archive(made, "/run/nexthos", buffer.getvalue())
        events = behind.events(filters={"container": [made]}, decode=True)
        behind.start(made)
        assert next(events)["Action"] == "start"
        hang_up(events)
        followed = behind.logs(made, stream=True, follow=True)
        assert next(followed) == b"said\n"
        hang_up(followed)
        assert [c["Id"] for c in behind.containers(filters={"name": name})] == [made]
        assert behind.inspect_container(made)["State"]["Running"]
        chunks, _ = behind.get_archive(made, "/run/nexthos/config.yaml")
        assert sum(map(len, chunks)) > 1 << 20
        assert behind.inspect_network("bridge")["Name"] == "bridge"
        assert behind.inspect_image(RUNNER)["Id"]
        assert behind.info()["ID"] == daemon.info()["ID"]
        daemon.pause(made)
        behind.unpause(made)
        behind.rename(made, f"{name}-2")
        behind.kill(made, "SIGKILL")
        daemon.wait(made)
        assert behind.inspect_container(made)["State"]["ExitCode"] == 137
        behind.remove_container(made, v=True)
    finally:
        if daemon.containers(all=True, filters={"id": made}):
            daemon.remove_container(made, force=True, v=True)


OTHERS = """
    POST /containers/x/wait          POST /containers/x/stop         POST /containers/x/restart
    POST /containers/x/exec          POST /v1.41/containers/x/exec   POST /exec/x/start
    POST /containers/x/attach        POST /containers/x/update       POST /containers/prune
    GET /containers/x/export         GET /containers/x/top           GET /containers/..%2fimages/json
    POST /build                      POST /commit                    POST /session
    GET /images/json                 DELETE /images/x                POST /images/create?fromSrc=-
    GET /volumes                     POST /volumes/create            DELETE /volumes/x
    GET /networks                    POST /networks/create           DELETE /networks/x
    GET /secrets                     POST /swarm/init                GET /plugins
    GET /v1.23/info                  POST /v1.23/containers/x/start  GET /system/df
"""


def test_everything_else_is_refused(proxy: str) -> None:
    calls = [line.split(None, 1) for line in _columns(OTHERS)]
    assert len(calls) == 30
    answers = {f"{method} {path}": status_of(proxy, method, path) for method, path in calls}
    assert {call: code for call, code in answers.items() if code != 403} == {}
    # Settings at the start, which old versions took.
    assert status_of(proxy, "POST", "/containers/x/start", data=b'{"Privileged": true}') == 403


def _columns(table: str) -> list[str]:
    words = table.split()
    return [" ".join(words[i : i + 2]) for i in range(0, len(words), 2)]


HOSTS: list[dict[str, Any]] = [
    {"Privileged": True},
    {"priviLeged": True},
    {"Binds": ["/:/host"]},
    {"Binds": ["data:/]x", "/etc:/y"]},
    {"Mounts": [{"Type": "bind", "Source": "/", "Target": "/h"}]},
    {
        "Mounts": [
            {"Type": "volume", "VolumeOptions": {"DriverConfig": {"Options": {"device": "/"}}}}
        ]
    },
    {"PidMode": "host"},
    {"NetworkMode": "host"},
    {"NetworkMode": "container:x"},
    {"CapAdd": ["SYS_ADMIN"]},
    {"Devices": [{"PathOnHost": "/dev/vda"}]},
    {"Device\u017f": [{"PathOnHost": "/dev/vda"}]},
    {"VolumesFrom": ["x"]},
    {"SecurityOpt": ["seccomp=unconfined"]},
]
BODIES = [
    *(json.dumps({"Image": RUNNER, "HostConfig": host}, ensure_ascii=False) for host in HOSTS),
    json.dumps({"Image": RUNNER, "HostConfig": HOSTS[11]}),
    r'{"Image": "x", "HostConfig": {"\u0050rivileged": true}}',
    r'{"Image": "x", "HostConfig": {"Binds": ["\/:/h"]}}',
    '{"Image": "x", "HostConfig": {"Privileged" :\n true}}',
    f'{{"Image": "x", "Labels": {{"a": "{"x" * 199_000}"}}, "HostConfig": {{"Privileged": true}}}}',
    f'{{"Image": "x", "Labels": {{"a": "{"x" * 250_000}"}}}}',
]


def test_no_container_that_leads_out_is_created(proxy: str, daemon: docker.APIClient) -> None:
    path = f"/v1.41/containers/create?name=refused-{uuid.uuid4().hex[:8]}"
    headers = {"Content-Type": "application/json"}
    for body in BODIES:
        assert status_of(proxy, "POST", path, data=body.encode(), headers=headers) == 403, body[:90]
    pieces = iter([b'{"Image": "x", "HostConfig": {', b'"Privileged": true}}'])
    assert status_of(proxy, "POST", path, data=pieces, headers=headers) == 403
    assert _sent_slowly(proxy, path, BODIES[0].encode()).startswith(b"HTTP/1.1 403 ")
    assert daemon.containers(all=True, filters={"name": path.partition("=")[2]}) == []


def _sent_slowly(proxy: str, path: str, body: bytes) -> bytes:
    """A body that comes after its head: the proxy waits for all of it."""
    where = urlsplit(proxy)
    with socket.create_connection(
        (str(where.hostname), int(where.port or 0)), timeout=20
    ) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body[:40])
        time.sleep(0.2)  # the pause is what is tested: two packets, not one
        connection.sendall(body[40:])
        return connection.recv(100)
