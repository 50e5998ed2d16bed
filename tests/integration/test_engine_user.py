"""Engines that run as another user than the controller: what a pipeline's author reaches, and what not.

The pipelines here do what an author can: real engines read files, and say what they got or why not.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from nexthos_testing.controller import (
    CONTROLLER,
    ControllerProcess,
    controller_process,
    engine_processes,
    kill_leftovers,
)
from nexthos_testing.field import Field, field_of
from nexthos_testing.nats import NatsServer
from nexthos_testing.wait import eventually

USER, OTHER = 64_017, 64_018  # nobody's numbers
SECRET = "pw-3b41f6d2c9"
AMBIENT = "+setuid,+setgid,+kill,+chown,+dac_override,+sys_ptrace"
TICK = "input: {generate: {interval: 100ms, mapping: root = 1}}\noutput: {drop: {}}\n"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become other users")


def reader(paths: dict[str, Path]) -> str:
    """A configuration that says of each file what it holds, or why it can't be read."""
    lines = [
        f'          root.{name} = file("{path}", true).string().catch(err -> "refused: " + err)'
        for name, path in paths.items()
    ]
    return "\n".join(
        [
            "input: {generate: {interval: 100ms, mapping: 'root = {}'}}",
            "pipeline:",
            "  processors:",
            "    - mapping: |",
            *lines,
            "output: {stdout: {}}",
            "",
        ]
    )


def as_user(uid: int, *command: str | Path, ambient: str = "") -> tuple[str | Path, ...]:
    """Argv that runs `command` as that user, with these capabilities and no others."""
    gains = [f"--inh-caps={ambient}", f"--ambient-caps={ambient}"] if ambient else []
    return ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *gains, *command)


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A folder that every user gets through, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="nexthos-test-"))
    folder.chmod(0o711)
    yield folder
    kill_leftovers(folder)
    shutil.rmtree(folder)


@asynccontextmanager
async def context(
    server: NatsServer, namespace: str, folder: Path, **environ: str
) -> AsyncIterator[tuple[ControllerProcess, Field]]:
    """A controller with a secret in its environment, and a user of its namespace."""
    async with (
        controller_process(
            server.url, namespace, folder / "state", MY_SECRET=SECRET, **environ
        ) as controller,
        field_of(server.url, namespace) as field,
    ):
        yield controller, field


async def said(
    field: Field, controller: ControllerProcess, key: str, executor: str
) -> dict[str, str]:
    """The first line of output of a pipeline that reads."""

    def line() -> dict[str, str] | None:
        logs = "engine.log" if executor == "process" else "output.log"
        for log in controller.state_dir.glob(f"*/*/{logs}"):
            for text in log.read_text().splitlines():
                if text.startswith("{") and "level" not in json.loads(text):
                    return {k: str(v) for k, v in json.loads(text).items()}
        return None

    await field.put(key, executor=executor)
    await field.reaches(key, "Running")
    found: dict[str, str] = await eventually(line, within=30.0)
    return found


def uids_of(pids: list[int]) -> set[int]:
    """Real and effective users of all of them."""
    found = set()
    for pid in pids:
        status = Path(f"/proc/{pid}/status").read_text()
        found |= {int(n) for n in status.partition("\nUid:")[2].split("\n")[0].split()}
    return found


