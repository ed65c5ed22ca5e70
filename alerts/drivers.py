"""What a spike is made of: how many voices, which words, stories, sources and languages, which mood.

Pure: figures and texts come in, JSON-serialisable facts for a signal come out. They hold no post's
text and no author. ``drivers`` of a signal's facts is::

    {"terms": [{"term": "hummus", "now": 23, "usual": 0.4}, …],       # voices that use it; up to 5
     "stories": [{"mention": 4711, "count": 40, "authors": 38, "share": 0.55}, …],    # up to 3
     "sources": [{"name": "x", "now": 61, "usual": 7.5}, …],          # mentions; most surprising first
     "languages": [{"code": "nl", "now": 0.92, "usual": 0.9}, …],     # parts of all
     "negative": {"share": 0.7, "usual": 0.2},
     "voices": {"authors": 52, "mentions": 73, "stories": 31},
     "reach": {"now": 14, "usual": 3.1}}                              # points for audiences

``mention`` is the id of the story's very first mention. What is not known is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter

from alerts.base import Chart, Severity
from alerts.spikestats import upper_quantile
from alerts.terms import Said, trends
from alerts.usual import CLIP

TERMS = 5
STORIES = 3
PLACES = 4

CHART_SPAN = timedelta(hours=48)
CHART_STEP = timedelta(minutes=30)

VOICES_FACTOR = 1.5
"""Voices stand out from this many times the usual on …"""
VOICES_EXCESS = 3.0
"""… and this many above it: what the most watchful sensitivity asks of counts."""

_DISPERSIONS = (0.0, *(0.01 * 1.25**step for step in range(30)))
"""Relative variances of a rate, from none to six, to find the one that a band shows."""

_CHART: TypeAdapter[Chart] = TypeAdapter(Chart)


class Shape(StrEnum):
    """Who is behind a spike: a closed set, the fact ``shape`` of a signal."""

    CROWD = "crowd"
    """Many authors say many things."""
    ONE_STORY = "one_story"
    """Many authors tell one post on: it goes round."""
    FEW_AUTHORS = "few_authors"
    """A few accounts say many things."""
    FEW_VOICES = "few_voices"
    """A few accounts say a few things over and over, as bots do."""


@dataclass(frozen=True, slots=True)
class Voices:
    """Different authors and stories of a stretch of time, beside all its mentions."""

    mentions: float
    authors: float
    stories: float


def shape_of(now: Voices, usual: Voices) -> Shape:
    """Tell a thousand voices from a post that is told on a thousand times.

    Args:
        now: what a spike is made of.
        usual: what is expected in that time.
    """
    many_authors = _stands_out(now.authors, usual.authors)
    many_stories = _stands_out(now.stories, usual.stories)
    if many_authors:
        return Shape.CROWD if many_stories else Shape.ONE_STORY
    return Shape.FEW_AUTHORS if many_stories else Shape.FEW_VOICES


def _stands_out(now: float, usual: float) -> bool:
    return now >= VOICES_FACTOR * usual and now - usual >= VOICES_EXCESS


def severity_of(severity: Severity, shape: Shape) -> Severity:
    """How grave a spike is, given who is behind it.

    Reshares are no voices: a post that goes round is worth a look, not a night's sleep. When people
    begin to say their own about it, it becomes a crowd, and as grave as any.
    """
    if shape is Shape.CROWD:
        return severity
    if shape is Shape.FEW_VOICES:
        return Severity(max(Severity.LOW, severity - 1))
    return min(severity, Severity.MEDIUM)


@dataclass(frozen=True, slots=True)
class Story:
    """A story of a spike."""

    mention: int
    """Id of its very first mention."""
    count: int
    authors: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known of a spike and of what is usual for its brand."""

    voices: Voices
    stories: Sequence[Story]
    """Told most first."""
    sources: Mapping[str, float]
    """Mentions by source."""
    usual_sources: Mapping[str, float]
    """Expected mentions by source."""
    negative: float | None
    """Part of the mentions that are negative."""
    usual_negative: float | None
    reach: float
    usual_reach: float
    said: Sequence[Said]
    """What is said now, or a sample of it."""
    usually_said: Sequence[Said]
    """What was said before, or a sample of it."""
    ignore: Collection[str]
    """The brand's own words: never a term."""


