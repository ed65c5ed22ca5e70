from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.base import Context, SourceFault
from connectors.bluesky import BlueskyConnector, BlueskyOptions
from connectors.http import guarded_client
from connectors.query import Query
from tests.connectors.conftest import MovedClock
from tests.connectors.polling import Polling
from tests.connectors.skyserver import DID, PASSWORD, SkyServer


class Poller(Polling):
    """Polls as the daemon does, keeping the cursor of the last page as JSON."""

    def __init__(self, sky: SkyServer, context: Context, **options: Any) -> None:
        self.context = context
        options = {"identifier": "watch.bsky.social", "app_password": PASSWORD} | options
        self.options = BlueskyOptions(base_url=sky.url, **options)
        self.connector = BlueskyConnector(self.options, context)
        super().__init__(lambda: self.connector)

    def restart(self) -> None:
        self.connector.close()
        self.connector = BlueskyConnector(self.options, self.context)


@pytest.fixture
def sky(clock: MovedClock) -> Iterator[SkyServer]:
    with SkyServer(clock) as running:
        yield running


@pytest.fixture
def poller(sky: SkyServer, context: Context) -> Poller:
    return Poller(sky, replace(context, queries=[Query.parse("zonnehoek")]))


def stranger(sky: SkyServer, context: Context) -> Poller:
    return Poller(
        sky,
        replace(context, queries=[Query.parse("zonnehoek")]),
        identifier=None,
        app_password=None,
    )


# --- what a post becomes --------------------------------------------------------------------------


def test_a_post_of_bluesky_becomes_ours(sky: SkyServer, poller: Poller) -> None:
    [ident] = sky.say(
        "Zonnehoek is dicht",
        record={"langs": ["nl", "en"]},
        likeCount=13,
        repostCount=2,
        quoteCount=1,
        replyCount=3,
    )
    [post] = poller.posts()
    assert (post.platform, post.id, post.text) == ("bluesky", ident, "Zonnehoek is dicht")
    assert post.url == f"https://bsky.app/profile/{DID}/post/{ident.rsplit('/', 1)[1]}"
    assert (post.author, post.language) == ("anna.bsky.social", "nl")
    assert post.published_at == datetime(2026, 11, 10, 12, tzinfo=UTC)
    assert (post.engagement.likes, post.engagement.shares, post.engagement.replies) == (13, 3, 3)


def test_authors_of_what_is_found_come_with_their_followers(sky: SkyServer, poller: Poller) -> None:
    numbers = [f"did:plc:{number:024d}" for number in range(30)]
    sky.profiles = {did: {"did": did, "followersCount": 100 + at} for at, did in enumerate(numbers)}
    del sky.profiles[numbers[7]]
    for did in numbers:
        sky.say("Zonnehoek", "en nog eens Zonnehoek", did=did)
    reach = {post.id.split("/")[0]: post.author_followers for post in poller.posts()}
    assert reach == {did: None if at == 7 else 100 + at for at, did in enumerate(numbers)}
    assert [len(asked["actors"].split(",")) for asked in sky.called("getProfiles")] == [25, 5]


def test_without_profiles_posts_come_all_the_same(sky: SkyServer, poller: Poller) -> None:
    sky.next["getProfiles"] = [(503, {}, {})]
    sky.say("Zonnehoek")
    assert [post.author_followers for post in poller.posts()] == [None]


def test_followers_are_not_asked_for_where_nobody_wants_them(
    sky: SkyServer, context: Context
) -> None:
    sky.say("zonnehoek")
    asking = replace(context, queries=[Query.parse("zonnehoek")])
    assert len(Poller(sky, asking, followers=False).posts()) == 1
    found = Poller(sky, replace(context, queries=[Query.parse("x")]), searches=["zonnehoek"])
    assert len(found.posts()) == 1
    assert sky.called("getProfiles") == []


