"""What people do to a text when they pass it on does not matter; what it says does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.register.words import RARE_BITS, bits_of, words_of


def read(text: str) -> list[str]:
    return [word.text for word in words_of(text)]


PLAIN = "de prijs van zilvermeeuw is geheim"


@pytest.mark.parametrize(
    "disguised",
    [
        "DE PRIJS VAN ZILVERMEEUW IS GEHEIM",
        "“de prijs” van *zilvermeeuw* is: geheim!!!",
        "> de prijs\n> van zilvermeeuw\n> is geheim",
        "de\u00a0prijs van zilver\u200bmeeuw is ge\u00adheim",
        "dé prĳs vàn zïlvermëeuw is gehéim",
        "ｄｅ ｐｒｉｊｓ van zilvermeeuw is geheim",
        "de \U0001d429\U0001d42b\U0001d422\U0001d423\U0001d42c van zilvermeeuw is geheim",
        "dе рrіjѕ van zilvеrmeeuw is gehеim",
        "\u202ede prijs\u202c van zilvermeeuw is geheim",
        "de_prijs_van_zilvermeeuw_is_geheim",
    ],
)
def test_a_disguise_changes_nothing(disguised: str) -> None:
    assert read(disguised) == read(PLAIN)


@pytest.mark.parametrize(
    "spellings",
    [
        ["€ 1.250.000", "1250000 euro", "1,250,000 EUR"],
        ["38%", "38 procent", "38 percent"],
        ["Q3", "q 3", "kwartaal drie"],
        ["41,7 mln", "41.7 miljoen", "41.7 million"],
        ["foto's", "fotos", "foto’s"],
        ["12 maart", "twaalf March", "12 maart!"],
    ],
)
def test_spellings_of_one_thing_are_one(spellings: list[str]) -> None:
    first, *others = [sorted(read(text)) for text in spellings]
    assert all(other == first for other in others)


def test_different_words_stay_different() -> None:
    assert read("de bank is dicht") != read("de banken zijn dicht")
    assert read("1250") != read("1251")


def test_places_point_into_the_text_as_given() -> None:
    text = "Zo\u200bmer, «prĳs»: €\u00a02,49 … ﬁets"
    shown = [text[word.start : word.end] for word in words_of(text)]
    assert shown == ["Zo\u200bmer", "prĳs", "€", "2,49", "ﬁets"]


def test_common_words_tell_little_and_rare_ones_much() -> None:
    assert bits_of("het") < 7
    assert bits_of("the") < 7
    assert bits_of("zilvermeeuw") == RARE_BITS
    assert bits_of("2026") < bits_of("4471")


@given(st.text(max_size=400))
def test_no_text_breaks_it_and_places_are_in_order(text: str) -> None:
    last = 0
    for word in words_of(text):
        assert word.text
        assert last <= word.start < word.end <= len(text)
        last = word.start
        assert 0 < word.bits <= RARE_BITS
