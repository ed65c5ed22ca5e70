from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.base import Context, Engagement, SourceFault
from connectors.query import Query
from connectors.youtube import YoutubeConnector, YoutubeOptions
from tests.connectors.conftest import MovedClock
from tests.connectors.faultserver import FaultServer, Reply, Request
from tests.connectors.polling import Polling

OWN = "UC" + "a" * 22
OTHER = "UC" + "b" * 22


def stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def answer(body: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(body).encode(), {"Content-Type": "application/json"})


def refusal(reason: str, status: int = 403, words: str = "Too <b>bad</b>") -> Reply:
    errors = [{"message": words, "domain": "youtube.x", "reason": reason}]
    return answer({"error": {"code": status, "message": words, "errors": errors}}, status)


class DataApi:
    """Answers as the Data API does: threads of a video or channel newest first, five replies each."""

    def __init__(self, clock: MovedClock) -> None:
        self.clock = clock
        self.videos: list[dict[str, Any]] = []
        self.threads: list[dict[str, Any]] = []
        self.page = 100
        self.generation = 0
        """Of page tokens: those of an earlier one have expired."""
        self.refuses: dict[str, Reply] = {}
        self.subscribers: dict[str, dict[str, Any]] = {}
        """Statistics of channels."""

    def upload(self, title: str, ident: str = "", **fields: Any) -> str:
        ident = ident or f"video{len(self.videos):06}"
        snippet = {
            "publishedAt": stamp(self.clock()),
            "channelId": OTHER,
            "channelTitle": "Het Kanaal",
            "title": title,
            "description": "",
            **fields,
        }
        item = {"kind": "youtube#searchResult", "id": {"videoId": ident}, "snippet": snippet}
        self.videos.append(item)
        return ident

    def comment(
        self, text: str, video: str = "video000000", channel: str = OWN, **fields: Any
    ) -> str:
        """Have somebody begin a thread; the clock moves a second."""
        ident = f"Ugthread{len(self.threads):04}"
        snippet = self._snippet(text, video, channel) | fields
        self.threads.append({"id": ident, "snippet": snippet, "replies": []})
        self.clock.move(timedelta(seconds=1))
        return ident

    def reply(self, thread: str, text: str) -> str:
        found = next(one for one in self.threads if one["id"] == thread)
        ident = f"{thread}.{len(found['replies']):04}"
        about = found["snippet"]
        snippet = self._snippet(text, about["videoId"], about["channelId"])
        found["replies"].append({"id": ident, "snippet": snippet})
        self.clock.move(timedelta(seconds=1))
        return ident

    def edit(self, ident: str, text: str) -> None:
        found = next(one for one in self.threads if one["id"] == ident)
        found["snippet"] |= {"textDisplay": text, "updatedAt": stamp(self.clock())}

    def _snippet(self, text: str, video: str, channel: str) -> dict[str, Any]:
        moment = stamp(self.clock())
        return {
            "authorDisplayName": "@anna",
            "textDisplay": text,
            "likeCount": 3,
            "publishedAt": moment,
            "updatedAt": moment,
            "videoId": video,
            "channelId": channel,
        }

    def __call__(self, request: Request) -> Reply:
        assert request.headers["x-goog-api-key"] == "s3cret"
        method, query = request.path.rpartition("/")[2], request.query
        if method in self.refuses:
            return self.refuses[method]
        if method == "search":
            since = query["publishedAfter"]
            found = [one for one in self.videos if one["snippet"]["publishedAt"] >= since]
            return answer({"items": found[::-1][:50]})
        if method == "comments":
            thread = next(one for one in self.threads if one["id"] == query["parentId"])
            return answer({"items": thread["replies"][::-1]})
        return self._channels(query) if method == "channels" else self._page(query)

    def _channels(self, query: Mapping[str, str]) -> Reply:
        wanted = query["id"].split(",")
        assert query["part"] == "statistics"
        assert len(wanted) <= 50
        shown = {ident: self.subscribers[ident] for ident in wanted if ident in self.subscribers}
        return answer({"items": [{"id": one, "statistics": many} for one, many in shown.items()]})

    def _page(self, query: Mapping[str, str]) -> Reply:
        video, channel = query.get("videoId"), query.get("allThreadsRelatedToChannelId")
        if video in self.refuses:
            return self.refuses[video]
        found = [
            one
            for one in reversed(self.threads)
            if one["snippet"]["videoId"] == video or one["snippet"]["channelId"] == channel
        ]
        place, _, generation = query.get("pageToken", f"0.{self.generation}").partition(".")
        if generation != str(self.generation):
            return refusal("invalidPageToken", 400)
        start = int(place)
        end = start + self.page
        body: dict[str, Any] = {"items": [self._thread(one) for one in found[start:end]]}
        if end < len(found):
            body["nextPageToken"] = f"{end}.{self.generation}"
        return answer(body)

    def _thread(self, thread: dict[str, Any]) -> dict[str, Any]:
        given = {
            "id": thread["id"],
            "snippet": {
                "videoId": thread["snippet"]["videoId"],
                "channelId": thread["snippet"]["channelId"],
                "topLevelComment": {"id": thread["id"], "snippet": thread["snippet"]},
                "totalReplyCount": len(thread["replies"]),
            },
        }
        if thread["replies"]:
            given["replies"] = {"comments": thread["replies"][-5:][::-1]}
        return given


