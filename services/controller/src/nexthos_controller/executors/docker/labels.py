"""What a container says of itself: whose it is, what shaped it, and with what it was made.

Labels can be read by whoever may ask the daemon, so nothing secret stands here; and they can't be
changed once a container exists, so what they say is what it was made with.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from nexthos_controller.execution import Owner
from nexthos_shared.untrusted_json import read_object

PREFIX = "nexthos."
NAMESPACE = f"{PREFIX}namespace"
INSTALLATION = f"{PREFIX}installation"
PIPELINE = f"{PREFIX}pipeline"
MADE = f"{PREFIX}made"  # digest of what it was created with: another one was created by hand


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of one container, as values."""

    owner: Owner
    id: str
    replica: int
    revision: int
    version: str
    digest: str
    spec_hash: str
    stop_timeout: float
    made_with: Mapping[str, str] = field(default_factory=dict)

    def to_docker(self) -> dict[str, str]:
        """As the daemon keeps them; MADE is added by who knows it."""
        return {
            **owner_labels(self.owner),
            PIPELINE: self.id,
            f"{PREFIX}replica": str(self.replica),
            f"{PREFIX}revision": str(self.revision),
            f"{PREFIX}version": self.version,
            f"{PREFIX}digest": self.digest,
            f"{PREFIX}spec-hash": self.spec_hash,
            f"{PREFIX}stop-timeout": f"{self.stop_timeout:g}",
            f"{PREFIX}made-with": json.dumps(dict(self.made_with), sort_keys=True),
        }


def owner_labels(owner: Owner) -> dict[str, str]:
    """What everything of ours carries, and nothing else does."""
    return {NAMESPACE: owner.namespace, INSTALLATION: owner.installation}


def labels_filter(owner: Owner, pipeline_id: str | None = None) -> list[str]:
    """As the daemon filters a list, or its events, by labels."""
    wanted = owner_labels(owner)
    if pipeline_id is not None:
        wanted[PIPELINE] = pipeline_id
    return [f"{name}={value}" for name, value in wanted.items()]


def namespace_filter(owner: Owner) -> list[str]:
    """The same, whatever the installation."""
    return [f"{NAMESPACE}={owner.namespace}"]


def read_labels(labels: Mapping[str, str] | None) -> Labels | None:
    """None for what is not made by us, or by whom somebody made it look so and failed."""
    labels = labels or {}
    try:
        return Labels(
            owner=Owner(labels[NAMESPACE], labels[INSTALLATION]),
            id=labels[PIPELINE],
            replica=_whole(labels[f"{PREFIX}replica"]),
            revision=_whole(labels[f"{PREFIX}revision"]),
            version=labels[f"{PREFIX}version"],
            digest=labels[f"{PREFIX}digest"],
            spec_hash=labels[f"{PREFIX}spec-hash"],
            stop_timeout=_seconds(labels[f"{PREFIX}stop-timeout"]),
            made_with=_texts(labels[f"{PREFIX}made-with"]),
        )
    except (KeyError, ValueError):
        return None


def _whole(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,15}", text):
        raise ValueError("no whole number")
    return int(text)


def _seconds(text: str) -> float:
    found = float(text)
    if not 0 <= found <= 24 * 3600:
        raise ValueError("no duration")
    return found


def _texts(text: str) -> dict[str, str]:
    found = read_object(text.encode(errors="replace"))
    if found is None or not all(isinstance(value, str) for value in found.values()):
        raise ValueError("no object of texts")
    return found
