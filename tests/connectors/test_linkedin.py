"""LinkedIn: what one organisation is notified of, asked for and pushed."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

import pytest

from connectors.base import Context, SourceFault
from connectors.intake import NotAdmittedError, Push, TakesPushes
from connectors.linkedin import LinkedInConnector, LinkedInOptions
from tests.connectors.conftest import MovedClock
from tests.connectors.faultserver import FaultServer, Reply, Request
from tests.connectors.polling import Polling
from tests.connectors.pushing import Pushes

HOUR = timedelta(hours=1)
TOKEN, SECRET, REFRESH = "AQXtoken", "client-s3cret", "AQXrefresh"
ORGANIZATION = "96072893"
OWNER = f"urn:li:organization:{ORGANIZATION}"
LOGIN = "/oauth/v2/accessToken"
LIST = "/rest/organizationalEntityNotifications"


def reply(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(status, json.dumps(body).encode(), dict(headers or {}))


class LinkedInLike:
    """Notifications newest first, by offset; comments and posts by urn; tokens that expire."""

    def __init__(self, clock: MovedClock) -> None:
        self.clock = clock
        self.notifications: list[dict[str, Any]] = []
        self.objects: dict[str, dict[str, Any]] = {}
        self.good_tokens = {TOKEN}
        self.renewed = 0
        self.numbers = iter(range(7_000_000_001, 8_000_000_000))

    def notify(self, action: str, text: str | None = "Alweer te laat", **more: Any) -> str:
        """Have somebody do something; None as text: it is only named."""
        number = next(self.numbers)
        comment = "COMMENT" in action
        urn = (
            f"urn:li:comment:(urn:li:activity:5001,{number})"
            if comment
            else f"urn:li:share:{number}"
        )
        about = {"entity": urn, "owner": "urn:li:person:zLqTygBP8S", "text": text}
        decorated = {"decoratedGeneratedActivity": {"comment" if comment else "share": about}}
        self.notifications.append(
            {
                "notificationId": number,
                "action": action,
                "organizationalEntity": OWNER,
                "sourcePost": "urn:li:activity:5001",
                # The short form, as LinkedIn writes it here.
                "generatedActivity": urn.replace("(urn:li:activity", "(activity"),
                "lastModifiedAt": int(self.clock().timestamp() * 1_000),
                "subscriber": "urn:li:person:admin",
                **({} if text is None else decorated),
                **more,
            }
        )
        self.clock.move(timedelta(seconds=1))
        return f"5001/{number}" if comment else str(number)

    def __call__(self, request: Request) -> Reply:
        if request.path == LOGIN:
            self.renewed += 1
            self.good_tokens = {f"made-{self.renewed}"}
            body = {"access_token": f"made-{self.renewed}", "expires_in": 5_184_000}
            return reply(body)
        assert request.headers["linkedin-version"] == "202607"
        assert request.headers["x-restli-protocol-version"] == "2.0.0"
        if request.headers["authorization"].removeprefix("Bearer ") not in self.good_tokens:
            told = {"status": 401, "code": "EXPIRED_ACCESS_TOKEN", "message": "It has expired"}
            return reply(told, 401)
        if request.path != LIST:
            found = self.objects.get(unquote(request.path))
            return reply({"message": "Not found"}, 404) if found is None else reply(found)
        return self._list(request.query)

    def _list(self, query: Mapping[str, str]) -> Reply:
        actions = re.fullmatch(r"List\(([A-Z_,]+)\)", query["actions"])
        times = re.fullmatch(r"\(start:(\d+),end:(\d+)\)", query["timeRange"])
        assert actions is not None
        assert times is not None
        assert query["organizationalEntity"] == OWNER
        found = [
            one
            for one in sorted(self.notifications, key=lambda one: -one["lastModifiedAt"])
            if one["action"] in actions[1].split(",")
            and int(times[1]) <= one["lastModifiedAt"] <= int(times[2])
        ]
        start, count = int(query["start"]), int(query["count"])
        page = found[start : start + count]
        links = [{"rel": "next"}] if start + count < len(found) else []
        date = {"Date": format_datetime(self.clock(), usegmt=True)}
        paging = {"start": start, "count": count, "links": links}
        return reply({"elements": page, "paging": paging}, headers=date)


class Poller(Polling):
    """Polls as the daemon does; every poll a new process unless ``kept``."""

    def __init__(self, server: FaultServer, context: Context) -> None:
        self.server = server
        self.pushes = Pushes()
        self.context = replace(context, intake=self.pushes)
        self.options: dict[str, Any] = {
            "organization_id": ORGANIZATION,
            "access_token": TOKEN,
            "client_secret": SECRET,
            "base_url": server.url,
            "login_url": server.url + LOGIN,
        }
        self.kept: LinkedInConnector | None = None
        super().__init__(lambda: self.kept or self.made())

    def made(self) -> LinkedInConnector:
        return LinkedInConnector(LinkedInOptions(**self.options), self.context)

    def push(self, *notifications: Mapping[str, Any]) -> None:
        kind = "ORGANIZATION_SOCIAL_ACTION_NOTIFICATIONS"
        body = json.dumps({"type": kind, "notifications": list(notifications)})
        self.pushes.push(body.encode(), self.context.now())

    def asked(self) -> list[str]:
        return [unquote(request.path) for request in self.server.requests]


@pytest.fixture
def linkedin(clock: MovedClock, server: FaultServer) -> LinkedInLike:
    server.answer = LinkedInLike(clock)
    return server.answer


@pytest.fixture
def poller(linkedin: LinkedInLike, server: FaultServer, context: Context) -> Poller:
    return Poller(server, context)


# --- what is read ---------------------------------------------------------------------------------


def test_a_comment_on_a_post_of_the_page_is_about_the_brand(
    linkedin: LinkedInLike, poller: Poller
) -> None:
    name = linkedin.notify("COMMENT")
    [post] = poller.posts()
    assert (post.platform, post.id, post.text, post.author) == (
        "linkedin",
        name,
        "Alweer te laat",
        "zLqTygBP8S",
    )
    assert post.published_at == datetime(2026, 11, 10, 12, 0, tzinfo=UTC)
    assert post.url == (
        "https://www.linkedin.com/feed/update/urn:li:activity:5001/?commentUrn="
        "urn%3Ali%3Acomment%3A%28activity%3A5001%2C7000000001%29"
    )
    assert post.thread == "https://www.linkedin.com/feed/update/urn:li:activity:5001/"
    assert post.about_brand
    assert post.edited_at is None


@pytest.mark.parametrize("action", ["SHARE_MENTION", "SHARE"])
def test_a_post_that_mentions_or_passes_on_is_about_the_brand(
    linkedin: LinkedInLike, poller: Poller, action: str
) -> None:
    name = linkedin.notify(action, "Wat een bedrijf")
    [post] = poller.posts()
    assert (post.id, post.text, post.about_brand) == (name, "Wat een bedrijf", True)
    assert post.url == f"https://www.linkedin.com/feed/update/urn:li:share:{name}/"


def test_what_the_page_says_itself_is_its_own(linkedin: LinkedInLike, poller: Poller) -> None:
    about = {"entity": "urn:li:comment:(urn:li:activity:1,2)", "owner": OWNER, "text": "Sorry!"}
    linkedin.notify("ADMIN_COMMENT", decoratedGeneratedActivity={"comment": about})
    [post] = poller.posts()
    assert (post.author, post.about_brand) == (ORGANIZATION, False)
    poller.cursor, poller.options["own_comments"] = None, False
    assert poller.posts() == []


def test_reposts_may_be_left_out_and_those_without_words_always_are(
    linkedin: LinkedInLike, poller: Poller
) -> None:
    linkedin.notify("SHARE", "")
    name = linkedin.notify("SHARE", "Lees dit")
    assert poller.ids() == [name]
    assert poller.asked() == [LIST], "nothing is asked for that has no words"
    poller.cursor, poller.options["reshares"] = None, False
    assert poller.ids() == []


def test_an_edited_comment_comes_again_as_it_is_now(linkedin: LinkedInLike, poller: Poller) -> None:
    name = linkedin.notify("COMMENT")
    poller.pages()
    edited = {**linkedin.notifications[0], "action": "COMMENT_EDIT"}
    edited["lastModifiedAt"] = int((linkedin.clock() + HOUR).timestamp() * 1_000)
    edited["decoratedGeneratedActivity"]["comment"]["text"] = "Alweer op tijd"
    linkedin.notifications.append(edited)
    linkedin.clock.move(2 * HOUR)
    [post] = [post for post in poller.posts() if post.edited_at is not None]
    assert (post.id, post.text) == (name, "Alweer op tijd")


@pytest.mark.parametrize("pushed", [False, True], ids=["asked for", "pushed"])
def test_a_comment_that_was_taken_back_is_told(
    linkedin: LinkedInLike, poller: Poller, pushed: bool
) -> None:
    name = linkedin.notify("COMMENT")
    poller.pages()
    gone = {**linkedin.notifications[0], "action": "COMMENT_DELETE"}
    del gone["decoratedGeneratedActivity"]
    if pushed:
        poller.push(gone)
    else:
        linkedin.notifications.append(gone)
        linkedin.clock.move(HOUR)
    deleted = [each for page in poller.pages() for each in page.deleted]
    assert deleted == [("linkedin", name)]


def test_a_comment_that_is_only_named_is_asked_for(linkedin: LinkedInLike, poller: Poller) -> None:
    name = linkedin.notify("COMMENT", None)
    path = f"/rest/socialActions/urn:li:activity:5001/comments/{name.split('/')[1]}"
    linkedin.objects[path] = {"actor": "urn:li:person:anna", "message": {"text": "Te laat"}}
    [post] = poller.posts()
    assert (post.id, post.text, post.author) == (name, "Te laat", "anna")
    assert poller.asked() == [LIST, path]


def test_a_post_that_is_only_named_is_asked_for_and_its_markup_read(
    linkedin: LinkedInLike, poller: Poller
) -> None:
    name = linkedin.notify("SHARE_MENTION", None)
    linkedin.objects[f"/rest/posts/urn:li:share:{name}"] = {
        "author": "urn:li:person:anna",
        "commentary": r"Nooit meer @[Zonnehoek \(bakker\)](urn:li:organization:96072893) "
        r"{hashtag|\#|hoekfail} \_echt\_ niet",
    }
    [post] = poller.posts()
    assert post.text == "Nooit meer @Zonnehoek (bakker) #hoekfail _echt_ niet"


@pytest.mark.parametrize(("status", "rejects"), [(404, 0), (403, 1), (400, 1)])
def test_a_post_that_may_not_be_read_does_not_keep_others(
    linkedin: LinkedInLike, poller: Poller, status: int, rejects: int
) -> None:
    linkedin.notify("SHARE_MENTION", None)
    name = linkedin.notify("COMMENT")
    poller.server.answer = lambda request: (
        reply({"message": "no"}, status) if "/posts/" in request.path else linkedin(request)
    )
    assert poller.ids() == [name]
    assert len(poller.rejects) == rejects


@pytest.mark.parametrize(
    "fields",
    [
        {"generatedActivity": "urn:li:comment:(x,../..)", "decoratedGeneratedActivity": None},
        {"generatedActivity": None, "decoratedGeneratedActivity": None},
        {"lastModifiedAt": "soon"},
        {"lastModifiedAt": -5},
        {"decoratedGeneratedActivity": {"comment": {"text": 7}}},
        {"decoratedGeneratedActivity": {"comment": {"owner": 7, "text": "x"}}},
        {"decoratedGeneratedActivity": 7},
    ],
    ids=str,
)
def test_an_odd_notification_is_set_aside_once(
    linkedin: LinkedInLike, poller: Poller, fields: dict[str, Any]
) -> None:
    linkedin.notify("COMMENT")
    linkedin.notifications[0] |= fields
    good = linkedin.notify("COMMENT")
    answer = reply({"elements": [7, *linkedin.notifications]})
    poller.server.answer = answer
    assert poller.ids() == [good]
    linkedin.clock.move(HOUR)
    poller.pages()
    assert len(poller.rejects) == 2
    assert not any("zLqTygBP8S" in reason for reason in poller.rejects)


def test_what_is_about_another_organisation_is_not_ours(
    linkedin: LinkedInLike, poller: Poller
) -> None:
    linkedin.notify("COMMENT", organizationalEntity="urn:li:organization:1")
    assert poller.posts() == []
    poller.push(linkedin.notifications[0])
    assert poller.posts() == []


def test_brackets_and_commas_go_out_as_they_are() -> None:
    """LinkedIn reads them as structure only when they are not escaped."""
    seen: list[bytes] = []

    class Listening(FaultServer):
        def _serve(self, connection: Any) -> None:
            seen.append(connection.recv(65_536, 2))  # a look that takes nothing
            super()._serve(connection)

    with Listening(reply({"elements": []})) as server:
        from connectors.http import guarded_client

        with guarded_client(allow_private_addresses=["127.0.0.1"]) as client:
            clock = MovedClock(datetime(2026, 11, 10, 12, tzinfo=UTC))
            poller = Poller(server, Context("x", clock, client))
            poller.pages()
    line = seen[0].split(b"\r\n")[0].decode()
    query = line.split(" ")[1].split("?")[1]
    assert (
        "actions=List(COMMENT,COMMENT_EDIT,COMMENT_DELETE,SHARE_MENTION,SHARE,ADMIN_COMMENT)"
        in query
    )
    assert re.search(r"timeRange=\(start:\d+,end:\d+\)", query)
    assert "organizationalEntity=urn%3Ali%3Aorganization%3A96072893" in query
    assert dict(parse_qsl(query))["q"] == "criteria"


# --- following ------------------------------------------------------------------------------------


def test_each_post_comes_once_also_after_a_restart(linkedin: LinkedInLike, poller: Poller) -> None:
    first = linkedin.notify("COMMENT")
    assert poller.ids() == [first]
    linkedin.clock.move(HOUR)
    assert poller.ids() == []
    later = linkedin.notify("COMMENT")
    linkedin.clock.move(HOUR)
    assert poller.ids() == [later]


def test_many_notifications_are_read_over_several_polls(
    linkedin: LinkedInLike, poller: Poller
) -> None:
    poller.options["max_calls"] = 4
    said = {linkedin.notify("COMMENT", f"nummer {number}") for number in range(700)}
    got = set(poller.ids())
    assert 300 < len(got) < 400
    # While it is read, one of them moves up: it was edited.
    linkedin.notifications[600]["lastModifiedAt"] += 10**9
    for _ in range(2):
        got |= set(poller.ids())
    assert got == said


def test_a_crash_repeats_a_page_at_most(linkedin: LinkedInLike, poller: Poller) -> None:
    said = {linkedin.notify("COMMENT", f"nummer {number}") for number in range(350)}
    stored = [post.id for page in poller.pages(die_after=2) for post in page.posts]
    stored += poller.ids()
    assert set(stored) == said
    assert len(stored) == len(said)


@pytest.mark.parametrize("wrong", [timedelta(hours=-5), timedelta(hours=5)], ids=str)
def test_a_clock_that_runs_wrong_loses_nothing(
    linkedin: LinkedInLike, poller: Poller, clock: MovedClock, wrong: timedelta
) -> None:
    local = MovedClock(clock())
    poller.context = replace(poller.context, now=local)
    said, got = [], poller.ids()
    for off in (timedelta(), wrong, wrong, timedelta(), timedelta()):
        said.append(linkedin.notify("COMMENT"))
        clock.move(HOUR)
        local.moment = clock() + off
        got += poller.ids()
    assert sorted(set(got)) == sorted(said)


# --- pushes ---------------------------------------------------------------------------------------


def test_a_push_needs_no_call_and_counts_once(linkedin: LinkedInLike, poller: Poller) -> None:
    poller.pages()
    poller.server.requests.clear()
    names = [linkedin.notify("COMMENT"), linkedin.notify("SHARE_MENTION", "Kijk")]
    linkedin.notify("LIKE")
    poller.push(*linkedin.notifications)
    assert poller.ids() == names
    assert poller.asked() == []
    linkedin.clock.move(HOUR)
    assert poller.ids() == []


def test_a_push_that_only_names_a_post_is_not_lost_while_linkedin_is_out_of_order(
    linkedin: LinkedInLike, poller: Poller
) -> None:
    poller.pages()
    name = linkedin.notify("SHARE_MENTION", None)
    poller.push(linkedin.notifications.pop())
    poller.server.answer = Reply(503)
    assert poller.fault().fault is SourceFault.SERVER_ERROR
    linkedin.objects[f"/rest/posts/urn:li:share:{name}"] = {"commentary": "Nooit meer"}
    poller.server.answer = linkedin
    assert poller.ids() == [name]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b"[" * 5_000, b'{"notifications": 7}', b'{"notifications": []}'],
    ids=lambda body: body[:30].decode(),
)
def test_an_odd_push_harms_nobody(linkedin: LinkedInLike, poller: Poller, body: bytes) -> None:
    poller.pages()
    poller.pushes.push(body)
    name = linkedin.notify("COMMENT")
    poller.push(7, linkedin.notifications[0])  # type: ignore[arg-type] # as a stranger might
    assert poller.ids() == [name]
    assert len(poller.rejects) == 1


# --- login ----------------------------------------------------------------------------------------


@pytest.fixture
def renewing(poller: Poller) -> Poller:
    del poller.options["access_token"]
    poller.options |= {"client_id": "app-id", "refresh_token": REFRESH}
    poller.kept = poller.made()
    return poller


def test_a_token_is_made_once_and_again_when_it_expires(
    linkedin: LinkedInLike, renewing: Poller
) -> None:
    renewing.pages()
    linkedin.clock.move(HOUR)
    renewing.pages()
    assert linkedin.renewed == 1
    linkedin.clock.move(timedelta(days=60))
    renewing.pages()
    assert linkedin.renewed == 2


def test_a_token_that_was_revoked_is_made_anew_once(
    linkedin: LinkedInLike, renewing: Poller
) -> None:
    renewing.pages()
    linkedin.good_tokens.clear()
    name = linkedin.notify("COMMENT")
    linkedin.clock.move(HOUR)
    assert renewing.ids() == [name]
    assert linkedin.renewed == 2


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (reply({"error": "invalid_request"}, 400), SourceFault.UNAUTHORIZED),
        (reply({"error": "invalid_client"}, 401), SourceFault.UNAUTHORIZED),
        (reply({"access_token": "a b"}), SourceFault.BAD_RESPONSE),
        (reply([]), SourceFault.BAD_RESPONSE),
        (Reply(body=b"<html>"), SourceFault.BAD_RESPONSE),
        (Reply(500), SourceFault.SERVER_ERROR),
    ],
)
def test_a_renewal_that_fails_says_so_without_a_secret(
    renewing: Poller, answer: Reply, fault: SourceFault
) -> None:
    renewing.server.answer = answer
    error = renewing.fault()
    assert error.fault is fault
    for secret in (SECRET, REFRESH):
        assert secret not in str(error)
    if fault is SourceFault.UNAUTHORIZED:
        assert "authorise the app again" in str(error)


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "fault", "permanent", "remedy"),
    [
        (401, SourceFault.UNAUTHORIZED, True, "authorise the app again"),
        (403, SourceFault.FORBIDDEN, True, "rw_organization_admin"),
        (404, SourceFault.NOT_FOUND, False, "organization_id"),
        (426, SourceFault.BAD_REQUEST, True, "retired version 202607"),
        (429, SourceFault.RATE_LIMITED, False, "standard tier"),
        (500, SourceFault.SERVER_ERROR, False, "ITS_CODE: its words"),
    ],
)
def test_a_refusal_says_what_to_do(
    poller: Poller, status: int, fault: SourceFault, permanent: bool, remedy: str
) -> None:
    told = {"status": status, "code": "ITS_CODE", "message": "its words"}
    poller.server.answer = reply(told, status)
    error = poller.fault()
    assert (error.fault, error.permanent) == (fault, permanent)
    assert remedy in str(error)
    assert TOKEN not in str(error)


def test_a_used_up_day_ends_at_midnight_utc(poller: Poller) -> None:
    date = {"Date": "Tue, 10 Nov 2026 22:00:00 GMT"}
    body = {"code": "TOO_MANY_REQUESTS", "message": "Resource level throttle DAY limit"}
    poller.server.answer = reply(body, 429, date)
    assert poller.fault().retry_after == timedelta(hours=2, minutes=1)
    poller.server.answer = reply(body, 429, {**date, "Retry-After": "7"})
    assert poller.fault().retry_after == timedelta(seconds=7)


# --- the door -------------------------------------------------------------------------------------


def test_linkedin_is_shown_that_we_know_the_secret(poller: Poller) -> None:
    connector = poller.made()
    assert isinstance(connector, TakesPushes)
    assert connector.door is not None
    code = "890e4665-4dfe-4ab1-b689-ed553bceeed0"
    greeting = connector.door.greet({"challengeCode": code})
    right = hmac.new(SECRET.encode(), code.encode(), hashlib.sha256).hexdigest()
    assert greeting.media_type == "application/json"
    assert json.loads(greeting.body) == {"challengeCode": code, "challengeResponse": right}
    for bad in ({}, {"challengeCode": "<script>alert(1)</script>"}, {"challengeCode": "x"}):
        with pytest.raises(NotAdmittedError):
            connector.door.greet(bad)


def test_a_challenge_is_never_the_signature_of_a_push(poller: Poller) -> None:
    """Else a stranger could have us sign a push for him."""
    door = poller.made().door
    assert door is not None
    with pytest.raises(NotAdmittedError):
        door.greet({"challengeCode": 'hmacsha256={"notifications": []}'})


def test_only_what_linkedin_signed_comes_in(poller: Poller) -> None:
    door = poller.made().door
    assert door is not None
    body = b'{"notifications": []}'
    right = hmac.new(SECRET.encode(), b"hmacsha256=" + body, hashlib.sha256).hexdigest()
    assert door.admit(Push({"x-li-signature": right}, body))
    plain = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    for headers in ({}, {"x-li-signature": plain}, {"x-li-signature": "é"}):
        with pytest.raises(NotAdmittedError, match="compare client_secret"):
            door.admit(Push(headers, body))
    with pytest.raises(NotAdmittedError):
        door.admit(Push({"x-li-signature": right}, body + b" "))


def test_without_the_apps_secret_nothing_comes_in(poller: Poller) -> None:
    del poller.options["client_secret"]
    assert poller.made().door is None


@pytest.mark.parametrize(
    "options",
    [
        {"organization_id": "zonnehoek"},
        {"access_token": None},
        {"access_token": "a b"},
        {"refresh_token": REFRESH},
        {"version": "202613"},
        {"version": "v2"},
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(poller: Poller, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"organization_id|access_token|one word|needed|version"):
        LinkedInOptions(**{**poller.options, **options})
