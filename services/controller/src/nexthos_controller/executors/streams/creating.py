"""Creating a stream: its body, a host, the request, and what is noted before and after it.

Comes in: a record whose life is over or has not begun. Goes out: one whose life has begun, or has ended at
once because its host refused it. What is about to be created is noted first, so a controller that is killed
in between, or a request without an answer, leaves something that `watch` can tell the end of. That it was
created is not noted: its host says so to whoever asks.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

from nexthos_controller import failpoints
from nexthos_controller.execution import Exit, Spec
from nexthos_controller.executors.contract import LocalContext
from nexthos_controller.executors.local.binaries import binary_of, identity_of, made_with
from nexthos_controller.executors.local.folders import replace_file
from nexthos_controller.executors.shared import binding
from nexthos_controller.executors.shared.hints import Hints
from nexthos_controller.executors.streams.api import Exists, NotOurs, Silent, StreamRefused
from nexthos_controller.executors.streams.body import Body, body_of, is_cheap
from nexthos_controller.executors.streams.endings import broken_off
from nexthos_controller.executors.streams.handle import Handle, Life
from nexthos_controller.executors.streams.hosts import Host, Hosts, Wanted
from nexthos_controller.executors.streams.record import Record
from nexthos_controller.executors.streams.stock import Stock
from nexthos_shared import engine
from nexthos_shared.engine.messages import read_message, without_values
from nexthos_shared.errors import StartFailed
from nexthos_shared.reasons import Problem, Reason

AT_ONCE = 8 * 1024  # bytes of a configuration that needs no parser, which take 0.1 ms
DEAD_WITHIN = 0.5  # seconds from a connection that breaks to the end of its host being noted


class Creator:
    """Creates streams of one owner; `wake` says of which host something is new."""

    def __init__(
        self,
        context: LocalContext,
        stock: Stock,
        hosts: Hosts,
        hints: Hints,
        wake: Callable[[Host], None],
    ) -> None:
        self._context = context
        self._guard = context.guard
        self._stock = stock
        self._hosts = hosts
        self._hints = hints
        self._wake = wake

    async def body(self, spec: Spec, replica: int, config: bytes) -> Body:
        """What a host is sent. Raises CannotRunHere, InvalidConfig."""
        connection = binding.connection_of(self._context, spec.definition)
        environment = engine.environment(
            nats_url=connection.url,
            nats_creds=connection.creds,
            pipeline=spec.id,
            version=spec.definition.version or "",
            replica=replica,
            env=spec.definition.env,
            base=os.environ,
        )
        if len(config) < AT_ONCE and is_cheap(config):
            return body_of(config, environment)  # a thread takes as long
        return await asyncio.to_thread(body_of, config, environment)

    async def create(self, record: Record, spec: Spec, body: Body) -> None:
        """Find it a host and have it created there. A stream that is refused has ended at once."""
        record.busy += 1
        try:
            async with self._placed(record.handle, spec, body) as (host, starting):
                try:
                    self._stock.save(record, starting)
                    record.metrics_file.unlink(missing_ok=True)
                except OSError as error:
                    words = f"{record.folder}: {error.strerror or error}"
                    raise StartFailed(words) from error
                await self._create_in(host, record, body)
        finally:
            record.busy -= 1

    async def create_new(self, handle: Handle, spec: Spec, config: bytes, body: Body) -> Record:
        """The same for what has no folder yet, which is made with all that is to be noted first."""
        async with self._placed(handle, spec, body) as (host, starting):
            record = self._stock.publish(starting, config)
            record.busy += 1
            try:
                await self._create_in(host, record, body)
            finally:
                record.busy -= 1
        return record

    @asynccontextmanager
    async def _placed(
        self, handle: Handle, spec: Spec, body: Body
    ) -> AsyncIterator[tuple[Host, Handle]]:
        """A host, and what is to be noted before it is asked."""
        binary = binary_of(self._context, spec.definition)
        identity = identity_of(binary)
        wanted = Wanted(handle.name, binary, identity, handle.party, body.metrics)
        place = await self._hosts.place(wanted, self._guard)
        with place as host:
            definition, starts = spec.definition, handle.starts + 1
            life = Life(
                host=host.id,
                count=starts,
                started_at=time.time(),
                log_offset=_size_of(host.log),
                output_offset=_size_of(host.output),
                made_with=made_with(self._context, definition.engine, definition.connection),
            )
            self._guard()
            yield host, replace(handle, creating=life, starts=starts)

    async def _create_in(self, host: Host, record: Record, body: Body) -> None:
        failpoints.reach("streams.creating")
        await _note_base(host, record)
        problem = await self._post_in(host, record, body)
        failpoints.reach("streams.created")
        if (life := record.handle.creating) is not None:  # else its host has died, and it with it
            self._begin(record, life, problem)
        self._wake(host)

    async def _post_in(self, host: Host, record: Record, body: Body) -> Problem | None:
        """Why its host refuses it, if it does. Raises StartFailed."""
        try:
            await self._post(host, record.handle.name, body.content)
        except (Silent, NotOurs) as error:
            self._wake(host)
            await _until_over(host)
            if record.handle.creating is not None:
                words = f"host {host.handle.number} did not take it: {error}"
                raise StartFailed(words) from error
        except StreamRefused as error:
            return await self._refused(host, record, error)
        return None

    def _refuse(self, record: Record, problem: Problem) -> None:
        """Noted before its host is ended, which would else look like its crash."""
        creating = record.handle.creating
        self._stock.keep(record, replace(record.handle, party=1))
        if creating is not None:
            self._begin(record, creating, problem)

    def _begin(self, record: Record, life: Life, problem: Problem | None) -> None:
        if problem is None:
            begun = record.handle.begun(life)
            self._stock.know(record, begun)
        else:
            begun = record.handle.begun(replace(life, exit=Exit(1, False, problem)))
            self._stock.keep(record, begun)
        record.begin(begun)
        self._hints.add(begun.id)

    async def _post(self, host: Host, name: str, body: bytes) -> None:
        try:
            await self._create_at(host, name, body)
        except Exists:  # it has ended by itself, or was left by a creation that was cut short
            await host.api.delete(name)
            try:
                await host.api.create(name, body)
            except Exists as error:
                raise Silent("a stream of that name does not end") from error

    async def _create_at(self, host: Host, name: str, body: bytes) -> None:
        """As the API does. What a host breaks off, and lives, it has refused; it may hold a lock since."""
        try:
            await host.api.create(name, body)
        except Silent as error:
            if not error.cut:
                raise
            try:
                if name in await host.api.streams():
                    return
            except (Silent, NotOurs):
                await _until_over(host)
            if host.over.is_set():
                raise
            host.broken.add(name)
            raise StreamRefused([broken_off(host)], broken=True) from error

    async def _refused(self, host: Host, record: Record, error: StreamRefused) -> Problem:
        """Why; and what was built of it before it failed is not left to run for ever where that can be.

        It runs on in its host, without a stream that could be deleted. So the host gets no more
        streams, the next attempt is on a host of its own, and there it ends with the host.
        """
        problem = read_message(error.messages[0], default=Reason.EXITED)[0]
        problem = without_values(problem, record.handle.env)
        if error.broken:
            self._refuse(record, problem)
            alone = self._hosts.count(host) <= 1
            host.note(retired=True)
            if alone:
                await self._hosts.end(host, 0.0, self._guard)
        return problem


async def _until_over(host: Host) -> None:
    """Wait as long as it takes to note that a host has died, which may be why it did not answer."""
    with suppress(TimeoutError):
        async with asyncio.timeout(DEAD_WITHIN):
            await host.over.wait()


def _size_of(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


async def _note_base(host: Host, record: Record) -> None:
    """Keep what its host has counted already under its name, which is not this life's."""
    name = record.handle.name
    with suppress(Silent, NotOurs, OSError):
        text = await host.counted_before(name)
        if text:
            replace_file(record.base_file, text.encode())
        else:
            record.base_file.unlink(missing_ok=True)
