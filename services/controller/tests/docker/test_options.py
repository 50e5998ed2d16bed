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
from nexthos_shared.model import Pipeline
from nexthos_shared.reasons import Reason

ALLOWED = DockerSettings.model_validate(
    {
        "volumes": {
            "names": ["data", "cache-*"],
            "roots": ["/srv/data"],
            "folders": ["/srv/out"],
            "targets": ["/data", "/in", "/Deep/er"],
        },
        "ports": {
            "addresses": ["127.0.0.1", "0.0.0.0", "::1"],
            "ranges": ["8000-8999", "9000", "1"],
        },
    }
)
NARROW = DockerSettings.model_validate(
    {"ports": {"addresses": ["127.0.0.1"], "ranges": ["8000-8999"]}}
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
    ports = ["8080:80", "127.0.0.1:9000:9001/udp", "[::1]:1:2/tcp"]
    assert ports_of(given(ports=ports), ALLOWED) == [
        Port(8080, 80, "tcp", "0.0.0.0"),
        Port(9000, 9001, "udp", "127.0.0.1"),
        Port(1, 2, "tcp", "::1"),
    ]
    assert ports_of(given(), ALLOWED) == []


@pytest.mark.parametrize(
    "text",
    [
        "8080",
        "80:",
        ":80",
        "a:b",
        "80:80/sctp",
        "1:2:3:4",
        "0:80",
        "80:70000",
        "-1:80",
        "",
        "8080:80\n",
        "٨٠٨٠:80",
        f"{'9' * 5000}:80",
        "0127.0.0.1:8080:80",
        "127.1:8080:80",
        "[::ffff:1.2.3.4.5]:8080:80",
    ],
)
def test_what_is_no_port_is_refused_with_the_form(text):
    message = refusal(ports=[text])
    assert repr(text)[1:50] in message
    assert len(message) < 500


@pytest.mark.fault(94)
@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("127.0.0.1:22:22", "ports.ranges (8000-8999)"),
        ("0.0.0.0:22:22", "ports.ranges (8000-8999)"),
        ("9000:80", "ports.ranges (8000-8999)"),
        ("7999:80", "ports.ranges (8000-8999)"),
        ("8080:80", "ports.addresses (127.0.0.1)"),
        ("0.0.0.0:8080:80", "ports.addresses (127.0.0.1)"),
        ("127.0.0.2:8080:80", "ports.addresses (127.0.0.1)"),
        ("[::]:8080:80", "ports.addresses (127.0.0.1)"),
        ("[::ffff:7f00:1]:8080:80", "ports.addresses (127.0.0.1)"),
        ("[::ffff:127.0.0.1]:8080:80", "ports.addresses (127.0.0.1)"),
    ],
)
def test_a_port_or_an_address_that_is_not_listed_is_refused_with_what_is(text, setting):
    assert f"is not in executors.docker.{setting}" in refusal(NARROW, ports=[text])


@pytest.mark.parametrize("ports", [["8080:80", "8081:80"], ["8080:80", "8080:81"]])
def test_a_port_is_published_once(ports):
    assert "the same port" in refusal(ports=ports)


@pytest.mark.parametrize("value", ["8080:80", {"a": 1}, [8080], None])
def test_options_are_lists_of_texts(value):
    assert "must be a list of texts" in refusal(ports=value)
    assert "must be a list of texts" in refusal(volumes=value)


def test_volumes_are_names_or_host_paths_that_are_listed():
    volumes = [
        "data:/data",
        "/srv/data/in/:/in/a/:ro",
        "cache-1:/Deep//er/./x:rw",
        "/srv//out:/in/b",
    ]
    found = volumes_of(given(volumes=volumes), ALLOWED)
    assert found == [
        Volume("data", "/data"),
        Volume("/srv/data/in", "/in/a", read_only=True),
        Volume("cache-1", "/Deep/er/x"),
        Volume("/srv/out", "/in/b"),
    ]
    assert [v.bind for v in found][:2] == ["data:/data:rw", "/srv/data/in:/in/a:ro"]


@pytest.mark.fault(94)
@pytest.mark.parametrize(
    "name",
    [
        "nexthos_nats-data",
        "controller-state",
        "database",
        "Data",
        "cache",
        "xcache-1",
        "data2",
        "0123456789abcdef" * 4,
    ],
)
def test_a_named_volume_that_is_not_listed_is_refused(name):
    message = refusal(volumes=[f"{name}:/data"])
    assert f"{name!r} is not in executors.docker.volumes.names (data, cache-*)" in message


