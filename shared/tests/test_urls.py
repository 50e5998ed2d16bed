from __future__ import annotations

import pytest

from nexthos_shared.nats.urls import has_credentials, is_loopback, shown


@pytest.mark.parametrize(
    "url", ["nats://u:p@a:1", "nats://token@a", "u:p@a", "nats://a,nats://u:p@b", "nats://a, u@b/x"]
)
def test_credentials_are_found_wherever_they_stand(url):
    assert has_credentials(url)
    assert "@" not in shown(url)


@pytest.mark.parametrize("url", ["nats://a:4222", "a", "nats://a, nats://b", "tls://a:1/x@y"])
def test_what_holds_none_is_left_as_it_is(url):
    assert not has_credentials(url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("nats://127.0.0.1:4222", True),
        ("localhost", True),
        ("tls://[::1]:4222", True),
        ("nats://u:p@localhost:1,127.0.0.1", True),
        ("nats://localhost,nats://b", False),
        ("nats://localhost.example:4222", False),
        ("nats://10.0.0.1:4222", False),
    ],
)
def test_loopback_is_where_no_other_machine_answers(url, expected):
    assert is_loopback(url) is expected
