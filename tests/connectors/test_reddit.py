from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.base import Context, SourceFault
from connectors.query import Query
from connectors.reddit import RedditConnector, RedditOptions
from tests.connectors.conftest import MovedClock
from tests.connectors.faultserver import FaultServer, Reply, Request
from tests.connectors.polling import Polling

SECRET = "app-s3cret"
LOGIN = "/api/v1/access_token"
REMOVED = ("[deleted]", "[removed]")


def base36(number: int) -> str:
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    text = ""
    while number:
        number, rest = divmod(number, 36)
        text = digits[rest] + text
    return text


class RedditLike:
    """Answers as Reddit does: tokens that expire, listings newest first that end after 1,000."""

    def __init__(self, clock: MovedClock) -> None:
        self.clock = clock
        self.things: list[dict[str, Any]] = []
        self.logins = 0
        self.good_tokens: set[str] = set()
        self.headers: dict[str, str] = {}

    def submit(self, *titles: str, **fields: Any) -> list[str]:
        """Have somebody submit; the clock moves a second for each."""
        return [self._add("t3", {"title": title, "is_self": True, **fields}) for title in titles]

    def comment(self, *bodies: str, **fields: Any) -> list[str]:
        return [self._add("t1", {"body": body, "link_id": "t3_1zz", **fields}) for body in bodies]

    def _add(self, kind: str, data: dict[str, Any]) -> str:
        name = f"{kind}_{base36(1_000_000_000 + len(self.things))}"
        moment = self.clock().timestamp()
        data = {"name": name, "created_utc": moment, "author": "anna", "selftext": "", **data}
        self.things.append({"kind": kind, "data": data})
        self.clock.move(timedelta(seconds=1))
        return name

    def __call__(self, request: Request) -> Reply:
        if request.path == LOGIN:
            self.logins += 1
            token = f"token-{self.logins}"
            self.good_tokens = {token}
            return reply({"access_token": token, "token_type": "bearer", "expires_in": 86_400})
        if request.headers["authorization"].removeprefix("Bearer ") not in self.good_tokens:
            return reply({"message": "Unauthorized", "error": 401}, 401)
        kind = "t1" if request.path.endswith("/comments") else "t3"
        found = [thing for thing in reversed(self.things) if thing["kind"] == kind][:1_000]
        names = [thing["data"]["name"] for thing in found]
        after = request.query.get("after")
        if after is not None:
            found = found[names.index(after) + 1 :] if after in names else []
        page = found[: int(request.query["limit"])]
        onward = page[-1]["data"]["name"] if len(page) < len(found) else None
        return reply(listing(page, onward), headers=self.headers)


def listing(children: list[dict[str, Any]], after: str | None = None) -> dict[str, Any]:
    return {"kind": "Listing", "data": {"children": children, "after": after, "before": None}}


def reply(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    told = {"Content-Type": "application/json", **(headers or {})}
    return Reply(status, json.dumps(body).encode(), told)


def behind_login(answer: Reply) -> Callable[[Request], Reply]:
    login = reply({"access_token": "t", "expires_in": 60})
    return lambda request: login if request.path == LOGIN else answer


class Poller(Polling):
    """Polls as the daemon does, keeping the cursor of the last page as JSON."""

    def __init__(self, server: FaultServer, context: Context, **options: Any) -> None:
        self.server = server
        self.context = context
        self.fixed = {
            "client_id": "app-id",
            "client_secret": SECRET,
            "account": "keeper",
            "base_url": server.url,
            "login_url": server.url + LOGIN,
        }
        super().__init__(lambda: self.connector)
        self.connector = self.made(**options)

    def made(self, **options: Any) -> RedditConnector:
        self.connector = RedditConnector(RedditOptions(**self.fixed, **options), self.context)
        return self.connector

    def asked(self) -> list[Request]:
        return [request for request in self.server.requests if request.path != LOGIN]


@pytest.fixture
def reddit(clock: MovedClock, server: FaultServer) -> RedditLike:
    server.answer = RedditLike(clock)
    return server.answer


@pytest.fixture
def poller(reddit: RedditLike, server: FaultServer, context: Context) -> Poller:
    return Poller(server, replace(context, queries=[Query.parse("zonnehoek")]))


# --- what an item becomes -------------------------------------------------------------------------


def test_a_submission_is_its_title_and_text(reddit: RedditLike, poller: Poller) -> None:
    [name] = reddit.submit(
        "Zonnehoek & co", selftext="Is it **any** good?\n\n> no", score=13, num_comments=4,
        num_crossposts=2,
    )  # fmt: skip
    [post] = poller.posts()
    assert (post.platform, post.id, post.author) == ("reddit", name, "anna")
    assert post.text == "Zonnehoek & co\nIs it **any** good?\n\n> no"
    assert post.url == f"https://www.reddit.com/comments/{name[3:]}/"
    assert post.published_at == datetime(2026, 11, 10, 12, tzinfo=UTC)
    counts = post.engagement
    assert (counts.likes, counts.shares, counts.replies) == (13, 2, 4)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://paste.example/x", "\nhttps://paste.example/x"),
        ("https://i.redd.it/x.png", ""),
        ("https://www.reddit.com/gallery/x", ""),
        ("/r/other/comments/x", ""),
        ("javascript:alert(1)", ""),
    ],
)
def test_a_link_out_of_reddit_belongs_to_the_text(
    reddit: RedditLike, poller: Poller, url: str, shown: str
) -> None:
    reddit.submit("zonnehoek", is_self=False, url=url)
    assert poller.posts()[0].text == f"zonnehoek{shown}"