@pytest.mark.parametrize(
    ("reply", "thread"),
    [
        (
            {"root": {"uri": f"at://{DID}/app.bsky.feed.post/3kroot"}, "parent": {}},
            f"https://bsky.app/profile/{DID}/post/3kroot",
        ),
        ({"root": {"uri": "https://evil.example/"}}, None),
        ({"root": 7}, None),
        ("odd", None),
    ],
)
def test_an_answer_leads_to_the_post_that_began_the_conversation(
    sky: SkyServer, poller: Poller, reply: Any, thread: str | None
) -> None:
    sky.say("Zonnehoek", record={"reply": reply})
    assert [post.thread for post in poller.posts()] == [thread]


def test_links_come_in_full_where_the_app_shortens_them(sky: SkyServer, poller: Poller) -> None:
    text = "é Zonnehoek: example.com/lan… en hier"
    at = len("é Zonnehoek: ".encode())
    long = {"$type": "app.bsky.richtext.facet#link", "uri": "https://example.com/langer?a=1"}
    word = {"$type": "app.bsky.richtext.facet#link", "uri": "https://b.example/"}
    evil = {"$type": "app.bsky.richtext.facet#link", "uri": "javascript:alert(1)"}
    size = len(text.encode())
    facets = [
        {"index": {"byteStart": at, "byteEnd": at + len("example.com/lan…".encode())}}
        | {"features": [long]},
        {"index": {"byteStart": size - 4, "byteEnd": size}, "features": [word]},
        {"index": {"byteStart": 0, "byteEnd": 2}, "features": [evil]},
        {"index": {"byteStart": 5, "byteEnd": 9_999}, "features": [word]},
    ]
    sky.say(text, record={"facets": facets})
    assert poller.posts()[0].text == (
        "é Zonnehoek: https://example.com/langer?a=1 en hier https://b.example/"
    )


@pytest.mark.parametrize(
    ("embed", "images"),
    [
        ({"images": [{"alt": "", "image": {"ref": {"$link": "bafkrei1"}}}]}, ["bafkrei1"]),
        ({"media": {"images": [{"image": {"ref": {"$link": "bafkrei2"}}}]}}, ["bafkrei2"]),
        ({"images": [{"image": {"ref": {"$link": "../../evil"}}}]}, []),
        ({"images": [{"image": {"ref": 7}}, {"image": {"cid": "old"}}]}, []),
        ({"external": {"uri": "https://n.example/1"}}, []),
    ],
    ids=str,
)
def test_pictures_of_a_post_are_known_by_their_address(
    sky: SkyServer, poller: Poller, embed: dict[str, Any], images: list[str]
) -> None:
    sky.say("zonnehoek", record={"embed": embed})
    begin = f"https://cdn.bsky.app/img/feed_fullsize/plain/{DID}/"
    assert list(poller.posts()[0].images) == [f"{begin}{number}@jpeg" for number in images]


@pytest.mark.parametrize(
    ("embed", "added"),
    [
        ({"images": [{"alt": "schimmel op brood"}, {"alt": ""}]}, "schimmel op brood"),
        ({"alt": "een film"}, "een film"),
        ({"media": {"images": [{"alt": "bon"}]}, "record": {"record": {}}}, "bon"),
        (
            {"external": {"uri": "https://n.example/1", "title": "Recall", "description": "x"}},
            "Recall\nhttps://n.example/1",
        ),
    ],
    ids=str,
)
def test_texts_of_what_is_embedded_are_part_of_the_text(
    sky: SkyServer, poller: Poller, embed: dict[str, Any], added: str
) -> None:
    sky.say("zonnehoek", record={"embed": embed, "tags": ["fail"]})
    assert poller.posts()[0].text == f"zonnehoek\n#fail\n{added}"


@pytest.mark.parametrize(
    "fields",
    [
        {"labels": [{"val": "spam"}]},
        {"labels": [{"val": "!takedown"}]},
        {"author": {"did": DID, "handle": "a.b", "labels": [{"val": "!no-unauthenticated"}]}},
        {"record": {"labels": {"values": [{"val": "spam"}]}}},
    ],
    ids=str,
)
def test_what_is_labelled_away_is_left_alone(
    sky: SkyServer, poller: Poller, fields: dict[str, Any]
) -> None:
    sky.say("zonnehoek", **fields)
    assert poller.posts() == []
    assert not poller.rejects


