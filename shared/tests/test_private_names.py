"""Private names of nats-py that we use. If one of these fails, read its changes before the pin moves."""

import ast
import asyncio
import inspect
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio import client, transport
from nats.aio.client import Client, Srv
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.client import JetStreamContext
from nats.micro.request import Request
from nats.nuid import NUID
from nats.protocol import parser

from nexthos_shared.nats import wire

ROOT = Path(__file__).parents[2]
SOURCES = [ROOT / "shared/src", ROOT / "services/controller/src", ROOT / "cli/src"]

# Methods: those that we override, and those that we call. Arguments are given by position and by name.
METHODS = [
    (Client, "_build_message", "sid subject reply data headers", False),
    (Client, "_connect_command", "", False),
    (Client, "_is_control_message", "data header", False),
    (Client, "_process_connect_init", "", True),
    (Client, "_process_err", "err_msg", True),
    (Client, "_process_headers", "headers", True),
    (Client, "_process_msg", "sid subject reply data headers", True),
    (Client, "_process_op_err", "e", True),
    (Client, "_process_pong", "", True),
    (Client, "_remove_sub", "sid max_msgs", False),
    (Client, "_request_sub_callback", "msg", True),
    (Client, "_send_publish", "subject reply payload payload_size headers", True),
    (Client, "_send_subscribe", "sub", True),
    (Client, "_setup_nkeys_connect", "", False),
    (JetStreamContext, "_api_request", "req_subject req timeout", True),
    (Subscription, "_stop_processing", "", False),
    (transport.TcpTransport, "connect", "uri buffer_size connect_timeout", True),
    (transport.TcpTransport, "connect_tls", "uri ssl_context buffer_size connect_timeout", True),
    (transport.TcpTransport, "close", "", False),
    (NUID, "next", "", False),
]
NOTHING = type(None)
# Attributes of a connection over TCP, of its transport, of a feed's subscription, and of a request.
ATTRIBUTES = [
    ("client", "_current_server", Srv),
    ("client", "_error_cb", object),
    ("client", "_nkeys_seed", NOTHING),
    ("client", "_nuid", NUID),
    ("client", "_pongs", list),
    ("client", "_public_nkey", NOTHING),
    ("client", "_server_info", dict),
    ("client", "_signature_cb", NOTHING),
    ("client", "_subs", dict),
    ("client", "_transport", transport.TcpTransport),
    ("client", "_user_credentials", NOTHING),
    ("client", "_user_jwt_cb", NOTHING),
    ("jetstream", "_prefix", str),
    ("transport", "_io_reader", asyncio.StreamReader),
    ("transport", "_io_writer", asyncio.StreamWriter),
    ("reader", "_buffer", bytearray),
    ("push", "_consumer", str),
    ("push", "_stream", str),
    ("push", "_sub", Subscription),
    ("subscription", "_id", int),
    ("subscription", "_jsi", JetStreamContext._JSI),
    ("subscription", "_queue", str),
    ("subscription", "_subject", str),
    ("state", "_active", bool),
    ("state", "_hbtask", asyncio.Task),
    ("request", "_msg", Msg),
]
OF_OTHERS = {"_error", "_replace"}  # of `Link`, and of named tuples


@pytest.mark.parametrize(
    ("owner", "name", "arguments", "awaited"), METHODS, ids=[row[1] for row in METHODS]
)
def test_a_method_that_we_override_or_call_has_the_arguments_that_we_know(
    owner, name, arguments, awaited
) -> None:
    method = getattr(owner, name)
    assert list(inspect.signature(method).parameters)[1:] == arguments.split()
    assert inspect.iscoroutinefunction(method) is awaited


@asynccontextmanager
async def plain_client(url: str) -> Any:
    """nats-py's own, and none of ours."""
    nc = Client()
    await nc.connect(url)
    try:
        yield nc
    finally:
        await nc.close()


@pytest.mark.parametrize(
    ("owner", "name", "kind"), ATTRIBUTES, ids=[f"{row[0]}{row[1]}" for row in ATTRIBUTES]
)
async def test_an_attribute_that_we_read_is_of_the_kind_that_we_know(
    nats_server, owner, name, kind
) -> None:
    async with plain_client(nats_server.url) as nc:
        js = nc.jetstream()
        await js.add_stream(name="private", subjects=["private.>"])
        try:
            await js.publish("private.a", b"1")
            push = await js.subscribe("private.a", ordered_consumer=True, idle_heartbeat=0.5)
            message = await push.next_msg(5)
            subscription = push._sub
            assert subscription._jsi is not None
            found = {
                "client": nc,
                "jetstream": js,
                "transport": nc._transport,
                "reader": nc._transport._io_reader,
                "push": push,
                "subscription": subscription,
                "state": subscription._jsi,
                "request": Request(message),
            }
            assert isinstance(getattr(found[owner], name), kind)
            await push.unsubscribe()
        finally:
            await js.delete_stream("private")


async def test_a_subscription_is_found_by_its_number(nats_server) -> None:
    async with plain_client(nats_server.url) as nc:
        one = await nc.subscribe("a")
        assert nc._subs == {one._id: one}
        nc._remove_sub(one._id)
        assert nc._subs == {}


def test_what_reads_a_line_of_the_protocol_is_ours() -> None:
    """`nats.wire` replaces these two; the parser looks them up by these names at each message."""
    source = inspect.getsource(parser.Parser.parse)
    assert "MSG_RE.match(" in source
    assert "HMSG_RE.match(" in source
    assert parser.MSG_RE.fullmatch(b"MSG a\x0bb 1 5\r\n")
    assert parser.HMSG_RE.fullmatch(b"HMSG a\x0bb 1 12 17\r\n")


def test_what_connects_is_ours() -> None:
    """`nats.wire` replaces it where the client looks it up."""
    assert client.TcpTransport is wire._Tcp  # type: ignore[attr-defined]
    assert "TcpTransport()" in inspect.getsource(Client)


@pytest.mark.parametrize("name", ["aiohttp", "multidict"])
def test_websockets_come_from_a_name_of_the_transports_module(name: str) -> None:
    """`know_websockets` sets it, where it was left out at the start."""
    assert name in transport.__dict__
    assert f"{name}." in inspect.getsource(transport.WebSocketTransport)


def test_no_other_private_name_of_nats_py_is_used() -> None:
    of_nats = {name for file in Path(nats.__file__).parent.rglob("*.py") for name in _names(file)}
    ours = {
        name for folder in SOURCES for file in folder.rglob("*.py") for name in _of_others(file)
    }
    listed = {row[1] for row in [*METHODS, *ATTRIBUTES]}
    assert (ours & of_nats) - listed - OF_OTHERS == set()


def _names(file: Path) -> Iterator[str]:
    nodes = ast.walk(ast.parse(file.read_text()))
    return (node.attr for node in nodes if isinstance(node, ast.Attribute) and _is_private(node))


def _of_others(file: Path) -> Iterator[str]:
    """Private attributes of other objects than `self`; in a subclass of nats-py's, of `self` too."""
    tree = ast.parse(file.read_text())
    own = {
        id(node)
        for scope in ast.walk(tree)
        if isinstance(scope, ast.ClassDef) and not _extends_nats(scope)
        for node in ast.walk(scope)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self"
    }
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    return (node.attr for node in nodes if _is_private(node) and id(node) not in own)


def _is_private(node: ast.Attribute) -> bool:
    return node.attr.startswith("_") and not node.attr.startswith("__")


def _extends_nats(scope: ast.ClassDef) -> bool:
    return any(ast.unparse(base) in ("Client", "transport.TcpTransport") for base in scope.bases)
