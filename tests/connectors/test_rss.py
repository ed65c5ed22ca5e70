from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from html import escape
from typing import Any

import pytest

from connectors.base import ConnectorError, Context, Cursor, Page, Post, SourceFault
from connectors.feedworker import FeedWorker
from connectors.rss import RssConnector, RssOptions
from tests.connectors.conftest import MovedClock
from tests.connectors.faultserver import FaultServer, Reply, Request

RSS = {"Content-Type": "application/rss+xml"}


def item(**parts: str) -> str:
    tags = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in parts.items())
    return f"<item>{tags}</item>"


def feed(*items: str, channel: str = "") -> bytes:
    return (
        '<?xml version="1.0" encoding="utf-8"?><rss version="2.0" '
        'xmlns:slash="http://purl.org/rss/1.0/modules/slash/" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/" '
        'xmlns:content="http://purl.org/rss/1.0/modules/content/">'
        f"<channel><title>Nieuws</title>{channel}{''.join(items)}</channel></rss>"
    ).encode()


class Poller:
    """Polls a feed as the daemon does, keeping the cursor of the last page as JSON."""

    def __init__(self, server: FaultServer, context: Context, **options: Any) -> None:
        self.server = server
        self.connector = RssConnector(RssOptions(url=f"{server.url}/feed", **options), context)
        self.cursor: Cursor | None = None

    def pages(self, *bodies: bytes, **headers: str) -> list[Page]:
        for body in bodies:
            told = {name.replace("_", "-"): value for name, value in headers.items()}
            self.server.answer = Reply(body=body, headers={**RSS, **told})
        pages = []
        for page in self.connector.fetch(self.cursor):
            self.cursor = json.loads(json.dumps(page.cursor))
            pages.append(page)
        return pages

    def posts(self, *bodies: bytes, **headers: str) -> list[Post]:
        return [post for page in self.pages(*bodies, **headers) for post in page.posts]

    def fault(self) -> ConnectorError:
        with pytest.raises(ConnectorError) as caught:
            self.pages()
        return caught.value


@pytest.fixture
def poller(server: FaultServer, context: Context) -> Poller:
    return Poller(server, context)


# --- what an entry becomes ------------------------------------------------------------------------


def test_an_entry_becomes_a_post(poller: Poller) -> None:
    entry = """<item><guid>https://nieuws.example/1</guid><title>Lek bij Zonnehoek</title>
      <link>https://nieuws.example/1?x=1&amp;y=2</link><dc:creator>Redactie</dc:creator>
      <description>&lt;p&gt;Klanten &lt;b&gt;boos&lt;/b&gt; &amp;amp; bang.&lt;/p&gt;</description>
      <pubDate>Tue, 10 Nov 2026 12:30:00 +0100</pubDate>
      <slash:comments>12</slash:comments></item>"""
    [post] = poller.posts(feed(entry, channel="<language>nl-NL</language>"))
    assert (post.platform, post.id) == ("news", "https://nieuws.example/1")
    assert post.text == "Lek bij Zonnehoek\nKlanten boos & bang."
    assert post.url == "https://nieuws.example/1?x=1&y=2"
    assert post.published_at == datetime(2026, 11, 10, 11, 30, tzinfo=UTC)
    assert (post.author, post.language, post.engagement.replies) == ("Redactie", "nl-nl", 12)


def test_atom_is_read_as_well(poller: Poller) -> None:
    body = b"""<feed xmlns="http://www.w3.org/2005/Atom" xml:lang="nl"><title>f</title><entry>
      <id>tag:blog.example,2026:1</id><title type="text">Is 1 &lt; 2?</title>
      <link href="/posts/1"/><author><name>Anna</name></author>
      <updated>2026-11-10T11:00:00Z</updated>
      <content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>Ja.</p><p>Echt.</p></div>
      </content></entry></feed>"""
    [post] = poller.posts(body, Content_Type="application/atom+xml")
    assert post.text == "Is 1 < 2?\nJa.\nEcht."
    assert post.url == f"{poller.server.url}/posts/1"
    assert (post.id, post.author) == ("tag:blog.example,2026:1", "Anna")


