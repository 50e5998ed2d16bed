"""The rig of the Docker executor: a real daemon, real containers, and what is done to them by hand."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal, Self

import pytest
from docker.errors import NotFound

from nexthos_controller.execution import Execution, Owner, Spec
from nexthos_controller.executors.contract import LocalContext, ReplicaExecutor
from nexthos_controller.executors.docker import DockerExecutor, ending
from nexthos_controller.executors.docker.archive import packed
from nexthos_controller.executors.docker.daemon import Daemon
from nexthos_controller.executors.docker.labels import INSTALLATION
from nexthos_controller.executors.shared import probe
from nexthos_shared.errors import StartFailed
from nexthos_shared.names import Names
from nexthos_shared.nats.connection import ConnectOptions, connect
from nexthos_shared.store import Store
from nexthos_testing.docker import RUNNER, SOCKET, Hands, need_docker, puppet_image
from nexthos_testing.handing_out import handing_out
from nexthos_testing.nats import NatsServer
from nexthos_testing.rig import Rig
from nexthos_testing.wire import Wire

FOLDER = "/run/nexthos"


class DockerRig(Rig):
    """Real containers. The runner fetches from a real NATS what `fetch` handed out."""

    kind = "docker"
    limits = False
    engine_lost = StartFailed

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.owner = Owner("ns", f"one-{secrets.token_hex(4)}")  # others use the same daemon
        self.images = {"default": RUNNER}
        self.nats = NatsServer(folder / "nats", host="0.0.0.0")
        self.stores: list[Store] = []
        self.occupied: list[str] = []

    async def __aenter__(self) -> Self:
        need_docker()
        self.hands = Hands()
        self.wire = Wire(SOCKET)
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(probe, "LAST_PAUSE", 0.1)  # 5 s in earnest: a test would take as long
        self.images["puppet"] = puppet_image()
        await self.nats.start()
        self._link = connect(ConnectOptions(self.nats.url), name="rig", daemon=False)
        link = await self._link.__aenter__()
        self._handed = AsyncExitStack()
        for namespace in ("ns", "other"):
            await self._handed.enter_async_context(
                handing_out(ConnectOptions(self.nats.url), namespace)
            )
            self.stores.append(await Store.open(link, Names(namespace), create=True))
        return await super().__aenter__()

    async def __aexit__(self, *reason: object) -> None:
        await super().__aexit__(*reason)
        await self._handed.aclose()
        await self._link.__aexit__(None, None, None)
        await self.nats.kill()
        self._patch.undo()
        self.wire.close()
        self.hands.close()

    async def fetch(self, spec: Spec) -> bytes:
        content = await super().fetch(spec)
        for store in self.stores:
            await store.configs.put(spec.id, spec.definition.version or "", content)
        return content

    def context(self, owner: Owner | None = None) -> LocalContext:
        store = {"url": f"nats://{self.hands.gateway()}:{self.nats.port}"}
        options = {"host": self.wire.address, "store": store, "pull": "never"}
        return replace(super().context(owner), images=self.images, options=options)

    def make(self, owner: Owner | None = None) -> ReplicaExecutor:
        if owner is not None and owner != self.owner:
            owner = Owner(owner.namespace, f"{owner.installation}-{self.owner.installation}")
        return DockerExecutor(self.context(owner))

    def lose_engine(self) -> None:
        self.images["puppet"] = "nexthos/is-nowhere:1"

    def alive(self, name: str) -> int:
        found = self.hands.named(name)
        return int(found is not None and found["State"]["Running"])

    def order(self, execution: Execution, words: str) -> None:
        self.hands.run_in(execution.name, f"echo '{words}' >> {FOLDER}/orders")

    def finish(self, execution: Execution, code: int) -> None:
        self.order(execution, f"exit {code}")

    def kill(self, execution: Execution) -> None:
        self.hands.kill(execution.name)

    def signal(self, execution: Execution) -> None:
        self.hands.kill(execution.name, "SIGTERM")

    def connect(self, execution: Execution, ready: bool) -> None:
        self.order(execution, f"ready {int(ready)}")

    def say(self, execution: Execution, text: str, stream: Literal["log", "output"]) -> None:
        self.order(execution, f"{'log' if stream == 'log' else 'say'} {text}")

    def damage(self, execution: Execution) -> None:
        tar = packed({"config.yaml": b"nonsense"}, "10001")
        self.hands.api.put_archive(execution.name, FOLDER, tar)

    def occupy(self, name: str) -> None:
        made = self.hands.api.create_container(RUNNER, name=name, labels={"not": "ours"})
        self.occupied.append(made["Id"])

    def untouched(self, name: str) -> bool:
        found = self.hands.named(name)
        return (
            found is not None
            and found["Id"] in self.occupied
            and found["State"]["Status"] == "created"
        )

    def traces(self, name: str) -> list[str]:
        found = self.hands.api.containers(all=True, filters={"name": name})
        return [text for container in found for text in container["Names"]]

    def shown(self, execution: Execution) -> str:
        found = self.hands.named(execution.name)
        assert found is not None
        config = found["Config"]
        return repr([found["Name"], found["Args"], config["Labels"], config["Cmd"]])

    @contextmanager
    def immortal(self) -> Iterator[None]:
        async def nothing(*_: object) -> None:
            return None

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Daemon, "kill", nothing)
            patch.setattr(ending, "KILL_WITHIN", 0.1)
            yield

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        self.wire.cut()
        yield
        self.wire.mend()

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """The daemon has no such runtime."""
        executor = self.executor
        assert isinstance(executor, DockerExecutor)
        kept = executor.settings
        executor.settings = kept.model_copy(update={"runtime": "no-such-runtime"})
        yield
        executor.settings = kept

    def clean(self) -> None:
        ours = [
            container["Id"]
            for container in self.hands.api.containers(all=True)
            if container["Labels"].get(INSTALLATION, "").endswith(self.owner.installation)
        ]
        for container in (*ours, *self.occupied):
            with suppress(NotFound):
                self.hands.api.remove_container(container, force=True, v=True)
