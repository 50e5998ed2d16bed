"""The pipelines: changed at random, by a user who remembers what was asked of each."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress

from tests.soak.story import Span, Story

from nexthos_testing.beats import Beats
from nexthos_testing.changes import NatsMayBeAway, User
from nexthos_testing.controller import ControllerProcess, engine_processes

BEAT = "500ms"
PAUSE = (0.5, 1.5)  # seconds from one change to the next
# What is asked how often; what does not fit (to pause what is paused) is asked the other way round.
ASKED = {"change": 8, "label": 4, "pause": 3, "delete": 2, "break": 1, "forge": 1}
KILLS = 4  # in a row; the fifth would cost five minutes


class Fleet:
    """All pipelines of a soak, by key."""

    def __init__(self, count: int, user: User, beats: Beats, dice: random.Random) -> None:
        self.stories = {f"p{n:03}": Story(f"p{n:03}") for n in range(count)}
        self.asked: Counter[str] = Counter()
        self._user = user
        self._beats = beats
        self._dice = dice
        self._marks = dict.fromkeys(self.stories, 0)
        self._numbers = itertools.count(1)
        self._revisions = dict.fromkeys(self.stories, 0)
        self._broken: set[str] = set()

    async def publish_all(self) -> None:
        """Store every configuration and every entry for the first time."""
        for key in self.stories:
            await self._user.base.config(key, self._beats.config(key, BEAT))
            await self._run("published", key, another=True)

    def count_from_now(self) -> None:
        """Judge what comes: how long so many take to start at once is not asked here."""
        for story in self.stories.values():
            story.wanted = [Span(time.monotonic())]

    async def revive_all(self) -> None:
        """Have everything run, as at the beginning."""
        for key, story in self.stories.items():
            if not story.runs:
                await self._run("revived", key)

    async def unsettled(self) -> list[str]:
        """What is not yet as it was last told to be, in words."""
        await self._user.look()
        found = []
        for key, mark in self._marks.items():
            said, statuses = self._beats.mark(key), self._user.statuses.get(key)
            status = statuses[-1] if statuses else None
            seen = status is not None and status.observed >= self._revisions[key]
            if said != str(mark) or not seen or (status and status.phase != "Running"):
                found.append(f"{key} says {said} instead of {mark}; its status: {status}")
        return found

    async def settle(self, within: float) -> list[str]:
        """Wait until everything runs and says what it was last told to say; what does not by then."""
        deadline = time.monotonic() + within
        while True:
            found = await self.unsettled()
            if not found or time.monotonic() > deadline:
                return found
            await asyncio.sleep(1.0)

    # ---- changes

    async def change_on(self) -> None:
        """Ask for something, for ever; while NATS is away the same is asked until it is stored."""
        while True:
            await asyncio.sleep(self._dice.uniform(*PAUSE))
            what = self._dice.choices(list(ASKED), list(ASKED.values()))[0]
            await self._ask(what, self._dice.choice(list(self.stories)))

    async def _ask(self, what: str, key: str) -> None:
        if not self.stories[key].runs:
            what = "resume"
        elif what == "break" and not self._is_ready(key):
            what = "label"  # or nobody would have seen what it breaks
        elif what == "forge" and key in self._broken:
            what = "label"  # or nobody would know any more what it was before
        self.asked[what] += 1
        match what:
            case "change":
                await self._run("change", key, another=True)
            case "resume":
                await self._run("resume", key)
            case "label":
                await self._put(key, labels={"number": str(next(self._numbers))})
            case "pause":
                asked = time.monotonic()
                await self._put(key, status="paused")
                self.stories[key].rest(asked, time.monotonic())
            case "delete":
                asked = time.monotonic()
                await self._user.delete(key)
                self.stories[key].rest(asked, time.monotonic())
            case "break":
                stored = await self._user.store(key, b'{"status": "published", "version": 2x}')
                self._revisions[key] = stored.revision
                self._broken.add(key)
            case "forge":
                await self._forge(key)

    async def _run(self, what: str, key: str, *, another: bool = False) -> None:
        self._marks[key] += another
        asked = time.monotonic()
        await self._put(key)
        self.stories[key].run(what, asked, time.monotonic(), self._marks[key])

    async def _put(self, key: str, **more: object) -> None:
        env = {"MARK": str(self._marks[key])}
        stored = await self._user.put(key, env=env, stop_timeout="2s", **more)
        self._revisions[key] = stored.revision
        self._broken.discard(key)

    def _is_ready(self, key: str) -> bool:
        """Whether the controller said that what was last asked runs.

        What ends before gives way to what was good before it, as it should; it is not what is tested here.
        """
        last = self._user.statuses[key][-1]
        return last.phase == "Running" and last.observed >= self._revisions[key]

    async def _forge(self, key: str) -> None:
        """Somebody writes nonsense over a status, or deletes it; the controller puts it right."""
        names = self._user.base.names
        value = json.dumps({"phase": "Failed", "observed_revision": 0, "updated_at": 0}).encode()
        headers = self._dice.choice([None, {"KV-Operation": "DEL"}])
        with NatsMayBeAway():  # then it is not forged
            subject = f"$KV.{names.status}.{key}"
            await self._user.base.js.publish(subject, value, headers=headers, timeout=0.5)

    # ---- ends

    def kill_some(self, controller: ControllerProcess, most: int) -> list[str]:
        """Kill engines that are ready; returns whose."""
        running = engine_processes(controller.state_dir).items()
        engines = [(pid, argv) for pid, argv in running if "/config.yaml" in argv]
        stories = self.stories.items()
        keys = [k for k, s in stories if s.runs and s.ends < KILLS and self._is_ready(k)]
        killed = []
        for key in self._dice.sample(keys, min(len(keys), self._dice.randint(1, most))):
            for pid, argv in engines:
                if f"-{key}-" in argv:
                    self.stories[key].killed(time.monotonic())
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                    killed.append(key)
        return killed
