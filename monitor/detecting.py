"""The step ``detect``: does a brand's crowd talk more, or worse, than it usually does at this hour?

A stored detector has consumed every *settled* bucket. Each run restores it, lets a copy go over the
recent buckets up to now (their counts may still change while late posts come in), and reads its
verdicts; the stored one moves on only when buckets are old enough to stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from alerts.base import Severity, Signal, SignalKind
from alerts.incidents import SPIKES
from alerts.spikes import SNAPSHOT_VERSION, Sensitivity, SpikeDetector, SpikeVerdict
from classifiers.base import SentimentLabel
from monitor.announcing import Announcement, Announcer
from monitor.log import logger
from monitor.store import Store, Unit
from monitor.store.mentions import BUCKET, Detector, bucket_of
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


@dataclass(frozen=True, slots=True)
class Watched:
    """A brand as the spike detector watches it."""

    brand: str
    sensitivity: Sensitivity
    sources: frozenset[str]


class DetectStep:
    """Looks for spikes of every brand."""

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
        self._log = logger("detect")

    def run(self) -> tuple[int, list[Announcement]]:
        """Look once at every brand. Returns how many, and what was announced."""
        announcements: list[Announcement] = []
        for watched in self._brands:
            with self._store.write() as unit:
                now = self._now()
                signals = [
                    signal for series in SERIES for signal in self._look(unit, watched, series, now)
                ]
                announcements += self._announcer.announce(unit, signals, now)
        return len(self._brands), announcements

    def _look(self, unit: Unit, watched: Watched, series: Series, now: datetime) -> list[Signal]:
        end = bucket_of(now) + BUCKET
        stored, start = self._restore(unit, watched, series, end)
        settled = self._settled_until(unit, watched.brand, now)
        counts = unit.mentions.counts(watched.brand, start, end)
        covered = _Coverage(unit.sources.coverage(start, end), watched.sources)

        at = start
        while at < settled:
            stored.advance(at, series.value(counts.get(at)), covered=covered(at))
            at += BUCKET
        if at > start:
            unit.mentions.keep_detector(
                watched.brand, series.name, Detector(_version(watched), at, stored.snapshot())
            )
        return self._verdicts(unit, watched, series, stored, at, end, counts, covered)

    def _verdicts(  # noqa: PLR0917 - one private step of the above
        self,
        unit: Unit,
        watched: Watched,
        series: Series,
        stored: SpikeDetector,
        at: datetime,
        end: datetime,
        counts: Counts,
        covered: _Coverage,
    ) -> list[Signal]:
        trial = SpikeDetector.restore(stored.snapshot())
        signals = []
        verdict: SpikeVerdict | None = None
        while at < end:
            verdict = trial.advance(at, series.value(counts.get(at)), covered=covered(at))
            if verdict.alert:
                signals.append(self._signal(unit, watched, series, verdict, end))
            at += BUCKET
        if verdict is not None and verdict.since is not None:
            self._keep_burning(unit, watched.brand, verdict.since, series, end)
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
            return SpikeDetector.restore(kept.snapshot), kept.settled_until
        begin = [state.started_at for state in unit.sources.coverage(end - CATCH_UP, end)]
        start = bucket_of(min(begin, default=end - BUCKET))
        return self._new(watched), max(start, end - CATCH_UP)

    def _new(self, watched: Watched) -> SpikeDetector:
        return SpikeDetector(
            bucket=BUCKET, timezone=self._timezone, sensitivity=watched.sensitivity
        )

    @staticmethod
    def _settled_until(unit: Unit, brand: str, now: datetime) -> datetime:
        """Every bucket before this stays as it is: old enough, and nothing of it in the queue."""
        limit = now - SETTLE
        queued = unit.mentions.oldest_queued(brand)
        if queued is not None:
            limit = max(min(limit, queued), now - SETTLE_AT_MOST)
        return bucket_of(limit)

    @staticmethod
    def _signal(
        unit: Unit, watched: Watched, series: Series, verdict: SpikeVerdict, end: datetime
    ) -> Signal:
        begin = min(verdict.since or verdict.at, verdict.at + BUCKET - verdict.window)
        voices = unit.mentions.voices(watched.brand, begin, end)
        return Signal(
            kind=series.kind,
            brand=watched.brand,
            severity=series.severity,
            key=f"{series.kind.value}:{watched.brand}:{verdict.at.isoformat()}",
            subject="crisis",
            occurred_at=verdict.at,
            mention_ids=tuple(
                unit.mentions.ids_between(watched.brand, begin, end, sentiment=series.sentiment)
            ),
            facts={
                "since": begin.isoformat(),
                "window_minutes": verdict.window.total_seconds() / 60,
                "observed": verdict.window_value,
                "expected": round(verdict.window_expected, 2),
                "factor": round(verdict.factor, 1),
                "score": round(verdict.score, 3),
                "warming_up": verdict.warming_up,
                "authors": len({voice.author or f"?{place}" for place, voice in enumerate(voices)}),
                "stories": len({voice.story for voice in voices}),
            },
        )

    def _keep_burning(
        self, unit: Unit, brand: str, since: datetime, series: Series, end: datetime
    ) -> None:
        """While a spike lasts, its incident does not go quiet, and new mentions join it."""
        for incident in unit.incidents.burning(brand):
            if incident.kind in SPIKES:
                unit.incidents.touch(incident.id, self._now())
                ids = unit.mentions.ids_between(
                    brand, max(since, end - SETTLE), end, sentiment=series.sentiment
                )
                unit.incidents.link(incident.id, ids)


def _version(watched: Watched) -> str:
    return f"{SNAPSHOT_VERSION}:{watched.sensitivity.value}:{int(BUCKET.total_seconds())}"


class _Coverage:
    """Whether a bucket was listened to: by at least half of the brand's sources.

    One feed of many that fails must not stop the watch; when most are dark, silence means nothing.
    """

    def __init__(self, stretches: Sequence[Stretch], sources: frozenset[str]) -> None:
        self._stretches = [each for each in stretches if each.source in sources]
        self._needed = max(len(sources) / 2, 1)

    def __call__(self, at: datetime) -> bool:
        # The newest bucket counts as covered as soon as somebody listened shortly before.
        heard = {
            each.source
            for each in self._stretches
            if each.started_at < at + BUCKET and each.ended_at + BUCKET >= at
        }
        return len(heard) >= self._needed
