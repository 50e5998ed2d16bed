"""A wire to a local socket's server that can be cut, and mended, while both ends live.

In threads, so that a test may cut it from synchronous code in the middle of anything.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path


class Wire:
    """Connections to `address`, or to the Unix socket `at`, reach the Unix socket `path` until `cut`."""

    def __init__(self, path: Path, at: Path | None = None) -> None:
        self._path = str(path)
        self._ends: set[socket.socket] = set()
        self._whole = True
        if at is None:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        else:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(at))
            self._listener.listen()
            self.address = f"unix://{at}"
        threading.Thread(target=self._accept, daemon=True, name="wire").start()

    def cut(self) -> None:
        """End every connection, and every new one at once."""
        self._whole = False
        for end in tuple(self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Carry connections again."""
        self._whole = True

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if not self._whole:
                    near.close()
                    continue
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._path)
                self._ends |= {near, far}
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
        self._ends.discard(source)
        if target not in self._ends:  # both ways are done
            source.close()
            target.close()
