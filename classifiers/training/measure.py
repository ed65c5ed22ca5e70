"""Figures: how good the shipped graph is, per task, on posts it never learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, f1_score, recall_score

from classifiers.base import Model, Prediction
from classifiers.training.data import ABUSES, CATEGORIES, SENTIMENTS, UNKNOWN, Example, rows

_Label = TypeVar("_Label", bound=StrEnum)
_THREAT = len(ABUSES) - 1
_TV_POSTS = 2000


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the model card."""

    task: str
    on: str
    posts: int
    result: str


def temperature(logits: npt.NDArray[np.float64], labels: Sequence[int]) -> float:
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


def leak_threshold(
    ordinary: npt.NDArray[np.float64],
    look_alikes: npt.NDArray[np.float64],
    *,
    per_thousand: float,
    per_hundred: float,
) -> float:
    """From which score to wake the team.

    At most ``per_thousand`` of the ordinary posts score that high, and at most ``per_hundred`` of
    the posts that were written to look like leaks: random tweets alone are too easy a measure for
    posts that speak about a brand, its prices and its people.
    """
    allowed = ((ordinary, per_thousand / 1000), (look_alikes, per_hundred / 100))
    cuts = [np.sort(scores)[::-1][int(share * len(scores))] for scores, share in allowed]
    return round(float(max(cuts)) + 1e-3, 3)


def threat_bias(scaled: npt.NDArray[np.float64], *, per_thousand: float) -> float:
    """What to add to the logit of threat so that few posts without one are called so.

    ``scaled`` are the calibrated logits of such posts, ``(posts, 3)``. Never positive: the classes
    were weighted when training, which makes the rarest label too loud.
    """
    margins = np.sort(scaled[:, _THREAT] - scaled[:, :_THREAT].max(axis=1))[::-1]
    return -round(max(0.0, float(margins[int(per_thousand / 1000 * len(margins))]) + 1e-3), 3)


def figures(
    model: Model, threshold: float, test: Mapping[str, list[Example]], corpora: Path, own: Path
) -> list[Figure]:
    """Every figure of the model card, from the runtime that ships."""
    result: list[Figure] = []
    ordinary: dict[str, list[float]] = {"en": [], "nl": []}
    unlabelled: list[Prediction] = []
    for name, examples in test.items():
        if not examples:
            continue
        answers = model.predict([e.text for e in examples])
        result += _sentiment(name, examples, answers)
        result += _abuse(name, examples, answers)
        for example, answer in zip(examples, answers, strict=True):
            if example.abuse == UNKNOWN:
                unlabelled.append(answer)
            if example.leak == 0 and example.language in ordinary and answer.leak is not None:
                ordinary[example.language].append(answer.leak)
    loud = sum(_best(ABUSES, answer.abuse) == _THREAT for answer in unlabelled)
    result.append(
        Figure("abuse", "posts without such labels", len(unlabelled), f"{loud} called threat")
    )
    result += _television(model, corpora, ordinary["nl"])
    result += _hatecheck(model, corpora)
    result += _leaks(model, threshold, own / "leaks-dev.jsonl", ordinary)
    return result


def _sentiment(name: str, examples: list[Example], answers: list[Prediction]) -> list[Figure]:
    pairs = [
        (e.sentiment, _best(SENTIMENTS, a.sentiment))
        for e, a in zip(examples, answers, strict=True)
        if e.sentiment != UNKNOWN
    ]
    if not pairs:
        return []
    truth, said = zip(*pairs, strict=True)
    text = (
        f"macro recall {100 * recall_score(truth, said, average='macro'):.1f}, "
        f"macro F1 {100 * f1_score(truth, said, average='macro'):.1f}"
    )
    return [Figure("sentiment", name, len(pairs), text)]


