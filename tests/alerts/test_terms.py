"""Trending terms: what people say more than usual, and never who or what must not be told."""

from __future__ import annotations

import random
import string
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.terms import HISTORY, LEAST, Said, Trend, may_be_shown, trends
from classifiers.base import Confidence, Finding, LeakCategory

FRIDAY = datetime(2026, 11, 13, 10, 0, tzinfo=UTC)
DUTCH = (
    "de kassa bij acme was weer eens dicht", "het brood van acme is vandaag erg lekker",
    "ik kan bij acme nooit parkeren voor de deur", "wat een rij bij de kassa van acme zeg",
    "de bezorger van acme kwam een uur te laat", "korting op kaas bij acme en niemand die het weet",
)  # fmt: skip
ENGLISH = (
    "the bread at acme is really good this week", "why is the acme store never open on time",
    "the people at acme are so kind to me",
)  # fmt: skip


def said(
    text: str,
    number: int,
    *,
    days: float = 0,
    author: str | None = None,
    story: str | None = None,
    language: str = "nl",
    findings: tuple[Finding, ...] = (),
) -> Said:
    at = FRIDAY - timedelta(days=days) + timedelta(seconds=number)
    return Said(at, text, author or f"a{number}", story or f"s{number}", language, findings)


def past(amount: int = 200, texts: tuple[str, ...] = DUTCH, language: str = "nl") -> list[Said]:
    return [
        said(texts[number % len(texts)], number, days=1 + number % 12, language=language)
        for number in range(amount)
    ]


def today(texts: list[str], **more: str) -> list[Said]:
    return [said(text, 1000 + number, **more) for number, text in enumerate(texts)]  # type: ignore[arg-type]


def terms(found: list[Trend]) -> list[str]:
    return [each.term for each in found]


def test_what_many_say_and_nobody_said_before_stands_out() -> None:
    now = today([f"ziek van de hummus bij acme {DUTCH[n % 6]}" for n in range(12)])
    (first, *_) = found = trends(now, past(), ignore=["acme"])
    assert {"hummus", "ziek"} >= set(terms(found)[:1])
    assert first.now == 12
    assert first.usual < 0.5
    assert "acme" not in terms(found)


def test_an_ordinary_day_has_no_terms() -> None:
    assert trends(today(list(DUTCH) * 5), past(), ignore=["acme"]) == []


def test_neither_one_author_nor_one_story_makes_a_term() -> None:
    texts = [f"hummus bij acme {word} {DUTCH[n % 6]}" for n, word in enumerate("abcdefghij")]
    assert "hummus" in terms(trends(today(texts), past(), ignore=["acme"]))
    assert trends(today(texts, author="bot"), past(), ignore=["acme"]) == []
    assert trends(today(texts, story="viral"), past(), ignore=["acme"]) == []


def test_a_spike_in_another_language_does_not_make_its_ordinary_words_terms() -> None:
    now = [
        said(f"{ENGLISH[n % 3]} but the recall is scary", 1000 + n, language="en")
        for n in range(20)
    ]
    few = past() + past(12, ENGLISH, "en")
    found = terms(trends(now, few, ignore=["acme"], most=30))
    assert "recall" in " ".join(found)
    assert not {"the", "is", "but", "this", "why", "are"} & set(found)


def test_a_phrase_stands_for_its_words() -> None:
    now = today([f"weer een lege schappen actie {DUTCH[n % 6]}" for n in range(10)])
    found = terms(trends(now, past(), ignore=["acme"]))
    assert any(" " in term for term in found)
    words = [word for term in found for word in term.split()]
    assert len(words) == len(set(words)), "nothing is said twice"


def test_endings_of_one_word_are_one_term() -> None:
    forms = ["hummus", "hummusschap", "hummusgate"]
    now = today([f"over {forms[n % 3]} {DUTCH[n % 6]}" for n in range(18)])
    assert len([t for t in terms(trends(now, past(), ignore=["acme"])) if "hummus" in t]) == 1


def test_a_hashtag_stays_as_it_was_written() -> None:
    now = today([f"#BoycotAcme! {DUTCH[n % 6]}" for n in range(10)])
    assert terms(trends(now, past(), ignore=["acme"])) == ["#BoycotAcme"]


def test_the_brands_own_words_are_no_news_however_they_are_written() -> None:
    now = today([f"ACME's #acme acmé 'Acme Super' {DUTCH[n % 6]}" for n in range(10)])
    assert trends(now, past(), ignore=["acme", "acme super"]) == []


def test_names_of_days_are_no_news() -> None:
    now = today([f"vrijdag november {DUTCH[n % 6]}" for n in range(20)])
    assert trends(now, past(), ignore=["acme"]) == []


