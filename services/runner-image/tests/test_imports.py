# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, no-warn-unreachable
"""The runner starts fast, and in an image that has little more than Python."""

import asyncio
import json
import os
import resource
import subprocess
import sys

import pytest

from nexthos_shared.names import digest_of
from nexthos_testing.nats import free_port

HEAVY = {"asyncio", "nats", "nkeys", "nacl", "ssl", "argparse", "subprocess", "tempfile", "logging"}
ABSENT = ("aiohttp", "nats", "prometheus_client", "pydantic", "ruamel", "structlog", "yaml")
BLOCKED = f"""
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocker())
import os, json
os.execve = lambda *given: (print(json.dumps(sorted(sys.modules)), flush=True), os._exit(0))
sys.argv = ["nexthos-runner"]
from nexthos_runner.main import main
sys.exit(main())
"""


def run(**environ):
    return subprocess.run(
        [sys.executable, "-I", "-c", BLOCKED],
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def given(tmp_path):
    return {
        "NEXTHOS_PIPELINE": "orders",
        "NEXTHOS_VERSION": "1",
        "NEXTHOS_DIR": str(tmp_path),
        "NEXTHOS_FETCH_WITHIN": "0",
    }


async def test_a_fetch_imports_nothing_heavy_and_nothing_that_an_image_lacks(
    store, rig, nats_server, given, tick
):
    await store.configs.put("orders", "1", tick)
    done = await asyncio.to_thread(
        run, **given, NATS_URL=nats_server.url, NEXTHOS_NAMESPACE=store.names.namespace
    )
    assert done.returncode == 0, done.stdout + done.stderr
    loaded = set(json.loads(done.stdout))
    assert not loaded & (HEAVY | set(ABSENT))
    assert "nexthos_runner.wire" in loaded


@pytest.mark.parametrize("lifecycle", ["service", "job"])
def test_a_resume_does_not_even_load_the_connection(given, tick, tmp_path, lifecycle):
    (tmp_path / "config.yaml").write_bytes(tick)
    done = run(**given, NEXTHOS_DIGEST=digest_of(tick), NEXTHOS_LIFECYCLE=lifecycle)
    assert done.returncode == 0, done.stdout + done.stderr
    loaded = set(json.loads(done.stdout))
    assert not loaded & (HEAVY | set(ABSENT) | {"socket", "nexthos_runner.wire"})


def test_what_goes_wrong_is_told_without_them_too(given):
    done = run(**given, NATS_URL=f"nats://127.0.0.1:{free_port()}")
    assert done.returncode == 69, done.stdout + done.stderr
    assert "Connection refused" in done.stdout


def test_the_jobs_parent_is_small():
    code = "import sys, nexthos_runner.job; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    ours = {name for name in done.stdout.split() if name.startswith("nexthos")}
    assert ours <= {"nexthos_runner", "nexthos_runner.job"}
    assert not set(done.stdout.split()) & (HEAVY | {"json", "re", "dataclasses"})


async def test_a_start_takes_less_than_a_tenth_of_a_second_of_cpu(
    store, rig, nats_server, given, tick, tmp_path
):
    # CPU and not time, and the best of several: what else the machine does is not ours.
    await store.configs.put("orders", "1", tick)
    engine = tmp_path / "bento"
    engine.write_text("#!/bin/sh\n")
    engine.chmod(0o755)
    environ = {
        **given,
        "PATH": os.environ["PATH"],
        "NATS_URL": nats_server.url,
        "NEXTHOS_NAMESPACE": store.names.namespace,
        "NEXTHOS_ENGINE": str(engine),
    }
    assert min([await asyncio.to_thread(cpu_of_a_start, environ) for _ in range(7)]) < 0.1


def cpu_of_a_start(environ):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-I", "-m", "nexthos_runner"], env=environ, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
