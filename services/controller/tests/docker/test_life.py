"""A life as the daemon shows it, and how it ended."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from nexthos_controller.execution import Owner
from nexthos_controller.executors.docker.exits import judge
from nexthos_controller.executors.docker.labels import Labels
from nexthos_controller.executors.docker.life import Life, nanoseconds, read_life
from nexthos_shared import exit_codes
from nexthos_shared.reasons import Reason

NEVER = "0001-01-01T00:00:00Z"
LABELS = Labels(
    owner=Owner("ns", "one"),
    id="orders",
    replica=0,
    revision=7,
    version="1",
    digest=f"sha256:{'a' * 64}",
    spec_hash="hash",
    stop_timeout=12.5,
)
ENV = {"A": "shown", "NEXTHOS_ENV": '{"A":"hidden"}'}
ENDED = Life("c" * 64, "n", LABELS, "stopped", started=1, finished=2, code=1, env=ENV)


def inspected(status="running", *, networks=None, ports=None, mode="bridge", **state):
    known = {"Status": status, "StartedAt": "2026-11-24T19:00:00.5Z", "FinishedAt": NEVER}
    return {
        "Id": "abcdef0123456789",
        "Name": "/ns-orders-0-12345678",
        "Config": {
            "Image": "nexthos/runner:1",
            "Labels": LABELS.to_docker(),
            "Env": [
                "NEXTHOS_HTTP_ADDRESS=0.0.0.0:4195",
                "NEXTHOS_HTTP_PASSWORD=1f",
                "ODD",
                'NEXTHOS_ENV={"A":"s=t"}',
            ],
        },
        "State": {**known, "ExitCode": 0, "OOMKilled": False, **state},
        "HostConfig": {"NetworkMode": mode},
        "NetworkSettings": {"Networks": networks or {}, "Ports": ports},
    }


def test_a_running_container_is_a_life_with_an_address():
    life = read_life(inspected(networks={"bridge": {"IPAddress": "172.17.0.2"}}), False)
    assert life is not None
    assert (life.state, life.code) == ("running", None)
    assert life.uid == f"abcdef012345-{life.started}"
    assert life.endpoint == "http://172.17.0.2:4195"
    assert (life.token, life.secrets) == ("1f", {"A": "s=t"})
    assert life.name == "ns-orders-0-12345678"


def test_on_the_hosts_network_and_on_loopback_it_is_reached_by_another_address():
    on_host = read_life(inspected(mode="host"), False)
    published = {"4195/tcp": [{"HostIp": "127.0.0.1", "HostPort": "32768"}]}
    on_loopback = read_life(inspected(ports=published), True)
    assert on_host is not None
    assert on_loopback is not None
    assert on_host.endpoint == "http://127.0.0.1:4195"
    assert on_loopback.endpoint == "http://127.0.0.1:32768"


@pytest.mark.parametrize(
    ("ports", "loopback"), [(None, True), ({"4195/tcp": None}, True), ({}, False)]
)
def test_without_an_address_there_is_no_endpoint(ports, loopback):
    life = read_life(inspected(ports=ports), loopback)
    assert life is not None
    assert life.endpoint is None


@pytest.mark.parametrize(
    ("status", "started", "state"),
    [
        ("created", NEVER, "prepared"),
        ("exited", NEVER, "prepared"),  # it could not be started: there was no life
        ("running", "2026-11-24T19:00:00Z", "running"),
        ("paused", "2026-11-24T19:00:00Z", "running"),
        ("restarting", "2026-11-24T19:00:00Z", "running"),
        ("exited", "2026-11-24T19:00:00Z", "stopped"),
        ("dead", "2026-11-24T19:00:00Z", "stopped"),
    ],
)
def test_the_daemons_words_for_a_state_are_three_of_ours(status, started, state):
    life = read_life(inspected(status, StartedAt=started), False)
    assert life is not None
    assert life.state == state
    assert bool(life.uid) == (state != "prepared")


def test_what_is_being_removed_or_is_not_ours_is_no_life():
    foreign = inspected()
    foreign["Config"]["Labels"] = {"nexthos.namespace": "ns"}
    assert read_life(inspected("removing"), False) is None
    assert read_life(foreign, False) is None


def test_times_have_nanoseconds_and_never_is_zero():
    assert nanoseconds("1970-01-01T00:00:01.000000002Z") == 1_000_000_002
    assert nanoseconds("1970-01-01T01:00:01+01:00") == 1_000_000_000
    assert nanoseconds("1970-01-01T00:00:00.5Z") == 500_000_000
    assert (nanoseconds(NEVER), nanoseconds(""), nanoseconds("yesterday")) == (0, 0, 0)


def line(message: str, level="error") -> str:
    return json.dumps({"level": level, "msg": message, "pipeline": "orders"})


@pytest.mark.parametrize(
    ("code", "signals", "tail", "expected"),
    [
        (0, set(), [], (0, False, None)),
        (0, {"15"}, [], (0, True, None)),
        (0, {"SIGTERM"}, [], (0, True, None)),
        (0, set(), [line("Received SIGTERM, the service is closing", "info")], (0, True, None)),
        (0, set(), ["Received SIGTERM"], (0, False, None)),  # a message that went through
        (1, set(), [], (1, False, Reason.EXITED)),
        (1, {"15"}, [], (1, True, None)),
        (137, {"9"}, [], (None, False, Reason.KILLED)),
        (137, {"15", "9"}, [], (None, True, None)),
        (143, set(), [], (143, True, None)),
        (139, set(), [], (139, False, Reason.EXITED)),
    ],
)
def test_an_end_is_judged_by_code_signals_and_words(code, signals, tail, expected):
    ended = judge(replace(ENDED, code=code), signals, tail)
    assert (ended.code, ended.signalled, ended.problem and ended.problem.reason) == expected


@pytest.mark.fault(38)
def test_what_the_kernel_took_for_want_of_memory_is_told_so_whatever_else_happened():
    ended = judge(replace(ENDED, code=137, oom=True), {"15"}, [])
    assert ended.problem is not None
    assert (ended.problem.reason, ended.signalled) == (Reason.OOM_KILLED, False)


@pytest.mark.fault(67)
@pytest.mark.parametrize("code", [c for c in exit_codes.Exit if c is not exit_codes.Exit.ASKED])
def test_each_code_of_the_runner_is_a_reason_with_its_last_words(code):
    silent = judge(replace(ENDED, code=int(code)), set(), [])
    spoken = judge(replace(ENDED, code=int(code)), set(), [line("the store said hidden things")])
    assert silent.problem is not None
    assert spoken.problem is not None
    assert silent.problem.reason == spoken.problem.reason == exit_codes.reason_of(code)
    assert exit_codes.SENTENCES[code] in silent.problem.message
    assert "the store said" in spoken.problem.message
    assert "hidden" not in spoken.problem.message
