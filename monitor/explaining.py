"""From a verdict to a signal: who is behind a spike, what it is about, and how it looks.

Asked only when something rings, and only of the stretch of time that rang and a sample of the weeks
before, so its price does not grow with history.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from alerts.base import Severity, Signal, SignalKind
from alerts.drivers import (
    CHART_SPAN,
    Evidence,
    Shape,
    Story,
    Voices,
    chart,
    drivers,
    severity_of,
    shape_of,
)
from alerts.incidents import CRISIS_SUBJECT
from alerts.message import HIDDEN
from alerts.spikes import SpikeVerdict
from alerts.terms import may_be_shown
from alerts.topics import TopicVerdict
from classifiers.base import SentimentLabel
from monitor.coverage import LEAST_SHARE, Listening
from monitor.series import AUTHORS, NEGATIVE, REACH, STORIES, VOLUME, Series, Track, View
from monitor.store import Unit
from monitor.store.crowd import BUCKET, bucket_of

HABIT = timedelta(days=14)
"""How far back the words are read that are usual."""
SAMPLE_NOW = 1000
SAMPLE_USUAL = 2000
"""Posts that are read for their words at most."""
LONGEST = timedelta(days=1)
"""No more than this of a spike is looked at."""

TOPIC_WINDOW = timedelta(hours=1)

MOSTLY = 0.5
"""From this share of negative posts on a topic is a bad one."""


@dataclass(frozen=True)
class Case:
    """What is known of one brand at the moment something rings."""

    unit: Unit
    brand: str
    terms: Sequence[str]
    """The brand's own words."""
    intervals: Mapping[str, timedelta]
    """Its sources, and how often each is polled."""
    view: View
    tracks: Mapping[Series, Track]

    @cached_property
    def listening(self) -> Listening:
        """What was listened to in the last days: a spike may have begun before the recent buckets."""
        since = self.view.end - CHART_SPAN - LONGEST
        return Listening(self.unit.sources.coverage(since, self.view.end), self.intervals)

    # -- spikes --------------------------------------------------------------------------------

    def spike(self, series: Series, verdict: SpikeVerdict) -> Signal | None:
        """The signal of a series that rang; None when it was told before, or stories are no crowd."""
        if series.kind is None or self._known(series, verdict.at.isoformat()):
            return None
        until = verdict.at + BUCKET
        window = until - verdict.window
        since = min(verdict.since or verdict.at, window)
        filled = self._filled(series, window, until)
        shape = self.shape(series, since, until)
        if series is STORIES and shape is not Shape.CROWD:
            return None
        expected = max(0.0, verdict.window_expected - filled)
        observed = round(verdict.window_value - filled)
        return self._signal(
            series,
            key=verdict.at.isoformat(),
            severity=severity_of(series.severity, shape),
            since=since,
            until=until,
            facts={
                "window_minutes": verdict.window.total_seconds() / 60,
                "observed": observed,
                "expected": round(expected, 2),
                "factor": round(min(1000.0, observed / expected) if expected else 1000.0, 1),
                "score": round(verdict.score, 3),
                "warming_up": verdict.warming_up,
                "coverage": round(self._heard(window, until), 2),
                "shape": shape.value,
            },
        )

    def grown(self, series: Series, since: datetime) -> Signal | None:
        """The signal that a running spike has become a crowd; None when it has not."""
        key = f"{since.isoformat()}:{Shape.CROWD.value}"
        until = self.view.end
        since = max(bucket_of(since), until - LONGEST)
        if self._known(series, key) or self.shape(series, since, until) is not Shape.CROWD:
            return None
        observed = self._spread(series, since, until).mentions
        expected = self._usual(series, since, until)
        return self._signal(
            series,
            key=key,
            severity=series.severity,
            since=since,
            until=until,
            facts={
                "window_minutes": (until - since).total_seconds() / 60,
                "observed": observed,
                "expected": round(expected, 2),
                "factor": round(min(1000.0, observed / expected) if expected else 1000.0, 1),
                "coverage": round(self._heard(since, until), 2),
                "shape": Shape.CROWD.value,
            },
        )

    def shape(self, series: Series, since: datetime, until: datetime) -> Shape:
        """Who is behind the mentions of a stretch of time.

        What is usual is known of all mentions; of the negative ones the same proportion is.
        """
        expected = self._usual(VOLUME, since, until)
        part = 1.0
        if series.negative:
            bad = self._usual(NEGATIVE, since, until)
            part = min(1.0, bad / expected) if expected else 1.0
        usual = Voices(
            mentions=part * expected,
            authors=part * self._usual(AUTHORS, since, until),
            stories=part * self._usual(STORIES, since, until),
        )
        return shape_of(self._spread(series, since, until), usual)

    def _spread(self, series: Series, since: datetime, until: datetime) -> Voices:
        spread = self.unit.crowd.spread(self.brand, since, until, negative=series.negative)
        return Voices(spread.mentions, spread.authors, spread.stories)

    def _signal(  # noqa: PLR0917 - one private step of the above
        self,
        series: Series,
        key: str,
        severity: Severity,
        since: datetime,
        until: datetime,
        facts: Mapping[str, Any],
    ) -> Signal:
        spread = self._spread(series, since, until)
        return Signal(
            kind=series.kind or SignalKind.VOLUME_SPIKE,
            brand=self.brand,
            severity=severity,
            key=self._key(series, key),
            subject=CRISIS_SUBJECT,
            occurred_at=until - BUCKET,
            mention_ids=tuple(
                self.unit.mentions.ids_between(
                    self.brand,
                    since,
                    self.view.end,
                    sentiment=SentimentLabel.NEGATIVE if series.negative else None,
                )
            ),
            facts={
                "series": series.name,
                "since": since.isoformat(),
                **facts,
                "authors": round(spread.authors),
                "stories": round(spread.stories),
                "drivers": self.drivers(series, since, until),
                "chart": self.chart(series, until, until - BUCKET),
            },
        )

    def _key(self, series: Series, which: str) -> str:
        kind = series.kind or SignalKind.VOLUME_SPIKE
        name = kind.value if series is not STORIES else f"{kind.value}:{series.name}"
        return f"{name}:{self.brand}:{which}"

    def _known(self, series: Series, which: str) -> bool:
        """Whether this was told before: explaining costs."""
        return self.unit.incidents.has_signal(self._key(series, which))

    # -- topics --------------------------------------------------------------------------------

    def topic(self, verdict: TopicVerdict, term: str) -> Signal | None:
        """The signal of a word that is on many lips; None when it was told before."""
        begin = min(verdict.since or verdict.at, verdict.at)
        # Keys are shown in histories: the word itself may have to stay unsaid.
        word = hashlib.blake2b(term.encode(), digest_size=6).hexdigest()
        key = f"{SignalKind.TOPIC_BURST.value}:{self.brand}:{word}:{begin.isoformat()}"
        if self.unit.incidents.has_signal(key):
            return None
        since = begin - TOPIC_WINDOW
        ids = self.unit.mentions.ids_saying(self.brand, since, self.view.end, term)
        share = self.unit.mentions.share_of(ids, SentimentLabel.NEGATIVE)
        until = bucket_of(verdict.at) + BUCKET
        said = self.unit.crowd.said(self.brand, since, until, most=SAMPLE_NOW)
        return Signal(
            kind=SignalKind.TOPIC_BURST,
            brand=self.brand,
            severity=Severity.HIGH if share >= MOSTLY else Severity.MEDIUM,
            key=key,
            subject=CRISIS_SUBJECT,
            occurred_at=verdict.at,
            mention_ids=tuple(ids),
            facts={
                "term": term if may_be_shown(term, said) else HIDDEN,
                "since": begin.isoformat(),
                "window_minutes": max(1, math.ceil(verdict.window.total_seconds() / 60)),
                "observed": verdict.stories,
                "expected": round(verdict.expected, 2),
                "factor": round(min(1000.0, verdict.stories / max(verdict.expected, 0.001)), 1),
                "score": round(verdict.score, 3),
                "authors": verdict.authors,
                "stories": verdict.stories,
                "negative_share": round(share, 2),
                "drivers": self.drivers(VOLUME, bucket_of(since), until),
                "chart": self.chart(VOLUME, until, until - BUCKET),
            },
        )

    # -- what is usual -------------------------------------------------------------------------

    def _share(self, at: datetime) -> float:
        return self.view.weights.share(self.listening.heard(at))

    def _usual(self, series: Series, since: datetime, until: datetime) -> float:
        """What a series usually counts in a stretch of time, as far as that was listened to."""
        usual_at = self.tracks[series].detector.usual_at
        return sum(
            share * usual_at(at)[0]
            for at in _buckets(since, until)
            if (share := self._share(at)) >= LEAST_SHARE
        )

    def _filled(self, series: Series, since: datetime, until: datetime) -> float:
        """How much of what a series counted was filled in where sources were dark."""
        usual_at = self.tracks[series].detector.usual_at
        return sum(
            (1 - share) * usual_at(at)[0]
            for at in _buckets(since, until)
            if LEAST_SHARE <= (share := self._share(at)) < 1
        )

    def _heard(self, since: datetime, until: datetime) -> float:
        """The mean share that was listened to in a stretch of time."""
        shares = [self._share(at) for at in _buckets(since, until)]
        return sum(shares) / len(shares)

    # -- what is behind it ---------------------------------------------------------------------

    def drivers(self, series: Series, since: datetime, until: datetime) -> dict[str, Any]:
        """What the mentions of a stretch of time are made of, against what is usual."""
        since = max(since, until - LONGEST)
        crowd, negative, view = self.unit.crowd, series.negative, self.view
        buckets = crowd.buckets(self.brand, since, until).values()
        mentions = sum(each.mentions for each in buckets)
        expected = self._usual(series, since, until)
        everything = self._usual(VOLUME, since, until)
        bad = self._usual(NEGATIVE, since, until)
        sources: Counter[str] = Counter()
        for each in buckets:
            sources.update(each.sources)
        if negative:
            sources = crowd.sources(self.brand, since, until, negative=True)
        return drivers(
            Evidence(
                voices=self._spread(series, since, until),
                stories=[
                    Story(told.first, told.mentions, told.authors)
                    for told in crowd.tellings(self.brand, since, until, negative=negative)
                ],
                sources=sources,
                usual_sources={
                    name: part * (expected if negative else everything)
                    for name, part in view.weights.usual().items()
                },
                negative=sum(each.negative for each in buckets) / mentions if mentions else None,
                usual_negative=min(1.0, bad / everything) if everything else None,
                reach=sum(each.reach for each in buckets),
                usual_reach=self._usual(REACH, since, until),
                said=crowd.said(self.brand, since, until, negative=negative, most=SAMPLE_NOW),
                usually_said=crowd.said(self.brand, since - HABIT, since, most=SAMPLE_USUAL),
                ignore=(*self.terms, self.brand),
            )
        )

    def chart(self, series: Series, end: datetime, rang_at: datetime) -> dict[str, Any]:
        """The last two days of a series against what was usual."""
        start = end - CHART_SPAN
        buckets = self.unit.crowd.buckets(self.brand, start, end)

        def count(at: datetime) -> float | None:
            if self._share(at) < LEAST_SHARE:
                return None
            return series.value(buckets[at]) if at in buckets else 0

        return chart(
            end,
            bucket=BUCKET,
            count=count,
            usual_at=self.tracks[series].detector.usual_at,
            rang_at=rang_at,
        )


def _buckets(since: datetime, until: datetime) -> Iterator[datetime]:
    while since < until:
        yield since
        since += BUCKET
