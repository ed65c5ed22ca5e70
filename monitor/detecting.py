"""The step ``detect``: does a brand's crowd talk more, or worse, than it usually does at this hour?

A stored detector has consumed every *settled* bucket. Each run restores it, lets a copy go over the
recent buckets up to now (their counts may still change while late posts come in), and reads its
verdicts; the stored one moves on only when buckets are old enough to stay as they are. The topic
detector does the same with mentions in place of buckets.

Which series there are is said in ``monitor.series``, what was listened to in ``monitor.coverage``,
and what is told of a spike in ``monitor.explaining``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from alerts.base import Signal
from alerts.incidents import SPIKES
from alerts.spikes import SNAPSHOT_VERSION, Sensitivity, SpikeDetector
from alerts.topics import SNAPSHOT_VERSION as TOPIC_VERSION
from alerts.topics import TopicDetector, TopicVerdict
from classifiers.base import SentimentLabel
from monitor.announcing import Announcement, Announcer
from monitor.coverage import WEIGHTS_VERSION, Listening, Weights
from monitor.explaining import Case
from monitor.metrics import Metrics
from monitor.series import (
    AUTHORS,
    NEGATIVE,
    NOTHING,
    RINGING,
    SERIES,
    STORIES,
    VOLUME,
    Series,
    Track,
    View,
)
from monitor.store import Store, Unit
from monitor.store.crowd import BUCKET, Bucket, bucket_of
from monitor.store.mentions import Detector, Voice
from monitor.store.sources import Stretch

SETTLE = timedelta(hours=2)
"""How long a bucket may still change: slow feeds, late assessments."""
SETTLE_AT_MOST = timedelta(hours=24)
"""A queue that does not empty holds settling up for this long at most."""
SETTLE_STEP = timedelta(minutes=30)
"""Settled buckets are consumed so much at a time: what was learnt is not written every five minutes."""
SETTLE_BATCH = timedelta(days=7)
"""No run consumes more than this: catching up holds nothing else up."""
CATCH_UP = timedelta(days=90)
"""After a longer absence the detector starts anew instead of walking through it."""
BRANDS_AT_ONCE = 16
"""So many brands share a transaction: a commit waits for the disk."""

SHOWN = (VOLUME, NEGATIVE, AUTHORS)
"""What the figures show of a brand's crowd."""

TOPIC = "topic"
WEIGHTS = "sources"


@dataclass(frozen=True, slots=True)
class Watched:
    """A brand as the detectors watch it."""

    brand: str
    sensitivity: Sensitivity
    sources: Mapping[str, timedelta]
    """The sources it is read from, with their intervals."""
    terms: tuple[str, ...]
    """The words of its query: never a topic."""


@dataclass(slots=True)
class _Tick:
    """One run: what all brands share is asked once."""

    now: datetime
    end: datetime
    """End of the bucket that is running."""
    queued: Mapping[str, datetime]
    """When the oldest waiting mention of each brand was published."""
    stretches: dict[datetime, Mapping[str, Sequence[Stretch]]] = field(default_factory=dict)
    """From when on, to the stretches of listening by source."""

    def listening(self, unit: Unit, watched: Watched, since: datetime) -> Listening:
        """What was listened to of a brand from ``since`` on."""
        if since not in self.stretches:
            found: dict[str, list[Stretch]] = {}
            for each in unit.sources.coverage(since, self.end):
                found.setdefault(each.source, []).append(each)
            self.stretches[since] = found
        known = self.stretches[since]
        heard = [each for source in watched.sources for each in known.get(source, ())]
        return Listening(heard, watched.sources)


