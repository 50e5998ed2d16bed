"""Which subjects are inboxes, whatever somebody calls a reply."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexthos_shared.nats.inboxes import is_inbox, reaches


@pytest.mark.parametrize(
    "subject",
    [
        "_INBOX.Yk2v9bMBkQzBz6gQyJ0Vra",
        "_INBOX.Yk2v9bMBkQzBz6gQyJ0Vra.aB3dE5gH",
        "_INBOX_runner.x",
        "_INBOX_a-b.x.y",
        "_R_.3xJdpO",
        "_R_.3xJdpO.8yK2",
        "_INBOX.a=b_c-d",
    ],
)
def test_inboxes_of_clients_of_users_and_of_imports_are_inboxes(subject: str) -> None:
    assert is_inbox(subject)


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "_INBOX",
        "_INBOX.",
        "_INBOX..x",
        "_INBOX.x.",
        "._INBOX.x",
        "_INBOX.>",
        "_INBOX.*",
        "_INBOX.x*",
        "_INBOX.x>y",
        "_INBOX_.x",
        "_INBOXES.x",
        "_inbox.x",
        "INBOX.x",
        "_R_",
        "_R_x.y",
        "_INBOX.x y",
        "_INBOX.x\r\nPUB a 0",
        "_INBOX.x\t",
        "_INBOX.x\x0b",
        "_INBOX.x\x85",
        "_INBOX.x\x00",
        "_INBOX.\x7f",
        "_INBOX.é",
        "_INBOX.x\ufffd",
        "_INBOX_é.x",
        "_INBOX." + "x" * 300,
        "orders.new",
        "$JS.API.STREAM.DELETE.KV_x",
        "$JS.ACK.a.b.1.2.3.4.5",
        "$KV.x.y",
        "$O.x.M.y",
        "$SRV.PING",
        "$SYS.REQ.ACCOUNT.PING.CONNZ",
        "x.svc.status",
        "x_INBOX.y",
    ],
)
def test_all_else_is_none(subject: str) -> None:
    assert not is_inbox(subject)


def test_a_configured_prefix_is_a_beginning_too() -> None:
    assert is_inbox("acme.inboxes.x", "acme.inboxes")
    assert is_inbox("_INBOX.x", "acme.inboxes")
    assert not is_inbox("acme.inboxes", "acme.inboxes")
    assert not is_inbox("acme.inboxes.>", "acme.inboxes")
    assert not is_inbox("acme.inboxesx.y", "acme.inboxes")
    assert not is_inbox("$JS.API.INFO", "$JS.API")


@given(st.text(max_size=40), st.sampled_from(["", "_INBOX.", "_INBOX_a.", "_R_.", "p."]))
def test_what_is_an_inbox_is_printable_and_begins_like_one(rest: str, beginning: str) -> None:
    subject = beginning + rest
    if is_inbox(subject, "p"):
        assert subject.isascii()
        assert subject.isprintable()
        assert not set(subject) & set("*> ")
        assert all(subject.split("."))
        assert subject.startswith(("_INBOX.", "_INBOX_", "_R_.", "p."))


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        ("a.b", "a.b", True),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        (">", "a", True),
        ("a.b", "a.c", False),
    ],
)
def test_a_subscription_receives_what_its_pattern_says(
    pattern: str, subject: str, expected: bool
) -> None:
    assert reaches(pattern, subject) is expected
