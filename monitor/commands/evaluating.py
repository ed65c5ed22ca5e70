"""``evaluate``: how good the classifiers are on posts that people have judged.

Reads judged posts from the store or from a file, and measures. Prints nothing and changes nothing:
that no threshold ever moves by itself is the point. How it is shown: ``monitor.commands.figures``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TextIO

from classifiers.base import (
    AbuseLabel,
    Assessment,
    Classifier,
    LeakBand,
    LeakCategory,
    LeakThresholds,
    SentimentLabel,
    Text,
)
from classifiers.leaks import enough_alone
from classifiers.scoring import (
    Share,
    accuracy,
    average_precision,
    fewest_mistakes,
    macro_f1,
    macro_recall,
    precision,
    recall,
)
from monitor.store import Store
from monitor.store.feedback import Verdict

BATCH: Final = 64
FEW: Final = 20
"""Below so many judged posts figures say little."""
LANGUAGES: Final = ("nl", "en")


@dataclass(frozen=True, slots=True)
class Case:
    """A post with what people say of it; what they left open is None."""

    text: str
    language: str | None = None
    escalate: bool | None = None
    category: LeakCategory | None = None
    sentiment: SentimentLabel | None = None
    abuse: AbuseLabel | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A case and what the classifiers say of it."""

    case: Case
    said: Assessment

    @property
    def alone(self) -> bool:
        """Whether evidence escalates it at any threshold."""
        return bool(enough_alone(self.said.leak.findings))

    @property
    def language(self) -> str:
        """The language that people or classifiers say it is in; ``other`` for all but two."""
        known = (self.case.language or self.said.language).casefold()[:2]
        return known if known in LANGUAGES else "other"


@dataclass(frozen=True, slots=True)
class LeakFigures:
    """How well leaks are told from ordinary posts."""

    posts: int
    leaks: int
    precision: Share
    """Of the posts that would wake people, those that are leaks."""
    recall: Share
    """Of the leaks, those that would wake people."""
    recall_with_review: Share
    average_precision: float | None
    false_alarms: Share
    """Of the ordinary posts, those that would wake people."""
    false_reviews: Share
    """Of the ordinary posts, those that would be put up for review."""


@dataclass(frozen=True, slots=True)
class CategoryFigures:
    """How well leaks of one category are found and named. Posts in review count with what is likely."""

    found: Share
    """Of its leaks, those that would wake people."""
    named: Share
    """Of its leaks that are not in the lowest band, those that are given this category."""
    right: Share
    """Of the leaks that are given this category, those that have it."""


@dataclass(frozen=True, slots=True)
class LabelFigures:
    """How well labels of one kind are given."""

    posts: int
    accuracy: float | None
    macro_f1: float | None
    macro_recall: float | None