@pytest.mark.parametrize("executor", ["process", "streams"])
@pytest.mark.fault(112)
async def test_an_engine_of_another_user_reads_nothing_of_the_controller(
    nats_server, namespace, open_path, executor
):
    creds = open_path / "controller.creds"
    creds.write_text(SECRET)
    creds.chmod(0o600)
    settings = open_path / "settings.yaml"
    settings.write_text("executors: {process: {}, streams: {}}\n")
    environ = {"NEXTHOS_ENGINE_USER": str(USER), "NEXTHOS_CONFIG": str(settings)}
    async with context(nats_server, namespace, open_path, **environ) as (controller, field):
        await field.config("other", TICK)
        await field.put("other", env={"PASSWORD": SECRET})
        await eventually(lambda: engine_processes(controller.state_dir), within=20.0)
        [folder] = (controller.state_dir / "executions").iterdir()
        assert controller.process is not None
        pid = controller.process.pid
        paths = {n: Path(f"/proc/{pid}/{n}") for n in ("environ", "maps", "mem", "auxv")}
        paths |= {"fd": Path(f"/proc/{pid}/fd/0"), "cwd": Path(f"/proc/{pid}/cwd/place")}
        files = ("handle.json", "prepared.json", "password")
        paths |= {name.replace(".", "_"): folder / name for name in files}
        paths |= {"log": folder / "engine.log", "creds": creds, "all": Path("/etc/passwd")}
        await field.config("spy", reader(paths))
        got = await said(field, controller, "spy", executor)

        assert not got.pop("all").startswith("refused")  # it does read what everybody may
        assert {name: text[:8] for name, text in got.items()} == dict.fromkeys(got, "refused:")
        engines = list(engine_processes(controller.state_dir))
        assert uids_of(engines) == {USER}
        for engine in engines:
            status = Path(f"/proc/{engine}/status").read_text()
            assert "\nNoNewPrivs:\t1\n" in status
            assert "\nCapPrm:\t0000000000000000\n" in status
            assert not status.partition("\nGroups:")[2].split("\n")[0].strip()


async def test_it_starts_stops_ends_and_is_adopted_as_any_other(nats_server, namespace, open_path):
    async with context(
        nats_server, namespace, open_path, NEXTHOS_ENGINE_USER=f"{USER}:{OTHER}"
    ) as (
        controller,
        field,
    ):
        await field.config("orders", TICK)
        await field.put("orders")
        await field.reaches("orders", "Running")
        before = engine_processes(controller.state_dir)
        await controller.kill()
        await controller.start()
        await field.reaches("orders", "Running")

        assert engine_processes(controller.state_dir) == before
        await field.put("orders", status="paused")
        await field.reaches("orders", "Paused")
        assert not engine_processes(controller.state_dir)
        [folder] = (controller.state_dir / "executions").iterdir()
        assert (folder / "exit").read_text().startswith("0 ")
        assert "input_received" in (folder / "work" / "metrics.prom").read_text()
        await field.delete("orders")
        await eventually(lambda: not list((controller.state_dir / "executions").iterdir()))


@pytest.mark.parametrize("gains", ["", AMBIENT], ids=["no rights", "as systemd gives them"])
@pytest.mark.fault(112)
async def test_a_controller_that_is_not_root_is_closed_to_engines(
    nats_server, namespace, open_path, gains
):
    (open_path / "state").mkdir()
    for folder in (open_path, open_path / "state"):
        os.chown(folder, OTHER, OTHER)
    environ = {"NEXTHOS_ENGINE_USER": str(USER)} if gains else {}
    controller = ControllerProcess(
        nats_server.url,
        namespace,
        open_path / "state",
        {"HOME": str(open_path), "MY_SECRET": SECRET, **environ},
        command=as_user(OTHER, CONTROLLER, ambient=gains),
    )
    try:
        await controller.start()
        async with field_of(nats_server.url, namespace) as field:
            assert controller.process is not None
            pid = controller.process.pid
            names = ("environ", "mem", "maps", "auxv")
            paths = {name: Path(f"/proc/{pid}/{name}") for name in names}
            paths["fd"] = Path(f"/proc/{pid}/fd/0")
            await field.config("spy", reader(paths))
            got = await said(field, controller, "spy", "process")

            assert {name: text[:8] for name, text in got.items()} == dict.fromkeys(got, "refused:")
            assert uids_of(list(engine_processes(controller.state_dir))) == {
                USER if gains else OTHER
            }
            for engine in engine_processes(controller.state_dir):
                status = Path(f"/proc/{engine}/status").read_text()
                for kind in ("Prm", "Eff", "Amb"):
                    assert f"\nCap{kind}:\t0000000000000000\n" in status
            await field.put("spy", status="paused")
            await field.reaches("spy", "Paused")
            assert not engine_processes(controller.state_dir)
            await field.delete("spy")
            await eventually(lambda: not list((controller.state_dir / "executions").iterdir()))
    finally:
        if controller.running:
            await controller.kill()


