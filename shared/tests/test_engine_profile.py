"""Which engine a binary is, and how it is called."""

import os
from pathlib import Path

import pytest

from nexthos_shared.engine import EngineProfile, engine_version, locate_engine, profile_of
from nexthos_shared.errors import EngineMissing

BINARY, CONFIG = Path("/opt/engine"), Path("/var/x/config.yaml")
OVERRIDES = ["http.root_path=/x1", "shutdown_delay=0s"]


def script(folder: Path, text: str, name: str = "engine") -> Path:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


def help_of(product: str) -> str:
    return f"echo '  Either run {product} as a stream processor'; echo 'lint streams'"


@pytest.mark.parametrize("distribution", ["benthos", "bento"])
def test_benthos_and_bento_run_a_file_by_flag(distribution):
    argv = EngineProfile(distribution).run_command(BINARY, CONFIG, OVERRIDES)

    flags = ["-s", "http.root_path=/x1", "-s", "shutdown_delay=0s"]
    assert argv == ["/opt/engine", *flags, "-c", "/var/x/config.yaml"]


def test_redpanda_connect_runs_a_file_by_verb_and_sends_no_telemetry():
    argv = EngineProfile("redpanda-connect").run_command(BINARY, CONFIG, OVERRIDES)

    assert argv[:3] == ["/opt/engine", "run", "--disable-telemetry"]
    assert argv[3:] == ["-s", OVERRIDES[0], "-s", OVERRIDES[1], "/var/x/config.yaml"]


@pytest.mark.parametrize("distribution", ["benthos", "bento", "redpanda-connect"])
def test_all_distributions_lint_alike_variables_included(distribution):
    argv = EngineProfile(distribution).lint_command(BINARY, CONFIG)

    assert argv == ["/opt/engine", "lint", "/var/x/config.yaml"]


def test_only_the_benthos_core_has_no_prometheus():
    without = [
        d for d in ("benthos", "bento", "redpanda-connect") if not EngineProfile(d).has_prometheus
    ]

    assert without == ["benthos"]


async def test_the_wheels_engine_is_a_bento_whatever_its_name():
    engine = locate_engine({})

    assert engine.name == "nexthos-engine"
    assert (await profile_of(engine)).distribution == "bento"
    assert "bento v1." in await engine_version(engine)


@pytest.mark.parametrize(
    ("product", "distribution"),
    [("Bento", "bento"), ("Benthos", "benthos"), ("Redpanda Connect", "redpanda-connect")],
)
async def test_a_distribution_is_known_by_what_its_help_says(tmp_path, product, distribution):
    engine = script(tmp_path, help_of(product))

    assert (await profile_of(engine)).distribution == distribution


async def test_an_engine_under_a_product_name_of_its_own_is_known_by_its_file(tmp_path):
    engine = script(tmp_path, help_of("Our Product"), name="our-redpanda-connect")

    assert (await profile_of(engine)).distribution == "redpanda-connect"


async def test_a_profile_is_asked_for_once_and_again_when_the_file_changes(tmp_path):
    asked = tmp_path / "asked"
    engine = script(tmp_path, f"echo x >> {asked}; {help_of('Bento')}")
    await profile_of(engine)
    await profile_of(engine)
    assert asked.read_text().split() == ["x"]

    script(tmp_path, f"echo y >> {asked}; {help_of('Redpanda Connect')}")

    assert (await profile_of(engine)).distribution == "redpanda-connect"
    assert asked.read_text().split() == ["x", "y"]


@pytest.mark.parametrize("text", ["echo hello", "exit 3"])
async def test_a_program_that_is_no_engine_is_refused(tmp_path, text):
    with pytest.raises(EngineMissing, match="no engine that is known here"):
        await profile_of(script(tmp_path, text))


async def test_a_program_without_a_version_is_refused(tmp_path):
    with pytest.raises(EngineMissing, match="states no version"):
        await engine_version(script(tmp_path, "true"))


async def test_a_file_that_is_absent_or_not_executable_is_refused(tmp_path):
    text = tmp_path / "text"
    text.write_text("hello")

    for binary in (tmp_path / "absent", text):
        with pytest.raises(EngineMissing, match=str(binary)):
            await profile_of(binary)


def test_nexthos_engine_comes_before_the_wheels(tmp_path):
    engine = script(tmp_path, "true")

    assert locate_engine({"NEXTHOS_ENGINE": str(engine)}) == engine


def test_nexthos_engine_may_be_a_name_on_the_path(tmp_path):
    engine = script(tmp_path, "true", name="bento")

    assert locate_engine({"NEXTHOS_ENGINE": "bento", "PATH": str(tmp_path)}) == engine


def test_a_wrong_nexthos_engine_is_told_and_not_replaced():
    with pytest.raises(EngineMissing, match="NEXTHOS_ENGINE=/nowhere/bento"):
        locate_engine({"NEXTHOS_ENGINE": "/nowhere/bento", "PATH": os.defpath})


def test_without_the_wheel_the_engine_is_looked_for_on_the_path(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    installed = tmp_path / "bin"
    installed.mkdir()
    engine = script(installed, "true", "nexthos-engine")

    assert locate_engine({"PATH": str(installed)}) == engine


def test_with_no_engine_at_all_the_error_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))

    with pytest.raises(EngineMissing, match=r"make setup.*NEXTHOS_ENGINE"):
        locate_engine({"PATH": str(tmp_path)})
