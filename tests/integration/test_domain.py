"""The store in another JetStream domain, as people on leaf nodes have it: found by the context alone."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from nexthos_shared.names import Names
from nexthos_shared.nats.rights import Asked, rights
from nexthos_testing.controller import CONTROLLER, ControllerProcess, kill_leftovers
from nexthos_testing.nats import NatsServer, free_port

NEXTHOS = CONTROLLER.parent / "nexthos"
NAMESPACE = "far"
ECHO = "input: {generate: {mapping: 'root = 1', interval: 100ms}}\noutput: {drop: {}}\n"
NOBODY = range(0)  # servers without users


@dataclass
class Near:
    """Somebody at one server whose store is in the domain of the other."""

    folder: Path
    url: str
    domain: str

    @property
    def environ(self) -> dict[str, str]:
        """A context `far`, and nothing else of whoever runs the tests."""
        contexts = self.folder / "config" / "nats" / "context"
        contexts.mkdir(parents=True, exist_ok=True)
        context = {"url": self.url, "jetstream_domain": self.domain}
        (contexts / "far.json").write_text(json.dumps(context))
        return {
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "NATS_CONTEXT": "far",
            "NEXTHOS_NAMESPACE": NAMESPACE,
        }

    async def types(self, *args: str, code: int = 0) -> str:
        process = await asyncio.create_subprocess_exec(
            NEXTHOS,
            *args,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), **self.environ},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said = (await process.communicate())[0].decode()
        assert process.returncode == code, said
        return said

    def controller(self, **environ: str) -> ControllerProcess:
        state = self.folder / "state"
        state.mkdir(parents=True, exist_ok=True)
        return ControllerProcess(self.url, NAMESPACE, state, {**self.environ, **environ})


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[dict[str, NatsServer]]]]:
    """Starts a hub and a leaf, each with a domain of its own; `users` are the leaf's."""
    async with AsyncExitStack() as stack:

        async def start(users: str = "") -> dict[str, NatsServer]:
            port = free_port()
            listens = f"server_name: hub\nleafnodes {{ listen: '127.0.0.1:{port}' }}"
            remotes = f"leafnodes {{ remotes: [{{ url: 'nats://127.0.0.1:{port}' }}] }}"
            hub = NatsServer(
                tmp_path / "hub", config=listens, jetstream="domain: hub", namespaces=NOBODY
            )
            leaf = NatsServer(
                tmp_path / "leaf",
                config=f"server_name: leaf\n{remotes}\n{users}",
                jetstream="domain: leaf",
                namespaces=NOBODY,
            )
            return {
                "hub": await stack.enter_async_context(hub),
                "leaf": await stack.enter_async_context(leaf),
            }

        yield start


async def a_day(near: Near, controller: ControllerProcess) -> None:
    """What people do with a pipeline, and what doctor says of it."""
    await near.types("setup")
    await controller.start()
    try:
        file = near.folder / "p.yaml"
        file.write_text(ECHO)
        await near.types("apply", "--wait", str(file))
        [line] = json.loads(await near.types("ls", "-o", "json"))["pipelines"]
        assert (line["phase"], line["ready"]) == ("Running", 1)
        await near.types("scale", "p", "--replicas", "2", "--wait")
        file.write_text(ECHO.replace("100ms", "200ms"))
        await near.types("apply", "--wait", str(file))
        assert "fail" not in await near.types("doctor")
        assert "Ready" in await near.types("events", "p")
        assert "is now active" in await near.types("logs", "p")
        await near.types("rm", "p", "--yes", "--wait")
        assert json.loads(await near.types("ls", "-o", "json"))["pipelines"] == []
    finally:
        await controller.kill()
        kill_leftovers(controller.state_dir)


@pytest.mark.fault(139)
@pytest.mark.parametrize(("at", "domain"), [("leaf", "hub"), ("hub", "leaf"), ("hub", "hub")])
async def test_a_pipeline_lives_in_the_domain_that_the_context_names(tmp_path, servers, at, domain):
    pair = await servers()
    near = Near(tmp_path / "near", pair[at].url, domain)
    await a_day(near, near.controller())
    other = Near(tmp_path / "other", pair[domain].url, domain)
    assert "exists" in await other.types("setup")


@pytest.mark.fault(139)
async def test_the_rights_of_a_controller_are_enough_in_another_domain(tmp_path, servers):
    given = rights("controller", Asked(Names(NAMESPACE), api="$JS.hub.API"))
    lists = f"publish: {json.dumps(given.publish)}, subscribe: {json.dumps(given.subscribe)}"
    users = (
        "authorization { users: ["
        "{user: people, password: p}, "
        f"{{user: c, password: p, permissions: {{{lists}}}}}] }}"
    )
    pair = await servers(users)
    where = pair["leaf"].url.removeprefix("nats://")
    near = Near(tmp_path / "near", f"nats://people:p@{where}", "hub")
    controller = near.controller(NATS_URL=f"nats://c:p@{where}")
    await a_day(near, controller)
    assert "ermissions violation" not in (tmp_path / "leaf" / "server.log").read_text()
