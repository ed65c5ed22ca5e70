"""The step ``detect``: does a brand's crowd talk more, or worse, than it usually does at this hour?

A stored detector has consumed every *settled* bucket. Each run restores it, lets a copy go over the
recent buckets up to now (their counts may still change while late posts come in), and reads its
verdicts; the stored one moves on only when buckets are old enough to stay as they are. The topic
detector does the same with mentions in place of buckets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from alerts.base import Severity, Signal, SignalKind
from alerts.incidents import CRISIS_SUBJECT, SPIKES
from alerts.spikes import SNAPSHOT_VERSION, Sensitivity, SpikeDetector, SpikeVerdict
from alerts.topics import SNAPSHOT_VERSION as TOPIC_VERSION
from alerts.topics import TopicDetector, TopicVerdict
from classifiers.base import SentimentLabel
from monitor.announcing import Announcement, Announcer
from monitor.store import Store, Unit
from monitor.store.mentions import BUCKET, Detector, Voice, bucket_of
from monitor.store.sources import Stretch

SETTLE = timedelta(hours=2)
"""How long a bucket may still change: slow feeds, late assessments."""
SETTLE_AT_MOST = timedelta(hours=24)
"""A queue that does not empty holds settling up for this long at most."""
CATCH_UP = timedelta(days=90)
"""After a longer absence the detector starts anew instead of walking through it."""

Counts = Mapping[datetime, Mapping[SentimentLabel, int]]


@dataclass(frozen=True, slots=True)
class Series:
    """One thing that is counted, and the signal its spike gives."""

    name: str
    kind: SignalKind
    severity: Severity
    sentiment: SentimentLabel | None

    def value(self, counts: Mapping[SentimentLabel, int] | None) -> int:
        """The count of one bucket."""
        if counts is None:
            return 0
        return sum(counts.values()) if self.sentiment is None else counts.get(self.sentiment, 0)


SERIES = (
    Series("volume", SignalKind.VOLUME_SPIKE, Severity.MEDIUM, None),
    Series("negative", SignalKind.NEGATIVITY_SPIKE, Severity.HIGH, SentimentLabel.NEGATIVE),
)


TOPIC = "topic"
TOPIC_WINDOW = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Watched:
    """A brand as the detectors watch it."""

    brand: str
    sensitivity: Sensitivity
    sources: Mapping[str, timedelta]
    """The sources it is read from, with their intervals."""
    terms: tuple[str, ...]
    """The words of its query: never a topic."""


@dataclass(frozen=True, slots=True)
class _View:
    """What there is to look at, for one brand at one moment."""

    now: datetime
    end: datetime
    """End of the bucket that is running."""
    settled: datetime
    """Every bucket before this stays as it is."""
    start: datetime
    counts: Counts
    covered: _Coverage


class DetectStep:
    """Looks for spikes and topics of every brand."""

    def __init__(
        self,
        *,
        store: Store,
        brands: Sequence[Watched],
        announcer: Announcer,
        timezone: str,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._brands = brands
        self._announcer = announcer
        self._timezone = timezone
        self._now = now
        self._seen: dict[str, tuple[datetime, Counts]] = {}

    def run(self) -> tuple[int, list[Announcement]]:
        """Look once at every brand. Returns how many, and what was announced."""
        announcements: list[Announcement] = []
        for watched in self._brands:
            with self._store.write() as unit:
                announcements += self._look(unit, watched)
        return len(self._brands), announcements

    def _look(self, unit: Unit, watched: Watched) -> list[Announcement]:
        now = self._now()
        end = bucket_of(now) + BUCKET
        stored = {series: self._restore(unit, watched, series, end) for series in SERIES}
        start = min(begin for _, begin in stored.values())
        view = _View(
            now=now,
            end=end,
            settled=self._settled_until(unit, watched.brand, now),
            start=start,
            counts=unit.mentions.counts(watched.brand, start, end),
            covered=_Coverage(unit.sources.coverage(start, end), watched.sources),
        )
        # With the same counts time alone lets nothing ring: the sums only shrink.
        if self._seen.get(watched.brand) == (view.settled, view.counts):
            return []
        signals: list[Signal] = []
        for series, (detector, begin) in stored.items():
            signals += self._series(unit, watched, series, detector, begin, view)
        signals += self._topics(unit, watched, view)
        announcements = self._announcer.announce(unit, signals, now)
        self._seen[watched.brand] = (view.settled, view.counts)
        return announcements

    # -- counts --------------------------------------------------------------------------------

    def _series(  # noqa: PLR0917 - one private step of the above
        self,
        unit: Unit,
        watched: Watched,
        series: Series,
        detector: SpikeDetector,
        at: datetime,
        view: _View,
    ) -> list[Signal]:
        begin = at
        while at < view.settled:
            detector.advance(at, series.value(view.counts.get(at)), covered=view.covered(at))
            at += BUCKET
        if at > begin:
            kept = Detector(_version(watched), at, detector.snapshot())
            unit.mentions.keep_detector(watched.brand, series.name, kept)
        # From here on the detector is a copy: what it is fed may still change.
        signals = []
        verdict: SpikeVerdict | None = None
        while at < view.end:
            verdict = detector.advance(
                at, series.value(view.counts.get(at)), covered=view.covered(at)
            )
            if verdict.alert:
                signals.append(self._spike(unit, watched, series, verdict, view))
            at += BUCKET
        if verdict is not None and verdict.since is not None:
            self._keep_burning(unit, watched.brand, verdict.since, series, view)
        return signals

    def _restore(
        self, unit: Unit, watched: Watched, series: Series, end: datetime
    ) -> tuple[SpikeDetector, datetime]:
        """The stored detector and the bucket it goes on at."""
        kept = unit.mentions.detector(watched.brand, series.name)
        if (
            kept is not None
            and kept.version == _version(watched)
            and end - kept.settled_until <= CATCH_UP
        ):
            detector = SpikeDetector.restore(kept.snapshot, sensitivity=watched.sensitivity)
            return detector, kept.settled_until
        heard = [each.started_at for each in unit.sources.coverage(end - CATCH_UP, end)]
        start = bucket_of(min(heard, default=end - BUCKET))
        detector = SpikeDetector(
            bucket=BUCKET, timezone=self._timezone, sensitivity=watched.sensitivity
        )
        return detector, max(start, bucket_of(end - CATCH_UP))

    @staticmethod
    def _settled_until(unit: Unit, brand: str, now: datetime) -> datetime:
        """Every bucket before this stays as it is: old enough, and nothing of it in the queue."""
        limit = now - SETTLE
        queued = unit.mentions.oldest_queued(brand)
        if queued is not None:
            limit = max(min(limit, queued), now - SETTLE_AT_MOST)
        return bucket_of(limit)

    @staticmethod
    def _spike(
        unit: Unit, watched: Watched, series: Series, verdict: SpikeVerdict, view: _View
    ) -> Signal:
        begin = min(verdict.since or verdict.at, verdict.at + BUCKET - verdict.window)
        voices = unit.mentions.voices(watched.brand, begin, view.end)
        return Signal(
            kind=series.kind,
            brand=watched.brand,
            severity=series.severity,
            key=f"{series.kind.value}:{watched.brand}:{verdict.at.isoformat()}",
            subject=CRISIS_SUBJECT,
            occurred_at=verdict.at,
            mention_ids=tuple(
                unit.mentions.ids_between(
                    watched.brand, begin, view.end, sentiment=series.sentiment
                )
            ),
            facts={
                "since": begin.isoformat(),
                "window_minutes": verdict.window.total_seconds() / 60,
                "observed": verdict.window_value,
                "expected": round(verdict.window_expected, 2),
                "factor": round(verdict.factor, 1),
                "score": round(verdict.score, 3),
                "warming_up": verdict.warming_up,
                "coverage": round(view.covered.share(begin), 2),
                "authors": len({voice.author or f"?{place}" for place, voice in enumerate(voices)}),
                "stories": len({voice.story for voice in voices}),
            },
        )

    @staticmethod
    def _keep_burning(unit: Unit, brand: str, since: datetime, series: Series, view: _View) -> None:
        """While a spike lasts, its incident does not go quiet, and new mentions join it."""
        for incident in unit.incidents.burning(brand):
            if incident.kind in SPIKES:
                unit.incidents.touch(incident.id, view.now)
                ids = unit.mentions.ids_between(
                    brand, max(since, view.end - SETTLE), view.end, sentiment=series.sentiment
                )
                unit.incidents.link(incident.id, ids)

    # -- words ---------------------------------------------------------------------------------

    def _topics(self, unit: Unit, watched: Watched, view: _View) -> list[Signal]:
        detector, start = self._restore_topics(unit, watched, view)
        settled = max(view.settled, start)
        voices = unit.mentions.voices(watched.brand, start, view.end)
        for voice in voices:
            if voice.published_at < settled:
                _read(detector, voice)
        if settled > start:
            kept = Detector(_topic_version(watched), settled, detector.snapshot())
            unit.mentions.keep_detector(watched.brand, TOPIC, kept)
        signals = []
        for voice in voices:
            if voice.published_at >= settled:
                verdict = _read(detector, voice)
                if verdict.alert and verdict.term is not None:
                    signals.append(self._topic(unit, watched, verdict, verdict.term, view))
        return signals

    @staticmethod
    def _restore_topics(
        unit: Unit, watched: Watched, view: _View
    ) -> tuple[TopicDetector, datetime]:
        kept = unit.mentions.detector(watched.brand, TOPIC)
        ignore = (*watched.terms, watched.brand)
        if kept is not None and kept.version == _topic_version(watched):
            detector = TopicDetector.restore(
                kept.snapshot, ignore=ignore, sensitivity=watched.sensitivity
            )
            return detector, kept.settled_until
        return TopicDetector(ignore=ignore, sensitivity=watched.sensitivity), view.start

    @staticmethod
    def _topic(
        unit: Unit, watched: Watched, verdict: TopicVerdict, term: str, view: _View
    ) -> Signal:
        begin = min(verdict.since or verdict.at, verdict.at)
        ids = unit.mentions.ids_saying(watched.brand, begin - TOPIC_WINDOW, view.end, term)
        share = unit.mentions.share_of(ids, SentimentLabel.NEGATIVE)
        return Signal(
            kind=SignalKind.TOPIC_BURST,
            brand=watched.brand,
            severity=Severity.HIGH if share >= MOSTLY else Severity.MEDIUM,
            key=f"{SignalKind.TOPIC_BURST.value}:{watched.brand}:{term}:{begin.isoformat()}",
            subject=CRISIS_SUBJECT,
            occurred_at=verdict.at,
            mention_ids=tuple(ids),
            facts={
                "term": term,
                "since": begin.isoformat(),
                "window_minutes": TOPIC_WINDOW.total_seconds() / 60,
                "observed": verdict.stories,
                "expected": round(verdict.expected, 2),
                "score": round(verdict.score, 3),
                "authors": verdict.authors,
                "stories": verdict.stories,
                "negative_share": round(share, 2),
            },
        )


MOSTLY = 0.5
"""From this share of negative posts on a topic is a bad one."""


def _read(detector: TopicDetector, voice: Voice) -> TopicVerdict:
    return detector.advance(
        voice.published_at, voice.text, author=voice.author or "", story=voice.story
    )


def _version(watched: Watched) -> str:
    return f"{SNAPSHOT_VERSION}:{watched.sensitivity.value}:{int(BUCKET.total_seconds())}"


def _topic_version(watched: Watched) -> str:
    return f"{TOPIC_VERSION}:{watched.sensitivity.value}"


class _Coverage:
    """Whether a bucket was listened to: by at least half of the brand's sources.

    One feed of many that fails must not stop the watch; when most are dark, silence means nothing.
    """

    def __init__(self, stretches: Sequence[Stretch], sources: Mapping[str, timedelta]) -> None:
        self._stretches = [
            (each, max(sources[each.source] * 1.5, BUCKET))
            for each in stretches
            if each.source in sources
        ]
        self._sources = max(len(sources), 1)

    def share(self, at: datetime) -> float:
        """The part of the sources, 0 to 1, that were listened to in the bucket at ``at``.

        A source counts for the newest buckets as long as its next poll is not overdue.
        """
        heard = {
            each.source
            for each, patience in self._stretches
            if each.started_at < at + BUCKET and each.ended_at + patience >= at
        }
        return len(heard) / self._sources

    def __call__(self, at: datetime) -> bool:
        return self.share(at) >= MOST_SOURCES


MOST_SOURCES = 0.5
