"""The sentence that says why: plain, in both languages, and never a word of the post."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers import explain as module
from classifiers.base import (
    Confidence,
    Finding,
    Leak,
    LeakBand,
    LeakCategory,
    LeakThresholds,
    Prediction,
)
from classifiers.detectors import Kind, default_detectors, find_all
from classifiers.explain import LANGUAGES, MOST_THINGS, explain
from classifiers.leaks import decide

CATALOGUE = tomllib.loads(Path(module.__file__).with_suffix(".toml").read_text(encoding="utf-8"))
LEAKS = [category for category in LeakCategory if category is not LeakCategory.NONE]


def finding(
    detector: str,
    category: LeakCategory = LeakCategory.PERSONAL_DATA,
    confidence: Confidence = Confidence.MEDIUM,
) -> Finding:
    return Finding(detector, category, 0, 4, confidence)


def leak(
    *findings: Finding,
    band: LeakBand = LeakBand.ESCALATE,
    score: float = 0.93,
    likely: LeakCategory = LeakCategory.PRODUCT,
) -> Leak:
    return Leak(band, score, likely, findings)


def test_the_model_and_a_code_word_make_one_sentence() -> None:
    judged = leak(finding("watch-word", LeakCategory.PRODUCT))
    assert explain(judged) == (
        "Reads like product news that is not public yet (93%), and names a project code word."
    )
    assert explain(judged, "nl") == (
        "Leest als productnieuws dat nog niet openbaar is (93%), en noemt een codenaam van een project."
    )


def test_a_key_that_works_is_enough_alone() -> None:
    key = finding("aws-access-key", LeakCategory.CREDENTIALS, Confidence.HIGH)
    word = finding("password", LeakCategory.CREDENTIALS, Confidence.HIGH)
    assert explain(leak(key)) == "An AWS access key can be read in the post; that alone is enough."
    assert explain(leak(key), "nl") == (
        "Een toegangssleutel van AWS staat leesbaar in het bericht; dat alleen is genoeg."
    )
    assert explain(leak(key, word), "nl") == (
        "Een toegangssleutel van AWS en een wachtwoord staan leesbaar in het bericht; "
        "dat alleen is genoeg."
    )


def test_what_is_registered_is_called_that_whatever_its_category() -> None:
    known = finding("fingerprint", LeakCategory.FINANCIAL, Confidence.HIGH)
    assert "our register of secrets" in explain(leak(known))


def registered(label: str, confidence: Confidence = Confidence.HIGH) -> Finding:
    return Finding("fingerprint", LeakCategory.FINANCIAL, 0, 4, confidence, label=label)


def test_a_registered_document_is_called_what_the_operator_calls_it() -> None:
    assert explain(leak(registered("doc-7"))) == (
        "Something from “doc-7” in our register of secrets can be read in the post; "
        "that alone is enough."
    )
    assert explain(
        leak(registered("doc-7"), registered("Q3 cijfers"), registered("doc-7")), "nl"
    ) == (
        "Iets uit “doc-7” in ons register van geheimen en iets uit “Q3 cijfers” in ons register "
        "van geheimen staan leesbaar in het bericht; dat alleen is genoeg."
    )
    doubtful = leak(registered("doc-7", Confidence.MEDIUM))
    assert "and repeats something from “doc-7” in our register of secrets." in explain(doubtful)


@pytest.mark.parametrize("label", ["{things}", "a\nb", "\x1b[31mrood", "x" * 500, "\u202egnidne"])
def test_no_label_breaks_the_sentence(label: str) -> None:
    said = explain(leak(*(registered(f"{number}{label}") for number in range(5))))
    assert said.isprintable()
    assert len(said) < 300
    assert said.endswith("; that alone is enough.")


def test_doubt_is_said_as_doubt() -> None:
    judged = leak(band=LeakBand.REVIEW, score=0.52, likely=LeakCategory.INTERNAL)
    assert explain(judged) == (
        "Could be internal documents or conversations (52%): too unsure to wake anybody."
    )
    shown = leak(finding("iban"), band=LeakBand.REVIEW, score=0.52, likely=LeakCategory.INTERNAL)
    assert explain(shown).endswith("and the post shows an IBAN: too unsure to wake anybody.")


def test_what_weighed_nothing_is_no_reason() -> None:
    own = finding("iban", confidence=Confidence.LOW)
    phone = finding("phone", confidence=Confidence.MEDIUM)
    quiet = leak(own, phone, band=LeakBand.LOW, score=0.0001, likely=LeakCategory.NONE)
    assert explain(quiet) == "Does not read like a leak (1%)."


def test_an_ordinary_post_with_evidence_says_both_in_the_order_of_the_language() -> None:
    quiet = leak(
        finding("iban"),
        finding("internal-host", LeakCategory.SECURITY),
        band=LeakBand.LOW,
        score=0.1,
        likely=LeakCategory.NONE,
    )
    assert explain(quiet, "nl") == (
        "Leest niet als een lek (10%), al noemt het een interne server en toont het een IBAN."
    )


def test_a_language_without_words_is_refused() -> None:
    with pytest.raises(ValueError, match="nl, en"):
        explain(leak(), "fr")


FINDINGS = st.builds(
    finding,
    st.one_of(
        st.sampled_from(sorted(CATALOGUE["en"]["thing"])),
        st.sampled_from(["fingerprint", "odd-one"]),
    ),
    st.sampled_from(LEAKS),
    st.sampled_from(Confidence),
)


@given(
    opinion=st.floats(0, 1),
    findings=st.lists(FINDINGS, max_size=12),
    language=st.sampled_from(LANGUAGES),
)
def test_every_verdict_has_one_short_whole_sentence(
    opinion: float, findings: list[Finding], language: str
) -> None:
    verdict = decide(
        Prediction(leak=opinion), findings, thresholds=LeakThresholds(review=0.4, escalate=0.8)
    )
    said = explain(verdict, language)
    assert said[0].isupper()
    assert said.endswith(".")
    assert said.count(".") == 1
    assert "{" not in said
    assert "  " not in said
    assert len(said) < 300
    things = CATALOGUE[language]["thing"].values()
    assert sum(said.lower().count(thing.lower()) for thing in set(things)) <= MOST_THINGS * 3


SECRETS = (
    "Inloggen op de kassa: gebruiker jvanrijn wachtwoord Fietsbel!2291 en klaar",
    "rekening van mevrouw De Wit is NL91ABNA0417164300, bsn 111222333",
    "TLP:RED onze server core-fw-02 staat open, \\\\fs01\\HR\\salarissen.xlsx",
    "project lente komt in wk47",
)


@pytest.mark.parametrize("text", SECRETS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_of_a_post_is_repeated(text: str, language: str) -> None:
    findings = find_all(default_detectors(['"project lente"']), text)
    assert findings
    verdict = decide(
        Prediction(leak=0.9), findings, thresholds=LeakThresholds(review=0.4, escalate=0.8)
    )
    said = explain(verdict, language).lower()
    for found in findings:
        shown = text[found.start : found.end].lower()
        # What a marking says is its name.
        if found.detector not in {"tlp", "classification", "secrecy"}:
            assert shown not in said
    for token in re.findall(r"\S*\d\S*", text):
        assert token.lower() not in said


def test_both_languages_have_the_same_phrases_and_placeholders() -> None:
    def leaves(table: dict[str, object], path: str = "") -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for key, value in table.items():
            if isinstance(value, dict):
                found |= leaves(value, f"{path}{key}.")
            else:
                found[path + key] = set(re.findall(r"\{(\w+)\}", str(value)))
        return found

    assert leaves(CATALOGUE["nl"]) == leaves(CATALOGUE["en"])
    for language in LANGUAGES:
        assert set(CATALOGUE[language]["reading"]) == {each.value for each in LeakCategory}
        assert set(CATALOGUE[language]["verb"]) == {each.value for each in Kind}
        assert set(CATALOGUE[language]["sort"]) == {each.value for each in Kind}
        for band in LeakBand:
            assert {band.value, f"{band.value}_shown"} <= set(CATALOGUE[language]["sentence"])