def test_an_anonymous_volume_is_its_containers_whatever_is_listed():
    settings = DockerSettings.model_validate({"volumes": {"names": ["*"], "targets": ["/data"]}})
    assert volumes_of(given(volumes=["any:/data"]), settings)
    assert "volumes.names" in refusal(settings, volumes=[f"{'0a' * 32}:/data"])


@pytest.mark.fault(94)
@pytest.mark.parametrize(
    "text",
    [
        "/var/run/docker.sock:/data",
        "/srv/data/docker.sock:/data:ro",
        "/srv/data/containerd.sock:/data:ro",
        "/:/data",
        "//:/data",
        "/etc:/data:ro",
        "/srv/database:/data:ro",
        "/srv/data/../../etc:/data:ro",
        "/srv/data/..:/data:ro",
        "/SRV/data:/data:ro",
        "/srv:/data:ro",
        "/run:/data",
        "/srv/out/below:/data",
        "/srv/out/below:/data:ro",
        "/srv/data/a\nb:/data:ro",
    ],
)
def test_a_host_path_that_is_not_listed_is_refused_with_what_is_never_allowed(text):
    message = refusal(volumes=[text])
    assert "never allowed are sockets such as Docker's, privileged containers" in message
    assert "(/srv/data, /srv/out)" in message


def test_below_a_root_nothing_is_written_since_a_link_there_would_lead_anywhere():
    for source in ("/srv/data", "/srv/data/in"):
        assert "only with :ro" in refusal(volumes=[f"{source}:/in"])


@pytest.mark.fault(94)
@pytest.mark.parametrize(
    "target",
    [
        "",
        "relative",
        "/",
        "//",
        "/../etc",
        "/data/../etc",
        "/data/..",
        "/da\tta",
        "/run/nexthos",
        "//run/nexthos/",
        "/run/./nexthos/sub",
        "/Run/Nexthos",
        "/run",
        "/var/run/nexthos",
        "/var/run",
        "/var",
        "/opt/nexthos",
        "/opt",
        "/opt/nexthos/lib",
        "/OPT/NEXTHOS",
        "/etc",
        "/etc/ld.so.preload",
        "/usr",
        "/usr/local/bin",
        "/bin",
        "/sbin/docker-init",
        "/lib",
        "/lib64",
        "/libx32",
        "/proc/self",
        "/sys",
        "/dev/shm",
        "/tmp",
    ],
)
def test_nothing_is_mounted_over_what_the_runner_needs_whatever_is_listed(target):
    generous = ALLOWED.volumes.model_copy(update={"targets": ("/", "/run", "/opt", "/var")})
    settings = ALLOWED.model_copy(update={"volumes": generous})
    for allowed in (ALLOWED, settings):
        message = refusal(allowed, volumes=[f"data:{target}"])
        assert "absolute path" in message or "nothing is mounted there" in message


@pytest.mark.fault(94)
@pytest.mark.parametrize("target", ["/data2", "/deep/er", "/Deep", "/srv", "/home/x", "/in2"])
def test_a_path_that_is_not_listed_is_refused_with_what_is(target):
    message = refusal(volumes=[f"data:{target}"])
    assert "is not in executors.docker.volumes.targets (/data, /in, /Deep/er)" in message


@pytest.mark.parametrize(
    "text", ["data", "data:", ":/data", "data:/data:rx", "../x:/data", "-x:/data"]
)
def test_what_is_no_volume_is_refused(text):
    assert text.split(":", maxsplit=1)[0] in refusal(volumes=[text])


@pytest.mark.parametrize("one", ["/data", "/data/", "/data/sub", "/data/sub/sub", "/DATA"])
def test_two_volumes_at_one_path_or_one_within_the_other_are_refused(one):
    wide = ALLOWED.volumes.model_copy(update={"targets": ("/data", "/DATA")})
    settings = ALLOWED.model_copy(update={"volumes": wide})
    for volumes in ([f"cache-1:{one}", "data:/data"], ["data:/data", f"cache-1:{one}"]):
        assert "the same path" in refusal(settings, volumes=volumes)


@pytest.mark.parametrize(
    ("options", "setting"),
    [({"ports": ["8080:80"]}, "ports.ranges"), ({"volumes": ["data:/data"]}, "volumes.targets")],
)
def test_nothing_is_allowed_unless_the_settings_say_so_and_they_are_named(options, setting):
    assert f"executors.docker.{setting} (nothing)" in refusal(DockerSettings(), **options)


@pytest.mark.parametrize("option", ["workdir", "privileged", "network"])
def test_another_option_is_refused_and_those_that_there_are_are_named(option):
    assert "it knows: ports, volumes" in refusal(**{option: True})
