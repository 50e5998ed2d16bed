"""The NATS micro service `<ns>`: subjects, schemas, error headers, concurrency and shutdown.

Comes in: NATS requests. Goes out: what the endpoints answer, as JSON, errors as
`Nats-Service-Error-Code` and `Nats-Service-Error` headers with an `ErrorReply` body. Decides nothing.

nats-py runs the handlers of an endpoint one after the other, cancels those in flight on stop, and
answers an exception with its repr. So each request becomes a task of ours, bounded
in number by the line of its endpoint, counted here, and waited for on shutdown.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self, cast

import structlog
from nats.aio.client import Client
from nats.micro.request import Request
from nats.micro.service import EndpointConfig, EndpointStats, ServiceConfig, ServiceInfo
from nats.micro.service import Service as MicroService
from pydantic import BaseModel, ValidationError

from nexthos_controller.api.endpoint import Endpoint, Offer
from nexthos_controller.api.in_flight import Line
from nexthos_controller.api.inbox import Asking, Inbox
from nexthos_controller.runtime.replies import Guarded, Replies
from nexthos_shared.errors import NexthosError, TemporaryError, TooManyRequests
from nexthos_shared.model import MAX_REQUEST_BYTES, ErrorReply
from nexthos_shared.model.stored import encode
from nexthos_shared.names import Names
from nexthos_shared.nats.connection import room_of
from nexthos_shared.reasons import Reason

WAIT_ON_STOP = 5.0  # seconds for requests in flight

log = structlog.get_logger(__name__)

_CODES = {
    Reason.NOT_FOUND: 404,
    Reason.INVALID_NAME: 400,
    Reason.INVALID_REQUEST: 400,
    Reason.INVALID_DEFINITION: 400,
    Reason.TIMED_OUT: 408,
    Reason.CONFIG_MISSING: 404,
    Reason.TOO_MANY_REQUESTS: 429,
}


@dataclass(frozen=True, slots=True)
class _Refusal(Exception):
    code: int
    reason: Reason
    message: str


class _Micro(MicroService):
    """nats-py's, with schemas that are made when somebody asks: else 25 ms of each start."""

    offered: Mapping[str, Endpoint]

    def info(self) -> ServiceInfo:
        told = super().info()
        for endpoint in told.endpoints:
            endpoint.metadata = self.offered[endpoint.name].metadata
        return told


