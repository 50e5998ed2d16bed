"""Drift: what was found otherwise than it was left, so that putting it right is counted and told.

Not drift: an end that backoff counts (restarts), and whatever follows from a change of the entry.
"""

from __future__ import annotations

from nexthos_controller.reconcile.steps import Sorted
from nexthos_controller.reconcile.view import Decision, View
from nexthos_shared.model import PipelineStatus
from nexthos_shared.reasons import Reason


def drifts(view: View, decision: Decision, found: Sorted, before: PipelineStatus | None) -> int:
    """Times that it drifted so far, by what the status said before."""
    if before is None:
        return 0
    return before.drifts + _removed(decision, before) + _left_over(view, found, before)


def _removed(decision: Decision, before: PipelineStatus) -> int:
    """Executions that somebody took away while they ran."""
    gone = 0
    for replica, slot in decision.memory.slots.items():
        old = before.memory.slots.get(replica)
        known = old is not None and old.uid == slot.uid and not old.ended
        vanished = slot.ended and slot.problem and slot.problem.reason is Reason.VANISHED
        gone += bool(known and vanished)
    return gone


def _left_over(view: View, found: Sorted, before: PipelineStatus) -> int:
    """Executions that run beside what is wanted, and that nobody here started."""
    if view.entry is None or view.entry.revision != before.observed_revision:
        return 0
    known = {e.uid for e in before.executions if e.state == "running"}
    new = [e for e in found.others if e.state == "running" and e.uid not in known]
    twins = [e for e in new if e.altered or any(e.name == m.name for m in found.mine)]
    return len(new if before.phase.is_at_rest else twins)
