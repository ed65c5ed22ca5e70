"""What the alert about a refused source says: what to do, in the platform's own terms, and where to read on.

Each case is what a platform really answers when a token has expired, a permission is missing or a plan is
too small, taken through polling and tending into the words of the message.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from alerts.base import Event, Message, Reason
from alerts.message import compose
from connectors import BUILT_IN
from connectors.base import Context
from connectors.conformance import FaultServer, Reply, Request
from connectors.guides import guide
from connectors.http import guarded_client
from connectors.query import Query
from monitor.inbox import Inbox
from monitor.matching import Brand
from monitor.metrics import Metrics
from monitor.polling import PollStep, Source
from monitor.privacy import Pseudonyms
from monitor.store import Store
from monitor.tending import TendStep
from tests.connectors import imapserver
from tests.connectors.graphserver import refusal
from tests.connectors.test_contract import OVER_HTTP
from tests.fakes import FakeClock
from tests.monitor.crowds import announcer
from tests.monitor.make import fresh_store

ROOT = Path(__file__).parents[2]


def says(status: int, body: Any = None) -> Reply:
    return Reply(status, json.dumps(body or {}).encode(), {"Content-Type": "application/json"})


def google(status: int, words: str, reason: str) -> Reply:
    errors = [{"message": words, "domain": "global", "reason": reason}]
    return says(status, {"error": {"code": status, "message": words, "errors": errors}})


@dataclass(frozen=True)
class Case:
    """A source that is refused, and the remedy that the alert has to name."""

    kind: str
    what: str
    reply: Reply
    remedy: str
    login: Reply | None = None
    """To a login by itself; None: as to everything else."""
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the source."""
        return f"{self.kind}: {self.what}"

    def answer(self, request: Request) -> Reply:
        if self.login is not None and "token" in request.path:
            return self.login
        return self.reply


TOKEN = says(200, {"access_token": "t0ken", "expires_in": 3600})
ADMITTED = {"access_token": "s3cret"}
EXPIRED = "token expired"
NO_PERMISSION = "permission missing"
SMALL_PLAN = "plan too small"

CASES = [
    Case("x", EXPIRED, says(401, {"title": "Unauthorized"}), "copy it anew from the app's keys"),
    Case("x", NO_PERMISSION, says(403, {"title": "Forbidden"}), "belong to a project whose plan"),
    Case("x", SMALL_PLAN, says(402, {"title": "CreditsDepleted"}), "buy some on developer.x.com"),
    Case(
        "x",
        "cap reached",
        says(429, {"title": "UsageCapExceeded", "detail": "Usage cap exceeded"}),
        "raise it on developer.x.com",
    ),
    Case("mastodon", EXPIRED, says(401, {"error": "invalid"}), "make a new one under Preferences"),
    Case("mastodon", NO_PERMISSION, says(403, {"error": "scope"}), "needs the scope read:statuses"),
    Case("bluesky", EXPIRED, says(401, {"error": "AuthMissing"}), "identifier and app_password"),
    Case("bluesky", NO_PERMISSION, says(403, {"error": "No"}), "identifier and app_password"),
    Case("reddit", EXPIRED, says(401), "compare client_id and client_secret"),
    Case("reddit", NO_PERMISSION, says(403), "has not approved the app", login=TOKEN),
    Case("youtube", EXPIRED, google(400, "Expired", "keyExpired"), "copy the API key again"),
    Case(
        "youtube",
        NO_PERMISSION,
        google(403, "Not enabled", "accessNotConfigured"),
        "enable the YouTube Data API v3",
    ),
    Case("facebook", EXPIRED, refusal(190, "Expired", 463), "has expired; make a new token"),
    Case("facebook", NO_PERMISSION, refusal(10), "the token lacks a permission"),
    Case("facebook", SMALL_PLAN, refusal(3), "the app lacks a capability"),
    Case("instagram", EXPIRED, refusal(190, "Expired", 463), "has expired; make a new token"),
    Case("instagram", NO_PERMISSION, refusal(200), "the token lacks a permission"),
    Case("instagram", SMALL_PLAN, refusal(3), "the app lacks a capability"),
    Case("linkedin", EXPIRED, says(401, {"code": "EXPIRED_ACCESS_TOKEN"}), "authorise the app"),
    Case("linkedin", NO_PERMISSION, says(403, {"code": "ACCESS_DENIED"}), "rw_organization_admin"),
    Case("trustpilot", EXPIRED, says(401), "compare api_key with the application"),
    Case("trustpilot", SMALL_PLAN, says(403), "the plan of the account has no access"),
    Case(
        "googleplay",
        EXPIRED,
        says(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}),
        "make a new key of the service account",
    ),
    Case(
        "googleplay",
        NO_PERMISSION,
        google(403, "The caller does not have permission", "forbidden"),
        "invite the service account by its address",
        login=TOKEN,
    ),
    Case("googlealerts", "alert deleted", says(404), "set 'Deliver to' to 'RSS feed'"),
    Case("googlealerts", NO_PERMISSION, says(403), "raise interval_seconds to an hour"),
    Case("hackernews", NO_PERMISSION, says(403), "set network.contact"),
    Case("appstore", NO_PERMISSION, says(403), "raise interval_seconds to some hours"),
    Case("rss", EXPIRED, says(401), "the feed wants a login"),
    Case("rss", NO_PERMISSION, says(403), "the publisher keeps programs out"),
    Case("rss", SMALL_PLAN, says(402), "it is for subscribers"),
    Case("imap", EXPIRED, says(200), "want an app password", options={"password": "old"}),
    Case("jetstream", NO_PERMISSION, says(403), "may this network reach it?"),
    Case("file", "file gone", says(200), "put the file there or correct `path`"),
]
ASK_NOBODY = {"webhook"}
"""What is only pushed: nobody is asked who could refuse."""