def test_other_labels_and_labels_taken_back_do_not_matter(sky: SkyServer, poller: Poller) -> None:
    sky.say("zonnehoek", labels=[{"val": "spam", "neg": True}, {"val": "rude"}])
    assert len(poller.posts()) == 1


def test_an_account_without_valid_handle_is_known_by_number(sky: SkyServer, poller: Poller) -> None:
    sky.say("zonnehoek", author={"did": DID, "handle": "handle.invalid"})
    assert poller.posts()[0].author == DID


@pytest.mark.parametrize("created", ["2031-01-01T00:00:00Z", "soon", 7, "2026-11-10T12:00:00"])
def test_a_post_is_not_from_the_future_whatever_its_author_says(
    sky: SkyServer, poller: Poller, created: Any
) -> None:
    sky.say("zonnehoek")
    sky.posts[0]["record"]["createdAt"] = created
    sky.next["searchPosts"] = [(200, {"posts": sky.posts}, {})]
    assert poller.posts()[0].published_at == datetime(2026, 11, 10, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "odd",
    [
        7,
        None,
        {},
        {"indexedAt": "2026-11-10T12:00:00Z", "uri": "https://x.example/", "record": {}},
        {"indexedAt": "soon", "uri": f"at://{DID}/app.bsky.feed.post/1"},
        {"indexedAt": "2026-11-10T12:00:00Z", "uri": f"at://{DID}/app.bsky.feed.post/1"}
        | {"record": {"text": None}, "author": {}},
        {"indexedAt": "2026-11-10T12:00:00Z", "uri": f"at://{DID}/app.bsky.feed.post/1"}
        | {"record": {"text": "t", "facets": [7]}, "author": {}},
    ],
    ids=str,
)
def test_a_post_that_is_odd_is_set_aside(sky: SkyServer, poller: Poller, odd: Any) -> None:
    [ident] = sky.say("zonnehoek")
    sky.next["searchPosts"] = [(200, {"posts": [odd, sky.posts[0]]}, {})]
    assert poller.ids() == [ident]
    assert len(poller.rejects) == 1


# --- what is asked --------------------------------------------------------------------------------


def test_a_search_asks_for_what_we_need(sky: SkyServer, poller: Poller) -> None:
    poller.pages()
    assert [name for name, _, _ in sky.calls] == [
        "com.atproto.server.createSession",
        "app.bsky.feed.searchPosts",
    ]
    _, asked, authorization = sky.calls[1]
    assert authorization == "Bearer access-1"
    assert asked == {
        "q": "zonnehoek",
        "sort": "latest",
        "limit": "100",
        "since": "2026-11-09T12:00:00.000Z",
    }


def test_each_alternative_of_a_query_is_a_search(sky: SkyServer, context: Context) -> None:
    query = Query.parse('"zonne hoek" (app OR kassa) -tuin OR hoek* NEAR/3 ziek OR @zonnehoek.nl')
    Poller(sky, replace(context, queries=[query])).pages()
    assert [asked["q"] for asked in sky.called("searchPosts")] == [
        '"zonne hoek" app',
        '"zonne hoek" kassa',
        "ziek",
        '"zonnehoek.nl"',
        "from:zonnehoek.nl",
    ]


def test_own_searches_and_languages_are_used(sky: SkyServer, context: Context) -> None:
    poller = Poller(sky, context, searches=["zonnehoek", " zonnehoek "], languages=["nl"])
    sky.say("zonnehoek nl", record={"langs": ["nl-BE"]})
    sky.say("zonnehoek fr", record={"langs": ["fr"]})
    sky.say("zonnehoek ?")
    assert [post.text for post in poller.posts()] == ["zonnehoek ?", "zonnehoek nl"]
    assert [asked["lang"] for asked in sky.called("searchPosts")] == ["nl"]


def test_a_source_without_brands_says_so(sky: SkyServer, context: Context) -> None:
    error = Poller(sky, replace(context, queries=())).fault()
    assert (error.fault, error.permanent) == (SourceFault.BAD_REQUEST, True)
    assert not sky.calls


