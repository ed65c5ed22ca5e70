from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.appstore import AppstoreConnector, AppstoreOptions
from connectors.base import ConnectorError, Context, Cursor, SourceFault
from tests.connectors.conftest import MovedClock
from tests.connectors.faultserver import FaultServer, Reply, Request
from tests.connectors.polling import Polling

APP = "638572168"
THE_APP = {"im:name": {"label": "Zonnehoek"}, "id": {"label": "https://apps.apple.com/nl/app/1"}}


def answer(*entries: Any) -> Reply:
    feed: dict[str, Any] = {"author": {"name": {"label": "iTunes Store"}}}
    if entries:
        feed["entry"] = list(entries) if len(entries) > 1 else entries[0]
    return Reply(body=json.dumps({"feed": feed}).encode())


class ReviewFeed:
    """Answers as Apple does: fifty to a page, ten pages, the latest change first."""

    def __init__(self, clock: MovedClock) -> None:
        self.clock = clock
        self.reviews: dict[str, list[dict[str, Any]]] = {}
        self.with_app = False

    def write(self, text: str = "Crasht.", stars: int = 1, country: str = "nl") -> str:
        """Have somebody write a review; the clock moves a minute."""
        ident = str(11_000_000_000 + sum(map(len, self.reviews.values())))
        self.reviews.setdefault(country, []).append(
            {
                "author": {
                    "uri": {"label": "https://itunes.apple.com/nl/reviews/id1"},
                    "name": {"label": "annadv"},
                    "label": "",
                },
                "updated": {"label": self._stamp()},
                "im:rating": {"label": str(stars)},
                "im:version": {"label": "3.4.3"},
                "id": {"label": ident},
                "title": {"label": "Update"},
                "content": {"label": text, "attributes": {"type": "text"}},
                "im:voteSum": {"label": "4"},
                "im:voteCount": {"label": "5"},
            }
        )
        self.clock.move(timedelta(minutes=1))
        return ident

    def edit(self, ident: str, text: str) -> None:
        [found] = [one for one in self.reviews["nl"] if one["id"]["label"] == ident]
        self.reviews["nl"].remove(found)
        changed = {"updated": {"label": self._stamp()}, "content": {"label": text}}
        self.reviews["nl"].append(found | changed)

    def _stamp(self) -> str:
        moment = self.clock() - timedelta(hours=7)
        return moment.strftime("%Y-%m-%dT%H:%M:%S-07:00")

    def __call__(self, request: Request) -> Reply:
        _, country, rss, kind, page, app, sort, form = request.path.split("/")
        assert (rss, kind, app) == ("rss", "customerreviews", f"id={APP}")
        assert (sort, form) == ("sortby=mostrecent", "json")
        start = (int(page.removeprefix("page=")) - 1) * 50
        shown = self.reviews.get(country, [])[::-1][start : start + 50]
        return answer(*([THE_APP] if self.with_app and shown else []), *shown)


class Poller(Polling):
    def __init__(self, server: FaultServer, context: Context, **options: Any) -> None:
        self.server = server
        self.options = AppstoreOptions.model_validate(
            {"apps": [APP], "base_url": server.url, **options}
        )
        super().__init__(lambda: AppstoreConnector(self.options, context))


def read_until_refused(
    connector: AppstoreConnector, cursor: Cursor | None
) -> tuple[list[str], ConnectorError]:
    found: list[str] = []
    try:
        for page in connector.fetch(cursor):
            found += [post.id for post in page.posts]
    except ConnectorError as error:
        return found, error
    raise AssertionError("nothing was refused")


@pytest.fixture
def feed(clock: MovedClock, server: FaultServer) -> ReviewFeed:
    server.answer = ReviewFeed(clock)
    return server.answer


@pytest.fixture
def poller(feed: ReviewFeed, server: FaultServer, context: Context) -> Poller:
    return Poller(server, context)


@pytest.mark.parametrize("with_app", [False, True], ids=["reviews only", "the app first"])
def test_a_review_becomes_a_post(feed: ReviewFeed, poller: Poller, with_app: bool) -> None:
    feed.with_app = with_app
    ident = feed.write("Crasht sinds gisteren &amp; traag")
    [post] = poller.posts()
    assert (post.platform, post.id, post.author) == ("appstore", ident, "annadv")
    assert post.text == "★☆☆☆☆ Update\nCrasht sinds gisteren &amp; traag"
    assert post.published_at == datetime(2026, 11, 10, 12, tzinfo=UTC)
    assert post.url == f"https://apps.apple.com/nl/app/id{APP}?see-all=reviews&review={ident}"
    assert (post.engagement.likes, post.about_brand) == (4, True)
    assert not poller.rejects


