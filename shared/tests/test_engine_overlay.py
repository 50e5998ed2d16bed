"""The overlay on the real engine: it wins over the file, and the file stays as it is."""

import asyncio
import base64
import json
from pathlib import Path

import pytest

from nexthos_shared.engine import environment, overlay
from nexthos_shared.errors import SettingsError
from nexthos_testing.engine import PASSWORD, running_engine
from nexthos_testing.wait import eventually

TICK = "input: {generate: {mapping: root = 1, interval: 10ms}}\noutput: {drop: {}}\n"
THREE = 'input: {generate: {mapping: root = "hello", interval: "", count: 3}}\n'


def entries(log: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in log.splitlines() if line.startswith("{")]


def given(**changed: object) -> list[str]:
    values: dict[str, object] = {
        "address": "127.0.0.1:4999",
        "password": "1f" * 16,
        "labels": {"pipeline": "orders"},
        "stop_timeout": 30.0,
        "metrics": True,
        "metrics_file": Path("/var/x/last.prom"),
    }
    return overlay(**(values | changed))  # type: ignore[arg-type]


def test_the_engine_has_two_seconds_less_than_we_wait():
    assert "shutdown_timeout=28000ms" in given()


def test_a_very_short_stop_still_leaves_the_engine_a_moment():
    assert "shutdown_timeout=100ms" in given(stop_timeout=1.0)


def test_metrics_are_spoken_of_only_where_they_are_prometheus():
    assert [override for override in given() if override.startswith("metrics")] == [
        "metrics.prometheus.add_process_metrics=true",
        "metrics.prometheus.file_output_path=/var/x/last.prom",
    ]
    assert not [o for o in given(metrics=False) if o.startswith("metrics")]
    assert not [o for o in given(metrics_file=None) if "file_output_path" in o]


@pytest.mark.parametrize(
    "wrong", [{"labels": {"pipeline": ""}}, {"metrics_file": Path("/a,b")}, {"address": ""}]
)
def test_what_the_flags_of_an_engine_cannot_carry_is_refused(wrong):
    with pytest.raises(SettingsError, match="can't be given"):
        given(**wrong)


async def test_each_log_line_is_json_with_time_level_message_and_labels(tmp_path):
    config = (
        TICK + "logger: {level_name: LL, message_name: MM, timestamp_name: TT, format: logfmt}\n"
    )
    async with running_engine(config, tmp_path) as engine:
        await engine.until_ready()
        await engine.stop()

    lines = entries(engine.log)
    assert lines
    assert all({"time", "level", "msg"} <= line.keys() for line in lines)
    assert {(line["pipeline"], line["version"], line["replica"]) for line in lines} == {
        ("tried", "1", "0")
    }


@pytest.mark.fault(74)
@pytest.mark.parametrize(
    "own",
    [
        "http: {address: '0.0.0.0:1', enabled: false, root_path: /mine}",
        "http: {basic_auth: {enabled: true, username: u, password_hash: cGFzcw==}}",
        "http: {cert_file: /nowhere/cert.pem, key_file: /nowhere/key.pem}",
        "http: {cert_file: /nowhere/cert.pem}",
        "http: null",
        "logger: null",
        "logger: {static_fields: {mine: yes}}",
        "logger: {file: {path: ./own.log, rotate: true}}",
        "logger: {file: {path: /nowhere/own.log}}",
        "shutdown_delay: 1h",
        "metrics: {none: {}}",
        "metrics: {json_api: {}}",
        "metrics: {prometheus: {use_histogram_timing: true}}",
        "metrics: {type: prometheus, plugin: {use_histogram_timing: true}}",
        "metrics: {prometheus: {file_output_path: ./own.prom}}",
        "metrics: {}",
        "metrics: null",
    ],
)
async def test_a_file_with_settings_of_its_own_runs_byte_for_byte(tmp_path, own):
    config = f"{TICK}# kept as it is \u2713\n{own}\n"
    async with running_engine(config, tmp_path) as engine:
        await engine.until_ready()
        assert await engine.stop() == 0

    assert engine.config.read_bytes() == config.encode()
    assert entries(engine.log)[-1]["msg"].startswith("Received SIGTERM")
    assert not (tmp_path / "own.log").exists()


async def test_the_engine_does_not_show_its_configuration(tmp_path):
    async with running_engine(TICK + "http: {debug_endpoints: true}\n", tmp_path) as engine:
        await engine.until_ready()
        page = await fetch(engine.endpoint, "/debug/config/yaml", user=f"nexthos:{PASSWORD}")

    assert page.startswith("HTTP/1.1 404")


SHARED = {
    "input: {http_server: {path: /post}}\noutput: {drop: {}}\n": (
        "/post",
        "/mine/post",
        "/post/ws",
    ),
    "input: {dynamic: {prefix: /dyn}}\noutput: {drop: {}}\n": (
        "/dyn/inputs/a",
        "/mine/dyn/inputs/a",
    ),
    f"{TICK.partition('output')[0]}output: {{http_server: {{path: /get}}}}\n": (
        "/get",
        "/get/stream",
    ),
}