PRIVATE = [
    "@fatima_dv heeft gelijk",
    "u/fatima_dv zegt het",
    "mail naar fatima.devries@example.nl",
    "bel 0612345678 nu",
    "op NL91ABNA0417164300 gestort",
    "zie https://acme.example/geheim",
    "volgens Fatima de Vries",
    "de collega Fatima is ontslagen",
    "het wachtwoord is Zonnebloem22!",
    "de code van de deur is 4711",
    "mevrouw Kruithof weet er van",
    "klaag bij Sjonnie Kruithof in de winkel",
]


@pytest.mark.parametrize("secret", PRIVATE)
def test_what_could_name_or_betray_somebody_is_no_term(secret: str) -> None:
    now = today([f"dit: {secret} en {DUTCH[n % 6]}" for n in range(12)])
    found = " ".join(terms(trends(now, past(), ignore=["acme"], most=50))).casefold()
    for part in (
        "fatima",
        "vries",
        "06",
        "nl91",
        "abna",
        "geheim",
        "zonnebloem",
        "4711",
        "kruithof",
    ):
        assert part not in found
    assert not any(char.isdigit() or char == "@" for char in found)


def test_what_a_detector_found_is_no_term() -> None:
    text = "project Zilvermeeuw komt eraan"
    start = text.index("Zilvermeeuw")
    found = Finding("watch-word", LeakCategory.PRODUCT, start, start + 11, Confidence.HIGH)
    free = today([text.lower().replace("project", f"project {w}") for w in "abcdefgh"])
    assert "zilvermeeuw" in " ".join(terms(trends(free, past(), ignore=["acme"])))
    hidden = [said(text, 1000 + number, findings=(found,)) for number in range(8)]
    assert "zilver" not in " ".join(terms(trends(hidden, past(), ignore=["acme"]))).lower()


@pytest.mark.parametrize(
    ("text", "term", "shown"),
    [
        ("ziek van de hummus", "hummus", True),
        ("leeg hummusschap gezien", "hummus", True),
        ("kassa van Harskamp dicht", "harskamp", True),
        ("weer die Fatima aan de kassa", "fatima", False),
        ("klaag bij Sjonnie Kruithof in de winkel", "kruithof", False),
        ("mail naar kruithof@acme.nl graag", "kruithof", False),
        ("het wachtwoord is zonnebloem22", "zonnebloem", False),
        ("hier staat het niet", "hummus", False),
    ],
)
def test_a_word_on_many_lips_is_told_unless_it_names_somebody(
    text: str, term: str, shown: bool
) -> None:
    assert may_be_shown(term, today([f"dus {text}"] * 5)) is shown


def test_places_and_abbreviations_are_shown() -> None:
    now = today([f"bij acme in Harskamp kwam de NVWA, {DUTCH[n % 6]}" for n in range(12)])
    found = terms(trends(now, past(), ignore=["acme"]))
    assert {"Harskamp", "NVWA"} <= set(found)


def test_with_too_little_history_nothing_is_unusual() -> None:
    now = today([f"hummus {DUTCH[n % 6]}" for n in range(12)])
    assert trends(now, past(HISTORY - 1), ignore=["acme"]) == []
    assert trends([], past()) == []
    assert trends(now, []) == []


def test_a_dozen_quiet_days_show_hardly_anything() -> None:
    drawn = random.Random(5)
    syllables = ["bo", "ka", "ri", "mo", "lu", "te", "sa", "ni", "po", "ve"]
    vocabulary = ["".join(drawn.choices(syllables, k=3)) for _ in range(600)]
    weights = [1 / (rank + 3) for rank in range(600)]

    def day(number: int, amount: int) -> list[Said]:
        return [
            said(" ".join(drawn.choices(vocabulary, weights, k=12)), number * 1000 + n, days=1)
            for n in range(amount)
        ]

    before = day(0, 250)
    shown = [each for number in range(1, 13) for each in trends(day(number, 60), before)]
    assert len(shown) <= 4, "one on every third list at most"


WORDS = st.sampled_from(["hummus", "acme", "schap", "leeg", "Jan", "@iemand", "06-12345678", "#x"])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(WORDS, min_size=1, max_size=8).map(" ".join), max_size=25))
def test_whatever_is_said_a_term_is_shared_and_harmless(texts: list[str]) -> None:
    found = trends(today(texts), past(80), ignore=["acme"])
    allowed = set(string.ascii_letters + " #'")
    for each in found:
        assert each.now >= LEAST
        assert each.now >= 2 * each.usual
        assert set(each.term) <= allowed
        assert "iemand" not in each.term
        assert each.term.casefold() != "acme"
    assert found == trends(reversed(today(texts)), past(80), ignore=["acme"])