@dataclass(slots=True)
class Service:
    """`async with Service(...)` registers what is offered; leaving answers what is in flight."""

    nc: Client
    names: Names
    offer: Offer
    version: str
    metadata: dict[str, str]
    replies: Replies
    _endpoints: dict[str, Endpoint] = field(default_factory=dict)
    _lines: list[Line] = field(default_factory=list)
    _micro: _Micro | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._listen()
        except BaseException:  # a lease that is lost meanwhile ends this halfway
            await self._let_go()
            raise
        return self

    async def _listen(self) -> None:
        self._endpoints = {endpoint.name: endpoint for endpoint in self.offer.endpoints()}
        config = ServiceConfig(
            name=self.names.service,
            version=self.version,
            description="nexthos: stream processing pipelines that live in NATS",
            metadata=self.metadata,
            stats_handler=self._stats,
        )
        self._micro = _Micro(cast(Client, Guarded(self.nc, self.replies)), config)
        self._micro.offered = self._endpoints
        await self._micro.start()
        for endpoint in self._endpoints.values():
            await self._micro.add_endpoint(
                EndpointConfig(
                    name=endpoint.name,
                    subject=self._subject(endpoint),
                    handler=self._handler(endpoint),
                )
            )

    async def __aexit__(self, *_: object) -> None:
        """Take no new requests, end the streams, answer those in flight (at most 5 s), then let go."""
        for line in self._lines:
            if line.endpoint.stream is not None:
                line.end()
        await self._let_go()
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_ON_STOP):
                while tasks := self._in_flight():  # those that wait have their turn
                    await asyncio.wait(tasks)
        for line in self._lines:
            line.end()

    async def _let_go(self) -> None:
        """Listen to nobody any more, whatever becomes of the connection.

        nats-py's own stop ends halfway where the connection breaks meanwhile; the rest would go on to
        answer for a controller that does not act any more.
        """
        if self._micro is not None and self.nc.is_connected:
            try:
                async with asyncio.timeout(WAIT_ON_STOP):
                    await self._micro.stop()
            except Exception as error:
                log.debug("service not stopped cleanly", error=str(error))
        ours = ("$SRV.", self.names.endpoint(""))
        for subscription in [s for s in self.nc._subs.values() if s.subject.startswith(ours)]:
            with suppress(Exception):
                await subscription.unsubscribe()
            self.nc._remove_sub(subscription._id)
            subscription._stop_processing()

    def _subject(self, endpoint: Endpoint) -> str:
        subject = self.names.endpoint(endpoint.name)
        return subject if endpoint.raw is None else f"{subject}.*"

    @property
    def id(self) -> str:
        """The micro service's instance id."""
        return self._micro.id if self._micro else ""

    def _stats(self, stats: EndpointStats) -> dict[str, Any]:
        """Put right what nats-py counts: it sees requests handed over, not answered."""
        endpoint = self._endpoints[stats.name]
        stats.num_errors = endpoint.errors
        stats.last_error = endpoint.last_error
        stats.processing_time = endpoint.nanoseconds
        stats.average_processing_time = endpoint.nanoseconds // max(endpoint.requests, 1)
        return {"in_flight": len(self._in_flight())}

    def _in_flight(self) -> set[asyncio.Task[None]]:
        return {task for line in self._lines for task in line.served}

    def _handler(self, endpoint: Endpoint) -> Callable[[Request], Awaitable[None]]:
        line = Line(endpoint, self._serve)
        self._lines.append(line)

        async def handle(request: Request) -> None:
            if not line.take(request):
                await self._refuse(endpoint, request)

        return handle

    async def _refuse(self, endpoint: Endpoint, request: Request) -> None:
        refusal = _refusal(TooManyRequests(f"{endpoint.at_once} requests are being answered"))
        endpoint.requests += 1
        endpoint.errors += 1
        endpoint.last_error = refusal.message
        await _respond_error(request, refusal)

    async def _serve(self, endpoint: Endpoint, request: Request) -> None:
        began = time.perf_counter_ns()
        endpoint.requests += 1
        try:
            await self._answer(endpoint, request)
        except Exception as error:
            refusal = _refusal(error)
            if refusal.code >= 500:
                log.warning("request failed", endpoint=endpoint.name, error=refusal.message)
            endpoint.errors += 1
            endpoint.last_error = refusal.message
            await _respond_error(request, refusal)
        finally:
            endpoint.nanoseconds += time.perf_counter_ns() - began

    async def _answer(self, endpoint: Endpoint, request: Request) -> None:
        asked = _understand(endpoint, request.data)
        if endpoint.stream is not None:
            if _wants_reply(request):
                await endpoint.stream(asked, Inbox(self.nc, request._msg.reply))
            return
        if endpoint.raw is not None:
            raw = await endpoint.raw(request.subject.rpartition(".")[2], asked)
            await _respond(request, raw.body, dict(raw.headers))
            return
        if endpoint.slow_answer is not None:
            reply = await endpoint.slow_answer(asked, Asking(self.nc, request._msg.reply))
            await _respond(request, encode(reply))
            return
        await _respond(request, await self._fitting(endpoint, asked))

    async def _fitting(self, endpoint: Endpoint, asked: Any) -> bytes:
        """The reply; a page of fewer, where the server lets no message of that size through."""
        assert endpoint.answer is not None
        while True:
            body = encode(await endpoint.answer(asked))
            if len(body) <= (most := room_of(self.nc, len(body))):
                return body
            limit = getattr(asked, "limit", 1)
            if limit <= 1:
                words = (
                    f"the reply has {len(body)} bytes, and NATS lets {most} through: raise "
                    "`max_payload` in the server's configuration"
                )
                raise _Refusal(413, Reason.REPLY_TOO_LARGE, words)
            fewer = max(min(limit // 2, limit * most // len(body)), 1)
            asked = asked.model_copy(update={"limit": fewer})


def _understand(endpoint: Endpoint, data: bytes) -> BaseModel:
    if len(data) > MAX_REQUEST_BYTES:
        words = f"the request has {len(data)} bytes, at most {MAX_REQUEST_BYTES} are allowed"
        raise _Refusal(413, Reason.INVALID_REQUEST, words)
    try:
        return endpoint.request.model_validate_json(data.strip() or b"{}")
    except (
        TypeError,
        ArithmeticError,
        RecursionError,
    ) as error:  # of a validator, by what was sent
        raise _Refusal(400, Reason.INVALID_REQUEST, "the request can't be understood") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        words = f"{where}: {first['msg']}" if where else first["msg"]
        raise _Refusal(400, Reason.INVALID_REQUEST, words) from error


def _refusal(error: Exception) -> _Refusal:
    match error:
        case _Refusal():
            return error
        case NexthosError():
            usual = 503 if isinstance(error, TemporaryError) else 422
            return _Refusal(
                _CODES.get(error.problem.reason, usual), error.problem.reason, str(error)
            )
        case _:
            log.error("request failed by a defect", exc_info=error)
            words = f"a defect of nexthos ({type(error).__name__}); see the controller's log"
            return _Refusal(500, Reason.INTERNAL_ERROR, words)


async def _respond(request: Request, body: bytes, headers: dict[str, str] | None = None) -> None:
    if _wants_reply(request):
        await request.respond(body, headers)


async def _respond_error(request: Request, refusal: _Refusal) -> None:
    if not _wants_reply(request):
        return
    body = ErrorReply(code=refusal.code, reason=refusal.reason, message=refusal.message)
    headline = f"{refusal.reason}: {refusal.message}".replace("\n", " ").replace("\r", " ")
    try:
        await request.respond_error(str(refusal.code), headline, encode(body))
    except Exception as error:  # the connection went; the caller times out
        log.debug("error reply not sent", error=str(error))


def _wants_reply(request: Request) -> bool:
    return bool(request._msg.reply)  # nats.micro has no public way to ask
