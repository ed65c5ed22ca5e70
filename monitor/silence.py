"""Whether a source that answers brings nothing where it usually brings plenty.

A source can fail without failing: a filter that an update broke, a token that sees public posts no
more, a feed that moved. It then answers every poll, empty. Its posts are counted by the hour; what is
usual at each hour is learnt as for spikes; and what it would usually have brought since its last post
adds up while it is heard. Causal, and kept in the store: a restart goes on where it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from alerts.base import Severity, Signal, SignalKind
from alerts.spikes import SNAPSHOT_VERSION, SpikeDetector
from monitor.polling import Source
from monitor.store import Unit
from monitor.store.mentions import Detector

MISSING = 50.0
"""A source has fallen silent when so many posts that it would usually have brought are missing.

Chance would show that less than once in ten thousand times, even where the rate of a source varies by
half from day to day: (1 + 0.3 × 50)^(-1/0.3) < 10^-4. A source of a thousand posts a day is missed
within two hours of the day, one of fifty after a day, and one of five never: it is not missed.
"""
LEARNS_FOR = timedelta(days=7)
"""Of listening, before anything is said to be usual."""

_HOUR = timedelta(hours=1)
_SETTLE = timedelta(hours=3)
"""Hours older than this stay as they are."""
_HISTORY = timedelta(days=30)
"""A source that is not known yet is read from so far back."""
_NO_BRAND = ""


@dataclass(frozen=True, slots=True)
class Silence:
    """A source that fell silent."""

    since: datetime
    """End of the hour in which it last brought something."""
    missing: float
    """Posts that it would usually have brought since."""


class SilenceWatch:
    """Finds sources that fell silent."""

    def look(self, unit: Unit, source: Source, now: datetime) -> Silence | None:
        """Bring up to date what is known of a source; gives its silence if it fell silent."""
        series = f"source:{source.name}"
        version = f"{SNAPSHOT_VERSION}:{source.fingerprint}"
        kept = unit.mentions.detector(_NO_BRAND, series)
        if kept is None or kept.version != version or now - kept.settled_until > _HISTORY:
            known = _Known(now, source, unit)
        else:
            known = _Known.restore(kept)
        begin = known.at
        settled = _hour_of(now - _SETTLE)
        hours = _Hours(unit, source, begin, now)
        while known.at < settled:
            known.take(*hours.of(known.at))
        if known.at > begin:
            state = Detector(version, known.at, known.snapshot())
            unit.mentions.keep_detectors(_NO_BRAND, {series: state})
        # From here on what is known is a copy: these hours may still change.
        while known.at + _HOUR <= now:
            known.take(*hours.of(known.at))
        if hours.of(known.at)[0]:
            return None
        if known.listened < LEARNS_FOR or known.last is None or known.missing < MISSING:
            return None
        return Silence(known.last, known.missing)


def signal_of(source: str, silence: Silence) -> Signal:
    """The signal of a source that fell silent: for operations."""
    since = silence.since.isoformat()
    return Signal(
        kind=SignalKind.SILENT_SOURCE,
        brand="",
        severity=Severity.MEDIUM,
        key=f"{SignalKind.SILENT_SOURCE.value}:{source}:empty:{since}",
        subject=source,
        occurred_at=silence.since,
        facts={
            "source": source,
            "since": since,
            "answers": True,
            "observed": 0,
            "expected": round(silence.missing),
        },
    )


class _Known:
    """What is known of a source up to an hour."""

    def __init__(self, now: datetime, source: Source, unit: Unit) -> None:
        heard = [
            each.started_at
            for each in unit.sources.coverage(now - _HISTORY, now, source=source.name)
        ]
        self.at = _hour_of(max(min(heard, default=now), now - _HISTORY))
        self.detector = SpikeDetector(bucket=_HOUR)
        self.last: datetime | None = None
        self.missing = 0.0
        self.listened = timedelta()

    @classmethod
    def restore(cls, kept: Detector) -> _Known:
        known = cls.__new__(cls)
        state = kept.snapshot
        known.at = kept.settled_until
        known.detector = SpikeDetector.restore(state["detector"])
        known.last = None if state["last"] is None else datetime.fromisoformat(state["last"])
        known.missing = state["missing"]
        known.listened = timedelta(seconds=state["listened"])
        return known

    def snapshot(self) -> dict[str, Any]:
        return {
            "detector": self.detector.snapshot(),
            "last": None if self.last is None else self.last.isoformat(),
            "missing": self.missing,
            "listened": self.listened.total_seconds(),
        }

    def take(self, count: int, covered: bool) -> None:  # noqa: FBT001 - the two facts of an hour
        """Take in the next hour."""
        expected = self.detector.usual_at(self.at)[0]
        self.detector.advance(self.at, count, covered=covered)
        self.at += _HOUR
        if covered:
            self.listened += _HOUR
        if count:
            self.last, self.missing = self.at, 0.0
        elif covered:
            self.missing += expected


class _Hours:
    """What a source brought in each hour, and whether it was heard."""

    def __init__(self, unit: Unit, source: Source, since: datetime, until: datetime) -> None:
        self._stretches = unit.sources.coverage(since, until, source=source.name)
        self._patience = source.interval * 1.5
        self._counts: dict[datetime, int] = {}
        brands = [brand.name for brand in source.brands]
        for bucket, count in unit.crowd.of_source(source.name, brands, since, until).items():
            hour = _hour_of(bucket)
            self._counts[hour] = self._counts.get(hour, 0) + count

    def of(self, hour: datetime) -> tuple[int, bool]:
        """Posts of an hour, and whether it was listened to all through."""
        covered = any(
            each.started_at <= hour and each.ended_at + self._patience >= hour + _HOUR
            for each in self._stretches
        )
        return self._counts.get(hour, 0), covered


def _hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)
