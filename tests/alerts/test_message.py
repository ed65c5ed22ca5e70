"""What a message says."""

import json
import unicodedata
from datetime import UTC, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.base import Event, Message, Reason, Sample, Severity, SignalKind
from alerts.message import Exhibit, compose, from_json, heading, sample_line, to_json
from alerts.plain import one_line, plain, shorten
from alerts.rules import signals_of
from classifiers.base import Abuse, AbuseLabel, Confidence, Finding, LeakCategory
from classifiers.detectors import FINGERPRINT
from tests.alerts.make import (
    AMSTERDAM,
    NOON,
    SPIKE_FACTS,
    assessment,
    finding,
    incident,
    leak,
    mention,
    message,
    minutes,
    signal,
)


def all_text(shown: Message) -> str:
    return json.dumps(to_json(shown), ensure_ascii=False)


@pytest.mark.parametrize("language", ["nl", "en"])
@pytest.mark.parametrize("event", list(Event))
@pytest.mark.parametrize("kind", list(SignalKind))
def test_every_kind_and_event_is_told_in_full_sentences(kind, event, language):
    shown = message(kind, event, language=language)

    assert shown.summary.endswith(".")
    assert shown.actions
    assert all(action.endswith((".", "?")) for action in shown.actions)
    assert shown.why
    for text in (shown.title, shown.summary, *shown.actions, *dict(shown.why).values()):
        assert text
        assert not set(text) & set("{}\n\r")
    assert from_json(json.loads(json.dumps(to_json(shown)))) == shown


def test_a_leak_says_what_why_since_when_and_what_to_do():
    text = "Klantenlijst staat online, mevrouw met NL91ABNA0417164300 staat erin @iemand"
    post = mention(text, at=NOON - minutes(7))
    judged = assessment(leak=leak(findings=(finding(text, "NL91ABNA0417164300"),)))

    shown = compose(
        incident(),
        Event.OPENED,
        Reason.OPENED,
        signals=signals_of(post, judged, model_version="model-7"),
        exhibits=[Exhibit(post, judged)],
        total_mentions=1,
        language="nl",
        timezone=AMSTERDAM,
    )

    assert heading(shown) == "[Kritiek] Zonnehoek: persoonsgegevens mogelijk op straat"
    assert shown.summary == (
        "Op X staat een openbaar bericht dat gegevens van anderen uit onze administratie"
        " lijkt te tonen."
    )
    assert shown.since == NOON - minutes(7)
    why = dict(shown.why)
    assert next(iter(why)) == "Kort gezegd"
    assert why["Kort gezegd"] == (
        "Leest als gegevens van anderen uit onze administratie (97%), en toont een IBAN."
    )
    assert why["Zekerheid"] == "vrijwel zeker (97%)"
    assert why["Herkend"] == "IBAN (grote zekerheid)"
    assert why["Gevonden op"] == "“Zonnehoek”"
    assert why["Beoordeeld door"] == "model-7"
    assert "privacyfunctionaris" in shown.actions[0]
    assert "72 uur" in shown.actions[0]
    (sample,) = shown.samples
    assert "Klantenlijst staat online" in sample.text
    assert sample.author == "auteur d1e2"


def test_what_leaked_and_who_is_named_is_in_no_part_of_a_message():
    text = "bel @jansen op 06-12345678, wachtwoord: Zonnetje2024! rekening NL91ABNA0417164300"
    judged = assessment(
        leak=leak(LeakCategory.CREDENTIALS, findings=(finding(text, "NL91ABNA0417164300"),))
    )
    post = mention(text)

    shown = message(
        exhibits=[Exhibit(post, judged)], signals=signals_of(post, judged, model_version="m")
    )

    for planted in ("jansen", "12345678", "Zonnetje2024", "0417164300", "9f3ca7d1e2"):
        assert planted not in all_text(shown)


def test_the_brands_own_handle_stays_readable():
    shown = message(
        exhibits=[Exhibit(mention("hoi @zonnehoek en @piet"), None)], keep_handles=("zonnehoek",)
    )

    assert shown.samples[0].text == "hoi @zonnehoek en @…"


def test_a_crisis_tells_counts_against_expected_and_when_to_speak():
    shown = message(SignalKind.NEGATIVITY_SPIKE, total=64)

    assert shown.summary == (
        "Over Zonnehoek verschijnen veel meer negatieve berichten dan normaal."
        " Geteld: 64 negatieve berichten in 30 minuten, verwacht: ongeveer 3."
    )
    why = dict(shown.why)
    assert why["Geteld"] == "64 negatieve berichten (20 keer zoveel als verwacht)"
    assert why["Stemmen"] == "58 auteurs, 41 verschillende berichten"
    assert shown.since == NOON - minutes(30)
    # Opened at noon in Amsterdam: a statement within the hour.
    assert any("13:00" in action for action in shown.actions)
    assert "crisisteam" in " ".join(shown.actions)
    assert shown.more_samples == 63


