"""The proxy passes on what the docker executor does, and nothing that leads out: before the real daemon."""

from __future__ import annotations

import copy
import json
import socket
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import docker
import pytest
import requests

from nexthos_controller.executors.docker.archive import packed
from nexthos_shared.model import ConditionType
from nexthos_shared.reasons import Reason
from nexthos_testing.docker import RUNNER
from nexthos_testing.dockyard import Dockyard, dockyard
from nexthos_testing.nats import NatsServer

pytestmark = pytest.mark.timeout(300)  # it is compiled first

Body = dict[str, Any]


@pytest.fixture
async def yard(proxy: str, namespace: str, tmp_path: Path) -> AsyncIterator[Dockyard]:
    """A controller that knows the daemon by the proxy alone."""
    options = {"host": "tcp://" + urlsplit(proxy).netloc}
    async with (
        NatsServer(tmp_path / "nats", host="0.0.0.0") as server,
        dockyard(server, namespace, tmp_path, options) as there,
    ):
        yield there


async def test_a_controller_behind_it_starts_pauses_resumes_updates_and_deletes(
    yard: Dockyard, daemon: docker.APIClient
) -> None:
    limits = {"memory": "96Mi", "cpu": 0.5}
    first = await yard.runs("orders", resources=limits, env={"GREETING": 'a "b"=é'})
    assert "is now active" in await yard.does("logs", "orders")
    await yard.field.put("orders", "paused")
    await yard.field.reaches("orders", "Paused")
    assert (yard.one("orders")["Id"], yard.running("orders")) == (first, [])
    again = await yard.runs("orders", resources=limits, env={"GREETING": 'a "b"=é'})
    assert again == first
    second = await yard.runs("orders", "v2", "2")
    assert second != first
    yard.hands.kill(second)  # what ended is told by the daemon's events, and started again
    await yard.field.until_it_says("orders", "v2 hello", within=30.0)
    await yard.field.delete("orders")
    await yard.gone("orders")
    assert (yard.containers("orders"), yard.left("orders")) == ([], [])


async def test_a_name_that_is_somebody_elses_is_told_and_left_alone(
    yard: Dockyard, daemon: docker.APIClient
) -> None:
    await yard.runs("orders")
    [name] = yard.hands.api.inspect_container(yard.one("orders")["Id"])["Name"].split("/")[1:]
    await yard.field.delete("orders")
    await yard.gone("orders")
    taken = daemon.create_container(RUNNER, name=name)["Id"]
    try:
        await yard.field.put("orders")
        words = await yard.told("orders", ConditionType.NAME_CONFLICT, Reason.NAME_CONFLICT)
        assert "not ours" in words
        assert daemon.inspect_container(taken)["State"]["Status"] == "created"
    finally:
        daemon.remove_container(taken, force=True)


# ---- what a controller that somebody took over sends


@pytest.fixture
def good(namespace: str) -> Body:
    """What the executor sends to create a container, as docker-py writes it."""
    host: Body = {
        "Memory": 67108864,
        "MemorySwap": 67108864,
        "ReadonlyRootfs": True,
        "NetworkMode": "bridge",
        "RestartPolicy": {"Name": "no"},
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "Binds": [],
        "PortBindings": {},
        "Ulimits": [{"Name": "nofile", "Soft": 1024, "Hard": 1024}],
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}},
        "Tmpfs": {"/tmp": "rw,noexec,nosuid,nodev,size=16m,mode=1777"},
        "PidsLimit": 64,
        "Init": True,
    }
    labels = {
        "namespace": namespace,
        "installation": "one",
        "pipeline": "a",
        "replica": "0",
        "revision": "1",
        "version": "1",
        "digest": "sha256:" + "0" * 64,
        "spec-hash": "0" * 16,
        "stop-timeout": "10",
        "made-with": "{}",
        "made": "sha256:" + "0" * 64,
    }
    flags = ("Tty", "OpenStdin", "StdinOnce", "AttachStdin", "NetworkDisabled")
    return {
        **dict.fromkeys(flags, False),
        "AttachStdout": True,
        "AttachStderr": True,
        "ExposedPorts": {},
        "User": "10001:10001",
        "Env": ["NEXTHOS_PIPELINE=a"],
        "Image": RUNNER,
        "Volumes": {"/run/nexthos": {}},
        "HostConfig": host,
        "Labels": {f"nexthos.{name}": value for name, value in labels.items()},
    }


