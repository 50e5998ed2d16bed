"""What is kept of each status: its bytes, and in brief what is asked of all of them again and again.

An understood status takes 10 KB and more, its bytes two or three (measured: 10,000 pipelines, 70 MB less),
and told apart from another one a tenth of that. So it is understood when a look asks for it, and only the
last few of those are kept.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from dataclasses import dataclass

import structlog

from nexthos_controller.status.outline import Outline, outline_of, read_outline
from nexthos_shared.model import PipelineStatus
from nexthos_shared.model.entries import read_model

KEPT = 256  # understood statuses: more than are looked at, or wait for an answer, at one time

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Page:
    """What is known to be stored of one pipeline."""

    revision: int = 0  # as last written or read here
    packed: bytes | None = None  # the status; None: nothing, a marker, or something unreadable
    outline: Outline | None = None  # None: not made yet
    reported_at: float = float("-inf")
    seen: int = 0  # as the watch brought it: larger than `revision` if somebody else wrote
    lost: bool = False  # it is not in the bucket any more
    writing: bool = False  # a write is on its way, and may be seen before its acknowledgement

    @property
    def is_stored(self) -> bool:
        """Whether the bucket holds this status, as far as is known."""
        return not self.lost and self.seen <= self.revision


class Packing:
    """Statuses are alike: each is told by how it differs from the first that was packed.

    Measured: 0.2 KB instead of 2.5, for 16 us to pack and 4 to unpack. Any thread may unpack.
    """

    def __init__(self) -> None:
        self._like = b""

    def pack(self, value: bytes) -> bytes:
        """`value`, to be unpacked here."""
        self._like = self._like or value
        press = zlib.compressobj(1, wbits=-15, zdict=self._like)
        return press.compress(value) + press.flush()

    def unpack(self, packed: bytes) -> bytes:
        """What was packed here."""
        return zlib.decompressobj(wbits=-15, zdict=self._like).decompress(packed)


class Understood:
    """Statuses, packed and understood; of those that were understood last both are kept."""

    def __init__(self) -> None:
        self._packing = Packing()
        self._kept: OrderedDict[str, tuple[bytes, PipelineStatus]] = OrderedDict()

    def page(self, revision: int, value: bytes | None) -> Page:
        """A page that was not reconciled yet."""
        if value is None:
            return Page(revision)
        return Page(revision, self._packing.pack(value))

    def of(self, key: str, page: Page) -> PipelineStatus | None:
        """The page's status. One that can't be read is as good as none, and is made anew. For the loop."""
        if page.packed is None:
            return None
        kept = self._kept.get(key)
        if kept is not None and kept[0] is page.packed:
            return kept[1]
        status = self.afresh(key, page)
        if status is None:
            page.packed = page.outline = None
        else:
            self._keep(key, page.packed, status)
        return status

    def afresh(self, key: str, page: Page) -> PipelineStatus | None:
        """The same for any thread: it changes nothing, and takes some 50 us."""
        return None if page.packed is None else read(key, self._packing.unpack(page.packed))

    def outline(self, page: Page) -> Outline | None:
        """The page's status in brief, for any thread; made once, in some 15 us."""
        if page.outline is None and page.packed is not None:
            page.outline = read_outline(self._packing.unpack(page.packed))
        return page.outline

    def write(self, key: str, page: Page, value: bytes, status: PipelineStatus) -> None:
        """The page holds `value` now, which says `status`."""
        page.packed = self._packing.pack(value)
        page.outline = outline_of(status)
        self._keep(key, page.packed, status)

    def _keep(self, key: str, packed: bytes, status: PipelineStatus) -> None:
        self._kept[key] = packed, status
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)


def read(key: str, value: bytes) -> PipelineStatus | None:
    """The status, or None if it can't be understood."""
    status = read_model(PipelineStatus, value)
    if status is None:
        log.warning("unreadable status, made anew", pipeline=key)
    return status
