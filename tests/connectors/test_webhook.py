"""Mentions that are pushed: what is let in, and what becomes of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base import Arrival, Context
from connectors.intake import NotAdmittedError, Place, Push, TakesPushes, items
from connectors.standardwebhooks import sign
from connectors.webhook import WebhookConnector, WebhookOptions
from tests.connectors.conftest import MovedClock
from tests.connectors.polling import Polling
from tests.connectors.pushing import NOON, Pushes

NEW, OLD = b"a new key of 32 bytes, or so much", b"an old key of 32 bytes or so much"


def key(raw: bytes) -> str:
    return f"whsec_{base64.b64encode(raw).decode()}"


def mention(number: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "id": str(number),
        "source": "forum",
        "text": f"zonnehoek {number}",
        "published_at": "2026-11-10T11:59:00Z",
        **fields,
    }


@pytest.fixture
def pushes() -> Pushes:
    return Pushes()


@pytest.fixture
def made(pushes: Pushes, context: Context) -> Callable[..., WebhookConnector]:
    def make(**options: Any) -> WebhookConnector:
        return WebhookConnector(
            WebhookOptions(**{"secret": key(NEW), **options}), replace(context, intake=pushes)
        )

    return make


@pytest.fixture
def poller(made: Callable[..., WebhookConnector]) -> Polling:
    return Polling(made)


# --- what is read ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(mention()),
        json.dumps(mention(), indent=2),
        json.dumps([mention()]),
        json.dumps({"mentions": [mention()]}),
        json.dumps(mention()) + "\n",
        "\ufeff" + json.dumps(mention()),
        "\n\n" + json.dumps(mention()) + "\r\n",
    ],
    ids=["object", "indented", "array", "mentions", "line", "bom", "blank lines"],
)
def test_one_mention_may_be_written_in_many_ways(
    pushes: Pushes, poller: Polling, body: str
) -> None:
    pushes.push(body.encode())
    [post] = poller.posts()
    assert (post.platform, post.id, post.text) == ("forum", "1", "zonnehoek 1")
    assert post.published_at == NOON - timedelta(minutes=1)
    assert not poller.rejects


def test_json_lines_are_read_line_by_line_and_bad_ones_set_aside(
    pushes: Pushes, poller: Polling
) -> None:
    lines = [json.dumps(mention(1)), '{"id": "2"', "", json.dumps(mention(3))]
    pushes.push("\n".join(lines).encode())
    assert poller.ids() == ["1", "3"]
    [reason] = poller.rejects
    assert reason.startswith("not JSON")


def test_a_push_may_say_that_a_post_was_deleted(
    pushes: Pushes, made: Callable[..., WebhookConnector]
) -> None:
    pushes.push(b'[{"id": 1, "source": "x", "deleted": true}]')
    [page, *_] = made(platform="forum").fetch(None)
    assert (list(page.posts), list(page.deleted)) == ([], [("forum", "1")])


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"[]", b'{"mentions": []}'],
    ids=str,
)
def test_a_push_without_mentions_is_read_and_done(
    pushes: Pushes, poller: Polling, body: bytes
) -> None:
    pushes.push(body)
    assert poller.ids() == []
    poller.pages()
    assert not pushes.arrivals


@pytest.mark.parametrize(
    ("body", "count"),
    [
        (b"\xff\xfe\x00", 1),
        (b"[" * 5_000, 1),
        (b"null", 1),
        (b"[null, 7, {}]", 3),
        (b"7", 1),
        (b"<html>hi</html>", 1),
        (b'{"id": ' + b"9" * 5_000 + b"}", 1),
    ],
    ids=["binary", "deep", "null", "wrong items", "number", "html", "long number"],
)
def test_what_is_no_mention_is_set_aside(
    pushes: Pushes, poller: Polling, body: bytes, count: int
) -> None:
    pushes.push(body)
    pushes.push(json.dumps(mention()).encode())
    assert poller.ids() == ["1"]
    assert len(poller.rejects) == count


def test_a_mention_from_the_future_was_written_when_it_came(
    pushes: Pushes, poller: Polling
) -> None:
    pushes.push(json.dumps(mention(published_at="2027-01-01T00:00:00Z")).encode())
    assert [post.published_at for post in poller.posts()] == [NOON]


def test_all_mentions_may_count_as_one_platform(
    pushes: Pushes, made: Callable[..., WebhookConnector]
) -> None:
    without = mention()
    del without["source"]
    pushes.push(json.dumps([mention(1, source="x"), without]).encode())
    lines = [json.dumps(mention(3, source="x")), "bad", "null", json.dumps({**without, "id": 4})]
    pushes.push("\n".join(lines).encode())
    poller = Polling(lambda: made(platform="forum"))
    assert [post.platform for post in poller.posts()] == ["forum"] * 4
    assert len(poller.rejects) == 2


# --- following ------------------------------------------------------------------------------------


def test_each_push_is_read_once_and_then_erased(pushes: Pushes, poller: Polling) -> None:
    pushes.push(json.dumps(mention(1)).encode())
    assert poller.ids() == ["1"]
    assert poller.ids() == []
    assert not pushes.arrivals
    pushes.push(json.dumps(mention(2)).encode())
    assert poller.ids() == ["2"]


def test_a_crash_in_the_middle_of_a_push_repeats_a_page_at_most(
    pushes: Pushes, poller: Polling
) -> None:
    pushes.push(json.dumps([mention(number) for number in range(1_200)]).encode())
    pushes.push(json.dumps(mention(1_200)).encode())
    stored = [post.id for page in poller.pages(die_after=1) for post in page.posts]
    assert len(stored) == 500
    stored += poller.ids()
    assert stored == [str(number) for number in range(1_201)]


def test_what_was_read_and_not_stored_is_still_there(pushes: Pushes, poller: Polling) -> None:
    for number in range(50):
        pushes.push(json.dumps(mention(number)).encode())
    assert poller.pages(die_after=0) == []
    assert poller.ids() == [str(number) for number in range(50)]


def test_many_small_pushes_are_stored_together(pushes: Pushes, poller: Polling) -> None:
    for number in range(130):
        pushes.push(json.dumps(mention(number)).encode())
    pages = poller.pages()
    assert [len(page.posts) for page in pages] == [130]


def test_where_nothing_listens_a_poll_brings_nothing(context: Context) -> None:
    connector = WebhookConnector(WebhookOptions(secret=key(NEW)), context)
    [page] = connector.fetch(None)
    assert not page.posts
    connector.close()


@given(
    sizes=st.lists(st.integers(min_value=0, max_value=7), max_size=12),
    stops=st.lists(st.integers(min_value=1, max_value=9), max_size=20),
)
def test_walking_in_any_steps_gives_every_item_once(sizes: list[int], stops: list[int]) -> None:
    intake = Pushes()
    wanted = []
    for number, size in enumerate(sizes):
        intake.push(json.dumps([f"{number}.{item}" for item in range(size)]).encode())
        wanted += [f"{number}.{item}" for item in range(size)]

    def split(arrival: Arrival) -> list[str]:
        found: list[str] = json.loads(arrival.body)
        return found

    place, got = Place(), []
    for stop in [*stops, 1_000]:
        for count, (item, _, after) in enumerate(items(intake, place, split), start=1):
            got += [] if item is None else [item]
            place = Place.read(json.loads(json.dumps(after.kept())))
            if count == stop:
                break
    assert got == wanted
    assert list(items(intake, place, split)) == []
    assert not intake.arrivals


# --- the door -------------------------------------------------------------------------------------


def signed(
    raw: bytes = NEW, *, body: bytes = b"{}", at: int | None = None, identity: str = "msg_1"
) -> Push:
    moment = str(int(NOON.timestamp()) if at is None else at)
    return Push(
        {
            "webhook-id": identity,
            "webhook-timestamp": moment,
            "webhook-signature": sign(raw, identity, moment, body),
        },
        body,
    )


def test_a_signed_push_comes_in_under_its_own_id(made: Callable[..., WebhookConnector]) -> None:
    connector = made()
    assert isinstance(connector, TakesPushes)
    assert connector.door.admit(signed()) == "msg_1"


def test_while_keys_change_both_are_good(made: Callable[..., WebhookConnector]) -> None:
    door = made(previous_secret=key(OLD)).door
    assert door.admit(signed(OLD)) == door.admit(signed(NEW)) == "msg_1"
    with pytest.raises(NotAdmittedError, match="does not fit"):
        made().door.admit(signed(OLD))


def test_a_sender_may_sign_with_both_keys(made: Callable[..., WebhookConnector]) -> None:
    old, new = signed(OLD), signed(NEW)
    both = f"{old.headers['webhook-signature']} {new.headers['webhook-signature']}"
    push = Push({**new.headers, "webhook-signature": both}, new.body)
    assert made().door.admit(push) == "msg_1"


@pytest.mark.parametrize("seconds", [-301, 301])
def test_an_old_signature_is_refused(
    made: Callable[..., WebhookConnector], clock: MovedClock, seconds: int
) -> None:
    clock.move(timedelta(seconds=seconds))
    with pytest.raises(NotAdmittedError, match="too long ago"):
        made().door.admit(signed())
    assert made(tolerance_seconds=600).door.admit(signed())


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_2"},
        {"webhook-id": ""},
        {"webhook-id": "a.b"},
        {"webhook-id": "x" * 300},
        {"webhook-timestamp": str(int(NOON.timestamp()) + 1)},
        {"webhook-timestamp": "1e9"},
        {"webhook-timestamp": "９" * 10},
        {"webhook-timestamp": ""},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1a,AAAA"},
        {"webhook-signature": "v1,é"},
        {"webhook-signature": " ".join(["v1,AAAA"] * 1_000)},
    ],
    ids=lambda change: "=".join(*change.items())[:40],
)
def test_what_was_tampered_with_is_refused(
    made: Callable[..., WebhookConnector], change: dict[str, str]
) -> None:
    push = signed()
    with pytest.raises(NotAdmittedError) as refused:
        made().door.admit(Push({**push.headers, **change}, push.body))
    assert refused.value.status == 401
    with pytest.raises(NotAdmittedError):
        made().door.admit(replace(push, body=b"{} "))
    with pytest.raises(NotAdmittedError):
        made().door.admit(Push({}, push.body))


def test_nobody_is_greeted(made: Callable[..., WebhookConnector]) -> None:
    with pytest.raises(NotAdmittedError, match="push with POST") as refused:
        made().door.greet({"challenge": "1"})
    assert refused.value.status == 405


@pytest.mark.parametrize(
    "options",
    [
        {"secret": "short"},
        {"secret": key(b"short")},
        {"previous_secret": "whsec_***"},
        {"platform": "My Forum"},
        {"tolerance_seconds": 0},
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"whsec_|platform|tolerance_seconds"):
        WebhookOptions(**{"secret": key(NEW), **options})
