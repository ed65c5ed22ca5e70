"""Figures: how good the shipped graph is, per task, on posts it never learned from.

Leaks are measured twice: the model's word alone, and the verdict with the evidence of the
detectors, which is what wakes people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    precision_score,
    recall_score,
)

from classifiers.assessor import ABUSIVE_AT, abuse_of
from classifiers.base import Leak, LeakCategory, LeakThresholds, Model, Prediction
from classifiers.detectors import Detector, default_detectors, find_all
from classifiers.embedded import DEFAULT_POINT, OperatingPoint
from classifiers.leaks import decide
from classifiers.training.data import ABUSES, CATEGORIES, SENTIMENTS, UNKNOWN, Example, rows

_Label = TypeVar("_Label", bound=StrEnum)
_Floats = npt.NDArray[np.float64]
_THREAT = len(ABUSES) - 1
_TV_POSTS = 5000
THREATS_PER_THOUSAND: Final = 3.0
"""How many of 1,000 real development posts without a threat may be called one."""
_BIASES: Final = np.arange(-1.2, 1.21, 0.1)
_NEARLY: Final = 0.002
LEAKS: Final = "leaks"
"""The name of our own set of leaks and posts that look like them."""
OURS: Final = frozenset({LEAKS, "brand posts", "threats"})


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the model card. Abuse is counted as :func:`classifiers.assessor.abuse_of` does."""

    task: str
    on: str
    posts: int
    result: str


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many false alarms an operating point may cost on development posts.

    ``look_alikes`` were written to look like leaks without being any: random tweets alone are too
    easy a measure for posts that speak about a brand, its prices and its people.
    """

    escalated_per_thousand: float
    escalated_per_hundred_look_alikes: float
    reviewed_per_thousand: float
    reviewed_per_hundred_look_alikes: float


ALLOWANCES: Final[Mapping[str, Allowance]] = {
    "strict": Allowance(0.5, 4.0, 2.0, 10.0),
    "balanced": Allowance(1.5, 10.0, 5.0, 18.0),
    "wide": Allowance(5.0, 18.0, 20.0, 30.0),
}


def temperature(logits: _Floats, labels: Sequence[int]) -> float:
    """The divisor of logits that makes ``labels`` likeliest; rows labelled UNKNOWN are left out.

    One column is read as the logit of label 1.
    """
    truth = np.asarray(labels)
    known = truth != UNKNOWN
    scores, truth = logits[known], truth[known]
    if scores.shape[1] == 1:
        scores = np.hstack([np.zeros_like(scores), scores])

    def surprise(divisor: float) -> float:
        scaled = scores / divisor
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        normal = np.log(np.exp(scaled).sum(axis=1))
        return float((normal - scaled[np.arange(len(truth)), truth]).mean())

    return min(map(float, np.geomspace(0.25, 4.0, 281)), key=surprise)


def calibration_error(probability: _Floats, truth: npt.NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error, 0..1: how far probabilities are from shares, in equal bins."""
    place = np.minimum((probability * bins).astype(int), bins - 1)
    error = 0.0
    for each in np.unique(place):
        at = place == each
        error += at.mean() * abs(probability[at].mean() - truth[at].mean())
    return float(error)


def thresholds(ordinary: _Floats, look_alikes: _Floats, allowance: Allowance) -> LeakThresholds:
    """Where the bands begin so that false alarms stay within ``allowance``.

    Args:
        ordinary: leak scores of ordinary posts.
        look_alikes: those of posts that were written to look like leaks without being any.
        allowance: how many of each may be escalated, and escalated or reviewed.
    """

    def cut(per_thousand: float, per_hundred: float) -> float:
        allowed = ((ordinary, per_thousand / 1000), (look_alikes, per_hundred / 100))
        cuts = [np.sort(scores)[::-1][int(share * len(scores))] for scores, share in allowed]
        return min(0.999, round(float(max(cuts)) + 1e-3, 3))

    escalate = cut(allowance.escalated_per_thousand, allowance.escalated_per_hundred_look_alikes)
    review = cut(allowance.reviewed_per_thousand, allowance.reviewed_per_hundred_look_alikes)
    return LeakThresholds(min(review, escalate), escalate)


