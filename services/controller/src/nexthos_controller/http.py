"""HTTP on loopback: /livez, /readyz, /metrics (Prometheus), and what else it is given. Knows no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from nexthos_shared.errors import SettingsError


@asynccontextmanager
async def serve_http(
    address: str,
    registry: CollectorRegistry,
    is_ready: Callable[[], bool],
    more: Iterable[web.RouteDef] = (),
) -> AsyncIterator[str]:
    """Serve on `host:port` (port 0 picks one); yields the base URL. Raises SettingsError."""

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        ready = is_ready()
        return web.Response(text="ok\n" if ready else "not ready\n", status=200 if ready else 503)

    async def metrics(_: web.Request) -> web.Response:
        # In a thread: 10,000 pipelines take half a second, and reconciling goes on meanwhile.
        text = await asyncio.to_thread(generate_latest, registry)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes(
        [web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics), *more]
    )
    async with _listening(app, address) as url:
        yield url


@asynccontextmanager
async def _listening(app: web.Application, address: str) -> AsyncIterator[str]:
    host, _, port = address.rpartition(":")
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host.strip("[]") or "127.0.0.1", int(port))
        await site.start()
    except (OSError, ValueError) as error:
        await runner.cleanup()
        raise SettingsError(
            f"NEXTHOS_HTTP={address}: {error}; choose another address, or port 0", field="http"
        ) from error
    try:
        bound = runner.addresses[0]
        yield f"http://{bound[0]}:{bound[1]}"
    finally:
        await runner.cleanup()