def _options(case: Case, url: str, mail_port: int, folder: Path) -> Mapping[str, Any]:
    if case.kind == "file":
        return {"path": folder / "gone.jsonl"}
    if case.kind == "jetstream":
        return {"urls": [f"ws{url[4:]}/subscribe"]}
    if case.kind == "imap":
        mailbox = {"host": "127.0.0.1", "port": mail_port, "security": "none"}
        return mailbox | {"username": imapserver.USER, **case.options}
    return OVER_HTTP[case.kind](url)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Message]]:
    """The message about each source, after it was refused for some hours."""
    folder = tmp_path_factory.mktemp("remedies")
    clock = FakeClock()
    with ExitStack() as stack:
        client = stack.enter_context(guarded_client(allow_private_addresses=["127.0.0.1"]))
        mailbox = stack.enter_context(imapserver.StandIn())
        brand = Brand("Zonnehoek", Query.parse("zonnehoek"), frozenset())
        sources = []
        for case in CASES:
            server = stack.enter_context(FaultServer(case.answer))
            make: Callable[..., Any] = BUILT_IN[case.kind]
            options = BUILT_IN[case.kind].Options.model_validate(
                dict(_options(case, server.url, mailbox.port, folder))
            )
            context = Context(case.name, clock, client, [brand.query])
            sources.append(
                Source(
                    name=case.name,
                    kind=case.kind,
                    connector=make(options, context),
                    brands=[brand],
                    interval=timedelta(minutes=5),
                    silent_after=timedelta(hours=2),
                    fingerprint="same",
                )
            )
        store = fresh_store(folder)
        stack.callback(store.close)
        _refuse(store, sources, clock, stack.enter_context(ThreadPoolExecutor(4)))
        yield _messages(store)


def _refuse(
    store: Store, sources: list[Source], clock: FakeClock, pool: ThreadPoolExecutor
) -> None:
    """Poll all of them some hours in a row, and look after them."""
    metrics = Metrics(CollectorRegistry())
    inbox = Inbox()
    poll = PollStep(
        sources=sources,
        store=store,
        inbox=inbox,
        pool=pool,
        pseudonyms=Pseudonyms(b"k" * 32),
        metrics=metrics,
        now=clock,
        rng=random.Random(1),
        stored=lambda: None,
    )
    poll.begin()
    for _ in range(3):
        with store.write() as unit:
            unit.sources.make_due([source.name for source in sources], clock())
        poll.run()
        while poll.in_flight:
            inbox.pump(5)
        clock.moment += timedelta(hours=1)
    tend = TendStep(
        store=store,
        sources=sources,
        announcer=announcer(),
        retention=timedelta(days=30),
        metrics=metrics,
        now=clock,
    )
    tend.run()


def _messages(store: Store) -> dict[str, Message]:
    found = {}
    with store.read() as unit:
        for incident in unit.incidents.burning(""):
            found[incident.subject] = compose(
                incident,
                Event.OPENED,
                Reason.OPENED,
                signals=unit.incidents.signals(incident.id),
                exhibits=(),
                total_mentions=0,
                language="en",
                timezone="Europe/Amsterdam",
            )
    return found


def test_every_kind_that_can_be_refused_has_a_case() -> None:
    assert {case.kind for case in CASES} == set(BUILT_IN) - ASK_NOBODY


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_alert_about_a_refused_source_names_the_remedy_and_the_page(
    case: Case, told: Mapping[str, Message]
) -> None:
    message = told[case.name]
    error = " ".join(value for _, value in message.why)
    assert case.remedy in error
    assert guide(case.kind) in error  # type: ignore[operator] # built in, so it has a page
    assert "s3cret" not in error


@pytest.mark.parametrize("kind", BUILT_IN)
def test_every_kind_has_its_page(kind: str) -> None:
    page, _, anchor = (guide(kind) or "").partition("#")
    text = (ROOT / page).read_text(encoding="utf-8")
    assert kind in text
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    assert not anchor or anchor in anchors


def test_a_kind_of_another_package_has_no_page_of_ours() -> None:
    assert guide("townhall") is None