def threat_bias(scaled: _Floats, *, per_thousand: float) -> float:
    """What to add to the logit of threat so that few posts without one are called so.

    ``scaled`` are the calibrated logits of such posts, ``(posts, 3)``. Never positive: the classes
    were weighted when training, which makes the rarest label too loud.
    """
    margins = np.sort(scaled[:, _THREAT] - scaled[:, :_THREAT].max(axis=1))[::-1]
    return -round(max(0.0, float(margins[int(per_thousand / 1000 * len(margins))]) + 1e-3), 3)


def sentiment_bias(
    scaled: _Floats, labels: Sequence[int], sets: Sequence[str]
) -> tuple[float, float, float]:
    """What to add to the logits of negative, neutral and positive so that none is neglected.

    The public sets know few negative posts, and a model that learned from them says negative too
    seldom: the label that people who watch a brand can least do without. Chosen is what gives the
    highest mean recall of the three labels on development posts, sets weighing by the square root
    of their size; of what is nearly as good, the smallest.

    Args:
        scaled: calibrated logits, ``(posts, 3)``.
        labels: indices of the right labels, UNKNOWN where nobody knows.
        sets: the name of each post's set; one that lacks a label is passed over.
    """
    truth = np.asarray(labels)
    options = [(round(low, 2), 0.0, round(high, 2)) for low in _BIASES for high in _BIASES]
    recall = _means(
        truth,
        sets,
        classes=len(SENTIMENTS),
        said=[(scaled + np.array(option)).argmax(axis=1) for option in options],
        score=lambda right, said: float(recall_score(right, said, average="macro")),
    )
    near = [o for o, value in zip(options, recall, strict=True) if value >= max(recall) - _NEARLY]
    return min(near, key=lambda option: abs(option[0]) + abs(option[2]))


def abusive_bias(scaled: _Floats, labels: Sequence[int], sets: Sequence[str]) -> float:
    """What to add to the logit of abusive for the best macro F1 of none against the rest.

    Args:
        scaled: calibrated logits of none, abusive and threat, ``(posts, 3)``.
        labels: indices of the right labels, UNKNOWN where nobody knows.
        sets: the name of each post's set; one without abuse is passed over.
    """
    truth = np.asarray(labels)
    said = []
    for bias in _BIASES:
        moved = scaled + np.array([0.0, bias, 0.0])
        odds = np.exp(moved - moved.max(axis=1, keepdims=True))
        said.append((odds[:, 1:].sum(axis=1) / odds.sum(axis=1) >= ABUSIVE_AT).astype(int))
    fit = _means(
        np.where(truth == UNKNOWN, UNKNOWN, np.minimum(truth, 1)),
        sets,
        classes=2,
        said=said,
        score=lambda right, said: float(f1_score(right, said, average="macro")),
    )
    near = [bias for bias, value in zip(_BIASES, fit, strict=True) if value >= max(fit) - _NEARLY]
    return round(float(min(near, key=abs)), 2)


def _means(
    truth: npt.NDArray[np.int_],
    sets: Sequence[str],
    *,
    classes: int,
    said: Sequence[npt.NDArray[np.int_]],
    score: Callable[[npt.NDArray[np.int_], npt.NDArray[np.int_]], float],
) -> list[float]:
    """For each way of answering its mean score over the sets that know every class."""
    totals, weights = np.zeros(len(said)), 0.0
    names = np.array(sets)
    for name in np.unique(names):
        at = (names == name) & (truth != UNKNOWN)
        if len(np.unique(truth[at])) == classes:
            weight = float(np.sqrt(at.sum()))
            totals += weight * np.array([score(truth[at], each[at]) for each in said])
            weights += weight
    return list(totals / max(1.0, weights))


