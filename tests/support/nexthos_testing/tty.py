"""A command on a terminal: what has appeared there, judged as a terminal would."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nexthos_shared.printable import printable

# What somebody would store to deceive a terminal: a title, a link, an erased screen, hidden and red text, an
# overwritten line, a reordered one, invisible characters, a flood of marks, and a line of its own.
FORGED = "orders  published  Running  9/9"
HOSTILE = (
    "\x1b]0;title\x07\x1b]8;;https://x\x1b\\link\x1b]8;;\x1b\\\x1b[2J\x1b[8m\x9b5mred\rover\b\b"
    f"\u202eback\u2069\u2028\u2029\u200b\ufeff\U000e0041e{chr(0x301) * 40}\x7f\t\n{FORGED}\n"
)

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# What rich does besides: hides and shows the cursor, goes up, erases a line.
DRAWN = re.compile(r"\x1b\[(\?25[lh]|\d*[AK]|\d*G)|\r")


@dataclass(frozen=True)
class Shown:
    """What a command left on the terminal, and how it ended."""

    text: str
    code: int

    @property
    def lines(self) -> list[str]:
        """Without colours and movements of the cursor."""
        return DRAWN.sub("", COLOUR.sub("", self.text)).split("\n")

    @property
    def obeyed(self) -> list[str]:
        """Lines with something in them that a terminal obeys, beyond what rich and click make."""
        return [line for line in self.lines if printable(line) != line]


def on_terminal(
    command: Sequence[str | bytes | Path],
    environ: Mapping[str, str],
    *,
    columns: int = 120,
    typed: bytes = b"",
    until: str = "",
) -> Shown:
    """Run a command with a terminal of that width for its three streams, to its end.

    Once it has shown `until`, it is asked to end, as by Ctrl-C.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        command,
        env={**os.environ, "TERM": "xterm-256color", **environ},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    if typed:
        os.write(ours, typed)
    seen, waited = b"", bool(until)
    try:
        while chunk := os.read(ours, 65536):
            seen += chunk
            if waited and until.encode() in seen:
                process.send_signal(signal.SIGINT)
                waited = False
    except OSError as error:
        if error.errno != errno.EIO:  # nobody has it open any more
            raise
    finally:
        os.close(ours)
        code = process.wait(timeout=30)
    return Shown(seen.decode(errors="surrogateescape"), code)