@dataclass(frozen=True, slots=True)
class Setting:
    """What a pair of thresholds would have done on these posts."""

    name: str
    thresholds: LeakThresholds
    woken: int
    found: int
    false_alarms: int
    reviewed: int
    in_use: bool


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A threshold at which fewer of these posts would have been misjudged."""

    threshold: float
    mistakes: int
    mistakes_now: int


@dataclass(frozen=True, slots=True)
class Report:
    """All figures."""

    version: str
    thresholds: LeakThresholds
    posts: int
    leak: Mapping[str, LeakFigures]
    """By language, and ``all``; empty without judgements of leaks."""
    categories: Mapping[LeakCategory, CategoryFigures]
    confusion: Mapping[tuple[LeakCategory, LeakCategory], int]
    """Posts by what they are and what they are given; ``none`` is an ordinary post, or the lowest band."""
    sentiment: Mapping[str, LabelFigures]
    abuse: Mapping[str, LabelFigures]
    abuse_found: Share
    """Of the abusive and threatening posts, those that are given either label."""
    settings: Sequence[Setting]
    suggestion: Suggestion | None
    selected: bool
    """Whether the posts were chosen for judging, and so say nothing of the leaks nobody saw."""


# -- where cases come from -------------------------------------------------------------------------


def read_cases(
    path: Path, errors: TextIO, progress: Callable[[int], object]
) -> tuple[list[Case], int]:
    """Read the cases of a file of JSON Lines, and how many lines were bad: each is named on ``errors``.

    Args:
        path: lines of ``{"text", "lang"?, "escalate"?, "category"?, "sentiment"?, "abuse"?}``.
        errors: gets ``{"line": …, "error": …}`` for each bad line.
        progress: called with the number of bytes read so far.
    """
    cases: list[Case] = []
    bad = read = 0
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            read += len(raw)
            if not raw.strip():
                continue
            try:
                cases.append(_parse(raw))
            except ValueError as error:
                bad += 1
                errors.write(json.dumps({"line": number, "error": str(error)}) + "\n")
            if number % BATCH == 0:
                progress(read)
    progress(read)
    return cases, bad


def _parse(raw: bytes) -> Case:
    try:
        value = json.loads(raw.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError):
        raise ValueError("not JSON, or not UTF-8") from None
    if not isinstance(value, dict):
        raise ValueError('not a JSON object; expected {"text": …, "escalate": …}')
    text, language, escalate = (value.get(key) for key in ("text", "lang", "escalate"))
    if not isinstance(text, str):
        raise ValueError('"text" is missing or not a string')
    if language is not None and not isinstance(language, str):
        raise ValueError('"lang" is not a string')
    if escalate is not None and not isinstance(escalate, bool):
        raise ValueError('"escalate" is neither true nor false')
    category = _label(LeakCategory, value, "category")
    if category is not None:
        if escalate is None:
            escalate = category is not LeakCategory.NONE
        elif escalate is (category is LeakCategory.NONE):
            raise ValueError('"escalate" and "category" contradict each other')
    sentiment = _label(SentimentLabel, value, "sentiment")
    abuse = _label(AbuseLabel, value, "abuse")
    if escalate is None and sentiment is None and abuse is None:
        raise ValueError('no label: give "escalate", "category", "sentiment" or "abuse"')
    return Case(
        text=text.encode("utf-8", "replace").decode("utf-8"),
        language=language,
        escalate=escalate,
        category=category if escalate else None,
        sentiment=sentiment,
        abuse=abuse,
    )


def _label(labels: Any, value: Mapping[str, Any], key: str) -> Any:
    word = value.get(key)
    if word is None:
        return None
    try:
        return labels(word)
    except ValueError:
        allowed = ", ".join(labels)
        raise ValueError(f'"{key}" is none of {allowed}') from None


def judged_cases(
    store: Store, since: datetime | None, until: datetime | None
) -> list[tuple[Case, Assessment | None]]:
    """The mentions that people judged, each with the assessment that they judged."""
    found = []
    with store.read() as unit:
        for judged in unit.feedback.judged(since, until):
            word = judged.judgement
            case = Case(
                text=judged.mention.post.text,
                language=judged.assessment.language if judged.assessment else None,
                escalate=word.verdict is Verdict.LEAK,
                category=word.category,
                sentiment=word.sentiment,
                abuse=word.abuse,
            )
            found.append((case, judged.assessment))
    return found


def classified(
    cases: Sequence[Case], classifier: Classifier, progress: Callable[[int], object]
) -> Iterator[Answer]:
    """What the classifiers say of each case today."""
    for start in range(0, len(cases), BATCH):
        batch = cases[start : start + BATCH]
        opinions = classifier.classify([Text(case.text, case.language) for case in batch])
        yield from (Answer(case, said) for case, said in zip(batch, opinions, strict=True))
        progress(start + len(batch))


# -- what they say ---------------------------------------------------------------------------------


def measure(
    answers: Sequence[Answer],
    *,
    version: str,
    thresholds: LeakThresholds,
    points: Mapping[str, LeakThresholds],
    selected: bool,
) -> Report:
    """Hold answers against judgements.

    Args:
        answers: the cases and what was said of them.
        version: of the classifiers.
        thresholds: those in use.
        points: other pairs of thresholds by name, to tell what they would have done.
        selected: whether the cases were chosen for judging.
    """
    judged = [answer for answer in answers if answer.case.escalate is not None]
    named = [answer for answer in judged if not answer.case.escalate or answer.case.category]
    abused = [answer for answer in answers if answer.case.abuse is not None]
    hostile = [answer.case.abuse is not AbuseLabel.NONE for answer in abused]
    said_hostile = [answer.said.abuse.label is not AbuseLabel.NONE for answer in abused]
    return Report(
        version=version,
        thresholds=thresholds,
        posts=len(answers),
        leak=_by_language(judged, _leak_figures),
        categories={
            category: _category_figures(category, named)
            for category in LeakCategory
            if category is not LeakCategory.NONE
        },
        confusion=Counter(
            (answer.case.category or LeakCategory.NONE, answer.said.leak.likely) for answer in named
        ),
        sentiment=_by_language(
            [answer for answer in answers if answer.case.sentiment is not None],
            lambda group: _label_figures(
                SentimentLabel,
                [answer.case.sentiment for answer in group],
                [answer.said.sentiment.label for answer in group],
            ),
        ),
        abuse=_by_language(
            abused,
            lambda group: _label_figures(
                AbuseLabel,
                [answer.case.abuse for answer in group],
                [answer.said.abuse.label for answer in group],
            ),
        ),
        abuse_found=recall(hostile, said_hostile),
        settings=[
            _setting(name, pair, judged, in_use=pair == thresholds)
            for name, pair in _with_own(points, thresholds).items()
        ]
        if judged
        else [],
        suggestion=_suggestion(judged, thresholds),
        selected=selected,
    )


def _by_language(
    answers: Sequence[Answer], figures: Callable[[Sequence[Answer]], Any]
) -> dict[str, Any]:
    groups = {"all": answers}
    for language in (*LANGUAGES, "other"):
        group = [answer for answer in answers if answer.language == language]
        if group:
            groups[language] = group
    return {name: figures(group) for name, group in groups.items() if group}


def _leak_figures(answers: Sequence[Answer]) -> LeakFigures:
    truth = [bool(answer.case.escalate) for answer in answers]
    bands = [answer.said.leak.band for answer in answers]
    woken = [band is LeakBand.ESCALATE for band in bands]
    ordinary = [not true for true in truth]
    return LeakFigures(
        posts=len(answers),
        leaks=sum(truth),
        precision=precision(truth, woken),
        recall=recall(truth, woken),
        recall_with_review=recall(truth, [band is not LeakBand.LOW for band in bands]),
        average_precision=average_precision(truth, [answer.said.leak.score for answer in answers]),
        false_alarms=recall(ordinary, woken),
        false_reviews=recall(ordinary, [band is LeakBand.REVIEW for band in bands]),
    )


def _category_figures(category: LeakCategory, answers: Sequence[Answer]) -> CategoryFigures:
    leaks = [answer for answer in answers if answer.case.escalate]
    its = [answer.case.category is category for answer in leaks]
    woken = [answer.said.leak.escalate for answer in leaks]
    given = [answer.said.leak.likely is category for answer in leaks]
    seen = [
        true and answer.said.leak.band is not LeakBand.LOW
        for true, answer in zip(its, leaks, strict=True)
    ]
    return CategoryFigures(
        found=recall(its, woken), named=recall(seen, given), right=precision(its, given)
    )


def _label_figures(
    labels: Iterable[Any], truth: Sequence[Any], said: Sequence[Any]
) -> LabelFigures:
    known = list(labels)
    return LabelFigures(
        posts=len(truth),
        accuracy=accuracy(truth, said),
        macro_f1=macro_f1(known, truth, said),
        macro_recall=macro_recall(known, truth, said),
    )


def _with_own(
    points: Mapping[str, LeakThresholds], thresholds: LeakThresholds
) -> dict[str, LeakThresholds]:
    """The named pairs, and the one in use where it is none of them."""
    return {**points, **({} if thresholds in points.values() else {"yours": thresholds})}


def _setting(
    name: str, thresholds: LeakThresholds, answers: Sequence[Answer], *, in_use: bool
) -> Setting:
    bands = [_band(answer, thresholds) for answer in answers]
    woken = [band is LeakBand.ESCALATE for band in bands]
    found = sum(
        alarm and bool(answer.case.escalate) for alarm, answer in zip(woken, answers, strict=True)
    )
    return Setting(
        name=name,
        thresholds=thresholds,
        woken=sum(woken),
        found=found,
        false_alarms=sum(woken) - found,
        reviewed=sum(band is LeakBand.REVIEW for band in bands),
        in_use=in_use,
    )


def _band(answer: Answer, thresholds: LeakThresholds) -> LeakBand:
    """The band of an answer at other thresholds than it was given at."""
    return LeakBand.ESCALATE if answer.alone else thresholds.band(answer.said.leak.score)


def _suggestion(answers: Sequence[Answer], thresholds: LeakThresholds) -> Suggestion | None:
    """A better threshold, where there is enough to say so and it is better by more than a post."""
    doubtful = [answer for answer in answers if not answer.alone]
    truth = [bool(answer.case.escalate) for answer in doubtful]
    if sum(truth) < FEW or len(truth) - sum(truth) < FEW:
        return None
    scores = [answer.said.leak.score for answer in doubtful]
    best, least = fewest_mistakes(truth, scores)
    now = sum(
        (score >= thresholds.escalate) != true for score, true in zip(scores, truth, strict=True)
    )
    return Suggestion(round(best, 3), least, now) if least + 1 < now else None


# -- for programs ----------------------------------------------------------------------------------


def as_json(report: Report) -> dict[str, Any]:
    """All figures as JSON values; shares with their 95 % intervals."""
    confusion: dict[str, dict[str, int]] = {}
    for (true, said), count in report.confusion.items():
        confusion.setdefault(true.value, {})[said.value] = count
    plain = replace(report, confusion={}, categories={}, leak={}, sentiment={}, abuse={})
    values: dict[str, Any] = {
        "version": plain.version,
        "thresholds": asdict(plain.thresholds),
        "posts": plain.posts,
        "few": plain.posts < FEW,
        "selected": plain.selected,
        "leak": {name: _plain(each) for name, each in report.leak.items()},
        "categories": {name.value: _plain(each) for name, each in report.categories.items()},
        "confusion": confusion,
        "sentiment": {name: _plain(each) for name, each in report.sentiment.items()},
        "abuse": {name: _plain(each) for name, each in report.abuse.items()},
        "abuse_found": _plain(plain.abuse_found),
        "settings": [asdict(each) for each in plain.settings],
        "suggestion": None if plain.suggestion is None else asdict(plain.suggestion),
    }
    return values


def _plain(figures: Any) -> Any:
    if isinstance(figures, Share):
        interval = figures.interval
        return {
            "value": figures.value,
            "interval": None if interval is None else list(interval),
            "hits": figures.hits,
            "of": figures.of,
        }
    return {
        name: _plain(value) if isinstance(value, Share) else value
        for name in figures.__dataclass_fields__
        for value in [getattr(figures, name)]
    }
