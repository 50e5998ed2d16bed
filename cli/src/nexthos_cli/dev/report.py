"""What is told at the end: messages by pipeline and by subject, what is wrong, the exit code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nexthos_cli.dev.screen import pipelines_table, subjects_table
from nexthos_cli.output.terminal import CleanConsole
from nexthos_controller.embedded import Count, Desired
from nexthos_shared.model import Phase, PipelineStatus

DONE = {Phase.RUNNING, Phase.COMPLETED}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The state when the end was asked for, before anything was ended."""

    statuses: Mapping[str, PipelineStatus]
    late: tuple[str, ...]  # published, and neither ready nor completed
    broken: tuple[str, ...]  # files

    @property
    def code(self) -> int:
        """0 if everything published got where it should, and no file was broken."""
        return 1 if self.late or self.broken else 0


def outcome(
    desired: Desired, statuses: Mapping[str, PipelineStatus], broken: Mapping[str, object]
) -> Outcome:
    """Judge by what is wanted now."""
    late = tuple(key for key in sorted(desired.keys()) if not _is_there(desired, key, statuses))
    return Outcome(statuses, late, tuple(sorted(broken)))


def _is_there(desired: Desired, key: str, statuses: Mapping[str, PipelineStatus]) -> bool:
    entry, status = desired.entry(key), statuses.get(key)
    if entry is None or entry.wanted != "published":
        return True
    if entry.problem is not None or status is None or status.phase not in DONE:
        return False
    if status.observed_revision < entry.revision:
        return False
    return status.phase is Phase.COMPLETED or status.ready == status.replicas


def show(
    console: CleanConsole,
    found: Outcome,
    counts: Mapping[str, Count],
    before: Mapping[str, int],
    after: Mapping[str, int],
    *,
    all_subjects: bool,
) -> None:
    """The final tables. Where the server is not ours alone, only subjects with new messages are told."""
    if found.statuses:
        console.print()
        console.print(pipelines_table(found.statuses, counts, console.width))
    told = {s: n for s, n in after.items() if all_subjects or n != before.get(s, 0)}
    if (subjects := subjects_table(before, told)) is not None:
        console.print()
        console.print(subjects)
