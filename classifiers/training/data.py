"""What the model learns from and is measured on: every set, its labels, its share, its licence.

A post belongs to training, development or test by a hash of its own text (or of the group it
stands in), so the division is the same in every run, and near-copies of a post stay on one side.
Development decides calibration and thresholds; test figures are only reported.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from classifiers.base import AbuseLabel, LeakCategory, SentimentLabel
from classifiers.text import prepare

SENTIMENTS = tuple(SentimentLabel)
CATEGORIES = tuple(label for label in LeakCategory if label is not LeakCategory.NONE)
ABUSES = tuple(AbuseLabel)
_NO_ABUSE = ABUSES.index(AbuseLabel.NONE)
UNKNOWN = -1
"""The label of a task that a post says nothing about."""

Side = Literal["train", "dev", "test"]
Row = Mapping[str, Any]
OWN = Path(__file__).parent / "data"
"""Our own posts, part of this repository."""


class Stage(StrEnum):
    """What a part of the training is for."""

    FOUNDATION = "foundation"
    """How people write, and in what mood: the large public sets."""
    EVERYTHING = "everything"
    """All tasks together, our own posts in front."""


@dataclass(frozen=True, slots=True)
class Example:
    """One prepared post with the labels it has; ``UNKNOWN`` for the others."""

    text: str
    source: str
    group: str
    sentiment: int = UNKNOWN
    leak: int = UNKNOWN
    category: int = UNKNOWN
    abuse: int = UNKNOWN
    language: str = ""
    raw: str = ""
    """The text as it was posted: what is measured on."""


@dataclass(frozen=True, slots=True)
class Source:
    """One data set.

    ``foundation`` and ``per_round`` are how many examples one round of the two stages draws: a
    share of the set when smaller than the set, several passes when larger. ``dev`` and ``test``
    are the shares kept apart.
    """

    name: str
    path: str
    read: Callable[[Row], Example | None]
    foundation: int
    per_round: int
    dev: float
    test: float
    terms: str
    own: bool = False
    balance: bool = False
    """Whether the sentiment classes are drawn equally often."""

    def drawn(self, stage: Stage) -> int:
        """How many examples one round of ``stage`` draws."""
        return self.foundation if stage is Stage.FOUNDATION else self.per_round


_OURS = "CC0, invented for this project"


def sources() -> tuple[Source, ...]:
    """All sets that training may learn from. Paths are below the corpora or the own folder."""
    return (
        Source("leaks", "leaks", _leak, 0, 9000, 0.07, 0.10, _OURS, own=True),
        Source("brand posts", "posts", _brand, 0, 4500, 0.06, 0.10, _OURS, own=True),
        Source("threats", "threats.jsonl", _threat, 0, 160, 0.0, 0.0, _OURS, own=True),
        Source(
            "SemEval tweets",
            "sentiment_en/semeval_pool.jsonl",
            _sentiment,
            16000,
            6000,
            0.02,
            0.10,
            "SemEval-2013 to 2016 task A, research terms",
        ),
        Source(
            "XLM-T tweets",
            "sentiment_multi",
            _sentiment,
            4000,
            500,
            0.0,
            0.05,
            "XLM-T (Apache-2.0, terms of the source sets): German, French, Spanish, Italian, "
            "Portuguese",
        ),
        Source(
            "Dutch political tweets",
            "sentiment_nl/political_tweets.jsonl",
            _sentiment,
            440,
            700,
            0.04,
            0.20,
            "annotated for a VU Amsterdam thesis (Zegelaar), no licence file",
        ),
        Source(
            "Dutch restaurant sentences",
            "sentiment_nl/restaurants.jsonl",
            _restaurant,
            1250,
            1300,
            0.04,
            0.20,
            "SemEval-2016 task 5, Dutch, research terms",
        ),
        Source(
            "translated aspect sentences",
            "sentiment_nl/aspects_translated.jsonl",
            _aspect,
            3500,
            1200,
            0.02,
            0.10,
            "M-ABSA, Dutch, machine-translated, no licence file",
        ),
        Source(
            "subtitles",
            "sentiment_nl/subtitles_projected.jsonl",
            _sentiment,
            700,
            200,
            0.02,
            0.10,
            "XED, Dutch projections (CC BY 4.0)",
        ),
        Source(
            "offensive tweets",
            "abuse/offensive_en.jsonl",
            _offensive,
            4500,
            2000,
            0.03,
            0.07,
            "OLID as in TweetEval, terms of the source set",
        ),
        Source(
            "Dutch social posts",
            "abuse/posts_nl.jsonl",
            _dutch_abuse,
            1100,
            1500,
            0.04,
            0.20,
            "IMSyPP evaluation half, no licence file",
        ),
    )


def load(
    corpora: Path, own: Path, side: Side, stage: Stage = Stage.EVERYTHING
) -> dict[str, list[Example]]:
    """Read one side of every set that ``stage`` draws from, by the set's name.

    Raises:
        FileNotFoundError: a set is not where it should be.
    """
    result = {}
    for source in sources():
        if not source.drawn(stage):
            continue
        examples = (
            source.read(row) for row in rows((own if source.own else corpora) / source.path)
        )
        result[source.name] = [
            replace(e, source=source.name)
            for e in examples
            if e is not None and side_of(e.group, source.dev, source.test) == side
        ]
    return result


def rows(path: Path) -> Iterator[Row]:
    """Rows of one JSON Lines file, or of all such files in a folder, in order of their names.

    Each row knows its place: ``_file`` and ``_line``.
    """
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    if not files:
        raise FileNotFoundError(f"no *.jsonl in {path}")
    for file in files:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines):
                yield {**json.loads(line), "_file": file.stem, "_line": number}


def side_of(group: str, dev: float, test: float) -> Side:
    """Where a group of posts belongs, the same in every run."""
    digest = hashlib.blake2b(group.encode(), digest_size=8).digest()
    place = int.from_bytes(digest, "big") / 2**64
    if place < dev:
        return "dev"
    return "test" if place < dev + test else "train"


def draw(
    examples: Mapping[str, list[Example]], rng: random.Random, stage: Stage = Stage.EVERYTHING
) -> list[Example]:
    """One round of training: from each set as many examples as its share says, shuffled later."""
    result: list[Example] = []
    for source in sources():
        pool = list(examples.get(source.name, ()))
        if not pool:
            continue
        if source.balance:
            pool = _balanced(pool, rng)
        wanted = source.drawn(stage)
        while wanted > 0:
            rng.shuffle(pool)
            result.extend(pool[:wanted])
            wanted -= len(pool)
    return result


def _balanced(pool: list[Example], rng: random.Random) -> list[Example]:
    """As many of each sentiment as the rarest has, at least a third of the commonest."""
    by_label: dict[int, list[Example]] = {}
    for example in pool:
        by_label.setdefault(example.sentiment, []).append(example)
    counts = [len(group) for group in by_label.values()]
    size = max(min(counts), max(counts) // 3)
    result = []
    for group in by_label.values():
        rng.shuffle(group)
        result.extend(group[:size])
    return result


def _example(row: Row, **labels: Any) -> Example | None:
    text = prepare(row["text"])
    if not text:
        return None
    group = labels.pop("group", text.casefold())
    return Example(text, "", group, language=str(row.get("lang", "")), raw=row["text"], **labels)


def _leak(row: Row) -> Example | None:
    leaks = bool(row["escalate"])
    # Twins often stand next to each other: blocks of thirty lines stay on one side.
    group = f"pair {row['pair']}" if "pair" in row else f"{row['_file']} {row['_line'] // 30}"
    return _example(
        row,
        leak=int(leaks),
        category=CATEGORIES.index(LeakCategory(row["category"])) if leaks else UNKNOWN,
        abuse=ABUSES.index(row.get("abuse", "none")),
        sentiment=SENTIMENTS.index(row["sentiment"]) if "sentiment" in row else UNKNOWN,
        group=group,
    )


def _brand(row: Row) -> Example | None:
    return _example(
        row,
        sentiment=SENTIMENTS.index(row["sentiment"]),
        abuse=ABUSES.index(row["abuse"]),
        leak=0,
        group=f"{row['_file']} {row['_line'] // 10}",
    )


def _threat(row: Row) -> Example | None:
    return _example(row, abuse=ABUSES.index(row["abuse"]), leak=0)


def _sentiment(row: Row) -> Example | None:
    if row["label"] not in SENTIMENTS:
        return None
    return _example(row, sentiment=SENTIMENTS.index(row["label"]), leak=0)


def _restaurant(row: Row) -> Example | None:
    # "no_opinion" is about the aspects that the set asks for: such a sentence may well praise or
    # blame something else. It stays an ordinary sentence without a mood.
    label = row["label"]
    if label not in {*SENTIMENTS, "no_opinion"}:
        return None
    mood = SENTIMENTS.index(label) if label in SENTIMENTS else UNKNOWN
    return _example(row, sentiment=mood, leak=0, abuse=_NO_ABUSE, group=row["review"])


def _aspect(row: Row) -> Example | None:
    label = {"none": "neutral"}.get(row["label"], row["label"])
    if label not in SENTIMENTS:
        return None
    return _example(row, sentiment=SENTIMENTS.index(label), leak=0, abuse=_NO_ABUSE)


def _offensive(row: Row) -> Example | None:
    offends = row["label"] == "offensive"
    return _example(row, abuse=ABUSES.index("abusive" if offends else "none"), leak=0)


def _dutch_abuse(row: Row) -> Example | None:
    label = {"offensive": "abusive", "violent": "threat", "appropriate": "none"}.get(row["label"])
    if label is None:  # "inappropriate": crude without insulting anybody, people disagree
        label = "none"
    return _example(row, abuse=ABUSES.index(label), leak=0)