class Verdicts:
    """What becomes of texts: the model's opinion and, with evidence, the leak verdict."""

    def __init__(self, model: Model, detectors: Sequence[Detector] | None = None) -> None:
        self._model = model
        self._detectors = default_detectors() if detectors is None else detectors

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """The model's opinions, in order."""
        return self._model.predict(texts)

    def leaks(
        self,
        texts: Sequence[str],
        opinions: Sequence[Prediction],
        limits: LeakThresholds,
    ) -> list[Leak]:
        """The verdicts with evidence, in order."""
        return [
            decide(opinion, find_all(self._detectors, text), thresholds=limits)
            for text, opinion in zip(texts, opinions, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Leaks:
    """Posts of one set whose leak label is known, with what was said about them."""

    truth: npt.NDArray[np.bool_]
    categories: list[LeakCategory]
    languages: list[str]
    alone: _Floats
    """The model's probabilities."""
    verdicts: list[Leak]

    @property
    def scores(self) -> _Floats:
        """With evidence."""
        return np.array([leak.score for leak in self.verdicts])


def operating_point(limits: LeakThresholds, leaks: _Floats, ordinary: _Floats) -> OperatingPoint:
    """What thresholds do: ``leaks`` and ``ordinary`` are scores of such posts."""
    return OperatingPoint(
        limits,
        escalated_per_thousand=round(1000 * float((ordinary >= limits.escalate).mean()), 2),
        reviewed_per_thousand=round(
            1000 * float(((ordinary >= limits.review) & (ordinary < limits.escalate)).mean()),
            2,
        ),
        recall=round(float((leaks >= limits.escalate).mean()), 3),
        recall_with_review=round(float((leaks >= limits.review).mean()), 3),
    )


def figures(
    verdicts: Verdicts,
    points: Mapping[str, LeakThresholds],
    test: Mapping[str, list[Example]],
    corpora: Path,
    own: Path,
) -> tuple[list[Figure], dict[str, OperatingPoint]]:
    """Every figure of the model card, from the runtime that ships, and what each point costs."""
    usual = points[DEFAULT_POINT]
    result: list[Figure] = []
    ordinary: dict[str, list[Leak]] = {}
    unlabelled: list[Prediction] = []
    held_out: Leaks | None = None
    for name, examples in test.items():
        if not examples:
            continue
        texts = [e.raw for e in examples]
        answers = verdicts.predict(texts)
        judged = verdicts.leaks(texts, answers, usual)
        result += _sentiment(name, examples, answers)
        result += _abuse(name, examples, answers)
        unlabelled += [a for e, a in zip(examples, answers, strict=True) if e.abuse == UNKNOWN]
        if name == LEAKS:
            held_out = _known(examples, answers, judged)
        else:
            place = name if name in OURS else "en" if examples[0].language == "en" else "nl"
            place = "other" if name.startswith("XLM") else place
            ordinary.setdefault(place, []).extend(judged)
    loud = sum(_abuse_of(answer) == _THREAT for answer in unlabelled)
    result.append(
        Figure("abuse", "posts without such labels", len(unlabelled), f"{loud} called threat")
    )
    result += _television(verdicts, usual, corpora, ordinary.setdefault("nl", []))
    result += _hatecheck(verdicts, corpora)
    real = np.array([leak.score for name in ("en", "nl") for leak in ordinary[name]])
    measured = {}
    if held_out is not None:
        result += _leak_figures("leaks held out", held_out, usual, real)
        leaks = held_out.scores[held_out.truth]
        measured = {n: operating_point(limits, leaks, real) for n, limits in points.items()}
    for name in ("leaks-dev", "leaks-other"):
        found = _labelled_leaks(verdicts, own / f"{name}.jsonl", usual)
        result += _leak_figures(name, found, usual, real)
    for place, judged in ordinary.items():
        scores = np.array([leak.score for leak in judged])
        cost = operating_point(usual, scores, scores)
        result.append(
            Figure(
                "leak",
                f"ordinary posts, {place}",
                len(scores),
                f"{(scores >= usual.escalate).sum()} false escalations "
                f"({cost.escalated_per_thousand:.1f} in 1,000), "
                f"{cost.reviewed_per_thousand:.1f} in 1,000 for review",
            )
        )
    return result, measured


def _known(
    examples: Sequence[Example], answers: Sequence[Prediction], verdicts: Sequence[Leak]
) -> Leaks:
    return Leaks(
        truth=np.array([e.leak == 1 for e in examples]),
        categories=[
            LeakCategory.NONE if e.category == UNKNOWN else CATEGORIES[e.category] for e in examples
        ],
        languages=[e.language for e in examples],
        alone=np.array([a.leak for a in answers], dtype=np.float64),
        verdicts=list(verdicts),
    )


def _labelled_leaks(verdicts: Verdicts, path: Path, usual: LeakThresholds) -> Leaks:
    posts = list(rows(path))
    texts = [row["text"] for row in posts]
    answers = verdicts.predict(texts)
    return Leaks(
        truth=np.array([bool(row["escalate"]) for row in posts]),
        categories=[LeakCategory(row["category"]) for row in posts],
        languages=[row["lang"] for row in posts],
        alone=np.array([a.leak for a in answers], dtype=np.float64),
        verdicts=verdicts.leaks(texts, answers, usual),
    )


def _leak_figures(on: str, leaks: Leaks, usual: LeakThresholds, real: _Floats) -> list[Figure]:
    count = len(leaks.truth)
    found = []
    for who, scores in (("model alone", leaks.alone), ("with evidence", leaks.scores)):
        woken = scores >= usual.escalate
        found.append(
            Figure(
                "leak",
                f"{on}, {who}",
                count,
                f"average precision {average_precision_score(leaks.truth, scores):.3f}; "
                f"at the default precision {precision_score(leaks.truth, woken):.2f}, "
                f"recall {recall_score(leaks.truth, woken):.2f}",
            )
        )
    scores = leaks.scores
    reach = ", ".join(
        f"{(scores[leaks.truth] > np.quantile(real, 1 - rate / 1000)).mean():.2f} at {rate}"
        for rate in (10, 5, 2, 1)
    )
    found.append(
        Figure(
            "leak",
            f"{on} against real ordinary posts",
            count + len(real),
            f"recall {reach} false alarms in 1,000 ordinary posts",
        )
    )
    truths = [c for c, leak in zip(leaks.categories, leaks.truth, strict=True) if leak]
    likely = [v for v, leak in zip(leaks.verdicts, leaks.truth, strict=True) if leak]
    woken_rows = [(t, v) for t, v in zip(truths, likely, strict=True) if v.escalate]
    right = sum(t is v.category for t, v in woken_rows)
    found.append(
        Figure(
            "leak",
            f"{on}, category",
            len(woken_rows),
            f"right for {right} of {len(woken_rows)} escalated leaks",
        )
    )
    for language in ("nl", "en"):
        at = np.array([each == language for each in leaks.languages])
        woken = scores[at] >= usual.escalate
        found.append(
            Figure(
                "leak",
                f"{on}, {language}",
                int(at.sum()),
                f"average precision {average_precision_score(leaks.truth[at], scores[at]):.3f}; "
                f"precision {precision_score(leaks.truth[at], woken):.2f}, "
                f"recall {recall_score(leaks.truth[at], woken):.2f}; calibration error "
                f"{calibration_error(scores[at], leaks.truth[at]):.3f}",
            )
        )
    return found


def _sentiment(name: str, examples: list[Example], answers: list[Prediction]) -> list[Figure]:
    pairs = [
        (e.sentiment, _best(SENTIMENTS, a.sentiment))
        for e, a in zip(examples, answers, strict=True)
        if e.sentiment != UNKNOWN
    ]
    if not pairs:
        return []
    truth, said = zip(*pairs, strict=True)
    # Some sets know no neutral posts: what a class that never occurs is called says nothing.
    present = sorted(set(truth))
    text = (
        f"macro recall {100 * recall_score(truth, said, labels=present, average='macro'):.1f}, "
        f"macro F1 {100 * f1_score(truth, said, labels=present, average='macro'):.1f}, "
        f"accuracy {100 * accuracy_score(truth, said):.1f}"
    )
    return [Figure("sentiment", name, len(pairs), text)]


def _abuse(name: str, examples: list[Example], answers: list[Prediction]) -> list[Figure]:
    pairs = [
        (e.abuse, _abuse_of(a))
        for e, a in zip(examples, answers, strict=True)
        if e.abuse != UNKNOWN
    ]
    truth = np.array([one for one, _ in pairs])
    said = np.array([other for _, other in pairs])
    threats = truth == _THREAT
    if not pairs:
        return []
    text = f"{(said[~threats] == _THREAT).sum()} of {(~threats).sum()} others called threat"
    if threats.any():
        text = (
            f"of {threats.sum()} threats {(said[threats] == _THREAT).sum()} called so, "
            f"{(said[threats] > 0).sum()} at least abusive; {text}"
        )
    if (truth > 0).any():
        text = f"abusive or threat against none: macro F1 {_macro(truth > 0, said > 0):.1f}; {text}"
    return [Figure("abuse", name, len(pairs), text)]


def _television(
    verdicts: Verdicts, usual: LeakThresholds, corpora: Path, ordinary: list[Leak]
) -> list[Figure]:
    """Dutch subtitles, never trained on: a share for sentiment, and as ordinary Dutch."""
    path = corpora / "sentiment_nl" / "tv_transcripts.jsonl"
    picked = [row for row in rows(path) if row["_line"] % 2 == 0][:_TV_POSTS]
    texts = [row["text"] for row in picked]
    answers = verdicts.predict(texts)
    ordinary += verdicts.leaks(texts, answers, usual)
    examples = [
        Example(row["text"], "", "", sentiment=SENTIMENTS.index(row["label"]))
        if row["label"] in SENTIMENTS
        else Example(row["text"], "", "")
        for row in picked
    ]
    return _sentiment("Dutch television lines (machine labels)", examples, answers)


def _hatecheck(verdicts: Verdicts, corpora: Path) -> list[Figure]:
    picked = list(rows(corpora / "abuse" / "hatecheck_en.jsonl"))
    opinions = verdicts.predict([row["text"] for row in picked])
    said = np.array([_abuse_of(opinion) for opinion in opinions])
    hateful = np.array([row["label"] == "hateful" for row in picked])
    threats = np.array([row["functionality"].startswith("threat") for row in picked])
    text = (
        f"abusive or threat against none: macro F1 {_macro(hateful, said > 0):.1f}; of "
        f"{threats.sum()} threats {(said[threats] == _THREAT).sum()} called so "
        f"({100 * (said[threats] == _THREAT).mean():.0f} %), "
        f"{(said[threats] > 0).sum()} at least abusive; of {(~hateful).sum()} cases without hate "
        f"{(said[~hateful] == _THREAT).sum()} called threat"
    )
    return [Figure("abuse", "HateCheck", len(picked), text)]


def _best(labels: Sequence[_Label], scores: Mapping[_Label, float] | None) -> int:
    if scores is None:
        raise ValueError("the model lacks a head that is to be measured")
    return max(range(len(labels)), key=lambda i: scores[labels[i]])


def _abuse_of(prediction: Prediction) -> int:
    """The label that a post gets at run time."""
    return ABUSES.index(abuse_of(prediction).label)


def _macro(truth: npt.NDArray[np.bool_], said: npt.NDArray[np.bool_]) -> float:
    return 100 * float(f1_score(truth, said, average="macro"))
