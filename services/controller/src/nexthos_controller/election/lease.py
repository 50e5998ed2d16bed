"""The leader lease: which controller of a namespace may act.

Comes in: the control bucket and a holder's name. Goes out: `acquire`, which waits for its turn, and
`guard`, which whoever changes the world calls first. It must not know what its holder does.

The key holds a `Claim`, and the server lets it expire. Whoever has it renews it by compare-and-set,
and counts from the moment of sending, with a fifth to spare: so its time is over before the server's
is. Times are those of `boottime`, and `guard` compares them at that instant, since flags and timers
stand still while a process is frozen or a machine sleeps.

Free at once is a key that holds nothing at the first look, that its holder released, or whose holder
was a process of this system that has ended. All else
(a live claim, a deletion by hand, something unreadable, a claim that vanished under the eyes of who
waits) is free when it stayed unchanged for a whole
TTL: then whoever wrote before it can't have renewed since, and has stood down by its own clock.

What this can't do is to stop an effect that `guard` let through just before a freeze: names are
deterministic and effects aim at a uid for that reason.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import structlog
from msgspec import structs

from nexthos_controller.election.process import is_dead, this_process
from nexthos_shared.backoff import jittered
from nexthos_shared.errors import LeaseLost, NexthosError, StoreConflict
from nexthos_shared.model.control import Claim, read_claim, read_holder
from nexthos_shared.model.stored import encode
from nexthos_shared.names import LEASE_KEY
from nexthos_shared.store import Bucket, KvEntry

TTL = 3.0  # seconds
MOST_TTL = 60.0  # seconds, as in the settings
# Parts of the TTL.
HOLDS = 0.8  # how long a renewal counts, from the moment it was sent
RENEW = 1 / 3  # from one renewal to the next
TRY = 1 / 5  # for one answer: a renewal outlives two that are lost
POLL = 1 / 10  # from one look to the next
LONGEST_POLL = 0.3  # seconds: however long a TTL is, a released lease is not left lying
RELEASE_WITHIN = 1.0  # seconds
# Seconds that the server keeps a claim beyond its TTL. It leaves no marker of what expired (markers take
# rollups, with which a writer of one key erases all), so to who waits an expiry looks as if a hand had
# removed the claim: it has the lease by its own clock before it sees that.
KEPT_LONGER = 1

log = structlog.get_logger(__name__)


def boottime() -> float:
    """Seconds that go on while the machine is suspended and never jump, where the system has such."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


@dataclass(frozen=True, slots=True)
class _Tenure:
    """A lease that was acquired, as of its last renewal."""

    claim: Claim
    revision: int
    sent: float  # when that renewal was sent


@dataclass(frozen=True, slots=True)
class _Sight:
    """What the key was last seen to hold, and since when: at first nothing, for ever."""

    revision: int = 0
    since: float = -math.inf
    ttl: float | None = None  # of the last claim that was seen, and may have vanished since


@dataclass(frozen=True, slots=True)
class Takeover:
    """From whom a lease was taken, and why it was free."""

    holder: str
    host: str
    why: str  # a clause: "it handed the lease over"
    handed: bool  # nothing went wrong


