"""Channels that stand in for others, and ways around a channel that is broken."""

import re

import pytest
from pydantic import ValidationError

from alerts.base import Event, Reason, SignalKind
from alerts.message import as_drill, by_another_way, from_json, heading, to_json
from alerts.routes import ReceiverOptions, RouteOptions, Told, Via, plan
from tests.alerts.make import NOON, incident, message

MAIL = {"use": "mail", "to": ("crisis@example.com",)}
TEXT = {"use": "sms", "stands_in_for": "mail"}


def receiver(name: str, *channels: dict[str, object]) -> ReceiverOptions:
    return ReceiverOptions.model_validate({"name": name, "channels": channels})


def decide(receivers, event=Event.OPENED, *, kind=SignalKind.LEAK, subject="mail", told=()):
    return {
        (each.receiver, each.via.use): (each.send, each.reason)
        for each in plan(
            incident(kind, subject=subject),
            event,
            routes=[RouteOptions(receivers=("crisis",))],
            receivers=receivers,
            told=told,
            now=NOON,
        )
        if each.via
    }


def test_a_channel_that_stands_in_gets_nothing_while_the_other_works():
    crisis = receiver("crisis", MAIL, {**TEXT, "after_minutes": 5})

    assert decide([crisis]) == {("crisis", "mail"): (True, Reason.OPENED)}
    assert crisis.stand_in("mail") == crisis.channels[1]
    assert crisis.stand_in("sms") is None


def test_who_was_told_by_the_one_that_stood_in_gets_its_all_clear_there():
    crisis = receiver("crisis", MAIL, TEXT)
    told = [Told("crisis", channel, Event.OPENED, NOON) for channel in ("mail", "sms")]

    assert decide([crisis], Event.RESOLVED, told=told) == {
        ("crisis", "mail"): (True, Reason.RESOLVED),
        ("crisis", "sms"): (True, Reason.RESOLVED),
    }


@pytest.mark.parametrize(
    ("channels", "said"),
    [
        ([MAIL, {"use": "sms", "stands_in_for": "fax"}], "has to be another channel"),
        ([MAIL, {"use": "sms", "stands_in_for": "sms"}], "has to be another channel"),
        (
            [MAIL, TEXT, {"use": "pager", "stands_in_for": "sms"}],
            "that stands in for none: mail",
        ),
        ([{**MAIL, "after_minutes": 5}], "belongs to a channel with stands_in_for"),
        ([TEXT], "there is none"),
        ([MAIL, {**TEXT, "after_minutes": -1}], "greater than or equal to 0"),
    ],
)
def test_a_channel_that_stands_in_for_nothing_is_refused(channels, said):
    with pytest.raises(ValidationError, match=re.escape(said)):
        receiver("crisis", *channels)


def test_a_broken_channel_is_never_told_over_itself():
    crisis = receiver("crisis", MAIL, {"use": "chat"})

    assert decide([crisis], kind=SignalKind.BROKEN_CHANNEL) == {
        ("crisis", "mail"): (False, Reason.CHANNEL_BROKEN),
        ("crisis", "chat"): (True, Reason.OPENED),
    }


def test_it_is_told_over_the_channel_that_stands_in():
    crisis = receiver("crisis", MAIL, TEXT)

    assert decide([crisis], kind=SignalKind.BROKEN_CHANNEL) == {
        ("crisis", "mail"): (False, Reason.CHANNEL_BROKEN),
        ("crisis", "sms"): (True, Reason.OPENED),
    }


def test_where_nobody_on_the_route_can_be_reached_everybody_else_is():
    receivers = [receiver("crisis", MAIL), receiver("press", MAIL, {"use": "chat"})]

    assert decide(receivers, kind=SignalKind.BROKEN_CHANNEL) == {
        ("crisis", "mail"): (False, Reason.CHANNEL_BROKEN),
        ("press", "chat"): (True, Reason.OPENED),
    }


def test_with_one_channel_in_all_nobody_can_be_told_and_that_is_said():
    assert decide([receiver("crisis", MAIL)], kind=SignalKind.BROKEN_CHANNEL) == {
        ("crisis", "mail"): (False, Reason.CHANNEL_BROKEN),
    }


def test_another_incident_is_told_over_a_channel_of_its_subjects_name():
    assert decide([receiver("crisis", MAIL)]) == {("crisis", "mail"): (True, Reason.OPENED)}


def test_a_via_is_written_as_in_the_configuration_file():
    assert Via.model_validate(TEXT).after_minutes == 10


@pytest.mark.parametrize(
    ("language", "mark", "sentence"),
    [
        ("nl", "[OEFENING]", "Dit is een oefening"),
        ("en", "[DRILL]", "This is a drill"),
    ],
)
def test_a_drill_says_so_in_title_and_summary_once(language, mark, sentence):
    drill = as_drill(as_drill(message(language=language)))

    assert heading(drill).count(mark) == 1
    assert drill.summary.startswith(sentence)
    assert drill.summary.count(sentence) == 1
    assert from_json(to_json(drill)) == drill


@pytest.mark.parametrize(
    ("language", "since", "said"),
    [
        ("nl", NOON, "omdat mail niet bezorgt sinds"),
        ("en", NOON, "since mail has not delivered since"),
        ("en", None, "since mail refused this message for good"),
    ],
)
def test_a_message_that_comes_another_way_says_why_first(language, since, said):
    sent = message(language=language)
    label, value = by_another_way(sent, "mail", since).why[0]

    assert said in value
    assert label not in dict(sent.why)
