"""The door between nats-py and the house: every error of the library becomes one of ours.

    async with door(link, "get nexthos-status/orders", stream, subject):
        ...                                   # one call of nats-py

Out come StoreUnavailable, StoreMissing, StoreConflict, NotPermitted, or `Nothing` where a single
message or object was asked for and there is none. Nothing else in the house calls JetStream.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from nats import errors as nats_errors
from nats.js import errors as js_errors

from nexthos_shared.errors import (
    NexthosError,
    NotPermitted,
    StoreConflict,
    StoreMissing,
    StoreRefused,
    StoreUnavailable,
)
from nexthos_shared.nats.connection import Link

WRONG_LAST_SEQUENCE = {10071, 10164}
STREAM_NOT_FOUND = 10059
NO_MESSAGE = {None, 10037}  # a direct get carries no code of its own
_OBJECT_PART = re.compile(r"(?<=\.)[cm]\.(?=[^.]+\.$)")  # chunks and metas: $O.<bucket>.C.<nuid>
LIMITS = {  # as the server says that one of them is reached, and what takes it away
    "message size exceeds maximum allowed": "--max-msg-size=-1",
    "maximum bytes exceeded": "--max-bytes=-1",
    "maximum messages exceeded": "--max-msgs=-1",
}
# No leader yet, no answer of all servers, a server with a copy away, the same is being stored just now.
PASSING = {10004, 10008, 10009, 10118, 10119, 10158}
NOT_ENABLED = {10035, 10039, 10076}  # JetStream, for this account or at all
ASK_WITHIN = 2.0  # seconds, to find out why nobody answered


class Nothing(Exception):
    """There is no such message or object. Does not leave this package."""


@asynccontextmanager
async def door(link: Link, what: str, stream: str, subject: str = "") -> AsyncIterator[None]:
    """Translate; `what` names the operation and its object.

    `stream`, and `subject` if it concerns one, tell which of the server's refusals are about us. While
    NATS is away nothing is tried: nats-py would keep a write and send it long after we called it
    failed.
    """
    if link.deaf is not None:
        raise NotPermitted(
            f'{what}: NATS refuses the subscription to "{link.deaf}": no reply comes'
        )
    if not link.nc.is_connected:
        raise StoreUnavailable(f"{what}: NATS at {link.options.safe_url} is away")
    with _heeding(link, what, stream, subject):
        try:
            yield
        except (nats_errors.NoRespondersError, js_errors.NoStreamResponseError) as error:
            raise await _of_silence(link, what, stream) from error
        except js_errors.APIError as error:
            if isinstance(error, js_errors.ServiceUnavailableError) and error.err_code is None:
                raise await _of_silence(link, what, stream) from error
            raise _of_api(what, stream, error) from error
        except (TimeoutError, nats_errors.Error, OSError) as error:
            raise StoreUnavailable(f"{what}: {_words(error)}") from error
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            # nats-py trusts what answers; an answer that is none must cost this call and nothing else.
            words = f"the answer can't be read ({type(error).__name__})"
            raise StoreUnavailable.lasting(f"{what}: {words}") from error


@dataclass(slots=True)
class _Refusal:
    subject: str = ""


@contextmanager
def _heeding(link: Link, what: str, stream: str, subject: str) -> Iterator[None]:
    """End what goes on inside as soon as the server refuses its subject.

    The server reports a refusal beside the call, which then only times out, 5 s later; so the task is
    woken as `asyncio.timeout` would do it.
    """
    task = asyncio.current_task()
    assert task is not None
    cancelling = task.cancelling()
    refusal = _Refusal()

    def told(refused: str) -> None:
        concerned = _in_its_own_case(refused, stream, subject)
        if not refusal.subject and (concerned or link.deaf):
            refusal.subject = concerned or refused
            task.cancel()

    link.refusals.add(told)
    try:
        yield
    except asyncio.CancelledError as error:
        link.refusals.discard(told)
        if not refusal.subject or task.uncancel() > cancelling:
            raise
        raise NotPermitted(f'{what}: NATS refuses the subject "{refusal.subject}"') from error
    except BaseException:
        if refusal.subject and told in link.refusals:
            task.uncancel()
        raise
    else:
        if refusal.subject:  # the call was through before it could be woken
            task.uncancel()
    finally:
        link.refusals.discard(told)


def _in_its_own_case(refused: str, stream: str, subject: str) -> str:
    """The refused subject as it was sent, if it is one that we need, else "".

    nats-py hands it over in lower case; what comes before our names is the API's and upper case.
    """
    if not subject:
        concerned = "" if ".direct.get." in refused else stream
    else:
        concerned = stream if refused.endswith(f".{stream.lower()}") else subject
    whole = f".{refused}."
    names = [n for n in (stream, subject) if n and f".{n.lower()}." in whole]
    if concerned not in names:
        return ""
    start = min(whole.index(f".{name.lower()}.") for name in names)
    whole = whole[:start].upper() + whole[start:]
    for name in names:
        whole = whole.replace(f".{name.lower()}.", f".{name}.")
    return _OBJECT_PART.sub(lambda found: found[0].upper(), whole).strip(".")


def _of_api(what: str, stream: str, error: js_errors.APIError) -> Exception:
    if isinstance(error, js_errors.NotFoundError):
        if error.err_code == STREAM_NOT_FOUND or isinstance(error, js_errors.BucketNotFoundError):
            return StoreMissing(f"{what}: the bucket does not exist")
        if error.err_code in NO_MESSAGE:
            return Nothing(what)
    if error.err_code in WRONG_LAST_SEQUENCE:
        return StoreConflict(f"{what}: somebody else wrote it meanwhile")
    said = error.description or str(error)
    for words, option in LIMITS.items():
        if words in said:
            return StoreRefused(f"{what}: {said}; `nats stream edit {stream} {option}` allows it")
    if error.err_code in PASSING:
        return StoreUnavailable(f"{what}: {said}")
    return StoreUnavailable.lasting(f"{what}: {said}")


async def _of_silence(link: Link, what: str, stream: str) -> NexthosError:
    """Nobody listens to the subject: because there is no bucket, or no JetStream?"""
    try:
        async with asyncio.timeout(ASK_WITHIN):
            info = await link.js.stream_info(stream)
    except js_errors.NotFoundError:
        return StoreMissing(f"{what}: the bucket does not exist")
    except (TimeoutError, nats_errors.Error, OSError) as error:
        words = f"{what}: no JetStream answered (is the server started with -js?)"
        passes = link.has_jetstream and getattr(error, "err_code", None) not in NOT_ENABLED
        return StoreUnavailable(words) if passes else StoreUnavailable.lasting(words)
    if not info.config.allow_direct:
        words = f"`nats stream edit {stream} --allow-direct` lets it be read"
        return StoreRefused(f"{what}: the bucket does not allow direct gets; {words}")
    return StoreUnavailable(f"{what}: JetStream did not answer")


def _words(error: BaseException) -> str:
    if isinstance(error, asyncio.TimeoutError | nats_errors.TimeoutError):
        return "NATS did not answer in time"
    return str(error).removeprefix("nats: ") or type(error).__name__
