from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest

from connectors.base import Context, Engagement, SourceFault
from connectors.googleplay import GooglePlayConnector, GooglePlayOptions
from tests.connectors import serviceaccount
from tests.connectors.conftest import MovedClock
from tests.connectors.faultserver import FaultServer, Reply, Request
from tests.connectors.polling import Polling

APP = "nl.zonnehoek.app"


def answer(body: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(body).encode(), {"Content-Type": "application/json"})


def refusal(status: int, words: str, reason: str = "") -> Reply:
    errors = [{"message": words, "domain": "global", "reason": reason}] if reason else []
    return answer({"error": {"code": status, "message": words, "errors": errors}}, status)


class PublisherApi:
    """Answers as Google does: reviews of seven days, the latest change first, page by page."""

    def __init__(self, clock: MovedClock) -> None:
        self.clock = clock
        self.reviews: list[dict[str, Any]] = []
        self.page = 100
        self.generation = 0
        """Of page tokens: those of an earlier one have expired."""
        self.assertions: list[dict[str, Any]] = []
        self.refuses: Reply | None = None
        self.login: Reply | None = None
        self.expired = False

    def write(self, text: str = "Crasht.", stars: int = 1, **fields: Any) -> str:
        """Have somebody write a review; the clock moves a minute."""
        ident = f"gp:AOqpTOE{len(self.reviews):06}"
        self.reviews.append({"reviewId": ident, "authorName": "Anna de V.", "comments": []})
        self._say(self.reviews[-1], text, stars, fields)
        return ident

    def edit(self, ident: str, text: str, stars: int) -> None:
        [found] = [one for one in self.reviews if one["reviewId"] == ident]
        self.reviews.remove(found)
        self.reviews.append(found)
        self._say(found, text, stars, {})

    def _say(self, review: dict[str, Any], text: str, stars: int, fields: dict[str, Any]) -> None:
        moment = self.clock()
        stamp = {"seconds": str(int(moment.timestamp())), "nanos": 213_000_000}
        comment = {"text": text, "lastModified": stamp, "starRating": stars, **fields}
        review["comments"] = [{"userComment": comment}, *review["comments"][1:]]
        self.clock.move(timedelta(minutes=1))

    def __call__(self, request: Request) -> Reply:
        if request.path == "/token":
            return self.login or self._token(request)
        if self.expired:
            self.expired = False
            return refusal(401, "Request had invalid authentication credentials.", "authError")
        assert request.headers["authorization"] == f"Bearer t0ken{len(self.assertions)}"
        assert request.path == f"/applications/{APP}/reviews"
        if self.refuses is not None:
            return self.refuses
        earliest = (self.clock() - timedelta(days=7)).timestamp()
        found = [one for one in self.reviews[::-1] if self._seconds(one) >= earliest]
        place, _, generation = request.query.get("token", f"0.{self.generation}").partition(".")
        if generation != str(self.generation):
            return refusal(400, "Invalid pagination token", "badRequest")
        end = int(place) + self.page
        body: dict[str, Any] = {}
        if shown := found[int(place) : end]:
            body["reviews"] = shown
        if end < len(found):
            body["tokenPagination"] = {"nextPageToken": f"{end}.{self.generation}"}
        return answer(body)

    def _seconds(self, review: dict[str, Any]) -> int:
        return int(review["comments"][0]["userComment"]["lastModified"]["seconds"])

    def _token(self, request: Request) -> Reply:
        sent = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        assert sent["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        self.assertions.append(serviceaccount.claims_of(sent["assertion"]))
        token = f"t0ken{len(self.assertions)}"
        return answer({"access_token": token, "expires_in": 3599, "token_type": "Bearer"})


class Poller(Polling):
    def __init__(self, server: FaultServer, context: Context, **options: Any) -> None:
        given = {
            "key": serviceaccount.key_file(),
            "apps": [APP],
            "base_url": server.url,
            "login_url": f"{server.url}/token",
            **options,
        }
        connector = GooglePlayConnector(GooglePlayOptions.model_validate(given), context)
        super().__init__(lambda: connector)


@pytest.fixture
def api(clock: MovedClock, server: FaultServer) -> PublisherApi:
    server.answer = PublisherApi(clock)
    return server.answer


@pytest.fixture
def poller(api: PublisherApi, server: FaultServer, context: Context) -> Poller:
    return Poller(server, context)


def test_a_review_becomes_a_post(api: PublisherApi, poller: Poller) -> None:
    ident = api.write(
        "Update\tCrasht sinds gisteren",
        2,
        reviewerLanguage="en",
        device="trltechn",
        androidOsVersion=33,
        appVersionName="1.2.3",
        thumbsUpCount=10,
        thumbsDownCount=3,
    )
    reply = {"text": "Dank!", "lastModified": {"seconds": "1794312100"}}
    api.reviews[0]["comments"].append({"developerComment": reply})
    [post] = poller.posts()
    assert (post.platform, post.id, post.author) == ("googleplay", ident, "Anna de V.")
    assert post.text == "★★☆☆☆ Update\nCrasht sinds gisteren"
    assert post.published_at == datetime(2026, 11, 10, 12, 0, 0, 213_000, tzinfo=UTC)
    assert post.url == (
        f"https://play.google.com/store/apps/details?id={APP}&reviewId=gp%3AAOqpTOE000000"
    )
    assert post.engagement == Engagement(likes=10, replies=1)
    assert post.about_brand
    assert post.language is None, "it is the device's, not the text's"


def test_of_a_translated_review_its_own_words_count(api: PublisherApi, poller: Poller) -> None:
    api.write("Crashes.", originalText="Crasht.")
    assert [post.text for post in poller.posts()] == ["★☆☆☆☆\nCrasht."]


def test_each_review_comes_once_over_pages_and_restarts(api: PublisherApi, poller: Poller) -> None:
    api.page = 50
    first = [api.write(f"nr {n}") for n in range(120)]
    assert poller.ids() == first[::-1]
    later = api.write("later")
    assert poller.ids() == [later]
    assert poller.ids() == []


def test_a_crashed_poll_repeats_its_page(api: PublisherApi, poller: Poller) -> None:
    api.page = 50
    written = [api.write(f"nr {n}") for n in range(120)]
    stored = [post.id for page in poller.pages(die_after=1) for post in page.posts]
    assert sorted([*stored, *poller.ids()]) == sorted(written)


def test_a_page_token_that_expired_loses_and_repeats_nothing(
    api: PublisherApi, server: FaultServer, context: Context
) -> None:
    api.page = 20
    poller = Poller(server, context, max_pages=2)
    written = [api.write(f"nr {n}") for n in range(120)]
    got = poller.ids()
    assert len(got) == 40
    api.generation += 1
    for _ in range(6):
        got += poller.ids()
    assert sorted(got) == sorted(written)


def test_an_edited_review_comes_again_under_its_id(
    api: PublisherApi, poller: Poller, clock: MovedClock
) -> None:
    ident = api.write("Crasht.")
    api.write("een ander")
    poller.posts()
    clock.move(timedelta(days=2))
    api.edit(ident, "Werkt weer.", 5)
    [post] = poller.posts()
    assert (post.id, post.text) == (ident, "★★★★★\nWerkt weer.")
    assert post.edited_at == post.published_at > clock() - timedelta(minutes=2)


def test_what_google_dropped_while_nobody_asked_is_told(
    api: PublisherApi, poller: Poller, clock: MovedClock
) -> None:
    api.write()
    poller.posts()
    clock.move(timedelta(days=2))
    missed = api.write("van toen")
    clock.move(timedelta(days=7))
    seen = api.write("van nu")
    assert poller.ids() == [seen] != [missed]
    assert len(poller.rejects) == 1
    assert "not read" in poller.rejects[0]
    poller.ids()
    assert len(poller.rejects) == 1, "told once"


def test_weeks_without_a_review_are_no_gap_while_somebody_asks(
    api: PublisherApi, poller: Poller, clock: MovedClock
) -> None:
    api.write()
    poller.posts()
    for _ in range(4):
        clock.move(timedelta(days=6))
        assert poller.posts() == []
    api.write("na een maand")
    assert len(poller.posts()) == 1
    assert not poller.rejects


def test_one_login_is_good_for_an_hour(
    api: PublisherApi, poller: Poller, server: FaultServer, clock: MovedClock
) -> None:
    poller.posts()
    clock.move(timedelta(minutes=50))
    poller.posts()
    [claims] = api.assertions
    assert claims["iss"] == serviceaccount.ADDRESS
    assert claims["scope"] == "https://www.googleapis.com/auth/androidpublisher"
    assert claims["aud"] == f"{server.url}/token"
    assert claims["exp"] - claims["iat"] == 3_600
    clock.move(timedelta(minutes=10))
    poller.posts()
    assert len(api.assertions) == 2


def test_a_token_that_was_revoked_is_asked_for_anew_once(api: PublisherApi, poller: Poller) -> None:
    api.write()
    api.expired = True
    assert len(poller.posts()) == 1
    assert len(api.assertions) == 2


@pytest.mark.parametrize(
    ("reply", "fault", "remedy"),
    [
        (
            refusal(403, "The caller does not have permission"),
            SourceFault.FORBIDDEN,
            "Play Console",
        ),
        (
            refusal(403, "Google Play Android Developer API is off", "accessNotConfigured"),
            SourceFault.FORBIDDEN,
            "enable the Google Play Android Developer API",
        ),
        (refusal(404, "Package not found: x."), SourceFault.NOT_FOUND, "name of the package"),
        (refusal(403, "Quota", "quotaExceeded"), SourceFault.RATE_LIMITED, "200 times an hour"),
        (refusal(429, "Slow", "rateLimitExceeded"), SourceFault.RATE_LIMITED, "interval_seconds"),
    ],
    ids=["permission", "API off", "package", "quota", "too fast"],
)
def test_a_refusal_says_what_to_do(
    api: PublisherApi, poller: Poller, reply: Reply, fault: SourceFault, remedy: str
) -> None:
    api.refuses = reply
    error = poller.fault()
    assert error.fault is fault
    assert remedy in str(error)
    assert error.permanent is (fault is not SourceFault.RATE_LIMITED)


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ("Invalid JWT Signature.", "new key"),
        ("Invalid JWT: Token must be a short-lived token: check your iat and exp", "clock right"),
    ],
)
def test_a_refused_login_says_what_to_do(
    api: PublisherApi, poller: Poller, words: str, remedy: str
) -> None:
    api.login = answer({"error": "invalid_grant", "error_description": words}, 400)
    error = poller.fault()
    assert error.fault is SourceFault.UNAUTHORIZED
    assert error.permanent
    assert words in str(error)
    assert remedy in str(error)


