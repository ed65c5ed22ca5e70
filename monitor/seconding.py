"""Within the step ``assess``: ask for a second opinion on doubtful leaks, within an allowance.

The allowance is one row, written before a question is sent: neither a restart nor a crash gives a
second one. Whatever fails leaves the verdicts as the classifiers gave them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from classifiers.base import Assessment, LeakBand
from classifiers.second_opinion import (
    Answer,
    Question,
    SecondOpinion,
    SecondOpinionOptions,
    Unanswered,
    raised,
)
from connectors.base import Mention
from monitor.log import logger
from monitor.metrics import ERROR, Metrics
from monitor.store import Store, StoreError, Unit

FACT = "second_opinion"
_NOT_ASKED = frozenset({Unanswered.BUDGET, Unanswered.PAUSED, Unanswered.NO_TIME})


@dataclass(frozen=True, slots=True)
class Spent:
    """What was asked and raised: today, and in this minute. UTC."""

    day: str = ""
    asked: int = 0
    raised: int = 0
    minute: str = ""
    asked_in_minute: int = 0

    def at(self, now: datetime) -> Spent:
        """What still counts at a moment."""
        day, minute = now.strftime("%Y-%m-%d"), now.strftime("%Y-%m-%dT%H:%M")
        current = self if self.day == day else Spent(day=day)
        return (
            current
            if current.minute == minute
            else replace(current, minute=minute, asked_in_minute=0)
        )

    def room(self, options: SecondOpinionOptions) -> int:
        """How many questions are left."""
        if self.raised >= options.raises_per_day:
            return 0
        left = min(options.per_day - self.asked, options.per_minute - self.asked_in_minute)
        return max(left, 0)


def read_spent(unit: Unit, now: datetime) -> Spent:
    """What the store remembers; an unreadable row counts as nothing spent."""
    try:
        return Spent(**json.loads(unit.fact(FACT) or "{}")).at(now)
    except (ValueError, TypeError):
        return Spent().at(now)


def keep_spent(unit: Unit, spent: Spent) -> None:
    """Remember it in the store."""
    unit.remember(FACT, json.dumps(asdict(spent)))


class Seconding:
    """Asks about the doubtful ones of a batch.

    Args:
        opinion: whom to ask.
        options: the allowance.
        escalate_at: score from which the team is woken.
        store: keeps the allowance.
        metrics: counts.
        now: the clock.
    """

    def __init__(
        self,
        opinion: SecondOpinion,
        options: SecondOpinionOptions,
        *,
        escalate_at: float,
        store: Store,
        metrics: Metrics,
        now: Callable[[], datetime],
    ) -> None:
        self._opinion = opinion
        self._options = options
        self._escalate_at = escalate_at
        self._store = store
        self._metrics = metrics
        self._now = now
        self._raised_today: tuple[str, set[bytes]] = "", set()
        """The day, and digests of what was raised on it: as many as there may be alarms."""
        self._log = logger("second_opinion")

    @property
    def version(self) -> str:
        """Names whom is asked."""
        return self._opinion.version

    def close(self) -> None:
        """Let go of connections."""
        self._opinion.close()

    def on(self, batch: Sequence[tuple[Mention, Assessment]]) -> dict[int, Assessment]:
        """The assessments that a second opinion raised, by id of their mention; most often none.

        Args:
            batch: mentions that may wake somebody, with what the classifiers think of them.

        Raises:
            StoreError: the allowance could not be kept; nothing was asked.
        """
        doubtful = [item for item in batch if item[1].leak.band is LeakBand.REVIEW]
        doubtful.sort(key=lambda item: -item[1].leak.score)
        if not doubtful:
            return {}
        began = time.monotonic()
        try:
            answers = self._opinion.ask([_question(*item) for item in doubtful], self._grant)
        except StoreError:
            raise
        except Exception:  # noqa: BLE001 - an extra must not hold up what is sure without it
            self._log.exception("second_opinion_failed")
            self._metrics.opinion_failures.labels(ERROR).inc(len(doubtful))
            return {}
        finally:
            self._metrics.opinion_seconds.observe(time.monotonic() - began)
        self._count(answers)
        return self._raise(doubtful, answers)

    def _grant(self, wanted: int) -> int:
        with self._store.write() as unit:
            spent = read_spent(unit, self._now())
            granted = min(wanted, spent.room(self._options))
            keep_spent(
                unit,
                replace(
                    spent,
                    asked=spent.asked + granted,
                    asked_in_minute=spent.asked_in_minute + granted,
                ),
            )
        return granted

    def _raise(
        self,
        doubtful: Sequence[tuple[Mention, Assessment]],
        answers: Sequence[Answer | Unanswered],
    ) -> dict[int, Assessment]:
        """Raise what was found to be a leak, as far as today's alarms go."""
        yes = [
            (mention, assessment, answer)
            for (mention, assessment), answer in zip(doubtful, answers, strict=True)
            if isinstance(answer, Answer) and answer.leak
        ]
        if not yes:
            return {}
        found: dict[int, Assessment] = {}
        with self._store.write() as unit:
            spent = read_spent(unit, self._now())
            day, before = self._raised_today
            known = set(before) if day == spent.day else set()
            for mention, assessment, answer in yes:
                # A copy of what was raised today joins the same story: it is no further alarm. One of
                # what was not raised, for want of allowance, is not free for being a copy.
                if not (answer.remembered and answer.about in known):
                    if spent.raised >= self._options.raises_per_day:
                        continue
                    spent = replace(spent, raised=spent.raised + 1)
                    if answer.about:
                        known.add(answer.about)
                leak = raised(assessment.leak, answer, self._escalate_at)
                found[mention.id] = replace(assessment, leak=leak)
            keep_spent(unit, spent)
        self._raised_today = (spent.day, known)
        self._metrics.opinions_raised.inc(len(found))
        for mention_id in found:
            self._log.info("leak_raised", mention=mention_id)
        return found

    def _count(self, answers: Sequence[Answer | Unanswered]) -> None:
        for answer in answers:
            if isinstance(answer, Unanswered):
                self._metrics.opinion_failures.labels(answer.value).inc()
            if answer not in _NOT_ASKED and not getattr(answer, "remembered", False):
                self._metrics.opinions_asked.inc()
        failed = sorted({answer.value for answer in answers if isinstance(answer, Unanswered)})
        if failed:
            refused = Unanswered.REFUSED in failed
            status = {"status": self._opinion.refused_with} if refused else {}
            self._log.warning("second_opinion_missing", reasons=failed, **status)


def _question(mention: Mention, assessment: Assessment) -> Question:
    return Question(
        text=mention.post.text,
        findings=assessment.leak.findings,
        language=assessment.language,
        brand=mention.brand,
    )
