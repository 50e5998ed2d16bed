"""The engine that `make setup` built, asked itself."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ENGINE = Path(sys.executable).parent / "nexthos-engine"

GOOD = """
input:
  generate:
    count: 1
    interval: ""
    mapping: 'root.hello = "world"'
output:
  drop: {}
"""


def engine(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ENGINE, *arguments],
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.fixture(scope="module")
def listed() -> dict[str, list[str]]:
    components: dict[str, list[str]] = json.loads(engine("list", "--format", "json").stdout)
    return components


def written(folder: Path, config: str) -> Path:
    file = folder / "config.yaml"
    file.write_text(config)
    return file


def test_the_engine_stands_beside_python():
    assert os.access(ENGINE, os.X_OK)


def test_the_engine_states_its_own_version_and_bentos():
    said = engine("--version")

    assert said.returncode == 0
    assert said.stdout.splitlines()[0] == "Version: nexthos-engine 0.1.0 (bento v1.20.0)"


def test_a_good_file_passes_lint(tmp_path):
    said = engine("lint", written(tmp_path, GOOD))

    assert (said.returncode, said.stderr) == (0, "")


def test_a_bad_file_fails_lint_with_its_line(tmp_path):
    said = engine("lint", written(tmp_path, GOOD.replace("count:", "cuont:")))

    assert said.returncode == 1
    assert "(4,1) field cuont not recognised" in said.stderr


def test_a_component_that_is_not_built_in_fails_lint(tmp_path):
    said = engine("lint", written(tmp_path, "input:\n  kafka: {}\noutput:\n  drop: {}\n"))

    assert said.returncode == 1
    assert "kafka" in said.stderr


@pytest.mark.parametrize("kind", ["inputs", "outputs"])
def test_the_engine_has_the_nats_components(listed, kind):
    assert {"nats", "nats_jetstream", "nats_kv", "nats_object_store"} <= set(listed[kind])


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("inputs", {"file", "generate", "http_server"}),
        ("processors", {"mapping", "nats_kv", "nats_request_reply"}),
        ("outputs", {"drop", "file", "http_server"}),
        ("metrics", {"prometheus"}),
    ],
)
def test_the_engine_has_what_the_examples_use(listed, kind, names):
    assert names <= set(listed[kind])


def test_the_engine_runs_a_pipeline_to_its_end(tmp_path):
    config = GOOD.replace("drop: {}", "stdout: {}")

    said = engine("-s", "http.enabled=false", "-c", written(tmp_path, config))

    assert said.returncode == 0
    assert said.stdout == '{"hello":"world"}\n'
