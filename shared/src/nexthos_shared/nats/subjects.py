"""What may stand in a subject that is written, and whose word a message to a watch's inbox is.

Comes in: subjects and headers as they are on the wire, made of what others wrote. Goes out: yes, no, or
InvalidName. Knows no connection.
"""

from __future__ import annotations

import re
import secrets

from nats.nuid import NUID

from nexthos_shared.errors import InvalidName

# White space and controls end a line of the protocol.
_NO_SUBJECT = re.compile(r"[\x00-\x20\x7f]|\A\Z")
_WILDCARD = re.compile(r"(?:\A|\.)[*>](?:\.|\Z)")
ACK = re.compile(
    rb"\$JS\.ACK(?:\.[^.]+){2}(?:\.\d{1,20}){5}|\$JS\.ACK(?:\.[^.]+){4}(?:\.\d{1,20}){5}(?:\..*)?"
)
_STALLED = re.compile(rb"nats-consumer-stalled\s*:\s*(\S*)", re.IGNORECASE)
_FLOW = b"$JS.FC."


class Unguessable(NUID):
    """Names of inboxes. nats-py counts them up: who was asked one thing could answer what is asked next."""

    def next(self) -> bytearray:
        """22 characters that nobody else can know."""
        return bytearray(secrets.token_hex(11).encode())


def check_printable(subject: str) -> None:
    """Raise InvalidName where it would end a line of the protocol, or be no subject at all."""
    if _NO_SUBJECT.search(subject):
        words = "it is empty, or white space or controls are in it"
        raise InvalidName(f"subject {subject[:60]!r}: {words}")


def readable(subject: bytes) -> bytes:
    """The same where it is UTF-8, else with escapes."""
    return subject.decode(errors="backslashreplace").encode()


def check_literal(subject: str) -> None:
    """Raise InvalidName unless this is one subject: no white space, no controls, no wildcards."""
    check_printable(subject)
    if _WILDCARD.search(subject):
        raise InvalidName(f"subject {subject[:60]!r}: a wildcard is no subject to write to")


def is_control(reply: bytes, headers: bytes | None) -> bool:
    """Whether a message under the inbox's own subject can be the server's word to its consumer.

    What is stored comes under its own subject, and what the server has us answer to is flow control.
    """
    if not headers or not headers.startswith(b"NATS/1.0 100"):
        return False
    answers = [reply] if reply else []
    answers += _STALLED.findall(headers)
    return all(answer.startswith(_FLOW) for answer in answers)
