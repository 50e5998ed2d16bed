"""Where the logs of process executions on this machine are, and what stands in them.

Comes in: a status, the environment. Goes out: files that exist, and a sentence for each execution whose
log is elsewhere. The folder is the controller's: `<state>/executions/<name>/engine.log`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nexthos_controller.executors.process.logfile import Follower, last_lines
from nexthos_shared.models import ExecutionReport

EVERYTHING = 1_000_000_000  # lines


@dataclass(frozen=True, slots=True)
class LocalLog:
    """The log of one execution on this machine."""

    execution: str
    path: Path

    def lines(self, tail: int | None) -> tuple[list[str], int]:
        """The last lines, and where in the file they end."""
        raw, end = last_lines(self.path, EVERYTHING if tail is None else tail, whole=False)
        return [line.decode("utf-8", "replace") for line in raw], end


def find_logs(
    executions: Sequence[ExecutionReport],
    environ: Mapping[str, str],
    namespace: str,
    installation: str,
) -> tuple[list[LocalLog], list[str]]:
    """Logs that are here, and what to do about those that are not."""
    found, elsewhere = [], []
    for execution in executions:
        path = _find(execution.name, environ, f"{namespace}-{installation}")
        if path is not None:
            found.append(LocalLog(execution.name, path))
        else:
            elsewhere.append(_elsewhere(execution))
    return found, elsewhere


def _find(name: str, environ: Mapping[str, str], installation: str) -> Path | None:
    base = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME", "/")) / ".local/state")
    below = Path("executions") / name / "engine.log"
    states = Path(base) / "nexthos"
    named = environ.get("NEXTHOS_STATE_DIR")
    wanted = ([Path(named)] if named else []) + [states / installation]
    for folder in wanted:
        if (folder / below).is_file():
            return folder / below
    # A controller may have a state folder of its own, as the one of `nexthos dev` has.
    return next((p for depth in ("*", "*/*") for p in states.glob(f"{depth}/{below}")), None)


def _elsewhere(execution: ExecutionReport) -> str:
    what = f"{execution.name} ({execution.state}) is at {execution.executor} {execution.place}"
    match execution.executor:
        case "process" | "streams":
            return (
                f"{what}, and no state folder here has its log: run `nexthos logs` on that machine, as "
                "the controller's user, or name the folder with NEXTHOS_STATE_DIR"
            )
        case "docker":
            return f"{what}: `docker logs {execution.name}`"
        case "kubernetes":
            return f"{what}: `kubectl logs -l app.kubernetes.io/instance={execution.name}`"
        case _:
            return f"{what}: read its log there"


async def follow(
    logs: Sequence[LocalLog],
    ends: Mapping[str, int],
    pipeline: str,
    say: Callable[[str, str], None],
) -> None:
    """Pass on (execution, line) as lines come, until all executions are gone."""

    async def one(log: LocalLog) -> None:
        follower = Follower(log.path, ends[log.execution], pipeline)
        async for line in follower.follow(log.path.exists):
            say(log.execution, line.text)

    await asyncio.gather(*(one(log) for log in logs))
