from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape

import pytest

from connectors.base import ConnectorError, Context, Cursor, Post, SourceFault
from connectors.googlealerts import GoogleAlertsConnector, GoogleAlertsOptions
from tests.connectors.faultserver import FaultServer, Reply

ARTICLE = "https://nieuws.example/artikel?id=7&ref=voor"


def wrapped(link: str) -> str:
    return (
        f"https://www.google.com/url?rct=j&sa=t&url={quote(link, safe='')}&ct=ga&cd=CAIyG&usg=AOv"
    )


def entry(number: int, title: str, link: str, content: str = "") -> str:
    return (
        f"<entry><id>tag:google.com,2013:googlealerts/feed:{number}</id>"
        f'<title type="html">{escape(title)}</title><link href="{escape(link)}"></link>'
        "<published>2026-11-10T09:30:00Z</published><updated>2026-11-10T09:30:00Z</updated>"
        f'<content type="html">{escape(content)}</content><author><name></name></author></entry>'
    )


def feed(*entries: str) -> Reply:
    body = (
        '<?xml version="1.0" encoding="utf-8"?><feed xmlns="http://www.w3.org/2005/Atom" '
        'xmlns:idx="urn:atom-extension:indexing"><id>tag:google.com,2005:reader/user/1/state/com'
        ".google/alerts/2</id><title>Google Alert - zonnehoek</title>"
        '<link href="https://www.google.com/alerts/feeds/1/2" rel="self"></link>'
        f"<updated>2026-11-10T09:30:00Z</updated>{''.join(entries)}</feed>"
    )
    return Reply(body=body.encode(), headers={"Content-Type": "application/atom+xml"})


class Poller:
    """Polls as the daemon does, keeping the cursor as JSON."""

    def __init__(self, server: FaultServer, context: Context, **options: Any) -> None:
        self.options = GoogleAlertsOptions(url=f"{server.url}/alerts/feeds/1/2", **options)
        self.context = context
        self.cursor: Cursor | None = None

    def posts(self) -> list[Post]:
        pages = list(GoogleAlertsConnector(self.options, self.context).fetch(self.cursor))
        self.cursor = json.loads(json.dumps(pages[-1].cursor))
        return [post for page in pages for post in page.posts]

    def fault(self) -> ConnectorError:
        with pytest.raises(ConnectorError) as caught:
            self.posts()
        return caught.value


@pytest.fixture
def poller(server: FaultServer, context: Context) -> Poller:
    return Poller(server, context)


def test_an_entry_becomes_a_post_of_its_article(server: FaultServer, poller: Poller) -> None:
    server.answer = feed(
        entry(
            1,
            "<b>Zonnehoek</b> opent winkel - De Krant",
            wrapped(ARTICLE),
            "Keten <b>Zonnehoek</b> opent&nbsp;... &quot;mooi&quot; &amp; ruim",
        )
    )
    [post] = poller.posts()
    assert post.text == (
        'Zonnehoek opent winkel - De Krant\nKeten Zonnehoek opent ... "mooi" & ruim'
    )
    assert (post.platform, post.id, post.url) == ("news", ARTICLE, ARTICLE)
    assert post.author is None


def test_an_article_in_two_alerts_is_one_post(
    server: FaultServer, context: Context, poller: Poller
) -> None:
    server.answer = feed(entry(1, "<b>Zonnehoek</b> groeit", wrapped(ARTICLE)))
    [one] = poller.posts()
    tracked = "https://NIEUWS.example:443/artikel?id=7&ref=voor&utm_source=alert#top"
    server.answer = feed(entry(99, "Zonnehoek <b>groeit</b>", wrapped(tracked)))
    [other] = Poller(server, context).posts()
    assert (one.platform, one.id) == (other.platform, other.id)


def test_an_article_that_google_finds_again_is_not_delivered_again(
    server: FaultServer, poller: Poller
) -> None:
    server.answer = feed(entry(1, "<b>Zonnehoek</b>", wrapped(ARTICLE)))
    assert len(poller.posts()) == 1
    server.answer = feed(
        entry(2, "Zonnehoek in het <b>nieuws</b>", wrapped(ARTICLE)),
        entry(3, "<b>Zonnehoek</b> elders", wrapped("https://elders.example/")),
    )
    assert [post.url for post in poller.posts()] == ["https://elders.example/"]


def test_a_long_address_still_gives_a_bounded_id(server: FaultServer, poller: Poller) -> None:
    long = f"https://nieuws.example/{'a' * 900}"
    server.answer = feed(entry(1, "zonnehoek", wrapped(long)))
    [post] = poller.posts()
    assert post.url == long
    assert len(post.id) < 60


def test_an_entry_without_link_keeps_its_own_id(server: FaultServer, poller: Poller) -> None:
    server.answer = feed(entry(1, "zonnehoek", "javascript:alert(1)"))
    [post] = poller.posts()
    assert post.url is None
    assert post.id.startswith("tag:google.com")


@pytest.mark.parametrize(
    ("answer", "fault", "remedy"),
    [
        (Reply(404), SourceFault.NOT_FOUND, "'Deliver to' to 'RSS feed'"),
        (Reply(410), SourceFault.NOT_FOUND, "'Deliver to' to 'RSS feed'"),
        (Reply(403), SourceFault.FORBIDDEN, "raise interval_seconds"),
        (
            Reply(429, headers={"Retry-After": "60"}),
            SourceFault.RATE_LIMITED,
            "raise interval_seconds",
        ),
        (Reply(body=b"<html>Sign in</html>"), SourceFault.BAD_RESPONSE, "/alerts/feeds/"),
    ],
    ids=["404", "410", "403", "429", "a page"],
)
def test_a_refusal_says_what_to_do(
    server: FaultServer, poller: Poller, answer: Reply, fault: SourceFault, remedy: str
) -> None:
    server.answer = answer
    error = poller.fault()
    assert error.fault is fault
    assert remedy in str(error)
    assert error.permanent == (answer.status in {403, 410})
    assert (error.retry_after is not None) == (answer.status == 429)
