"""`executor_options` of a definition that runs in a container: what is taken, and what is refused why."""

from __future__ import annotations

import pytest

from nexthos_controller.executors.docker.options import (
    Port,
    Volume,
    ports_of,
    problems_of,
    volumes_of,
)
from nexthos_controller.executors.docker.settings import DockerSettings
from nexthos_shared.models import Pipeline
from nexthos_shared.reasons import Reason

ALLOWED = DockerSettings.model_validate(
    {"allow": ["ports", "volumes"], "volume_roots": ["/srv/data"]}
)


def given(**options):
    entry = {"status": "published", "version": "1", "executor_options": options}
    return Pipeline.model_validate(entry, strict=False)


def refusal(settings=ALLOWED, **options) -> str:
    [problem] = problems_of(given(**options), settings)
    [option] = options
    assert problem.reason is Reason.CANNOT_RUN_HERE
    assert problem.field == f"executor_options.{option}"
    assert problem.message.startswith(f"executor_options.{option}: ")
    return problem.message


def test_ports_are_read_as_docker_run_reads_them():
    assert ports_of(given(ports=["8080:80", "127.0.0.1:9000:9001/udp", "[::1]:1:2/tcp"])) == [
        Port(8080, 80),
        Port(9000, 9001, "udp", "127.0.0.1"),
        Port(1, 2, "tcp", "[::1]"),
    ]
    assert ports_of(given()) == []


@pytest.mark.parametrize(
    "text", ["8080", "80:", ":80", "a:b", "80:80/sctp", "1:2:3:4", "0:80", "80:70000", "-1:80", ""]
)
def test_what_is_no_port_is_refused_with_the_form(text):
    assert text in refusal(ports=[text])


@pytest.mark.parametrize("value", ["8080:80", {"a": 1}, [8080], None])
def test_options_are_lists_of_texts(value):
    assert "must be a list of texts" in refusal(ports=value)
    assert "must be a list of texts" in refusal(volumes=value)


def test_volumes_are_names_or_host_paths_below_a_root():
    found = volumes_of(given(volumes=["data:/data", "/srv/data/in:/in:ro", "a.b:/x:rw"]), ALLOWED)
    assert found == [
        Volume("data", "/data"),
        Volume("/srv/data/in", "/in", read_only=True),
        Volume("a.b", "/x"),
    ]
    assert [v.bind for v in found][:2] == ["data:/data:rw", "/srv/data/in:/in:ro"]


@pytest.mark.parametrize(
    "text",
    [
        "/var/run/docker.sock:/var/run/docker.sock",
        "/srv/data/docker.sock:/s",
        "/:/host",
        "/etc:/etc:ro",
        "/srv/database:/data",
        "/srv/data/../../etc:/etc",
        "/run:/run2",
    ],
)
def test_a_host_path_outside_the_roots_is_refused_with_what_is_never_allowed(text):
    assert "never allowed are the Docker socket, privileged containers" in refusal(volumes=[text])


@pytest.mark.parametrize(
    "text",
    [
        "data",
        "data:",
        ":/data",
        "data:relative",
        "data:/",
        "data:/../etc",
        "data:/data:rx",
        "../x:/data",
        "-x:/data",
        "data:/run/nexthos",
        "data:/run/nexthos/sub",
        "data:/run",
    ],
)
def test_what_is_no_volume_or_would_hide_the_executions_own_folder_is_refused(text):
    assert text.split(":", maxsplit=1)[0] in refusal(volumes=[text])


def test_two_volumes_at_one_path_are_refused():
    assert "the same path" in refusal(volumes=["a1:/data", "b1:/data"])


@pytest.mark.parametrize("option", ["ports", "volumes"])
def test_what_the_settings_do_not_allow_is_refused_and_they_are_named(option):
    message = refusal(DockerSettings(), **{option: []})
    assert "executors.docker.allow" in message


@pytest.mark.parametrize("option", ["workdir", "privileged", "network"])
def test_another_option_is_refused_and_those_that_there_are_are_named(option):
    assert "it knows: ports, volumes" in refusal(**{option: True})