class Poller(Polling):
    """Polls as the daemon does, in a new process each time."""

    def __init__(self, server: FaultServer, context: Context, **options: Any) -> None:
        self.server = server
        self.context = replace(context, queries=[Query.parse('zonnehoek OR "zonne hoek"')])
        settings: dict[str, Any] = {"channels": [OWN], "search": False, **options}
        self.options = YoutubeOptions(
            base_url=f"{server.url}/youtube/v3", api_key="s3cret", **settings
        )
        super().__init__(lambda: YoutubeConnector(self.options, self.context))

    def asked(self, method: str) -> list[Request]:
        return [one for one in self.server.requests if one.path.endswith(f"/{method}")]

    def change(self, **options: Any) -> None:
        self.options = self.options.model_copy(update=options)


@pytest.fixture
def api(clock: MovedClock, server: FaultServer) -> DataApi:
    server.answer = DataApi(clock)
    return server.answer


@pytest.fixture
def poller(api: DataApi, server: FaultServer, context: Context) -> Poller:
    return Poller(server, context)


@pytest.fixture
def finder(api: DataApi, server: FaultServer, context: Context) -> Poller:
    return Poller(server, context, channels=[], search=True)


# --- comments -------------------------------------------------------------------------------------


def test_a_comment_becomes_a_post(api: DataApi, poller: Poller) -> None:
    ident = api.comment("Wat een winkel\nnooit meer", video="dQw4w9WgXcQ")
    [post] = poller.posts()
    assert (post.platform, post.id, post.author) == ("youtube", ident, "@anna")
    assert post.text == "Wat een winkel\nnooit meer"
    assert post.url == f"https://www.youtube.com/watch?v=dQw4w9WgXcQ&lc={ident}"
    assert post.thread == "https://www.youtube.com/watch?v=dQw4w9WgXcQ"
    assert post.published_at == datetime(2026, 11, 10, 12, tzinfo=UTC)
    assert (post.engagement, post.edited_at) == (Engagement(likes=3), None)


def test_comments_on_an_own_channel_are_about_the_brand_and_others_by_their_words(
    api: DataApi, poller: Poller
) -> None:
    poller.change(search=True)
    api.comment("bij ons")
    video = api.upload("Zonnehoek getest", "video999999")
    api.comment("bij een ander", video=video, channel=OTHER)
    about = {post.text: post.about_brand for post in poller.posts()}
    assert about == {"Zonnehoek getest": False, "bij ons": True, "bij een ander": False}


def test_replies_are_read_the_few_that_come_along_and_the_rest(
    api: DataApi, poller: Poller
) -> None:
    thread = api.comment("begin")
    replies = [api.reply(thread, f"antwoord {n}") for n in range(3)]
    assert sorted(poller.ids()) == sorted([thread, *replies])
    assert not poller.asked("comments")
    replies = [api.reply(thread, f"vervolg {n}") for n in range(7)]
    assert sorted(poller.ids()) == sorted(replies)
    assert poller.ids() == []
    assert len(poller.asked("comments")) == 1