def drivers(evidence: Evidence) -> dict[str, Any]:
    """Give the fact ``drivers`` of a signal: see the head of this module."""
    voices = evidence.voices
    facts: dict[str, Any] = {
        "terms": [
            {"term": each.term, "now": each.now, "usual": round(each.usual, 1)}
            for each in trends(
                evidence.said, evidence.usually_said, ignore=evidence.ignore, most=TERMS
            )
        ],
        "stories": [
            {
                "mention": story.mention,
                "count": story.count,
                "authors": story.authors,
                "share": round(story.count / voices.mentions, 2) if voices.mentions else 0.0,
            }
            for story in evidence.stories[:STORIES]
        ],
        "sources": _sources(evidence),
        "languages": _languages(evidence),
        "voices": {
            "authors": round(voices.authors),
            "mentions": round(voices.mentions),
            "stories": round(voices.stories),
        },
        "reach": {"now": round(evidence.reach), "usual": round(evidence.usual_reach, 1)},
    }
    if evidence.negative is not None:
        facts["negative"] = {"share": round(evidence.negative, 2)}
        if evidence.usual_negative is not None:
            facts["negative"]["usual"] = round(evidence.usual_negative, 2)
    return facts


def _sources(evidence: Evidence) -> list[dict[str, Any]]:
    now, usual = evidence.sources, evidence.usual_sources
    names = sorted(now, key=lambda name: (usual.get(name, 0.0) - now[name], name))
    return [
        {"name": name, "now": round(now[name]), "usual": round(usual.get(name, 0.0), 1)}
        for name in names[:PLACES]
    ]


def _languages(evidence: Evidence) -> list[dict[str, Any]]:
    now = Counter(post.language for post in evidence.said)
    usual = Counter(post.language for post in evidence.usually_said)
    found = []
    for code, count in sorted(now.items(), key=lambda item: (-item[1], item[0]))[:PLACES]:
        fact: dict[str, Any] = {"code": code, "now": round(count / now.total(), 2)}
        if usual:
            fact["usual"] = round(usual[code] / usual.total(), 2)
        found.append(fact)
    return found


def chart(
    end: datetime,
    *,
    bucket: timedelta,
    count: Callable[[datetime], float | None],
    usual_at: Callable[[datetime], tuple[float, float]],
    rang_at: datetime,
) -> dict[str, Any]:
    """Give the fact ``chart`` of a signal: the last two days as JSON of :class:`alerts.base.Chart`.

    Args:
        end: end of the last bucket, aware.
        bucket: width of a bucket; a whole number of them is a step of the chart.
        count: of the bucket that starts at a moment; None where it was not listened to.
        usual_at: expected and highest ordinary count of the bucket that starts at a moment.
        rang_at: when the alarm rang.
    """
    start = end - CHART_SPAN
    observed: list[float | None] = []
    expected: list[float] = []
    upper: list[float] = []
    for step in range(CHART_SPAN // CHART_STEP):
        begin = start + step * CHART_STEP
        moments = [begin + place * bucket for place in range(CHART_STEP // bucket)]
        counted = [value for moment in moments if (value := count(moment)) is not None]
        # Half a step that was heard would look like a dip.
        observed.append(sum(counted) if len(counted) == len(moments) else None)
        usual, highest = _together([usual_at(moment) for moment in moments])
        expected.append(round(usual, 2))
        upper.append(round(highest, 2))
    picture = Chart(
        start=start,
        step=CHART_STEP,
        observed=tuple(observed),
        expected=tuple(expected),
        upper=tuple(upper),
        rang_at=rang_at,
    )
    facts: dict[str, Any] = _CHART.dump_python(picture, mode="json")
    return facts


def _together(bands: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Expected and highest ordinary count of some buckets in a row, from those of each.

    Highest counts do not add up: where two in five minutes are rare, twelve in half an hour are far
    rarer. What the buckets share is how much they vary, so that is read from them and used again.
    """
    expected = sum(usual for usual, _ in bands)
    if expected <= 0:
        return 0.0, 1.0
    usual, highest = expected / len(bands), sum(band[1] for band in bands) / len(bands)
    dispersion = min(
        _DISPERSIONS, key=lambda each: (abs(upper_quantile(usual, each, CLIP) - highest), each)
    )
    return expected, upper_quantile(expected, dispersion, CLIP)
