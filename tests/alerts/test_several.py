"""One message about several incidents: what it says, lists and leaves to the gravest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alerts.base import Event, Incident, Message, Reason, Severity, SignalKind
from alerts.message import Exhibit, Occasion, compose, heading
from alerts.several import LISTED, NUMBERED, compose_several, crowd_of
from alerts.words import LANGUAGES, words
from tests.alerts.make import NOON, assessment, incident, mention, minutes, signal


def many(count: int) -> list[Incident]:
    kinds = [SignalKind.LEAK, SignalKind.LEAK, SignalKind.THREAT]
    return [
        replace(incident(), id=number, kind=kinds[number % 3]) for number in range(1, count + 1)
    ]


def told(incidents: list[Incident], over: int = 0, language: str = "en") -> Message:
    first = incidents[0]
    alone = compose(
        first,
        Event.OPENED,
        Reason.OPENED,
        signals=[signal()],
        exhibits=[Exhibit(mention(), assessment())],
        total_mentions=1,
        language=language,
        timezone="Europe/Amsterdam",
    )
    events = {each.id: Event.OPENED for each in incidents}
    events |= {each.id: Event.RESOLVED for each in incidents[len(incidents) - over :]}
    return compose_several(alone, crowd_of(incidents, events))


def test_it_says_how_many_there_are_and_of_which_kind():
    message = told(many(33))

    assert message.title == "Zonnehoek: 33 incidents at once"
    assert message.summary.startswith(
        "33 incidents in one message: 22 × possible leak, 11 × threat."
    )
    assert message.incidents == tuple(range(1, 34))
    label, listed = message.why[0]
    assert label == "Incidents"
    assert listed.count(";") == LISTED
    assert listed.endswith(f"and {33 - LISTED} more")


def test_of_a_flood_it_names_the_gravest_and_counts_the_others():
    message = told(many(NUMBERED + 1000))

    assert f"{words('en').number(NUMBERED + 1000)} incidents" in message.title
    assert message.incidents == tuple(range(1, NUMBERED + 1))
    assert message.more_incidents == 1000


def test_the_gravest_speaks_for_the_others():
    message = told(many(3))

    assert message.incident_id == 1
    assert message.samples, "its posts are shown"
    assert "The gravest: " in message.summary


def test_what_is_over_is_marked_in_the_list():
    message = told(many(3), over=1)

    assert message.event is Event.OPENED
    assert "1 of them is over already." in message.summary
    assert "3 (possible leak, closed)" in message.why[0][1]


def test_when_all_are_over_it_is_an_all_clear():
    message = told(many(3), over=3)

    assert message.event is Event.RESOLVED
    assert message.title == "Zonnehoek: 3 incidents are over"
    assert heading(message).startswith("[Closed]")


def test_incidents_of_several_brands_name_none_in_the_title():
    incidents = many(2)
    incidents[1] = replace(incidents[1], brand="Maanhoek")

    assert told(incidents, language="nl").title == "2 incidenten tegelijk"


def test_one_incident_is_not_several():
    with pytest.raises(ValueError, match="two at least"):
        told(many(1))


@pytest.mark.parametrize(
    ("reason", "marker", "sentence"),
    [
        (Reason.TAKEN, "[Taken]", "Anna has taken this: you need not do anything."),
        (Reason.GIVEN_BACK, "[Given back: high]", "has given it back: it is open again."),
        (Reason.ESCALATED, "[Unanswered: high]", "Nobody has taken this yet."),
        (
            Reason.REMINDER,
            "[Reminder]",
            "and still missing: somebody who takes it, a first statement.",
        ),
        (Reason.BREACHED, "[Overdue: high]", "and is still missing: somebody who takes it"),
        (
            Reason.STALE,
            "[Nothing heard]",
            "Anna took this, and nothing has been heard of it since.",
        ),
        (Reason.REPEATED, "[Still open: high]", "Nobody has taken this yet."),
    ],
)
def test_a_message_that_is_not_about_posts_says_first_what_it_is_about(
    reason: Reason, marker: str, sentence: str
):
    message = compose(
        replace(incident(), severity=Severity.HIGH),
        Event.CONTINUES,
        reason,
        signals=[signal()],
        exhibits=[Exhibit(mention(), assessment())],
        total_mentions=1,
        language="en",
        timezone="Europe/Amsterdam",
        occasion=Occasion(
            who="Anna",
            clock="crisis",
            due_at=NOON + minutes(60),
            missing=("acknowledged", "first_statement"),
        ),
    )
    assert heading(message).startswith(marker)
    assert sentence in message.summary
    assert message.reason is reason
    assert bool(message.actions) is (reason is not Reason.TAKEN)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reason_for_telling_has_words(language: str):
    passed_over = {
        Reason.COOLING_DOWN,
        Reason.ACKNOWLEDGED,
        Reason.NO_ROUTE,
        Reason.NOT_TOLD_BEFORE,
        Reason.SILENCED,
        Reason.PART_OF_CRISIS,
        Reason.QUIET_HOURS,
        Reason.GROUPED,
        Reason.NOBODY_ON_DUTY,
        Reason.WRONG_HOURS,
        Reason.OVER,
    }
    ways = {Reason.STANDING_IN, Reason.STOOD_IN, Reason.FIRST_IS_BACK, Reason.CHANNEL_BROKEN}
    silent = [
        reason.value
        for reason in set(Reason) - passed_over - ways
        if not words(language).has(f"now.{reason.value}")
    ]
    assert silent == []
