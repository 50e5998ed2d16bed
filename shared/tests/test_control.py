"""What the control bucket holds, read by both sides whatever somebody put there."""

from __future__ import annotations

import pytest
from msgspec import structs

from nexthos_shared.model.control import (
    Abandonment,
    Claim,
    abandoned_key,
    abandoned_place,
    read_abandonment,
    read_claim,
    read_holder,
    read_installation,
)
from nexthos_shared.model.stored import encode

CLAIM = Claim(holder="a", host="h", since=1.0, ttl=3.0, life="x")


def test_a_lease_is_held_until_it_is_released() -> None:
    released = structs.replace(CLAIM, released=True)
    assert read_holder(encode(CLAIM)) == CLAIM
    assert read_holder(encode(released)) is None
    assert read_claim(encode(released)) == released


@pytest.mark.parametrize("value", [None, b"", b"me", b"{}", b"[1]", b"\xff", b"x" * 10_000])
def test_what_is_no_lease_is_held_by_nobody_and_raises_nothing(value: bytes | None) -> None:
    assert read_claim(value) is None
    assert read_holder(value) is None


@pytest.mark.parametrize("place", ["host-1", "docker.eu.host", "a.>"])
def test_the_key_of_a_place_that_is_declared_gone_names_it(place: str) -> None:
    assert abandoned_place(abandoned_key(place)) == place


@pytest.mark.parametrize("key", ["lease", "installation", "abandoned", ""])
def test_other_keys_declare_no_place_gone(key: str) -> None:
    assert abandoned_place(key) is None


def test_a_declaration_by_hand_counts_too() -> None:
    assert read_abandonment(b"gone!") == Abandonment(by="somebody", at=None)
    assert read_abandonment(encode(Abandonment(by="a@b", at=5.0))).at == 5.0


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (b"0123456789ab", "0123456789ab"),
        (b"0123456789AB", None),
        (b"../../../etc", None),
        (b"0123456789ab\n", None),
        (b"", None),
        (None, None),
    ],
)
def test_an_installation_is_twelve_hex_digits_or_none(
    value: bytes | None, read: str | None
) -> None:
    assert read_installation(value) == read