@pytest.mark.fault(112)
async def test_engines_of_a_range_of_users_are_closed_to_one_another(
    nats_server, namespace, open_path
):
    environ = {"NEXTHOS_ENGINE_USER": f"{USER}-{USER + 9}:{OTHER}"}
    async with context(nats_server, namespace, open_path, **environ) as (controller, field):
        await field.config("other", TICK)
        await field.put("other", env={"PASSWORD": SECRET})
        await field.reaches("other", "Running")
        [folder] = (controller.state_dir / "executions").iterdir()
        [pid] = engine_processes(controller.state_dir)
        shim = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        paths = {n: Path(f"/proc/{pid}/{n}") for n in ("environ", "maps", "mem")}
        paths |= {"shim": Path(f"/proc/{shim}/environ")}
        paths |= {n: folder / f for n, f in (("config", "config.yaml"), ("exit", "exit"))}
        await field.config("spy", reader(paths))
        got = await said(field, controller, "spy", "process")

        assert {name: text[:8] for name, text in got.items()} == dict.fromkeys(got, "refused:")
        users = uids_of(list(engine_processes(controller.state_dir)))
        assert users == {USER, USER + 1}
        await controller.kill()
        await controller.start()
        await field.put("spy", status="paused", executor="process")
        await field.reaches("spy", "Paused")
        await field.config("third", TICK)
        await field.put("third")
        await field.reaches("third", "Running")
        await field.put("spy", executor="process")
        await field.reaches("spy", "Running")  # as who it was: its folder is that user's
        users = uids_of(list(engine_processes(controller.state_dir)))
        assert users == {USER, USER + 1, USER + 2}


@pytest.mark.fault(111)
async def test_nobody_posts_into_an_http_server_by_what_everybody_sees(
    nats_server, namespace, tmp_path
):
    """As an attacker did: the command line, and the port that it names, are readable by everyone."""
    config = "input: {http_server: {path: /post}}\noutput: {drop: {}}\n"
    async with context(nats_server, namespace, tmp_path) as (controller, field):
        await field.config("web", config)
        await field.put("web")
        await field.reaches("web", "Running")
        [pid] = engine_processes(controller.state_dir)
        shim = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        seen = [
            Path(f"/proc/{p}/cmdline").read_bytes().replace(b"\0", b"\n").decode()
            for p in (pid, shim)
        ]
        [folder] = (controller.state_dir / "executions").iterdir()
        password = (folder / "password").read_text()
        assert len(password) == 32
        assert not [text for text in seen if password in text or "root_path" in text]
        port = seen[0].partition("http.address=127.0.0.1:")[2].split("\n")[0]
        words = {word for text in seen for word in re.findall(r"[^\s\"=:,]{8,}", text)}
        words |= {"", "/post"} | {f"/{w.strip('/')}/post" for w in words}
        script = (
            "import sys, http.client as h\n"
            "for path in sys.stdin.read().split():\n"
            "    c = h.HTTPConnection('127.0.0.1', int(sys.argv[1]), timeout=5)\n"
            "    c.putrequest('POST', path, skip_accept_encoding=True)\n"
            "    c.putheader('Content-Length', '2'); c.endheaders(b'hi')\n"
            "    print(c.getresponse().status)\n"
        )
        asked = await asyncio.to_thread(
            subprocess.run,
            as_user(OTHER, "/usr/bin/env", "python3", "-c", script, port),
            input="\n".join(w for w in words if w.startswith("/")),
            capture_output=True,
            text=True,
            check=True,
        )
        answers = set(asked.stdout.split())
        assert answers <= {"301", "401", "404"}
        assert "401" in answers
        assert await field.phase("web") == "Running"
