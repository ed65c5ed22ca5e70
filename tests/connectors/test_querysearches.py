from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.query import Query
from connectors.querysearches import MOST_SEARCHES, hashtags, searches


def by_name(name: str) -> list[str]:
    return [name]


def asked(source: str) -> tuple[str, ...]:
    return searches(Query.parse(source).plan, by_name).texts


def missed(source: str) -> tuple[str, ...]:
    return searches(Query.parse(source).plan, by_name).missed


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("zonnehoek", ("zonnehoek",)),
        ("Zonnehoek -tuin", ("zonnehoek",)),
        ("=Boer", ("boer",)),
        ("zonnehoek OR zonnepas", ("zonnehoek", "zonnepas")),
        ("zonnehoek app", ("zonnehoek app",)),
        ("(zonnehoek OR zonnepas) app", ("app zonnehoek", "app zonnepas")),
        ('"zonne hoek" OR #hoek OR @hoek', ('"zonne hoek"', "#hoek", "hoek")),
        ("hummus NEAR/6 ziek", ("hummus ziek",)),
        ("café", ("cafe", "café")),
        ("domino's", ('"domino\'s"', "dominos")),
        ('zonnehoek "or"', ('zonnehoek "or"',)),
        ('"filiaal * zonnehoek"', ("filiaal zonnehoek",)),
        ("zonnehoek bezorg*", ("zonnehoek",)),
        ("zonnehoek*", ("zonnehoek",)),
        ("zonnehoek OR zonne*hoek", ("zonnehoek",)),
        ("*hoekpas kwijt", ("kwijt",)),
    ],
)
def test_a_query_becomes_searches(source: str, expected: tuple[str, ...]) -> None:
    assert asked(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("zonnehoek app", ()),
        ("zonnehoek bezorg*", ()),
        ("zonnehoek* OR pas", ("zonnehoek*",)),
        ("(zonnehoek OR zonnepas*) app", ()),
        ("zonne*hoek OR pas", ("zonne*hoek",)),
        ("@zonne* OR pas", ("@zonne*",)),
    ],
)
def test_what_is_missed_is_told(source: str, expected: tuple[str, ...]) -> None:
    assert missed(source) == expected


def test_a_query_of_mere_wildcards_inside_words_asks_nothing() -> None:
    assert asked("zonne*hoek") == ()


def test_too_many_alternatives_are_refused() -> None:
    source = " OR ".join(f"merk{number}" for number in range(MOST_SEARCHES + 1))
    with pytest.raises(ValueError, match="51 searches, 50 are allowed"):
        asked(source)


WORDS = st.sampled_from(["aap", "noot", "mies", "wim", "zus", "jet"])
QUERIES = st.recursive(
    WORDS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda two: f"({two[0]} OR {two[1]})"),
        st.tuples(inner, inner).map(lambda two: f"({two[0]} {two[1]})"),
        st.tuples(inner, WORDS).map(lambda two: f"({two[0]} -{two[1]})"),
    ),
    max_leaves=8,
)


@given(source=QUERIES, words=st.lists(WORDS, max_size=6))
@settings(max_examples=200, deadline=None)
def test_the_searches_find_whatever_the_query_finds(source: str, words: list[str]) -> None:
    text = " ".join(words)
    query = Query.parse(source)
    if query.match(text):
        found = searches(query.plan, by_name)
        assert not found.missed
        assert any(set(search.split()) <= set(words) for search in found.texts)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("zonnehoek OR #HoekFail OR @hoek", ("zonnehoek", "hoekfail")),
        ('"zonne hoek" -tuin', ("zonnehoek",)),
        ("zonnehoek app", ("zonnehoek",)),
        ("app #zonnehoek", ("zonnehoek",)),
        ("(zonnehoek OR zonnepas) NEAR/3 kwijt", ("zonnehoek", "zonnepas")),
        ("café OR zonnehoek*", ("cafe", "zonnehoek")),
        ("2026 OR domino's", ("dominos",)),
        ("@zonnehoek", ()),
    ],
)
def test_a_query_suggests_hashtags(source: str, expected: tuple[str, ...]) -> None:
    assert hashtags(Query.parse(source).plan) == expected
