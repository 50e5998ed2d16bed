"""Durations, cpu and memory as people write them, kept as numbers and written back canonically.

Duration: seconds as float, from a number of seconds or `1h2m3s`, `500ms`. Cpu: cores as float, from
`0.5` or `"500m"`. Memory: bytes as int, from bytes or `256M` (10^6), `256Mi` (2^20).
The forms are those of Go durations and Kubernetes quantities.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer

_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h))+")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_CPU = re.compile(r"([0-9]+(?:\.[0-9]+)?|[0-9]+m)")
_MEMORY = re.compile(r"([0-9]{1,19})(Ki|Mi|Gi|Ti|k|K|M|G|T)?")
_BYTES = {
    "": 1,
    "k": 10**3,
    "K": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}

_MOST_BYTES = 2**53  # beyond that JSON's readers disagree on a number


def parse_duration(value: object) -> float:
    """Seconds of `value`. Raises ValueError with the accepted forms."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _float(value)
    if isinstance(value, str) and _DURATION.fullmatch(value):
        return sum(float(n) * _SECONDS[unit] for n, unit in _DURATION_PART.findall(value))
    raise ValueError("must be a duration such as 30s, 1m30s or 500ms")


def format_duration(seconds: float) -> str:
    """The shortest exact form: `90.0` is `1m30s`, `0.5` is `500ms`."""
    milliseconds = round(seconds * 1000)
    if milliseconds % 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "m"), (rest, "s")]
    return "".join(f"{n}{unit}" for n, unit in parts if n) or "0s"


def parse_cpu(value: object) -> float:
    """Cores of `value`. Raises ValueError with the accepted forms."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _float(value)
    if isinstance(value, str) and _CPU.fullmatch(value):
        return float(value[:-1]) / 1000 if value.endswith("m") else float(value)
    raise ValueError('must be cores such as 0.5 or "500m"')


def parse_memory(value: object) -> int:
    """Bytes of `value`. Raises ValueError with the accepted forms."""
    match = _MEMORY.fullmatch(value) if isinstance(value, str) else None
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif match is not None:
        size = int(match[1]) * _BYTES[match[2] or ""]
    else:
        raise ValueError("must be bytes such as 268435456, 256M or 256Mi")
    if size > _MOST_BYTES:
        raise ValueError("is too large")
    return size


def _float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:  # JSON's integers have no end; only a ValueError is the field's fault
        raise ValueError("is too large") from None


Duration = Annotated[
    float,
    BeforeValidator(parse_duration, json_schema_input_type=str | float),
    PlainSerializer(format_duration, return_type=str),
    Field(ge=0, le=24 * 3600),
]
Cpu = Annotated[
    float, BeforeValidator(parse_cpu, json_schema_input_type=str | float), Field(gt=0, le=1024)
]
MemoryBytes = Annotated[
    int, BeforeValidator(parse_memory, json_schema_input_type=str | int), Field(ge=2**20)
]
