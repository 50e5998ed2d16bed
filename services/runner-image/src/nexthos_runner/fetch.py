"""The configuration's bytes, out of the store, however long NATS may be away.

Comes in: settings. Goes out: verified bytes, or `Failed`. Of the store it uses direct gets alone: two
subjects and an inbox of its own are all that its user needs (README, "Least privilege").
"""

from __future__ import annotations

import json
import time

from nexthos_runner import log
from nexthos_runner.failed import Failed
from nexthos_runner.settings import Settings
from nexthos_runner.wire import Access, Away, Wire
from nexthos_shared import objects
from nexthos_shared.errors import ConfigChanged, ConfigMissing, ConfigUnavailable, InvalidConfig
from nexthos_shared.exits import Exit
from nexthos_shared.names import Names, runner_inbox

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds, doubling between two attempts


def inbox_of(namespace: str, pipeline: str) -> str:
    """Where answers come in. Another pipeline's runner may be refused to listen there."""
    return runner_inbox(namespace, pipeline)


def fetch(settings: Settings) -> bytes:
    """The bytes of `<pipeline>/<version>`; tried again while NATS is away, `fetch_within` seconds."""
    deadline = time.monotonic() + settings.fetch_within
    pause = FIRST_PAUSE
    while True:
        try:
            return _fetch(settings)
        except Away as error:
            left = deadline - time.monotonic()
            if left <= 0:
                words = f"{error}; given up after {settings.fetch_within:g} s"
                raise Failed(Exit.AWAY, words) from error
            pause = min(pause, left)
            log.warning(f"{error}; tried again in {pause:.1f} s")
        time.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


def _fetch(settings: Settings) -> bytes:
    access = Access(
        settings.store_url,
        settings.store_creds,
        settings.store_ca,
        settings.store_cert,
        settings.store_key,
    )
    name = f"nexthos-runner {settings.pipeline}/{settings.version}"
    inbox = inbox_of(settings.namespace, settings.pipeline)
    with Wire.open(access, name=name, inbox=inbox) as wire:
        try:
            return _read(wire, settings)
        except ConfigMissing as error:
            raise Failed(Exit.MISSING, str(error)) from error
        except ConfigChanged as error:
            raise Failed(Exit.CHANGED, str(error)) from error
        except (ConfigUnavailable, InvalidConfig) as error:
            raise Failed(Exit.DAMAGED, str(error)) from error


def _read(wire: Wire, settings: Settings) -> bytes:
    bucket = Names(settings.namespace).configs
    reading = objects.read(bucket, settings.pipeline, settings.version, digest=settings.digest)
    answer = None
    while True:
        try:
            ask = reading.send(answer)
        except StopIteration as end:
            return bytes(end.value)
        time.sleep(ask.wait)
        answer = _answer(wire, settings.store_api, bucket, ask)


def _answer(wire: Wire, api: str, bucket: str, ask: objects.Ask) -> objects.Answer | None:
    subject = f"{api}.DIRECT.GET.{objects.stream_of(bucket)}"
    if ask.after is None:
        message = wire.get(f"{subject}.{ask.subject}")
    else:
        wanted = {"seq": ask.after + 1, "next_by_subj": ask.subject}
        message = wire.get(subject, json.dumps(wanted).encode())
    if message.status == 404:
        return None
    if message.status == 503:
        # No stream, or one without direct gets, or JetStream is not up yet. Which of them can't be asked
        # without a right that the runner has no other use for.
        raise Away(f"no bucket {bucket} answers to direct gets")
    if message.status:
        raise Away(
            f"bucket {bucket}: status {message.status} {message.headers.get('Description', '')}"
        )
    return objects.Answer(message.data, int(message.headers.get("Nats-Sequence", 0)))
