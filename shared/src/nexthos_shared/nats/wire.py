"""nats-py's reading and its transports, put right where they are read: importing this does it.

Knows nothing of what is sent.
"""

from __future__ import annotations

import importlib
import re
from typing import Any

from nats.aio import client, transport
from nats.protocol import parser

from nexthos_shared.errors import SettingsError

_SAID = re.compile(rb"-ERR\s+'([^'\r\n]+)'")

# Between the parts of a line NATS has spaces and tabs. For nats-py a vertical tab or a form feed in a
# subject is one more: it hangs up, and once more whenever a key of that kind is read again.
parser.MSG_RE, parser.HMSG_RE = (
    re.compile(known.pattern.replace(rb"[^\s]", rb"[^ \t\r\n]"))
    for known in (parser.MSG_RE, parser.HMSG_RE)
)


class _Tcp(transport.TcpTransport):
    """nats-py's, less a warning of asyncio's for each connection over TLS that the server ends.

    And less a socket for each try to reconnect that a frozen server took and did not answer.
    """

    async def connect(self, *arguments: Any, **more: Any) -> None:
        self.close()  # type: ignore[no-untyped-call]
        await super().connect(*arguments, **more)

    async def connect_tls(self, *arguments: Any, **more: Any) -> None:
        await super().connect_tls(*arguments, **more)
        assert self._io_writer is not None
        # The half that is still open can't be written to: so asyncio's own `open_connection` has it.
        protocol: Any = self._io_writer.transport.get_protocol()
        protocol._over_ssl = True


client.TcpTransport = _Tcp  # type: ignore[attr-defined]


def last_words(of: Any) -> str | None:
    """The error that a server sent before it hung up on a transport which was still writing."""
    reader = getattr(of, "_io_reader", None)
    said = _SAID.search(bytes(reader._buffer)) if reader is not None else None
    return said[1].decode(errors="replace") if said else None


def know_websockets() -> None:
    """Give nats-py the libraries that `import_lightly` left out. Raises SettingsError if they are missing."""
    try:
        for name in ("aiohttp", "multidict"):
            setattr(transport, name, importlib.import_module(name))
    except ImportError as error:
        words = f"NATS over WebSockets needs {error.name}: pip install 'nexthos-shared[websockets]'"
        raise SettingsError(words, field="server") from error