@pytest.mark.fault(74)
@pytest.mark.parametrize("config", SHARED, ids=["input", "dynamic", "output"])
async def test_what_shares_the_engines_http_is_closed_to_those_without_the_password(
    tmp_path, config
):
    config_with_root = f"{config}http: {{root_path: /mine}}\n"
    async with running_engine(config_with_root, tmp_path) as engine:

        async def answers() -> bool:
            return await engine.ready() in ("ready", "not-ready")

        await eventually(answers, within=20.0)
        for path in (*SHARED[config], "/ping", "/metrics", "/endpoints", "/version"):
            for verb in ("GET", "POST"):
                for user in ("", "nexthos:", f"nexthos:{PASSWORD[1:]}", f"other:{PASSWORD}"):
                    page = await fetch(engine.endpoint, path, verb, user=user)
                    assert page.startswith("HTTP/1.1 401"), (path, verb, user)


async def test_an_http_server_without_an_address_is_reached_with_the_password(tmp_path):
    config = "input: {http_server: {path: /post}}\noutput: {drop: {}}\n"
    async with running_engine(config, tmp_path) as engine:
        await engine.until_ready()
        page = await fetch(engine.endpoint, "/post", "POST", user=f"nexthos:{PASSWORD}")

    assert page.startswith("HTTP/1.1 200")


def test_the_password_stands_in_no_flag():
    assert not [override for override in given() if "1f1f" in override]


def test_an_engine_without_a_password_is_open():
    overrides = given(password="", address="127.0.0.1:1", metrics=False)

    assert [o for o in overrides if "auth" in o] == ["http.basic_auth.enabled=false"]


async def test_output_and_log_are_told_apart_where_the_output_is_stdout(tmp_path):
    config = THREE + "output: {stdout: {}}\nlogger: {file: {path: ./own.log}}\n"
    async with running_engine(config, tmp_path) as engine:
        assert await engine.finished() == 0

    assert [line for line in engine.log.splitlines() if line[0] != "{"] == ["hello"] * 3


async def test_all_metrics_are_written_when_the_input_ends(tmp_path):
    async with running_engine(THREE + "output: {drop: {}}\n", tmp_path) as engine:
        assert await engine.finished() == 0

    assert 'output_sent{label="",path="root.output"} 3' in engine.metrics_file.read_text()


async def test_all_metrics_are_written_when_it_is_stopped(tmp_path):
    async with running_engine(TICK, tmp_path) as engine:
        await engine.until_ready()
        assert await engine.stop() == 0

    assert "input_received" in engine.metrics_file.read_text()


async def test_the_password_stands_in_no_log_line(tmp_path):
    async with running_engine(TICK, tmp_path) as engine:
        await engine.until_ready()
        await engine.stop()

    assert PASSWORD not in engine.log


async def fetch(endpoint: str, path: str, verb: str = "GET", *, user: str = "") -> str:
    host, _, port = endpoint.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = "Content-Length: 2\r\n\r\nhi" if verb == "POST" else "\r\n"
    if user:
        body = f"Authorization: Basic {base64.b64encode(user.encode()).decode()}\r\n{body}"
    writer.write(f"{verb} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{body}".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.decode()


# ---- the environment

OURS = {
    "PATH": "/bin",
    "HOME": "/home/x",
    "TZ": "UTC",
    "LANG": "C.UTF-8",
    "SSL_CERT_FILE": "/ca.pem",
    "SSL_CERT_DIR": "/ca",
}
NAMED = {
    "NATS_URL": "nats://there:4222",
    "NEXTHOS_PIPELINE": "orders",
    "NEXTHOS_VERSION": "7",
    "NEXTHOS_REPLICA": "2",
}


def made(**changed: object) -> dict[str, str]:
    values: dict[str, object] = {
        "nats_url": "nats://there:4222",
        "pipeline": "orders",
        "version": "7",
        "replica": 2,
        "env": {},
        "base": {},
    }
    return environment(**(values | changed))  # type: ignore[arg-type]


def test_the_environment_is_exactly_the_list():
    base = {
        **OURS,
        "NATS_URL": "nats://ours",
        "NATS_CREDS": "/ours",
        "AWS_SECRET": "x",
        "USER": "u",
    }

    assert made(base=base, env={"REGION": "eu"}) == {**OURS, **NAMED, "REGION": "eu"}


def test_what_the_caller_does_not_have_is_not_made_up():
    assert made() == NAMED


def test_credentials_are_named_only_if_there_are_some():
    assert made(nats_creds=Path("/run/nats.creds")) == {**NAMED, "NATS_CREDS": "/run/nats.creds"}


def test_the_definition_may_set_anything_but_the_names_of_nexthos():
    env = {"TZ": "CET", "NATS_URL": "nats://other", "NEXTHOS_VERSION": "forged"}

    assert made(base=OURS, env=env) == {**OURS, **NAMED, "TZ": "CET", "NATS_URL": "nats://other"}


@pytest.mark.parametrize(
    "own", ["{prometheus: {}}", "{type: prometheus}", "{prometheus: null}", "{}"]
)
async def test_figures_of_the_process_are_there_where_prometheus_is_written_out(tmp_path, own):
    async with running_engine(f"{TICK}metrics: {own}\n", tmp_path) as engine:
        await engine.until_ready()
        assert await engine.stop() == 0
    assert "process_resident_memory_bytes" in engine.metrics_file.read_text()
