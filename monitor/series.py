"""The series that are counted of a brand, each with its detector: what ``monitor.detecting`` moves on.

Five things are counted in each bucket. Mentions, negative mentions and stories may ring. Authors and
reach are learnt beside them: they say who is behind a spike, and what of it is usual. Reach does not
ring by itself, because it is the platforms' figure, missing on many, and bought on others; a large
account that matters shows within minutes by what it sets off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from alerts.base import Severity, SignalKind
from alerts.spikes import SpikeDetector, SpikeVerdict
from monitor.coverage import LEAST_SHARE, Listening, Weights
from monitor.store.crowd import BUCKET, Bucket

NOTHING = Bucket()


@dataclass(frozen=True, slots=True)
class Series:
    """One thing that is counted, and the signal its spike gives."""

    name: str
    counted: str
    """The field of a bucket."""
    kind: SignalKind | None = None
    """None: learnt, but never rings."""
    severity: Severity = Severity.MEDIUM
    """Of a spike that a crowd is behind."""
    negative: bool = False
    """Whether it is about the negative mentions only."""

    def value(self, bucket: Bucket) -> int:
        """The count of one bucket."""
        count: int = getattr(bucket, self.counted)
        return count


VOLUME = Series("volume", "mentions", SignalKind.VOLUME_SPIKE)
NEGATIVE = Series("negative", "negative", SignalKind.NEGATIVITY_SPIKE, Severity.HIGH, negative=True)
STORIES = Series("stories", "stories", SignalKind.VOLUME_SPIKE)
"""Many say their own where few usually do, unseen among the mentions of a loud promoter or bot."""
AUTHORS = Series("authors", "authors")
REACH = Series("reach", "reach")

RINGING = (VOLUME, NEGATIVE, STORIES)
SERIES = (*RINGING, AUTHORS, REACH)


@dataclass(slots=True)
class Track:
    """A series with its detector, which has taken in every bucket before ``at``."""

    series: Series
    detector: SpikeDetector
    at: datetime

    def take(self, bucket: Bucket, share: float) -> SpikeVerdict:
        """Take in the bucket at ``at``, of which this share (0 to 1) was listened to.

        What was not heard is filled in with what is usual: it is then no evidence either way.
        """
        value: float = self.series.value(bucket)
        covered = share >= LEAST_SHARE
        if covered and share < 1:
            value += (1 - share) * self.detector.usual_at(self.at)[0]
        verdict = self.detector.advance(self.at, value, covered=covered)
        self.at += BUCKET
        return verdict


@dataclass(frozen=True, slots=True)
class View:
    """What there is to look at, for one brand at one moment."""

    now: datetime
    end: datetime
    """End of the bucket that is running."""
    settled: datetime
    """Every bucket before this stays as it is."""
    buckets: Mapping[datetime, Bucket]
    listening: Listening
    weights: Weights
    """What each source usually brings, up to the oldest bucket that is not settled."""

    def bucket(self, at: datetime) -> Bucket:
        """What was counted in the bucket that starts at ``at``."""
        return self.buckets.get(at, NOTHING)

    def share(self, at: datetime) -> float:
        """The part (0 to 1) of what is usually brought that was listened to in a bucket."""
        return self.weights.share(self.listening.heard(at))