def test_once_the_hour_has_passed_the_statement_is_due_at_once():
    running = incident(SignalKind.VOLUME_SPIKE, opened_at=NOON, last_signal_at=NOON + minutes(61))

    shown = compose(
        running,
        Event.CONTINUES,
        Reason.CONTINUES,
        signals=[],
        exhibits=[],
        total_mentions=0,
        language="nl",
        timezone=AMSTERDAM,
    )

    assert "13:00" not in " ".join(shown.actions)
    assert "nu meteen" in " ".join(shown.actions)


def test_of_a_lasting_crisis_the_latest_figures_are_told_and_the_first_moment_kept():
    first = signal(SignalKind.VOLUME_SPIKE, facts=SPIKE_FACTS, severity=Severity.HIGH)
    last = signal(
        SignalKind.VOLUME_SPIKE,
        at=NOON + minutes(90),
        facts={**SPIKE_FACTS, "observed": 210, "since": (NOON + minutes(60)).isoformat()},
        severity=Severity.HIGH,
    )

    shown = message(SignalKind.VOLUME_SPIKE, Event.CONTINUES, signals=[last, first], language="en")

    assert dict(shown.why)["Counted"] == "210 posts (66 times what was expected)"
    assert shown.since == NOON - minutes(30)


def test_examples_of_a_crisis_are_the_negative_ones_that_many_saw_one_of_each_story():
    exhibits = [
        Exhibit(mention("stil", number=1, followers=3), assessment(negative=0.9)),
        Exhibit(mention("blij", number=2, followers=90_000), assessment(negative=0.01)),
        Exhibit(mention("boos", number=3, followers=50_000), assessment(negative=0.95)),
        Exhibit(
            mention("boos!", number=4, followers=10, story="story-3"), assessment(negative=0.95)
        ),
        Exhibit(mention("woest", number=5, followers=700), assessment(negative=0.97)),
    ]

    shown = message(SignalKind.NEGATIVITY_SPIKE, exhibits=exhibits, total=40)

    assert [each.text for each in shown.samples] == ["boos", "woest", "stil"]
    assert shown.samples[0].sentiment == "negatief"
    assert shown.more_samples == 37


def test_of_a_leak_the_leaking_post_comes_first():
    exhibits = [
        Exhibit(
            mention("beroemd", number=2, followers=9_000_000), assessment(leak=leak(score=0.99))
        ),
        Exhibit(mention("het lek", number=1, followers=1), assessment(leak=leak(score=0.9))),
    ]

    assert message(exhibits=exhibits).samples[0].text == "het lek"


def test_the_title_is_the_same_at_every_event_so_that_mails_stay_together():
    titles = {message(event=event).title for event in Event}

    assert len(titles) == 1
    assert {heading(message(event=event)).split("]")[0] for event in Event} == {
        "[Kritiek",
        "[Ernstiger: kritiek",
        "[Gaat door",
        "[Gesloten",
    }


def test_the_all_clear_shows_no_posts_and_says_what_to_learn():
    shown = message(event=Event.RESOLVED, total=9)

    assert shown.samples == ()
    assert shown.summary.endswith("Het ging om 9 berichten.")
    assert "beleid" in " ".join(shown.actions)


def test_a_silent_source_needs_no_brand():
    shown = message(SignalKind.SILENT_SOURCE, brand="", exhibits=[])

    assert shown.title == "Bron nieuws zwijgt"
    assert dict(shown.why)["Oorzaak"] == "antwoordt niet op tijd"


def test_a_threat_goes_to_security_first():
    post = mention("ik weet je te vinden")
    judged = assessment(abuse=Abuse(AbuseLabel.THREAT, 0.91))

    shown = message(
        SignalKind.THREAT,
        exhibits=[Exhibit(post, judged)],
        signals=signals_of(post, judged),
        severity=Severity.HIGH,
        language="en",
    )

    assert "security" in shown.actions[0]
    assert dict(shown.why)["Certainty"] == "very likely (91%)"


def test_times_are_in_the_configured_zone():
    shown = message(timezone="America/New_York")

    assert "06:00" in sample_line(shown.samples[0], shown)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "https://x.example/a b",
        "https://x.example/a\nb",
        "https://x.example/<script>",
        'https://x.example/"onload=',
        "https://x.example/a|b",
        "ftp://x.example",
        "https://x.example/" + "a" * 3000,
    ],
)
def test_an_address_that_is_no_plain_web_address_is_not_shown(url):
    shown = message(exhibits=[Exhibit(mention(url=url), None)])

    assert shown.samples[0].url is None


def test_signals_without_facts_still_make_a_message():
    for kind in SignalKind:
        shown = message(kind, signals=[signal(kind)], exhibits=[])
        assert shown.title
        assert shown.since == NOON


def test_no_signals_at_all_still_make_a_message():
    assert message(signals=[], exhibits=[], total=0).since == NOON


def test_an_unknown_zone_is_refused():
    with pytest.raises((ValueError, KeyError)):
        message(timezone="Europe/Nergens")


texts = st.text(max_size=80)
moments = st.datetimes(timezones=st.just(UTC))


