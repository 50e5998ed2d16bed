"""What one life of an engine says of itself in its log, as far as its readiness must not be believed.

Comes in: entries of its log, the engine's answer, the time. Goes out: a verdict, and what goes wrong
while it runs. Pure: no clock, no I/O, and bounded whatever is logged.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from nexthos_controller.execution import SAYS
from nexthos_shared.engine.messages import MAX_MESSAGE, without_values
from nexthos_shared.engine.symptoms import Symptom, symptom_of
from nexthos_shared.reasons import Problem, Reason
from nexthos_shared.system_errors import with_advice

RECENT = 15.0  # seconds for which what is said again and again holds
REPLACED_AFTER = 10.0  # seconds for which the last error that was told stays, if others come
MAX_PATHS = 64
MOST_ERRING = 8  # components that are told
WORDS = 300  # characters of an engine's message that are told
ERRORS = 5  # errors in the window that are worth a condition
WINDOW = 60.0  # seconds
LASTS = 10.0  # seconds between the first and the last of them, at least: a burst is none

_LEVELS = frozenset({"error", "fatal", "panic"})
_DIGITS = re.compile(r"\d+")
_INPUT_ONLY = "input not connected"


class Heard:
    """Of one life. `env`: values that are shown to nobody; None: unknown, so no words are shown."""

    def __init__(self, env: Mapping[str, str] | None) -> None:
        self._env = env
        self._last: tuple[str, float] | None = None
        self._symptoms: dict[str, tuple[Symptom, str, float]] = {}  # by path
        self._unconnected: set[str] = set()
        self._dynamic = False
        self._erring: dict[str, Erring] = {}  # by path

    def take(self, entries: Iterable[Mapping[str, Any]], now: float) -> None:
        """Lines that were logged since, parsed. `now`: any clock's seconds, the same at each call."""
        for entry in entries:
            message, path = str(entry.get("msg", "")), str(entry.get("path", ""))[:200]
            if str(entry.get("level")).lower() in _LEVELS:
                self._fault(" ".join(message.split())[:MAX_MESSAGE], path, now)
            elif message.endswith(" is now active"):
                self._unconnected.discard(path)
                self._dynamic = self._dynamic or ".dynamic.inputs." in path
                known = self._symptoms.get(path)
                if known is not None and not known[0].for_good:
                    del self._symptoms[path]

    def _fault(self, message: str, path: str, now: float) -> None:
        words = message[:WORDS]
        if self._last is None or _shape(self._last[0]) == _shape(words):
            self._last = (self._last[0] if self._last else words), now
        elif now - self._last[1] >= REPLACED_AFTER or "ailed to connect" in words:
            self._last = words, now
        if message.startswith("Failed to connect") and len(self._unconnected) < MAX_PATHS:
            self._unconnected.add(path)
        symptom = symptom_of(message)
        known = self._symptoms.get(path)
        if symptom is not None and (known or len(self._symptoms) < MAX_PATHS):
            if known is None or not known[0].for_good:
                self._symptoms[path] = (symptom, words, now)
        elif not message.startswith("Failed to connect"):
            if path not in self._erring and len(self._erring) >= MAX_PATHS:
                path = next(iter(self._erring))
            self._erring.setdefault(path, Erring()).take(words, now)

    def verdict(self, ready: bool, detail: str, now: float) -> tuple[bool, Problem | None]:
        """Whether it is ready, from what it answered and what it said; and why not."""
        for path, (symptom, words, at) in self._symptoms.items():
            if symptom.for_good or now - at <= RECENT:
                return False, self._masked(symptom.reason, f"{path}: {words}{symptom.advice}")
        if ready:
            return True, None
        if self._dynamic and not self._unconnected and detail.strip() == _INPUT_ONLY:
            return True, None  # a `dynamic` input says so for ever, whatever its inputs do
        said = f": {' '.join(detail.split())}" if detail else ""
        cause = f"{SAYS}{self._last[0]}" if self._last else ""
        words = f"an input or output is not connected{said}{cause}"
        return False, self._masked(Reason.NOT_CONNECTED, words)

    def erring(self, now: float) -> tuple[Problem, ...]:
        """Of each component whose messages fail, again and again, what it says; `field` is its path."""
        found: list[Problem] = []
        for path, errors in list(self._erring.items()):
            told = errors.told(now)
            if not errors.known:
                del self._erring[path]
            if told is not None and len(found) < MOST_ERRING:
                words = f"{told[0]}, the last in {path or 'the engine'}: {told[1]}"
                found.append(replace(self._masked(Reason.ERRORING, words), field=path or None))
        return tuple(found)

    def _masked(self, reason: Reason, words: str) -> Problem:
        if self._env is None:
            words = "an input or output is not connected; its log says why"
        return without_values(Problem(reason, with_advice(words)), self._env or {})


class Erring:
    """Errors of one component in the last minute."""

    def __init__(self) -> None:
        self._errors: Counter[int] = Counter()  # by second
        self._words = ""
        self._told: tuple[str, str] | None = None

    @property
    def known(self) -> bool:
        """Whether there are any."""
        return bool(self._errors)

    def take(self, words: str, now: float) -> None:
        """One more."""
        self._errors[int(now)] += 1
        self._words = words
        self._forget(now)

    def told(self, now: float) -> tuple[str, str] | None:
        """How many and the last one's words, as they were first told; None of few, and of a burst."""
        self._forget(now)
        many = self._errors.total()
        if not many:
            self._told = None
        elif self._told is None and many >= ERRORS:
            lasted = float(max(self._errors) - min(self._errors))
            if lasted >= LASTS:
                self._told = f"{many} errors in {max(lasted, 1.0):.0f} s", self._words
        return self._told

    def _forget(self, now: float) -> None:
        if self._errors and now - min(self._errors) > WINDOW:
            self._errors = Counter({at: n for at, n in self._errors.items() if now - at <= WINDOW})


def _shape(words: str) -> str:
    """Two messages that differ in a port or a count are one."""
    return _DIGITS.sub("#", words)