def test_a_search_that_is_refused_does_not_hold_up_the_others(
    sky: SkyServer, context: Context
) -> None:
    poller = Poller(sky, context)
    said = sky.say("harskamp")
    sky.next["searchPosts"] = [(400, {"error": "BadQueryString", "message": "odd"}, {})]
    assert "BadQueryString: odd" in str(poller.fault())
    assert poller.cursor is not None
    assert len(poller.cursor["seen"]) == len(said)


# --- the session ----------------------------------------------------------------------------------


def test_one_login_serves_many_polls(sky: SkyServer, poller: Poller) -> None:
    for _ in range(3):
        poller.pages()
    assert len(sky.called("createSession")) == 1


def test_an_expired_session_is_renewed_without_the_password(sky: SkyServer, poller: Poller) -> None:
    poller.pages()
    sky.expired = {"access-1"}
    said = sky.say("zonnehoek")
    assert poller.ids() == said
    assert len(sky.called("createSession")) == 1
    assert [auth for name, _, auth in sky.calls if name.endswith("refreshSession")] == [
        "Bearer refresh-1"
    ]


def test_when_all_of_a_session_has_expired_we_log_in_again(sky: SkyServer, poller: Poller) -> None:
    poller.pages()
    sky.expired = {"access-1", "refresh-1"}
    said = sky.say("zonnehoek")
    assert poller.ids() == said
    assert len(sky.called("createSession")) == 2


def test_a_wrong_password_says_what_to_do_and_is_tried_once(
    sky: SkyServer, context: Context
) -> None:
    error = Poller(sky, context, app_password="wrong").fault()
    assert (error.fault, error.permanent) == (SourceFault.UNAUTHORIZED, True)
    assert "make an app password" in str(error)
    assert len(sky.calls) == 1


def test_a_malformed_identifier_is_no_fault_of_the_searches(sky: SkyServer, poller: Poller) -> None:
    sky.next["createSession"] = [(400, {"error": "InvalidRequest", "message": "bad handle"}, {})]
    assert poller.fault().fault is SourceFault.UNAUTHORIZED


def test_a_session_that_stays_stale_is_given_up(sky: SkyServer, poller: Poller) -> None:
    poller.pages()
    stale: tuple[int, Any, dict[str, str]] = (
        400,
        {"error": "ExpiredToken", "message": "Token has expired"},
        {},
    )
    sky.next["searchPosts"] = [stale, stale]
    error = poller.fault()
    assert (error.fault, error.permanent) == (SourceFault.UNAUTHORIZED, True)


@pytest.mark.parametrize("session", [{}, [], {"accessJwt": "a b", "refreshJwt": "r"}, b"<html>"])
def test_what_is_no_session_is_a_bad_response(sky: SkyServer, poller: Poller, session: Any) -> None:
    sky.next["createSession"] = [(200, session, {})]
    assert poller.fault().fault is SourceFault.BAD_RESPONSE


def test_a_stranger_who_is_refused_is_told_to_log_in(sky: SkyServer, context: Context) -> None:
    error = stranger(sky, context).fault()
    assert (error.fault, error.permanent) == (SourceFault.UNAUTHORIZED, True)
    assert "give identifier and app_password" in str(error)
    sky.next["searchPosts"] = [(403, b"<html>forbidden</html>", {})]
    error = stranger(sky, context).fault()
    assert (error.fault, error.permanent) == (SourceFault.FORBIDDEN, True)
    assert "give identifier and app_password" in str(error)


# --- where we were --------------------------------------------------------------------------------


def test_each_post_is_read_once(sky: SkyServer, poller: Poller) -> None:
    first = sky.say("zonnehoek een", "zonnehoek twee")
    assert sorted(poller.ids()) == first
    second = sky.say("zonnehoek drie")
    assert poller.ids() == second
    poller.restart()
    assert poller.ids() == []


def test_a_post_that_was_indexed_late_is_read(sky: SkyServer, poller: Poller) -> None:
    sky.say("zonnehoek")
    poller.ids()
    late = sky.say("zonnehoek", ago=timedelta(minutes=8))
    assert poller.ids() == late
    assert poller.ids() == []


