"""What the runner asks NATS for: one subject, and nothing that others could have put into it."""

import socket

import pytest

from nexthos_runner.failed import Failed
from nexthos_runner.wire import Wire
from nexthos_shared.exit_codes import Exit


@pytest.mark.fault(102)
@pytest.mark.parametrize(
    "subject",
    [
        "$JS.API.DIRECT.GET.OBJ_a.$O.a.C.x y 0\r\n\r\nPUB $JS.API.STREAM.PURGE.KV_a 0\r\n\r\n",
        "$JS.API.DIRECT.GET.OBJ_a.$O.a.C.*",
        "$JS.API.DIRECT.GET.OBJ_a.$O.a.C.>",
        "a b",
        "a\tb",
        "a\x00b",
        "a\x7fb",
        "",
    ],
)
def test_a_subject_that_is_more_than_one_is_never_sent(subject: str) -> None:
    ours, server = socket.socketpair()
    with ours, server, Wire(ours, "_INBOX", "nats://test") as wire:
        with pytest.raises(Failed, match="no subject that may be asked") as failed:
            wire.get(subject)
        assert failed.value.code is Exit.DAMAGED
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.recv(1)
