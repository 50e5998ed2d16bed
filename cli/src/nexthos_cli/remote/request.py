"""Asking the controller by its NATS micro service. The only room of the CLI that needs one to run."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from nats import errors as nats_errors
from nats.aio.msg import Msg
from pydantic import BaseModel

from nexthos_cli.errors import NotInTime, NotUnderstood
from nexthos_shared.errors import NexthosError, NotFound, NotPermitted, StoreUnavailable
from nexthos_shared.model import ErrorReply
from nexthos_shared.model.stored import Stored, decode, read
from nexthos_shared.names import Names
from nexthos_shared.nats.connection import Link
from nexthos_shared.reasons import Problem, Reason

R = TypeVar("R", bound=Stored)
CONTROLLER_BACK = 0.25  # seconds


async def ask(
    link: Link, names: Names, endpoint: str, request: BaseModel, reply: type[R], timeout: float
) -> R:
    """The endpoint's answer within `timeout` seconds.

    Raises NotFound (NoController) if none listens, NotInTime if it does not answer, NotPermitted, and the
    controller's own error with its reason.
    """
    subject = names.endpoint(endpoint)
    refused: list[str] = []
    link.refusals.add(refused.append)
    body = request.model_dump_json(by_alias=True, exclude_none=True).encode()
    try:
        message = await _answer(link, subject, body, timeout)
    except nats_errors.NoRespondersError as error:
        raise no_controller(names) from error
    except (TimeoutError, nats_errors.TimeoutError) as error:
        if refused or link.deaf:
            told = link.deaf or (subject if subject.lower() in refused else refused[0])
            raise NotPermitted(f"{subject}: NATS refuses {told}") from error
        words = f"{subject}: the controller did not answer within {timeout:g}s"
        raise NotInTime([Problem(Reason.TIMED_OUT, words)]) from error
    except nats_errors.Error as error:
        raise StoreUnavailable(f"{subject}: {error}") from error
    if code := (message.headers or {}).get("Nats-Service-Error-Code"):
        raise refusal(code, (message.headers or {}).get("Nats-Service-Error", ""), message.data)
    try:
        return decode(reply, message.data)
    except ValueError as error:
        words = f"{subject}: the answer is not understood: another version of the controller?"
        raise NotUnderstood(words) from error


async def _answer(link: Link, subject: str, body: bytes, timeout: float) -> Msg:
    """Asked again when the connection came back: what was on its way is lost, and nobody says so.

    Where NATS was away the controller may take a moment longer to come back than we do.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while True:
        await link.connected(deadline)
        seen = link.reconnects
        asking = asyncio.create_task(link.nc.request(subject, body, timeout=deadline - loop.time()))
        back = asyncio.create_task(link.wait_reconnect(seen))
        try:
            await asyncio.wait({asking, back}, return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                return asking.result()
        except nats_errors.NoRespondersError:
            was_away = link.late or link.reconnects
            if not was_away or loop.time() + CONTROLLER_BACK >= deadline:
                raise
            await asyncio.sleep(CONTROLLER_BACK)
        finally:
            for task in (asking, back):
                task.cancel()
            await asyncio.gather(asking, back, return_exceptions=True)


def no_controller(names: Names) -> NotFound:
    """What to say where nobody listens."""
    return NotFound(
        f"no controller of namespace {names.namespace!r} runs: start one with "
        "`nexthos-controller run` or `nexthos dev`",
        reason=Reason.NO_CONTROLLER,
    )


def refusal(code: str, words: str, body: bytes) -> NexthosError:
    """The error that a reply with error headers stands for."""
    told = read(ErrorReply, body)
    if told is None:
        return NexthosError(f"the controller answers {code}: {words}", reason=Reason.TEMPORARY)
    return NexthosError(told.message, reason=told.reason)