@pytest.fixture
def path(namespace: str) -> str:
    """Of a create, with the name of an execution."""
    return f"/v1.41/containers/create?name={namespace}-a-0-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def nothing_made(daemon: docker.APIClient, namespace: str) -> Iterator[None]:
    """Nothing of what was refused exists at the daemon."""
    before = {c["Id"] for c in daemon.containers(all=True)}
    yield
    new = [c for c in daemon.containers(all=True) if c["Id"] not in before]
    assert [c["Names"] for c in new if namespace in str(c)] == []


def post(proxy: str, path: str, body: bytes, **headers: str) -> requests.Response:
    more = {"Content-Type": "application/json", **headers}
    return requests.post(proxy + path, data=body, headers=more, timeout=20)


def test_the_body_that_is_varied_here_is_a_good_one_and_credentials_come_into_it(
    proxy: str, path: str, good: Body, daemon: docker.APIClient
) -> None:
    said = post(proxy, path, json.dumps(good).encode())
    assert said.status_code == 201, said.text
    made = said.json()["Id"]
    try:
        files = packed({"nats.creds": b"a", "store.creds": b"b"}, "10001:10001")
        put = {"path": "/run/nexthos"}
        assert (
            requests.put(f"{proxy}/containers/{made}/archive", files, params=put).status_code == 200
        )
        _, stat = daemon.get_archive(made, "/run/nexthos/store.creds")
        assert (stat["size"], stat["mode"]) == (1, 0o600)
        other = packed({"x.so": b"a"}, "10001:10001")
        assert (
            requests.put(f"{proxy}/containers/{made}/archive", other, params=put).status_code == 403
        )
    finally:
        daemon.remove_container(made, v=True)


MORE: list[Body] = [
    {"CapAdd": "ALL"},
    {"CapAdd": ["SYS_ADMIN"]},
    {"Privileged": True},
    {"priviLeged": True},
    {"Binds": ["/:/host:rw"]},
    {"binds": ["/:/host:rw"]},
    {"Mounts": [{"Type": "bind", "Source": "/", "Target": "/h"}]},
    {"Mounts": [{"Type": "volume", "VolumeOptions": {"DriverConfig": {"Options": {"o": "bind"}}}}]},
    {"PidMode": "host"},
    {"NetworkMode": "host"},
    {"NetworkMode": "container:x"},
    {"Devices": [{"PathOnHost": "/dev/vda"}]},
    {"Device\u017f": [{"PathOnHost": "/dev/vda"}]},
    {"VolumesFrom": ["x"]},
    {"SecurityOpt": ["seccomp=unconfined"]},
    {"CgroupParent": "/"},
    {"Runtime": "io.containerd.runc.v2"},
    {"MaskedPaths": []},
]


@pytest.mark.usefixtures("nothing_made")
def test_no_container_that_leads_out_is_created(proxy: str, path: str, good: Body) -> None:
    for more in MORE:
        body = copy.deepcopy(good)
        body["HostConfig"] |= more
        for as_ascii in (True, False):
            said = post(proxy, path, json.dumps(body, ensure_ascii=as_ascii).encode())
            assert said.status_code == 403, more
            assert said.json()["message"].startswith("the socket proxy refuses: ")
    twice = json.dumps(good)[:-1] + ', "HostConfig": {"Privileged": true}}'
    escaped = json.dumps(good).replace('"Init"', r'"\u0050rivileged": true, "Init"')
    for text in (twice, escaped, json.dumps(good) + twice):
        assert post(proxy, path, text.encode()).status_code == 403


def privileged(good: Body) -> bytes:
    body = copy.deepcopy(good)
    body["HostConfig"] |= {"Privileged": True, "Binds": ["/:/host"]}
    return json.dumps(body).encode()


@pytest.mark.usefixtures("nothing_made")
def test_padding_and_bodies_without_a_length_hide_nothing(
    proxy: str, path: str, good: Body
) -> None:
    bad = privileged(good)
    assert post(proxy, path, b" " * 300_000 + bad).status_code == 403
    pieces = iter([b" " * 300_000, bad])
    chunked = requests.post(proxy + path, data=pieces, timeout=20)
    assert chunked.status_code == 403
    assert "Content-Length" in chunked.json()["message"]
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n"
    both = f"{head}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n{len(bad):x}\r\n"
    for text in (both.encode() + bad + b"\r\n0\r\n\r\n", f"{head}\r\n".encode() + bad):
        assert _sent(proxy, text).split(b" ")[1] in (b"400", b"403")


