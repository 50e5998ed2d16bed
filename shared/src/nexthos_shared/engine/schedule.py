"""Intervals: Go durations, and cron expressions as the engine's parser takes them.

Comes in: a text. Goes out: what is wrong with it, or nothing. Must not know where it stands.
"""

from __future__ import annotations

import re
from zoneinfo import available_timezones

_DURATION = re.compile(r"[-+]?(?:0|(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)")
_EVERY = "@every "
_DESCRIPTORS = frozenset(
    f"@{name}"
    for name in ("yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly")
)
_MONTHS = dict(
    zip(
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
        range(1, 13),
        strict=True,
    )
)
_DAYS = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("second", 0, 59, {}),
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _DAYS),
)
_PART = re.compile(r"(?:[*?]|(?P<low>\w+)(?:-(?P<high>\w+))?)(?:/(?P<step>\d+))?")


def fault_of(text: str) -> str:
    """Why it is neither a duration nor a cron expression; empty if it is one."""
    if not text or _DURATION.fullmatch(text):
        return ""
    zone, rest = "", text
    if text.startswith(("TZ=", "CRON_TZ=")):
        named, _, rest = text.partition(" ")
        zone = named.partition("=")[2]
        if fault := zone_fault(zone):
            return fault
    if rest.startswith("@"):
        every = rest.startswith(_EVERY) and _DURATION.fullmatch(rest.removeprefix(_EVERY))
        return "" if every or rest in _DESCRIPTORS else f"{rest!r} is no time of a cron"
    parts = rest.split()
    if len(parts) not in (5, 6):
        return f"{text!r} is neither a duration such as 1s or 5m nor a cron expression of 5 or 6 fields"
    fields = _FIELDS[-len(parts) :]
    faults = (_field_fault(part, *f) for part, f in zip(parts, fields, strict=True))
    return next((fault for fault in faults if fault), "")


def zone_fault(name: str) -> str:
    """Why it is no time zone; empty if it is one, or if this machine knows none."""
    known = available_timezones()
    if not known or name in known or name in ("", "Local", "UTC"):
        return ""
    return f"{name!r} is no time zone: write one such as Europe/Berlin"


def _field_fault(field: str, what: str, least: int, most: int, names: dict[str, int]) -> str:
    for part in field.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            return f"{part!r} is no {what} of a cron expression"
        ends = [names.get(e.lower(), e) for e in (match["low"], match["high"]) if e is not None]
        numbers = [int(e) for e in ends if str(e).isascii() and str(e).isdecimal()]
        if len(numbers) < len(ends):
            return f"{part!r} is no {what} of a cron expression"
        if any(not least <= n <= most for n in numbers) or numbers != sorted(numbers):
            return f"{part!r} is no {what}: {least} to {most} are"
        if match["step"] is not None and int(match["step"]) == 0:
            return f"{part!r} has a step of 0"
    return ""
