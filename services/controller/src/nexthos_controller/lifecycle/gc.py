"""Python's cyclic garbage collector, kept from searching what stays.

What a controller holds of each pipeline stays as long as the pipeline, and is no garbage. With Python's own
thresholds a boot of 10,000 spends a tenth of its time on looking through it, and
that part grows faster than their number.
"""

from __future__ import annotations

import gc

# Objects more than before, searches of the young, searches of those: a search for each 5 MB or so. What
# is garbage in cycles here (tasks that failed, their tracebacks) is little.
THRESHOLDS = 20_000, 20, 50


def put_off() -> None:
    """Search nothing, until `take_up`."""
    gc.disable()


def take_up() -> None:
    """Search from now on, but never what is there already."""
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    gc.enable()
