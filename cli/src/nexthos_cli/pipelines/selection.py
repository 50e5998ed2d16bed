"""Which pipelines a command means: IDs, labels, all of them.

Comes in: what was typed. Goes out: keys that exist. A key that is no id (raw KV lets `A` and `a.b` in)
can be looked at and deleted by name, never written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from nexthos_cli.output.lines import all_lines, matches
from nexthos_cli.output.printing import confirm
from nexthos_shared import names
from nexthos_shared.errors import NexthosError, NotFound, Refused
from nexthos_shared.reasons import Problem

if TYPE_CHECKING:
    from nexthos_shared.store import Store

_KEY = re.compile(r"[-/_=A-Za-z0-9]{1,200}(\.[-/_=A-Za-z0-9]{1,200})*")


@dataclass(frozen=True, slots=True)
class Selection:
    """As typed; see `options.selection`."""

    ids: Sequence[str]
    labels: Sequence[str]
    everything: bool
    yes: bool

    def checked(self, context: click.Context | None = None) -> Selection:
        """Itself, or a usage error if it says nothing or contradicts itself."""
        ways = sum((bool(self.ids), bool(self.labels), self.everything))
        if ways != 1:
            words = "name pipelines by ID, by -l KEY=VALUE or by --all"
            raise click.UsageError(words if ways == 0 else f"{words}, not by two of them", context)
        read_labels(self.labels)
        return self


def read_labels(pairs: Sequence[str]) -> dict[str, str]:
    """`a=b` or `a=b,c=d`, as kubectl takes them. Raises a usage error."""
    labels = {}
    for pair in (part for text in pairs for part in text.split(",")):
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise click.UsageError(f"label {pair!r}: must be KEY=VALUE")
        labels[key] = value
    return labels


def check_key(value: str, *, write: bool) -> str:
    """Return `value` if it can be the key of a pipeline. Raises InvalidName with the rule."""
    may_be = not write and len(value) <= 200 and _KEY.fullmatch(value)
    return value if may_be and ".." not in value else names.check_id(value)


async def chosen(store: Store, selection: Selection, *, verb: str, write: bool) -> list[str]:
    """The keys, those that exist, sorted unless named. Raises Refused, NotFound, Abort."""
    if selection.ids:
        return await _named(store, selection.ids, write=write)
    lines = all_lines(await store.pipelines.snapshot(), await store.statuses.snapshot(), 0.0)
    labels = read_labels(selection.labels)
    keys = [ln.id for ln in lines if matches(ln, labels, ()) and (not write or not ln.deleted)]
    if not keys:
        what = f"with {', '.join(selection.labels)}" if labels else "at all"
        raise NotFound(f"no pipeline {what} is stored")
    if selection.everything and not selection.yes:
        shown = ", ".join(keys[:10]) + (f" and {len(keys) - 10} more" if len(keys) > 10 else "")
        confirm(f"{verb} {len(keys)} pipelines ({shown})?")
    return keys


async def _named(store: Store, ids: Sequence[str], *, write: bool) -> list[str]:
    found: list[str] = []
    problems: list[Problem] = []
    for key in dict.fromkeys(part.removeprefix("pipeline/") for part in ids):
        try:
            check_key(key, write=write)
            stored = await store.pipelines.get(key)
            if stored is None or stored.value is None:
                status = None if write else await store.statuses.get(key)
                if status is None or status.value is None:
                    raise NotFound(f"no pipeline {key!r} is stored")
            found.append(key)
        except NexthosError as error:
            problems.append(error.problem)
    if problems:
        raise Refused(problems)
    return found