@pytest.mark.parametrize(
    ("title", "body", "text"),
    [
        ("Zonnehoek dicht", "", "Zonnehoek dicht"),
        ("", "Alleen tekst", "Alleen tekst"),
        ("Alles in een", "Alles in een", "Alles in een"),
        ("Een lange zin die...", "Een lange zin die doorgaat.", "Een lange zin die doorgaat."),
        ("Kop", "<script>alert(1)</script><p>Tekst</p>", "Kop\nTekst"),
        ("Kop", "een<br/>twee&nbsp;drie", "Kop\neen\ntwee drie"),
        ("a &lt;b&gt;", "", "a <b>"),
    ],
)
def test_title_and_body_become_one_text_without_markup(
    poller: Poller, title: str, body: str, text: str
) -> None:
    [post] = poller.posts(feed(item(guid="urn:1", title=title, description=body)))
    assert post.text == text


def test_the_fullest_of_summary_and_content_is_taken(poller: Poller) -> None:
    entry = item(
        guid="urn:1", title="Kop", description="Kort.", **{"content:encoded": "Lang en vol."}
    )
    assert poller.posts(feed(entry))[0].text == "Kop\nLang en vol."


def test_an_entry_without_text_is_set_aside(poller: Poller) -> None:
    [page] = poller.pages(feed(item(guid="urn:1"), item(guid="urn:2", title="x")))
    assert [post.id for post in page.posts] == ["urn:2"]
    assert [reject.excerpt for reject in page.rejects] == ["urn:1"]


def test_a_script_as_link_is_dropped(poller: Poller) -> None:
    [post] = poller.posts(feed(item(guid="urn:1", title="x", link="javascript:alert(1)")))
    assert post.url is None


def test_ids_that_are_bare_numbers_are_unique_per_host_only(poller: Poller) -> None:
    [post] = poller.posts(feed(item(guid="7", title="x")))
    assert post.id == "127.0.0.1#7"


def test_an_entry_without_id_gets_a_stable_one(server: FaultServer, context: Context) -> None:
    body = feed(
        item(title="een", link="https://nieuws.example/"),
        item(title="twee", link="https://nieuws.example/"),
        item(description="zonder kop"),
    )
    first = Poller(server, context).posts(body)
    again = Poller(server, context).posts(body)
    assert len({post.id for post in first}) == 3
    assert [post.id for post in first] == [post.id for post in again]


@pytest.mark.parametrize("date", ["", "gisteren", "Tue, 99 Xyz 2026", "9" * 500])
def test_a_missing_date_is_the_time_of_first_sight(
    poller: Poller, clock: MovedClock, date: str
) -> None:
    [post] = poller.posts(feed(item(guid="urn:1", title="x", pubDate=date)))
    assert post.published_at == clock()


def test_a_date_in_the_future_is_now(poller: Poller, clock: MovedClock) -> None:
    ahead = format_datetime(clock() + timedelta(days=400))
    [post] = poller.posts(feed(item(guid="urn:1", title="x", pubDate=ahead)))
    assert post.published_at == clock()


def test_platform_and_language_may_be_configured(server: FaultServer, context: Context) -> None:
    poller = Poller(server, context, platform="reddit", language="nl")
    body = feed(item(guid="urn:1", title="x"), channel="<language>en</language>")
    [post] = poller.posts(body)
    assert (post.platform, post.language) == ("reddit", "nl")


# --- once each ------------------------------------------------------------------------------------


def test_each_entry_is_delivered_once(poller: Poller) -> None:
    old = [item(guid=f"urn:{number}", title=f"nr {number}") for number in range(3)]
    assert len(poller.posts(feed(*old))) == 3
    fresh = item(guid="urn:new", title="nieuw")
    assert [post.id for post in poller.posts(feed(fresh, *old))] == ["urn:new"]
    assert poller.posts(feed(fresh, *old)) == []


def test_ids_that_all_change_deliver_nothing_again(poller: Poller) -> None:
    def edition(scheme: str) -> bytes:
        return feed(
            *(
                item(guid=f"urn:{scheme}:{n}", title=f"nr {n}", link=f"https://n.example/{n}")
                for n in range(20)
            )
        )

    assert len(poller.posts(edition("old"))) == 20
    assert poller.posts(edition("new")) == []
    assert poller.posts(edition("old")) == []


def test_two_entries_with_the_same_link_and_title_are_two(poller: Poller) -> None:
    same = {"title": "Update", "link": "https://n.example/live"}
    first, second = item(guid="urn:1", **same), item(guid="urn:2", **same)
    assert len(poller.posts(feed(first, second))) == 2
    third = item(guid="urn:3", **same)
    assert [post.id for post in poller.posts(feed(third, first, second))] == ["urn:3"]


