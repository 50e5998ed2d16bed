"""A controller that runs pipelines in containers, a user beside it, and hands at the daemon."""

from __future__ import annotations

import asyncio
import functools
import io
import json
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker.errors import APIError, NotFound
from nats import connect as nats_connect
from nats.errors import Error as NatsError

from nexthos_shared.model import ConditionType, PipelineStatus
from nexthos_shared.names import Names
from nexthos_shared.reasons import Reason
from nexthos_testing.controller import CONTROLLER, ControllerProcess, kill_leftovers
from nexthos_testing.docker import RUNNER, Hands, need_docker
from nexthos_testing.field import Field
from nexthos_testing.nats import NatsServer
from nexthos_testing.wait import eventually

NEXTHOS = CONTROLLER.parent / "nexthos"
QUICK = {"NEXTHOS_LEASE_TTL": "1s", "NEXTHOS_EXECUTOR": "docker"}


@dataclass
class Dockyard:
    """What a test of containers has. Judge by `hands` and messages, not by our own status alone."""

    controller: ControllerProcess
    field: Field
    hands: Hands
    settings: Path  # the controller's file

    @property
    def namespace(self) -> str:
        return self.controller.namespace

    # ---- what the daemon knows

    def containers(self, key: str | None = None) -> list[dict[str, Any]]:
        """In full, oldest first: all of this namespace, or of one pipeline."""
        labels = {"namespace": self.namespace} | ({"pipeline": key} if key else {})
        found = (self.hands.named(c["Id"]) for c in self.hands.labelled(**labels))
        return sorted((c for c in found if c is not None), key=lambda c: str(c["Created"]))

    def running(self, key: str | None = None) -> list[dict[str, Any]]:
        return [c for c in self.containers(key) if c["State"]["Running"]]

    def one(self, key: str) -> dict[str, Any]:
        """Its only container, in whatever state."""
        [container] = self.containers(key)
        return container

    def lives(self) -> dict[str, str]:
        """Which containers run, and since when."""
        return {c["Id"]: c["State"]["StartedAt"] for c in self.running()}

    def left(self, key: str) -> list[str]:
        """Everything that the daemon still has of a pipeline."""
        word = f"{self.namespace}-{key}-"
        names = [n for c in self.hands.api.containers(all=True) for n in c["Names"]]
        names += [n["Name"] for n in self.hands.api.networks()]
        names += [v["Name"] for v in self.hands.api.volumes()["Volumes"] or []]
        return [n for n in names if word in n]

    # ---- what a user does

    async def runs(self, key: str, mark: str = "v1", version: str = "1", **more: Any) -> str:
        """Store an echo, publish it, and wait until it answers; the container's id."""
        await self.field.echo(key, mark, version)
        await self.field.put(key, version=version, **more)
        await self.field.until_it_says(key, f"{mark} hello", within=30.0)
        await self.field.reaches(key, "Running")
        await eventually(
            lambda: len(self.containers(key)) == 1, every=0.05
        )  # what it replaced is gone
        return str(self.one(key)["Id"])

    async def runs_as_process(self, key: str) -> None:
        """The same, beside Docker."""
        await self.field.echo(key)
        await self.field.put(key, executor="process")
        await self.field.until_it_says(key, "v1 hello")

    async def gone(self, key: str) -> None:
        """Wait until its status is gone too, which is the last to go."""

        async def forgotten() -> bool:
            return await self.field.status(key) is None

        await eventually(forgotten, within=20.0, every=0.03)

    async def told(self, key: str, kind: ConditionType, reason: Reason) -> str:
        """Wait until a condition has that reason; its words."""

        async def there() -> Any:
            status = await self.field.status(key)
            found = status.condition(kind) if status else None
            return found if found and found.reason is reason else None

        return str((await eventually(there, within=30.0, every=0.03)).message)

    async def drifted(self, key: str, times: int) -> PipelineStatus:
        """Wait until so many drifts were counted, and it runs."""

        async def counted() -> PipelineStatus | None:
            status = await self.field.status(key)
            good = status and status.drifts == times and str(status.phase) == "Running"
            return status if good else None

        found = await eventually(counted, within=20.0, every=0.03)
        assert isinstance(found, PipelineStatus)
        return found

    async def ended_for(self, key: str, reason: Reason, times: int = 1) -> PipelineStatus:
        """Wait until its last counted end had that reason."""

        async def counted() -> Any:
            status = await self.field.status(key)
            slot = status.memory.slots.get(0) if status else None
            good = (
                slot and slot.restarts >= times and slot.problem and slot.problem.reason is reason
            )
            return status if good else None

        found = await eventually(counted, within=30.0, every=0.03)
        assert isinstance(found, PipelineStatus)
        return found

    # ---- the controller, and commands

    async def begins(self, **environ: str) -> None:
        """Start the controller, and wait until it acts."""
        process = await self.controller.spawn(**environ)

        async def acts() -> bool:
            assert process.returncode is None, self.controller.log_path.read_text()[-3000:]
            try:
                return bool((await self.field.request("status"))["acts"])
            except NatsError:
                return False

        await eventually(acts, within=20.0, every=0.03)

    async def begins_again(self) -> None:
        """With settings that were written anew."""
        await self.controller.terminate()
        await self.begins()

    async def dies_at(self, point: str) -> None:
        """End the controller, and start one that kills itself at that point."""
        if self.controller.running:
            await self.controller.terminate()
        await self.controller.spawn(NEXTHOS_FAULT=point)

    async def died(self) -> None:
        """Wait until it has."""
        process = self.controller.process
        assert process is not None
        async with asyncio.timeout(20.0):
            assert await process.wait() == -signal.SIGKILL

    async def command(self, *args: str) -> asyncio.subprocess.Process:
        """The real command, in an environment that has NATS and nothing else of ours."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("NATS_", "NEXTHOS_"))}
        more = {"NATS_URL": self.controller.url, "NEXTHOS_NAMESPACE": self.namespace}
        return await asyncio.create_subprocess_exec(
            NEXTHOS, *args, env=kept | more, stdout=-1, stderr=-1, limit=2**20
        )

    async def does(self, *args: str) -> str:
        """What a command that succeeds prints."""
        process = await self.command(*args)
        async with asyncio.timeout(30.0):
            out, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        return out.decode()


def write_settings(
    file: Path, url: str, docker: Mapping[str, Any] | None = None, **more: Any
) -> Path:
    """A settings file (JSON is YAML); `url` is that of NATS as containers see it."""
    settings: dict[str, Any] = {
        "connections": {"default": {"url": url}},
        "engines": {"default": {"image": RUNNER}},
        "executors": {"docker": dict(docker or {}), "process": {}, "streams": {}},
        **more,
    }
    file.write_text(json.dumps(settings))
    return file


@asynccontextmanager
async def dockyard(
    nats: NatsServer,
    namespace: str,
    folder: Path,
    docker: Mapping[str, Any] | None = None,
    *,
    hands: Hands | None = None,
    url: str = "",
    creds: Path | None = None,
    **environ: str,
) -> AsyncIterator[Dockyard]:
    """Everything there and acting; when the test ends, nothing of its namespace is left.

    `hands` are those at the daemon that `docker` names, if it is not the machine's; `url` is that of NATS
    as its containers see it; `creds` are the user's and the controller's.
    """
    need_docker()
    own = hands is None
    hands = hands or Hands()
    url = url or f"nats://{hands.gateway()}:{nats.port}"
    settings = write_settings(folder / "nexthos.yaml", url, docker)
    more = {**QUICK, "NEXTHOS_CONFIG": str(settings), **environ}
    if creds is not None:
        more["NATS_CREDS"] = str(creds)
    controller = ControllerProcess(nats.url, namespace, folder / "state", more)
    nc = await nats_connect(nats.url, user_credentials=str(creds) if creds else None)
    yard = Dockyard(controller, Field(nc, Names(namespace)), hands, settings)
    try:
        await yard.begins()
        yield yard
    finally:
        await nc.close()
        if controller.running:
            await controller.kill()
        kill_leftovers(controller.state_dir)
        if own:
            await asyncio.to_thread(sweep, hands, namespace)
            hands.close()


def sweep(hands: Hands, namespace: str) -> None:
    """Remove all that a namespace has at the daemon: containers, and volumes named after it."""
    hands.remove_all(namespace=namespace)
    for volume in hands.api.volumes()["Volumes"] or []:
        if volume["Name"].startswith(f"{namespace}-"):
            try:
                hands.api.remove_volume(volume["Name"], force=True)
            except (NotFound, APIError):
                continue


IMPATIENT = "nexthos/impatient:test"


@functools.cache
def impatient_image() -> str:
    """The runner's image, which waits for a store for a second instead of half a minute."""
    hands = Hands()
    try:
        file = io.BytesIO(f"FROM {RUNNER}\nENV NEXTHOS_FETCH_WITHIN=1\n".encode())
        said = list(hands.api.build(fileobj=file, tag=IMPATIENT, decode=True, rm=True))
        assert not any("error" in item for item in said), said
    finally:
        hands.close()
    return IMPATIENT