def test_a_crosspost_brings_the_text_of_its_original(reddit: RedditLike, poller: Poller) -> None:
    original = {"title": "zonnehoek leaks", "selftext": "The list: …", "is_self": True}
    reddit.submit("look at this", is_self=False, crosspost_parent_list=[original])
    assert poller.posts()[0].text == "look at this\nzonnehoek leaks\nThe list: …"


def test_the_text_of_a_crosspost_goes_with_its_original(reddit: RedditLike, poller: Poller) -> None:
    gone = {"title": "zonnehoek leaks", "selftext": "[removed]", "is_self": True}
    reddit.submit("look at this", is_self=False, crosspost_parent_list=[gone])
    assert poller.posts()[0].text == "look at this"


@pytest.mark.parametrize(
    "fields",
    [
        {"selftext": "[deleted]"},
        {"selftext": "[removed]"},
        {"removed_by_category": "moderator"},
        {"removed_by_category": "deleted", "author": "[deleted]"},
    ],
    ids=str,
)
def test_what_was_taken_away_is_not_read(
    reddit: RedditLike, poller: Poller, fields: dict[str, Any]
) -> None:
    reddit.submit("zonnehoek", **fields)
    [kept] = reddit.submit("zonnehoek that stays")
    assert poller.ids() == [kept]
    assert not poller.rejects


def test_what_a_moderator_approves_within_the_overlap_is_read(
    reddit: RedditLike, poller: Poller
) -> None:
    [held, other] = reddit.submit("zonnehoek held", "zonnehoek")
    reddit.things[0]["data"]["removed_by_category"] = "automod_filtered"
    assert poller.ids() == [other]
    reddit.things[0]["data"]["removed_by_category"] = None
    assert poller.ids() == [held]


def test_a_post_of_a_deleted_account_has_no_author(reddit: RedditLike, poller: Poller) -> None:
    reddit.submit("zonnehoek", author="[deleted]")
    reddit.submit("zonnehoek", author=None)
    assert [post.author for post in poller.posts()] == [None, None]


@pytest.mark.parametrize(
    "odd",
    [
        {"kind": "t5", "data": {"name": "t5_abc", "created_utc": 1_794_308_400}},
        {"kind": "t3", "data": {"name": "x y", "created_utc": 1_794_308_400, "title": "t"}},
        {"kind": "t3", "data": {"name": "t3_a", "created_utc": "soon", "title": "t"}},
        {"kind": "t3", "data": {"name": "t3_a", "created_utc": 1_794_308_400}},
        {"kind": "t3", "data": {"name": "t3_a", "created_utc": 1_794_308_400, "title": 7}},
        {"kind": "t1", "data": {"name": "t1_a", "created_utc": 1_794_308_400, "body": "b"}},
        {"kind": "more"},
        7,
        None,
    ],
    ids=str,
)
def test_an_odd_item_is_set_aside_once_and_the_rest_goes_on(
    reddit: RedditLike, poller: Poller, odd: Any
) -> None:
    [name] = reddit.submit("zonnehoek")
    poller.server.answer = lambda request: (
        reddit(request) if request.path == LOGIN else reply(listing([odd, reddit.things[0]]))
    )
    assert poller.ids() == [name]
    assert poller.ids() == []
    assert len(poller.rejects) == 1


