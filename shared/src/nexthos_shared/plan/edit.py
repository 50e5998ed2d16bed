"""One change of a stored entry that leaves everything else of it as its writer wrote it.

Comes in: an entry as JSON, and what is wanted. Goes out: the fields to set, or an error that names the
pipeline and the field. It works on the raw JSON, so fields that this version does not know survive.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nexthos_shared.errors import InvalidDefinition, NotFound
from nexthos_shared.model import Wanted
from nexthos_shared.untrusted_json import read_json

if TYPE_CHECKING:
    from nexthos_shared.object_format import ConfigInfo

Raw = dict[str, Any]


class NotRunning(InvalidDefinition):
    """Nothing of the pipeline is there to be restarted, as its entry wants it."""


def read_raw(key: str, value: bytes | None) -> Raw:
    """The entry in the value of `key`. Raises NotFound where there is none, InvalidDefinition."""
    if value is None:
        raise NotFound(f"no pipeline {key!r} is stored")
    entry = read_json(value)
    if entry is None:
        words = f"pipeline {key!r}: the stored entry is not JSON; put it again with `nexthos apply`"
        raise InvalidDefinition(words)
    if not isinstance(entry, dict):
        words = f"pipeline {key!r}: the stored entry is no JSON object; put it again with `nexthos apply`"
        raise InvalidDefinition(words)
    return entry


def to_bytes(entry: Raw) -> bytes:
    """An entry as it is stored."""
    return json.dumps(entry, separators=(",", ":"), ensure_ascii=False).encode()


def wanted_of(entry: Raw) -> Wanted | None:
    """Its status, if it can be understood."""
    status = entry.get("status")
    return Wanted(status) if status in list(Wanted) else None


def status(key: str, entry: Raw, wanted: Wanted, config: ConfigInfo | None = None) -> Raw:
    """Another status, and the version of `config` where one is named. Raises InvalidDefinition.

    Where the entry pins a digest it pins that one: the old digest would refuse the new version.
    """
    fields: Raw = {"status": str(wanted)}
    if config is not None:
        fields |= {"version": config.version}
        fields |= {"digest": config.digest} if entry.get("digest") else {}
    if wanted is Wanted.PUBLISHED and not (entry | fields).get("version"):
        words = f"pipeline {key!r}: the entry names no version: publish it with --version"
        raise InvalidDefinition(words, field="version")
    return fields


def replicas(key: str, entry: Raw, count: int) -> Raw:
    """Another number of replicas. Raises InvalidDefinition for a job, which has one."""
    if count > 1 and entry.get("lifecycle") == "job":
        words = (
            f"pipeline {key!r}: replicas: a job has one replica, since two would each do the whole "
            "work; set `lifecycle: service`, or split the work into several jobs"
        )
        raise InvalidDefinition(words, field="replicas")
    return {} if count == entry.get("replicas", 1) else {"replicas": count}


def restart(key: str, entry: Raw) -> Raw:
    """A `restart_nonce` that was never there: another spec, so what runs is replaced, what is held tried.

    Raises NotRunning, InvalidDefinition.
    """
    if remark := _not_running(key, entry):
        raise NotRunning(f"pipeline {key!r}: {remark}", field="status")
    nonce = entry.get("restart_nonce", 0)
    if not isinstance(nonce, int) or isinstance(nonce, bool) or nonce < 0:
        words = (
            f"pipeline {key!r}: restart_nonce: is {nonce!r}, must be 0 or a greater whole number"
        )
        raise InvalidDefinition(words, field="restart_nonce")
    return {"restart_nonce": nonce + 1}


def _not_running(key: str, entry: Raw) -> str:
    """Why nothing of an entry is there to be restarted, and what to do; "" if it is published."""
    match wanted_of(entry):
        case Wanted.PUBLISHED:
            return ""
        case Wanted.PAUSED:
            return (
                f"is paused, so there is nothing to restart: `nexthos publish {key}` lets it go on"
            )
        case Wanted.DRAFT:
            return f"is a draft, so there is nothing to restart: `nexthos publish {key}` starts it"
        case _:
            words = "has a status that is not understood, so nothing is restarted"
            return f"{words}: `nexthos publish {key}` sets it"
