"""Joining language, sentiment, leak and abuse."""

import json

import pytest

from classifiers.assessor import Assessor, to_contract
from classifiers.base import (
    AbuseLabel,
    LeakCategory,
    LeakThresholds,
    Prediction,
    SentimentLabel,
    Text,
)
from classifiers.detectors import default_detectors
from tests.classifiers.fakes import FakeLanguage, FakeModel, prediction

DETECTORS = default_detectors()


def assessor(model, **options):
    settings = {
        "language": FakeLanguage(),
        "detectors": DETECTORS,
        "leak_thresholds": LeakThresholds(0.3, 0.6),
    }
    return Assessor(model, **{**settings, **options})


def test_assessments_come_in_the_order_of_the_texts():
    model = FakeModel(
        {
            "fijn": prediction(leak=0.01, sentiment=SentimentLabel.POSITIVE),
            "naar": prediction(leak=0.01, sentiment=SentimentLabel.NEGATIVE),
        }
    )

    labels = [a.sentiment.label for a in assessor(model).classify([Text("naar"), Text("fijn")])]

    assert labels == [SentimentLabel.NEGATIVE, SentimentLabel.POSITIVE]


def test_no_texts_ask_nothing_of_the_model():
    model = FakeModel()

    assert assessor(model).classify([]) == []
    assert model.asked == []


def test_a_leak_carries_its_evidence_with_offsets_into_the_text_as_given():
    text = "poortcode in Nieuwegein is nu 8820# 😬"

    (assessment,) = assessor(FakeModel(otherwise=prediction(leak=0.1))).classify([Text(text)])

    assert assessment.leak.escalate
    assert assessment.leak.category is LeakCategory.CREDENTIALS
    (found,) = assessment.leak.findings
    assert text[found.start : found.end] == "8820#"


def test_offsets_point_into_the_text_as_given_though_it_hides_characters():
    text = "haar rekening is N\u200bL79 VEEN 0967 3226\u200b 18 zei ze"

    (assessment,) = assessor(FakeModel(otherwise=prediction(leak=0.1))).classify([Text(text)])

    (found,) = assessment.leak.findings
    assert found.detector == "iban"
    assert text[found.start : found.end] == "N\u200bL79 VEEN 0967 3226\u200b 18"


def test_the_language_comes_from_the_identifier_which_hears_the_hint():
    said = assessor(FakeModel()).classify([Text("hoi", "nl"), Text("zzz")])

    assert [a.language for a in said] == ["nl", "und"]


def test_a_model_without_heads_leaves_sentiment_and_abuse_undecided():
    (assessment,) = assessor(FakeModel(otherwise=Prediction())).classify([Text("hoi")])

    assert assessment.sentiment.label is SentimentLabel.NEUTRAL
    assert sum(assessment.sentiment.scores.values()) == pytest.approx(1.0)
    assert assessment.abuse.label is AbuseLabel.NONE
    assert assessment.abuse.score == 0.0


def test_models_of_ones_own_are_asked_for_sentiment_and_abuse():
    embedded = FakeModel(otherwise=prediction(leak=0.9, category=LeakCategory.PRODUCT))
    mood = FakeModel(otherwise=prediction(sentiment=SentimentLabel.POSITIVE), version="mood-2")
    manners = FakeModel(otherwise=prediction(threat=0.9), version="manners-3")

    own = assessor(embedded, sentiment_model=mood, abuse_model=manners)
    (assessment,) = own.classify([Text("hoi")])

    assert assessment.sentiment.label is SentimentLabel.POSITIVE
    assert assessment.abuse.label is AbuseLabel.THREAT
    assert assessment.leak.category is LeakCategory.PRODUCT
    assert "mood-2" in own.version
    assert "manners-3" in own.version


def test_one_model_for_everything_is_asked_once():
    model = FakeModel(otherwise=prediction(leak=0.1))

    assessor(model).classify([Text("a"), Text("b")])

    assert model.asked == ["a", "b"]


@pytest.mark.parametrize(
    ("abusive", "threat", "label"),
    [
        (0.05, 0.01, AbuseLabel.NONE),
        (0.45, 0.05, AbuseLabel.NONE),
        (0.70, 0.10, AbuseLabel.ABUSIVE),
        (0.40, 0.30, AbuseLabel.ABUSIVE),
        (0.30, 0.55, AbuseLabel.THREAT),
    ],
)
def test_doubt_about_abuse_goes_to_none_and_a_likely_threat_is_named(abusive, threat, label):
    model = FakeModel(otherwise=prediction(abusive=abusive, threat=threat))

    (assessment,) = assessor(model).classify([Text("x")])

    assert assessment.abuse.label is label
    assert assessment.abuse.score == pytest.approx(abusive + threat)


def test_the_version_changes_with_model_threshold_and_watch_words_and_only_then():
    base = assessor(FakeModel()).version

    assert assessor(FakeModel()).version == base
    assert assessor(FakeModel(version="fake-2")).version != base
    assert assessor(FakeModel(), leak_thresholds=LeakThresholds(0.3, 0.7)).version != base
    with_words = default_detectors(["project Zilvermeeuw"])
    assert assessor(FakeModel(), detectors=with_words).version != base
    other_words = default_detectors(["project Aalscholver"])
    assert (
        assessor(FakeModel(), detectors=with_words).version
        != assessor(FakeModel(), detectors=other_words).version
    )


def test_a_watch_word_lifts_a_model_in_doubt():
    doubt = FakeModel(otherwise=prediction(leak=0.45, category=LeakCategory.PRODUCT))
    text = Text("heb je Zilvermeeuw al gezien? staat hier op mijn bureau")

    (without,) = assessor(doubt).classify([text])
    (told,) = assessor(doubt, detectors=default_detectors(["zilvermeeuw"])).classify([text])

    assert not without.leak.escalate
    assert told.leak.escalate
    assert told.leak.category is LeakCategory.PRODUCT


def test_the_contracts_object_has_exactly_its_keys_and_is_json():
    text = "user planning, wachtwoord K44iman-Gent24"
    model = FakeModel(otherwise=prediction(leak=0.97, sentiment=SentimentLabel.NEGATIVE))
    (assessment,) = assessor(model).classify([Text(text, "nl")])

    told = json.loads(json.dumps(to_contract(assessment, "1")))

    assert list(told) == ["id", "language", "sentiment", "leak", "abuse"]
    assert told["id"] == "1"
    assert told["language"] == "nl"
    assert told["sentiment"] == {
        "label": "negative",
        "scores": {"negative": 0.8, "neutral": 0.1, "positive": 0.1},
    }
    assert told["leak"]["escalate"] is True
    assert told["leak"]["category"] == "credentials"
    (found,) = told["leak"]["findings"]
    assert found == {
        "detector": "password",
        "category": "credentials",
        "start": 26,
        "end": 40,
        "confidence": "high",
    }
    assert told["abuse"] == {"label": "none", "score": 0.0}


@pytest.mark.parametrize("odd", ["", " ", "\x00", "\ud800", "😀" * 5000, "a" * 20_000, "\u202e"])
def test_no_text_is_too_odd_to_assess(odd):
    (assessment,) = assessor(FakeModel(otherwise=prediction(leak=0.1))).classify([Text(odd)])

    assert not assessment.leak.escalate
