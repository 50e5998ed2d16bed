"""The one way in which the runner fails: an exit code, and a sentence without secrets."""

from __future__ import annotations

from nexthos_shared.exit_codes import Exit


class Failed(Exception):
    """There will be no engine. The message names the thing and never holds a secret."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code
