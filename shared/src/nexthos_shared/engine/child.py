"""Run a short-lived child that can neither hang, nor flood us, nor leave anything behind.

Comes in: argv, its whole environment, a time limit. Goes out: exit code and the beginning of what it
wrote. Must not know what the child is.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nexthos_shared.process.engine_user import EngineUser

KEPT_BYTES = 64 * 1024  # of stdout and of stderr; the rest is read and dropped


@dataclass(frozen=True, slots=True)
class Finished:
    """How a child ended by itself. `code` is negative if a signal ended it."""

    code: int
    stdout: str
    stderr: str


async def run_child(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    timeout: float,
    cwd: Path | None = None,
    user: EngineUser | None = None,
) -> Finished:
    """Run `argv` to its end, in a process group of its own, and as `user` if there is one.

    Raises TimeoutError after `timeout` seconds and OSError if it can't be started. On a timeout or a
    cancellation the whole group is killed and reaped before the exception goes on.
    """
    # A task of its own: asyncio's start, when it is cancelled itself, leaves the child running and may
    # never return (seen where the machine was busy).
    starting = asyncio.create_task(
        asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
            **(user.to_become() if user is not None else {}),
        )
    )
    try:
        process = await asyncio.shield(starting)
        async with asyncio.timeout(timeout):
            stdout, stderr = await _read_both(process)
            code = await process.wait()
    except BaseException:
        await asyncio.shield(_end(starting))
        raise
    return Finished(code, _text(stdout), _text(stderr))


async def _end(starting: asyncio.Task[asyncio.subprocess.Process]) -> None:
    try:
        process = await starting
    except OSError:
        return
    # The group still exists: its leader or somebody who holds its pipes is alive.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await _read_both(process)  # a transport that is never read to its end is never closed
    await process.wait()


async def _read_both(process: asyncio.subprocess.Process) -> tuple[bytes, bytes]:
    assert process.stdout is not None
    assert process.stderr is not None
    return await asyncio.gather(_beginning(process.stdout), _beginning(process.stderr))


async def _beginning(stream: asyncio.StreamReader) -> bytes:
    kept = bytearray()
    while chunk := await stream.read(KEPT_BYTES):
        kept += chunk[: KEPT_BYTES - len(kept)]
    return bytes(kept)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
