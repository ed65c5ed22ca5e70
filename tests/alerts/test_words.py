"""The catalogue of words: complete in both languages, and right in its numbers and moments."""

import string
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import alerts.words
from alerts.base import DeliveryFault, Event, Reason, Severity, SignalKind
from alerts.words import LANGUAGES, words
from classifiers.base import Confidence, LeakCategory, SentimentLabel
from connectors.base import SourceFault

AMSTERDAM = ZoneInfo("Europe/Amsterdam")


def load(language: str) -> Mapping[str, Any]:
    path = Path(alerts.words.__file__).with_name(f"{language}.toml")
    return tomllib.loads(path.read_text(encoding="utf-8"))


def leaves(table: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{path}{key}.")
        elif isinstance(value, list):
            yield from ((f"{path}{key}[{place}]", text) for place, text in enumerate(value))
        else:
            yield f"{path}{key}", value


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_both_languages_have_the_same_keys():
    assert [key for key, _ in leaves(load("nl"))] == [key for key, _ in leaves(load("en"))]


def test_both_languages_fill_in_the_same_places():
    dutch, english = dict(leaves(load("nl"))), dict(leaves(load("en")))

    free = {"duration.minute.one", "duration.hour.one", "duration.day.one"}
    for key in dutch.keys() - free:
        assert placeholders(dutch[key]) == placeholders(english[key]), key


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_is_empty_or_carries_stray_blanks(language):
    for key, text in leaves(load(language)):
        assert text, key
        assert text == text.strip(), key
        assert "  " not in text, key


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_word_of_the_program_has_a_word_for_people(language):
    catalogue = load(language)

    assert set(catalogue["severity"]) == {each.word for each in Severity}
    assert set(catalogue["marker"]) == {each.value for each in Event}
    assert set(catalogue["kind"]) == {each.value for each in SignalKind}
    assert set(catalogue["rule"]) == {each.value for each in SignalKind}
    assert set(catalogue["title"]) == {each.value for each in SignalKind}
    assert set(catalogue["title"]["budget"]) == {"low", "out"}
    assert set(catalogue["title"]["leak"]) == {each.value for each in LeakCategory}
    assert set(catalogue["reveals"]) == {each.value for each in LeakCategory}
    assert set(catalogue["confidence"]) == {each.value for each in Confidence}
    assert set(catalogue["sentiment"]) == {each.value for each in SentimentLabel}
    assert set(catalogue["fault"]) == {each.value for each in SourceFault}
    assert set(catalogue["trouble"]) == {each.value for each in DeliveryFault}
    for kind in SignalKind:
        assert set(catalogue["summary"][kind.value]) == {each.value for each in Event}, kind
    told = {Reason.OPENED, Reason.WORSENED, Reason.CONTINUES, Reason.RESOLVED}
    now = set(catalogue["now"])
    assert {each.value for each in told} <= now <= {each.value for each in Reason}


def test_numbers_are_written_as_the_language_does():
    assert words("nl").number(1234567.5, 1) == "1.234.567,5"
    assert words("en").number(1234567.5, 1) == "1,234,567.5"


@pytest.mark.parametrize(
    ("share", "shown"), [(0.0, "1%"), (0.005, "1%"), (0.5, "50%"), (0.974, "97%"), (1.0, "99%")]
)
def test_a_probability_is_never_shown_as_certain(share, shown):
    assert words("nl").percent(share) == shown


@pytest.mark.parametrize(
    ("language", "full", "short"),
    [
        ("nl", "zondag 29 maart 2026 om 03:30 uur", "29 mrt 03:30"),
        ("en", "Sunday 29 March 2026 at 03:30", "29 Mar 03:30"),
    ],
)
def test_moments_are_local_also_on_the_day_the_clock_changes(language, full, short):
    moment = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)

    assert words(language).moment(moment, AMSTERDAM) == full
    assert words(language).short_moment(moment, AMSTERDAM) == short


@pytest.mark.parametrize(
    ("minutes", "dutch", "english"),
    [
        (1, "1 minuut", "1 minute"),
        (45, "45 minuten", "45 minutes"),
        (60, "1 uur", "1 hour"),
        (90, "90 minuten", "90 minutes"),
        (180, "3 uur", "3 hours"),
        (1440, "1 dag", "1 day"),
        (2880, "2 dagen", "2 days"),
    ],
)
def test_spans_are_told_in_their_largest_whole_unit(minutes, dutch, english):
    span = timedelta(minutes=minutes)

    assert (words("nl").duration(span), words("en").duration(span)) == (dutch, english)


def test_an_unknown_language_is_refused():
    with pytest.raises(ValueError, match="there are nl, en"):
        words("fy")


def test_an_unknown_word_is_shown_as_it_is():
    assert words("nl").name("detector", "brand_new-thing") == "brand new thing"