def _abuse(name: str, examples: list[Example], answers: list[Prediction]) -> list[Figure]:
    pairs = [
        (e.abuse, _best(ABUSES, a.abuse))
        for e, a in zip(examples, answers, strict=True)
        if e.abuse != UNKNOWN
    ]
    if not pairs:
        return []
    truth, said = (np.array(side) for side in zip(*pairs, strict=True))
    text = f"abusive or threat against none: macro F1 {_macro(truth > 0, said > 0):.1f}"
    threats = truth == _THREAT
    if threats.any():
        text += (
            f"; of {threats.sum()} threats {(said[threats] == _THREAT).sum()} called so, "
            f"{(said[threats] > 0).sum()} at least abusive"
        )
    text += f"; {(said[~threats] == _THREAT).sum()} of {(~threats).sum()} others called threat"
    return [Figure("abuse", name, len(pairs), text)]


def _television(model: Model, corpora: Path, ordinary: list[float]) -> list[Figure]:
    """Dutch subtitles, never trained on: a share for sentiment, and as ordinary Dutch."""
    path = corpora / "sentiment_nl" / "tv_transcripts.jsonl"
    picked = [row for row in rows(path) if row["_line"] % 5 == 0][:_TV_POSTS]
    answers = model.predict([row["text"] for row in picked])
    ordinary += [a.leak for a in answers if a.leak is not None]
    examples = [
        Example(row["text"], "", "", sentiment=SENTIMENTS.index(row["label"]))
        if row["label"] in SENTIMENTS
        else Example(row["text"], "", "")
        for row in picked
    ]
    return _sentiment("Dutch television lines (machine labels)", examples, answers)


def _hatecheck(model: Model, corpora: Path) -> list[Figure]:
    picked = [r for r in rows(corpora / "abuse" / "hatecheck_en.jsonl") if r["_line"] % 3 == 0]
    said = np.array([_best(ABUSES, a.abuse) for a in model.predict([r["text"] for r in picked])])
    hateful = np.array([row["label"] == "hateful" for row in picked])
    threats = np.array([row["functionality"].startswith("threat") for row in picked])
    text = (
        f"abusive or threat against none: macro F1 {_macro(hateful, said > 0):.1f}; of "
        f"{threats.sum()} threats {(said[threats] == _THREAT).sum()} called so, "
        f"{(said[threats] > 0).sum()} at least abusive"
    )
    return [Figure("abuse", "HateCheck, every third case", len(picked), text)]


def _leaks(
    model: Model, threshold: float, path: Path, ordinary: Mapping[str, list[float]]
) -> list[Figure]:
    posts = list(rows(path))
    answers = model.predict([row["text"] for row in posts])
    score = np.array([a.leak for a in answers])
    truth = np.array([row["escalate"] for row in posts])
    woken = score >= threshold
    hits = int((woken & truth).sum())
    right = sum(
        row["category"] == CATEGORIES[_best(CATEGORIES, answer.category)]
        for row, answer, leak in zip(posts, answers, truth, strict=True)
        if leak
    )
    everyday = np.concatenate([np.array(v) for v in ordinary.values()])
    reach = ", ".join(
        f"{(score[truth] > np.quantile(everyday, 1 - rate / 1000)).mean():.2f} at {rate}"
        for rate in (10, 5, 1)
    )
    found = [
        Figure(
            "leak",
            "leaks-dev",
            len(posts),
            f"average precision {average_precision_score(truth, score):.3f}; at the threshold "
            f"{threshold} precision {hits / max(1, woken.sum()):.2f}, recall "
            f"{hits / truth.sum():.2f}; right category for {right} of {truth.sum()} leaks",
        ),
        Figure(
            "leak",
            "leaks-dev against ordinary posts",
            len(posts) + len(everyday),
            f"recall {reach} false alarms in 1,000 ordinary posts",
        ),
    ]
    for language, scores in ordinary.items():
        false = int((np.array(scores) >= threshold).sum())
        found.append(
            Figure(
                "leak",
                f"ordinary posts, {language}",
                len(scores),
                f"{false} false escalations at the threshold "
                f"({1000 * false / len(scores):.1f} in 1,000)",
            )
        )
    return found


def _best(labels: Sequence[_Label], scores: Mapping[_Label, float] | None) -> int:
    if scores is None:
        raise ValueError("the model lacks a head that is to be measured")
    return max(range(len(labels)), key=lambda i: scores[labels[i]])


def _macro(truth: npt.NDArray[np.bool_], said: npt.NDArray[np.bool_]) -> float:
    return 100 * float(f1_score(truth, said, average="macro"))
