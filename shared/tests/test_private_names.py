"""Private names of nats-py that are used here: one test each, so that another version of it says which went.

`~=2.16.0` in the pyproject.toml is because of these.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from nats.aio import client as client_module
from nats.aio import transport as transport_module
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.client import JetStreamContext
from nats.micro.request import Request
from nats.protocol import parser

METHODS: dict[tuple[type, str], list[str]] = {
    (Client, "_process_err"): ["self", "err_msg"],
    (Client, "_process_op_err"): ["self", "e"],
    (Client, "_request_sub_callback"): ["self", "msg"],
    (Client, "_is_control_message"): ["self", "data", "header"],
    (Client, "_build_message"): ["self", "sid", "subject", "reply", "data", "headers"],
    (Client, "_process_headers"): ["self", "headers"],
    (Client, "_process_msg"): ["self", "sid", "subject", "reply", "data", "headers"],
    (Client, "_send_publish"): ["self", "subject", "reply", "payload", "payload_size", "headers"],
    (Client, "_send_subscribe"): ["self", "sub"],
    (Client, "_process_pong"): ["self"],
    (Client, "_setup_nkeys_connect"): ["self"],
    (Client, "_process_connect_init"): ["self"],
    (Client, "_connect_command"): ["self"],
    (Client, "_remove_sub"): ["self", "sid", "max_msgs"],
    (Subscription, "_stop_processing"): ["self"],
    (transport_module.TcpTransport, "connect"): [
        "self",
        "uri",
        "buffer_size",
        "connect_timeout",
    ],
    (JetStreamContext, "_api_request"): ["self", "req_subject", "req", "timeout"],
}
ATTRIBUTES: dict[type, list[str]] = {
    Client: [
        "_current_server",
        "_error_cb",
        "_nkeys_seed",
        "_nuid",
        "_pongs",
        "_public_nkey",
        "_server_info",
        "_signature_cb",
        "_subs",
        "_transport",
        "_user_credentials",
        "_user_jwt_cb",
        "options",
    ],
    Subscription: ["_id", "_jsi", "_queue", "_subject"],
    JetStreamContext: ["_prefix"],
    JetStreamContext.PullSubscription: ["_consumer", "_stream", "_sub"],
    transport_module.TcpTransport: ["_io_reader", "_io_writer"],
    Request: ["_msg"],
}


def name_of(value: object) -> str:
    return value.__name__ if isinstance(value, type) else str(value)


@pytest.mark.parametrize(("kind", "name"), METHODS, ids=name_of)
def test_a_method_takes_what_is_handed_on_to_it(kind: type, name: str) -> None:
    taken = list(inspect.signature(getattr(kind, name)).parameters)
    assert taken == METHODS[kind, name]


@pytest.mark.parametrize(
    ("kind", "name"), [(k, n) for k, names in ATTRIBUTES.items() for n in names], ids=name_of
)
def test_an_attribute_is_set_where_it_is_looked_for(kind: type, name: str) -> None:
    assert hasattr(kind, name) or f"self.{name}" in inspect.getsource(kind)


def test_the_parsers_expressions_are_there_to_be_put_right() -> None:
    assert parser.MSG_RE.pattern.startswith(b"\\AMSG")
    assert parser.HMSG_RE.pattern.startswith(b"\\AHMSG")


def test_the_client_takes_its_transport_from_its_module() -> None:
    assert "TcpTransport" in vars(client_module)
    assert "TcpTransport()" in inspect.getsource(Client)


def test_the_libraries_of_websockets_are_names_of_the_transports_module() -> None:
    assert "aiohttp" in inspect.getsource(transport_module)


def test_a_message_is_made_from_what_is_read() -> None:
    made: Any = Msg(Client(), subject="a", reply="b", data=b"c", headers=None)
    assert (made.subject, made.reply, made.data) == ("a", "b", b"c")