# --- what is asked for ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "search"),
    [
        ("zonnehoek", '"zonnehoek"'),
        ("zonnehoek OR harskamp", '"zonnehoek" OR "harskamp"'),
        ('"zonne hoek" NOT straat', '"zonne hoek" OR "zonnehoek"'),
        ("(zonnehoek OR harskamp) AND =ING", '"ing"'),
        ("zonnehoek NEAR/3 bank", '("zonnehoek" AND "bank")'),
        ("@zonnehoek", '("zonnehoek" OR author:zonnehoek)'),
        ("zonne* AND bezorgd", '"bezorgd"'),
    ],
)
def test_a_query_becomes_a_search_that_finds_at_least_as_much(
    poller: Poller, query: str, search: str
) -> None:
    poller.context = replace(poller.context, queries=[Query.parse(query)])
    poller.made()
    poller.pages()
    assert [request.query["q"] for request in poller.asked()] == [search]
    assert poller.asked()[0].query["sort"] == "new"


def test_wildcards_are_refused_with_the_remedy_or_approximated(poller: Poller) -> None:
    poller.context = replace(poller.context, queries=[Query.parse("zonnehoek*")])
    poller.made()
    error = poller.fault()
    assert (error.fault, error.permanent) == (SourceFault.BAD_REQUEST, True)
    assert "approximate = true" in str(error)
    poller.made(approximate=True)
    poller.pages()
    assert [request.query["q"] for request in poller.asked()] == ['"zonnehoek"']


def test_long_queries_become_several_searches(poller: Poller) -> None:
    words = [f"zonnehoek{number:03}" for number in range(60)]
    poller.context = replace(poller.context, queries=[Query.parse(" OR ".join(words))])
    poller.made()
    poller.pages()
    searches = [request.query["q"] for request in poller.asked()]
    assert len(searches) == 3
    assert all(len(search) <= 500 for search in searches)
    assert [part.strip('"') for search in searches for part in search.split(" OR ")] == words


def test_subreddits_and_their_comments_are_read_whole(reddit: RedditLike, poller: Poller) -> None:
    [said] = reddit.comment("zonnehoek")
    [title] = reddit.submit("anything")
    poller.made(search=False, subreddits=["thenetherlands", "geldzaken"], comments=True)
    posts = poller.posts()
    assert [post.id for post in posts] == [title, said]
    assert posts[1].url == f"https://www.reddit.com/comments/1zz/_/{said[3:]}/"
    threads = [post.thread for post in posts]
    assert threads == [None, "https://www.reddit.com/comments/1zz/"]
    assert [request.path for request in poller.asked()] == [
        "/r/thenetherlands+geldzaken/new",
        "/r/thenetherlands+geldzaken/comments",
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"search": False},
        {"comments": True},
        {"subreddits": ["r/all"]},
        {"subreddits": ["a/../../x"]},
        {"client_id": "a:b:c:d"},
        {"account": "u/keeper"},
        {"client_secret": "two words"},
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(poller: Poller, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"subreddits|client_id|account|one word"):
        RedditOptions(**{**poller.fixed, **options})


def test_without_a_brand_there_is_nothing_to_search_for(poller: Poller) -> None:
    poller.context = replace(poller.context, queries=[])
    poller.made()
    assert "add it to the sources of a brand" in str(poller.fault())


# --- login ----------------------------------------------------------------------------------------


def test_one_login_serves_many_polls_until_it_expires(
    reddit: RedditLike, poller: Poller, clock: MovedClock
) -> None:
    poller.pages()
    poller.pages()
    assert reddit.logins == 1
    clock.move(timedelta(hours=24))
    poller.pages()
    assert reddit.logins == 2
    login, search = poller.server.requests[:2]
    pair = b64encode(f"app-id:{SECRET}".encode()).decode()
    assert login.headers["authorization"] == f"Basic {pair}"
    assert search.headers["authorization"] == "Bearer token-1"
    for request in (login, search):
        assert request.headers["user-agent"].startswith("Merkwacht/")
        assert request.headers["user-agent"].endswith("(by /u/keeper)")


def test_a_token_that_was_revoked_is_renewed_once(reddit: RedditLike, poller: Poller) -> None:
    poller.pages()
    reddit.good_tokens.clear()
    [name] = reddit.submit("zonnehoek")
    assert poller.ids() == [name]
    assert reddit.logins == 2


