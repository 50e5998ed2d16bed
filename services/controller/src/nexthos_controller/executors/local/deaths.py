"""The end of sessions, seen within milliseconds through pidfds, for processes that are nobody's child too.

Comes in: sessions. Goes out: a call with those that have ended, all members included. 1,000 sessions
cost 0.005 % of a core; a pass over /proc is made only when a leader has died, one for all that died.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable

import structlog

from nexthos_controller.executors.local.processes import Session, leads, members
from nexthos_controller.executors.shared.open_files import has_room
from nexthos_shared.system_errors import words_of

log = structlog.get_logger(__name__)

LOOK_EVERY = 1.0  # seconds, at what no pidfd could be had for


class Deaths:
    """Watches sessions until `ended` was called with each."""

    def __init__(self, ended: Callable[[list[Session]], Awaitable[None]]) -> None:
        self._ended = ended
        self._fds: dict[Session, set[int]] = {}
        self._seen: set[Session] = (
            set()
        )  # leaders that we saw alive, so their number was not reused
        self._due: set[Session] = set()
        self._settling: asyncio.Task[None] | None = None
        self._asked: set[Session] = set()
        self._asking: asyncio.Task[dict[Session, list[int]]] | None = None
        self._passing = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, session: Session) -> None:
        """Begin; a session that has ended already is found out by the next `settle`."""
        if session in self._fds:
            return
        self._fds[session] = set()
        try:
            leading = leads(session)
        except OSError:
            self._poll()  # nothing could be seen: that is no end of it
            return
        if leading and self._open(session, session.pid):
            self._seen.add(session)
        else:
            self._look_at(session)

    def forget(self, session: Session) -> None:
        """End watching, whatever it does."""
        for fd in self._fds.pop(session, set()):
            self._close(fd)
        self._seen.discard(session)
        self._due.discard(session)

    async def settle(self) -> None:
        """Return when all that is known to need a look was looked at."""
        while self._settling is not None:
            await asyncio.shield(self._settling)

    async def living(self, session: Session) -> list[int]:
        """PIDs of the session's members. Who asks at the same time shares a pass over /proc."""
        self._asked.add(session)
        if self._asking is None:
            self._asking = asyncio.create_task(self._answer())
        return (await asyncio.shield(self._asking))[session]

    async def _answer(self) -> dict[Session, list[int]]:
        async with self._passing:  # meanwhile more may ask: 100 stops at once took 300 passes
            asked, self._asked, self._asking = self._asked, set(), None
            return await asyncio.to_thread(members, asked, frozenset(self._seen))

    async def close(self) -> None:
        """Let go of everything; nothing is ended by this."""
        if self._timer is not None:
            self._timer.cancel()
        if self._settling is not None:
            self._settling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._settling
        if self._asking is not None:
            await asyncio.gather(self._asking, return_exceptions=True)
        for session in tuple(self._fds):
            self.forget(session)

    # ---- pidfds

    def _open(self, session: Session, pid: int) -> bool:
        if not has_room():
            self._poll()
            return True
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        except OSError as error:  # too many open files, or a kernel without pidfds
            words = words_of(error)
            log.warning("no pidfd: looking every second instead", pid=pid, error=words)
            self._poll()
            return True
        self._fds[session].add(fd)
        asyncio.get_running_loop().add_reader(fd, self._died, session, fd)
        return True

    def _open_all(self, session: Session, pids: list[int]) -> bool:
        return sum(self._open(session, pid) for pid in pids) > 0  # all of them: no short cut

    def _close(self, fd: int) -> None:
        asyncio.get_running_loop().remove_reader(fd)
        os.close(fd)

    def _died(self, session: Session, fd: int) -> None:
        self._close(fd)
        self._fds[session].discard(fd)
        if not self._fds[session]:
            self._look_at(session)

    # ---- looking

    def _poll(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY, self._poll_now)

    def _poll_now(self) -> None:
        self._timer = None
        for session in [s for s, fds in self._fds.items() if not fds]:
            self._look_at(session)

    def _look_at(self, session: Session) -> None:
        self._due.add(session)
        if self._settling is None:
            self._settling = asyncio.create_task(self._settle())

    async def _settle(self) -> None:
        try:
            while self._due:
                due, self._due = self._due, set()
                living = await asyncio.to_thread(members, due, frozenset(self._seen))
                over = []
                for session in due & self._fds.keys():
                    if not self._open_all(session, living[session]):
                        over.append(session)
                if over:
                    await self._ended(over)
                for session in over:
                    self.forget(session)
        except OSError as error:
            log.warning("looking at processes failed: trying again", error=words_of(error))
            self._poll()
        except Exception:
            log.exception("looking at ended processes failed")
            self._poll()
        finally:
            self._settling = None
