"""A wire to the Docker daemon on which one answer gets lost: what was asked for is done all the same."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from pathlib import Path

from nexthos_testing.wire import Wire


class DeafWire(Wire):
    """`lose(pattern)`: the next request whose first line matches is carried, its answer is not."""

    def __init__(self, path: Path) -> None:
        self._pattern: re.Pattern[bytes] | None = None
        self._deaf: set[socket.socket] = set()
        self.lost = threading.Event()
        super().__init__(path)

    def lose(self, pattern: str) -> None:
        self.lost.clear()
        self._pattern = re.compile(pattern.encode())

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        asks = target.family == socket.AF_UNIX
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if asks and self._pattern and self._pattern.match(data):
                    self._pattern = None
                    self._deaf.add(target)
                elif not asks and source in self._deaf:
                    self.lost.set()
                    break
                target.sendall(data)
        self._deaf.discard(source)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._ends.discard(source)
        if target not in self._ends:  # both ways are done
            source.close()
            target.close()
