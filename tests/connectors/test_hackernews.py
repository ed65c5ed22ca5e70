from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.base import ConnectorError, Context, SourceFault
from connectors.hackernews import HackerNewsConnector, HackerNewsOptions
from connectors.query import Query
from tests.connectors.conftest import MovedClock
from tests.connectors.faultserver import FaultServer, Reply, Request
from tests.connectors.polling import Polling


class AlgoliaLike:
    """Answers as the search does: all words of the query, newest first, a thousand hits at most."""

    def __init__(self, clock: MovedClock) -> None:
        self.clock = clock
        self.hits: list[dict[str, Any]] = []
        self.hidden: set[str] = set()

    def say(self, *texts: str, **fields: Any) -> list[str]:
        """Have somebody comment; the clock moves a second for each."""
        idents = []
        for text in texts:
            ident = str(46_000_000 + len(self.hits))
            moment = int(self.clock().timestamp())
            hit = {"objectID": ident, "created_at_i": moment, "comment_text": text}
            self.hits.append({**hit, "author": "anna", **fields})
            idents.append(ident)
            self.clock.move(timedelta(seconds=1))
        return idents

    def __call__(self, request: Request) -> Reply:
        assert request.path == "/api/v1/search_by_date"
        query = request.query
        found = [hit for hit in reversed(self.hits) if self._fits(hit, query)]
        found.sort(key=lambda hit: -hit["created_at_i"])
        page = found[: min(int(query["hitsPerPage"]), 1_000)]
        return answer({"hits": page, "nbHits": len(found), "page": 0})

    def _fits(self, hit: dict[str, Any], query: Any) -> bool:
        words = " ".join(str(hit.get(key) or "") for key in ("title", "comment_text")).lower()
        begun = query["queryType"] == "prefixLast"
        wanted = query.get("query", "").split()
        whole = wanted[:-1] if begun else wanted
        texts = words.replace("#", " ").split()
        if not all(word in texts for word in whole):
            return False
        if begun and not any(text.startswith(wanted[-1]) for text in texts):
            return False
        for bound in query["numericFilters"].split(","):
            sign = ">=" if ">=" in bound else "<="
            limit = int(bound.split(sign)[1])
            moment = hit["created_at_i"]
            if not (moment >= limit if sign == ">=" else moment <= limit):
                return False
        return hit["objectID"] not in self.hidden


def answer(body: Any, status: int = 200, **headers: str) -> Reply:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, json.dumps(body).encode(), {"Content-Type": "application/json", **told})


class Poller(Polling):
    """Polls as the daemon does, keeping the cursor of the last page as JSON."""

    def __init__(self, server: FaultServer, context: Context, **options: Any) -> None:
        self.server = server
        self.context = context
        self.options = HackerNewsOptions(base_url=f"{server.url}/api/v1", **options)
        super().__init__(lambda: HackerNewsConnector(self.options, self.context))

    def asked(self) -> list[str]:
        return [request.query.get("query", "") for request in self.server.requests]


@pytest.fixture
def algolia(clock: MovedClock, server: FaultServer) -> AlgoliaLike:
    server.answer = AlgoliaLike(clock)
    return server.answer


@pytest.fixture
def poller(algolia: AlgoliaLike, server: FaultServer, context: Context) -> Poller:
    return Poller(server, replace(context, queries=[Query.parse("zonnehoek")]))


def asking(poller: Poller, *queries: str) -> Poller:
    poller.context = replace(poller.context, queries=[Query.parse(query) for query in queries])
    return poller


# --- what a hit becomes ---------------------------------------------------------------------------


def test_a_comment_becomes_a_post(algolia: AlgoliaLike, poller: Poller) -> None:
    [ident] = algolia.say("<p>I&#x27;ve used zonnehoek &amp; liked it<p>a lot", author="dang")
    [post] = poller.posts()
    assert (post.platform, post.id, post.author) == ("hackernews", ident, "dang")
    assert post.text == "I've used zonnehoek & liked it\na lot"
    assert post.url == f"https://news.ycombinator.com/item?id={ident}"
    assert post.published_at == datetime(2026, 11, 10, 12, tzinfo=UTC)
    assert post.thread is None


def test_a_comment_leads_to_its_story_and_a_story_to_nothing(
    algolia: AlgoliaLike, poller: Poller
) -> None:
    [story] = algolia.say("zonnehoek", story_id=46_000_000)
    algolia.say("zonnehoek again", story_id=int(story))
    threads = {post.id: post.thread for post in poller.posts()}
    assert set(threads.values()) == {None, f"https://news.ycombinator.com/item?id={story}"}
    assert threads[story] is None


def test_a_story_is_its_title_text_and_link_with_its_points(
    algolia: AlgoliaLike, poller: Poller
) -> None:
    algolia.say(
        "",
        title="Ask HN: zonnehoek &amp; co",
        story_text="Is it <i>any</i> good?",
        url="https://zonnehoek.example/",
        points=17,
        num_comments=4,
    )
    [post] = poller.posts()
    assert post.text == "Ask HN: zonnehoek & co\nIs it any good?\nhttps://zonnehoek.example/"
    assert (post.engagement.likes, post.engagement.replies) == (17, 4)


