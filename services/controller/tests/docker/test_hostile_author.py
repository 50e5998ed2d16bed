"""An author who may write a definition, and files in the container's folder: the runner stays out of reach.

The runner holds the credentials of the store while it starts, in the same folder and under the same user as
the engine before it; so what the engine left there, and what the definition says, counts only afterwards.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from nexthos_controller.execution import Execution, Spec
from nexthos_controller.executors.docker import DockerExecutor
from nexthos_controller.settings import ConnectionSettings
from nexthos_shared import names
from nexthos_testing.credentials import Operator
from nexthos_testing.docker_rig import FOLDER, DockerRig
from nexthos_testing.wait import eventually

TRACE = f"{FOLDER}/loaded"
# What it is loaded into says who that is.
LIBRARY = f"""\
#include <fcntl.h>
#include <unistd.h>
__attribute__((constructor)) static void loaded(void) {{
  char argv[4096];
  int from = open("/proc/self/cmdline", O_RDONLY), to;
  ssize_t size = from < 0 ? -1 : read(from, argv, sizeof argv - 1);
  to = open("{TRACE}", O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (size <= 0 || to < 0) return;
  for (ssize_t n = 0; n < size; n++) if (argv[n] == 0) argv[n] = ' ';
  argv[size++] = '\\n';
  if (write(to, argv, size)) {{}}
  close(from);
  close(to);
}}
"""
MODULE = f"import sys; open('{TRACE}', 'a').write('module ' + ' '.join(sys.argv) + '\\n')\n"
MODULES = ("nexthos_runner", "sitecustomize", "usercustomize", "json", "nkeys", "ssl", "encodings")
PROGRAM = f'#!/bin/sh\necho "program $0 $*" >> {TRACE}\nexit 1\n'
PROGRAMS = ("nexthos-engine", "python", "python3", "sh", "ldconfig", "gcc")
ENV = {
    "LD_PRELOAD": f"{FOLDER}/x.so",
    "LD_LIBRARY_PATH": FOLDER,
    "LD_AUDIT": f"{FOLDER}/x.so",
    "GCONV_PATH": FOLDER,
    "PATH": f"{FOLDER}:/usr/local/bin:/usr/bin:/bin",
    "PYTHONPATH": FOLDER,
    "PYTHONHOME": FOLDER,
    "PYTHONSTARTUP": f"{FOLDER}/json.py",
    "PYTHONINSPECT": "1",
    "HOME": f"{FOLDER}/home",
    "TMPDIR": FOLDER,
    "HTTPS_PROXY": "http://127.0.0.1:1",
    "SSL_CERT_FILE": f"{FOLDER}/ca.pem",
    "OPENSSL_CONF": f"{FOLDER}/openssl.cnf",
    "GODEBUG": "inittrace=1",
    "NATS_URL": "nats://127.0.0.1:2",
    "NATS_CREDS": f"{FOLDER}/store.creds",
}


def put(rig: DockerRig, execution: Execution, *entries: tuple[tarfile.TarInfo, bytes]) -> None:
    """Files of any kind in its folder, as its own user makes them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for entry, content in entries:
            entry.uid = entry.gid = 10001
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    assert rig.hands.api.put_archive(execution.name, FOLDER, buffer.getvalue())


def regular(name: str, content: bytes | str, mode: int = 0o755) -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.mode = mode
    return entry, content.encode() if isinstance(content, str) else content


def odd(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.mode = kind, target, 0o755
    return entry, b""


def read(rig: DockerRig, execution: Execution, name: str) -> str:
    """What its user reads there; empty if there is nothing."""
    made = rig.hands.api.exec_create(execution.name, ["cat", f"{FOLDER}/{name}"], stderr=False)
    return str(rig.hands.api.exec_start(made["Id"]).decode())


async def ended(rig: DockerRig, spec: Spec) -> Execution:
    async def stopped() -> Execution | None:
        seen = await rig.seen(spec)
        return seen if seen.state == "stopped" else None

    found = await eventually(stopped, within=30.0)
    assert isinstance(found, Execution)
    return found


async def begun(rig: DockerRig, spec: Spec) -> None:
    async def ready() -> bool:
        seen = await rig.seen(spec)
        assert seen.state == "running", seen
        return seen.ready is True

    await eventually(ready, within=30.0)


@pytest.fixture
def guarded(docker_rig: DockerRig, tmp_path: Path) -> DockerRig:
    """Runners get credentials for the store."""
    creds = tmp_path / "runner.creds"
    Operator().user(creds)  # the rig's server asks for none, and does not mind
    executor = docker_rig.executor
    assert isinstance(executor, DockerExecutor)
    store = executor.settings.store
    assert store is not None
    given = ConnectionSettings(url=store.url, creds=creds)
    executor.settings = executor.settings.model_copy(update={"store": given})
    return docker_rig


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc")
    folder = tmp_path_factory.mktemp("library")
    (folder / "x.c").write_text(LIBRARY)
    argv = ["gcc", "-shared", "-fPIC", "-nostdlib", "-o", "x.so", "x.c", "-lc"]
    subprocess.run(argv, cwd=folder, check=True, capture_output=True)
    return (folder / "x.so").read_bytes()


@pytest.mark.fault(93)
@pytest.mark.parametrize("lifecycle", ["service", "job"])
async def test_no_variable_and_no_file_of_an_author_is_obeyed_before_the_engine(
    guarded: DockerRig, library: bytes, lifecycle: str
) -> None:
    spec = guarded.spec(behaviour="puppet", env=ENV, lifecycle=lifecycle)
    execution = await guarded.executor.start(spec, 0)
    await begun(guarded, spec)
    files = [regular("x.so", library)]
    files += [regular(f"{module}.py", MODULE) for module in MODULES]
    files += [regular(program, PROGRAM) for program in PROGRAMS]
    files += [regular("openssl.cnf", "nonsense"), regular("ca.pem", "nonsense")]
    put(guarded, execution, *files)
    guarded.order(execution, "exit 1")  # a crash: the runner starts where these files are
    await ended(guarded, spec)
    await guarded.executor.start(spec, 0)
    await begun(guarded, spec)
    traces = read(guarded, execution, "loaded").splitlines()
    # The engine has them all: so the library does work, and the variables have come.
    assert [line for line in traces if "puppet" in line]
    assert [line for line in traces if "puppet" not in line] == []
    listed = read(guarded, execution, "../../proc/1/environ").split("\0")
    there = {pair.partition("=")[0]: pair.partition("=")[2] for pair in listed if pair}
    assert json.loads(there["NEXTHOS_ENV"]) == ENV
    assert not [name for name, value in ENV.items() if there.get(name) == value]


@pytest.mark.fault(93)
async def test_what_an_author_puts_in_place_of_our_files_is_neither_read_nor_written_through(
    guarded: DockerRig,
) -> None:
    spec = guarded.spec(behaviour="puppet")
    execution = await guarded.executor.start(spec, 0)
    await begun(guarded, spec)
    config = guarded.configs[spec.digest]
    link, fifo, folder = tarfile.SYMTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE
    for kinds in (
        [odd(n, link, "victim") for n in ("config.yaml", "store.creds", "metrics.prom")],
        [odd("config.yaml", fifo), odd("store.creds", fifo), odd("metrics.prom", fifo)],
        [odd("store.creds", folder), odd(".config.yaml.new", link, "victim")],
        [regular("config.yaml", b'{"exit": 9}'), regular("store.creds", "theirs")],
        [odd("config.yaml", link, "/etc/passwd"), odd("store.creds", link, "/proc/self/mem")],
    ):
        guarded.order(execution, "exit 1")
        await ended(guarded, spec)
        put(guarded, execution, regular("victim", "untouched", 0o600), *kinds)
        await guarded.executor.start(spec, 0)
        await begun(guarded, spec)
        assert read(guarded, execution, "victim") == "untouched"
        assert read(guarded, execution, "config.yaml").encode() == config
        made = guarded.hands.api.exec_create(execution.name, ["ls", "-A", FOLDER])
        there = guarded.hands.api.exec_start(made["Id"]).decode().split()
        assert "store.creds" not in there
        assert names.digest_of(config) == spec.digest


@pytest.mark.fault(93)
async def test_metrics_that_are_no_file_or_have_no_end_are_none(guarded: DockerRig) -> None:
    spec = guarded.spec(behaviour="puppet")
    execution = await guarded.executor.start(spec, 0)
    await begun(guarded, spec)
    guarded.order(execution, "exit 1")
    stopped = await ended(guarded, spec)
    assert await guarded.executor.metrics(stopped) == "puppet_ended 1\n"
    for kind, target in ((tarfile.SYMTYPE, "/etc/passwd"), (tarfile.FIFOTYPE, "")):
        put(guarded, execution, odd("metrics.prom", kind, target))
        assert await guarded.executor.metrics(stopped) == ""
    await guarded.executor.start(spec, 0)
    await begun(guarded, spec)
    guarded.hands.run_in(execution.name, f"truncate -s 1T {FOLDER}/endless")
    guarded.order(execution, "exit 1")
    stopped = await ended(guarded, spec)
    put(guarded, execution, odd("metrics.prom", tarfile.LNKTYPE, "endless"))
    assert await guarded.executor.metrics(stopped) == ""
