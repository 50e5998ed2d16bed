"""The folder of an execution: the configuration that is kept there, and credentials that do not stay.

Comes in: a path, or none (by hand: a new one is made). Goes out: paths, kept bytes. `Failed` with code 73
where it can't be written. Must not know NATS or the engine.

    config.yaml    the bytes that run, 0600, whole or not there
    metrics.prom   the engine's last figures, written by the engine when it ends
"""

from __future__ import annotations

import os
from pathlib import Path

from nexthos_runner import files
from nexthos_runner.failed import Failed
from nexthos_shared import names
from nexthos_shared.exit_codes import Exit
from nexthos_shared.object_format import MAX_CONFIG_BYTES

CONFIG = "config.yaml"
METRICS = "metrics.prom"


class Folder:
    """One execution's, made if it is missing; nobody else may look into what is made here."""

    def __init__(self, path: Path | None) -> None:
        base = os.environ.get("TMPDIR") or "/tmp"
        self.path = path or Path(base).absolute() / f"nexthos-{os.urandom(6).hex()}"
        self.config = self.path / CONFIG
        self.metrics = self.path / METRICS
        try:
            os.makedirs(self.path, mode=0o700, exist_ok=True)
            self.metrics.unlink(missing_ok=True)  # an earlier life's
        except OSError as error:
            raise _unusable(self.path, error) from error

    def kept(self, digest: str) -> bytes | None:
        """The bytes that are here already, if they are exactly those; whatever else is here is not."""
        try:
            content = files.read(self.config, MAX_CONFIG_BYTES + 1, links=False)
        except OSError:
            return None
        return content if names.digest_of(content) == digest else None

    def keep(self, content: bytes) -> None:
        """Put these bytes here, in one step."""
        new = self.path / f".{CONFIG}.new"
        try:
            new.unlink(missing_ok=True)
            # Not synced to the disk: bytes that a crash of the machine damages have another digest.
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
            new.replace(self.config)
        except OSError as error:
            raise _unusable(self.path, error) from error

    def drop(self, creds: Path | None) -> None:
        """Remove the store's credentials, if they lie here: whoever put them does so before each start.

        A file elsewhere is the user's own.
        """
        if creds is None:
            return
        here = os.path.realpath(self.path)  # /var/run is often another name of /run
        if not Path(os.path.realpath(creds.parent)).is_relative_to(here):
            return
        try:
            creds.unlink(missing_ok=True)
        except OSError as error:
            raise _unusable(creds, error) from error


def _unusable(path: Path, error: OSError) -> Failed:
    return Failed(Exit.NO_FOLDER, f"{path}: {error.strerror or error}")