def test_an_entry_that_comes_back_after_a_while_is_known(poller: Poller) -> None:
    poller.posts(feed(item(guid="urn:1", title="x")))
    poller.posts(feed(item(guid="urn:2", title="y")))
    assert poller.posts(feed(item(guid="urn:1", title="x"))) == []


def test_the_cursor_stays_bounded(poller: Poller) -> None:
    for edition in range(4):
        poller.posts(
            feed(*(item(guid=f"urn:{edition}:{n}", title=f"{edition} {n}") for n in range(600)))
        )
    assert poller.cursor is not None
    assert len(poller.cursor["seen"]) <= 1200


def test_a_long_feed_comes_in_pages_and_a_crash_loses_none(poller: Poller) -> None:
    body = feed(*(item(guid=f"urn:{n}", title=f"nr {n}") for n in range(450)))
    poller.server.answer = lambda request: (
        Reply(304)
        if "if-none-match" in request.headers
        else Reply(body=body, headers={"ETag": '"1"'})
    )
    first = next(iter(poller.connector.fetch(None)))
    assert len(first.posts) == 200
    poller.cursor = first.cursor  # the daemon dies after the first page
    rest = poller.posts()
    assert [post.id for post in rest] == [f"urn:{n}" for n in range(200, 450)]
    assert poller.posts() == []
    assert "if-none-match" in poller.server.requests[-1].headers


def test_a_feed_with_more_entries_than_allowed_says_so(
    server: FaultServer, context: Context
) -> None:
    poller = Poller(server, context, max_entries=2)
    [page] = poller.pages(feed(*(item(guid=f"urn:{n}", title=f"nr {n}") for n in range(5))))
    assert len(page.posts) == 2
    assert "holds 5 entries" in page.rejects[0].reason


# --- manners --------------------------------------------------------------------------------------


def test_what_did_not_change_is_not_sent_again(poller: Poller) -> None:
    def answer(request: Request) -> Reply:
        if request.headers.get("if-none-match") == '"a"':
            return Reply(304, headers={"Retry-After": "600"})
        headers = {"ETag": '"a"', "Last-Modified": "Tue, 10 Nov 2026 11:00:00 GMT"}
        return Reply(body=feed(item(guid="urn:1", title="x")), headers=headers)

    poller.server.answer = answer
    assert len(poller.posts()) == 1
    [page] = poller.pages()
    assert not page.posts
    assert page.next_poll_after == timedelta(minutes=10)
    told = poller.server.requests[1].headers
    assert told["if-modified-since"] == "Tue, 10 Nov 2026 11:00:00 GMT"
    poller.pages()
    assert poller.server.requests[2].headers["if-none-match"] == '"a"'


def test_another_address_forgets_the_validators_of_the_first(
    poller: Poller, context: Context
) -> None:
    poller.posts(feed(item(guid="urn:1", title="x")), ETag='"a"')
    other = RssConnector(RssOptions(url=f"{poller.server.url}/other"), context)
    list(other.fetch(poller.cursor))
    assert "if-none-match" not in poller.server.requests[-1].headers


def test_the_feeds_own_wish_for_a_pause_is_passed_on(poller: Poller) -> None:
    [page] = poller.pages(feed(item(guid="urn:1", title="x"), channel="<ttl>12</ttl>"))
    assert page.next_poll_after == timedelta(minutes=12)


def dated(clock: MovedClock, *hours_ago: float) -> list[str]:
    """Entries that were published so many hours ago."""
    return [
        item(
            guid=f"urn:{clock() - timedelta(hours=hours)}",
            title="x",
            pubDate=format_datetime(clock() - timedelta(hours=hours)),
        )
        for hours in hours_ago
    ]


def test_a_long_ttl_slows_polls_down_to_the_slowest_and_no_further(
    server: FaultServer, context: Context
) -> None:
    body = feed(item(guid="urn:1", title="x"), channel="<ttl>600</ttl>")
    for slowest, expected in ((1_800, timedelta(minutes=30)), (0, None)):
        [page] = Poller(server, context, slowest_seconds=slowest).pages(body)
        assert page.next_poll_after == expected


