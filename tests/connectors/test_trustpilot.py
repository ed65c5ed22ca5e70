from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.base import Context, Engagement, SourceFault
from connectors.trustpilot import TrustpilotConnector, TrustpilotOptions
from tests.connectors.conftest import MovedClock
from tests.connectors.faultserver import FaultServer, Reply, Request
from tests.connectors.polling import Polling

UNIT = "46d6a890ffa235a75b00021d"


def answer(body: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(body).encode(), {"Content-Type": "application/json"})


class ReviewApi:
    """Answers as the API does: newest first, in pages, an empty one behind the last."""

    def __init__(self, clock: MovedClock) -> None:
        self.clock = clock
        self.reviews: list[dict[str, Any]] = []

    def write(self, text: str = "Nooit meer.", stars: int = 1, **fields: Any) -> str:
        """Have somebody write a review; the clock moves a minute."""
        ident = f"{len(self.reviews):024x}"
        review = {
            "id": ident,
            "stars": stars,
            "title": "Slecht",
            "text": text,
            "language": "nl",
            "createdAt": self.clock().strftime("%Y-%m-%dT%H:%M:%SZ"),
            "updatedAt": None,
            "consumer": {"id": "5e3d", "displayName": "Anna D."},
            "numberOfLikes": 2,
            "companyReply": None,
            "status": "active",
        }
        self.reviews.append(review | fields)
        self.clock.move(timedelta(minutes=1))
        return ident

    def edit(self, ident: str, **fields: Any) -> None:
        found = next(one for one in self.reviews if one["id"] == ident)
        found |= {"updatedAt": self.clock().strftime("%Y-%m-%dT%H:%M:%SZ"), **fields}

    def __call__(self, request: Request) -> Reply:
        assert request.headers["apikey"] == "s3cret"
        if request.path.endswith("/find"):
            found = request.query["name"] == "zonnehoek.example"
            return answer({"id": UNIT}) if found else answer({"message": "Not found"}, 404)
        assert request.path == f"/v1/business-units/{UNIT}/reviews"
        assert request.query["orderBy"] == "createdat.desc"
        page, size = int(request.query["page"]), int(request.query["perPage"])
        newest = self.reviews[::-1]
        return answer({"reviews": newest[(page - 1) * size : page * size]})


class Poller(Polling):
    def __init__(self, server: FaultServer, context: Context, **options: Any) -> None:
        self.server = server
        settings = {"company": UNIT, "api_key": "s3cret", "base_url": f"{server.url}/v1", **options}
        self.options = TrustpilotOptions.model_validate(settings)
        super().__init__(lambda: TrustpilotConnector(self.options, context))


@pytest.fixture
def api(clock: MovedClock, server: FaultServer) -> ReviewApi:
    server.answer = ReviewApi(clock)
    return server.answer


@pytest.fixture
def poller(api: ReviewApi, server: FaultServer, context: Context) -> Poller:
    return Poller(server, context)


def test_a_review_becomes_a_post(api: ReviewApi, poller: Poller) -> None:
    ident = api.write("Pakket kwijt,\nniemand neemt op.", stars=2, companyReply={"text": "Sorry"})
    [post] = poller.posts()
    assert (post.platform, post.id, post.author, post.language) == (
        "trustpilot",
        ident,
        "Anna D.",
        "nl",
    )
    assert post.text == "★★☆☆☆ Slecht\nPakket kwijt,\nniemand neemt op."
    assert post.url == f"https://www.trustpilot.com/reviews/{ident}"
    assert post.published_at == datetime(2026, 11, 10, 12, tzinfo=UTC)
    assert post.engagement == Engagement(likes=2, replies=1)
    assert (post.about_brand, post.edited_at) == (True, None)


@pytest.mark.parametrize(
    ("title", "text", "written"),
    [
        ("Slecht", "Slecht geregeld", "★☆☆☆☆\nSlecht geregeld"),
        ("Slecht", "", "★☆☆☆☆ Slecht"),
        ("", "Niets", "★☆☆☆☆\nNiets"),
        ("", "", "★☆☆☆☆"),
    ],
)
def test_stars_stand_before_what_was_written(
    api: ReviewApi, poller: Poller, title: str, text: str, written: str
) -> None:
    api.write(text, title=title)
    assert poller.posts()[0].text == written


