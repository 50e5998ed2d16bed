"""What one pipeline should have done, held against the messages that came.

Comes in: when it should run, what was done to it (causes, each with the time that it may cost), when
nobody could act (excused), and its heart: lives and silences as they were heard. Goes out: complaints in
words, and how long it was down. Times are seconds of time.monotonic. Pure.

A silence counts as far as the pipeline should have run. With a cause it may last as long as its causes
allow, time in which nobody could act left out; without one, no longer than a busy machine stutters. A new
life without a cause is a restart that need not have been.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from nexthos_testing.beats import SILENCE, Heart, Life

START_WITHIN = 5.0  # seconds for seeing, stopping and starting, with all cores busy
STUTTER = 3.0  # seconds that an engine may be silent on a busy machine
FIRST_BACKOFF = 1.0  # seconds, doubling; docs/architecture.md, C
JITTER = 1.2


def backoff(ends: int) -> float:
    """Seconds at most until the start that follows so many ends in a row."""
    return FIRST_BACKOFF * 2.0 ** (ends - 1) * JITTER


@dataclass(frozen=True, slots=True)
class Span:
    """From, to."""

    since: float
    until: float = math.inf

    def within(self, other: Span) -> Span:
        """What both have; empty if nothing."""
        since = max(self.since, other.since)
        return Span(since, max(since, min(self.until, other.until)))

    @property
    def length(self) -> float:
        return self.until - self.since


def common(spans: Iterable[Span], others: Sequence[Span]) -> float:
    """Seconds that lie in both. The `others` do not overlap each other."""
    return sum(one.within(other).length for one in spans for other in others)


def united(spans: Iterable[Span]) -> list[Span]:
    """The same time, without overlaps."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda s: s.since):
        if found and span.since <= found[-1].until:
            found[-1] = Span(found[-1].since, max(found[-1].until, span.until))
        else:
            found.append(span)
    return found


@dataclass(frozen=True, slots=True)
class Cause:
    """Something that was done to it. `mark`: what it says once that was acted on; 0: any new life."""

    what: str
    asked: float
    stored: float
    allows: float  # seconds
    mark: int = 0

    def over(self, lives: Sequence[Life]) -> float:
        """When its consequence was first heard."""
        later = (one for one in lives if one.first > self.asked)
        return min((one.first for one in later if int(one.mark) >= self.mark), default=math.inf)


@dataclass(frozen=True, slots=True)
class Down:
    """A silence in which it should have run."""

    key: str
    span: Span
    charged: float  # seconds, excused ones left out
    allowed: float
    because: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return self.charged <= self.allowed

    def __str__(self) -> str:
        why = ", ".join(self.because) or "nothing"
        return (
            f"{self.key} was down for {self.charged:.1f} s from {self.span.since:.1f} on, "
            f"{self.allowed:.1f} s are allowed; before it: {why}"
        )


