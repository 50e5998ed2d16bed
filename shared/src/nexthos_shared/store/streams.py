"""What the streams of a namespace must be: as they are made, and where a stored one differs from it.

Comes in: names, and configurations as the server tells them. Goes out: configurations, differences.
Only what nexthos rests on is compared; replicas, limits and placement are the operator's choice.

Whoever may write one key may send any header with it. What these settings keep such a header from:

| header | setting | otherwise |
|---|---|---|
| `Nats-Rollup: all` | `allow_rollup_hdrs` false | erases all other keys |
| `Nats-Rollup: sub` | the same | erases the key's history |
| `Nats-TTL` | `allow_msg_ttl` false | the key expires, an older revision of it comes back |
| `Nats-Schedule` | `allow_msg_schedules` false | NATS itself writes other keys, later |
| `Nats-Incr` | `allow_msg_counter` false | every plain write is refused |
| `Nats-Batch-Id` | `allow_atomic`, `allow_batched` false | several keys in one write |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nats.js.api import DiscardPolicy, StorageType, StreamConfig

from nexthos_shared.model import MAX_DEFINITION_BYTES
from nexthos_shared.names import Names

HISTORY = 64  # revisions kept of a definition: what `history` and `rollback` can show

# As the server names them, and what they must be; one that it leaves out is off.
_EVERYWHERE: dict[str, Any] = {
    "allow_direct": True,
    "allow_rollup_hdrs": False,
    "allow_msg_ttl": False,
    "subject_delete_marker_ttl": 0,
    "allow_msg_schedules": False,
    "allow_msg_counter": False,
    "allow_atomic": False,
    "allow_batched": False,
}
_BUCKET = {**_EVERYWHERE, "deny_delete": True, "max_age": 0}


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting of a stream that is not as it must be."""

    setting: str
    stored: Any
    wanted: Any

    @property
    def change(self) -> str:
        """How it is put right, for people."""
        return f"{self.setting} {self._shown(self.stored)} -> {self._shown(self.wanted)}"

    def __str__(self) -> str:
        words = (
            f"{self.setting} is {self._shown(self.stored)}, should be {self._shown(self.wanted)}"
        )
        if self.setting != "max_age":
            return words
        return f"{words}: with this TTL what is stored ends by itself, and what runs for it is orphaned"

    def _shown(self, value: Any) -> str:
        if self.setting == "max_age" and isinstance(value, int) and value:
            return f"{value / 10**9:g}s"
        return str(value).lower()


def differences(names: Names, stream: str, stored: Mapping[str, Any]) -> list[Difference]:
    """Where the configuration of one of the streams, as STREAM.INFO tells it, must change."""
    return [
        Difference(setting, stored.get(setting, type(wanted)()), wanted)
        for setting, wanted in _must_be(names, stream).items()
        if stored.get(setting, type(wanted)()) != wanted
    ]


def _must_be(names: Names, stream: str) -> dict[str, Any]:
    if stream == names.events:
        return _EVERYWHERE
    if stream == f"OBJ_{names.configs}":
        # An Object Store replaces a meta by a rollup: whoever may write one object may erase all.
        return {**_EVERYWHERE, "allow_rollup_hdrs": True, "max_age": 0}
    if stream == f"KV_{names.control}":
        return {**_BUCKET, "allow_msg_ttl": True}  # the lease expires
    return _BUCKET


def bucket_config(names: Names, bucket: str, replicas: int) -> StreamConfig:
    """The whole configuration in one request: a crash can't leave half of it.

    The standard streams of KV and Object Store, except that the KV buckets forbid rollups. The server
    leaves no markers of expired keys then: it would allow rollups by itself to do so.
    """
    if bucket == names.configs:
        return StreamConfig(
            name=f"OBJ_{bucket}",
            description="nexthos: engine configurations",
            subjects=[f"$O.{bucket}.C.>", f"$O.{bucket}.M.>"],
            storage=StorageType.FILE,
            num_replicas=replicas,
            discard=DiscardPolicy.NEW,
            allow_rollup_hdrs=True,
            allow_direct=True,
        )
    is_pipelines = bucket == names.pipelines
    words = {
        names.pipelines: "nexthos: pipeline definitions",
        names.status: "nexthos: pipeline statuses, written by the controller",
        names.control: "nexthos: the controllers' own keys",
    }
    return StreamConfig(
        name=f"KV_{bucket}",
        description=words[bucket],
        subjects=[f"$KV.{bucket}.>"],
        max_msgs_per_subject=HISTORY if is_pipelines else 1,
        max_msg_size=2 * MAX_DEFINITION_BYTES if is_pipelines else -1,
        storage=StorageType.FILE,
        num_replicas=replicas,
        discard=DiscardPolicy.NEW,
        deny_delete=True,
        allow_direct=True,
        allow_rollup_hdrs=False,
        allow_msg_ttl=bucket == names.control,  # elsewhere an older revision could come back
    )
