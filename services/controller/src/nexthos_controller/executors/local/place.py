"""The name of this machine as a place: stable over reboots, different on every machine."""

from __future__ import annotations

import hashlib
import re
import secrets
from pathlib import Path

MACHINE_ID = Path("/etc/machine-id")


def place_of(state_dir: Path, machine_id: Path = MACHINE_ID) -> str:
    """12 hex digits of the hashed machine id; where there is none, a random one kept in `state_dir`.

    Hashed, as machine-id(5) asks of everybody who shows it to others.
    """
    try:
        text = machine_id.read_text().strip()
    except OSError:
        text = ""
    if not re.fullmatch(r"[0-9a-f]{32}", text):  # none, empty or "uninitialized" in many containers
        text = _kept(state_dir / "place")
    return hashlib.sha256(f"nexthos place {text}".encode()).hexdigest()[:12]


def _kept(file: Path) -> str:
    try:
        return file.read_text()
    except FileNotFoundError:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.write_text(secrets.token_hex(16))
        return file.read_text()