def test_the_first_poll_looks_back_as_far_as_configured(sky: SkyServer, context: Context) -> None:
    sky.say("zonnehoek oud")
    sky.clock.move(timedelta(hours=3))
    fresh = sky.say("zonnehoek nieuw")
    assert Poller(sky, context, backfill_hours=1).ids() == fresh
    assert len(Poller(sky, context, backfill_hours=4).ids()) == 2


def test_a_crash_between_pages_loses_nothing(sky: SkyServer, poller: Poller) -> None:
    said = sky.say(*(f"zonnehoek {number}" for number in range(350)))
    got = [post.id for page in poller.pages(die_after=2) for post in page.posts]
    assert len(got) == 200
    said += sky.say("zonnehoek na de klap")
    got += poller.ids()
    got += poller.ids()
    assert sorted(got) == said


def test_marks_that_are_refused_are_replaced_by_times(sky: SkyServer, poller: Poller) -> None:
    said = sky.say(*(f"zonnehoek {number}" for number in range(250)))
    sky.marks = False
    assert sorted(poller.ids()) == said


def test_strangers_page_by_time(sky: SkyServer, context: Context) -> None:
    sky.needs_login = False
    said = sky.say(*(f"zonnehoek {number}" for number in range(250)))
    assert sorted(stranger(sky, context).ids()) == said
    assert not any("cursor" in asked for asked in sky.called("searchPosts"))


@given(
    bursts=st.lists(st.integers(0, 260), min_size=1, max_size=4),
    deaths=st.lists(st.none() | st.integers(0, 2), min_size=4, max_size=4),
    marks=st.booleans(),
)
@settings(max_examples=8, deadline=None)
def test_whatever_happens_when_every_post_is_read(
    bursts: list[int], deaths: list[int | None], marks: bool
) -> None:
    clock = MovedClock(datetime(2026, 11, 10, 12, 0, tzinfo=UTC))
    with (
        SkyServer(clock) as sky,
        guarded_client(allow_private_addresses=["127.0.0.1"]) as client,
    ):
        context = Context("b", clock, client, [Query.parse("zonnehoek")])
        poller = Poller(sky, context, max_pages=2)
        sky.marks = marks
        said: list[str] = []
        got: set[str] = set()
        for burst, death in zip(bursts, deaths, strict=False):
            said += sky.say(*("zonnehoek" for _ in range(burst)))
            got |= {post.id for page in poller.pages(die_after=death) for post in page.posts}
        for _ in range(8):
            got |= set(poller.ids())
        assert got == set(said)
        assert not poller.rejects


def test_more_posts_in_one_second_than_a_page_holds_do_not_stop_us(
    sky: SkyServer, context: Context
) -> None:
    sky.needs_login = False
    before = sky.say("zonnehoek ervoor")
    for number in range(150):
        sky.say(f"zonnehoek {number}")
        sky.clock.move(-timedelta(seconds=1))
    poller = stranger(sky, context)
    got = poller.ids() + poller.ids()
    assert set(before) <= set(got)
    assert len(got) == 101  # the rest of that second is out of reach without marks


# --- limits and refusals --------------------------------------------------------------------------


def test_a_drained_quota_is_a_wish_for_a_pause(sky: SkyServer, poller: Poller) -> None:
    reset = int(datetime(2026, 11, 10, 12, 5, tzinfo=UTC).timestamp())
    headers = {"ratelimit-remaining": "0", "ratelimit-reset": str(reset)}
    sky.next["searchPosts"] = [(200, {"posts": []}, headers)]
    [page] = poller.pages()
    assert page.next_poll_after is not None
    assert page.next_poll_after >= timedelta()


