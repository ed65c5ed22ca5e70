"""What a spike is made of: voices against reshares, and the facts that a message is made from."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from alerts.base import Chart, Severity
from alerts.drivers import Evidence, Shape, Story, Voices, chart, drivers, severity_of, shape_of
from alerts.spikestats import upper_quantile
from alerts.terms import Said
from alerts.usual import CLIP

NOON = datetime(2026, 11, 13, 11, 0, tzinfo=UTC)
BUCKET = timedelta(minutes=5)
USUAL = Voices(6, 5, 4)


@pytest.mark.parametrize(
    ("now", "shape"),
    [
        (Voices(1000, 900, 850), Shape.CROWD),
        (Voices(1000, 900, 3), Shape.ONE_STORY),
        (Voices(1000, 4, 700), Shape.FEW_AUTHORS),
        (Voices(1000, 4, 3), Shape.FEW_VOICES),
        (Voices(12, 11, 10), Shape.CROWD),
    ],
)
def test_a_thousand_voices_are_told_from_one_that_is_repeated(now: Voices, shape: Shape) -> None:
    assert shape_of(now, USUAL) is shape


def test_only_a_crowd_is_as_grave_as_the_series_says() -> None:
    graded = {
        shape: [severity_of(severity, shape) for severity in (Severity.MEDIUM, Severity.HIGH)]
        for shape in Shape
    }
    assert graded == {
        Shape.CROWD: [Severity.MEDIUM, Severity.HIGH],
        Shape.ONE_STORY: [Severity.MEDIUM, Severity.MEDIUM],
        Shape.FEW_AUTHORS: [Severity.MEDIUM, Severity.MEDIUM],
        Shape.FEW_VOICES: [Severity.LOW, Severity.MEDIUM],
    }


@given(st.integers(0, 500), st.integers(0, 500), st.floats(0, 100), st.floats(0, 100))
def test_another_voice_never_makes_less_of_a_crowd(
    authors: int, stories: int, usual_authors: float, usual_stories: float
) -> None:
    usual = Voices(500, usual_authors, usual_stories)
    before = shape_of(Voices(1000, authors, stories), usual)
    after = shape_of(Voices(1001, authors + 1, stories + 1), usual)
    assert severity_of(Severity.HIGH, after) >= severity_of(Severity.HIGH, before)


def evidence(**changes: object) -> Evidence:
    post = [Said(NOON, f"acme {word}", word, word) for word in ("een", "twee", "drie")]
    values: dict[str, object] = {
        "voices": Voices(40, 12, 5),
        "stories": [Story(7, 30, 11), Story(9, 6, 4), Story(3, 2, 2), Story(1, 1, 1)],
        "sources": {"x": 30, "news": 8, "blog": 2},
        "usual_sources": {"x": 28.04, "news": 1.0, "blog": 0.2, "forum": 3.0},
        "negative": 0.6,
        "usual_negative": 0.2,
        "reach": 9,
        "usual_reach": 2.345,
        "said": post,
        "usually_said": [*post, Said(NOON, "hello", "x", "y", "en")],
        "ignore": ("acme",),
    }
    return Evidence(**(values | changes))  # type: ignore[arg-type]


def test_the_facts_are_json_without_text_or_author() -> None:
    facts = drivers(evidence())
    assert facts == json.loads(json.dumps(facts))
    assert facts["stories"] == [
        {"mention": 7, "count": 30, "authors": 11, "share": 0.75},
        {"mention": 9, "count": 6, "authors": 4, "share": 0.15},
        {"mention": 3, "count": 2, "authors": 2, "share": 0.05},
    ]
    assert facts["sources"][0] == {"name": "news", "now": 8, "usual": 1.0}
    assert [each["name"] for each in facts["sources"]] == ["news", "x", "blog"]
    assert facts["languages"] == [{"code": "nl", "now": 1.0, "usual": 0.75}]
    assert facts["negative"] == {"share": 0.6, "usual": 0.2}
    assert facts["voices"] == {"authors": 12, "mentions": 40, "stories": 5}
    assert facts["reach"] == {"now": 9, "usual": 2.3}
    assert "twee" not in json.dumps(facts)


def test_what_is_not_known_is_left_out() -> None:
    empty = evidence(
        voices=Voices(0, 0, 0), stories=[Story(1, 0, 0)], sources={}, negative=None, said=[],
        usual_negative=None, usually_said=[],
    )  # fmt: skip
    facts = drivers(empty)
    assert "negative" not in facts
    assert facts["languages"] == facts["sources"] == facts["terms"] == []
    assert facts["stories"][0]["share"] == 0
    assert drivers(evidence(usual_negative=None))["negative"] == {"share": 0.6}


def draw(mean: float, dispersion: float = 0.2, dark: timedelta = timedelta()) -> Chart:
    def count(at: datetime) -> float | None:
        return None if NOON - at <= dark else 2

    facts = chart(
        NOON,
        bucket=BUCKET,
        count=count,
        usual_at=lambda at: (mean, upper_quantile(mean, dispersion, CLIP)),
        rang_at=NOON - BUCKET,
    )
    assert facts == json.loads(json.dumps(facts))
    return TypeAdapter(Chart).validate_python(facts)


def test_a_chart_shows_two_days_by_the_half_hour() -> None:
    shown = draw(1.0, dark=timedelta(minutes=40))
    assert shown.start == NOON - timedelta(hours=48)
    assert len(shown.observed) == len(shown.expected) == len(shown.upper) == 96
    assert shown.observed[:94] == (12,) * 94
    assert shown.observed[94:] == (None, None), "a step of which a part was dark says nothing"
    assert set(shown.expected) == {6.0}


@pytest.mark.parametrize(
    ("mean", "dispersion"), [(0.03, 0.5), (0.3, 0.8), (2, 0.2), (50, 0.1), (500, 0.05)]
)
def test_the_band_of_a_step_is_that_of_its_sum(mean: float, dispersion: float) -> None:
    shown = draw(mean, dispersion)
    wanted = upper_quantile(6 * mean, dispersion, CLIP)
    assert shown.upper[0] == pytest.approx(wanted, rel=0.3, abs=2)
    assert shown.upper[0] > shown.expected[0]
