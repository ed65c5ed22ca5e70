"""The chart of a spike: a real PNG, a sentence, a line of text."""

from __future__ import annotations

import struct
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.base import Chart, Event, SignalKind
from alerts.chart import bars, chart_line, describe, draw
from alerts.letter import render
from alerts.message import from_json, to_json
from tests.alerts.make import AMSTERDAM, DRIVERS, NOON, SPIKE_FACTS, chart, message, signal

SPIKES = (SignalKind.VOLUME_SPIKE, SignalKind.NEGATIVITY_SPIKE, SignalKind.TOPIC_BURST)


def kept(drawn: Chart) -> dict[str, object]:
    """A chart as a signal's facts carry it."""
    return {
        "start": drawn.start.isoformat(),
        "step": drawn.step.total_seconds(),
        "observed": list(drawn.observed),
        "expected": list(drawn.expected),
        "upper": list(drawn.upper),
        "rang_at": None if drawn.rang_at is None else drawn.rang_at.isoformat(),
    }


def spike(kind=SignalKind.VOLUME_SPIKE, event=Event.OPENED, *, language="nl", **facts):
    known = {**SPIKE_FACTS, "chart": kept(chart()), "drivers": DRIVERS, "term": "hummus", **facts}
    return message(kind, event, language=language, signals=[signal(kind, facts=known)])


@pytest.mark.parametrize("language", ["nl", "en"])
def test_a_chart_is_drawn_as_a_picture_twice_as_wide_as_a_mail(language):
    picture = draw(chart(), language=language, timezone=AMSTERDAM)
    assert picture is not None
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", picture[16:24]) == (1280, 500)
    assert len(picture) < 100_000


def test_what_is_drawn_depends_on_the_counts_the_band_and_the_alarm():
    usual = draw(chart(), language="nl", timezone=AMSTERDAM)
    assert draw(chart(), language="nl", timezone=AMSTERDAM) == usual
    for other in (chart(rang_at=None), chart([3.0] * 96), chart([None, *[3.0] * 95])):
        assert draw(other, language="nl", timezone=AMSTERDAM) != usual


@given(
    st.lists(st.none() | st.floats(0, 1e9), min_size=1, max_size=200),
    st.sampled_from([60, 900, 1800, 3600]),
)
def test_every_chart_has_a_line_of_bars_as_long_as_its_parts(observed, seconds):
    drawn = Chart(
        NOON, timedelta(seconds=seconds), tuple(observed), (1.0,) * len(observed),
        (2.0,) * len(observed),
    )  # fmt: skip
    line = bars(drawn)
    assert line == "" or 1 <= len(line) <= 24
    assert set(line) <= set("▁▂▃▄▅▆▇█·")
    assert ("█" in line) == any(
        value for value in observed[-len(observed) // 24 * 24 :] if value
    ) or (len(observed) > 24)
    assert describe(drawn, language="nl", timezone=AMSTERDAM)


def test_a_dark_source_is_a_dot_and_no_zero():
    assert bars(chart([0.0] * 12 + [None] * 6 + [2.0] * 6)) == "▁" * 12 + "·" * 6 + "█" * 6


def test_a_chart_without_a_single_count_says_nothing():
    assert chart_line(chart([None] * 96), language="nl") == ""
    assert "30 minuten" in describe(chart([None] * 96), language="nl", timezone=AMSTERDAM)


def test_a_sentence_says_what_the_picture_shows():
    assert describe(chart(), language="nl", timezone=AMSTERDAM) == (
        "Berichten per 30 minuten in de laatste 48 uur. Hoogste: 40 op 13 nov 12:00; "
        "verwacht was toen 4."
    )


def test_an_expectation_of_next_to_nothing_is_not_told_as_none():
    few = chart()
    few = replace(few, expected=(0.3,) * len(few.observed))
    assert describe(few, language="nl", timezone=AMSTERDAM).endswith("toen minder dan 1.")
    assert describe(few, language="en", timezone=AMSTERDAM).endswith(
        "less than 1 were expected then."
    )


@pytest.mark.parametrize(("share", "told"), [(1.0, "100%"), (0.7, "70%"), (0.0, "0%")])
def test_a_part_of_what_was_counted_is_told_as_it_is(share, told):
    drivers = {
        "negative": {"share": share, "usual": share},
        "stories": [{"mention": 1, "count": 40, "authors": 38, "share": share}],
    }
    why = dict(spike(drivers=drivers).why)
    assert why["Stemming"] == f"{told} negatief (anders {told})"
    if share:
        assert told in why["Grootste bericht"]


@pytest.mark.parametrize("kind", SPIKES)
def test_a_spikes_message_carries_its_chart_through_the_outbox(kind):
    told = from_json(to_json(spike(kind)))
    assert told.chart == chart()


def test_an_all_clear_and_other_incidents_carry_no_chart():
    assert spike(event=Event.RESOLVED).chart is None
    assert message(SignalKind.LEAK).chart is None


def test_a_chart_that_cannot_be_read_does_not_stop_the_alert():
    assert spike(chart={"start": "yesterday"}).chart is None


def test_the_message_says_what_the_spike_is_made_of():
    why = dict(spike().why)
    assert why["Waarover"] == "“hummus” (31, anders nooit), “winkel” (12, anders 4)"
    assert why["Grootste bericht"] == (
        "één bericht is 41% van het geheel: 26 keer geplaatst of gedeeld, door 22 auteurs"
    )
    assert why["Waar"] == "x 50 (anders 2), nieuws 14 (anders 1)"
    assert why["Stemming"] == "62% negatief (anders 20%)"
    why = dict(spike(language="en", shape="one_story").why)
    assert why["Who"] == "many people, but one post that goes round"
    assert why["About"] == "“hummus” (31, usually never), “winkel” (12, usually 4)"


def test_a_story_among_many_is_not_worth_a_line():
    few = {**DRIVERS, "stories": [{"mention": 1, "count": 3, "authors": 3, "share": 0.05}]}
    assert "Grootste bericht" not in dict(spike(drivers=few).why)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["terms", "stories", "sources", "negative", "term", "now", "usual", "share"]),
            inner, max_size=4,
        ),
        max_leaves=12,
    )
)  # fmt: skip
def test_drivers_of_another_version_never_stop_an_alert(drivers):
    told = spike(drivers=drivers)
    assert told.title
    assert all("\n" not in value for _, value in told.why)


def test_a_letter_shows_bars_in_text_and_describes_the_picture():
    text, html = render(spike(), picture="chart.1@zonnehoek.example")
    assert "Laatste 48 uur: ▂▂▂" in text
    assert "█" in text
    assert "Hoogste: 40" in text
    assert 'src="cid:chart.1@zonnehoek.example"' in html
    assert "Hoogste: 40" in html


def test_without_a_picture_the_letter_shows_bars():
    _, html = render(spike())
    assert "cid:" not in html
    assert "Laatste 48 uur: ▂▂▂" in html


def test_a_word_that_must_not_be_shown_is_described():
    told = spike(SignalKind.TOPIC_BURST, term="…")
    assert told.title == "Zonnehoek: plotseling veel mensen over “een woord dat we niet tonen”"


def test_a_source_that_answers_and_brings_nothing_is_told_as_such():
    facts = {"source": "nieuws", "answers": True, "observed": 0, "expected": 52.3}
    known = [signal(SignalKind.SILENT_SOURCE, facts=facts)]
    why = dict(message(SignalKind.SILENT_SOURCE, signals=known).why)
    assert (
        why["Oorzaak"] == "antwoordt wel, maar brengt niets waar anders 52 berichten zouden staan"
    )
