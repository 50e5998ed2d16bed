"""Rich's console with nothing in its texts that a terminal obeys; imported only where it is used."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType  # noqa: TID251
from rich.segment import Segment

from nexthos_shared.printable import printable


class CleanConsole(Console):
    """Colours, the cursor and line feeds are rich's own; what is between them is text."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """As rich does, each piece of text made printable."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(segment.text, lines=True), segment.style)


def console(*, stderr: bool = False, **options: Any) -> CleanConsole:
    """A console; NO_COLOR is heeded by rich itself."""
    return CleanConsole(stderr=stderr, highlight=False, **options)