def test_a_rate_limit_ends_at_its_reset(sky: SkyServer, poller: Poller) -> None:
    headers = {"ratelimit-reset": "4102444800"}
    sky.next["searchPosts"] = [(429, {"error": "RateLimitExceeded", "message": "slow"}, headers)]
    error = poller.fault()
    assert (error.fault, error.permanent) == (SourceFault.RATE_LIMITED, False)
    assert error.retry_after == timedelta(hours=24)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, {"error": "AuthFactorTokenRequired"}, SourceFault.UNAUTHORIZED),
        (401, {"error": "AccountTakedown"}, SourceFault.UNAUTHORIZED),
        (403, {"error": "Forbidden"}, SourceFault.FORBIDDEN),
        (404, {"error": "XRPCNotSupported"}, SourceFault.NOT_FOUND),
        (502, {"error": "UpstreamFailure"}, SourceFault.SERVER_ERROR),
        (200, b"", SourceFault.BAD_RESPONSE),
        (200, [], SourceFault.BAD_RESPONSE),
        (200, {"posts": {}}, SourceFault.BAD_RESPONSE),
        (200, b"[" * 100_000, SourceFault.BAD_RESPONSE),
    ],
    ids=str,
)
def test_a_refusal_has_one_word(
    sky: SkyServer, poller: Poller, status: int, body: Any, expected: SourceFault
) -> None:
    sky.next["searchPosts"] = [(status, body, {})]
    assert poller.fault().fault is expected


@pytest.mark.parametrize("method", ["createSession", "searchPosts"])
def test_password_and_tokens_are_in_no_message_no_log_and_no_cursor(
    sky: SkyServer, poller: Poller, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    poller.pages()
    poller.restart()
    sky.next[method] = [(500, {"error": "Oops"}, {})]
    shown = f"{poller.fault()} {caplog.text} {poller.options!r} {json.dumps(poller.cursor)}"
    assert PASSWORD not in shown
    assert "access-" not in shown
    assert "refresh-" not in shown


@pytest.mark.parametrize(
    "options",
    [
        {"identifier": "a.bsky.social"},
        {"app_password": "x"},
        {"base_url": "bsky.social"},
        {"languages": ["Dutch"]},
        {"searches": [" "]},
    ],
    ids=str,
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="BlueskyOptions"):
        BlueskyOptions.model_validate(options)


# --- recorded answers -----------------------------------------------------------------------------


def recorded(corpora: Path) -> dict[str, Any]:
    with (corpora / "api" / "bluesky_atproto.jsonl").open(encoding="utf-8") as file:
        return {record["cassette"]: record["body"] for record in map(json.loads, file)}


@pytest.mark.corpora
def test_a_recorded_post_with_an_image_and_a_quote_becomes_a_post(
    corpora: Path, sky: SkyServer, poller: Poller
) -> None:
    view = recorded(corpora)["thread_view_post_with_embed_media.json"]["thread"]["post"]
    quoted = view["embed"]["record"]["record"]
    sky.next["searchPosts"] = [(200, {"posts": [view]}, {})]
    [post] = poller.posts()
    assert post.id == "did:plc:kvwvcn5iqfooopmyzvb4qzba/3kaheyt6vpc22"
    assert (post.author, post.language, post.text) == ("test.marshal.dev", "en", "")
    assert post.published_at == datetime(2023, 9, 28, 12, 49, 36, 735_000, tzinfo=UTC)
    assert quoted["value"]["text"] not in (post.text or "-")
    view["record"]["embed"]["media"]["images"][0]["alt"] = "een bon"
    poller.cursor = None
    sky.next["searchPosts"] = [(200, {"posts": [view]}, {})]
    assert poller.posts()[0].text == "een bon"


@pytest.mark.corpora
def test_recorded_records_are_read_whatever_else_they_hold(
    corpora: Path, sky: SkyServer, poller: Poller
) -> None:
    rows = recorded(corpora)
    assert len(rows) == 10
    views = [
        {
            "uri": body["uri"].replace("3k2yinh52ne2x", f"3k2yinh52ne{number}"),
            "author": {"did": DID, "handle": rows["did_doc.json"]["handle"]},
            "record": body["value"],
            "indexedAt": "2024-02-22T19:58:14.000Z",
        }
        for number, (name, body) in enumerate(sorted(rows.items()))
        if name.endswith("_record.json")
    ]
    sky.next["searchPosts"] = [(200, {"posts": views}, {})]
    posts = poller.posts()
    assert sorted(post.text for post in posts) == ["foo", "new text114", "regress test"]
    # Likes and feeds are no posts.
    assert len(poller.rejects) == len(views) - len(posts)
    [zoned] = [post for post in posts if post.text == "new text114"]
    assert zoned.published_at == datetime(2024, 2, 22, 19, 58, 13, 903_293, tzinfo=UTC)