@pytest.mark.parametrize(
    ("hours_ago", "minutes"),
    [
        ((1, 2, 3, 4, 5), 15),
        ((9, 10, 11, 12), 15),
        ((0.2, 1.2, 2.2, 3.2), 3),
        ((0, 1, 2, 3), None),
        ((24, 48, 72, 96), 60),
        ((0.5, 0.5, 0.5, 0.5), None),
        ((1, 2), None),
    ],
    ids=["hourly", "asleep", "lately", "just now", "daily", "all at once", "too few"],
)
def test_a_feed_is_asked_at_the_pace_of_its_own_rhythm(
    server: FaultServer,
    context: Context,
    clock: MovedClock,
    hours_ago: tuple[float, ...],
    minutes: int | None,
) -> None:
    [page] = Poller(server, context, slowest_seconds=3_600).pages(feed(*dated(clock, *hours_ago)))
    assert page.next_poll_after == (None if minutes is None else timedelta(minutes=minutes))


def test_the_rhythm_is_remembered_when_nothing_changed(
    server: FaultServer, context: Context, clock: MovedClock
) -> None:
    poller = Poller(server, context, slowest_seconds=1_800)
    body = feed(*dated(clock, 1, 3, 5, 7), channel="<ttl>5</ttl>")
    poller.server.answer = lambda request: (
        Reply(304)
        if "if-none-match" in request.headers
        else Reply(body=body, headers={"ETag": '"1"'})
    )
    [first] = poller.pages()
    assert first.next_poll_after == timedelta(minutes=15)
    clock.move(timedelta(hours=6))
    [later] = poller.pages()
    assert later.next_poll_after == timedelta(minutes=30)


def test_a_feed_that_wakes_up_is_asked_often_again(
    server: FaultServer, context: Context, clock: MovedClock
) -> None:
    poller = Poller(server, context)
    old = dated(clock, 100, 200, 300, 400)
    [asleep] = poller.pages(feed(*old))
    assert asleep.next_poll_after == timedelta(minutes=15)
    [awake] = poller.pages(feed(*dated(clock, 0.01), *old))
    assert awake.next_poll_after is not None
    assert awake.next_poll_after < timedelta(minutes=1)


def test_the_publishers_word_counts_until_enough_was_seen(poller: Poller) -> None:
    namespace = "http://purl.org/rss/1.0/modules/syndication/"
    channel = (
        f'<sy:updatePeriod xmlns:sy="{namespace}">hourly</sy:updatePeriod>'
        f'<sy:updateFrequency xmlns:sy="{namespace}">2</sy:updateFrequency>'
    )
    [page] = poller.pages(feed(item(guid="urn:1", title="x"), channel=channel))
    assert page.next_poll_after == timedelta(minutes=7, seconds=30)


def test_a_feed_that_is_gone_for_good_says_so(poller: Poller) -> None:
    poller.server.answer = Reply(410)
    error = poller.fault()
    assert (error.fault, error.permanent) == (SourceFault.NOT_FOUND, True)


# --- malformed ------------------------------------------------------------------------------------


def test_a_malformed_feed_is_read_as_far_as_it_can_be(poller: Poller) -> None:
    body = feed(item(guid="urn:1", title="goed")).replace(b"goed", b"goed & wel &bogus; <br>")
    [post] = poller.posts(body)
    assert post.text.startswith("goed & wel")


def test_half_an_entry_waits_for_the_whole_one(poller: Poller) -> None:
    whole = feed(
        item(guid="urn:1", title="een"), item(guid="urn:2", title="twee", description="x" * 99)
    )
    assert [post.id for post in poller.posts(whole[:-80], ETag='"a"')] == ["urn:1"]
    assert [post.text[:4] for post in poller.posts(whole)] == ["twee"]
    assert "if-none-match" not in poller.server.requests[-1].headers


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"<!DOCTYPE html><html><body>Log in</body></html>", "web page, not a feed"),
        (b'{"feed": []}', "not a feed"),
        (b"/etc/passwd", "not a feed"),
        (b"http://127.0.0.1/", "not a feed"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "not a feed"),
        (b"", "is empty"),
        (b"<rss version='2.0'><channel><item><title>ha", "cut off"),
    ],
)
def test_what_is_no_feed_is_a_bad_response_that_says_what_it_is(
    poller: Poller, body: bytes, complaint: str
) -> None:
    poller.server.answer = Reply(body=body, headers={"Content-Type": "text/html"})
    error = poller.fault()
    assert error.fault is SourceFault.BAD_RESPONSE
    assert complaint in str(error)


def test_an_empty_feed_is_a_feed(poller: Poller) -> None:
    [page] = poller.pages(feed())
    assert not page.posts
    assert not page.rejects


