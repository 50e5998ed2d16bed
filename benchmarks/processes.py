"""What processes use, as /proc says it: CPU and memory. Comes in: PIDs. Goes out: seconds and bytes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")  # a second
KIB = 1024
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. `pss` counts a page that n processes share as an n-th; `rss` counts it for each."""

    rss: int
    pss: int


def memory_of(pids: Iterable[int]) -> Memory:
    """Of all of them together. Raises OSError for one that has ended, or that is another user's."""
    rss = pss = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "Rss":
                rss += int(value.split()[0]) * KIB
            elif name == "Pss":
                pss += int(value.split()[0]) * KIB
    return Memory(rss, pss)


def cpu_of(pid: int, *, children: bool = False) -> float:
    """Seconds so far, in steps of 10 ms; with those of children that it has waited for, if asked."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11 : 15 if children else 13]) / TICK
