"""A program that no machine can run."""

from __future__ import annotations

import struct
from pathlib import Path


def of_another_machine(file: Path) -> None:
    """An ELF header, of a machine that no kernel knows."""
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    file.write_bytes(head + struct.pack("<HHI", 2, 0xFFFE, 1) + bytes(100))
    file.chmod(0o755)