@given(
    st.builds(
        Message,
        incident_id=st.integers(0, 2**40),
        brand=texts,
        kind=st.sampled_from(SignalKind),
        severity=st.sampled_from(Severity),
        event=st.sampled_from(Event),
        language=st.sampled_from(["nl", "en"]),
        title=texts,
        summary=texts,
        since=moments,
        timezone=st.just(AMSTERDAM),
        why=st.lists(st.tuples(texts, texts), max_size=3).map(tuple),
        samples=st.lists(
            st.builds(
                Sample,
                text=texts,
                platform=texts,
                author=texts,
                published_at=moments,
                url=st.none() | texts,
                followers=st.none() | st.integers(0, 2**40),
                sentiment=st.none() | texts,
            ),
            max_size=3,
        ).map(tuple),
        more_samples=st.integers(0, 2**31),
        actions=st.lists(texts, max_size=3).map(tuple),
        link=st.none() | texts,
    )
)
def test_what_the_outbox_keeps_is_what_was_said(shown):
    kept = json.loads(json.dumps(to_json(shown)))

    assert from_json(kept) == shown


def test_a_message_from_an_older_program_is_still_read():
    kept = to_json(message())
    for later in ("samples", "more_samples", "actions", "link", "why"):
        del kept[later]

    assert from_json(kept).title == message().title


def test_what_is_no_message_is_refused():
    with pytest.raises(ValueError, match="incident_id"):
        from_json({"title": "x"})


@settings(max_examples=60)
@given(st.text(), st.text(max_size=40), st.text(max_size=40))
def test_any_post_brand_and_term_gives_one_line_titles_and_clean_samples(text, brand, term):
    post = mention(text, brand=brand, matched=(term,), author=term)
    judged = assessment(leak=leak())

    shown = message(brand=brand, exhibits=[Exhibit(post, judged)], signals=signals_of(post, judged))

    for line in (shown.title, shown.summary, *dict(shown.why).values(), *shown.actions):
        assert line.splitlines() in ([line], [])
        assert not {unicodedata.category(char) for char in line} & {"Cc", "Cs", "Zl", "Zp"}
    assert len(shown.samples[0].text) <= 280
    assert from_json(json.loads(json.dumps(to_json(shown)))) == shown


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("a\x00b\x1bc", "a b c"),
        ("gpj.\u202eexe", "gpj.exe"),
        ("a\n\n\n\n\nb", "a\n\nb"),
        ("\ud800x", "x"),
        ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
    ],
)
def test_plain_text_says_but_does_not_steer(given, kept):
    assert plain(given) == kept


@given(st.text(max_size=300), st.integers(1, 80))
def test_one_line_is_one_line_within_its_limit(text, limit):
    line = one_line(text, limit)

    assert len(line) <= limit
    assert line.splitlines() in ([line], [])


def test_a_text_is_cut_at_a_word():
    assert shorten("een twee drie vier", 14) == "een twee drie…"
    assert shorten("een", 3) == "een"
    assert shorten("aaaaaaaaaaaaaaaa", 5) == "aaaa…"


def test_a_burst_of_a_hundred_posts_is_one_short_message():
    exhibits = [Exhibit(mention("au " * 400, number=n), assessment()) for n in range(100)]

    shown = message(SignalKind.NEGATIVITY_SPIKE, exhibits=exhibits, total=31_000)

    assert len(shown.samples) == 3
    assert shown.more_samples == 30_997
    assert len(all_text(shown)) < 6_000
    assert timedelta(0) <= NOON - shown.since


@pytest.mark.parametrize(
    ("language", "found", "hidden"),
    [
        ("nl", "geregistreerde tekst “launch plan” (grote zekerheid)", "[geregistreerde tekst]"),
        ("en", "registered text “launch plan” (high confidence)", "[registered text]"),
    ],
)
def test_a_registered_passage_is_named_and_not_repeated(language, found, hidden):
    text = "Kijk eens hier. De marge daarop is 38 procent, mag niemand weten. Nou!"
    start = text.index("38 procent")
    passage = Finding(
        FINGERPRINT, LeakCategory.PRODUCT, start, start + 10, Confidence.HIGH, label="launch plan"
    )
    post, judged = mention(text), assessment(leak=leak(LeakCategory.PRODUCT, 0.95, (passage,)))

    shown = message(
        language=language, signals=signals_of(post, judged), exhibits=[Exhibit(post, judged)]
    )

    assert found in dict(shown.why).values()
    assert "“launch plan”" in dict(shown.why)["Kort gezegd" if language == "nl" else "In short"]
    assert shown.samples[0].text == f"Kijk eens hier. {hidden} Nou!"
    assert "marge" not in all_text(shown)


@pytest.mark.parametrize(
    "label", ["<!channel> *x*", "a\nBcc: b", "\u202exe.cod", "y" * 5000, 7, None, ["z"]]
)
def test_no_label_steers_a_message(label):
    fact = {"detector": "fingerprint", "category": "product", "confidence": "high", "label": label}
    facts = {"category": "product", "leak_score": 0.9, "findings": [fact] * 20}

    shown = message(signals=[signal(facts=facts)])

    for value in dict(shown.why).values():
        assert "\n" not in value
        assert "\u202e" not in value
        assert len(value) <= 600
