"""The configuration's bytes, from the controller, however long it or NATS may be away.

Comes in: settings. Goes out: verified bytes, or `Failed`. It asks on one subject and listens to an inbox of
its own: that is all that its user needs (README, "Least privilege"). What is answered is believed only as
far as it is counted and hashed here.
"""

from __future__ import annotations

import json
import re
import time

from nexthos_runner import log
from nexthos_runner.failed import Failed
from nexthos_runner.settings import Settings
from nexthos_runner.wire import Access, Away, Message, Wire
from nexthos_shared import names
from nexthos_shared.exit_codes import Exit
from nexthos_shared.names import Names, runner_inbox
from nexthos_shared.object_format import MAX_CONFIG_BYTES
from nexthos_shared.reasons import Reason

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds between two attempts
READ_WITHIN = 20.0  # seconds for all parts
READS = 5  # attempts at a configuration that is overwritten while it is read
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_SIZE = re.compile(r"[0-9]{1,7}")
_CODE, _WORDS = "Nats-Service-Error-Code", "Nats-Service-Error"
_FOR_GOOD: dict[str, Exit] = {
    Reason.CONFIG_MISSING: Exit.MISSING,
    Reason.CONFIG_CHANGED: Exit.CHANGED,
    Reason.CONFIG_UNAVAILABLE: Exit.DAMAGED,
    Reason.CONFIG_TOO_LARGE: Exit.DAMAGED,
    Reason.NOT_PERMITTED: Exit.REFUSED,
}


class _Overwritten(Exception):
    """Other bytes are stored than the part before was of."""


def fetch(settings: Settings) -> bytes:
    """The bytes of `<pipeline>/<version>`; tried again while nobody answers, `fetch_within` seconds."""
    deadline = time.monotonic() + settings.fetch_within
    failures = 0
    while True:
        try:
            return _fetch(settings)
        except Away as error:
            left = deadline - time.monotonic()
            if left <= 0:
                words = f"{error}; given up after {settings.fetch_within:g} s"
                raise Failed(Exit.AWAY, words) from error
            # Here, since it takes 2 ms, and most starts find NATS at once.
            from nexthos_shared.backoff import Backoff

            failures += 1
            pause = min(Backoff(FIRST_PAUSE, LONGEST_PAUSE).after(failures), left)
            log.warning(f"{error}; tried again in {pause:.1f} s")
        time.sleep(pause)


def _fetch(settings: Settings) -> bytes:
    access = Access(
        settings.store_url,
        settings.store_creds,
        settings.store_ca,
        settings.store_cert,
        settings.store_key,
    )
    name = f"nexthos-runner {settings.pipeline}/{settings.version}"
    asked = Names(settings.namespace)
    inbox = runner_inbox(settings.namespace, settings.pipeline)
    with Wire.open(access, name=name, inbox=inbox) as wire:
        for _ in range(READS):
            try:
                return _read(wire, asked.config_subject(settings.pipeline), settings)
            except _Overwritten:
                continue
    raise Away(f"{settings.pipeline}/{settings.version} is overwritten again and again")


def _read(wire: Wire, subject: str, settings: Settings) -> bytes:
    """All parts, of the digest that the first one names."""
    deadline = time.monotonic() + READ_WITHIN
    digest, size, content = settings.digest, None, b""
    while size is None or len(content) < size:
        if time.monotonic() > deadline:
            raise Away(f"{subject}: not all of it in {READ_WITHIN:g} s")
        asked = {"version": settings.version, "digest": digest, "offset": len(content)}
        message = wire.get(subject, json.dumps(asked).encode())
        _refused(message, subject, is_ours=digest is not None and settings.digest is None)
        told = _told(message)
        if told is None or told != (digest or told[0], told[1] if size is None else size):
            raise _damaged(settings)
        digest, size = told
        if not message.data and size > len(content):
            raise _damaged(settings)
        content += message.data
    if len(content) != size or names.digest_of(content) != digest:
        raise _damaged(settings)
    return content


def _told(message: Message) -> tuple[str, int] | None:
    """Digest and size of the whole, or None for what no controller says."""
    digest = message.headers.get(names.DIGEST_HEADER, "")
    size = message.headers.get(names.SIZE_HEADER, "")
    if not _DIGEST.fullmatch(digest) or not _SIZE.fullmatch(size):
        return None
    return (digest, int(size)) if int(size) <= MAX_CONFIG_BYTES else None


def _damaged(settings: Settings) -> Failed:
    name = names.config_object(settings.pipeline, settings.version)
    return Failed(Exit.DAMAGED, f"configuration {name}: the bytes do not match what is promised")


def _refused(message: Message, subject: str, *, is_ours: bool) -> None:
    """Raise what an error says. `is_ours`: the digest is that of an earlier part, pinned by nobody."""
    if message.status == 503:
        raise Away(f"no controller answers on {subject}")
    code = message.headers.get(_CODE, "")
    if not code:
        return
    words = message.headers.get(_WORDS, "").partition(": ")[2] or f"error {code}"
    exit_code = _FOR_GOOD.get(_reason(message.data))
    if exit_code is Exit.CHANGED and is_ours:
        raise _Overwritten
    if exit_code is None and code not in ("400", "413"):
        raise Away(f"the controller: {words}")
    raise Failed(exit_code or Exit.USAGE, words)


def _reason(data: bytes) -> str:
    try:
        return str(json.loads(data)["reason"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
