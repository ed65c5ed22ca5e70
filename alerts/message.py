"""From an incident to words: what happened, why we think so, examples, what to do now.

Pure. The result is plain text throughout; a channel dresses it. Posts appear masked and shortened,
authors under a pseudonym: nothing that leaked is spread by its alert. All wording is in
``alerts.words``.

Facts that messages understand, beside those of ``alerts.rules``: spikes give ``observed`` and
``expected`` (counts), ``window_minutes``, ``since`` (ISO 8601) and, if known, ``authors``,
``stories`` (distinct ones), ``coverage`` (0..1), ``warming_up`` (little history yet), ``chart`` (a
:class:`alerts.base.Chart` as JSON) and ``drivers`` (``alerts.drivers`` says what is in it); silent
sources give ``source``, ``since``, ``fault`` and ``error`` (free of secrets), broken channels
``channel``, ``since``, ``trouble`` (a :class:`alerts.base.DeliveryFault`), ``error``, ``given_up`` and
``waiting`` (counts). Whatever is missing is left out of the message.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from pydantic import TypeAdapter, ValidationError

from alerts.base import (
    Chart,
    Event,
    Incident,
    Message,
    Reason,
    Sample,
    Severity,
    Signal,
    SignalKind,
)
from alerts.incidents import SPIKES, gravest
from alerts.links import LinkMaker
from alerts.plain import one_line
from alerts.words import Words, words
from classifiers.base import (
    Assessment,
    Confidence,
    Finding,
    Leak,
    LeakBand,
    LeakCategory,
    SentimentLabel,
)
from connectors.base import Mention

if TYPE_CHECKING:
    from classifiers.masking import Known

SAMPLES = 3
"""How many posts a message shows."""
EXCERPT_LIMIT = 280
_READ = 20_000
"""Characters of a post that a message shows at most."""
STATEMENT_WITHIN = timedelta(hours=1)
"""A crisis asks for a first statement within this time of being noticed."""

_TITLE_LIMIT = 140
_VALUE_LIMIT = 600
_CERTAINTY = ((0.95, "almost_certain"), (0.85, "very_likely"), (0.65, "likely"), (0.0, "possible"))
_MANY_FINDINGS = 8
_LABEL_LIMIT = 40
HIDDEN = "…"
"""Stands in a signal's facts for a word that must not be shown."""
_MANY_TERMS = 12

_MANY_DRIVERS = 5
_MANY_PLACES = 4
_ONE_STORY = 0.25
"""From this share of a spike on its largest post is worth telling."""

