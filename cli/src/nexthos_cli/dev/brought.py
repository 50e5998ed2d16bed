"""Which pipelines a folder brought, remembered across runs: only those are removed with their file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


def state_folder(environ: Mapping[str, str], watched: Path, server: str) -> Path:
    """Where dev keeps its data for this folder and server ("" for the embedded one)."""
    base = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME", "/")) / ".local/state")
    key = hashlib.sha256(f"{watched}\n{server}".encode()).hexdigest()[:8]
    return Path(base) / "nexthos" / f"dev-{watched.name or 'root'}-{key}"


@dataclass(slots=True)
class Brought:
    """Ids that this folder brought, each with the file it came from."""

    path: Path
    files: dict[str, str]

    @classmethod
    def load(cls, folder: Path) -> Brought:
        """What earlier runs noted; nothing if there were none, or if the note is damaged."""
        path = folder / "brought.json"
        try:
            files = json.loads(path.read_text())
        except (OSError, ValueError):
            files = {}
        sound = isinstance(files, dict) and all(isinstance(f, str) for f in files.values())
        return cls(path, files if sound else {})

    def note(self, files: Mapping[str, str]) -> None:
        """Remember, before anything is written to the store: a crash must not lose an id."""
        self.files = {**self.files, **files}
        self._save()

    def forget(self, pipeline_id: str) -> None:
        """It was removed."""
        self.files.pop(pipeline_id, None)
        self._save()

    def _save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".tmp")
        fresh.write_text(json.dumps(self.files, indent=1, sort_keys=True))
        os.replace(fresh, self.path)
