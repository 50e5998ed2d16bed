"""The few files that go into a container and come out of it, as the tars that the daemon takes."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Mapping


def packed(files: Mapping[str, bytes], user: str) -> bytes:
    """A tar of `files`, by name, readable by `user` (uid[:gid]) alone."""
    uid, _, gid = user.partition(":")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o600
            entry.uid, entry.gid = int(uid), int(gid or uid)
            entry.mtime = int(time.time())
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def unpacked(tar: bytes, most: int) -> bytes:
    """The content of the one file in it; empty if it holds none, or one of more than `most` bytes.

    Never raises: what is in it is a pipeline's. No link is followed.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(tar), mode="r:") as archive:
            entry = archive.next()
            if entry is None or not entry.isreg() or entry.issparse() or entry.size > most:
                return b""
            file = archive.extractfile(entry)
            return file.read() if file is not None else b""
    except (tarfile.TarError, OSError, ValueError, EOFError):
        return b""