def test_a_token_that_is_never_accepted_is_an_error(
    server: FaultServer, reddit: RedditLike, poller: Poller
) -> None:
    server.answer = lambda request: (
        reddit(request) if request.path == LOGIN else reply({"message": "Unauthorized"}, 401)
    )
    error = poller.fault()
    assert (error.fault, error.permanent) == (SourceFault.UNAUTHORIZED, True)
    assert reddit.logins == 2


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (reply({"message": "Unauthorized", "error": 401}, 401), SourceFault.UNAUTHORIZED),
        (reply({"error": "unsupported_grant_type"}), SourceFault.UNAUTHORIZED),
        (reply({"access_token": "a\nb"}), SourceFault.BAD_RESPONSE),
        (reply({"token": "x"}), SourceFault.BAD_RESPONSE),
        (reply([]), SourceFault.BAD_RESPONSE),
        (Reply(302, headers={"Location": "https://x.example"}), SourceFault.TOO_MANY_REDIRECTS),
    ],
    ids=["401", "error", "odd token", "no token", "a list", "redirect"],
)
def test_a_login_that_fails_says_so_without_the_secret(
    server: FaultServer, poller: Poller, answer: Reply, fault: SourceFault
) -> None:
    server.answer = answer
    error = poller.fault()
    assert error.fault is fault
    assert SECRET not in str(error)
    if fault is SourceFault.UNAUTHORIZED:
        assert "reddit.com/prefs/apps" in str(error)
    assert len(server.requests) == 1


# --- following ------------------------------------------------------------------------------------


def test_each_post_comes_once_also_after_a_restart(reddit: RedditLike, poller: Poller) -> None:
    first = reddit.submit("zonnehoek", "zonnehoek")
    assert poller.ids() == first[::-1]
    poller.made()
    assert poller.ids() == []
    later = reddit.submit("zonnehoek")
    assert poller.ids() == later


def test_a_crashed_poll_repeats_its_page(reddit: RedditLike, poller: Poller) -> None:
    said = reddit.submit(*["zonnehoek"] * 350)
    stored = [post.id for page in poller.pages(die_after=2) for post in page.posts]
    assert len(stored) == 200
    stored += poller.ids()
    assert sorted(stored) == sorted(said)


def test_what_a_poll_could_not_read_waits_behind_what_is_new(
    reddit: RedditLike, poller: Poller
) -> None:
    poller.made(max_pages=2)
    old = reddit.submit(*["zonnehoek"] * 350)
    first = poller.ids()
    new = reddit.submit("zonnehoek news")
    second = poller.ids()
    assert second[0] == new[0]
    rest = [ident for _ in range(4) for ident in poller.ids()]
    assert sorted(first + second + rest) == sorted(old + new)
    assert not poller.rejects


def test_what_lies_beyond_a_thousand_is_told_as_a_gap(reddit: RedditLike, poller: Poller) -> None:
    reddit.submit("zonnehoek")
    poller.pages()
    reddit.submit(*["zonnehoek"] * 1_200)
    assert len(poller.ids()) == 1_000
    [reason] = poller.rejects
    assert reason.startswith("posts between 2026-11-10T12:00:00Z and 2026-11-10T12:03:21Z")
    assert "poll more often" in reason
    assert poller.ids() == []
    assert len(poller.rejects) == 1


def test_an_answer_that_cannot_be_continued_is_told_as_a_gap(
    reddit: RedditLike, poller: Poller
) -> None:
    reddit.submit("zonnehoek")
    poller.pages()
    poller.made(max_pages=1, overlap_minutes=0)
    reddit.submit(*["zonnehoek"] * 150)
    assert len(poller.ids()) == 100
    del reddit.things[51]  # the post at which the answer was left
    poller.made(max_pages=2, overlap_minutes=0)
    poller.pages()
    assert len(poller.rejects) == 1


def test_the_end_of_a_small_subreddit_is_no_gap(reddit: RedditLike, poller: Poller) -> None:
    reddit.submit(*["zonnehoek"] * 300)
    assert len(poller.ids()) == 300
    assert not poller.rejects