_MESSAGE: TypeAdapter[Message] = TypeAdapter(Message)
_CHART: TypeAdapter[Chart] = TypeAdapter(Chart)


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One post of an incident, for showing."""

    mention: Mention
    assessment: Assessment | None


@dataclass(frozen=True, slots=True)
class Occasion:
    """What a message is about besides its incident: who took it, which clock calls."""

    who: str = ""
    """Who has taken the incident."""
    clock: str = ""
    """Name of the clock that calls."""
    due_at: datetime | None = None
    """When it is due."""
    missing: tuple[str, ...] = ()
    """What it still waits for: words of ``alerts.clocks.Milestone``."""


NO_OCCASION = Occasion()


def compose(
    incident: Incident,
    event: Event,
    reason: Reason,
    *,
    signals: Sequence[Signal],
    exhibits: Sequence[Exhibit],
    total_mentions: int,
    language: str,
    timezone: str,
    keep_handles: Collection[str] = (),
    link: str | None = None,
    occasion: Occasion = NO_OCCASION,
) -> Message:
    """Put into words what happened to an incident.

    Args:
        incident: as it is now.
        event: what happened.
        reason: why this receiver is told.
        signals: those of the incident; the gravest, and of spikes the latest, is what is told.
        exhibits: posts of the incident to choose examples from: the posts of the gravest signals
            and the most telling others. Not all of a large incident.
        total_mentions: how many posts belong to it in all.
        language: ``nl`` or ``en``.
        timezone: IANA name, for all times in the words.
        keep_handles: handles that need no masking: the brand's own accounts.
        link: where to see and take the incident.
        occasion: who took it, which clock calls.

    Raises:
        ValueError: an unknown language or time zone.
    """
    scene = _Scene(
        incident, event, reason, tuple(signals), total_mentions, language, timezone, occasion
    )
    samples = () if event is Event.RESOLVED else _samples(scene, exhibits, keep_handles)
    return Message(
        incident_id=incident.id,
        brand=scene.brand,
        kind=incident.kind,
        severity=incident.severity,
        event=event,
        language=language,
        title=scene.title(),
        summary=scene.summary(),
        since=scene.since(),
        timezone=timezone,
        why=tuple(scene.why()),
        samples=samples,
        more_samples=max(0, total_mentions - len(samples)) if samples else 0,
        actions=scene.actions(),
        link=link,
        chart=None if event is Event.RESOLVED else scene.chart(),
        taken_by=one_line(incident.acknowledged_by or "", 60) or None,
        reason=reason,
    )


def with_links(
    message: Message, links: LinkMaker, incident: Incident, receiver: str, now: datetime
) -> Message:
    """The same, with what lets this receiver see the incident and take it."""
    return replace(
        message,
        link=links.link_for(incident, receiver, now),
        ticket=links.ticket_for(incident, receiver, now),
    )


def as_drill(message: Message) -> Message:
    """The same, marked as an exercise in title and summary, whatever channel it goes through."""
    if message.drill:
        return message
    language = words(message.language)
    return replace(
        message,
        title=f"{language.text('drill.mark')} {message.title}",
        summary=f"{language.text('drill.sentence')} {message.summary}",
        drill=True,
    )


def by_another_way(message: Message, channel: str, since: datetime | None) -> Message:
    """The same, saying that it comes this way because another channel does not deliver.

    Args:
        message: as the other channel would have told it.
        channel: name of that channel.
        since: since when it has not delivered; None where it refused this very message.
    """
    language, name = words(message.language), one_line(channel, 60)
    if since is None:
        value = language.text("value.stands_in_at_once", channel=name)
    else:
        moment = language.moment(since, ZoneInfo(message.timezone))
        value = language.text("value.stands_in", channel=name, since=moment)
    return replace(message, why=((language.text("why.way"), value), *message.why))


def heading(message: Message) -> str:
    """The title with its marker: ``[Kritiek] Zonnehoek: …``, for a mail's subject.

    The marker changes with what happens, the rest stays: mail programs take what is in brackets off
    before they compare subjects, so an incident stays one conversation.
    """
    return f"[{marker(message)}] {message.title}"


def marker(message: Message) -> str:
    """One or two words on what happened: the severity, ``Gesloten``, ``Ongoing``."""
    language = words(message.language)
    if message.bulletin:
        return language.text("daily.mark")
    key = f"marked.{message.reason.value}" if message.reason else ""
    if message.event is Event.RESOLVED or not language.has(key):
        key = f"marker.{message.event.value}"
    text = language.text(key, severity=severity_word(message.severity, message.language))
    return text[:1].upper() + text[1:]


def reference(message: Message) -> str:
    """Which incident it is about, in two words."""
    language = words(message.language)
    if message.bulletin:
        return language.text("daily.reference")
    return language.text("label.incident", id=message.incident_id)


def severity_word(severity: Severity, language: str) -> str:
    """The word for people for a severity."""
    return words(language).text(f"severity.{severity.word}")


def sample_line(sample: Sample, message: Message) -> str:
    """Where, who and when of an example, on one line."""
    language = words(message.language)
    parts = [
        language.name("platform", sample.platform),
        sample.author,
        language.short_moment(sample.published_at, ZoneInfo(message.timezone)),
    ]
    if sample.followers:
        parts.append(language.count("label.followers", sample.followers))
    if sample.sentiment:
        parts.append(sample.sentiment)
    return " · ".join(_capital(part) if place == 0 else part for place, part in enumerate(parts))


def since_line(message: Message) -> str:
    """Day and time in full of when it began."""
    return words(message.language).moment(message.since, ZoneInfo(message.timezone))


def to_json(message: Message) -> dict[str, Any]:
    """The message as JSON values: what the outbox keeps."""
    kept: dict[str, Any] = _MESSAGE.dump_python(message, mode="json")
    return kept


def from_json(kept: Mapping[str, Any]) -> Message:
    """The message that :func:`to_json` kept. Raises ValueError if it is not one."""
    return _MESSAGE.validate_python(dict(kept))


@dataclass(frozen=True, slots=True)
class _Scene:
    """All that is known when an event is put into words."""

    incident: Incident
    event: Event
    reason: Reason
    signals: tuple[Signal, ...]
    total: int
    language: str
    timezone: str
    occasion: Occasion = NO_OCCASION

    @property
    def words(self) -> Words:
        return words(self.language)

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def brand(self) -> str:
        return one_line(self.incident.brand, 60)

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the signal says that the message is about."""
        lead = self.lead()
        return {} if lead is None else lead.facts

    def lead(self) -> Signal | None:
        """The gravest signal; of spikes, whose figures grow old, the latest of the gravest kind."""
        if not self.signals:
            return None
        if self.incident.kind not in SPIKES:
            return gravest(self.signals)
        alike = [each for each in self.signals if each.kind is self.incident.kind]
        return max(alike or self.signals, key=lambda each: (each.occurred_at, each.key))

    def since(self) -> datetime:
        """When it began: the earliest moment that any of its signals names."""
        moments = [each.occurred_at for each in self.signals]
        moments += [moment for each in self.signals if (moment := _moment(each.facts.get("since")))]
        return min(moments, default=self.incident.opened_at).astimezone(UTC)

    def title(self) -> str:
        kind = self.incident.kind
        key = f"title.{kind.value}"
        if kind is SignalKind.LEAK:
            key = f"{key}.{self._category()}"
        elif kind is SignalKind.BUDGET:
            key = f"{key}.{self._budget_level()}"
        return one_line(self.words.text(key, **self._values()), _TITLE_LIMIT)

    def summary(self) -> str:
        key = f"summary.{self.incident.kind.value}.{self.event.value}"
        sentences = [*self._occasion(), self.words.text(key, **self._values())]
        if self.event is Event.RESOLVED:
            if self.total:
                sentences.append(self.words.count("sentence.total_in_the_end", self.total))
        elif self.incident.kind in SPIKES:
            sentences += self._observed_sentence()
        elif self.incident.kind is SignalKind.BUDGET:
            key = f"sentence.budget_{self._budget_level()}"
            sentences.append(self.words.text(key, until=self._budget_until()))
        elif self.total > 1:
            sentences.append(self.words.count("sentence.total", self.total))
        return one_line(" ".join(sentences), _VALUE_LIMIT)

    def _occasion(self) -> Iterator[str]:
        """What comes first when it is not the posts that have news."""
        key = f"occasion.{self.reason.value}"
        about = self.occasion
        if about.who == "" and self.words.has(f"{key}_by_somebody"):
            key = f"{key}_by_somebody"
        if self.event is Event.RESOLVED or not self.words.has(key):
            return
        if about.due_at is None and self.reason in (Reason.REMINDER, Reason.BREACHED):
            return
        yield self.words.text(
            key,
            who=one_line(about.who, 60),
            due=self.words.moment(about.due_at or self.incident.opened_at, self.zone),
            missing=", ".join(self.words.text(f"milestone.{each}") for each in about.missing),
        )

    def why(self) -> Iterator[tuple[str, str]]:
        """Label and value of each reason, most telling first."""
        known = dict(self._why()) if self.event is not Event.RESOLVED else {}
        known["now"] = self.words.text(f"now.{self.reason.value}")
        if model := self.facts.get("model"):
            known["model"] = str(model)
        for key, value in known.items():
            yield self.words.text(f"why.{key}"), one_line(value, _VALUE_LIMIT)

    def actions(self) -> tuple[str, ...]:
        """What to do now, in order: the playbook of the policy."""
        kind = self.incident.kind
        if self.reason is Reason.TAKEN:
            return ()  # somebody is at it; to do nothing is what it asks for
        values = {"deadline": self._deadline()}
        if self.event is Event.RESOLVED:
            ending = f"actions.resolved_{kind.value}"
            return self.words.texts(ending if self.words.has(ending) else "actions.resolved")
        if kind is SignalKind.LEAK:
            return (
                self.words.text(f"actions.leak.{self._category()}"),
                *self.words.texts("actions.leak.first"),
                *self.words.texts("actions.leak.last"),
            )
        key = "crisis" if kind in SPIKES else kind.value
        return self.words.texts(f"actions.{key}", **values)

    def chart(self) -> Chart | None:
        """The last two days in counts, if the signal tells of them."""
        known = self.facts.get("chart")
        if self.incident.kind not in SPIKES or known is None:
            return None
        try:
            return _CHART.validate_python(known)
        except ValidationError:
            # Kept by another version: an alert without a picture is better than none.
            return None

    def _values(self) -> dict[str, str]:
        """For every placeholder of titles and summaries."""
        platform = self.facts.get("platform")
        return {
            "brand": self.brand,
            "platform": self.words.name("platform", one_line(str(platform), 40))
            if platform
            else self.words.text("label.somewhere"),
            "reveals": self.words.text(f"reveals.{self._category()}"),
            "opened": self.words.moment(self.incident.opened_at, self.zone),
            "source": self._source(),
            "channel": self._channel(),
            "term": self._topic_word(),
            "spent": self._money("spent"),
            "budget": self._money("limit"),
            "period": self.words.name("period", one_line(str(self.facts.get("period", "day")), 40)),
        }

    def _budget_level(self) -> str:
        return "out" if self.facts.get("level") == "out" else "low"

    def _budget_until(self) -> str:
        until = _moment(self.facts.get("until")) or self.incident.opened_at
        return self.words.moment(until, self.zone)

    def _money(self, fact: str) -> str:
        amount = _number(self.facts.get(fact))
        currency = one_line(str(self.facts.get("currency", "")), 10)
        return f"{self.words.number(amount or 0.0, 2)} {currency}".strip()

    def _topic_word(self) -> str:
        """The word of a topic; a name, or what only possible leaks say, is not repeated."""
        term = one_line(str(self.facts.get("term", "")), 40)
        return self.words.text("label.hidden_term") if term == HIDDEN else term

    def _category(self) -> str:
        try:
            return LeakCategory(self.facts.get("category", "none")).value
        except ValueError:
            return LeakCategory.NONE.value

    def _source(self) -> str:
        return one_line(str(self.facts.get("source", "")), 60)

    def _channel(self) -> str:
        return one_line(str(self.facts.get("channel", "")), 60)

    def _deadline(self) -> str:
        """By when the first statement is due; what came in after that moment shows it has passed."""
        due = self.incident.opened_at + STATEMENT_WITHIN
        if self.incident.last_signal_at > due:
            return self.words.text("label.deadline.passed")
        return self.words.text("label.deadline.by", time=self.words.clock(due, self.zone))

    def _observed_sentence(self) -> list[str]:
        observed, expected = self._counts()
        window = _number(self.facts.get("window_minutes"))
        if observed is None or expected is None or window is None:
            return []
        return [
            self.words.text(
                "sentence.observed",
                observed=self._posts(observed),
                window=self.words.duration(timedelta(minutes=window)),
                expected=self._expected(expected),
            )
        ]

    def _why(self) -> Iterator[tuple[str, str]]:
        if sentence := self._verdict():
            yield "verdict", sentence
        yield "rule", self.words.text(f"rule.{self.incident.kind.value}")
        yield from self._why_posts()
        yield from self._why_counts()
        yield from self._why_drivers()
        yield from self._why_source()
        yield from self._why_channel()
        if error := self.facts.get("error"):
            yield "error", str(error)

    def _why_posts(self) -> Iterator[tuple[str, str]]:
        facts = self.facts
        score = _number(facts.get("leak_score", facts.get("abuse_score")))
        if score is not None:
            yield "certainty", self._certainty(score)
        if findings := self._findings():
            yield "findings", findings
        if facts.get("in_picture") is True:
            yield "in_picture", self.words.text("value.in_picture")
        if terms := [f"“{one_line(str(term), 60)}”" for term in _items(facts.get("matched"))]:
            yield "matched", ", ".join(dict.fromkeys(terms[:_MANY_TERMS]))

    def _why_counts(self) -> Iterator[tuple[str, str]]:
        observed, expected = self._counts()
        if observed is not None:
            yield "counts", self._against(observed, expected)
        if expected is not None:
            yield "expected", self._expected(expected)
        if (window := _number(self.facts.get("window_minutes"))) is not None:
            yield "window", self.words.duration(timedelta(minutes=window))
        authors = _number(self.facts.get("authors"))
        stories = _number(self.facts.get("stories"))
        if authors is not None and stories is not None:
            yield (
                "authors",
                self.words.text(
                    "value.authors",
                    authors=self.words.number(authors),
                    stories=self.words.number(stories),
                ),
            )
        if (coverage := _number(self.facts.get("coverage"))) is not None:
            yield "covered", self.words.part(coverage)
        if self.facts.get("warming_up") is True:
            yield "history", self.words.text("value.warming_up")

    def _why_drivers(self) -> Iterator[tuple[str, str]]:
        """What the spike is made of, against what is usual for this brand."""
        if shape := self.facts.get("shape"):
            yield "shape", self.words.name("shape", one_line(str(shape), 40))
        drivers = self.facts.get("drivers")
        if not isinstance(drivers, Mapping):
            return
        if terms := [text for each in _items(drivers.get("terms")) if (text := self._term(each))]:
            yield "drivers", ", ".join(terms[:_MANY_DRIVERS])
        for story in _items(drivers.get("stories"))[:1]:
            if text := self._story(story):
                yield "story", text
        if places := [
            text for each in _items(drivers.get("sources")) if (text := self._place(each))
        ]:
            yield "places", ", ".join(places[:_MANY_PLACES])
        if text := self._mood(drivers.get("negative")):
            yield "mood", text

    def _term(self, fact: object) -> str:
        now, usual = _pair(fact, "now", "usual")
        term = one_line(str(fact.get("term", "")), 60) if isinstance(fact, Mapping) else ""
        if not term or now is None:
            return ""
        rounded = None if usual is None else round(usual)
        key = "value.driver" if rounded else "value.driver_new"
        return self.words.text(
            key,
            term=term,
            now=self.words.number(round(now)),
            usual=self.words.number(rounded or 0),
        )

    def _story(self, fact: object) -> str:
        share, count = _pair(fact, "share", "count")
        authors, _ = _pair(fact, "authors", "authors")
        if share is None or count is None or authors is None or share < _ONE_STORY or count < 2:  # noqa: PLR2004 - one post is no spread
            return ""
        return self.words.text(
            "value.story",
            share=self.words.part(share),
            count=self.words.number(count),
            authors=self.words.number(authors),
        )

    def _place(self, fact: object) -> str:
        now, usual = _pair(fact, "now", "usual")
        name = one_line(str(fact.get("name", "")), 40) if isinstance(fact, Mapping) else ""
        if not name or now is None:
            return ""
        return self.words.text(
            "value.place",
            name=name,
            now=self.words.number(round(now)),
            usual=self.words.number(round(usual or 0.0)),
        )

    def _mood(self, fact: object) -> str:
        share, usual = _pair(fact, "share", "usual")
        if share is None:
            return ""
        key = "value.mood_new" if usual is None else "value.mood"
        return self.words.text(
            key, share=self.words.part(share), usual=self.words.part(usual or 0.0)
        )

    def _why_source(self) -> Iterator[tuple[str, str]]:
        if source := self._source():
            yield "source", source
        expected = _number(self.facts.get("expected"))
        if self.facts.get("answers") is True and expected is not None:
            yield (
                "fault",
                self.words.text("value.answers", expected=self.words.number(round(expected))),
            )
        elif fault := self.facts.get("fault"):
            yield "fault", self.words.name("fault", str(fault))

    def _why_channel(self) -> Iterator[tuple[str, str]]:
        if channel := self._channel():
            yield "channel", channel
        if trouble := self.facts.get("trouble"):
            yield "fault", self.words.name("trouble", str(trouble))
        for key in ("waiting", "given_up"):
            if count := _number(self.facts.get(key)):
                yield key, self.words.count("value.notifications", round(count))

    def _counts(self) -> tuple[float | None, float | None]:
        return _number(self.facts.get("observed")), _number(self.facts.get("expected"))

    def _posts(self, count: float) -> str:
        negative = self.incident.kind is SignalKind.NEGATIVITY_SPIKE
        key = "value.counts_negative" if negative else "value.counts"
        return self.words.count(key, round(count))

    def _against(self, observed: float, expected: float | None) -> str:
        if expected is None or expected < 1:
            return self._posts(observed)
        factor = observed / expected
        return self.words.text(
            "value.factor",
            count=self._posts(observed),
            factor=self.words.number(factor, 0 if factor >= 10 else 1),  # noqa: PLR2004 - reads well
        )

    def _expected(self, expected: float) -> str:
        if expected < 1:
            return self.words.text("value.expected_few")
        return self.words.text("value.expected", count=self.words.number(round(expected)))

    def _certainty(self, score: float) -> str:
        word = next(word for least, word in _CERTAINTY if score >= least or not least)
        return self.words.text(
            "value.certainty",
            word=self.words.text(f"certainty.{word}"),
            percent=self.words.percent(score),
        )

    def _verdict(self) -> str:
        """One sentence on why it counts as a leak; empty when that is not what it is about."""
        # Imported here, as in `_sample`: detectors take long to load.
        from classifiers.explain import explain  # noqa: PLC0415 - lazy

        score = _number(self.facts.get("leak_score"))
        if score is None:
            return ""
        findings = tuple(_finding(each) for each in _items(self.facts.get("findings")))
        leak = Leak(
            LeakBand.ESCALATE,
            score,
            LeakCategory(self._category()),
            tuple(each for each in findings if each is not None),
        )
        return explain(leak, self.language)

    def _findings(self) -> str:
        """Each detector that fired, once, with its best confidence. Never what it found.

        Of the register of secrets each document or list, by the name that the operator gave it.
        """
        best: dict[tuple[str, str], str] = {}
        for finding in _items(self.facts.get("findings")):
            if isinstance(finding, Mapping):
                name = one_line(str(finding.get("detector", "")), 40)
                key = name, _label(finding) or ""
                confidence = str(finding.get("confidence", "low"))
                order = ("low", "medium", "high")
                if name and confidence in order:
                    known = best.get(key, "low")
                    best[key] = max(known, confidence, key=order.index)
        return ", ".join(
            self.words.text(
                "value.finding_of" if label else "value.finding",
                name=self.words.name("detector", name),
                label=label,
                confidence=self.words.name("confidence", confidence),
            )
            for (name, label), confidence in list(best.items())[:_MANY_FINDINGS]
        )


