# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, no-warn-unreachable
"""The engine that a runner becomes: its environment, its argv, its folder; and a start without NATS."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from nexthos_runner import launch, settings
from nexthos_runner.folder import Folder
from nexthos_shared.engine import EngineProfile, is_ready, scrape
from nexthos_shared.exit_codes import Exit
from nexthos_shared.names import digest_of
from nexthos_testing.credentials import Operator
from nexthos_testing.guarded import ANYBODYS
from nexthos_testing.nats import NatsServer, free_port
from nexthos_testing.wait import eventually

TO_NATS = """
input: {generate: {mapping: 'root = env("REGION")', interval: 10ms}}
output: {nats: {urls: ["${NATS_URL}"], subject: "SUBJECT"}}
"""


def environ_of(pid):
    pairs = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return dict(pair.decode().split("=", 1) for pair in pairs if pair)


def argv_of(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]


PASSWORD = "f00d" * 8
GLIBCS = 0b11 << 31  # 32 and 33 are its own: its posix_spawn, which make uses, has them ignored


def signals_of(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {
        k: int(v, 16)
        for k, v in (line.split(":\t", 1) for line in lines)
        if k.startswith("Sig") and "/" not in v
    }


async def test_a_stored_configuration_runs_and_its_messages_come_out(rig, store, namespace):
    heard = await store.link.nc.subscribe(f"{namespace}.out")
    await store.configs.put("orders", "1", TO_NATS.replace("SUBJECT", f"{namespace}.out").encode())
    run = await rig.start(NEXTHOS_ENV='{"REGION": "eu"}')
    assert (await heard.next_msg(timeout=20)).data == b"eu"
    run.signal(signal.SIGTERM)
    assert await run.ended() == 0


async def test_the_engine_is_this_very_process_and_finds_nothing_of_ours(rig, store, tick):
    await store.configs.put("orders", "1", tick)
    rig.folder.mkdir()
    creds = rig.folder / "store.creds"
    Operator().user(creds)
    run = await rig.start(
        NEXTHOS_STORE_URL=f"{rig.url}",
        NEXTHOS_STORE_CREDS=str(creds),
        NEXTHOS_REPLICA="2",
        NEXTHOS_ENV='{"REGION": "eu", "TZ": "UTC"}',
        LANG="C",
        SSL_CERT_DIR="/etc/ssl/certs",
        PYTHONDONTWRITEBYTECODE="1",
        AWS_SECRET_ACCESS_KEY="hunter2secret",
    )
    pid = await run.engine()
    assert Path(os.readlink(f"/proc/{pid}/exe")).name == "nexthos-engine"
    assert Path(os.readlink(f"/proc/{pid}/cwd")) == rig.folder
    assert environ_of(pid) == {
        "PATH": os.environ["PATH"],
        "HOME": str(rig.tmp_path),
        "LANG": "C",
        "SSL_CERT_DIR": "/etc/ssl/certs",
        "NATS_URL": rig.url,
        "NEXTHOS_PIPELINE": "orders",
        "NEXTHOS_VERSION": "1",
        "NEXTHOS_REPLICA": "2",
        "REGION": "eu",
        "TZ": "UTC",
    }
    assert not creds.exists()
    entry = run.lines()[0]
    assert (entry["pipeline"], entry["version"], entry["replica"]) == ("orders", "1", "2")


async def test_no_signal_is_ignored_or_blocked_in_the_engine(rig):
    # Go sets handlers of its own, so a plain program shows what it was given.
    rig.keep(b"")
    engine = rig.program("bento", "#!/bin/sh\ncat /proc/self/status\n")
    run = await rig.start(NEXTHOS_ENGINE=str(engine), NEXTHOS_DIGEST=digest_of(b""))
    assert await run.ended() == 0
    given = {
        k: int(v, 16)
        for k, v in (line.split(":\t") for line in run.text().splitlines())
        if k in ("SigIgn", "SigBlk")
    }
    assert {k: v & ~GLIBCS for k, v in given.items()} == {"SigIgn": 0, "SigBlk": 0}


async def test_no_file_of_ours_stays_open_in_the_engine(rig, store):
    await store.configs.put("orders", "1", b"")
    engine = rig.program("bento", "#!/bin/sh\nls /proc/self/fd\n")
    run = await rig.start(NEXTHOS_ENGINE=str(engine))
    assert await run.ended() == 0
    assert run.text().split() == ["0", "1", "2", "3"]  # 3 is the folder that ls reads


async def test_what_a_user_lets_be_ignored_stays_so(rig):
    rig.keep(b"")
    engine = rig.program("bento", "#!/bin/sh\ncat /proc/self/status\n")
    environ = rig.environ(NEXTHOS_ENGINE=str(engine), NEXTHOS_DIGEST=digest_of(b""))
    process = await asyncio.create_subprocess_exec(
        "nohup",
        Path(sys.executable).parent / "nexthos-runner",
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    out, _ = await process.communicate()
    [ignored] = [line for line in out.decode().splitlines() if line.startswith("SigIgn")]
    assert int(ignored.split()[1], 16) & ~GLIBCS == 1 << (signal.SIGHUP - 1)


async def test_no_secret_stands_in_argv(rig, store, tick):
    await store.configs.put("orders", "1", tick)
    secret = ANYBODYS
    url = rig.url.replace("nats://", f"nats://anybody:{secret}@")
    run = await rig.start(NEXTHOS_STORE_URL=url, NEXTHOS_ENV=json.dumps({"TOKEN": secret}))
    pid = await run.engine()
    assert secret not in " ".join(argv_of(pid))
    assert [name for name, value in environ_of(pid).items() if secret in value] == ["TOKEN"]


async def test_the_overlay_is_there_and_http_is_ours(rig, store, tick):
    await store.configs.put("orders", "1", tick)
    address = f"127.0.0.1:{free_port()}"
    run = await rig.start(
        NEXTHOS_HTTP_ADDRESS=address, NEXTHOS_HTTP_PASSWORD=PASSWORD, NEXTHOS_STOP_TIMEOUT="7"
    )
    pid = await run.engine()
    await eventually_ready(f"http://{address}", PASSWORD)
    argv = argv_of(pid)
    assert PASSWORD not in " ".join(argv)
    assert argv[-2:] == ["-c", str(rig.config)]
    assert "shutdown_timeout=5000ms" in argv
    assert "process_" in await scrape(f"http://{address}", PASSWORD)
    run.signal(signal.SIGTERM)
    assert await run.ended() == 0
    assert "input_received" in (rig.folder / "metrics.prom").read_text()


async def eventually_ready(endpoint, password):
    async def ready():
        return await is_ready(endpoint, password) == "ready"

    await eventually(ready, within=20)


@pytest.mark.parametrize(
    ("told", "text", "expected"),
    [
        (None, "input: {}", True),
        (None, "metrics: {none: {}}", False),
        (None, '{"m\\u0065trics": {}}', False),
        ("yes", "metrics: {prometheus: {}}", True),
        ("no", "input: {}", False),
    ],
)
def test_metrics_are_ours_where_the_bytes_surely_leave_them(tmp_path, told, text, expected):
    given = settings.read(
        {"NEXTHOS_PIPELINE": "orders", "NEXTHOS_VERSION": "1", "NEXTHOS_METRICS": told or ""}
    )
    engine = launch.Engine(Path("/bin/bento"), EngineProfile("bento"))
    argv = launch.engine_argv(engine, given, Folder(tmp_path), text.encode())
    assert any("metrics.prometheus" in word for word in argv) is expected


async def test_kept_bytes_run_without_nats(alone, tick):
    digest = alone.keep(tick)
    inode = alone.config.stat().st_ino
    creds = alone.folder / "store.creds"
    creds.write_text("put here again before each start, and not read")
    run = await alone.start(NEXTHOS_DIGEST=digest, NEXTHOS_STORE_CREDS=str(creds))
    await run.engine()
    assert alone.config.stat().st_ino == inode
    assert not creds.exists()


async def test_damaged_kept_bytes_are_fetched_anew(rig, store, tick):
    await store.configs.put("orders", "1", tick)
    rig.keep(tick[:-5])
    run = await rig.start(NEXTHOS_DIGEST=digest_of(tick))
    await run.engine()
    assert rig.config.read_bytes() == tick


@pytest.mark.fault(67)
async def test_damaged_kept_bytes_do_not_run_where_nats_is_away(alone, tick):
    alone.keep(tick[:-5])
    run = await alone.start(NEXTHOS_DIGEST=digest_of(tick))
    assert await run.ended() == Exit.AWAY


async def test_without_a_pinned_digest_kept_bytes_do_not_count(rig, store, tick):
    await store.configs.put("orders", "1", tick)
    rig.keep(b"input: {stdin: {}}\n")
    await (await rig.start()).engine()
    assert rig.config.read_bytes() == tick


@pytest.mark.parametrize("engine", ["/no/such/engine", "no-such-engine", "/etc/hostname", "/tmp"])
async def test_an_engine_that_is_not_there_is_named(alone, tick, engine):
    digest = alone.keep(tick)
    run = await alone.start(NEXTHOS_ENGINE=engine, NEXTHOS_DIGEST=digest)
    assert await run.ended() == Exit.NO_ENGINE
    assert engine in run.errors()[0]


@pytest.mark.parametrize("lifecycle", ["service", "job"])
async def test_an_engine_that_is_no_program_is_named(alone, tick, lifecycle):
    digest = alone.keep(tick)
    engine = alone.program("bento", "\x7fELF nonsense")
    run = await alone.start(
        NEXTHOS_ENGINE=str(engine), NEXTHOS_DIGEST=digest, NEXTHOS_LIFECYCLE=lifecycle
    )
    assert await run.ended() == Exit.NO_ENGINE
    [line] = run.lines()
    assert str(engine) in line["msg"]
    assert (line["pipeline"], line["version"], line["replica"]) == ("orders", "1", "0")


async def test_a_binary_of_another_name_is_asked_what_it_is(alone, tick):
    digest = alone.keep(tick)
    says = (
        '#!/bin/sh\n[ "$1" = --help ] && { echo \'Run Redpanda Connect in x\'; exit; }\necho "$@"\n'
    )
    engine = alone.program("mine", says)
    run = await alone.start(NEXTHOS_ENGINE=str(engine), NEXTHOS_DIGEST=digest)
    assert await run.ended() == 0
    assert run.text().startswith("run --disable-telemetry -s ")
    engine = alone.program("other", "#!/bin/sh\necho hello\n")
    run = await alone.start(NEXTHOS_ENGINE=str(engine), NEXTHOS_DIGEST=digest)
    assert await run.ended() == Exit.NO_ENGINE


async def test_credentials_of_the_engine_that_are_missing_are_told_before_it_starts(alone, tick):
    digest = alone.keep(tick)
    run = await alone.start(NEXTHOS_DIGEST=digest, NATS_CREDS="/no/such.creds")
    assert await run.ended() == Exit.SETTINGS
    assert "/no/such.creds" in run.errors()[0]


async def test_one_credentials_file_for_both_stays_and_is_handed_on(
    fresh_nats: NatsServer, rig, tick
):
    rig.keep(tick)
    creds = rig.folder / "both.creds"
    creds.write_text("x")
    run = await rig.start(
        NEXTHOS_DIGEST=digest_of(tick), NATS_CREDS=str(creds), NEXTHOS_STORE_CREDS=str(creds)
    )
    assert environ_of(await run.engine())["NATS_CREDS"] == str(creds)
    assert creds.exists()