def test_a_domain_stands_for_the_company(
    api: ReviewApi, server: FaultServer, context: Context
) -> None:
    ident = api.write()
    assert Poller(server, context, company="zonnehoek.example").ids() == [ident]
    error = Poller(server, context, company="elders.example").fault()
    assert (error.fault, error.permanent) == (SourceFault.NOT_FOUND, True)
    assert "look whether company" in str(error)


def test_each_review_comes_once_over_pages_and_restarts(api: ReviewApi, poller: Poller) -> None:
    first = [api.write(f"nr {n}") for n in range(250)]
    assert poller.ids() == first[::-1]
    later = api.write("later")
    assert poller.ids() == [later]


def test_a_crashed_poll_repeats_its_page(api: ReviewApi, poller: Poller) -> None:
    written = [api.write(f"nr {n}") for n in range(250)]
    stored = [post.id for page in poller.pages(die_after=1) for post in page.posts]
    assert sorted([*stored, *poller.ids()]) == sorted(written)


def test_an_edited_review_comes_again(api: ReviewApi, poller: Poller, clock: MovedClock) -> None:
    ident = api.write("Nooit meer.")
    poller.posts()
    clock.move(timedelta(days=3))
    api.edit(ident, stars=4, text="Netjes opgelost.")
    [post] = poller.posts()
    assert (post.id, post.text) == (ident, "★★★★☆ Slecht\nNetjes opgelost.")
    assert post.edited_at == clock()


def test_reviews_that_are_not_shown_are_not_read(api: ReviewApi, poller: Poller) -> None:
    api.write("a", status="archived")
    api.write("b", reportData={"reviewVisibility": "hidden"})
    shown = api.write("c", reportData={"reviewVisibility": "visible"})
    assert poller.ids() == [shown]


def test_languages_are_asked_for(api: ReviewApi, server: FaultServer, context: Context) -> None:
    Poller(server, context, languages=["nl"]).posts()
    assert server.requests[-1].query["language"] == "nl"


def test_a_moment_without_zone_is_utc(api: ReviewApi, poller: Poller) -> None:
    api.write(createdAt="2026-11-10T11:30:00")
    assert poller.posts()[0].published_at == datetime(2026, 11, 10, 11, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "odd",
    [7, {}, {"stars": 6}, {"stars": True}, {"id": "../x"}, {"createdAt": "soon"}, {"text": 7}],
    ids=str,
)
def test_an_odd_review_is_set_aside_and_the_rest_goes_on(
    server: FaultServer, api: ReviewApi, poller: Poller, odd: Any
) -> None:
    good = api.write()
    item = {**api.reviews[0], "id": "f" * 24, **odd} if isinstance(odd, dict) and odd else odd
    server.answer = answer({"reviews": [item, api.reviews[0]]})
    assert poller.ids() == [good]
    assert len(poller.rejects) == 1


@pytest.mark.parametrize(
    ("reply", "expected", "words"),
    [
        (
            answer({"fault": {"faultstring": "Invalid ApiKey"}}, 401),
            (SourceFault.UNAUTHORIZED, True),
            ["Invalid ApiKey", "api_key"],
        ),
        (answer({"message": "No"}, 403), (SourceFault.FORBIDDEN, True), ["No", "plan"]),
        (answer([], 429), (SourceFault.RATE_LIMITED, False), ["raise interval_seconds"]),
        (answer({"reviews": {}}), (SourceFault.BAD_RESPONSE, False), ["no list of reviews"]),
    ],
    ids=["401", "403", "429", "no list"],
)
def test_a_refusal_says_what_to_do(
    server: FaultServer,
    poller: Poller,
    reply: Reply,
    expected: tuple[SourceFault, bool],
    words: list[str],
) -> None:
    server.answer = reply
    error = poller.fault()
    assert (error.fault, error.permanent) == expected
    assert all(word in str(error) for word in words)
    assert "s3cret" not in str(error)