def test_an_edited_comment_comes_again_with_the_time_of_its_edit(
    api: DataApi, poller: Poller, clock: MovedClock
) -> None:
    ident = api.comment("zonnehoek lekt")
    poller.posts()
    clock.move(timedelta(minutes=30))
    api.edit(ident, "zonnehoek lekt niet")
    [post] = poller.posts()
    assert (post.id, post.text, post.edited_at) == (ident, "zonnehoek lekt niet", clock())
    assert poller.posts() == []


def test_each_comment_comes_once_also_over_pages_and_restarts(api: DataApi, poller: Poller) -> None:
    api.page = 3
    first = [api.comment(f"nr {n}") for n in range(10)]
    assert poller.ids() == first[::-1]
    later = [api.comment(f"later {n}") for n in range(2)]
    assert poller.ids() == later[::-1]


def test_a_crashed_poll_repeats_its_page(api: DataApi, poller: Poller) -> None:
    api.page = 3
    said = [api.comment(f"nr {n}") for n in range(10)]
    stored = [post.id for page in poller.pages(die_after=2) for post in page.posts]
    assert sorted(stored + poller.ids()) == sorted(said)


def test_a_page_token_that_expired_is_replaced_by_reading_from_the_newest(
    api: DataApi, poller: Poller
) -> None:
    api.page = 3
    poller.change(max_pages=1)
    said = [api.comment(f"nr {n}") for n in range(6)]
    stored = poller.ids()
    assert len(stored) == 3
    api.generation += 1
    poller.change(max_pages=5)
    assert sorted(stored + poller.ids()) == sorted(said)


@pytest.mark.parametrize(
    "odd",
    [
        7,
        {},
        {"snippet": {"topLevelComment": {"id": "x", "snippet": {"publishedAt": "soon"}}}},
        {"id": "Ug1", "snippet": {"topLevelComment": None}},
    ],
    ids=str,
)
def test_an_odd_thread_is_set_aside_and_the_rest_goes_on(
    server: FaultServer, poller: Poller, api: DataApi, odd: Any
) -> None:
    api.comment("goed")
    good = api._thread(api.threads[0])
    server.answer = answer({"items": [odd, good]})
    assert len(poller.posts()) == 1
    assert len(poller.rejects) == 1


# --- finding videos -------------------------------------------------------------------------------


def test_a_found_video_is_a_post_and_its_comments_are_read(api: DataApi, finder: Poller) -> None:
    video = api.upload("Zonnehoek &amp; co getest", description="Wij kochten een taart.")
    comment = api.comment("zonnehoek valt tegen", video=video, channel=OTHER)
    posts = finder.posts()
    assert [post.id for post in posts] == [video, comment]
    assert posts[0].text == "Zonnehoek & co getest\nWij kochten een taart."
    assert posts[0].url == f"https://www.youtube.com/watch?v={video}"
    assert posts[0].author == "Het Kanaal"
    [search] = finder.asked("search")
    assert search.query["q"] == 'zonnehoek|"zonne hoek"'
    assert (search.query["type"], search.query["order"]) == ("video", "date")


def test_videos_are_searched_for_rarely_and_their_comments_read_often(
    api: DataApi, finder: Poller, clock: MovedClock
) -> None:
    video = api.upload("Zonnehoek")
    finder.posts()
    for _ in range(5):
        clock.move(timedelta(minutes=5))
        ident = api.comment("x", video=video, channel=OTHER)
        assert finder.ids() == [ident]
    assert len(finder.asked("search")) == 1
    clock.move(timedelta(hours=1))
    assert finder.ids() == []
    assert len(finder.asked("search")) == 2


def test_only_the_latest_videos_are_watched_and_only_while_they_are_fresh(
    api: DataApi, finder: Poller, clock: MovedClock
) -> None:
    finder.change(max_videos=2, watch_hours=1.0, search_every_minutes=15)
    videos = []
    for number in range(3):
        videos.append(api.upload(f"Zonnehoek {number}"))
        clock.move(timedelta(minutes=1))
    finder.posts()
    watched = {request.query["videoId"] for request in finder.asked("commentThreads")}
    assert watched == set(videos[1:])
    finder.server.requests.clear()
    clock.move(timedelta(hours=2))
    assert finder.posts() == []
    assert not finder.asked("commentThreads")