def _finding(fact: object) -> Finding | None:
    """A finding as far as facts tell: never where in the text it is, so both offsets are 0."""
    if not isinstance(fact, Mapping):
        return None
    try:
        category = LeakCategory(str(fact.get("category")))
        confidence = Confidence(str(fact.get("confidence")))
    except ValueError:
        return None
    detector = one_line(str(fact.get("detector", "")), 40)
    return Finding(detector, category, 0, 0, confidence, label=_label(fact))


def _label(fact: Mapping[str, Any]) -> str | None:
    """What the operator calls the registered document or list of a finding, if it is of one."""
    label = fact.get("label")
    return one_line(label, _LABEL_LIMIT) or None if isinstance(label, str) else None


def _samples(
    scene: _Scene, exhibits: Sequence[Exhibit], keep_handles: Collection[str]
) -> tuple[Sample, ...]:
    """The most telling posts, one of each story."""
    chosen: dict[str, Exhibit] = {}
    for exhibit in sorted(exhibits, key=lambda each: _telling(scene, each), reverse=True):
        chosen.setdefault(exhibit.mention.story, exhibit)
    shown = list(chosen.values())[:SAMPLES]
    known = _hidden_in(shown)
    return tuple(_sample(scene, exhibit, keep_handles, known) for exhibit in shown)


