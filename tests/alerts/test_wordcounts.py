"""Counts of words in memory that does not grow."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.wordcounts import WordCounts


@given(st.lists(st.text(max_size=6), max_size=60))
def test_a_count_is_never_too_small_and_exact_while_few_words_are_known(words: list[str]) -> None:
    counts, exact = WordCounts(), Counter(words)
    for word in words:
        counts.add(word)
    assert all(counts.count(word) >= often for word, often in exact.items())
    assert sum(counts.count(word) for word in exact) <= 1.1 * exact.total() + 1


def test_a_long_tail_of_words_hardly_blurs_the_counts() -> None:
    counts, random_ = WordCounts(), random.Random(1)
    exact: Counter[str] = Counter()
    for _ in range(20_000):  # A month of a brand with 65 mentions a day.
        word = f"w{int(random_.paretovariate(0.7)) % 50_000}"
        exact[word] += 1
        counts.add(word)
    over = [counts.count(word) - often for word, often in exact.items()]
    assert min(over) >= 0
    assert sum(over) / len(over) < 1
    assert sum(counts.count(f"unheard {number}") for number in range(1000)) < 1000


def test_what_was_counted_fades_by_half_and_goes() -> None:
    counts = WordCounts()
    words = [f"word {number}" for number in range(400)]
    for word in words * 5:
        counts.add(word)
    counts.fade()
    assert 2.2 < sum(counts.count(word) for word in words) / len(words) < 2.8
    for _ in range(4):
        counts.fade()
    assert sum(counts.count(word) for word in words) < len(words)


def test_no_count_goes_over_its_end() -> None:
    counts = WordCounts()
    for _ in range(70_000):
        counts.add("de")
    assert counts.count("de") == 0xFFFF


@given(st.lists(st.text(max_size=4), max_size=40), st.integers(0, 3))
def test_counting_goes_on_from_a_snapshot(words: list[str], fades: int) -> None:
    whole = WordCounts()
    for word in words:
        whole.add(word)
    for _ in range(fades):
        whole.fade()
    other = WordCounts()
    other.load(json.loads(json.dumps(whole.snapshot())))
    for each in (whole, other):
        each.add("more")
        each.fade()
    assert other.snapshot() == whole.snapshot()


def test_a_damaged_snapshot_is_refused() -> None:
    with pytest.raises(ValueError, match="damaged"):
        WordCounts().load(["AAAA", 0])
