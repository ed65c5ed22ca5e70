"""Signed tickets: who may see and act, and nobody else."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.links import Action, Links, Refusal, Ticket, TicketError
from tests.alerts.make import NOON, incident, minutes

KEY = bytes(range(32))
URL = "https://watch.example.com/merk"


def links(key: bytes = KEY, **options: object) -> Links:
    return Links(key, public_url=URL, **options)  # type: ignore[arg-type]


def refusal(maker: Links, text: str, now=NOON) -> Refusal:
    with pytest.raises(TicketError) as refused:
        maker.read(text, now)
    return refused.value.refusal


def test_a_link_leads_to_the_page_of_its_incident():
    link = links().link_for(incident(number=12), "crisis team", NOON)
    assert link is not None
    start, _, text = link.rpartition("/")
    assert start == f"{URL}/i"
    ticket = links().read(text, NOON)
    assert (ticket.incident_id, ticket.action) == (12, Action.SEE)
    assert ticket.is_for(incident(number=12))
    assert links().receiver_of(ticket, ["ops", "crisis team"]) == "crisis team"


def test_a_ticket_names_neither_receiver_nor_brand():
    text = links().ticket_for(incident(), "crisis team", NOON)
    raw = base64.urlsafe_b64decode(text + "==")
    assert b"crisis" not in raw
    assert b"Zonnehoek" not in raw
    assert text.isascii()
    assert len(text) < 100


def test_a_receiver_that_was_renamed_is_nobody():
    ticket = links().read(links().ticket_for(incident(), "crisis team", NOON), NOON)
    assert links().receiver_of(ticket, ["other"]) is None


def test_without_an_address_there_is_a_ticket_and_no_link():
    quiet = Links(KEY)
    assert quiet.link_for(incident(), "crisis team", NOON) is None
    assert quiet.read(quiet.ticket_for(incident(), "crisis team", NOON), NOON).incident_id == 12


def test_a_ticket_ends():
    maker = links(lifetime=timedelta(days=7))
    text = maker.ticket_for(incident(), "a", NOON)
    assert maker.read(text, NOON + timedelta(days=7) - minutes(1)).incident_id == 12
    assert refusal(maker, text, NOON + timedelta(days=7)) is Refusal.EXPIRED
    assert maker.read(text, None).incident_id == 12


def test_the_same_number_of_another_beginning_is_another_incident():
    ticket = links().read(links().ticket_for(incident(), "a", NOON), NOON)
    assert not ticket.is_for(incident(opened_at=NOON + timedelta(microseconds=1)))
    assert not ticket.is_for(incident(number=13))


def test_a_ticket_of_another_installation_is_forged():
    text = links(bytes(32)).ticket_for(incident(), "a", NOON)
    assert refusal(links(), text) is Refusal.FORGED


def test_a_ticket_to_act_is_made_from_one_to_see_and_ends_with_it():
    maker = links()
    seen = maker.read(maker.ticket_for(incident(), "a", NOON), NOON)
    acting = maker.read(maker.turned(seen, Action.TAKE), NOON)
    assert acting == replace(seen, action=Action.TAKE)


def test_a_key_that_is_too_short_is_refused():
    with pytest.raises(ValueError, match="32 bytes"):
        Links(b"short")


@given(st.integers(0, 1000), st.integers(1, 255))
def test_a_changed_ticket_is_forged_wherever_it_was_changed(place, change):
    text = links().ticket_for(incident(), "a", NOON)
    raw = bytearray(base64.urlsafe_b64decode(text + "=="))
    raw[place % len(raw)] ^= change
    forged = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    assert refusal(links(), forged) is Refusal.FORGED


@given(st.one_of(st.text(max_size=200), st.text("AZaz09-_=+/", min_size=80, max_size=95)))
def test_whatever_comes_in_is_refused_in_one_way(text):
    assert refusal(links(), text) is Refusal.FORGED


def test_a_ticket_has_one_spelling():
    """Spare bits of base64 say nothing: two texts for one ticket would be two names for it."""
    text = links().ticket_for(incident(), "a", NOON)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    good = []
    for letter in letters:
        try:
            links().read(text[:-1] + letter, NOON)
        except TicketError:
            continue
        good.append(letter)
    assert good == [text[-1]]


@given(
    st.integers(0, 2**63 - 1),
    st.datetimes(
        min_value=NOON.replace(tzinfo=None, year=1971),
        max_value=NOON.replace(tzinfo=None, year=2200),
    ),
    st.sampled_from(Action),
    st.binary(min_size=8, max_size=8),
)
def test_what_was_written_is_read(number, moment, action, receiver):
    opened = moment.replace(tzinfo=NOON.tzinfo)
    ticket = Ticket(number, opened, Action.SEE, opened.replace(microsecond=0), receiver)
    text = links().turned(ticket, action)
    assert links().read(text, None) == replace(ticket, action=action)
