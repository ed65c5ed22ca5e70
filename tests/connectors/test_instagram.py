"""Instagram: comments on the account, media that tag it, mentions that Meta pushes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from connectors.base import Context, SourceFault
from connectors.instagram import InstagramConnector, InstagramOptions
from connectors.intake import TakesPushes
from tests.connectors.conftest import MovedClock
from tests.connectors.faultserver import FaultServer
from tests.connectors.graphserver import (
    ACCOUNT,
    APP_SECRET,
    TOKEN,
    GraphLike,
    pushed,
    refusal,
    signed,
)
from tests.connectors.polling import Polling
from tests.connectors.pushing import Pushes

HOUR = timedelta(hours=1)
US = "zonnehoek"


class Poller(Polling):
    """Polls as the daemon does, with one connector until ``restart``."""

    def __init__(self, server: FaultServer, context: Context, **options: Any) -> None:
        self.server = server
        self.pushes = Pushes()
        self.context = replace(context, intake=self.pushes)
        self.options = {
            "access_token": TOKEN,
            "app_secret": APP_SECRET,
            "account_id": ACCOUNT,
            "base_url": server.url,
            **options,
        }
        self.restart()
        super().__init__(lambda: self.connector)

    def restart(self) -> None:
        self.connector = InstagramConnector(InstagramOptions(**self.options), self.context)

    def push(self, *changes: tuple[str, Mapping[str, Any]], owner: str = ACCOUNT) -> None:
        self.pushes.push(pushed("instagram", owner, *changes), self.context.now())

    def asked(self) -> list[str]:
        return [request.path.removeprefix("/v25.0/") for request in self.server.requests]


@pytest.fixture
def graph(clock: MovedClock, server: FaultServer) -> GraphLike:
    server.answer = GraphLike(clock)
    return server.answer


@pytest.fixture
def poller(graph: GraphLike, server: FaultServer, context: Context) -> Poller:
    return Poller(server, context)


# --- lists ----------------------------------------------------------------------------------------


def test_a_comment_and_a_reply_under_own_media_are_about_the_brand(
    graph: GraphLike, poller: Poller
) -> None:
    above = graph.media("Nieuw brood", by=US)
    said = graph.remark(above, "Alweer te laat", by="anna")
    answer = graph.remark(above, "Vinden wij ook", by="bob", reply_to=said)
    graph.remark(above, "Sorry!", by=US, reply_to=said)
    posts = {post.id: post for post in poller.posts()}
    link = f"https://www.instagram.com/p/C{above}/"
    assert [posts[name].about_brand for name in (above, said, answer)] == [False, True, True]
    assert {post.url for post in posts.values()} == {link}
    assert {post.thread for post in posts.values() if post.id != above} == {link}
    assert (posts[said].text, posts[said].author) == ("Alweer te laat", "anna")
    assert posts[said].engagement.likes == 1
    assert (posts[above].author, posts[above].engagement.replies) == (US, 3)
    own = [post for post in posts.values() if post.author == US]
    assert [post.text for post in own] == ["Nieuw brood", "Sorry!"]
    assert not any(post.about_brand for post in own)


def test_media_that_tag_the_account_are_about_the_brand(graph: GraphLike, poller: Poller) -> None:
    name = graph.media("Lekker!", by="anna", edge="tags")
    graph.media(None, by="bob", edge="tags")
    [post] = poller.posts()
    assert (post.platform, post.id, post.text, post.author) == (
        "instagram",
        name,
        "Lekker!",
        "anna",
    )
    assert post.about_brand
    assert (post.engagement.likes, post.engagement.replies) == (5, 3)


@pytest.mark.parametrize(
    ("fields", "images"),
    [
        ({"media_type": "IMAGE", "media_url": "https://cdn.example/1"}, ("https://cdn.example/1",)),
        ({"media_type": "VIDEO", "media_url": "https://cdn.example/1.mp4"}, ()),
        ({"media_type": "IMAGE"}, ()),
        (
            {
                "media_type": "CAROUSEL_ALBUM",
                "media_url": "https://cdn.example/1",
                "children": {
                    "data": [
                        {"media_type": "IMAGE", "media_url": "https://cdn.example/1", "id": "1"},
                        {"media_type": "VIDEO", "media_url": "https://cdn.example/2", "id": "2"},
                        {"media_type": "IMAGE", "media_url": "https://cdn.example/3", "id": "3"},
                        {"media_type": "IMAGE", "media_url": "javascript:alert(1)", "id": "4"},
                        "odd",
                    ]
                },
            },
            ("https://cdn.example/1", "https://cdn.example/3"),
        ),
        ({"media_type": "CAROUSEL_ALBUM", "children": "odd"}, ()),
    ],
    ids=["photo", "film", "withheld", "album", "odd"],
)
def test_photos_come_along(
    graph: GraphLike, poller: Poller, fields: dict[str, Any], images: tuple[str, ...]
) -> None:
    graph.objects[graph.media("Nieuw brood", by=US)] |= fields
    [post] = poller.posts()
    assert post.images == images


def test_own_captions_may_be_left_out(graph: GraphLike, poller: Poller) -> None:
    graph.media("Nieuw brood", by=US)
    poller.options["own_posts"] = False
    poller.restart()
    assert poller.ids() == []


def test_each_post_comes_once_also_after_a_restart(graph: GraphLike, poller: Poller) -> None:
    above = graph.media("Nieuw brood", by=US)
    first = graph.remark(above, "een")
    assert sorted(poller.ids()) == sorted([above, first])
    poller.restart()
    graph.clock.move(HOUR)
    assert poller.ids() == []
    later = graph.remark(above, "twee")
    reply = graph.remark(above, "drie", reply_to=first)
    graph.clock.move(HOUR)
    assert sorted(poller.ids()) == sorted([later, reply])


def test_many_tags_and_comments_are_read_over_several_polls(
    graph: GraphLike, poller: Poller
) -> None:
    poller.options["max_calls"] = 4
    poller.restart()
    above = graph.media("Nieuw brood", by=US)
    said = {graph.remark(above, f"nummer {number}") for number in range(230)}
    said |= {graph.media(f"lekker {number}", by="anna", edge="tags") for number in range(60)}
    got = set(poller.ids())
    assert 100 < len(got) < 290
    for _ in range(3):
        got |= set(poller.ids())
    assert got == said | {above}


def test_old_comments_are_not_read_again_and_again(graph: GraphLike, poller: Poller) -> None:
    above = graph.media("Nieuw brood", by=US)
    for number in range(120):
        graph.remark(above, f"nummer {number}")
    poller.pages()
    graph.clock.move(timedelta(hours=3))
    poller.pages()
    graph.clock.move(HOUR)
    poller.server.requests.clear()
    poller.pages()
    assert poller.asked() == [f"{ACCOUNT}/media", f"{ACCOUNT}/tags"]


def test_a_crash_repeats_a_page_at_most(graph: GraphLike, poller: Poller) -> None:
    above = graph.media("Nieuw brood", by=US)
    said = {graph.remark(above, f"nummer {number}") for number in range(230)} | {above}
    stored = [post.id for page in poller.pages(die_after=2) for post in page.posts]
    stored += poller.ids()
    assert set(stored) == said
    assert len(stored) == len(said)


def test_comments_of_media_that_were_deleted_meanwhile_are_given_up(
    graph: GraphLike, poller: Poller
) -> None:
    poller.options["max_calls"] = 4
    poller.restart()
    above = graph.media("Nieuw brood", by=US)
    for number in range(260):
        graph.remark(above, f"nummer {number}")
    poller.pages()
    del graph.objects[above]
    poller.pages()
    tag = graph.media("lekker", by="anna", edge="tags")
    graph.clock.move(HOUR)
    assert tag in poller.ids()


@pytest.mark.parametrize(
    "fields",
    [{"id": "../x"}, {"timestamp": "gisteren"}, {"caption": 7}, {"username": 7}],
    ids=str,
)
def test_an_odd_item_is_set_aside_once(
    graph: GraphLike, poller: Poller, fields: dict[str, Any]
) -> None:
    name = graph.media("lekker", by="anna", edge="tags")
    graph.objects[name] |= fields
    good = graph.media("goed", by="anna", edge="tags")
    assert poller.ids() == [good]
    graph.clock.move(HOUR)
    poller.pages()
    assert len(poller.rejects) == 1


@pytest.mark.parametrize("fields", [{"username": "a b"}, {"permalink": "https://x.example/a b"}])
def test_odd_own_media_do_not_keep_their_comments(
    graph: GraphLike, poller: Poller, fields: dict[str, Any]
) -> None:
    above = graph.media("Nieuw brood", by=US)
    graph.objects[above] |= fields
    said = {graph.remark(above, f"nummer {number}") for number in range(120)}
    assert set(poller.ids()) == said | {above}


# --- pushes ---------------------------------------------------------------------------------------


def swept(poller: Poller) -> Poller:
    poller.pages()
    poller.server.requests.clear()
    return poller


def test_a_pushed_comment_needs_no_call_and_links_where_it_stands(
    graph: GraphLike, poller: Poller
) -> None:
    above = graph.media("Nieuw brood", by=US)
    swept(poller)
    value = {
        "id": "17899",
        "text": "Alweer te laat",
        "from": {"id": "55", "username": "anna"},
        "media": {"id": above, "media_product_type": "FEED"},
    }
    poller.push(("comments", value))
    poller.push(("comments", {**value, "id": "17900", "from": {"id": ACCOUNT, "username": US}}))
    posts = poller.posts()
    assert [(post.id, post.author, post.about_brand) for post in posts] == [
        ("17899", "anna", True),
        ("17900", US, False),
    ]
    assert posts[0].published_at == graph.clock()
    assert posts[0].url == f"https://www.instagram.com/p/C{above}/"
    assert poller.asked() == []


def test_a_pushed_comment_may_stand_right_in_the_entry(poller: Poller) -> None:
    swept(poller)
    poller.pushes.push(
        b'{"object": "instagram", "entry": [{"id": "%s", "time": 1, "field": "comments",'
        b' "value": {"id": "17899", "text": "Te laat", "from": {"id": "55", "username": "anna"}}}]}'
        % ACCOUNT.encode()
    )
    assert poller.ids() == ["17899"]


def test_a_mention_in_a_caption_is_asked_for(graph: GraphLike, poller: Poller) -> None:
    swept(poller)
    name = graph.media("Nooit meer naar zonnehoek", by="anna", edge="elsewhere")
    poller.push(("mentions", {"media_id": name}))
    [post] = poller.posts()
    assert (post.id, post.text, post.author) == (name, "Nooit meer naar zonnehoek", "anna")
    assert post.about_brand
    fields = [request.query["fields"] for request in poller.server.requests]
    assert fields[-1].startswith(f"mentioned_media.media_id({name}){{id,caption,timestamp,")
    assert len(fields) == 2, "once with the address, which Meta did not allow; then without"


def test_a_mention_in_a_comment_is_asked_for(graph: GraphLike, poller: Poller) -> None:
    swept(poller)
    name = graph.remark("179", "vraag het zonnehoek", by="anna")
    graph.objects[name]["media"] = {"id": "179", "permalink": "https://www.instagram.com/p/C9/"}
    poller.push(("mentions", {"media_id": "179", "comment_id": name}))
    [post] = poller.posts()
    assert (post.id, post.text) == (name, "vraag het zonnehoek")
    assert post.url == "https://www.instagram.com/p/C9/"


def test_a_mention_that_meta_does_not_show_is_told_as_such(poller: Poller) -> None:
    swept(poller)
    poller.push(("mentions", {"media_id": "179"}))
    assert poller.ids() == []
    [reason] = poller.rejects
    assert "does not let us read" in reason


def test_a_mention_is_not_lost_while_meta_is_out_of_order(graph: GraphLike, poller: Poller) -> None:
    swept(poller)
    name = graph.media("zonnehoek", by="anna", edge="elsewhere")
    poller.push(("mentions", {"media_id": name}))
    graph.refuse = lambda _path: refusal(2, status=500)
    assert poller.fault().fault is SourceFault.SERVER_ERROR
    poller.restart()
    graph.refuse = lambda _path: None
    assert poller.ids() == [name]
    assert not poller.pushes.after(poller.cursor["intake"][0] if poller.cursor else 0, 1)


@pytest.mark.parametrize(
    "change",
    [
        ("story_insights", {"media_id": "1", "reach": 3}),
        ("messages", {"text": "hallo"}),
        ("comments", {"id": "17899", "text": ""}),
    ],
    ids=lambda change: change[0],
)
def test_what_says_nothing_in_public_is_passed_over(
    poller: Poller, change: tuple[str, Mapping[str, Any]]
) -> None:
    swept(poller)
    poller.push(change)
    poller.push(("comments", {"id": "1", "text": "x"}), owner="999")
    assert poller.ids() == []
    assert not poller.rejects
    assert poller.asked() == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mentions", {}),
        ("mentions", {"media_id": "1){id},me{email}"}),
        ("comments", {"text": "zonder id"}),
        ("comments", {"id": "1", "text": 7}),
        ("comments", {"id": "1", "text": "x", "from": "anna"}),
    ],
    ids=str,
)
def test_an_odd_event_is_set_aside_and_asks_nothing(
    poller: Poller, field: str, value: dict[str, Any]
) -> None:
    swept(poller)
    poller.push((field, value), ("comments", {"id": "2", "text": "goed"}))
    assert poller.ids() == ["2"]
    assert len(poller.rejects) == 1
    assert poller.asked() == []


# --- refusals, door, options ----------------------------------------------------------------------


def test_a_refusal_leads_to_the_right_page(graph: GraphLike, poller: Poller) -> None:
    graph.refuse = lambda _path: refusal(10, "requires instagram_manage_comments")
    error = poller.fault()
    assert (error.fault, error.permanent) == (SourceFault.FORBIDDEN, True)
    assert "docs/sources/instagram.md" in str(error)


def test_the_accounts_limit_is_told(graph: GraphLike, poller: Poller) -> None:
    graph.refuse = lambda _path: refusal(80002)
    error = poller.fault()
    assert (error.fault, error.permanent) == (SourceFault.RATE_LIMITED, False)
    assert "the account has used up its calls of this day" in str(error)


def test_only_what_meta_signed_comes_in(poller: Poller) -> None:
    assert isinstance(poller.connector, TakesPushes)
    assert poller.connector.door is not None
    assert poller.connector.door.admit(signed(b"{}"))


@pytest.mark.parametrize("options", [{"account_id": US}, {"access_token": "a b"}], ids=str)
def test_options_that_make_no_sense_are_refused(poller: Poller, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"account_id|one word"):
        InstagramOptions(**{**poller.options, **options})