def test_links_that_are_shown_abridged_are_read_in_full(
    algolia: AlgoliaLike, poller: Poller
) -> None:
    algolia.say(
        'zonnehoek <a href="https:&#x2F;&#x2F;paste.example&#x2F;customers?a=1&amp;b=2" '
        'rel="nofollow">https:&#x2F;&#x2F;paste.example&#x2F;cust...</a>'
    )
    assert poller.posts()[0].text == "zonnehoek https://paste.example/customers?a=1&b=2"


@pytest.mark.parametrize(
    "odd",
    [
        {"objectID": "1"},
        {"objectID": "x", "created_at_i": 1_794_308_400, "comment_text": "zonnehoek"},
        {"objectID": "1", "created_at_i": "soon", "comment_text": "zonnehoek"},
        {"objectID": "1", "created_at_i": 10**15, "comment_text": "zonnehoek"},
        {"objectID": "1", "created_at_i": 1_794_308_400, "comment_text": 7},
        {"objectID": "1", "created_at_i": 1_794_308_400, "title": "", "comment_text": None},
        7,
        None,
    ],
    ids=str,
)
def test_an_odd_hit_is_set_aside_once_and_the_rest_goes_on(
    server: FaultServer, poller: Poller, odd: Any
) -> None:
    good = {"objectID": "2", "created_at_i": 1_794_308_401, "comment_text": "zonnehoek"}
    server.answer = answer({"hits": [good, odd]})
    assert poller.ids() == ["2"]
    assert len(poller.rejects) == 1
    assert poller.ids() == []
    assert len(poller.rejects) == 1


def test_a_post_from_the_future_is_of_now_and_hides_no_later_one(
    algolia: AlgoliaLike, poller: Poller, clock: MovedClock
) -> None:
    ahead = int((clock() + timedelta(days=3)).timestamp())
    algolia.say("zonnehoek from the future", created_at_i=ahead)
    assert [post.published_at for post in poller.posts()] == [clock()]
    clock.move(timedelta(minutes=5))
    [later] = algolia.say("zonnehoek of today")
    assert poller.ids() == [later]


# --- what is searched for -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "searches"),
    [
        ("zonnehoek", ["zonnehoek"]),
        ("zonnehoek OR harskamp", ["zonnehoek", "harskamp"]),
        ("zonnehoek NOT straat", ["zonnehoek"]),
        ('"zonne hoek"', ["zonne hoek", "zonnehoek"]),
        ("zonnehoek*", ["zonnehoek*"]),
        ("zonne?oek", ["zonne*"]),
        ("bank NEAR/3 zonnehoek", ["zonnehoek bank"]),
        ("(zon OR hoek) AND bezorgd", ["bezorgd"]),
        ("(zonnehoek OR harskamp) AND =ING", ["ing"]),
        ("domino's", ["domino's", "dominos"]),
        ("café", ["cafe", "café"]),
        ("@zonnehoek", ["zonnehoek"]),
        ("#ZonneHoek", ["zonnehoek"]),
        ("*hoek", [""]),
        ("*hoek AND bank", ["bank"]),
        ("*hoek OR bank", [""]),
    ],
)
def test_a_query_becomes_searches_that_find_at_least_as_much(
    poller: Poller, query: str, searches: list[str]
) -> None:
    asking(poller, query).pages()
    begun = [request.query["queryType"] == "prefixLast" for request in poller.server.requests]
    asked = [text + "*" * flag for text, flag in zip(poller.asked(), begun, strict=True)]
    assert asked == searches


def test_more_searches_than_allowed_become_one_for_everything(
    algolia: AlgoliaLike, poller: Poller
) -> None:
    poller.options = poller.options.model_copy(update={"max_searches": 2})
    [one, two] = algolia.say("harskamp", "something else")
    assert asking(poller, "zonnehoek OR harskamp", "bezorgd").ids() == [two, one]
    assert poller.asked() == [""]


def test_without_a_brand_there_is_nothing_to_search_for(poller: Poller) -> None:
    error = asking(poller).fault()
    assert (error.fault, error.permanent) == (SourceFault.BAD_REQUEST, True)
    assert "add it to the sources of a brand" in str(error)


def test_a_hit_of_two_searches_is_one_post(algolia: AlgoliaLike, poller: Poller) -> None:
    [ident] = algolia.say("zonnehoek and harskamp")
    assert asking(poller, "zonnehoek OR harskamp").ids() == [ident]


def test_comments_can_be_left_out(algolia: AlgoliaLike, poller: Poller) -> None:
    poller.options = poller.options.model_copy(update={"comments": False})
    poller.pages()
    assert poller.server.requests[0].query["tags"] == "(story,poll)"


# --- following ------------------------------------------------------------------------------------