def test_a_video_without_comments_holds_up_nothing(api: DataApi, finder: Poller) -> None:
    closed, gone, open_one = (api.upload(f"Zonnehoek {n}") for n in range(3))
    api.refuses[closed] = refusal("commentsDisabled")
    api.refuses[gone] = refusal("videoNotFound", 404)
    comment = api.comment("x", video=open_one, channel=OTHER)
    assert comment in finder.ids()


def test_a_refused_search_does_not_hold_up_comments(api: DataApi, poller: Poller) -> None:
    poller.change(search=True)
    api.refuses["search"] = Reply(500)
    ident = api.comment("x")
    pages = YoutubeConnector(poller.options, poller.context).fetch(None)
    assert [post.id for post in next(pages).posts] == [ident]
    with pytest.raises(Exception, match="trouble of its own"):
        list(pages)


@pytest.mark.parametrize("query", ["*hoek", "*hoek OR bank"])
def test_a_query_of_wildcards_cannot_be_searched_for(finder: Poller, query: str) -> None:
    finder.context = replace(finder.context, queries=[Query.parse(query)])
    error = finder.fault()
    assert (error.fault, error.permanent) == (SourceFault.BAD_REQUEST, True)
    assert "search = false" in str(error)


# --- reach ----------------------------------------------------------------------------------------


def writer(number: int) -> dict[str, Any]:
    return {"authorChannelId": {"value": f"UC{number:022}"}}


def test_subscribers_of_an_author_are_the_reach_of_a_post(api: DataApi, poller: Poller) -> None:
    poller.change(search=True)
    api.subscribers = {
        writer(1)["authorChannelId"]["value"]: {"subscriberCount": "1230"},
        writer(2)["authorChannelId"]["value"]: {
            "subscriberCount": "5",
            "hiddenSubscriberCount": True,
        },
        OTHER: {"subscriberCount": "48900000"},
    }
    video = api.upload("Zonnehoek getest", "video999999")
    for number in (1, 2, 3):
        api.comment(f"van {number}", **writer(number))
    api.comment("Zonnehoek? Nee.", video=video, channel=OTHER, **writer(1))
    followers = {post.text: post.author_followers for post in poller.posts()}
    assert followers == {
        "Zonnehoek getest": 48_900_000,
        "van 1": 1_230,
        "van 2": None,
        "van 3": None,
        "Zonnehoek? Nee.": 1_230,
    }


def test_reach_is_asked_for_once_a_day_fifty_at_a_time_and_of_what_counts_only(
    api: DataApi, poller: Poller, clock: MovedClock
) -> None:
    connector = YoutubeConnector(poller.options.model_copy(update={"search": True}), poller.context)
    same = Polling(lambda: connector)
    video = api.upload("Zonnehoek", "video999999")
    api.comment("gaat over iets anders", video=video, channel=OTHER, **writer(200))
    for number in range(60):
        api.comment(f"nr {number}", **writer(number % 55))
    same.posts()
    asked = [request.query["id"].split(",") for request in poller.asked("channels")]
    assert sorted(map(len, asked)) == [1, 5, 50]
    assert len({channel for each in asked for channel in each}) == 56, "not of who says nothing"
    api.comment("nog een keer", **writer(3))
    same.posts()
    assert len(poller.asked("channels")) == 3
    clock.move(timedelta(days=1))
    same.posts()
    again = [ident for one in poller.asked("channels")[3:] for ident in one.query["id"].split(",")]
    assert len(again) == len(set(again)) > 0


@pytest.mark.parametrize("trouble", ["refused", "units", "off"])
def test_without_reach_posts_come_all_the_same(api: DataApi, poller: Poller, trouble: str) -> None:
    api.refuses = {"channels": refusal("quotaExceeded")} if trouble == "refused" else {}
    if trouble == "units":
        poller.change(units_per_day=1)
    if trouble == "off":
        poller.change(followers=False)
    ident = api.comment("bij ons", **writer(1))
    [post] = poller.posts()
    assert (post.id, post.author_followers) == (ident, None)
    assert len(poller.asked("channels")) == (1 if trouble == "refused" else 0)


# --- the quota ------------------------------------------------------------------------------------


