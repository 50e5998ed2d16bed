"""Which bucket it is: one that was made again, or put back from a backup, is another one than before.

A restored stream keeps its birthday; but its last revision went back, and that never happens to one
that lives, whatever is deleted or purged in it. What is seen too late, when as many revisions were
written again, can't be told from what was there before.
"""

from __future__ import annotations

from dataclasses import dataclass

from nexthos_shared.errors import StoreRefused
from nexthos_shared.nats.asking import asked
from nexthos_shared.nats.connection import Link


@dataclass(frozen=True, slots=True)
class Identity:
    """A bucket's birthday, the last revision that was given in it, and how much it holds."""

    created: str
    last: int
    subjects: int = 0  # that hold something: keys, markers included

    def continues(self, earlier: Identity) -> bool:
        """Whether this can be the same bucket, some time later."""
        return self.created == earlier.created and self.last >= earlier.last


async def identity_of(link: Link, name: str, stream: str) -> Identity:
    """The identity of the bucket `name` now.

    Raises StoreMissing, StoreUnavailable, NotPermitted, StoreRefused (a mirror is no bucket of ours).
    """
    # nats-py's own reading of the answer leaves out how many subjects there are.
    subject = f"{link.js._prefix}.STREAM.INFO.{stream}"

    async def question(within: float) -> Identity:
        info = await link.js._api_request(subject, timeout=within)
        if mirror := info["config"].get("mirror"):
            # Its keys are the original's subjects, and nothing can be written to it: all would look deleted.
            raise StoreRefused(
                f"{name} is a mirror of {mirror.get('name')}: a namespace needs buckets that can be written "
                "to; connect to the JetStream domain of the original, or give a namespace of its own (-n)"
            )
        state = info["state"]
        return Identity(info["created"], state["last_seq"], state.get("num_subjects", 0))

    return await asked(link, f"look at {name}", stream, question)