class Lease:
    """See the module. One per process; `holder` is a name that no other process ever has.

    `ttl`: seconds; the server counts whole ones, and keeps a claim for up to two seconds longer.
    """

    def __init__(
        self,
        bucket: Bucket,
        holder: str,
        ttl: float = TTL,
        clock: Callable[[], float] = boottime,
    ) -> None:
        self.token = 0  # revision of the last acquisition: a later holder's is larger
        self.lost = asyncio.Event()  # set while there is none to lose
        self.lost.set()
        self._bucket = bucket
        self._holder = holder
        self._ttl = ttl
        self._poll = min(ttl * POLL, LONGEST_POLL)
        self._clock = clock
        self._life = secrets.token_hex(8)
        self._tenure: _Tenure | None = None
        self._why = "it was never acquired"
        self.takeover: Takeover | None = None  # with the last acquisition, if anybody had it before

    @property
    def held(self) -> bool:
        """Whether this holder may act at this instant."""
        return self._tenure is not None and self._left(self._tenure) > 0

    def guard(self) -> None:
        """Raise LeaseLost unless the lease is held at this instant. Cheap: call it before each effect."""
        if not self.held:
            why = self._why if self._tenure is None else "it was not renewed in time"
            raise LeaseLost(f"{self._bucket.name}/{LEASE_KEY} is not ours: {why}")

    async def holder(self) -> Claim | None:
        """Who has the lease, as far as the store knows; None if nobody. Raises StoreUnavailable."""
        entry = await self._bucket.get(LEASE_KEY)
        return read_holder(entry.value) if entry is not None else None

    async def acquire(self) -> int:
        """Wait until this holder has the lease, however long, and whatever the store says meanwhile.

        Returns the token. From here on `kept` must be entered, else the lease ends by itself.
        """
        began, told, sight = self._clock(), "", _Sight()
        entry: KvEntry | None = None
        last: Claim | None = None  # of another that was seen, and may have vanished since
        while True:
            try:
                async with asyncio.timeout(self._ttl):
                    entry = await self._bucket.get(LEASE_KEY)
                    revision = entry.revision if entry else 0
                    last = self._of_another(entry) or last
                    if sight.revision != revision:
                        claim = _claim_of(entry)
                        sight = _Sight(revision, self._clock(), claim.ttl if claim else sight.ttl)
                    is_free = self._is_free(entry, sight)
                    why = await self._take(revision) if is_free else _who(entry)
            except (NexthosError, TimeoutError) as error:
                why = str(error) or "NATS did not answer in time"
            except Exception as error:  # whatever the key holds, it is waited for again
                log.exception("lease not judged by a defect")
                why = f"a defect of nexthos ({type(error).__name__})"
            if self.held:
                break
            if why != told:
                log.info("waiting for the lease", holder=self._holder, because=why)
                told = why
            await asyncio.sleep(jittered(self._poll))
        waited = round(self._clock() - began, 3)
        self.takeover = self._taken_from(last, entry)
        log.info("lease acquired", holder=self._holder, token=self.token, waited=waited)
        return self.token

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Renew while this is entered, until the lease is lost; then `lost` is set.

        Left for whatever reason, it releases the lease: nothing inside acts any more.
        """
        keeper = asyncio.create_task(self._keep(), name="lease")
        try:
            yield
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            await self.release()

    async def release(self) -> None:
        """Let somebody else have it at once. Nothing may be done under it any more; twice does no harm.

        The claim is marked and not deleted: who finds it deleted can't know whether its holder acts.
        """
        tenure, self._tenure = self._tenure, None
        if tenure is None:
            return
        self._why = "it was released"
        self.lost.set()
        try:
            async with asyncio.timeout(RELEASE_WITHIN):
                await self._write_released(tenure)
        except (NexthosError, TimeoutError) as error:
            why = str(error) or "NATS did not answer in time"
            log.warning("lease not released: it ends by itself", token=self.token, why=why)
        else:
            log.info("lease released", holder=self._holder, token=self.token)

    async def _write_released(self, tenure: _Tenure) -> None:
        """A renewal that was cancelled on its way may be applied before or after any look at the key."""
        released = structs.replace(tenure.claim, released=True)
        while True:
            revision = await self._applied(tenure) or tenure.revision
            try:
                await self._write(released, revision)
            except StoreConflict:
                await asyncio.sleep(self._poll)
            else:
                return

    def _of_another(self, entry: KvEntry | None) -> Claim | None:
        claim = _claim_of(entry)
        return None if claim is None or claim.life == self._life else claim

    def _taken_from(self, last: Claim | None, entry: KvEntry | None) -> Takeover | None:
        """`last` is the last claim of another, `entry` what the key held in the end."""
        if last is None:
            return None
        if last.released:
            return Takeover(last.holder, last.host, "it handed the lease over", handed=True)
        if is_dead(last.process):
            why = "its process ended without handing the lease over"
        elif entry is not None and _claim_of(entry) is None:
            why = "its lease was deleted or overwritten by hand"
        else:
            why = f"it did not renew the lease for {max(self._ttl, min(last.ttl, MOST_TTL)):g}s"
        return Takeover(last.holder, last.host, why, handed=False)

    def _left(self, tenure: _Tenure) -> float:
        return tenure.sent + self._ttl * HOLDS - self._clock()

    def _is_free(self, entry: KvEntry | None, sight: _Sight) -> bool:
        claim = _claim_of(entry)
        if claim is not None and (claim.released or claim.life == self._life):
            return True  # ours: an acquisition without an answer, or lost before it expired
        if claim is not None and is_dead(claim.process):
            return True  # killed on this very system: whatever it was about to do, it can't
        if entry is None:  # it ended by itself, or a hand removed it
            return self._clock() - sight.since > min(sight.ttl or self._ttl, MOST_TTL)
        # One that was written by hand must not keep everybody off for years.
        ttl = max(self._ttl, min(claim.ttl, MOST_TTL) if claim else 0.0)
        return self._clock() - sight.since > ttl

    async def _take(self, revision: int) -> str:
        """Claim it if `revision` is still its last one. Returns why it is not held, if it is not."""
        claim = Claim(
            holder=self._holder,
            host=socket.gethostname(),
            since=time.time(),
            ttl=self._ttl,
            life=self._life,
            process=this_process(),
        )
        sent = self._clock()
        self.token = await self._write(claim, revision)
        self._tenure = _Tenure(claim, self.token, sent)
        self.lost.clear()
        return "the answer came too late"

    async def _write(self, claim: Claim, revision: int) -> int:
        value = encode(claim)
        return await self._bucket.update(
            LEASE_KEY, value, revision, ttl=math.ceil(self._ttl) + KEPT_LONGER
        )

    async def _keep(self) -> None:
        """Renew until it is lost. A renewal that comes too late is none: `guard` may have refused."""
        try:
            while self._tenure is not None:
                tenure = self._tenure
                next_one = tenure.sent + self._ttl * RENEW
                await asyncio.sleep(max(0.0, next_one - self._clock()))
                if not self.held:
                    raise TimeoutError
                async with asyncio.timeout(self._left(tenure)):
                    renewed = await self._renew(tenure)
                if not self.held:
                    raise TimeoutError
                self._tenure = renewed
        except TimeoutError:
            self._end("it was not renewed in time")
        except LeaseLost as error:
            self._end(str(error))
        except Exception as error:  # a defect must not leave anybody waiting for `lost`
            log.exception("lease renewal failed by a defect")
            self._end(f"renewing it failed: {error!r}")

    async def _renew(self, tenure: _Tenure) -> _Tenure:
        """Write it again until an answer, or a look, shows that it was written. Raises LeaseLost.

        Which of several tries was written is not known then: it counts from the first.
        """
        sent, unanswered = self._clock(), False
        while True:
            revision = None
            try:
                async with asyncio.timeout(self._ttl * TRY):
                    revision = await self._write(tenure.claim, tenure.revision)
            except StoreConflict as error:
                if not unanswered:  # else it may have been ourselves
                    raise LeaseLost("somebody else wrote or deleted it") from error
            except (NexthosError, TimeoutError):
                unanswered = True
            revision = revision or await self._applied(tenure)
            if revision is not None:
                return replace(tenure, revision=revision, sent=sent)
            await asyncio.sleep(self._poll)

    async def _applied(self, tenure: _Tenure) -> int | None:
        """The revision of a renewal that had no answer; None if none is seen. Raises LeaseLost."""
        try:
            async with asyncio.timeout(self._ttl * TRY):
                entry = await self._bucket.get(LEASE_KEY)
        except (NexthosError, TimeoutError):
            return None
        if entry is None or entry.revision <= tenure.revision:
            return None  # also what a replica says that lags behind
        if _claim_of(entry) != tenure.claim:
            raise LeaseLost("somebody else wrote or deleted it")
        return entry.revision

    def _end(self, why: str) -> None:
        if self._tenure is None:
            return
        self._tenure, self._why = None, why
        self.lost.set()
        log.warning("lease lost", holder=self._holder, token=self.token, why=why)


def _claim_of(entry: KvEntry | None) -> Claim | None:
    return read_claim(entry.value) if entry is not None else None


def _who(entry: KvEntry | None) -> str:
    """Why the lease is not free, for the log of a standby."""
    claim = _claim_of(entry)
    if claim is not None:
        return f"{claim.holder} on {claim.host} has it"
    return "it was deleted or written by hand; whoever had it may still act"