@dataclass(slots=True)
class _Seen:
    """What a brand looked like when it was last looked at."""

    settled: datetime
    start: datetime
    buckets: Mapping[datetime, Bucket]
    usual: Mapping[tuple[datetime, Series], tuple[float, float]]
    """Of what is shown: what is usual in a bucket, and the most that is ordinary."""


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
        metrics: Metrics | None = None,
    ) -> None:
        self._store = store
        self._brands = brands
        self._announcer = announcer
        self._timezone = timezone
        self._now = now
        self._metrics = metrics
        self._seen: dict[str, _Seen] = {}

    def run(self) -> tuple[int, list[Announcement]]:
        """Look once at every brand. Returns how many, and what was announced."""
        now = self._now()
        with self._store.read() as unit:
            tick = _Tick(now, bucket_of(now) + BUCKET, unit.mentions.queued_since())
        announcements: list[Announcement] = []
        for first in range(0, len(self._brands), BRANDS_AT_ONCE):
            seen: dict[str, _Seen] = {}
            with self._store.write() as unit:
                for watched in self._brands[first : first + BRANDS_AT_ONCE]:
                    announcements += self._look(unit, watched, tick, seen)
            self._seen |= seen  # only once it is kept
        self._show(tick.end - 2 * BUCKET)
        return len(self._brands), announcements

    def _look(
        self, unit: Unit, watched: Watched, tick: _Tick, seen: dict[str, _Seen]
    ) -> list[Announcement]:
        goal = _settled_until(tick.queued.get(watched.brand), tick.now)
        last = self._seen.get(watched.brand)
        # With the same counts time alone lets nothing ring: the sums only shrink.
        if last is not None and last.settled == goal:
            buckets = unit.crowd.buckets(watched.brand, last.start, tick.end)
            if buckets == last.buckets:
                return []
        kept = unit.mentions.detectors(watched.brand)
        tracks = {each: self._restore(unit, watched, each, kept, tick) for each in SERIES}
        start = min(track.at for track in tracks.values())
        settled = min(max(goal, start), start + SETTLE_BATCH)
        weights, weighed = _restore_weights(watched, kept, start)
        view = View(
            now=tick.now,
            end=tick.end if settled >= goal else settled,
            settled=settled,
            buckets=unit.crowd.buckets(watched.brand, start, tick.end),
            listening=tick.listening(unit, watched, start),
            weights=weights,
        )
        self._settle(unit, watched, tracks, weighed, view)
        case = Case(unit, watched.brand, watched.terms, watched.sources, view, tracks)
        signals = self._spikes(case)
        signals += self._topics(watched, kept.get(TOPIC), case, start)
        announcements = self._announcer.announce(unit, signals, tick.now)
        if settled >= goal:
            recent = {at: each for at, each in view.buckets.items() if at >= settled}
            usual = {
                (at, series): tracks[series].detector.usual_at(at)
                for at in _newest(tick.end)
                for series in SHOWN
            }
            seen[watched.brand] = _Seen(goal, settled, recent, usual)
        return announcements

    def _show(self, full: datetime) -> None:
        """Set the figures of the newest full bucket, of the brands that have caught up."""
        if self._metrics is None:
            return
        for brand, seen in self._seen.items():
            for series in SHOWN:
                labels = (brand, series.counted)
                value = series.value(seen.buckets.get(full, NOTHING))
                self._metrics.crowd_seen.labels(*labels).set(value)
                if usual := seen.usual.get((full, series)):
                    self._metrics.crowd_usual.labels(*labels).set(usual[0])
                    self._metrics.crowd_upper.labels(*labels).set(usual[1])

    # -- counts --------------------------------------------------------------------------------

    def _settle(
        self,
        unit: Unit,
        watched: Watched,
        tracks: Mapping[Series, Track],
        weighed: datetime,
        view: View,
    ) -> None:
        """Let the stored detectors consume what stays as it is."""
        start = at = min(weighed, *(track.at for track in tracks.values()))
        while at < view.settled:
            bucket, share = view.bucket(at), view.share(at)
            for track in tracks.values():
                if track.at == at:
                    track.take(bucket, share)
            if weighed <= at:
                view.weights.learn(bucket.sources, view.listening.heard(at))
            at += BUCKET
        if at > start:
            states = {
                series.name: Detector(self._version(watched), at, track.detector.snapshot())
                for series, track in tracks.items()
            }
            states[WEIGHTS] = Detector(WEIGHTS_VERSION, at, view.weights.snapshot())
            unit.mentions.keep_detectors(watched.brand, states)

    def _spikes(self, case: Case) -> list[Signal]:
        """Go over the recent buckets, whose counts may still change: what is kept stays as it is."""
        view = case.view
        signals: list[Signal] = []
        running: dict[Series, datetime | None] = dict.fromkeys(RINGING)
        at = view.settled
        while at < view.end:
            bucket, share = view.bucket(at), view.share(at)
            for series in RINGING:
                track = case.tracks[series]
                if track.at > at:
                    continue
                verdict = track.take(bucket, share)
                running[series] = verdict.since
                # Many stories are news only where they do not show as many mentions.
                news = series is not STORIES or running[VOLUME] is None
                if verdict.alert and news and (signal := case.spike(series, verdict)):
                    signals.append(signal)
            at += BUCKET
        for series, since in running.items():
            if since is not None:
                signals += self._keep_burning(case, series, since)
        return signals

    @staticmethod
    def _keep_burning(case: Case, series: Series, since: datetime) -> list[Signal]:
        """While a spike lasts, its incident does not go quiet, and new mentions join it.

        One that began with a single post told on and on is looked at again: it may become a crowd.
        """
        view, unit = case.view, case.unit
        signals = []
        for incident in unit.incidents.burning(case.brand):
            if incident.kind in SPIKES:
                unit.incidents.touch(incident.id, view.now)
                ids = unit.mentions.ids_between(
                    case.brand,
                    max(since, view.end - SETTLE),
                    view.end,
                    sentiment=SentimentLabel.NEGATIVE if series.negative else None,
                )
                unit.incidents.link(incident.id, ids)
                if incident.severity < series.severity and (grown := case.grown(series, since)):
                    signals.append(grown)
        return signals

    def _restore(
        self,
        unit: Unit,
        watched: Watched,
        series: Series,
        kept: Mapping[str, Detector],
        tick: _Tick,
    ) -> Track:
        """The stored detector and the bucket it goes on at."""
        known = kept.get(series.name)
        if (
            known is not None
            and known.version == self._version(watched)
            and tick.end - known.settled_until <= CATCH_UP
        ):
            detector = SpikeDetector.restore(known.snapshot, sensitivity=watched.sensitivity)
            return Track(series, detector, known.settled_until)
        detector = SpikeDetector(
            bucket=BUCKET, timezone=self._timezone, sensitivity=watched.sensitivity
        )
        begin = bucket_of(tick.end - CATCH_UP)
        heard = tick.listening(unit, watched, begin).began
        start = tick.end - BUCKET if heard is None else bucket_of(heard)
        return Track(series, detector, max(start, begin))

    def _version(self, watched: Watched) -> str:
        """Of what is kept: when any of this changes, it is learnt anew from the counts."""
        width = int(BUCKET.total_seconds())
        return f"{SNAPSHOT_VERSION}:{watched.sensitivity.value}:{width}:{self._timezone}"

    # -- words ---------------------------------------------------------------------------------

    @staticmethod
    def _topics(
        watched: Watched, kept: Detector | None, case: Case, start: datetime
    ) -> list[Signal]:
        unit, view = case.unit, case.view
        ignore = (*watched.terms, watched.brand)
        version = f"{TOPIC_VERSION}:{watched.sensitivity.value}"
        if kept is not None and kept.version == version:
            start = kept.settled_until
            detector = TopicDetector.restore(
                kept.snapshot, ignore=ignore, sensitivity=watched.sensitivity
            )
        else:
            detector = TopicDetector(ignore=ignore, sensitivity=watched.sensitivity)
        settled = max(view.settled, start)
        voices = unit.mentions.voices(watched.brand, start, view.end)
        for voice in voices:
            if voice.published_at < settled:
                _read(detector, voice)
        if settled > start:
            state = Detector(version, settled, detector.snapshot())
            unit.mentions.keep_detectors(watched.brand, {TOPIC: state})
        signals = []
        for voice in voices:
            if voice.published_at >= settled:
                verdict = _read(detector, voice)
                if verdict.alert and verdict.term and (signal := case.topic(verdict, verdict.term)):
                    signals.append(signal)
        return signals