def test_searches_end_with_their_number_a_day_and_begin_again_at_midnight_in_california(
    api: DataApi, finder: Poller, clock: MovedClock
) -> None:
    finder.change(searches_per_day=2, search_every_minutes=15.0)
    for _ in range(4):
        finder.posts()
        clock.move(timedelta(minutes=20))
    assert len(finder.asked("search")) == 2
    clock.moment = datetime(2026, 11, 11, 7, 59, tzinfo=UTC)
    finder.posts()
    assert len(finder.asked("search")) == 2
    clock.moment = datetime(2026, 11, 11, 8, 1, tzinfo=UTC)
    finder.posts()
    assert len(finder.asked("search")) == 3


def test_when_google_grants_no_more_searches_comments_go_on(
    api: DataApi, poller: Poller, clock: MovedClock
) -> None:
    poller.change(search=True)
    api.refuses["search"] = refusal("quotaExceeded")
    ident = api.comment("x")
    assert poller.ids() == [ident]
    assert poller.rejects == ["no more searches for videos today: lower searches_per_day"]
    clock.move(timedelta(hours=2))
    assert poller.ids() == []
    assert len(poller.asked("search")) == 1


def test_the_last_units_of_a_day_are_for_own_channels(
    api: DataApi, poller: Poller, clock: MovedClock
) -> None:
    poller.change(search=True, units_per_day=10)
    video = api.upload("Zonnehoek", "video999999")
    for _ in range(5):
        poller.posts()
        clock.move(timedelta(minutes=5))
    api.comment("bij een ander", video=video, channel=OTHER)
    ident = api.comment("bij ons")
    assert poller.ids() == [ident]
    error = poller.fault()
    assert error.fault is SourceFault.RATE_LIMITED
    assert "units_per_day" in str(error)
    assert error.retry_after is not None
    assert timedelta(hours=19) < error.retry_after < timedelta(hours=20)


def test_what_was_left_when_the_units_ran_out_is_read_the_next_day(
    api: DataApi, finder: Poller, clock: MovedClock
) -> None:
    api.page = 3
    video = api.upload("Zonnehoek")
    said = [api.comment(f"nr {n}", video=video, channel=OTHER) for n in range(12)]
    finder.change(units_per_day=2, max_pages=5, followers=False)
    found = [ident for ident in finder.ids() if ident != video]
    assert len(found) == 6
    assert finder.ids() == []
    finder.change(units_per_day=100)
    clock.move(timedelta(days=1))
    assert sorted(found + finder.ids()) == sorted(said)


@pytest.mark.parametrize(
    ("reply", "expected", "remedy"),
    [
        (refusal("quotaExceeded"), (SourceFault.RATE_LIMITED, False), "used up"),
        (refusal("rateLimitExceeded"), (SourceFault.RATE_LIMITED, False), "interval_seconds"),
        (refusal("accessNotConfigured"), (SourceFault.FORBIDDEN, True), "enable the YouTube"),
        (refusal("ipRefererBlocked"), (SourceFault.FORBIDDEN, True), "restricted"),
        (refusal("commentsDisabled"), (SourceFault.FORBIDDEN, True), "switched off"),
        (refusal("channelNotFound", 404), (SourceFault.NOT_FOUND, False), "UC…"),
        (refusal("processingFailure", 400), (SourceFault.SERVER_ERROR, False), ""),
        (
            answer(
                {
                    "error": {
                        "message": "API key not valid.",
                        "errors": [{"reason": "badRequest"}],
                        "details": [{"reason": "API_KEY_INVALID"}],
                    }
                },
                400,
            ),
            (SourceFault.UNAUTHORIZED, True),
            "copy the API key again",
        ),
        (answer([], 403), (SourceFault.FORBIDDEN, True), ""),
        (answer({"items": 7}), (SourceFault.BAD_RESPONSE, False), ""),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, str) else "",
)
def test_a_refusal_says_what_to_do(
    server: FaultServer,
    poller: Poller,
    reply: Reply,
    expected: tuple[SourceFault, bool],
    remedy: str,
) -> None:
    server.answer = reply
    error = poller.fault()
    assert (error.fault, error.permanent) == expected
    assert remedy in str(error)
    assert "<b>" not in str(error)
    assert "s3cret" not in str(error)


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"api_key": "a b"}, "one word"),
        ({"channels": ["@zonnehoek"]}, "no channel id"),
        ({"search": False}, "channels to read"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        YoutubeOptions.model_validate({"api_key": "s3cret", **options})
