"""Which mentions raise signals."""

import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from alerts.base import Severity, SignalKind
from alerts.rules import signals_of
from classifiers.base import Abuse, AbuseLabel, Confidence, Finding, LeakCategory
from classifiers.detectors import FINGERPRINT
from tests.alerts.make import assessment, finding, leak, mention

THREAT = Abuse(AbuseLabel.THREAT, 0.9)
EVIDENCE = (finding("NL91", "NL91"),)
INSULT = Abuse(AbuseLabel.ABUSIVE, 0.9)


def test_an_ordinary_angry_post_raises_nothing():
    assert signals_of(mention(), assessment(negative=0.99)) == []


@pytest.mark.parametrize("category", [each for each in LeakCategory if each != LeakCategory.NONE])
def test_a_leak_is_high_and_critical_where_harm_is_done_by_the_minute(category):
    (found,) = signals_of(mention(), assessment(leak=leak(category, findings=EVIDENCE)))

    grave = {LeakCategory.CREDENTIALS, LeakCategory.PERSONAL_DATA, LeakCategory.SECURITY}
    assert found.kind is SignalKind.LEAK
    assert found.severity is (Severity.CRITICAL if category in grave else Severity.HIGH)
    assert found.facts["category"] == category.value


@pytest.mark.parametrize("category", [each for each in LeakCategory if each != LeakCategory.NONE])
def test_a_doubtful_leak_is_a_step_less_severe_than_a_sure_one(category):
    for findings in (EVIDENCE, ()):
        (sure,) = signals_of(mention(), assessment(leak=leak(category, 0.9, findings)))
        (doubtful,) = signals_of(mention(), assessment(leak=leak(category, 0.89, findings)))
        assert doubtful.severity == sure.severity - 1


def test_the_word_of_the_model_alone_is_never_critical():
    for category in LeakCategory:
        if category is not LeakCategory.NONE:
            (found,) = signals_of(mention(), assessment(leak=leak(category, 0.99)))
            assert found.severity is Severity.HIGH


def test_a_doubtful_leak_wakes_nobody_by_default():
    (found,) = signals_of(mention(), assessment(leak=leak(LeakCategory.CREDENTIALS, 0.8)))
    assert found.severity is Severity.MEDIUM


def test_what_is_sure_by_itself_wakes_people_however_low_the_threshold_is():
    passage = Finding(FINGERPRINT, LeakCategory.PRODUCT, 0, 9, Confidence.HIGH, label="launch plan")
    judged = assessment(leak=leak(LeakCategory.PRODUCT, 0.7, (passage,)))

    (found,) = signals_of(mention(), judged)

    assert found.severity is Severity.HIGH
    (fact,) = found.facts["findings"]
    assert fact["label"] == "launch plan"


def test_a_leak_is_about_its_story_and_keyed_by_its_post():
    (found,) = signals_of(mention(number=7, story="s9"), assessment(leak=leak()))

    assert (found.subject, found.key) == ("s9", "leak:Zonnehoek:x:p7")
    assert found.mention_ids == (7,)


def test_the_same_mention_gives_the_same_keys_again():
    judged = assessment(leak=leak(), abuse=THREAT)

    first, second = signals_of(mention(), judged), signals_of(mention(), judged)

    assert [each.key for each in first] == [each.key for each in second]


def test_a_threat_that_leaks_is_both():
    shown = signals_of(mention(), assessment(leak=leak(findings=EVIDENCE), abuse=THREAT))
    known = signals_of(mention(), assessment(leak=leak(), abuse=THREAT))

    assert {each.kind for each in shown} == {SignalKind.LEAK, SignalKind.THREAT}
    assert {each.kind for each in known} == {SignalKind.THREAT}, "it shows nothing to anybody"
    assert len({each.key for each in shown}) == 2


def test_a_clear_insult_is_low_and_grouped_by_the_local_day():
    late = datetime(2026, 11, 13, 23, 30, tzinfo=UTC)

    (found,) = signals_of(
        mention(at=late), assessment(abuse=INSULT), timezone=ZoneInfo("Europe/Amsterdam")
    )

    assert (found.kind, found.severity) == (SignalKind.ABUSE, Severity.LOW)
    assert found.subject == "2026-11-14"


def test_a_doubtful_insult_raises_nothing():
    assert signals_of(mention(), assessment(abuse=Abuse(AbuseLabel.ABUSIVE, 0.6))) == []


@pytest.mark.parametrize(
    "judged",
    [
        assessment(abuse=THREAT),
        assessment(abuse=INSULT),
        assessment(leak=leak(LeakCategory.CREDENTIALS)),
        assessment(leak=leak(LeakCategory.INTERNAL), abuse=THREAT),
    ],
)
def test_an_official_account_that_abuses_or_leaks_is_one_critical_signal(judged):
    (found,) = signals_of(mention(official=True), judged)

    assert (found.kind, found.severity) == (SignalKind.OFFICIAL_ACCOUNT, Severity.CRITICAL)


def test_posts_of_one_official_account_are_about_that_account():
    judged = assessment(abuse=THREAT)

    (first,) = signals_of(mention(official=True, number=1, story="a"), judged)
    (second,) = signals_of(mention(official=True, number=2, story="b"), judged)

    assert first.subject == second.subject
    assert first.key != second.key


@pytest.mark.parametrize("category", [LeakCategory.PRODUCT, LeakCategory.FINANCIAL])
def test_what_an_official_account_announces_is_no_leak(category):
    assert signals_of(mention(official=True), assessment(leak=leak(category))) == []


def test_facts_say_why_without_the_leaked_value():
    text = "de pincode van de kluis is NL91ABNA0417164300 hoor"
    found = finding(text, "NL91ABNA0417164300")

    (raised,) = signals_of(
        mention(text), assessment(leak=leak(findings=(found,))), model_version="model-7"
    )

    facts = json.dumps(raised.facts)
    assert raised.facts["model"] == "model-7"
    assert raised.facts["matched"] == ["Zonnehoek"]
    assert raised.facts["findings"] == [
        {"detector": "iban", "category": "personal_data", "confidence": "high"}
    ]
    assert "NL91" not in facts
    assert str(found.start) not in facts