def _settled_until(queued: datetime | None, now: datetime) -> datetime:
    """Every bucket before this stays as it is: old enough, and nothing of it in the queue."""
    limit = now - SETTLE
    if queued is not None:
        limit = max(min(limit, queued), now - SETTLE_AT_MOST)
    step = int(SETTLE_STEP.total_seconds())
    return datetime.fromtimestamp(int(limit.timestamp()) // step * step, tz=limit.tzinfo)


def _newest(end: datetime) -> list[datetime]:
    """The newest full bucket and those that become it until a brand is looked at again."""
    return [end + step * BUCKET for step in range(-2, SETTLE_STEP // BUCKET)]


def _restore_weights(
    watched: Watched, kept: Mapping[str, Detector], start: datetime
) -> tuple[Weights, datetime]:
    """What each source usually brings, and the bucket from which on it is to be learnt."""
    weights = Weights(watched.sources)
    known = kept.get(WEIGHTS)
    if known is None or known.version != WEIGHTS_VERSION or known.settled_until < start:
        return weights, start
    weights.load(known.snapshot)
    return weights, known.settled_until


def _read(detector: TopicDetector, voice: Voice) -> TopicVerdict:
    return detector.advance(
        voice.published_at, voice.text, author=voice.author or "", story=voice.story
    )
