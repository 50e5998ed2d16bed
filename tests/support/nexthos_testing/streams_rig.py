"""The rig of the streams executor: hosts with real or puppet engines, and what is done to them by hand."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Self

import pytest

from nexthos_controller.execution import Execution, Owner
from nexthos_controller.executors.contract import LocalContext, ReplicaExecutor
from nexthos_controller.executors.local import ending, processes
from nexthos_controller.executors.streams import StreamsExecutor, endings, watch
from nexthos_controller.executors.streams.api import USER
from nexthos_testing import puppet_host
from nexthos_testing.process_rig import disk_full, pids_below
from nexthos_testing.rig import Rig

OBEYED_WITHIN = 5.0  # seconds


def ask_host(host: dict[str, Any], path: str, method: str = "GET") -> Any:
    """A question to the host of that host.json, by hand; None if there is no answer."""
    url = f"http://127.0.0.1:{host['port']}{host['token']}{path}"
    basic = base64.b64encode(f"{USER}:{host['password']}".encode()).decode()
    asked = urllib.request.Request(url, None, {"Authorization": f"Basic {basic}"}, method=method)
    with suppress(OSError, ValueError), urllib.request.urlopen(asked, timeout=2) as answer:
        body = answer.read()
        return json.loads(body) if body.startswith(b"{") else body.decode()
    return None


class StreamsRig(Rig):
    """Real hosts."""

    kind = "streams"
    refuses_bytes = True

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.options: dict[str, Any] = {}

    async def __aenter__(self) -> Self:
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(watch, "LAST_PAUSE", 0.1)  # 2 s in earnest: a test would take as long
        return await super().__aenter__()

    async def __aexit__(self, *reason: object) -> None:
        await super().__aexit__(*reason)
        self._patch.undo()

    async def set_up(self) -> None:
        call = f"exec '{sys.executable}' -IS '{puppet_host.__file__}'"
        self.engine.write_text(f'#!/bin/sh\nunset PWD OLDPWD SHLVL\n{call} "$@"\n')
        self.engine.chmod(0o700)

    def context(self, owner: Owner | None = None) -> LocalContext:
        given = super().context(owner)
        return LocalContext(
            owner=given.owner,
            fetch=given.fetch,
            engines=given.engines,
            connections=given.connections,
            state_dir=given.state_dir,
            guard=given.guard,
            options=self.options,
        )

    def make(self, owner: Owner | None = None) -> ReplicaExecutor:
        return StreamsExecutor(self.context(owner))

    @property
    def root(self) -> Path:
        return self.folder / "state" / "streams"

    @property
    def hosts_root(self) -> Path:
        return self.folder / "state" / "hosts"

    # ---- hosts

    def hosts(self) -> dict[Path, dict[str, Any]]:
        """Folders of hosts that run, and what is stored of them."""
        found = {}
        living = set(pids_below(self.hosts_root))
        for folder in self.hosts_root.glob("[0-9]*"):
            with suppress(OSError):
                handle = json.loads((folder / "host.json").read_bytes())
                if handle["pid"] in living:
                    found[folder] = handle
        return found

    def ask(self, host: dict[str, Any], path: str, method: str = "GET") -> Any:
        """A question to a host, by hand; None if there is no answer."""
        return ask_host(host, path, method)

    def streams(self) -> dict[str, list[int]]:
        """Numbers of the hosts in which a stream of that name is active."""
        found: dict[str, list[int]] = {}
        for host in self.hosts().values():
            for name, info in (self.ask(host, "/streams") or {}).items():
                if info["active"]:
                    found.setdefault(name, []).append(host["number"])
        return found

    def host_of(self, execution: Execution) -> tuple[Path, dict[str, Any]]:
        """The host that an execution's uid names."""
        pid = int(execution.uid.partition("-")[0])
        return next((f, h) for f, h in self.hosts().items() if h["pid"] == pid)

    # ---- acts

    def alive(self, name: str) -> int:
        return len(self.streams().get(name, []))

    def order(self, execution: Execution, words: str) -> None:
        folder, _ = self.host_of(execution)
        with (folder / f"orders-{execution.name}").open("a") as orders:
            orders.write(f"{words}\n")

    def finish(self, execution: Execution, code: int) -> None:
        self.order(execution, f"exit {code}")

    def kill(self, execution: Execution) -> None:
        os.killpg(self.host_of(execution)[1]["pid"], signal.SIGKILL)

    def signal(self, execution: Execution) -> None:
        os.killpg(self.host_of(execution)[1]["pid"], signal.SIGTERM)

    def connect(self, execution: Execution, ready: bool) -> None:
        self.order(execution, f"ready {int(ready)}")

    def say(self, execution: Execution, text: str, stream: Literal["log", "output"]) -> None:
        self.order(execution, f"{'log' if stream == 'log' else 'say'} {text}")

    def damage(self, execution: Execution) -> None:
        (self.root / execution.name / "config.yaml").write_text("nonsense")

    def occupy(self, name: str) -> None:
        (self.root / name).mkdir()
        (self.root / name / "precious").write_text("not ours")

    def untouched(self, name: str) -> bool:
        return [f.read_text() for f in (self.root / name).iterdir()] == ["not ours"]

    def traces(self, name: str) -> list[str]:
        folders = [str(path) for path in self.root.iterdir() if name in path.name]
        return folders + [f"host {number}" for number in self.streams().get(name, [])]

    def shown(self, execution: Execution) -> str:
        pids = pids_below(self.hosts_root)
        lines = (Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids)
        return b"\n".join(lines).replace(b"\0", b" ").decode()

    @contextmanager
    def immortal(self) -> Iterator[None]:
        self._order_all("immortal", True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(processes, "signal_group", lambda *_, **__: None)
            patch.setattr(processes, "signal_one", lambda *_, **__: None)
            patch.setattr(ending, "KILL_WITHIN", 0.1)
            patch.setattr(endings, "KILL_WITHIN", 0.1)
            yield
        self._order_all("immortal", False)

    def _order_all(self, what: str, value: bool) -> None:
        """Of every stream, and not before each has obeyed."""
        until = time.monotonic() + OBEYED_WITHIN
        for folder, host in self.hosts().items():
            for name in self.ask(host, "/streams") or {}:
                with (folder / f"orders-{name}").open("a") as orders:
                    orders.write(f"{what} {int(value)}\n")
            while any(s[what] != value for s in (self.ask(host, "/streams") or {}).values()):
                assert time.monotonic() < until, f"not every stream of {folder} is {what}={value}"
                time.sleep(0.01)

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        """Its folder can't be read: a file stands in its place."""
        away = self.root.with_name("away")
        self.root.rename(away)
        self.root.write_text("")
        yield
        self.root.unlink()
        away.rename(self.root)

    @contextmanager
    def refusing(self) -> Iterator[None]:
        with disk_full():
            yield

    def clean(self) -> None:
        for pid in pids_below(self.hosts_root):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder / "state", ignore_errors=True)