@pytest.mark.parametrize(
    ("charset", "declared", "served"),
    [
        ("utf-8", "utf-8", "application/rss+xml"),
        ("iso-8859-1", "iso-8859-1", "application/rss+xml"),
        ("windows-1252", "utf-8", "application/rss+xml; charset=windows-1252"),
        ("utf-16", "utf-16", "application/rss+xml"),
        ("utf-8", "iso-8859-1", "application/rss+xml; charset=utf-8"),
    ],
)
def test_the_character_set_comes_from_http_then_from_the_document(
    poller: Poller, charset: str, declared: str, served: str
) -> None:
    text = feed(item(guid="urn:1", title="Café één €" if charset != "iso-8859-1" else "Café één"))
    body = text.decode().replace('"utf-8"', f'"{declared}"', 1).encode(charset)
    [post] = poller.posts(body, Content_Type=served)
    assert post.text.startswith("Café één")
    assert "\N{REPLACEMENT CHARACTER}" not in post.text


# --- hostile --------------------------------------------------------------------------------------


def test_an_external_entity_is_not_fetched(poller: Poller) -> None:
    with FaultServer(Reply(body=b"the secret")) as other:
        body = feed(item(guid="urn:1", title="x ENTITY y")).replace(b"ENTITY", b"&ext;")
        for target in (f"{other.url}/secret", "file:///etc/hostname"):
            doctype = f'<!DOCTYPE rss [<!ENTITY ext SYSTEM "{target}">]><rss '.encode()
            posts = poller.posts(body.replace(b"<rss ", doctype, 1))
            assert "secret" not in str(posts)
        assert not other.requests


@pytest.mark.parametrize(
    "entities",
    [
        '<!ENTITY a "ha"><!ENTITY b "&a;&a;">',
        "<!ENTITY a 'ha'>\n<!ENTITY b '&a;&a;'>",
        f'<!ENTITY a "{"x" * 50_000}">',
    ],
    ids=["nested", "single quotes", "long"],
)
def test_entities_that_multiply_are_refused(poller: Poller, entities: str) -> None:
    body = feed(item(guid="urn:1", title="XX")).replace(b"XX", b"&a;" * 10_000)
    doctype = f"<!DOCTYPE rss [{entities}]><rss ".encode()
    poller.server.answer = Reply(body=body.replace(b"<rss ", doctype, 1))
    error = poller.fault()
    assert error.fault is SourceFault.BAD_RESPONSE
    assert "entities that multiply" in str(error)


def test_a_harmless_entity_of_ones_own_is_read(poller: Poller) -> None:
    body = feed(item(guid="urn:1", title="Caf XX")).replace(b" XX", b"&eacute;")
    [post] = poller.posts(
        body.replace(b"<rss ", b'<!DOCTYPE rss [\n<!ENTITY eacute "&#233;">\n]>\n<rss ', 1)
    )
    assert post.text == "Café"


@pytest.mark.parametrize(
    "body",
    [
        b"<rss " + b"".join(b'a%d="1" ' % number for number in range(60_000)) + b">",
        b"<rss>" + b" " * 200_000_000,
    ],
    ids=["time", "memory"],
)
def test_a_feed_that_takes_too_much_is_given_up_and_the_next_one_is_read(body: bytes) -> None:
    worker = FeedWorker(seconds=5, memory_bytes=2**27)
    try:
        with pytest.raises(ConnectorError, match="5 seconds and 128 MiB") as caught:
            worker.read(body, {}, url="http://h/", host="h", most=10, where="here")
        assert caught.value.fault is SourceFault.BAD_RESPONSE
        good = feed(item(guid="urn:1", title="x"))
        got = worker.read(good, {}, url="http://h/", host="h", most=10, where="here")
        assert [entry.text for entry in got.entries] == ["x"]
    finally:
        worker.close()


def test_a_worker_that_was_ended_is_replaced() -> None:
    worker = FeedWorker()
    try:
        for _ in range(2):
            good = feed(item(guid="urn:1", title="x"))
            got = worker.read(good, {}, url="http://h/", host="h", most=10, where="here")
            assert len(got.entries) == 1
            worker.close()
    finally:
        worker.close()


@pytest.mark.parametrize(
    "url", ["ftp://x.example/", "nieuws.example/feed", "https://", "http:///x"]
)
def test_an_address_that_is_none_is_refused_by_the_configuration(url: str) -> None:
    with pytest.raises(ValueError, match="url"):
        RssOptions(url=url)
