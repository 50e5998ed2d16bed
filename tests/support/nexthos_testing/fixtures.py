"""Fixtures for every test: a shared nats-server with a namespace of one's own, or a server alone."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from nexthos_controller.runtime.logs import console_renderer
from nexthos_shared.names import Names
from nexthos_shared.nats.connection import ConnectOptions, Link, connect
from nexthos_shared.store import Store
from nexthos_testing import guarded
from nexthos_testing.docker import need_docker
from nexthos_testing.nats import NatsServer

# A shell that runs the tests in the background lets them ignore Ctrl-C, and with them every command
# that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGQUIT) is signal.SIG_IGN:
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)

# A traceback with the values of all variables takes seconds to be written, in the test's own loop.
structlog.configure(processors=[structlog.processors.add_log_level, console_renderer(colors=False)])

# How long an example takes says something of the machine, not of the code.
settings.register_profile("nexthos", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# What `make fuzz` takes: each test of bytes for minutes, and other bytes each time.
FUZZ_SECONDS = float(os.environ.get("FUZZ_SECONDS", "600"))
settings.register_profile(
    "fuzz", settings.get_profile("nexthos"), max_examples=int(20 * FUZZ_SECONDS)
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "nexthos"))


@pytest.fixture(scope="session")
def docker_daemon() -> None:
    """A Docker daemon and the runner's image; whatever asks for it has the mark `docker`."""
    need_docker()


@pytest.hookimpl(tryfirst=True)  # before `-m` picks by marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs Docker, so that it can be run, or left out, alone."""
    for item in items:
        if "docker_daemon" in getattr(item, "fixturenames", ()):
            item.add_marker("docker")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """One that is skipped for want of Docker and lacks the mark would never be run where that picks."""
    report = yield
    if report.skipped and "docker" not in item.keywords and "Docker" in str(report.longrepr):
        report.outcome = "failed"
        report.longrepr = (
            f"{item.nodeid} needs Docker, so it must ask for the fixture docker_daemon"
        )
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was skipped, and how to have it run, in a line for each cause."""
    reasons = Counter(
        str(report.longrepr[2]).removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", ())
        if isinstance(report.longrepr, tuple)
    )
    for reason, count in reasons.items():
        terminalreporter.write_line(f"{count} skipped: {reason}", yellow=True)


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One server for the whole run; tests keep apart by namespace."""
    server = NatsServer(tmp_path_factory.mktemp("nats"), namespaces=range(guarded.MOST))
    runner = asyncio.Runner()
    try:
        runner.run(server.start())
        yield server
        runner.run(server.kill())
    finally:
        runner.close()


@pytest.fixture
async def fresh_nats(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """A server that this test alone may restart, kill or fill."""
    async with NatsServer(tmp_path / "nats") as server:
        yield server


@pytest.fixture
def namespace() -> str:
    """A namespace that nobody else uses."""
    return guarded.next_namespace()


@pytest.fixture(autouse=True)
def nothing_refused() -> Iterator[None]:
    """Fails a test in which NATS refused a controller anything: its rights are all that it needs."""
    yield
    refused = [line for server in NatsServer.made for line in server.refusals()]
    NatsServer.made = {server for server in NatsServer.made if server.running}
    assert not refused, "a controller lacks rights"


@pytest.fixture
async def link(nats_server: NatsServer) -> AsyncIterator[Link]:
    """A connection to the shared server."""
    async with connect(ConnectOptions(nats_server.url), name="test", daemon=False) as link:
        yield link


@pytest.fixture
async def store(link: Link, namespace: str) -> Store:
    """The buckets of this test's namespace, empty."""
    return await Store.open(link, Names(namespace), create=True)
