"""A daemon that does not answer, or answers nonsense: what was opened for asking is closed."""

from __future__ import annotations

import gc
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nexthos_controller.executors.docker.daemon import Daemon
from nexthos_controller.executors.docker.settings import DockerSettings
from nexthos_shared.errors import ExecutorUnreachable

REFUSAL = b"HTTP/1.1 500 no\r\nContent-Length: 2\r\n\r\nno"
NONSENSE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]"


def nobody(path: Path) -> None:
    """No file at all."""


def left_behind(path: Path) -> None:
    """A file that a killed daemon left."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


@contextmanager
def somebody(path: Path, answer: bytes) -> Iterator[None]:
    """Takes connections, reads a little, answers this, closes."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


async def ask(path: Path) -> None:
    """Ask three times, as a controller does, and let go. Every warning is an error, also a collector's."""
    daemon = Daemon(DockerSettings(host=f"unix://{path}", timeout=5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            with pytest.raises(ExecutorUnreachable):
                await daemon.place()
        daemon.close()
        gc.collect()


@pytest.mark.fault(117)
@pytest.mark.parametrize("makes", [nobody, left_behind])
async def test_where_nobody_answers_no_socket_stays_open(
    tmp_path: Path, makes: Callable[[Path], None]
) -> None:
    path = tmp_path / "docker.sock"
    makes(path)
    await ask(path)


@pytest.mark.fault(117)
@pytest.mark.parametrize(
    "answer", [b"", b"\0\1\2\r\n", REFUSAL, NONSENSE], ids=["none", "bytes", "500", "[]"]
)
async def test_where_somebody_answers_nonsense_no_socket_stays_open(
    tmp_path: Path, answer: bytes
) -> None:
    path = tmp_path / "docker.sock"
    with somebody(path, answer):
        await ask(path)
