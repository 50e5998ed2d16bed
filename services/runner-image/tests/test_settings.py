# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, no-warn-unreachable
"""What the runner is told: one variable each, checked, and named where it is wrong."""

from pathlib import Path

import pytest

from nexthos_runner import settings
from nexthos_runner.failed import Failed
from nexthos_shared.exit_codes import Exit

LEAST = {"NEXTHOS_PIPELINE": "orders", "NEXTHOS_VERSION": "3"}


def read(**given):
    return settings.read(LEAST | given)


def test_two_variables_are_enough_by_hand():
    told = read()
    assert (told.pipeline, told.version, told.replica, told.namespace) == (
        "orders",
        "3",
        0,
        "nexthos",
    )
    assert told.store_url == told.nats_url == "nats://127.0.0.1:4222"
    assert (told.address, told.http_password) == ("127.0.0.1:4195", "")
    assert (told.digest, told.folder, told.metrics, told.is_job) == (None, None, None, False)
    assert (told.fetch_within, told.stop_timeout) == (30.0, 30.0)
    assert told.env == {}


def test_the_store_is_the_engines_nats_unless_it_is_named():
    one = read(NATS_URL="nats://a:1", NATS_CREDS="/a.creds")
    assert (one.store_url, one.store_creds) == ("nats://a:1", Path("/a.creds"))
    other = read(NATS_URL="nats://a:1", NATS_CREDS="/a.creds", NEXTHOS_STORE_URL="nats://b:2")
    assert (other.store_url, other.store_creds) == ("nats://b:2", None)
    own = read(NATS_CREDS="/a.creds", NEXTHOS_STORE_CREDS="/b.creds")
    assert (own.nats_creds, own.store_creds) == (Path("/a.creds"), Path("/b.creds"))


def test_paths_are_absolute_since_the_working_folder_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = read(NEXTHOS_DIR="here", NATS_CREDS="a.creds")
    assert (told.folder, told.nats_creds) == (tmp_path / "here", tmp_path / "a.creds")


def test_everything_an_executor_says_is_taken():
    told = read(
        NEXTHOS_REPLICA="2",
        NEXTHOS_LIFECYCLE="job",
        NEXTHOS_STOP_TIMEOUT="12.5",
        NEXTHOS_FETCH_WITHIN="0",
        NEXTHOS_METRICS="no",
        NEXTHOS_HTTP_ADDRESS="0.0.0.0:4195",
        NEXTHOS_HTTP_PASSWORD="1f" * 16,
        NEXTHOS_DIGEST="sha256:" + "0" * 64,
        NEXTHOS_ENV='{"REGION": "eu", "TZ": "UTC", "NOTHING": ""}',
    )
    assert (told.replica, told.is_job, told.stop_timeout, told.fetch_within) == (2, True, 12.5, 0.0)
    assert (told.metrics, told.address, told.http_password) == (False, "0.0.0.0:4195", "1f" * 16)
    assert told.digest == "sha256:" + "0" * 64
    assert told.env == {"REGION": "eu", "TZ": "UTC", "NOTHING": ""}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NEXTHOS_PIPELINE", ""),
        ("NEXTHOS_PIPELINE", "../etc"),
        ("NEXTHOS_VERSION", ""),
        ("NEXTHOS_VERSION", "a/b"),
        ("NEXTHOS_NAMESPACE", "Big"),
        ("NEXTHOS_REPLICA", "-1"),
        ("NEXTHOS_REPLICA", "1.5"),
        ("NEXTHOS_FETCH_WITHIN", "soon"),
        ("NEXTHOS_FETCH_WITHIN", "nan"),
        ("NEXTHOS_STOP_TIMEOUT", "inf"),
        ("NEXTHOS_DIGEST", "sha256:12"),
        ("NEXTHOS_LIFECYCLE", "forever"),
        ("NEXTHOS_METRICS", "true"),
        ("NEXTHOS_HTTP_ADDRESS", "4195"),
        ("NEXTHOS_HTTP_ADDRESS", "a:1,b:2"),
        ("NEXTHOS_HTTP_PASSWORD", "x1f"),
        ("NEXTHOS_ENV", "REGION"),
        ("NEXTHOS_ENV", "[" * 100_000),
        ("NEXTHOS_ENV", '["REGION"]'),
        ("NEXTHOS_ENV", '{"REGION": 1}'),
        ("NEXTHOS_ENV", '{"NOT SET": ""}'),
        ("NEXTHOS_ENV", '{"A": "\\u0000"}'),
        ("NEXTHOS_ENV", '{"A": "\\ud800"}'),
        ("NEXTHOS_ENV", '{"NEXTHOS_STORE_URL": "nats://other:1"}'),
        ("NEXTHOS_ENV", '{"NEXTHOS_JOB_PATH": "/x"}'),
    ],
)
def test_what_is_wrong_is_named(name, value):
    with pytest.raises(Failed, match=f"^{name}: ") as failed:
        read(**{name: value})
    assert failed.value.code is Exit.USAGE