def test_a_clock_that_runs_ahead_or_behind_loses_nothing(
    reddit: RedditLike, poller: Poller, clock: MovedClock
) -> None:
    local = MovedClock(clock() + timedelta(hours=3))
    poller.context = replace(poller.context, now=local)
    poller.made()
    said = reddit.submit("zonnehoek")
    got = poller.ids()
    local.moment = clock() - timedelta(hours=3)
    said += reddit.submit("zonnehoek")
    got += poller.ids()
    local.moment = clock()
    said += reddit.submit("zonnehoek")
    got += poller.ids()
    assert set(got) == set(said)


# --- limits and refusals --------------------------------------------------------------------------


def test_a_used_up_window_asks_for_a_pause(reddit: RedditLike, poller: Poller) -> None:
    reddit.headers = {"X-Ratelimit-Remaining": "0.0", "X-Ratelimit-Reset": "123"}
    assert poller.pages()[-1].next_poll_after == timedelta(seconds=124)
    reddit.headers = {"X-Ratelimit-Remaining": "98.0", "X-Ratelimit-Reset": "123"}
    assert poller.pages()[-1].next_poll_after is None


@pytest.mark.parametrize(
    ("headers", "wish"),
    [
        ({"X-Ratelimit-Reset": "30"}, timedelta(seconds=31)),
        ({"Retry-After": "7", "X-Ratelimit-Reset": "30"}, timedelta(seconds=7)),
        ({"X-Ratelimit-Reset": "soon"}, None),
    ],
    ids=str,
)
def test_too_many_calls_pass_on_when_to_come_back(
    server: FaultServer, reddit: RedditLike, poller: Poller, headers: dict[str, str],
    wish: timedelta | None,
) -> None:  # fmt: skip
    server.answer = lambda request: (
        reddit(request) if request.path == LOGIN else reply({"error": 429}, 429, headers)
    )
    error = poller.fault()
    assert (error.fault, error.retry_after) == (SourceFault.RATE_LIMITED, wish)
    assert "raise interval_seconds" in str(error)


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        (403, "private", (SourceFault.FORBIDDEN, "is private: take that one out")),
        (404, "banned", (SourceFault.NOT_FOUND, "correct its name")),
    ],
)
def test_a_refusal_says_what_to_do(
    reddit: RedditLike, poller: Poller, status: int, reason: str, expected: tuple[SourceFault, str]
) -> None:
    refusal = reply({"reason": reason, "message": "No", "error": status}, status)
    poller.server.answer = lambda request: reddit(request) if request.path == LOGIN else refusal
    error = poller.fault()
    fault, remedy = expected
    assert error.fault is fault
    assert f"No: {reason}" in str(error)
    assert remedy in str(error)


# --- recorded answers -----------------------------------------------------------------------------


def recorded(corpora: Path) -> Iterator[list[dict[str, Any]]]:
    """The recorded listings of submissions or comments."""
    with (corpora / "api" / "reddit_praw.jsonl").open(encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    for record in records:
        body = record["body"]
        # Of the inbox come messages, which lack what a comment has.
        if (
            isinstance(body, dict)
            and body.get("kind") == "Listing"
            and "/mess" not in record["uri"]
        ):
            children = body["data"]["children"]
            if {child["kind"] for child in children} in ({"t1"}, {"t3"}):
                yield children


@pytest.mark.corpora
def test_recorded_listings_become_posts(
    corpora: Path, server: FaultServer, context: Context
) -> None:
    lists = posts = 0
    for children in recorded(corpora):
        server.answer = behind_login(reply(listing(children)))
        newest = max(child["data"]["created_utc"] for child in children)
        now = datetime.fromtimestamp(newest, UTC)
        poller = Poller(server, replace(context, now=MovedClock(now)))
        poller.made(search=False, subreddits=["all"], backfill_hours=8_784, max_pages=1)
        found = {post.id: post for post in poller.posts()}
        assert not poller.rejects
        recent = [
            child["data"]
            for child in children
            if child["data"]["created_utc"] >= newest - 8_784 * 3_600
            and child["data"].get("body", child["data"].get("selftext")) not in REMOVED
        ]
        assert set(found) == {data["name"] for data in recent}
        for data in recent:
            post = found[data["name"]]
            said = data.get("body") or data["title"]
            assert " ".join(post.text.split()).startswith(" ".join(said.split())[:20])
            assert post.author == (None if data["author"] in REMOVED else data["author"])
            assert post.engagement.likes == max(data["score"], 0)
            assert post.published_at.timestamp() == data["created_utc"]
        lists += 1
        posts += len(found)
    assert lists >= 12
    assert posts >= 500
