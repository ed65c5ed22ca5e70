"""The formulas of evaluation: known values, and what must hold for any labels."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.scoring import (
    Share,
    accuracy,
    average_precision,
    f1_of,
    fewest_mistakes,
    macro_f1,
    macro_recall,
    precision,
    recall,
)

SCORED = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5001, 0.9, 1.0])), max_size=30
)
LABELLED = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), max_size=30)


def test_wilson_agrees_with_published_values() -> None:
    # Newcombe (1998), Statistics in Medicine 17, table I: method 3, score without correction.
    for hits, of, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)):
        interval = Share(hits, of).interval
        assert interval is not None
        assert interval == pytest.approx((low, high), abs=5e-5)
    assert Share(0, 20).interval == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert Share(1, 29).interval == pytest.approx((0.0061, 0.1718), abs=5e-5)


@given(hits=st.integers(0, 500), misses=st.integers(0, 500))
def test_an_interval_holds_its_share_and_narrows_with_more_posts(hits: int, misses: int) -> None:
    share = Share(hits, hits + misses)
    if not share.of:
        assert share.value is None
        assert share.interval is None
        return
    assert share.value is not None
    assert share.interval is not None
    low, high = share.interval
    assert 0.0 <= low <= share.value <= high <= 1.0
    wider = Share(hits * 4, share.of * 4).interval
    assert wider is not None
    assert wider[1] - wider[0] < high - low


def test_average_precision_agrees_with_known_values() -> None:
    # The first is the example in the documentation of scikit-learn's average_precision_score.
    assert average_precision([False, False, True, True], [0.1, 0.4, 0.35, 0.8]) == pytest.approx(
        0.8333333333
    )
    assert average_precision([True, False, True], [0.5, 0.5, 0.5]) == pytest.approx(2 / 3)
    assert average_precision([False], [0.5]) is None
    assert average_precision([], []) is None


@given(SCORED)
def test_average_precision_is_the_sum_of_its_steps(pairs: list[tuple[bool, float]]) -> None:
    truth = [true for true, _ in pairs]
    scores = [score for _, score in pairs]
    area, before = Fraction(0), Fraction(0)
    for threshold in sorted(set(scores), reverse=True):
        alarms = [score >= threshold for score in scores]
        right, found = precision(truth, alarms), recall(truth, alarms)
        if found.of:
            reached = Fraction(found.hits, found.of)
            area += (reached - before) * Fraction(right.hits, right.of)
            before = reached
    known = average_precision(truth, scores)
    if not any(truth):
        assert known is None
        return
    assert known == pytest.approx(float(area))


@given(SCORED)
def test_only_the_order_of_scores_counts(pairs: list[tuple[bool, float]]) -> None:
    truth = [true for true, _ in pairs]
    scores = [score for _, score in pairs]
    assert average_precision(truth, scores) == average_precision(
        truth, [math.exp(3 * score) - 7 for score in scores]
    )
    assert average_precision(truth[::-1], scores[::-1]) == average_precision(truth, scores)


@given(LABELLED)
def test_label_figures_are_what_counting_gives(pairs: list[tuple[str, str]]) -> None:
    truth, said = [a for a, _ in pairs], [b for _, b in pairs]
    there = set(truth) | set(said)
    scores = []
    for label in there:
        hits = pairs.count((label, label))
        right = precision([a == label for a in truth], [b == label for b in said])
        found = recall([a == label for a in truth], [b == label for b in said])
        assert right.hits == found.hits == hits
        both = (right.value or 0.0) + (found.value or 0.0)
        scores.append(2 * (right.value or 0.0) * (found.value or 0.0) / both if both else 0.0)
        assert f1_of(label, truth, said) == pytest.approx(scores[-1])
    for labels in ("abc", sorted(there)):
        known = macro_f1(labels, truth, said)
        assert (known is None) == (not pairs)
        if known is not None:
            assert known == pytest.approx(sum(scores) / len(scores))
    share = accuracy(truth, said)
    assert share == (sum(a == b for a, b in pairs) / len(pairs) if pairs else None)
    if truth == said and pairs:
        assert macro_recall("abc", truth, said) == 1.0


def test_macro_recall_leaves_out_what_is_not_there() -> None:
    assert macro_recall("abc", ["a", "a", "b"], ["a", "c", "b"]) == pytest.approx(0.75)
    assert macro_f1("abc", ["a", "a", "b"], ["a", "c", "b"]) == pytest.approx((2 / 3 + 1 + 0) / 3)


@given(SCORED.filter(bool))
def test_no_threshold_makes_fewer_mistakes_than_the_best(pairs: list[tuple[bool, float]]) -> None:
    truth = [true for true, _ in pairs]
    scores = [score for _, score in pairs]

    def mistakes(threshold: float) -> int:
        return sum((score >= threshold) != true for true, score in pairs)

    best, least = fewest_mistakes(truth, scores)
    assert 0.0 < best < 1.0
    ordered = sorted({0.0, *scores, 1.0})
    between = [(a + b) / 2 for a, b in pairwise(ordered)]
    within = [threshold for threshold in between if 0.0 < threshold < 1.0]
    if 0.0 not in scores and 1.0 not in scores:
        assert mistakes(best) == least
    assert all(least <= mistakes(threshold) for threshold in within)


def test_nothing_gives_no_threshold() -> None:
    with pytest.raises(ValueError, match="no scores"):
        fewest_mistakes([], [])
