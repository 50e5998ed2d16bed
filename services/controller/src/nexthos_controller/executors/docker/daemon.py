"""docker-py behind threads: the only place that calls it, and where its errors become ours.

What is asked raises ExecutorUnreachable when the daemon does not answer; what acts raises DaemonRefused, a
StartFailed, when it answers no. A call that acts and is cancelled is waited for first: what its caller
does next must not meet it half done.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import docker
import requests
import urllib3
from docker.errors import APIError, DockerException, NotFound
from docker.utils import kwargs_from_env

from nexthos_controller.executors.docker.settings import DockerSettings
from nexthos_controller.executors.docker.unix_socket import close_refused_sockets
from nexthos_shared.errors import ExecutorUnreachable, StartFailed

close_refused_sockets()

THREADS = 16
HEADERS = 8 * 1024  # bytes that a tar has before and behind a file
LATEST = 10_000  # items that a slow reader of a stream may lag; the oldest go first
_AWAY = (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError)

T = TypeVar("T")


class DaemonRefused(StartFailed):
    """The daemon answered no. `status` is that of its HTTP answer."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Gone(Exception):
    """There is no such container or image. Does not leave this package."""


class Daemon:
    """One Docker daemon. Connects at the first call, and again after it was away."""

    def __init__(self, settings: DockerSettings) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="docker")
        self._lock = threading.Lock()
        self._api: docker.APIClient | None = None
        self._place = ""
        self._closed = False

    def close(self) -> None:
        """Let go of it, without waiting for what is under way."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._api is not None:
            self._api.close()

    # ---- asking

    async def place(self) -> str:
        """The daemon's own id; asked again whenever it was away, since another may answer then."""
        if not self._place:
            info = await self._ask("look at the daemon", lambda api: api.info())
            self._place = str(info["ID"])
        return self._place

    async def containers(self, labels: Iterable[str]) -> list[dict[str, Any]]:
        """Those that carry these labels, in short, whatever their state."""
        filters = {"label": list(labels)}
        found = await self._ask(
            "list containers", lambda api: api.containers(all=True, filters=filters)
        )
        return list(found)

    async def inspect(self, container: str) -> dict[str, Any]:
        """All that is known of one, by id or name. Raises Gone."""
        return dict(
            await self._ask(f"look at {container}", lambda api: api.inspect_container(container))
        )

    async def image(self, name: str) -> dict[str, Any]:
        """All that is known of an image that is here. Raises Gone."""
        return dict(
            await self._ask(f"look at {name}", lambda api: api.inspect_image(name))  # type: ignore[no-untyped-call]
        )

    async def network(self, name: str) -> dict[str, Any]:
        """All that is known of a network. Raises Gone."""
        return dict(await self._ask(f"look at network {name}", lambda a: a.inspect_network(name)))

    async def signals(self, container: str, since: int, until: int) -> set[str]:
        """Which signals were sent to it by way of the daemon, as far as that remembers (256 events)."""
        filters = {"container": [container], "event": ["kill"], "type": ["container"]}

        def ask(api: docker.APIClient) -> set[str]:
            # docker-py hands texts on, and the daemon takes fractions: whole seconds would be too coarse
            past = api.events(_moment(since), _moment(until), filters=filters, decode=True)  # type: ignore[call-overload]
            return {str(event["Actor"]["Attributes"].get("signal", "")) for event in past}

        return await self._ask(f"look at the events of {container}", ask)

    async def tail(self, container: str, lines: int, since: int = 0) -> bytes:
        """Its last lines, each with the time at which it came. Raises Gone."""

        def ask(api: docker.APIClient) -> bytes:
            at = since / 10**9 if since else None
            return bytes(api.logs(container, tail=lines, timestamps=True, since=at))

        return await self._ask(f"read the log of {container}", ask)

    async def get(self, container: str, path: str, most: int) -> bytes:
        """The beginning of a tar with that file, some more than `most` bytes of it. Raises Gone.

        What is there is the pipeline's: a folder, or a file without an end that takes no room.
        """

        def ask(api: docker.APIClient) -> bytes:
            chunks, _ = api.get_archive(container, path)
            tar = bytearray()
            with contextlib.closing(chunks):
                for chunk in chunks:
                    tar += chunk
                    if len(tar) > most + HEADERS:
                        break
            return bytes(tar)

        return await self._ask(f"read {path} of {container}", ask)

    # ---- acting

    async def create(self, name: str, config: Mapping[str, Any]) -> str:
        """Create a container, and return its id. Raises DaemonRefused; 409 if the name is taken."""

        def act(api: docker.APIClient) -> str:
            given = dict(config)
            host = api.create_host_config(**given.pop("host_config"))
            made = api.create_container(name=name, host_config=host, **given)
            return str(made["Id"])

        return await self._act(f"create {name}", act)

    async def start(self, container: str) -> None:
        """Start it; nothing if it runs. Raises Gone, DaemonRefused."""
        await self._act(f"start {container[:12]}", lambda api: api.start(container))

    async def kill(self, container: str, signal: str) -> None:
        """Send a signal; nothing if it does not run. Raises Gone, DaemonRefused."""
        try:
            await self._act(f"signal {container[:12]}", lambda api: api.kill(container, signal))
        except DaemonRefused as error:
            if error.status != 409:  # it is not running
                raise

    async def unpause(self, container: str) -> None:
        """Undo a `docker pause`. Raises Gone, DaemonRefused."""
        await self._act(f"unpause {container[:12]}", lambda api: api.unpause(container))

    async def rename(self, container: str, name: str) -> None:
        """Give it another name. Raises Gone, DaemonRefused."""
        await self._act(f"rename {container[:12]}", lambda api: api.rename(container, name))

    async def remove(self, container: str) -> None:
        """Remove it with its anonymous volumes. Raises Gone; DaemonRefused if it runs (409)."""
        await self._act(
            f"remove {container[:12]}", lambda api: api.remove_container(container, v=True)
        )

    async def put(self, container: str, folder: str, tar: bytes) -> None:
        """Unpack a tar in a folder of it, which must lie in a volume. Raises Gone, DaemonRefused."""
        await self._act(
            f"put files into {container[:12]}", lambda api: api.put_archive(container, folder, tar)
        )

    # ---- streams

    async def events(
        self, labels: Iterable[str], since: int
    ) -> AsyncGenerator[dict[str, Any], None]:
        """What happens to containers with these labels. The first item is empty: it listens now."""
        filters = {"type": ["container"], "label": list(labels)}
        at = _moment(since) if since else None
        stream = await self._ask(
            "listen to the daemon",
            lambda api: api.events(since=at, filters=filters, decode=True),  # type: ignore[call-overload]
        )
        yield {}
        async with contextlib.aclosing(_read(stream)) as items:
            async for item in items:
                yield item

    async def follow(self, container: str, tail: int) -> AsyncGenerator[bytes, None]:
        """Pieces of its log as they come, after the last `tail` lines. Raises Gone."""
        stream = await self._ask(
            f"follow the log of {container}",
            lambda api: api.logs(container, stream=True, follow=True, tail=tail, timestamps=True),
        )
        async with contextlib.aclosing(_read(stream)) as items:
            async for item in items:
                yield item

    async def pull(self, name: str) -> AsyncGenerator[dict[str, Any], None]:
        """Fetch an image; items say how far it is. Raises DaemonRefused."""
        repository, _, tag = name.partition("@") if "@" in name else name.rpartition(":")
        if "@" not in name and ("/" in tag or not repository):
            repository, tag = name, "latest"
        stream = await self._act(
            f"pull {name}",
            lambda api: api.pull(repository, tag=tag, stream=True, decode=True),
        )
        async with contextlib.aclosing(_read(stream)) as items:
            async for item in items:
                yield item

    # ---- threads and errors

    async def _ask(self, what: str, call: Callable[[docker.APIClient], T]) -> T:
        future = asyncio.get_running_loop().run_in_executor(self._threads, self._with_api, call)
        try:
            return await future
        except NotFound as error:
            raise Gone(what) from error
        except (DockerException, *_AWAY) as error:
            raise self._unreachable(what, error) from error

    async def _act(self, what: str, call: Callable[[docker.APIClient], T]) -> T:
        future = asyncio.get_running_loop().run_in_executor(self._threads, self._with_api, call)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait({future})
            future.cancelled() or future.exception()
            raise
        except NotFound as error:
            raise Gone(f"{what}: {error.explanation}") from error
        except APIError as error:
            raise DaemonRefused(
                f"docker: {what}: {_words(error)}", error.status_code or 0
            ) from error
        except (DockerException, *_AWAY) as error:
            raise self._unreachable(what, error) from error

    def _with_api(self, call: Callable[[docker.APIClient], T]) -> T:
        with self._lock:
            if self._api is None:
                self._api = self._connect()
            api = self._api
        if self._closed:  # while it was being connected: nobody else would close it
            api.close()
            raise DockerException("closed")
        return call(api)

    def _connect(self) -> docker.APIClient:
        given = kwargs_from_env()
        if self._settings.host:
            given["base_url"] = self._settings.host
        return docker.APIClient(
            version="auto", timeout=self._settings.timeout, max_pool_size=THREADS, **given
        )

    def _unreachable(self, what: str, error: Exception) -> ExecutorUnreachable:
        if not isinstance(error, APIError):
            self._place = ""  # whoever answers next may be another one
        return ExecutorUnreachable(f"docker: {what}: {_words(error)}")


