"""Deciding: the pure heart. `decide(View) -> Decision`, `report(View, Decision) -> PipelineStatus`.

What comes in is everything known of one pipeline at one moment; what goes out is what to do next,
what to remember before it is done, when to look again, and what to tell readers. The rules are
tables A (target.py), B (steps.py) and C (failure.py) of docs/architecture.md, "Deciding". Nothing
here knows NATS, an executor's inside, or the time.
"""

from nexthos_controller.reconcile.decide import decide
from nexthos_controller.reconcile.report import report
from nexthos_controller.reconcile.view import (
    Apply,
    ConfigFacts,
    Decision,
    Delete,
    Lint,
    Prepare,
    Remove,
    Start,
    Step,
    Stop,
    Target,
    View,
)

__all__ = [
    "Apply",
    "ConfigFacts",
    "Decision",
    "Delete",
    "Lint",
    "Prepare",
    "Remove",
    "Start",
    "Step",
    "Stop",
    "Target",
    "View",
    "decide",
    "report",
]
