"""The step ``assess``: what the waiting mentions mean, and who must hear of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from alerts.base import Signal
from alerts.rules import signals_of
from classifiers.base import Assessment, Classifier, Text
from monitor.announcing import Announcement, Announcer
from monitor.log import logger
from monitor.metrics import Metrics
from monitor.store import Store
from monitor.store.mentions import Queued

BATCH = 64
STALE_AFTER = timedelta(days=7)
"""A post older than this when it is first assessed (a feed's archive on the first poll) is counted,
but wakes nobody."""


SUSPECT_TRIES = 2
GIVE_UP_TRIES = 4
"""A mention whose assessment was begun this often and never ended is set aside: it may be what kills
the process."""


def _careful(queued: Sequence[Queued]) -> Sequence[Queued]:
    """The batch, or, when its first mention is suspect, that one alone."""
    if queued and queued[0].tries >= SUSPECT_TRIES:
        return queued[:1]
    return [item for item in queued if item.tries < SUSPECT_TRIES]


class AssessStep:
    """Assesses the queue, a batch at a time."""

    def __init__(
        self,
        *,
        store: Store,
        classifier: Classifier,
        announcer: Announcer,
        timezone: str,
        metrics: Metrics,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._classifier = classifier
        self._announcer = announcer
        self._timezone = ZoneInfo(timezone)
        self._metrics = metrics
        self._now = now
        self._log = logger("assess")

    def run(self) -> tuple[int, list[Announcement]]:
        """Assess one batch. Returns how many mentions left the queue, and what was announced."""
        with self._store.write() as unit:
            queued = _careful(unit.mentions.queue(BATCH))
            unit.mentions.begin_assessment(queued)
        if not queued:
            self._metrics.queue.set(0)
            return 0, []
        began = time.monotonic()
        opinions = self._opinions(queued)
        self._metrics.model_seconds.observe(time.monotonic() - began)
        now = self._now()
        signals: list[Signal] = []
        with self._store.write() as unit:
            for item, opinion in zip(queued, opinions, strict=True):
                if opinion is None:
                    unit.mentions.fail(item.mention.id)
                elif unit.mentions.assess(
                    item.mention, self._classifier.version, now, opinion
                ) and self._may_wake(item, now):
                    signals += signals_of(
                        item.mention,
                        opinion,
                        model_version=self._classifier.version,
                        timezone=self._timezone,
                    )
            unit.flush()
            announcements = self._announcer.announce(unit, signals, now)
            self._metrics.queue.set(unit.mentions.queue_length())
        self._count(queued, opinions, now)
        return len(queued), announcements

    @staticmethod
    def _may_wake(item: Queued, now: datetime) -> bool:
        return not item.imported and now - item.mention.post.published_at <= STALE_AFTER

    def _opinions(self, queued: Sequence[Queued]) -> list[Assessment | None]:
        texts = [Text(item.mention.post.text, item.mention.post.language) for item in queued]
        if queued[0].tries >= GIVE_UP_TRIES:
            self._log.error("mention_given_up", mention=queued[0].mention.id, tries=queued[0].tries)
            self._metrics.assess_failures.inc()
            return [None]
        try:
            return list(self._classifier.classify(texts))
        except Exception:  # noqa: BLE001 - one odd text must not hold up the queue for ever
            self._log.exception("batch_failed", mentions=len(queued))
        return [self._alone(item, text) for item, text in zip(queued, texts, strict=True)]

    def _alone(self, item: Queued, text: Text) -> Assessment | None:
        try:
            return self._classifier.classify([text])[0]
        except Exception:  # noqa: BLE001 - see above: it is set aside, counted and logged
            self._log.exception("mention_failed", mention=item.mention.id)
            self._metrics.assess_failures.inc()
            return None

    def _count(
        self, queued: Sequence[Queued], opinions: Sequence[Assessment | None], now: datetime
    ) -> None:
        for item, opinion in zip(queued, opinions, strict=True):
            if opinion is None:
                continue
            self._metrics.assessed.labels(item.mention.brand, opinion.sentiment.label.value).inc()
            if not item.imported:
                age = (now - item.mention.post.published_at).total_seconds()
                self._metrics.latency.observe(max(age, 0.0))
