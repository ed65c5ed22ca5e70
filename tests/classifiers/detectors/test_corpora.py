"""What the detectors reach on public corpora. The floors are what was measured, a little lower.

Run with ``MERKWACHT_CORPORA=/folder/with/the/corpora``; skipped without it. Nothing of the corpora
is printed: they hold real people's posts.
"""

import json

import pytest

from classifiers.base import Confidence, LeakCategory
from classifiers.detectors import default_detectors, find_all, identifiers
from classifiers.masking import mask

pytestmark = pytest.mark.corpora

DETECTORS = default_detectors()
IDENTIFIERS = {detector.name: detector for detector in identifiers.detectors()}


def rows(corpora, name):
    with (corpora / name).open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def shows_secret(text):
    return any(
        finding.category is LeakCategory.CREDENTIALS and finding.confidence is not Confidence.LOW
        for finding in find_all(DETECTORS, text)
    )


def share(hits):
    hits = list(hits)
    return sum(hits) / len(hits)


def test_secrets_of_the_gitleaks_samples_are_found_and_false_ones_pass(corpora):
    samples = [row for row in rows(corpora, "leak_secrets/gitleaks_samples.jsonl") if row["text"]]
    true = {row["text"] for row in samples if row["label"] == "secret"}
    # A text that must not match one rule is often a true secret of another: those are left out.
    false = {row["text"] for row in samples if row["label"] == "not_secret"} - true

    assert share(shows_secret(text) for text in true) >= 0.97
    assert share(not shows_secret(text) for text in false) >= 0.94


def test_dutch_identifiers_are_told_from_false_ones(corpora):
    frames = {
        "bsn": ("bsn", "BSN {}"),
        "iban_nl": ("iban", "{}"),
        "kvk": ("kvk", "KvK {}"),
        "btw": ("btw", "btw {}"),
        "phone_nl": ("phone", "bel {}"),
        "postcode": ("address", "{} 12"),
    }
    for row in rows(corpora, "leak_pii/nl_identifiers.jsonl"):
        if row["type"] in frames:
            name, frame = frames[row["type"]]
            found = list(IDENTIFIERS[name].find(frame.format(row["value"])))
            assert bool(found) == (row["label"] == "valid"), (row["type"], row["label"])


def test_phone_numbers_and_mail_addresses_in_dutch_texts_are_found_and_masked(corpora):
    kinds = {"telefoonnummer": "phone", "emailadres": "email"}
    spans = [
        (row["text"], span)
        for row in rows(corpora, "leak_pii/spans_nl.jsonl")
        for span in row["spans"]
        if span["type"] in kinds
    ]

    assert len(spans) >= 30
    for text, span in spans:
        found = list(IDENTIFIERS[kinds[span["type"]]].find(text))
        assert any(f.start < span["end"] and span["start"] < f.end for f in found)
        assert span["value"] not in mask(text, ())


@pytest.mark.parametrize(
    "name",
    [
        "sentiment_en/semeval_pool.jsonl",
        "sentiment_nl/political_tweets.jsonl",
        "sentiment_nl/restaurants.jsonl",
        "abuse/posts_nl.jsonl",
    ],
)
def test_hardly_any_ordinary_post_shows_evidence_of_high_confidence(corpora, name):
    posts = rows(corpora, name)[:5000]
    alarmed = sum(
        any(f.confidence is Confidence.HIGH for f in find_all(DETECTORS, post["text"]))
        for post in posts
    )

    assert alarmed <= len(posts) / 2000
