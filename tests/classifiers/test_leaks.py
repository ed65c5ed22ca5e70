"""Weighing a model's opinion and the detectors' evidence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.base import (
    Confidence,
    Finding,
    LeakBand,
    LeakCategory,
    LeakThresholds,
    Prediction,
)
from classifiers.detectors import default_detectors, find_all
from classifiers.leaks import decide
from tests.classifiers.fakes import finding, prediction

DETECTORS = default_detectors()
THRESHOLD = 0.6
THRESHOLDS = LeakThresholds(0.3, THRESHOLD)

PHONE = finding("phone", LeakCategory.PERSONAL_DATA, Confidence.HIGH)
EMAIL = finding("email", LeakCategory.PERSONAL_DATA, Confidence.HIGH)
SOMEBODYS_IBAN = finding("iban", LeakCategory.PERSONAL_DATA, Confidence.HIGH)
OWN_IBAN = finding("iban", LeakCategory.PERSONAL_DATA, Confidence.LOW)
PASSWORD = finding("password", LeakCategory.CREDENTIALS, Confidence.HIGH)
PERHAPS_A_PASSWORD = finding("password", LeakCategory.CREDENTIALS, Confidence.MEDIUM)
MARKING = finding("classification", LeakCategory.INTERNAL, Confidence.MEDIUM)
HOST = finding("internal-host", LeakCategory.SECURITY, Confidence.MEDIUM)
CODE_NAME = finding("watch-word", LeakCategory.INTERNAL, Confidence.MEDIUM)

evidence = st.lists(
    st.builds(
        finding,
        st.sampled_from(
            ["iban", "phone", "email", "password", "tlp", "watch-word", "internal-host"]
        ),
        st.sampled_from([c for c in LeakCategory if c is not LeakCategory.NONE]),
        st.sampled_from(list(Confidence)),
    ),
    max_size=6,
)
probability = st.floats(0.0, 1.0)
threshold = st.floats(0.05, 0.95)


def at(limit):
    return LeakThresholds(limit / 2, limit)


def test_without_evidence_the_score_is_the_models_own():
    assert decide(prediction(leak=0.37), [], thresholds=THRESHOLDS).score == pytest.approx(0.37)


def test_a_sure_secret_escalates_though_the_model_sees_nothing():
    leak = decide(prediction(leak=0.0001), [PASSWORD], thresholds=THRESHOLDS)

    assert leak.escalate
    assert leak.category is LeakCategory.CREDENTIALS


def test_a_sure_secret_escalates_where_there_is_no_model():
    assert decide(Prediction(), [PASSWORD], thresholds=at(0.9)).escalate


@pytest.mark.parametrize("contact", [PHONE, EMAIL])
def test_a_phone_number_or_an_address_weighs_nothing(contact):
    just_below = prediction(leak=THRESHOLD - 0.001)

    leak = decide(just_below, [contact, contact], thresholds=THRESHOLDS)

    assert not leak.escalate
    assert leak.score == pytest.approx(THRESHOLD - 0.001)
    assert leak.findings == (contact, contact)


def test_somebody_elses_account_sways_a_model_in_doubt_and_the_writers_own_does_not():
    doubt = prediction(leak=0.45, category=LeakCategory.PERSONAL_DATA)

    assert decide(doubt, [SOMEBODYS_IBAN], thresholds=THRESHOLDS).escalate
    assert not decide(doubt, [OWN_IBAN], thresholds=THRESHOLDS).escalate


def test_evidence_that_is_no_secret_never_outshouts_a_model_that_is_sure_of_the_contrary():
    everything = [SOMEBODYS_IBAN, MARKING, HOST, CODE_NAME] * 3

    assert not decide(prediction(leak=0.02), everything, thresholds=THRESHOLDS).escalate


def test_the_same_evidence_twice_counts_once():
    once = decide(prediction(leak=0.3), [MARKING], thresholds=THRESHOLDS)
    often = decide(prediction(leak=0.3), [MARKING] * 5, thresholds=THRESHOLDS)

    assert once.score == often.score


def test_the_models_category_stands_when_evidence_says_nothing_against_it():
    leak = decide(
        prediction(leak=0.95, category=LeakCategory.FINANCIAL), [PHONE], thresholds=THRESHOLDS
    )

    assert leak.category is LeakCategory.FINANCIAL


def test_evidence_decides_the_category_where_the_model_names_none():
    leak = decide(Prediction(leak=0.9), [MARKING, SOMEBODYS_IBAN], thresholds=THRESHOLDS)

    assert leak.category is LeakCategory.PERSONAL_DATA


def test_an_escalation_without_any_hint_of_a_category_is_internal():
    assert decide(Prediction(leak=0.9), [], thresholds=THRESHOLDS).category is LeakCategory.INTERNAL


@pytest.mark.parametrize("wrong", [(0.0, 0.5), (0.5, 1.0), (-1.0, 0.5), (0.7, 0.6), (0.1, 7.0)])
def test_thresholds_outside_the_open_interval_or_out_of_order_are_refused(wrong):
    with pytest.raises(ValueError, match="between 0 and 1"):
        LeakThresholds(*wrong)


def test_a_doubtful_post_is_put_up_for_review_with_a_likely_category_and_wakes_nobody():
    leak = decide(prediction(leak=0.45, category=LeakCategory.FINANCIAL), [], thresholds=THRESHOLDS)

    assert leak.band is LeakBand.REVIEW
    assert leak.likely is LeakCategory.FINANCIAL
    assert not leak.escalate
    assert leak.category is LeakCategory.NONE


@given(probability, probability, evidence, threshold)
def test_the_score_never_falls_when_the_model_is_surer(one, other, findings, limit):
    low, high = sorted((one, other))

    below = decide(Prediction(leak=low), findings, thresholds=at(limit))
    above = decide(Prediction(leak=high), findings, thresholds=at(limit))

    assert below.score <= above.score
    assert below.escalate <= above.escalate


@given(probability, evidence, evidence, threshold)
def test_the_score_never_falls_when_evidence_is_added(opinion, some, more, limit):
    little = decide(Prediction(leak=opinion), some, thresholds=at(limit))
    much = decide(Prediction(leak=opinion), [*some, *more], thresholds=at(limit))

    assert little.score <= much.score + 1e-12


@given(probability, evidence, threshold)
def test_a_finding_that_becomes_surer_never_lowers_the_score(opinion, findings, limit):
    surer = [Finding(f.detector, f.category, f.start, f.end, Confidence.HIGH) for f in findings]

    before = decide(Prediction(leak=opinion), findings, thresholds=at(limit))
    after = decide(Prediction(leak=opinion), surer, thresholds=at(limit))

    assert before.score <= after.score + 1e-12


@given(probability, evidence, threshold)
def test_escalation_is_the_score_at_the_threshold_and_only_it_has_a_category(
    opinion, findings, limit
):
    leak = decide(Prediction(leak=opinion), findings, thresholds=at(limit))

    assert leak.escalate == (leak.score >= limit)
    assert (leak.band is LeakBand.LOW) == (leak.score < limit / 2)
    assert (leak.likely is LeakCategory.NONE) == (leak.band is LeakBand.LOW)
    assert (leak.category is LeakCategory.NONE) == (not leak.escalate)
    assert 0.0 <= leak.score <= 1.0


@pytest.mark.parametrize(
    ("text", "escalates"),
    [
        ("hallo @zorgloket mijn bsn is 782130033 en ik wacht al 6 weken", False),
        ("Hierbij mijn rekeningnummer, NL46HAVB0501161139 t.n.v. J. Mulder", False),
        ("doneer op NL46HAVB0501161139, de stichting dankt u", False),
        ("bel de klantenservice op 0900-1234 of mail info@teasel.example", False),
        ("Tip: zet 2FA aan, en nee, 'Welkom01' telt niet", False),
        ("kluiscode Goirle nog steeds 4471 hè", True),
        ("Inloggen op de bondspagina, wachtwoord Kampioen1988! en dan op uitslag", True),
    ],
)
def test_evidence_alone_wakes_people_for_secrets_only(text, escalates):
    leak = decide(Prediction(leak=0.05), find_all(DETECTORS, text), thresholds=THRESHOLDS)

    assert leak.escalate is escalates


def test_somebodys_identifier_without_any_password_is_personal_data():
    opinion = prediction(leak=0.95, category=LeakCategory.CREDENTIALS)
    address = finding("address", LeakCategory.PERSONAL_DATA, Confidence.MEDIUM)

    assert decide(opinion, [], thresholds=THRESHOLDS).category is LeakCategory.CREDENTIALS
    assert decide(opinion, [address], thresholds=THRESHOLDS).category is LeakCategory.PERSONAL_DATA
    both = decide(opinion, [address, PERHAPS_A_PASSWORD], thresholds=THRESHOLDS)
    assert both.category is LeakCategory.CREDENTIALS