@pytest.mark.usefixtures("nothing_made")
def test_http2_is_not_spoken_neither_by_prior_knowledge_nor_by_an_upgrade(
    proxy: str, path: str, good: Body
) -> None:
    said = _sent(proxy, _http2(path, b" " * 300_000 + privileged(good)))
    assert said.startswith(b"HTTP/1.1 403 "), said[:200]
    assert b"only HTTP/1.1 is spoken" in said
    upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    said = _sent(proxy, f"GET /_ping HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n".encode())
    assert said.startswith(b"HTTP/1.1 403 ")


def _http2(path: str, body: bytes) -> bytes:
    """A whole HTTP/2 request by prior knowledge, without a content-length."""

    def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload

    def literal(name: str, value: str) -> bytes:  # HPACK, neither indexed nor compressed
        return b"\x00" + b"".join(bytes([len(t)]) + t.encode() for t in (name, value))

    fields = {":method": "POST", ":scheme": "http", ":authority": "x", ":path": path}
    head = b"".join(
        literal(*field) for field in (fields | {"content-type": "application/json"}).items()
    )
    data = [body[at : at + 16_384] for at in range(0, len(body), 16_384)]
    frames = [frame(4, 0, 0, b""), frame(1, 4, 1, head), *(frame(0, 0, 1, d) for d in data)]
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"".join(frames) + frame(0, 1, 1, b"")


def _sent(proxy: str, text: bytes) -> bytes:
    """What comes back for these bytes, until the other end has nothing more to say."""
    where = urlsplit(proxy)
    address = (str(where.hostname), int(where.port or 0))
    said = b""
    with socket.create_connection(address, timeout=20) as connection:
        try:
            connection.sendall(text)
            while piece := connection.recv(4096):
                said += piece
        except (ConnectionResetError, BrokenPipeError):
            pass  # it closes without reading the rest
    return said


TO_OTHERS = """
    POST /containers/{id}/kill?signal=SIGKILL    POST /containers/{id}/start
    POST /containers/{id}/unpause                POST /containers/{id}/stop
    DELETE /containers/{id}                      DELETE /containers/{id}?force=True
    POST /containers/{id}/rename?name={ns}-a-0-12345678.altered-abcdef
    GET /containers/{id}/logs?stdout=1           POST /containers/{id}/exec
    GET /containers/{id}/archive?path=%2Frun%2Fnexthos%2Fconfig.yaml
    GET /containers/json                         GET /containers/json?all=1
"""
ELSE = {"nexthos.namespace": "else", "nexthos.installation": "x", "nexthos.pipeline": "a"}


@pytest.mark.parametrize("labels", [{}, ELSE], ids=["none of ours", "another namespace's"])
def test_containers_of_others_are_neither_seen_nor_touched(
    proxy: str, namespace: str, daemon: docker.APIClient, labels: dict[str, str]
) -> None:
    sleeps = {"entrypoint": ["sleep", "1000"], "labels": labels}
    made = daemon.create_container(RUNNER, **sleeps)["Id"]  # type: ignore[arg-type]
    try:
        daemon.start(made)
        assert requests.get(f"{proxy}/containers/{made}/json", timeout=20).status_code == 404
        calls = _pairs(TO_OTHERS.format(id=made, ns=namespace))
        assert {call: code for call, code in _answers(proxy, calls).items() if code != 403} == {}
        filters = json.dumps({"label": ["nexthos.namespace=else"]})
        more = {"all": "1", "filters": filters}
        assert requests.get(f"{proxy}/containers/json", more, timeout=20).json() == []
        state = daemon.inspect_container(made)["State"]
        assert (state["Running"], state["Paused"]) == (True, False)
    finally:
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


def test_every_other_call_is_refused(proxy: str) -> None:
    calls = _pairs(OTHERS)
    assert len(calls) == 30
    assert {call: code for call, code in _answers(proxy, calls).items() if code != 403} == {}
    said = post(proxy, "/containers/x/start", b'{"Privileged": true}')  # which old versions took
    assert said.status_code == 403


def _pairs(table: str) -> list[tuple[str, str]]:
    words = table.split()
    return [(words[i], words[i + 1]) for i in range(0, len(words), 2)]


def _answers(proxy: str, calls: list[tuple[str, str]]) -> dict[tuple[str, str], int]:
    ask = requests.request
    return {call: ask(call[0], proxy + call[1], timeout=20).status_code for call in calls}
