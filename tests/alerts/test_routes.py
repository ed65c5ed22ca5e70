"""Who is told, who is not, and why."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from alerts.base import Event, IncidentState, Reason, Severity, SignalKind
from alerts.routes import ReceiverOptions, RouteOptions, Told, Via, plan
from tests.alerts.make import NOON, incident, minutes

COMMS = ReceiverOptions(
    name="comms",
    channels=(Via(use="mail", to=("comms@example.com",)), Via(use="slack")),
)
SECURITY = ReceiverOptions(name="security", channels=(Via(use="mail", to=("sec@example.com",)),))
OPS = ReceiverOptions(name="ops", channels=(Via(use="slack"),))
RECEIVERS = [COMMS, SECURITY, OPS]


def route(*receivers: str, **options: object) -> RouteOptions:
    return RouteOptions.model_validate({"receivers": receivers, **options})


def decide(routes, event=Event.OPENED, *, about=None, told=(), now=NOON):
    return plan(about or incident(), event, routes=routes, receivers=RECEIVERS, told=told, now=now)


def said(decisions):
    return {
        (each.receiver, each.via.use if each.via else None): (each.send, each.reason.value)
        for each in decisions
    }


def test_a_receiver_is_told_through_all_its_channels():
    assert said(decide([route("comms")])) == {
        ("comms", "mail"): (True, "opened"),
        ("comms", "slack"): (True, "opened"),
    }


def test_the_first_match_ends_the_search():
    found = decide([route("security"), route("comms")])

    assert {each.receiver for each in found} == {"security"}
    assert {each.route for each in found} == {0}


def test_a_route_that_says_continue_lets_later_ones_speak():
    found = decide([route("security", **{"continue": True}), route("ops"), route("comms")])

    assert {(each.receiver, each.route) for each in found} == {("security", 0), ("ops", 1)}


@pytest.mark.parametrize(
    ("options", "matches"),
    [
        ({}, True),
        ({"kinds": ["leak", "threat"]}, True),
        ({"kinds": ["threat"]}, False),
        ({"min_severity": "critical"}, False),
        ({"min_severity": "high"}, True),
        ({"brands": ["Zonnehoek"]}, True),
        ({"brands": ["Maanhoek"]}, False),
    ],
)
def test_a_route_asks_for_kind_severity_and_brand(options, matches):
    found = decide([route("comms", **options)], about=incident(severity=Severity.HIGH))

    assert all(each.send for each in found) is matches


def test_an_incident_that_no_route_wants_says_so():
    (found,) = decide([route("comms", kinds=["threat"])])

    assert (found.receiver, found.via, found.send) == ("", None, False)
    assert found.reason is Reason.NO_ROUTE


def test_no_routes_at_all_is_no_route():
    assert [each.reason for each in decide([])] == [Reason.NO_ROUTE]


def test_what_goes_on_waits_for_the_cool_down():
    told = [Told("ops", "slack", Event.OPENED, NOON)]

    early = decide([route("ops")], Event.CONTINUES, told=told, now=NOON + minutes(59))
    late = decide([route("ops")], Event.CONTINUES, told=told, now=NOON + minutes(60))

    assert said(early) == {("ops", "slack"): (False, "cooling_down")}
    assert said(late) == {("ops", "slack"): (True, "continues")}


def test_each_channel_cools_down_by_itself():
    told = [Told("comms", "mail", Event.OPENED, NOON)]

    assert said(decide([route("comms")], Event.CONTINUES, told=told, now=NOON + minutes(5))) == {
        ("comms", "mail"): (False, "cooling_down"),
        ("comms", "slack"): (True, "continues"),
    }


def test_a_cool_down_of_nothing_tells_everything():
    told = [Told("ops", "slack", Event.CONTINUES, NOON)]

    assert said(decide([route("ops", cooldown_minutes=0)], Event.CONTINUES, told=told)) == {
        ("ops", "slack"): (True, "continues")
    }


def test_the_cool_down_runs_from_the_latest_message():
    told = [
        Told("ops", "slack", Event.CONTINUES, NOON + minutes(50)),
        Told("ops", "slack", Event.OPENED, NOON - minutes(60)),
    ]

    assert said(decide([route("ops")], Event.CONTINUES, told=told, now=NOON + minutes(70))) == {
        ("ops", "slack"): (False, "cooling_down")
    }


@pytest.mark.parametrize("event", [Event.OPENED, Event.WORSENED])
def test_neither_cool_down_nor_acknowledgement_holds_back_what_is_new_or_worse(event):
    told = [Told("ops", "slack", Event.CONTINUES, NOON)]

    found = decide(
        [route("ops")],
        event,
        about=incident(state=IncidentState.ACKNOWLEDGED),
        told=told,
        now=NOON + minutes(1),
    )

    assert said(found) == {("ops", "slack"): (True, event.value)}


def test_once_somebody_took_it_what_goes_on_pages_nobody():
    found = decide(
        [route("ops")],
        Event.CONTINUES,
        about=incident(state=IncidentState.ACKNOWLEDGED),
        now=NOON + timedelta(days=1),
    )

    assert said(found) == {("ops", "slack"): (False, "acknowledged")}


def test_the_all_clear_goes_to_exactly_those_who_were_told():
    told = [Told("security", "mail", Event.OPENED, NOON)]

    found = decide([route("comms")], Event.RESOLVED, told=told)

    assert said(found) == {
        ("security", "mail"): (True, "resolved"),
        ("comms", "mail"): (False, "not_told_before"),
        ("comms", "slack"): (False, "not_told_before"),
    }


def test_nobody_gets_the_all_clear_twice():
    told = [
        Told("ops", "slack", Event.OPENED, NOON),
        Told("ops", "slack", Event.RESOLVED, NOON + minutes(5)),
    ]

    assert not any(each.send for each in decide([route("ops")], Event.RESOLVED, told=told))


def test_who_is_told_again_after_an_all_clear_gets_the_next_one_too():
    told = [
        Told("ops", "slack", Event.RESOLVED, NOON),
        Told("ops", "slack", Event.WORSENED, NOON + minutes(5)),
    ]

    assert said(decide([route("ops")], Event.RESOLVED, told=told)) == {
        ("ops", "slack"): (True, "resolved")
    }


def test_a_receiver_that_the_configuration_no_longer_has_is_left_out():
    told = [
        Told("retired", "mail", Event.OPENED, NOON),
        Told("ops", "pager", Event.OPENED, NOON),
    ]

    assert decide([], Event.RESOLVED, told=told) == []


def test_a_receiver_on_two_routes_is_told_once():
    routes = [route("ops", **{"continue": True}), route("ops", "comms")]

    found = decide(routes)

    assert len([each for each in found if each.receiver == "ops"]) == 1


def test_an_unknown_receiver_is_an_error():
    with pytest.raises(KeyError):
        decide([route("nobody")])


EVENTS = st.sampled_from(Event)


@given(
    event=EVENTS,
    state=st.sampled_from([IncidentState.OPEN, IncidentState.ACKNOWLEDGED]),
    routes=st.lists(
        st.builds(
            lambda names, kinds, severity, go_on: route(
                *names, kinds=kinds, min_severity=severity, **{"continue": go_on}
            ),
            st.lists(st.sampled_from(["comms", "security", "ops"]), min_size=1, unique=True),
            st.lists(st.sampled_from(SignalKind), max_size=2),
            st.sampled_from(["low", "medium", "high", "critical"]),
            st.booleans(),
        ),
        max_size=4,
    ),
    told=st.lists(
        st.builds(
            Told,
            st.sampled_from(["comms", "security", "ops"]),
            st.sampled_from(["mail", "slack"]),
            EVENTS,
            st.integers(0, 200).map(lambda ago: NOON - minutes(ago)),
        ),
        max_size=6,
    ),
)
def test_every_pair_is_decided_once_and_sending_always_has_the_events_own_reason(
    event, state, routes, told
):
    found = decide(routes, event, about=incident(state=state), told=told)

    pairs = [(each.receiver, each.via.use if each.via else None) for each in found]
    assert len(pairs) == len(set(pairs))
    for each in found:
        assert each.send == (each.reason.value == event.value)
        if event is Event.RESOLVED and each.send:
            assert (each.receiver, each.via.use) in {(was.receiver, was.channel) for was in told}


def test_options_are_written_as_in_the_configuration_file():
    options = RouteOptions.model_validate(
        {"receivers": ["ops"], "continue": True, "min_severity": "high", "cooldown_minutes": 5}
    )

    assert (options.continue_, options.severity, options.cooldown_minutes) == (
        True,
        Severity.HIGH,
        5,
    )


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"receivers": []}, "receivers"),
        ({"receivers": ["a"], "min_severity": "grave"}, "min_severity"),
        ({"receivers": ["a"], "kinds": ["leek"]}, "kinds"),
        ({"receivers": ["a"], "cooldown_minutes": -1}, "cooldown_minutes"),
        ({"receivers": ["a"], "cooldown": 5}, "cooldown"),
    ],
)
def test_a_wrong_route_is_refused_by_name(table, told):
    with pytest.raises(ValidationError) as refused:
        RouteOptions.model_validate(table)

    assert told in str(refused.value)


def test_a_receiver_lists_a_channel_once():
    with pytest.raises(ValidationError, match="channel mail is listed twice"):
        ReceiverOptions(name="a", channels=(Via(use="mail"), Via(use="mail")))