def test_each_post_comes_once(algolia: AlgoliaLike, poller: Poller) -> None:
    first = algolia.say("zonnehoek one", "zonnehoek two")
    assert poller.ids() == first[::-1]
    assert poller.ids() == []
    later = algolia.say("zonnehoek three")
    assert poller.ids() == later


def test_a_post_that_is_indexed_late_is_found_within_the_overlap(
    algolia: AlgoliaLike, poller: Poller, clock: MovedClock
) -> None:
    [late] = algolia.say("zonnehoek indexed late")
    algolia.hidden.add(late)
    clock.move(timedelta(minutes=30))
    [other] = algolia.say("zonnehoek indexed at once")
    assert poller.ids() == [other]
    algolia.hidden.clear()
    assert poller.ids() == [late]


def test_posts_before_the_backfill_are_left_alone(
    algolia: AlgoliaLike, poller: Poller, clock: MovedClock
) -> None:
    algolia.say("zonnehoek of long ago")
    clock.move(timedelta(hours=25))
    [fresh] = algolia.say("zonnehoek of today")
    assert poller.ids() == [fresh]


def test_more_than_a_thousand_hits_are_read_to_the_last(
    algolia: AlgoliaLike, poller: Poller
) -> None:
    poller.options = poller.options.model_copy(update={"page_size": 500})
    said = algolia.say(*["zonnehoek"] * 1_700)
    assert poller.ids() == said[::-1]
    assert not poller.rejects


def test_what_a_poll_could_not_read_waits_behind_what_is_new(
    algolia: AlgoliaLike, poller: Poller
) -> None:
    poller.options = poller.options.model_copy(update={"page_size": 10, "max_pages": 2})
    old = algolia.say(*["zonnehoek"] * 40)
    first = poller.ids()
    new = algolia.say("zonnehoek news")
    second = poller.ids()
    assert second[0] == new[0]
    rest = [ident for _ in range(5) for ident in poller.ids()]
    assert sorted(first + second + rest) == sorted(old + new)


def test_many_posts_in_one_second_do_not_stop_the_reading(
    server: FaultServer, algolia: AlgoliaLike, poller: Poller, clock: MovedClock
) -> None:
    poller.options = poller.options.model_copy(update={"page_size": 10})
    [before] = algolia.say("zonnehoek before")
    moment = int(clock().timestamp())
    algolia.say(*["zonnehoek"] * 15, created_at_i=moment)
    assert before in poller.ids()
    assert any("raise page_size" in reason for reason in poller.rejects)


def test_a_crashed_poll_repeats_its_page(algolia: AlgoliaLike, poller: Poller) -> None:
    poller.options = poller.options.model_copy(update={"page_size": 10})
    said = algolia.say(*["zonnehoek"] * 35)
    stored = [post.id for page in poller.pages(die_after=2) for post in page.posts]
    stored += poller.ids()
    assert sorted(stored) == sorted(said)


def test_a_fault_in_the_middle_keeps_what_was_read(
    algolia: AlgoliaLike, server: FaultServer, poller: Poller
) -> None:
    poller.options = poller.options.model_copy(update={"page_size": 10})
    said = algolia.say(*["zonnehoek"] * 30)
    server.answer = lambda request: Reply(503) if len(server.requests) == 3 else algolia(request)
    pages = HackerNewsConnector(poller.options, poller.context).fetch(None)
    two = [next(pages), next(pages)]
    with pytest.raises(ConnectorError):
        next(pages)
    poller.cursor = json.loads(json.dumps(two[-1].cursor))
    got = [post.id for page in two for post in page.posts]
    assert got == said[::-1][: len(got)]
    assert got + poller.ids() == said[::-1]


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "fault", "remedy"),
    [
        (429, SourceFault.RATE_LIMITED, "raise interval_seconds"),
        (403, SourceFault.FORBIDDEN, "network.contact"),
        (404, SourceFault.NOT_FOUND, "base_url"),
    ],
)
def test_a_refusal_says_what_to_do(
    server: FaultServer, poller: Poller, status: int, fault: SourceFault, remedy: str
) -> None:
    server.answer = answer({"message": "Too bad"}, status)
    error = poller.fault()
    assert error.fault is fault
    assert "Too bad" in str(error)
    assert remedy in str(error)


def test_a_search_refused_as_malformed_does_not_hold_up_the_others(
    algolia: AlgoliaLike, server: FaultServer, poller: Poller
) -> None:
    [ident] = algolia.say("harskamp")
    server.answer = lambda request: (
        answer({"message": "bad"}, 400)
        if request.query["query"] == "zonnehoek"
        else algolia(request)
    )
    pages = HackerNewsConnector(
        poller.options, asking(poller, "zonnehoek OR harskamp").context
    ).fetch(None)
    assert [post.id for post in next(pages).posts] == [ident]
    with pytest.raises(ConnectorError) as caught:
        next(pages)
    assert caught.value.fault is SourceFault.BAD_REQUEST
