"""The step ``assess``: what the waiting mentions mean, and who must hear of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from alerts.base import Signal
from alerts.rules import signals_of
from classifiers.base import Assessment, Classifier, LeakBand, Text
from classifiers.embedded import ModelError
from monitor.announcing import Announcement, Announcer
from monitor.log import logger, some
from monitor.metrics import Metrics
from monitor.seconding import Seconding
from monitor.store import Store, StoreError
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


def _marked(signal: Signal, *marks: str) -> Signal:
    """The same, telling what a leak in it rests on: a second opinion, a picture."""
    if "leak_score" not in signal.facts:
        return signal
    return replace(signal, facts={**signal.facts, **dict.fromkeys(marks, True)})


def _with_picture(item: Queued, words: Assessment, picture: Assessment) -> Assessment:
    """What the words mean, with the leak that a picture shows where that is the graver one.

    Its findings lie behind the words, as if it followed them on the next line: nothing of what is shown
    is masked by mistake.
    """
    if picture.leak.score <= words.leak.score:
        return words
    behind = len(item.mention.post.text) + 1
    findings = tuple(
        replace(each, start=each.start + behind, end=each.end + behind)
        for each in picture.leak.findings
    )
    return replace(words, leak=replace(picture.leak, findings=findings))


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
        second: Seconding | None = None,
    ) -> None:
        self._store = store
        self._classifier = classifier
        self._announcer = announcer
        self._timezone = ZoneInfo(timezone)
        self._metrics = metrics
        self._now = now
        self._second = second
        self._warm = False
        self._excused: dict[int, int] = {}
        """Tries of mentions whose last one came to nothing through no fault of theirs."""
        self._log = logger("assess")

    @property
    def version(self) -> str:
        """Names everything that has a say in an assessment."""
        own = self._classifier.version
        return own if self._second is None else f"{own}+{self._second.version}"

    def warm_up(self) -> None:
        """Load the models, if they are not.

        Before any mention is marked as begun: loading is what takes long and what fails, and
        neither says anything about a mention.

        Raises:
            ModelError: a model cannot be used; the message says what to do.
        """
        if not self._warm:
            self._classifier.classify([Text("Goedemorgen!")])
            self._warm = True

    def run(self) -> tuple[int, list[Announcement]]:
        """Assess one batch. Returns how many mentions left the queue, and what was announced.

        Raises:
            ModelError: the models cannot be used. The queue stays as it is.
            StoreError: nothing was kept; the same batch comes again.
        """
        self.warm_up()
        with self._store.write() as unit:
            waiting = unit.mentions.queue(BATCH)
            queued = _careful([self._excuse(item) for item in waiting])
            unit.mentions.begin_assessment(queued)
        if not queued:
            self._metrics.queue.set(0)
            return 0, []
        try:
            opinions, pictured = self._look_into_pictures(queued, self._opinions(queued))
            raised = self._raised(queued, opinions, pictured)
            opinions = [
                raised.get(item.mention.id, opinion)
                for item, opinion in zip(queued, opinions, strict=True)
            ]
            now = self._now()
            announcements = self._keep(queued, opinions, now, raised, pictured)
        except (ModelError, StoreError):
            self._excused.update((item.mention.id, item.tries) for item in queued)
            raise
        self._excused.clear()
        self._count(queued, opinions, now)
        self._tell(queued, opinions)
        return len(queued), announcements

    def _excuse(self, item: Queued) -> Queued:
        return replace(item, tries=self._excused.get(item.mention.id, item.tries))

    def _raised(
        self,
        queued: Sequence[Queued],
        opinions: Sequence[Assessment | None],
        pictured: Collection[int],
    ) -> Mapping[int, Assessment]:
        """What a second opinion on the doubtful ones raised, by id of the mention.

        It is asked about words; nobody is asked about what a picture shows.
        """
        if self._second is None:
            return {}
        now = self._now()
        return self._second.on(
            [
                (item.mention, opinion)
                for item, opinion in zip(queued, opinions, strict=True)
                if opinion is not None
                and item.mention.id not in pictured
                and self._may_wake(item, now)
            ]
        )

    def _keep(
        self,
        queued: Sequence[Queued],
        opinions: Sequence[Assessment | None],
        now: datetime,
        raised: Collection[int],
        pictured: Collection[int],
    ) -> list[Announcement]:
        """Everything that follows from a batch, in one transaction."""
        found = {
            item.mention.id: opinion
            for item, opinion in zip(queued, opinions, strict=True)
            if opinion is not None
        }
        with self._store.write() as unit:
            for item in queued:
                if item.mention.id not in found:
                    unit.mentions.fail(item.mention.id)
            new = unit.mentions.assess(found, self.version, now)
            signals = [
                _marked(
                    signal,
                    *["second_opinion"] * (item.mention.id in raised),
                    *["in_picture"] * (item.mention.id in pictured),
                )
                for item in queued
                if item.mention.id in new and self._may_wake(item, now)
                for signal in signals_of(
                    item.mention,
                    found[item.mention.id],
                    model_version=self.version,
                    timezone=self._timezone,
                )
            ]
            announcements = self._announcer.announce(unit, signals, now)
            self._metrics.queue.set(unit.mentions.queue_length())
        return announcements

    @staticmethod
    def _may_wake(item: Queued, now: datetime) -> bool:
        post = item.mention.post
        return not item.imported and now - (post.edited_at or post.published_at) <= STALE_AFTER

    def _opinions(self, queued: Sequence[Queued]) -> list[Assessment | None]:
        texts = [Text(item.mention.post.text, item.mention.post.language) for item in queued]
        if queued[0].tries >= GIVE_UP_TRIES:
            self._log.error("mention_given_up", mention=queued[0].mention.id, tries=queued[0].tries)
            self._metrics.assess_failures.inc()
            return [None]
        began = time.monotonic()
        try:
            return list(self._classifier.classify(texts))
        except ModelError:
            raise
        except Exception:  # noqa: BLE001 - one odd text must not hold up the queue for ever
            self._log.exception("batch_failed", mentions=len(queued))
        finally:
            self._metrics.model_seconds.observe(time.monotonic() - began)
        return [self._alone(item, text) for item, text in zip(queued, texts, strict=True)]

    def _look_into_pictures(
        self, queued: Sequence[Queued], opinions: Sequence[Assessment | None]
    ) -> tuple[list[Assessment | None], set[int]]:
        """The same with leaks that only pictures show, and the ids of those."""
        shown = [
            (place, item, words)
            for place, (item, words) in enumerate(zip(queued, opinions, strict=True))
            if item.pictured and words is not None
        ]
        result, pictured = list(opinions), set()
        for place, item, words in shown:
            picture = self._alone(item, Text(item.pictured, words.language))
            if picture is not None:
                result[place] = both = _with_picture(item, words, picture)
                if both is not words:
                    pictured.add(item.mention.id)
        return result, pictured

    def _alone(self, item: Queued, text: Text) -> Assessment | None:
        try:
            return self._classifier.classify([text])[0]
        except ModelError:
            raise
        except Exception:  # noqa: BLE001 - see above: it is set aside, counted and logged
            self._log.exception("mention_failed", mention=item.mention.id)
            self._metrics.assess_failures.inc()
            return None

    def _tell(self, queued: Sequence[Queued], opinions: Sequence[Assessment | None]) -> None:
        bands = Counter(opinion.leak.band for opinion in opinions if opinion is not None)
        self._log.info(
            "assessed",
            mentions=len(queued),
            failed=sum(opinion is None for opinion in opinions),
            escalated=bands[LeakBand.ESCALATE],
            review=bands[LeakBand.REVIEW],
            mention=some((item.mention.id for item in queued), BATCH),
        )

    def _count(
        self, queued: Sequence[Queued], opinions: Sequence[Assessment | None], now: datetime
    ) -> None:
        for item, opinion in zip(queued, opinions, strict=True):
            if opinion is None:
                continue
            brand = item.mention.brand
            self._metrics.assessed.labels(brand, opinion.sentiment.label.value).inc()
            self._metrics.leak_verdicts.labels(brand, opinion.leak.band.value).inc()
            if not item.imported:
                post = item.mention.post
                age = (now - (post.edited_at or post.published_at)).total_seconds()
                self._metrics.latency.observe(max(age, 0.0))