def _hidden_in(exhibits: Sequence[Exhibit]) -> Known | None:
    """What is hidden in posts that are shown beside each other."""
    from classifiers.masking import together  # noqa: PLC0415 - lazy

    if len(exhibits) < 2:  # noqa: PLR2004 - one has no neighbour
        return None
    return together((each.mention.post.text[:_READ], *_leaks(each.assessment)) for each in exhibits)


def _leaks(assessment: Assessment | None) -> tuple[Sequence[Finding], LeakCategory]:
    """What masking needs to know: what was found, and what the post is thought to give away."""
    if assessment is None:
        return (), LeakCategory.NONE
    return assessment.leak.findings, assessment.leak.likely


def _telling(scene: _Scene, exhibit: Exhibit) -> tuple[float, ...]:
    """Order of exhibits: the accused post first, else what is negative and seen by many."""
    post = exhibit.mention.post
    reach = math.log1p(max(post.author_followers or 0, 0) + sum(_reactions(exhibit)))
    assessment = exhibit.assessment
    negative = 0.0
    if assessment is not None:
        negative = assessment.sentiment.scores.get(SentimentLabel.NEGATIVE, 0.0)
    if scene.incident.kind in SPIKES:
        return (negative * (1 + reach), reach, -exhibit.mention.id)
    lead = scene.lead()
    accused = lead is not None and exhibit.mention.id in lead.mention_ids
    named = any(exhibit.mention.id in each.mention_ids for each in scene.signals)
    score = 0.0
    if assessment is not None:
        leaks = scene.incident.kind is SignalKind.LEAK
        score = assessment.leak.score if leaks else assessment.abuse.score
    return (float(accused), float(named), score, reach, -exhibit.mention.id)


