"""Facebook: what is said on the page, what tags it, and what Meta pushes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from connectors.base import Context, SourceFault
from connectors.facebook import FacebookConnector, FacebookOptions
from connectors.intake import NotAdmittedError, Push, TakesPushes
from tests.connectors.conftest import MovedClock
from tests.connectors.faultserver import FaultServer, Reply
from tests.connectors.graphserver import (
    APP_SECRET,
    PAGE,
    TOKEN,
    GraphLike,
    pushed,
    refusal,
    reply,
    signed,
)
from tests.connectors.polling import Polling
from tests.connectors.pushing import Pushes

HOUR = timedelta(hours=1)


class Poller(Polling):
    """Polls as the daemon does; every poll a new process."""

    def __init__(self, server: FaultServer, context: Context, **options: Any) -> None:
        self.server = server
        self.pushes = Pushes()
        self.context = replace(context, intake=self.pushes)
        self.options = {
            "access_token": TOKEN,
            "app_secret": APP_SECRET,
            "page_id": PAGE,
            "base_url": server.url,
            **options,
        }
        super().__init__(self.made)

    def made(self) -> FacebookConnector:
        return FacebookConnector(FacebookOptions(**self.options), self.context)

    def push(self, *changes: tuple[str, Mapping[str, Any]], owner: str = PAGE) -> None:
        self.pushes.push(pushed("page", owner, *changes), self.context.now())

    def asked(self) -> list[str]:
        return [request.path.removeprefix("/v25.0/") for request in self.server.requests]


@pytest.fixture
def graph(clock: MovedClock, server: FaultServer) -> GraphLike:
    server.answer = GraphLike(clock)
    return server.answer


@pytest.fixture
def poller(graph: GraphLike, server: FaultServer, context: Context) -> Poller:
    return Poller(server, context)


# --- what is read ---------------------------------------------------------------------------------


def test_a_comment_under_a_post_of_the_page_is_about_the_brand(
    graph: GraphLike, poller: Poller
) -> None:
    above = graph.post("Nieuw brood", by=PAGE)
    name = graph.comment(above, "Alweer te laat")
    _, post = sorted(poller.posts(), key=lambda one: one.published_at)
    assert (post.platform, post.id, post.text, post.author) == (
        "facebook",
        name,
        "Alweer te laat",
        "78",
    )
    assert post.url == f"https://www.facebook.com/{PAGE}/posts/5001?comment_id=5002"
    assert (post.engagement.likes, post.engagement.replies) == (2, 1)
    assert post.about_brand
    assert post.published_at.isoformat() == "2026-11-10T12:00:01+00:00"


def test_pictures_of_posts_and_comments_come_along(graph: GraphLike, poller: Poller) -> None:
    picture, other = "https://cdn.example/1.jpg?sig=a", "https://cdn.example/2.jpg"
    above = graph.post("Nieuw brood", by=PAGE, full_picture=picture)
    shown = {"media": {"image": {"height": 720, "src": other, "width": 960}}}
    graph.comment(above, "Kijk dan", attachment=shown)
    graph.comment(above, "Niets", attachment={"media": [], "type": "share"})
    graph.comment(above, "Geen adres", attachment={"media": {"image": {"src": "data:image"}}})
    images = {post.text: post.images for post in poller.posts()}
    assert images == {
        "Nieuw brood": (picture,),
        "Kijk dan": (other,),
        "Niets": (),
        "Geen adres": (),
    }


def test_the_pages_own_posts_are_its_own(graph: GraphLike, poller: Poller) -> None:
    name = graph.post("Nieuw brood", by=PAGE, shares={"count": 3})
    graph.objects[name]["reactions"] = {"summary": {"total_count": 9}}
    [post] = poller.posts()
    assert (post.id, post.author, post.about_brand) == (name.split("_")[1], PAGE, False)
    assert post.url == f"https://www.facebook.com/{PAGE}/posts/5001"
    assert (post.engagement.likes, post.engagement.shares) == (9, 3)
    poller.cursor = None
    poller.options["own_posts"] = False
    assert poller.posts() == []


@pytest.mark.parametrize("edge", ["feed", "tagged"])
def test_posts_of_strangers_carry_no_name(graph: GraphLike, poller: Poller, edge: str) -> None:
    graph.post("Bedankt, zonnehoek!", by="77", edge=edge)
    [post] = poller.posts()
    assert post.about_brand
    assert (post.id, post.url) == ("5001", "https://www.facebook.com/5001")
    assert post.author == "77"


def test_posts_that_only_show_something_are_left_out(graph: GraphLike, poller: Poller) -> None:
    graph.post(None, edge="tagged")
    graph.post("", by=PAGE)
    assert poller.posts() == []
    assert not poller.rejects


def test_an_author_whom_meta_does_not_name_is_nobody(graph: GraphLike, poller: Poller) -> None:
    name = graph.post("zonnehoek", edge="tagged")
    del graph.objects[name]["from"]
    assert [post.author for post in poller.posts()] == [None]


@pytest.mark.parametrize(
    "fields",
    [
        {"id": "../x"},
        {"id": None},
        {"created_time": "gisteren"},
        {"created_time": None},
        {"message": 7},
        {"from": "anna"},
        {"shares": 3},
    ],
    ids=str,
)
def test_an_odd_item_is_set_aside_once_without_its_author(
    graph: GraphLike, poller: Poller, fields: dict[str, Any]
) -> None:
    name = graph.post("zonnehoek", edge="tagged", by="77")
    graph.objects[name] |= fields
    graph.post("zonnehoek goed", edge="tagged")
    assert [post.text for post in poller.posts()] == ["zonnehoek goed"]
    graph.clock.move(HOUR)
    poller.pages()
    assert len(poller.rejects) == 1


def test_every_call_is_proved_and_keeps_the_token_out_of_the_address(
    graph: GraphLike, poller: Poller
) -> None:
    poller.pages()
    for request in poller.server.requests:
        assert TOKEN not in json.dumps(dict(request.query))
        assert len(request.query["appsecret_proof"]) == 64


def test_without_the_apps_secret_calls_are_not_proved(graph: GraphLike, poller: Poller) -> None:
    del poller.options["app_secret"]
    graph.secret = None
    poller.pages()
    assert all("appsecret_proof" not in request.query for request in poller.server.requests)
    assert poller.made().door is None


# --- sweeping -------------------------------------------------------------------------------------


def test_each_post_comes_once_also_after_a_restart(graph: GraphLike, poller: Poller) -> None:
    above = graph.post("Nieuw brood", by=PAGE)
    graph.comment(above, "een")
    assert len(poller.ids()) == 2
    graph.clock.move(HOUR)
    assert poller.ids() == []
    later = graph.comment(above, "twee")
    graph.clock.move(HOUR)
    assert poller.ids() == [later]


def test_lists_are_read_when_it_is_time_and_not_before(graph: GraphLike, poller: Poller) -> None:
    poller.pages()
    assert poller.asked() == [f"{PAGE}/feed", f"{PAGE}/tagged"]
    graph.post("zonnehoek", edge="tagged")
    graph.clock.move(timedelta(minutes=14))
    assert poller.ids() == []
    assert len(poller.asked()) == 2
    graph.clock.move(timedelta(minutes=1))
    assert poller.ids() == ["5001"]


@pytest.mark.parametrize("wrong", [timedelta(days=-2), timedelta(hours=5)], ids=str)
def test_a_clock_that_runs_wrong_loses_nothing(
    graph: GraphLike, poller: Poller, clock: MovedClock, wrong: timedelta
) -> None:
    local = MovedClock(clock())
    poller.context = replace(poller.context, now=local)
    said, got = [], poller.ids()
    for off in (timedelta(), wrong, wrong, timedelta(), timedelta()):
        said.append(graph.post("zonnehoek", edge="tagged").split("_")[1])
        said.append(graph.post("zonnehoek", by="77").split("_")[1])
        clock.move(HOUR)
        local.moment = clock() + off
        got += poller.ids()
    assert sorted(got) == sorted(said)


def test_many_comments_are_read_page_by_page_over_several_polls(
    graph: GraphLike, poller: Poller
) -> None:
    poller.options["max_calls"] = 4
    above = graph.post("Nieuw brood", by=PAGE)
    said = {graph.comment(above, f"nummer {number}") for number in range(420)}
    first = poller.ids()
    assert 100 < len(first) < 300
    got = set(first)
    for _ in range(4):
        got |= set(poller.ids())
    assert got == said | {"5001"}
    calls = len(poller.asked())
    poller.ids()
    assert len(poller.asked()) == calls, "the sweep is over"


def test_a_crash_repeats_a_page_at_most(graph: GraphLike, poller: Poller) -> None:
    above = graph.post("Nieuw brood", by=PAGE)
    said = {graph.comment(above, f"nummer {number}") for number in range(260)} | {"5001"}
    stored = [post.id for page in poller.pages(die_after=2) for post in page.posts]
    assert 50 < len(stored) < 260
    stored += poller.ids()
    assert set(stored) == said
    assert len(stored) == len(said)


def test_what_was_tagged_long_after_it_was_written_is_found(
    graph: GraphLike, poller: Poller
) -> None:
    poller.pages()
    graph.clock.move(timedelta(days=5))
    name = graph.post("Mooie bakker", edge="nowhere")
    for _ in range(3):
        graph.clock.move(timedelta(days=1))
        poller.pages()
    graph.objects[name]["_edge"] = "tagged"
    graph.clock.move(HOUR)
    assert poller.ids() == [name.split("_")[1]]


def test_what_is_older_than_the_look_back_is_not_wanted(graph: GraphLike, poller: Poller) -> None:
    above = graph.post("Nieuw brood", by=PAGE)
    graph.comment(above, "oud")
    graph.post("oud", edge="tagged")
    graph.clock.move(timedelta(hours=25))
    new = graph.comment(above, "nieuw")
    assert poller.ids() == [new]
    graph.clock.move(HOUR)
    assert poller.ids() == []


def test_a_place_in_a_list_that_meta_forgot_is_read_from_the_newest_again(
    graph: GraphLike, poller: Poller
) -> None:
    poller.options["max_calls"] = 4
    above = graph.post("Nieuw brood", by=PAGE)
    said = [graph.comment(above, f"nummer {number}") for number in range(300)]
    got = set(poller.ids())
    last = min(int(name.split("_")[1]) for name in got if "_" in name)
    del graph.objects[f"5001_{last}"]
    for _ in range(6):
        got |= set(poller.ids())
    assert got >= set(said)


def test_comments_of_a_post_that_was_deleted_meanwhile_are_given_up(
    graph: GraphLike, poller: Poller
) -> None:
    poller.options["max_calls"] = 4
    above = graph.post("Nieuw brood", by=PAGE)
    for number in range(420):
        graph.comment(above, f"nummer {number}")
    poller.pages()
    del graph.objects[above]
    graph.clock.move(HOUR)
    other = graph.post("zonnehoek", edge="tagged")
    got = [ident for _ in range(3) for ident in poller.ids()]
    assert other.split("_")[1] in got


def test_the_token_goes_nowhere_else(graph: GraphLike, poller: Poller) -> None:
    for number in range(60):
        graph.post(f"nummer {number}", edge="tagged")
    assert len(poller.ids()) == 60
    assert all(request.query.get("limit") != "1" for request in poller.server.requests)


# --- pushes ---------------------------------------------------------------------------------------


def comment_value(name: str = "5001_9", **more: Any) -> dict[str, Any]:
    return {
        "from": {"id": "78", "name": "Anna de Vries"},
        "item": "comment",
        "verb": "add",
        "comment_id": name,
        "post_id": f"{PAGE}_5001",
        "parent_id": f"{PAGE}_5001",
        "created_time": 1_794_308_390,
        "message": "Alweer te laat",
        "post": {"permalink_url": f"https://www.facebook.com/{PAGE}/posts/5001"},
        **more,
    }


def swept(poller: Poller) -> Poller:
    """After this poll the lists are not read for a quarter of an hour."""
    poller.pages()
    poller.server.requests.clear()
    return poller


def test_a_pushed_comment_needs_no_call(poller: Poller) -> None:
    swept(poller)
    poller.push(("feed", comment_value()))
    [post] = poller.posts()
    assert (post.id, post.text, post.author) == ("5001_9", "Alweer te laat", "78")
    assert post.published_at.isoformat() == "2026-11-10T10:59:50+00:00"
    assert post.url == f"https://www.facebook.com/{PAGE}/posts/5001"
    assert post.about_brand
    assert poller.asked() == []


def test_what_was_pushed_and_then_swept_counts_once(graph: GraphLike, poller: Poller) -> None:
    swept(poller)
    above = graph.post("Nieuw brood", by=PAGE)
    name = graph.comment(above, "Alweer te laat")
    poller.push(("feed", comment_value(name, created_time=1_794_312_001)))
    assert poller.ids() == [name]
    graph.clock.move(HOUR)
    assert poller.ids() == ["5001"]


def test_a_mention_elsewhere_is_asked_for(graph: GraphLike, poller: Poller) -> None:
    swept(poller)
    name = graph.post("Nooit meer naar zonnehoek", by="77", edge="elsewhere")
    poller.push(("mention", {"post_id": name, "item": "post", "verb": "add", "sender_id": "77"}))
    [post] = poller.posts()
    assert poller.asked() == [name]
    assert (post.text, post.author) == ("Nooit meer naar zonnehoek", "77")
    assert post.url == f"https://www.facebook.com/{name.split('_')[1]}"
    assert post.about_brand


def test_a_comment_that_mentions_the_page_elsewhere_does_not_link_its_author(
    graph: GraphLike, poller: Poller
) -> None:
    swept(poller)
    above = graph.post("Waar kopen jullie brood?", by="77", edge="elsewhere")
    name = graph.comment(above, "bij zonnehoek", permalink_url="https://www.facebook.com/anna/x")
    poller.push(
        ("mention", {"comment_id": name, "post_id": above, "item": "comment", "verb": "add"})
    )
    [post] = poller.posts()
    assert post.url == f"https://www.facebook.com/{above.split('_')[1]}"
    assert post.thread == post.url


def test_a_mention_that_meta_does_not_show_is_what_it_told(poller: Poller) -> None:
    swept(poller)
    told = {"post_id": "77_6001", "item": "post", "verb": "add", "message": "Nooit meer @zonnehoek"}
    poller.push(("mention", {**told, "sender_id": "77", "created_time": 1_794_308_390}))
    [post] = poller.posts()
    assert (post.id, post.text, post.author) == ("6001", "Nooit meer @zonnehoek", "77")


def test_a_mention_of_which_nothing_can_be_read_is_left_out(poller: Poller) -> None:
    swept(poller)
    poller.push(("mention", {"post_id": "77_6001", "item": "post", "verb": "add"}))
    assert poller.posts() == []


def test_an_edited_comment_comes_again_as_it_is_now(graph: GraphLike, poller: Poller) -> None:
    above = graph.post("Nieuw brood", by=PAGE)
    name = graph.comment(above, "Alweer te laat")
    poller.pages()
    graph.objects[name]["message"] = "Alweer op tijd"
    poller.push(("feed", comment_value(name, verb="edited", edited_time=1_794_311_990)))
    [post] = poller.posts()
    assert (post.id, post.text) == (name, "Alweer op tijd")
    assert post.edited_at is not None
    assert post.edited_at.isoformat() == "2026-11-10T11:59:50+00:00"


@pytest.mark.parametrize(
    "change",
    [
        ("feed", {"item": "reaction", "verb": "add", "post_id": f"{PAGE}_1"}),
        ("feed", comment_value(verb="hide")),
        ("feed", {"item": "like", "verb": "add"}),
        ("ratings", {"item": "rating", "verb": "add", "review_text": "goed"}),
        ("leadgen", {"form_id": "1"}),
    ],
    ids=lambda change: f"{change[0]} {change[1].get('item')} {change[1].get('verb')}",
)
def test_what_says_nothing_is_passed_over(
    poller: Poller, change: tuple[str, Mapping[str, Any]]
) -> None:
    swept(poller)
    poller.push(change)
    assert poller.posts() == []
    assert poller.asked() == []
    poller.pages()
    assert not poller.pushes.arrivals


def test_what_was_taken_back_is_told(poller: Poller) -> None:
    swept(poller)
    poller.push(
        ("feed", comment_value(verb="remove")),
        ("feed", {"item": "status", "verb": "delete", "post_id": "77_6001"}),
    )
    deleted = [gone for page in poller.pages() for gone in page.deleted]
    assert deleted == [("facebook", "5001_9"), ("facebook", "6001")]
    assert poller.asked() == []
    assert not any(page.deleted for page in poller.pages())


def test_what_is_about_another_page_is_not_ours(poller: Poller) -> None:
    swept(poller)
    poller.push(("feed", comment_value()), owner="1002")
    assert poller.posts() == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"[" * 5_000,
        b'{"object": "page", "entry": 7}',
        b'{"object": "page", "entry": [7, {"id": "1001", "changes": [7, {"field": 1}]}]}',
        b'{"object": "page", "entry": [{"id": "1001", "changes": [{"field": "feed", "value": 7}]}]}',
        b'{"object": "user", "entry": [{"id": "1001", "changes": []}]}',
    ],
    ids=lambda body: body[:60].decode(),
)
def test_an_odd_push_harms_nobody(poller: Poller, body: bytes) -> None:
    swept(poller)
    poller.pushes.push(body)
    poller.push(("feed", comment_value()))
    assert poller.ids() == ["5001_9"]


@pytest.mark.parametrize(
    "value",
    [
        comment_value("../../me"),
        {"item": "post", "verb": "add"},
        comment_value(created_time="soon"),
        comment_value(message=7),
    ],
    ids=["path", "nothing", "time", "message"],
)
def test_an_odd_event_is_set_aside(poller: Poller, value: dict[str, Any]) -> None:
    swept(poller)
    poller.push(("feed", value), ("feed", comment_value()))
    assert poller.ids() == ["5001_9"]
    assert len(poller.rejects) == 1


def test_a_mention_that_cannot_be_asked_for_now_is_asked_for_later(
    graph: GraphLike, poller: Poller
) -> None:
    swept(poller)
    name = graph.post("zonnehoek", by="77", edge="elsewhere")
    poller.push(("mention", {"post_id": name, "item": "post", "verb": "add"}))
    graph.refuse = lambda path: refusal(2, status=500) if path == name else None
    assert poller.fault().fault is SourceFault.SERVER_ERROR
    poller.push(("feed", comment_value()))
    assert poller.ids() == ["5001_9"], "one that fails does not keep others"
    graph.clock.move(HOUR)
    tagged = graph.post("zonnehoek", edge="tagged")
    assert tagged.split("_")[1] in poller.ids(), "nor the lists"
    graph.refuse = lambda _path: None
    assert poller.ids() == [name.split("_")[1]]
    poller.server.requests.clear()
    assert poller.ids() == []
    assert poller.asked() == []


def test_what_was_asked_for_in_vain_for_two_days_is_set_aside(
    graph: GraphLike, poller: Poller
) -> None:
    swept(poller)
    poller.push(("mention", {"post_id": "77_6001", "item": "post", "verb": "add"}))
    graph.refuse = lambda path: refusal(1, status=500) if path == "77_6001" else None
    poller.fault()
    graph.clock.move(timedelta(hours=49))
    assert poller.ids() == []
    [reason] = poller.rejects
    assert reason.startswith("a post that was announced and could not be asked for")
    poller.server.requests.clear()
    poller.pages()
    assert "77_6001" not in poller.asked()


def test_a_flood_of_mentions_uses_up_only_so_many_calls(graph: GraphLike, poller: Poller) -> None:
    poller.options["max_calls"] = 8
    names = [graph.post("zonnehoek", by="77", edge="elsewhere") for _ in range(20)]
    for name in names:
        poller.push(("mention", {"post_id": name, "item": "post", "verb": "add"}))
    got = poller.ids()
    assert poller.asked() == [*names[:6], f"{PAGE}/feed", f"{PAGE}/tagged"]
    for _ in range(4):
        got += poller.ids()
    assert got == [name.split("_")[1] for name in names]


# --- limits and refusals --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "minutes"),
    [
        ({"X-App-Usage": '{"call_count":28,"total_time":25,"total_cputime":25}'}, None),
        ({"X-App-Usage": '{"call_count":85,"total_time":25,"total_cputime":25}'}, 15),
        ({"X-Page-Usage": '{"call_count":1,"total_time":97,"total_cputime":2}'}, 60),
        (
            {
                "X-Business-Use-Case-Usage": '{"1001":[{"type":"pages","call_count":100,'
                '"total_cputime":1,"total_time":1,"estimated_time_to_regain_access":19}]}'
            },
            19,
        ),
        ({"X-App-Usage": "busy"}, None),
        ({"X-App-Usage": "[1]", "X-Business-Use-Case-Usage": '{"1": 7}'}, None),
        ({"X-App-Usage": '{"call_count":"99"}'}, None),
    ],
    ids=str,
)
def test_what_is_nearly_used_up_asks_for_a_pause(
    graph: GraphLike, poller: Poller, headers: dict[str, str], minutes: int | None
) -> None:
    graph.headers = headers
    pages = poller.pages()
    wish = None if minutes is None else timedelta(minutes=minutes)
    assert pages[-1].next_poll_after == wish
    assert len(poller.asked()) == (2 if minutes is None else 1), "and stops at once"
    graph.headers = {}
    graph.clock.move(HOUR)
    poller.pages()
    assert poller.asked()[-1] == f"{PAGE}/tagged", "and goes on later"


@pytest.mark.parametrize(
    ("answer", "fault", "permanent", "remedy"),
    [
        (
            refusal(190, "Expired", 463),
            SourceFault.UNAUTHORIZED,
            True,
            "it has expired; make a new",
        ),
        (refusal(190, "Changed", 460), SourceFault.UNAUTHORIZED, True, "changed the password"),
        (refusal(190), SourceFault.UNAUTHORIZED, True, "no longer good; make a new token"),
        (refusal(102), SourceFault.UNAUTHORIZED, True, "make a new token"),
        (refusal(10), SourceFault.FORBIDDEN, True, "lacks a permission"),
        (refusal(200), SourceFault.FORBIDDEN, True, "docs/sources/facebook.md"),
        (refusal(283), SourceFault.FORBIDDEN, True, "lacks a permission"),
        (refusal(3), SourceFault.FORBIDDEN, True, "capability"),
        (refusal(4), SourceFault.RATE_LIMITED, False, "the app has used up its calls"),
        (refusal(17), SourceFault.RATE_LIMITED, False, "the token's owner has used up"),
        (refusal(32), SourceFault.RATE_LIMITED, False, "the page has used up its calls"),
        (refusal(613), SourceFault.RATE_LIMITED, False, "raise sweep_minutes"),
        (refusal(80001), SourceFault.RATE_LIMITED, False, "of this day"),
        (refusal(368), SourceFault.FORBIDDEN, False, "blocked the app"),
        (refusal(100, "No such id", 33), SourceFault.NOT_FOUND, True, "compare the id"),
        (
            refusal(100, "Invalid appsecret_proof provided in the API argument"),
            SourceFault.BAD_REQUEST,
            True,
            "two different apps",
        ),
        (refusal(2635), SourceFault.BAD_REQUEST, True, "v25.0 is too old"),
        (refusal(1, status=500), SourceFault.SERVER_ERROR, False, ""),
        (refusal(2, status=503), SourceFault.SERVER_ERROR, False, ""),
        (refusal(99_999, "Odd", status=403), SourceFault.FORBIDDEN, True, "Odd"),
        (refusal(4, status=200), SourceFault.RATE_LIMITED, False, "used up"),
        (reply({"error": {"code": "x"}}, 400), SourceFault.BAD_REQUEST, True, ""),
        (reply({"error": "no"}, 400), SourceFault.BAD_REQUEST, True, ""),
        (reply({"data": 7}), SourceFault.BAD_RESPONSE, False, "no list"),
        (reply([1]), SourceFault.BAD_RESPONSE, False, "Graph API"),
        (Reply(body=b"[" * 50_000), SourceFault.BAD_RESPONSE, False, "not JSON"),
    ],
)
def test_a_refusal_says_what_to_do_and_shows_no_secret(
    poller: Poller, answer: Reply, fault: SourceFault, permanent: bool, remedy: str
) -> None:
    poller.server.answer = answer
    error = poller.fault()
    assert (error.fault, error.permanent) == (fault, permanent)
    assert remedy in str(error)
    for secret in (TOKEN, APP_SECRET):
        assert secret not in str(error)


def test_a_refusal_that_quotes_the_token_is_not_passed_on(
    server: FaultServer, poller: Poller
) -> None:
    server.answer = refusal(190, f"Malformed access token {TOKEN}")
    assert TOKEN not in str(poller.fault())


def test_too_many_calls_pass_on_when_to_come_back(server: FaultServer, poller: Poller) -> None:
    usage = '{"1": [{"call_count": 100, "estimated_time_to_regain_access": 42}]}'
    body = refusal(32).body
    server.answer = Reply(400, body, {"X-Business-Use-Case-Usage": usage})
    assert poller.fault().retry_after == timedelta(minutes=42)
    server.answer = Reply(400, body, {"Retry-After": "7"})
    assert poller.fault().retry_after == timedelta(seconds=7)
    server.answer = Reply(400, body)
    assert poller.fault().retry_after == timedelta(minutes=15)


def test_a_token_that_expires_while_a_mention_waits_loses_nothing(
    graph: GraphLike, poller: Poller
) -> None:
    swept(poller)
    name = graph.post("zonnehoek", by="77", edge="elsewhere")
    poller.push(("mention", {"post_id": name, "item": "post", "verb": "add"}))
    graph.good_token = "another"
    assert poller.fault().fault is SourceFault.UNAUTHORIZED
    graph.clock.move(timedelta(days=9))
    assert poller.fault().fault is SourceFault.UNAUTHORIZED
    poller.options["access_token"] = "another"
    assert poller.ids() == [name.split("_")[1]]


# --- the door -------------------------------------------------------------------------------------


def test_meta_is_told_that_the_address_is_ours(poller: Poller) -> None:
    poller.options["verify_token"] = "a word of ours, long".replace(" ", "-")
    connector = poller.made()
    assert isinstance(connector, TakesPushes)
    assert connector.door is not None
    query = {
        "hub.mode": "subscribe",
        "hub.challenge": "1158201444",
        "hub.verify_token": "a-word-of-ours,-long",
    }
    assert connector.door.greet(query).body == b"1158201444"
    for change in (
        {"hub.verify_token": "another"},
        {"hub.verify_token": "é"},
        {"hub.mode": "unsubscribe"},
        {"hub.challenge": "<script>"},
        {"hub.challenge": ""},
    ):
        with pytest.raises(NotAdmittedError):
            connector.door.greet({**query, **change})


def test_without_a_word_of_ours_nobody_is_greeted(poller: Poller) -> None:
    door = poller.made().door
    assert door is not None
    with pytest.raises(NotAdmittedError):
        door.greet({"hub.mode": "subscribe", "hub.challenge": "1", "hub.verify_token": ""})


def test_only_what_meta_signed_comes_in(poller: Poller) -> None:
    door = poller.made().door
    assert door is not None
    body = pushed("page", PAGE, ("feed", comment_value()))
    good = signed(body)
    assert door.admit(good) == door.admit(good)
    assert door.admit(signed(b"{}")) != door.admit(good)
    for bad in (
        Push({}, body),
        Push(good.headers, body + b" "),
        signed(body, "another"),
        Push({"x-hub-signature-256": good.headers["x-hub-signature-256"][7:]}, body),
        Push({"x-hub-signature": good.headers["x-hub-signature-256"]}, body),
    ):
        with pytest.raises(NotAdmittedError, match="compare app_secret"):
            door.admit(bad)


@pytest.mark.parametrize(
    "options",
    [
        {"page_id": "zonnehoek"},
        {"page_id": "1/../2"},
        {"access_token": "two words"},
        {"access_token": ""},
        {"app_secret": "two words"},
        {"verify_token": "short"},
        {"verify_token": "long-enough-but-nothing-checks", "app_secret": None},
        {"version": "25"},
        {"base_url": "ftp://x"},
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(poller: Poller, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"page_id|one word|app_secret|version|base_url"):
        FacebookOptions(**{**poller.options, **options})
