"""Part C of architecture.md: ends that nobody asked for, counted once each, and the delay they cost.

What a replica's executions did is kept in its `Slot`: the uid last seen running, whether its end was
counted, and before when nothing is started. The slot survives the controller, so counts and delays do.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from msgspec import structs

from nexthos_controller.execution import Execution, Exit, Spec
from nexthos_shared.backoff import JITTER, Backoff, jittered
from nexthos_shared.model import Memory, Slot
from nexthos_shared.reasons import Problem, Reason

DELAY = Backoff(1.0, 300.0)  # seconds
HEALTHY_AFTER = 600.0  # seconds of running after which earlier ends no longer count
CRASH_LOOP_AFTER = 5  # ends in a row
# What an executor raises where the bytes may be to blame: such a start was tried again for ever.
OF_THE_BYTES = frozenset({Reason.CANNOT_RUN_HERE, Reason.VARIABLE_MISSING, Reason.LINT_FAILED})


def delay_after(failures: int, uid: str = "") -> float:
    """Seconds to wait before the start that follows that many ends in a row.

    Up to a fifth less or more, so that what crashed together does not start together; drawn from the
    life that ended, so that the same view decides the same.
    """
    draw = zlib.crc32(f"{uid}/{failures}".encode()) / 2**32
    if failures >= CRASH_LOOP_AFTER:
        return jittered(DELAY.last, draw=draw)
    return DELAY.after(failures, draw)


def waits(slot: Slot, now: float) -> float:
    """Seconds until the replica may be started; 0 if it may be now.

    A moment that is further away than any delay is of a clock that was put back since.
    """
    left = slot.not_before - now
    return left if 0 < left <= DELAY.last * (1 + JITTER) else 0.0


def account(
    spec: Spec, replicas: int, mine: Sequence[Execution], memory: Memory, now: float, *, known: bool
) -> Memory:
    """Memory after taking note of what this spec's executions did.

    `mine` are the executions of `spec`. `known`: every place answered, so that what is not in `mine`
    is really gone.
    """
    slots = {r: s for r, s in memory.slots.items() if r < replicas}
    if len(slots) < len(memory.slots):
        memory = structs.replace(memory, slots=slots)
    by_replica = {e.replica: e for e in mine}
    for replica in range(replicas):
        execution = by_replica.get(replica)
        slot = memory.slots.get(replica, Slot())
        memory = _note(memory, spec, replica, slot, execution, now, known)
    return memory


def _note(
    memory: Memory,
    spec: Spec,
    replica: int,
    slot: Slot,
    execution: Execution | None,
    now: float,
    known: bool,
) -> Memory:
    if execution is None:
        if known and slot.uid and not slot.ended:
            gone = Problem(Reason.VANISHED, f"{slot.place} no longer knows replica {replica}")
            return _ended(memory, spec, replica, slot, Exit(None, False, gone), now)
        return memory
    if execution.state == "prepared":
        return memory
    seen = slot.uid == execution.uid
    if not seen:
        slot = structs.replace(
            slot,
            uid=execution.uid,
            executor=execution.executor,
            place=execution.place,
            was_ready=False,
            ended=False,
            running_since=execution.started_at or now,
        )
        memory = _with(memory, replica, slot)
    if execution.ready and not slot.was_ready:
        memory = _with(memory, replica, structs.replace(slot, was_ready=True))
    if execution.state == "stopped" and not slot.ended:
        exit = execution.exit or Exit(None, False)
        return _ended(memory, spec, replica, slot, exit, now)
    return memory


def _ended(memory: Memory, spec: Spec, replica: int, slot: Slot, exit: Exit, now: float) -> Memory:
    """Count one end."""
    if exit.signalled:
        return _with(memory, replica, structs.replace(slot, ended=True, problem=None))
    job = spec.definition.lifecycle == "job"
    if job and exit.code == 0:
        done = structs.replace(slot, ended=True, problem=None)
        return structs.replace(_with(memory, replica, done), completed=spec.spec_hash)
    healthy = now - slot.running_since >= HEALTHY_AFTER
    failures = 1 if healthy else slot.failures + 1
    slot = structs.replace(
        slot,
        ended=True,
        restarts=slot.restarts + 1,
        failures=failures,
        not_before=now + delay_after(failures, slot.uid),
        problem=_cause(exit),
    )
    memory = _with(memory, replica, slot)
    if job and slot.restarts > spec.definition.retries:
        memory = structs.replace(memory, failed=spec.spec_hash)
    return memory


def _cause(exit: Exit) -> Problem:
    if exit.code == 0:
        words = "the engine ended with exit code 0, though a service runs for ever"
        return Problem(Reason.EXITED_CLEANLY, words)
    if exit.problem is not None:
        return exit.problem
    if exit.code is None or exit.code > 128:
        return Problem(Reason.KILLED, "the engine was killed from outside")
    return Problem(Reason.EXITED, f"the engine ended with exit code {exit.code}")


def _with(memory: Memory, replica: int, slot: Slot) -> Memory:
    return structs.replace(memory, slots={**memory.slots, replica: slot})


def tried_afresh(memory: Memory) -> Memory:
    """Memory after somebody asked for it again: counts stay, delays and failures in a row go."""
    fresh = {
        replica: structs.replace(slot, failures=0, not_before=0.0)
        for replica, slot in memory.slots.items()
    }
    return structs.replace(memory, slots=fresh)


def doubtful(spec: Spec, mine: Sequence[Execution], memory: Memory, fault: Problem | None) -> bool:
    """Whether lint should say if the bytes are to blame.

    They may be where it was never ready, and it ended with 1 or its executor would not have it.
    """
    if memory.current is not None and memory.current.was_ready:
        return False
    if fault is not None and fault.reason in OF_THE_BYTES:
        return True
    return any(e.exit is not None and e.exit.code == 1 for e in mine)
