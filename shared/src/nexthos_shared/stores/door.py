"""The door between nats-py and the house: every error of the library becomes one of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from nats import errors as nats_errors
from nats.js import errors as js_errors

from nexthos_shared.errors import NotPermitted, StoreConflict, StoreMissing, StoreUnavailable
from nexthos_shared.nats_client import Link

WRONG_LAST_SEQUENCE = 10071
STREAM_NOT_FOUND = 10059


@contextmanager
def door(link: Link, what: str) -> Iterator[None]:
    """Translate; `what` names the operation and its object, e.g. `get nexthos-status/orders`.

    nats-py reports a permissions violation beside the call, which then only times out: the link
    remembers what the server refused last.
    """
    refused_before = link.refused
    try:
        yield
    except js_errors.NotFoundError as error:
        if error.err_code == STREAM_NOT_FOUND or isinstance(error, js_errors.BucketNotFoundError):
            raise StoreMissing(f"{what}: the bucket does not exist") from error
        raise
    except js_errors.APIError as error:
        if error.err_code == WRONG_LAST_SEQUENCE:
            raise StoreConflict(f"{what}: somebody else wrote it meanwhile") from error
        raise StoreUnavailable(f"{what}: {error.description or error}") from error
    except (TimeoutError, nats_errors.Error, js_errors.Error, OSError) as error:
        if link.refused != refused_before and link.refused is not None:
            raise NotPermitted(f"{what}: {link.refused}") from error
        raise StoreUnavailable(f"{what}: {_words(error)}") from error


def _words(error: BaseException) -> str:
    if isinstance(error, asyncio.TimeoutError | nats_errors.TimeoutError):
        return "NATS did not answer in time"
    if isinstance(error, js_errors.NoStreamResponseError | nats_errors.NoRespondersError):
        return "no JetStream answered (is the server started with -js?)"
    return str(error) or type(error).__name__