def _words(error: Exception) -> str:
    if isinstance(error, APIError):
        return str(error.explanation or error)
    cause: BaseException = error
    while cause.__context__ is not None:  # the first one says it: no such file, connection refused
        cause = cause.__context__
    return str(cause) or type(cause).__name__


def _moment(nanoseconds: int) -> str:
    return f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09d}"


async def _read(stream: Any) -> AsyncGenerator[Any, None]:
    """What a blocking stream brings, read in a thread of its own; a slow reader loses the oldest."""
    loop = asyncio.get_running_loop()
    items: deque[Any] = deque(maxlen=LATEST)
    wake, over = asyncio.Event(), threading.Event()

    def tell() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(wake.set)

    def pump() -> None:
        with contextlib.suppress(Exception):  # it broke off, or was closed: either way it is over
            for item in stream:
                items.append(item)
                tell()
        over.set()
        tell()

    thread = threading.Thread(target=pump, name="docker stream", daemon=True)
    thread.start()
    try:
        while True:
            ended = over.is_set()
            while items:
                yield items.popleft()
            if ended:
                return
            await wake.wait()
            wake.clear()
    finally:
        hang_up(stream)


def hang_up(stream: Any) -> None:
    """End a stream, whoever reads it. Its own `close` leaves the response, and with it the socket, open."""
    with contextlib.suppress(Exception):
        stream.close()
    with contextlib.suppress(Exception):
        stream._response.close()