@pytest.mark.parametrize(
    "private_key",
    ["-----BEGIN PRIVATE KEY-----\ns3cret\n-----END PRIVATE KEY-----\n", "s3cret", "ключ"],
)
def test_a_key_that_is_none_is_named_and_not_shown(
    server: FaultServer, context: Context, private_key: str
) -> None:
    key = serviceaccount.key_file(private_key=private_key)
    error = Poller(server, context, key=key).fault()
    assert error.fault is SourceFault.UNAUTHORIZED
    assert "no RSA key" in str(error)
    assert private_key not in str(error)
    assert not server.requests


def test_without_the_library_it_says_what_to_install(
    server: FaultServer, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)  # as where it is not installed
    error = Poller(server, context).fault()
    assert "pip install 'merkwacht[googleplay]'" in str(error)
    assert error.permanent
    assert not server.requests


@pytest.mark.parametrize(
    "odd",
    [
        {"reviewId": "x y"},
        {"comments": []},
        {"comments": [{"userComment": {"text": "x", "starRating": 1}}]},
        {"comments": [{"userComment": {"lastModified": {"seconds": "1794311940"}}}]},
        7,
        None,
    ],
    ids=str,
)
def test_an_odd_review_is_set_aside_and_the_rest_goes_on(
    api: PublisherApi, poller: Poller, odd: Any
) -> None:
    good = api.write()
    review = api.reviews[0]
    api.refuses = answer({"reviews": [review | odd if isinstance(odd, dict) else odd, review]})
    assert poller.ids() == [good]
    assert len(poller.rejects) == 1


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"apps": ["123456789"]}, "no name of a package"),
        ({"apps": []}, "at least 1"),
        ({"key": "AIza-an-api-key"}, "JSON file of a service account"),
        ({"key": '{"client_email": "a@b"}'}, "JSON file of a service account"),
        ({"backfill_hours": 200}, "168"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        GooglePlayOptions.model_validate(
            {"apps": [APP], "key": serviceaccount.key_file(), **options}
        )
