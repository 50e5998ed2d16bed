"""The rig of the process executor: real processes, real engines, and what is done to them by hand."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, Self

import pytest

from nexthos_controller.execution import Execution, Owner
from nexthos_controller.executors.contract import ReplicaExecutor
from nexthos_controller.executors.local import ending, processes
from nexthos_controller.executors.process import ProcessExecutor
from nexthos_controller.executors.shared import probe
from nexthos_testing.rig import Rig


class ProcessRig(Rig):
    """Real processes, real engines."""

    kind = "process"

    async def __aenter__(self) -> Self:
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(probe, "LAST_PAUSE", 0.1)  # 5 s in earnest: a test would take as long
        return await super().__aenter__()

    async def __aexit__(self, *reason: object) -> None:
        await super().__aexit__(*reason)
        self._patch.undo()

    @property
    def root(self) -> Path:
        return self.folder / "state" / "executions"

    def make(self, owner: Owner | None = None) -> ReplicaExecutor:
        return ProcessExecutor(self.context(owner))

    def pids(self, name: str) -> dict[int, int]:
        """Leaders' PIDs by that of everything alive that names the folder, or lives in such a session."""
        return pids_below(self.root / name)

    def alive(self, name: str) -> int:
        return len(set(self.pids(name).values()))

    def order(self, execution: Execution, words: str) -> None:
        with (self.root / execution.name / "orders").open("a") as orders:
            orders.write(f"{words}\n")

    def finish(self, execution: Execution, code: int) -> None:
        self.order(execution, f"exit {code}")

    def kill(self, execution: Execution) -> None:
        os.killpg(leader(execution), signal.SIGKILL)

    def signal(self, execution: Execution) -> None:
        os.killpg(leader(execution), signal.SIGTERM)

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
        return [str(path) for path in self.root.iterdir() if name in path.name]

    def shown(self, execution: Execution) -> str:
        pids = self.pids(execution.name)
        lines = (Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids)
        return b"\n".join(lines).replace(b"\0", b" ").decode()

    @contextmanager
    def immortal(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(processes, "signal_group", lambda *_, **__: None)
            patch.setattr(processes, "signal_one", lambda *_, **__: None)
            patch.setattr(ending, "KILL_WITHIN", 0.1)
            yield

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
        for pid in pids_below(self.root):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder / "state", ignore_errors=True)


def leader(execution: Execution) -> int:
    """PID of a process execution's session."""
    return int(execution.uid.partition("-")[0])


def pids_below(folder: Path) -> dict[int, int]:
    """Sessions by PID of everything alive that names a path in `folder`, or lives in such a session."""
    found: dict[int, tuple[int, bool]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):
            line = (entry / "stat").read_text()
            fields = line[line.rindex(")") + 2 :].split()
            named = str(folder).encode() in (entry / "cmdline").read_bytes()
            if fields[0] != "Z" and int(entry.name) != os.getpid():
                found[int(entry.name)] = int(fields[3]), named
    sessions = {session for session, named in found.values() if named}
    return {pid: session for pid, (session, _) in found.items() if session in sessions}


@contextmanager
def disk_full() -> Iterator[None]:
    """No file may grow, as on a full disk: needs no disk of its own, and no root."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, kept)