@dataclass
class Story:
    """What was asked of one pipeline, and what was done to it."""

    key: str
    wanted: list[Span] = field(default_factory=list)  # it should run for certain
    unwanted: list[Span] = field(default_factory=list)  # it should not run for certain
    causes: list[Cause] = field(default_factory=list)
    ends: int = 0  # in a row, as the controller counts them

    @property
    def runs(self) -> bool:
        """Whether it should run now."""
        return bool(self.wanted) and self.wanted[-1].until == math.inf

    def run(self, what: str, asked: float, stored: float, mark: int) -> None:
        """Started, resumed, or changed so that it must be another engine."""
        self.ends = 0
        self.causes.append(Cause(what, asked, stored, START_WITHIN, mark))
        if not self.runs:
            self.wanted.append(Span(stored))
            if self.unwanted:
                self.unwanted[-1] = Span(
                    self.unwanted[-1].since, max(asked, self.unwanted[-1].since)
                )

    def rest(self, asked: float, stored: float) -> None:
        """Paused or deleted."""
        if self.runs:
            self.wanted[-1] = Span(self.wanted[-1].since, max(asked, self.wanted[-1].since))
            self.unwanted.append(Span(stored))

    def killed(self, at: float) -> None:
        """Its engine was killed."""
        self.ends += 1
        allows = backoff(self.ends) + START_WITHIN
        self.causes.append(Cause(f"kill number {self.ends}", at, at, allows))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be said of one pipeline."""

    downs: list[Down]
    complaints: list[str]
    acted: list[float]  # seconds from a stored change until it was heard, excused ones left out


def judge(story: Story, heart: Heart, excused: Sequence[Span], end: float) -> Verdict:
    """All that is wrong. `excused`: when nobody could act; `end`: until when it was listened to."""
    case = _Case(story, heart, united(excused), end)
    downs = [down for silence in case.silences() for down in case.downs(silence)]
    acted, late = case.acted()
    return Verdict(
        downs,
        [
            *(str(down) for down in downs if not down.holds),
            *late,
            *(f"{story.key}: two at once: {words}" for words in heart.twins),
            *case.needless(),
            *case.undead(),
            *case.wrong_at_the_end(),
        ],
        acted,
    )


@dataclass(frozen=True, slots=True)
class _Case:
    story: Story
    heart: Heart
    excused: list[Span]
    end: float

    def silences(self) -> Iterator[Span]:
        lives = self.heart.lives
        first = min((one.first for one in lives), default=self.end)
        last = max((one.last for one in lives), default=self.end)
        for since, until in [(0.0, first), *self.heart.silences, (last, self.end)]:
            if until - since > SILENCE:
                yield Span(since, until)

    def pending(self, span: Span) -> list[Cause]:
        """Causes whose consequences were awaited in that time."""
        lives = self.heart.lives
        return [
            c for c in self.story.causes if c.asked <= span.until and c.over(lives) >= span.since
        ]

    def downs(self, silence: Span) -> Iterator[Down]:
        for wanted in self.story.wanted:
            span = silence.within(wanted)
            if span.length > 0:
                causes = self.pending(span)
                allowed = sum(c.allows for c in causes) or STUTTER
                excused = common([span], self.excused) if causes else 0.0
                why = tuple(c.what for c in causes)
                yield Down(self.story.key, span, span.length - excused, allowed, why)

    def acted(self) -> tuple[list[float], list[str]]:
        """How long each change was waited for, and those that took too long."""
        found, late = [], []
        begins = min((w.since for w in self.story.wanted), default=0.0)
        for cause in (c for c in self.story.causes if c.mark and c.stored >= begins):
            over = min(cause.over(self.heart.lives), self.end)
            span = Span(cause.stored, max(cause.stored, over))
            waited = [span.within(wanted) for wanted in self.story.wanted]
            charged = sum(s.length for s in waited) - sum(common([s], self.excused) for s in waited)
            found.append(charged)
            allowed = sum(c.allows for c in self.pending(Span(cause.asked, span.until)))
            if charged > allowed:
                late.append(
                    f"{self.story.key}: {cause.what} was acted on after {charged:.1f} s, "
                    f"{allowed:.1f} s are allowed"
                )
        return found, late

    def needless(self) -> Iterator[str]:
        """New lives that nothing asked for."""
        lives = self.heart.lives
        for life in lives:
            causes = (c for c in self.story.causes if c.asked <= life.first <= c.over(lives))
            if not any(causes):
                yield f"{self.story.key}: started at {life.first:.1f} without a cause"

    def undead(self) -> Iterator[str]:
        """Lives that went on although they should not have."""
        for rest in self.story.unwanted:
            span = rest.within(Span(rest.since, self.end))
            limit = span.since + START_WITHIN + common([span], self.excused)
            for life in self.heart.lives:
                if limit < span.until and life.first < span.until and life.last > limit:
                    late = min(life.last, span.until) - span.since
                    yield f"{self.story.key}: still ran {late:.1f} s after it was told to rest"

    def wrong_at_the_end(self) -> Iterator[str]:
        said = int(self.heart.now.mark) if self.heart.now else None
        asked = max((c.mark for c in self.story.causes), default=0)
        if self.story.runs and said != asked:
            yield f"{self.story.key}: says {said} at the end, should say {asked}"