def test_each_review_comes_once_over_pages_and_restarts(feed: ReviewFeed, poller: Poller) -> None:
    first = [feed.write(f"nr {n}") for n in range(120)]
    assert poller.ids() == first[::-1]
    later = feed.write("later")
    assert poller.ids() == [later]
    assert poller.ids() == []


def test_a_crashed_poll_repeats_its_page(feed: ReviewFeed, poller: Poller) -> None:
    written = [feed.write(f"nr {n}") for n in range(120)]
    stored = [post.id for page in poller.pages(die_after=1) for post in page.posts]
    assert sorted([*stored, *poller.ids()]) == sorted(written)


def test_an_edited_review_comes_again_under_its_id(
    feed: ReviewFeed, poller: Poller, clock: MovedClock
) -> None:
    ident = feed.write("Crasht.")
    feed.write("een ander")
    poller.posts()
    clock.move(timedelta(days=2))
    feed.edit(ident, "Werkt weer.")
    [post] = poller.posts()
    assert (post.id, post.text, post.edited_at) == (ident, "★☆☆☆☆ Update\nWerkt weer.", clock())


def test_beyond_the_last_page_a_loss_is_told(
    feed: ReviewFeed, server: FaultServer, context: Context
) -> None:
    for number in range(520):
        feed.write(f"nr {number}")
    poller = Poller(server, context, max_pages=10)
    assert len(poller.ids()) == 500
    assert len(poller.rejects) == 1
    assert "not read" in poller.rejects[0]


def test_every_country_is_read_and_one_that_fails_holds_up_no_other(
    feed: ReviewFeed, server: FaultServer, context: Context
) -> None:
    poller = Poller(server, context, countries=["nl", "be", "de"])
    ids = [feed.write(country=country) for country in ("nl", "be", "de")]
    assert sorted(poller.ids()) == sorted(ids)
    later = feed.write(country="de")
    feed.reviews["nl"].clear()
    found, error = read_until_refused(AppstoreConnector(poller.options, context), poller.cursor)
    assert (found, error.fault) == ([later], SourceFault.BLOCKED)


def test_an_app_without_reviews_is_no_fault(poller: Poller) -> None:
    assert poller.posts() == []
    assert poller.posts() == []


@pytest.mark.parametrize(
    "odd",
    [
        {"im:rating": {"label": "6"}},
        {"im:rating": {"label": "veel"}},
        {"updated": {"label": "2026-11-10"}},
        {"id": {"label": "x/../y"}},
        {"content": "tekst"},
        7,
        None,
    ],
    ids=str,
)
def test_an_odd_review_is_set_aside_and_the_rest_goes_on(
    server: FaultServer, feed: ReviewFeed, poller: Poller, odd: Any
) -> None:
    good = feed.write()
    entry = feed.reviews["nl"][0]
    other = entry | {"id": {"label": "9"}} | odd if isinstance(odd, dict) else odd
    server.answer = lambda request: answer(other, entry) if "page=1" in request.path else answer()
    assert poller.ids() == [good]
    assert len(poller.rejects) == 1


@pytest.mark.parametrize(
    ("status", "fault", "remedy"),
    [
        (404, SourceFault.NOT_FOUND, "number in the address"),
        (403, SourceFault.FORBIDDEN, "raise interval_seconds"),
        (429, SourceFault.RATE_LIMITED, "raise interval_seconds"),
    ],
)
def test_a_refusal_says_what_to_do(
    server: FaultServer, poller: Poller, status: int, fault: SourceFault, remedy: str
) -> None:
    server.answer = Reply(status)
    error = poller.fault()
    assert error.fault is fault
    assert remedy in str(error)


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"apps": ["id123456"]}, "without id"),
        ({"apps": []}, "at least 1"),
        ({"countries": ["NL"]}, "no country code"),
        ({"countries": []}, "at least one country"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        AppstoreOptions.model_validate({"apps": [APP], **options})
