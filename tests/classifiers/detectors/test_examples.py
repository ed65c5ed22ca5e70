"""Every detector and every rule proves itself by its own examples."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.detectors import default_detectors, find_all, rules_version
from classifiers.detectors.phrases import PhraseDetector, all_phrases
from classifiers.detectors.secrets import SecretDetector, all_rules

DETECTORS = default_detectors(["project Zilvermeeuw"])
RULES = all_rules()
PHRASES = all_phrases()


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: d.name)
def test_a_detector_finds_what_it_must_and_nothing_it_must_not(detector):
    missed = [text for text in detector.must_match if not list(detector.find(text))]
    fooled = [text for text in detector.must_not_match if list(detector.find(text))]

    assert missed == []
    assert fooled == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_secret_rule_finds_its_own_examples(rule):
    alone = SecretDetector([rule])

    assert rule.must_match
    assert rule.must_not_match
    assert rule.why
    assert [text for text in rule.must_match if not list(alone.find(text))] == []
    assert [text for text in rule.must_not_match if list(alone.find(text))] == []


@pytest.mark.parametrize("phrase", PHRASES, ids=lambda phrase: phrase.id)
def test_a_phrase_rule_finds_its_own_examples(phrase):
    alone = PhraseDetector([phrase])

    assert phrase.why
    assert [text for text in phrase.must_match if not list(alone.find(text))] == []
    assert [text for text in phrase.must_not_match if list(alone.find(text))] == []


def test_ids_of_rules_and_names_of_detectors_are_unique():
    names = [rule.id for rule in RULES] + [phrase.id for phrase in PHRASES]
    names += [
        detector.name for detector in DETECTORS if detector.name not in {"secrets", "phrases"}
    ]

    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in names)


def test_keywords_are_lower_case_because_they_are_looked_for_in_lowered_text():
    assert [rule.id for rule in RULES if any(k != k.lower() for k in rule.keywords)] == []


@given(st.text(max_size=300))
def test_no_text_breaks_a_detector_and_spans_lie_within_it(text):
    for finding in find_all(DETECTORS, text):
        assert 0 <= finding.start < finding.end <= len(text)


HOSTILE = {
    "letters": "a" * 60_000,
    "digits": "7" * 60_000,
    "spaced digits": "1 " * 30_000,
    "dots": "a." * 30_000,
    "passwords": "password " * 7_000,
    "assignments": "key=" * 15_000,
    "addresses": "http://a.b?" * 6_000,
    "query": "https://a.bc/?" + "x=1&" * 15_000,
    "at signs": "a@" * 30_000,
    "backslashes": "\\\\a" * 20_000,
    "curl": "curl " * 12_000,
    "begin": "-----BEGIN " * 6_000,
    "ibans": "NL91 ABNA " * 6_000,
    "dashes": "-" * 60_000,
    "underscores": "_" * 60_000,
    "zero width": "a\u200b" * 30_000,
    "data": "data: " * 10_000,
    "kubernetes": "kind: secret data: " * 3_000,
    "tell-tale words": "ww " * 20_000,
    "names of secrets": "auth" * 15_000,
    "codes": "code is 4471 " * 5_000,
    "postcodes": "7391 AB 12 " * 5_500,
    "links": "http://a.b?x=1&" * 4_000,
    "escapes": "%41" * 20_000,
    "entities": "&#97;" * 12_000,
    "base64": "YWJj" * 15_000,
    "emoji": "😀" * 60_000,
    "mixed alphabets": "\u0430b" * 30_000,
    "overrides": "\u202eabc" * 15_000,
    "labels": "a.local " * 7_500,
    "paths": "C:\\a\\" * 12_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_costs_bounded_time(name):
    before = time.process_time()

    find_all(DETECTORS, HOSTILE[name])

    # 60,000 characters; a pattern with exponential or quadratic cost takes minutes.
    assert time.process_time() - before < 4.0


def test_the_version_of_the_rules_is_short_and_stable():
    assert rules_version() == rules_version()
    assert re.fullmatch(r"[0-9a-f]{8}", rules_version())


def test_a_secret_at_the_end_of_a_gigantic_post_is_found_at_its_place():
    text = "la " * 200_000 + "kluiscode is 4471"

    (found,) = find_all(DETECTORS, text)

    assert text[found.start : found.end] == "4471"