def _reactions(exhibit: Exhibit) -> tuple[int, int, int]:
    counted = exhibit.mention.post.engagement
    return max(counted.likes, 0), max(counted.shares, 0), max(counted.replies, 0)


def _sample(
    scene: _Scene, exhibit: Exhibit, keep_handles: Collection[str], known: Known | None
) -> Sample:
    # Imported here: its many patterns take longer to compile than a configuration to check.
    from classifiers.masking import excerpt  # noqa: PLC0415 - lazy

    post = exhibit.mention.post
    assessment = exhibit.assessment
    findings, likely = _leaks(assessment)
    sentiment = None
    if assessment is not None and scene.incident.kind in SPIKES:
        sentiment = scene.words.name("sentiment", assessment.sentiment.label.value)
    text = excerpt(
        post.text,
        findings,
        limit=EXCERPT_LIMIT,
        keep_handles=keep_handles,
        language=scene.language,
        known=known,
        likely=likely,
    )
    return Sample(
        text=one_line(text, EXCERPT_LIMIT),
        platform=one_line(post.platform, 40),
        author=_author(exhibit.mention, scene.words),
        published_at=post.published_at.astimezone(UTC),
        url=_safe_link(post.url),
        followers=post.author_followers,
        sentiment=sentiment,
        mention_id=exhibit.mention.id,
    )


def _author(mention: Mention, language: Words) -> str:
    """A label that tells authors apart within a message and says nothing about them."""
    if mention.official:
        return language.text("label.official")
    short = "".join(char for char in mention.post.author or "" if char.isalnum())[-4:]
    if not short:
        return language.text("label.no_author")
    return language.text("label.author", short=short)


def _safe_link(url: str | None) -> str | None:
    """The address if it can only be a web address, without anything that breaks out of a line."""
    if url is None or len(url) > 2000 or not url.startswith(("https://", "http://")):  # noqa: PLR2004 - what browsers take
        return None
    if any(char.isspace() or char in '<>"|\\^`{}' or not char.isprintable() for char in url):
        return None
    return url


def _moment(value: object) -> datetime | None:
    """An ISO 8601 fact as an aware moment, or None if it is not one."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return None if moment.tzinfo is None else moment


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _pair(fact: object, first: str, second: str) -> tuple[float | None, float | None]:
    """Two numbers of a fact, each None if it is not there."""
    if not isinstance(fact, Mapping):
        return None, None
    return _number(fact.get(first)), _number(fact.get(second))


def _items(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
