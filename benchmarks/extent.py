"""How much is measured: each benchmark says what that means for it."""

from __future__ import annotations

from enum import StrEnum


class Extent(StrEnum):
    """Of a whole run."""

    QUICK = "quick"  # does it work at all? nothing to quote
    USUAL = "usual"  # some five minutes for all of them
    FULL = "full"  # up to half an hour
