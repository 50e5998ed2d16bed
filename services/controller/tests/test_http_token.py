"""A token for what is read over HTTP: where it comes from, and what it keeps from other users."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from nexthos_controller.executors.fake import FakeExecutor
from nexthos_controller.lifecycle.app import running_controller
from nexthos_controller.settings import Settings, load_settings, read_token
from nexthos_shared.errors import SettingsError
from nexthos_shared.nats.connection import ConnectOptions
from nexthos_testing.nats import NatsServer

TOKEN = "0123456789abcdef"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    return file


def test_the_token_is_the_line_in_the_file_that_a_variable_names(file: Path) -> None:
    settings, warnings = load_settings({"NEXTHOS_HTTP_TOKEN_FILE": str(file)})
    assert settings.http_token_file is not None
    assert read_token(settings.http_token_file) == TOKEN
    assert warnings == []


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"short", b"tw0 0f-them 1n-a l1ne", b"0123456789abcdef\nx", b"\xff" * 20],
)
def test_a_file_without_a_token_is_refused_and_its_content_not_told(
    file: Path, content: bytes
) -> None:
    file.write_bytes(content)
    with pytest.raises(SettingsError, match="NEXTHOS_HTTP_TOKEN_FILE") as refused:
        read_token(file)
    for word in content.split():
        assert word.decode(errors="replace") not in str(refused.value).replace(str(file), "")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        read_token(tmp_path / "none")


def status(url: str, token: str = "") -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urlopen(Request(url, headers=headers), timeout=10) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


async def test_without_it_neither_targets_nor_metrics_of_any_kind_are_told(
    nats_server: NatsServer, namespace: str, tmp_path: Path, file: Path
) -> None:
    settings = Settings(
        namespace=namespace,
        executor="fake",
        http="127.0.0.1:0",
        http_token_file=file,
        state_dir=tmp_path / "state",
    )
    options = ConnectOptions(url=nats_server.url)
    async with running_controller(settings, options, {"fake": FakeExecutor}) as running:
        await running.leading()
        told = {"/sd": 200, "/metrics": 200, "/pipelines/orders/0/metrics": 404}
        for path, with_it in told.items():
            url = f"{running.http}{path}"
            assert await asyncio.to_thread(status, url) == 401
            assert await asyncio.to_thread(status, url, TOKEN[:-1]) == 401
            assert await asyncio.to_thread(status, url, TOKEN) == with_it
        for path in ("/livez", "/readyz"):
            assert await asyncio.to_thread(status, f"{running.http}{path}") == 200
