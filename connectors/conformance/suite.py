"""The suite itself: faults of a server, and what a connector owes the daemon."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

import pytest

from connectors.base import (
    Connector,
    ConnectorError,
    Context,
    Page,
    Post,
    Priced,
    SourceFault,
)
from connectors.conformance.server import Answer, FaultServer, Reply, Request, unused_port
from connectors.http import guarded_client
from connectors.options import explanations
from connectors.plugins import problem_with
from connectors.query import Query

BILLION_LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY a0 "ha">'
    + b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 13))
    + b']><rss version="2.0"><channel><item><title>&a12;</title></item></channel></rss>'
)
WISH = timedelta(seconds=77)
"""What the server asks for where it asks for a pause."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One way in which a server fails, and the word that a connector has to have for it."""

    reply: Reply
    fault: SourceFault
    wish: timedelta | None = None
    """The pause that the server asks for, which the error has to carry."""


FAULTS: Mapping[str, Fault] = {
    "silence": Fault(Reply(hang=True), SourceFault.TIMEOUT),
    "drip": Fault(Reply(drip=b" "), SourceFault.TIMEOUT),
    "429": Fault(Reply(429), SourceFault.RATE_LIMITED),
    "429 with a wish": Fault(
        Reply(429, headers={"Retry-After": "77"}), SourceFault.RATE_LIMITED, WISH
    ),
    "500": Fault(Reply(500, b"<html>oops</html>"), SourceFault.SERVER_ERROR),
    "503 with a wish": Fault(
        Reply(503, headers={"Retry-After": "77"}), SourceFault.SERVER_ERROR, WISH
    ),
    "401": Fault(Reply(401), SourceFault.UNAUTHORIZED),
    "402": Fault(Reply(402), SourceFault.PAYMENT_REQUIRED),
    "403": Fault(Reply(403), SourceFault.FORBIDDEN),
    "404": Fault(Reply(404), SourceFault.NOT_FOUND),
    "truncated": Fault(Reply(body=b"<rss", announce=4_000), SourceFault.BAD_RESPONSE),
    "wrong type": Fault(
        Reply(body=b"<!doctype html><html>hi</html>", headers={"Content-Type": "text/html"}),
        SourceFault.BAD_RESPONSE,
    ),
    "binary": Fault(Reply(body=bytes(range(256)) * 40), SourceFault.BAD_RESPONSE),
    "empty": Fault(Reply(), SourceFault.BAD_RESPONSE),
    "no content": Fault(Reply(204), SourceFault.BAD_RESPONSE),
    "hostile XML": Fault(Reply(body=BILLION_LAUGHS), SourceFault.BAD_RESPONSE),
    "gigantic": Fault(Reply(flood=b" " * 65_536), SourceFault.TOO_LARGE),
    "bomb": Fault(
        Reply(body=gzip.compress(b" " * 50_000_000), headers={"Content-Encoding": "gzip"}),
        SourceFault.TOO_LARGE,
    ),
    "circle": Fault(Reply(302, headers={"Location": "/again"}), SourceFault.TOO_MANY_REDIRECTS),
}
"""By name: every one is a test."""


class MovedClock:
    """A clock that stands still until it is moved."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def __call__(self) -> datetime:
        """The moment it stands at."""
        return self.moment

    def move(self, step: timedelta) -> None:
        """Let time pass."""
        self.moment += step


@dataclass
class Wallet:
    """So much money is left, however much is spent: what a connector asks before it spends."""

    money: Decimal
    prices: Mapping[str, Decimal]

    def left(self) -> Decimal:
        """What is left."""
        return self.money

    def cost(self, units: Mapping[str, int]) -> Decimal:
        """What some units cost; one that is not on the list is a defect of the connector."""
        return sum((self.prices[unit] * many for unit, many in units.items()), Decimal(0))


class ConnectorSuite:
    """Tests of one connector that reads over HTTP. Subclass it with a name that begins with Test.

    Override ``options`` and set ``connector`` and ``one_post``; the rest has defaults. A connector that
    costs money (:class:`connectors.base.Priced`) stands some tests more, on what it does without any;
    where it can count for less, ``answer`` has to answer that as well.
    """

    def __init_subclass__(cls) -> None:
        """Leave away the tests of what costs money where nothing does."""
        super().__init_subclass__()
        if not isinstance(getattr(cls, "connector", None), Priced):
            for name in [name for name in dir(cls) if name.startswith("test_money_")]:
                setattr(cls, name, None)

    connector: ClassVar[type[Connector]]
    """The class under test."""
    one_post: ClassVar[bytes]
    """An answer with exactly one post; ``text`` is the last line of its text."""
    nothing: ClassVar[bytes | None] = None
    """An answer without news to whom has that post; None: the same answer again."""
    text: ClassVar[str] = "zonnehoek"
    now: ClassVar[datetime] = datetime(2026, 11, 10, 12, 0, tzinfo=UTC)
    """When the tests take place."""
    secret: ClassVar[str] = "s3cret"  # noqa: S105 - the one that options() hides
    """What ``options`` gives as key or token, if anything: no error may show it."""

    def options(self, url: str) -> dict[str, Any]:
        """The options for a server at ``url``, with time limits of at most half a second."""
        raise NotImplementedError("give the options of your connector for a server at url")

    def answer(self, request: Request) -> Reply:
        """How the source answers when it has one post; for sources that need more than one call."""
        known = any(name in request.query for name in ("since_id", "after", "since"))
        if known and self.nothing is not None:
            return Reply(body=self.nothing)
        return Reply(body=self.one_post)

    # -- what the tests use ----------------------------------------------------------------------

    @pytest.fixture
    def server(self) -> Iterator[FaultServer]:
        """A server on loopback; set its ``answer``."""
        with FaultServer() as running:
            yield running

    @pytest.fixture
    def clock(self) -> MovedClock:
        """The connector's clock."""
        return MovedClock(self.now)

    @pytest.fixture
    def context(self, clock: MovedClock) -> Iterator[Context]:
        """What the daemon gives to every connector."""
        with guarded_client(allow_private_addresses=["127.0.0.1"]) as client:
            yield Context("under test", clock, client, [Query.parse("zonnehoek OR harskamp")])

    def build(self, context: Context, options: Mapping[str, Any]) -> Connector:
        """The connector as the daemon constructs it."""
        make: Any = self.connector
        built: Connector = make(self.connector.Options.model_validate(dict(options)), context)
        return built

    def _poll(self, context: Context, options: Mapping[str, Any]) -> list[Page]:
        connector = self.build(context, options)
        try:
            return list(connector.fetch(None))
        finally:
            connector.close()

    def _fault(self, context: Context, options: Mapping[str, Any]) -> ConnectorError:
        with pytest.raises(ConnectorError) as caught:
            self._poll(context, options)
        assert self.secret not in str(caught.value), "the error shows a secret"
        return caught.value

    # -- the tests -------------------------------------------------------------------------------

    def test_it_keeps_to_the_protocol(self) -> None:
        """Class, kind, options and methods are as the daemon expects them."""
        assert problem_with(self.connector, self.connector.kind) == ""

    def test_every_option_is_explained_with_its_default(self) -> None:
        """What people read about an option says whether it is needed."""
        written = explanations(self.connector.Options)
        for name, field in self.connector.Options.model_fields.items():
            if name == "kind":
                continue
            assert written.get(name), f"{name} has no description: write one below it"
            required = "Required." in written[name]
            assert required == field.is_required(), f"{name}: say Required. or give a default"
            assert field.is_required() or "Default" in written[name], name

    def test_an_unknown_option_is_refused(self) -> None:
        """A misspelt key is an error and no default."""
        with pytest.raises(ValueError, match="Extra inputs"):
            self.connector.Options.model_validate({"no_such_option": 1})

    @pytest.mark.parametrize("name", FAULTS)
    def test_a_fault_of_the_server_has_one_word(
        self, name: str, server: FaultServer, context: Context
    ) -> None:
        """Whatever the server does, a poll ends in time with the right word and no secret."""
        fault = FAULTS[name]
        server.answer = fault.reply
        options = self.options(server.url)
        if fault.fault is SourceFault.TOO_LARGE and "timeout_seconds" in options:
            options["timeout_seconds"] = 30
        error = self._fault(context, options)
        assert error.fault is fault.fault
        assert "127.0.0.1" in str(error), "the error does not say where"
        if fault.wish is not None or error.fault is SourceFault.RATE_LIMITED:
            assert error.retry_after == fault.wish

    def test_a_refused_connection_is_unreachable(self, context: Context) -> None:
        """Nobody listens."""
        error = self._fault(context, self.options(f"http://127.0.0.1:{unused_port()}"))
        assert error.fault is SourceFault.UNREACHABLE

    def test_a_private_address_is_refused_by_default(
        self, server: FaultServer, context: Context
    ) -> None:
        """Every call goes through the client of the context."""
        with guarded_client() as strict:
            guarded = Context(context.name, context.now, strict, context.queries)
            error = self._fault(guarded, self.options(server.url))
        assert error.fault is SourceFault.BLOCKED_ADDRESS
        assert not server.requests

    def test_after_a_fault_the_next_poll_goes_on(
        self, server: FaultServer, context: Context
    ) -> None:
        """One connector lives through many polls."""
        connector = self.build(context, self.options(server.url))
        server.answer = Reply(500)
        with pytest.raises(ConnectorError):
            list(connector.fetch(None))
        server.answer = self.answer
        assert _texts(connector.fetch(None)) == [self.text]
        connector.close()

    def test_cursors_are_json_and_a_poll_from_the_last_one_repeats_nothing(
        self, server: FaultServer, context: Context
    ) -> None:
        """A restart goes on from the stored cursor with a new connector."""
        server.answer = self.answer
        first = self.build(context, self.options(server.url))
        pages = list(first.fetch(None))
        first.close()
        assert _texts(pages) == [self.text]
        cursor = json.loads(json.dumps(pages[-1].cursor))
        second = self.build(context, self.options(server.url))
        assert _texts(second.fetch(cursor)) == []
        second.close()

    def test_a_page_that_was_not_stored_comes_again_under_the_same_ids(
        self, server: FaultServer, context: Context
    ) -> None:
        """After a crash the same posts come once more, and are known by platform and id."""
        server.answer = self.answer
        posts: list[tuple[str, str]] = []
        for _ in range(2):
            for page in self._poll(context, self.options(server.url)):
                posts += [(post.platform, post.id) for post in page.posts]
        assert len(posts) == 2, "each poll from the beginning gives the one post"
        assert posts[0] == posts[1]

    def test_a_cursor_of_long_ago_still_leads_on(
        self, server: FaultServer, context: Context, clock: MovedClock
    ) -> None:
        """After ten days of standstill, longer than many sources reach back, reading goes on by itself."""
        server.answer = self.answer
        pages = self._poll(context, self.options(server.url))
        for _ in range(2):
            clock.move(timedelta(days=10))
            again = self.build(context, self.options(server.url))
            pages += again.fetch(json.loads(json.dumps(pages[-1].cursor)))
            again.close()
        assert set(_texts(pages)) == {self.text}

    @pytest.mark.parametrize("cursor", [{}, {"of": "another version"}], ids=["empty", "foreign"])
    def test_a_cursor_that_it_does_not_know_is_a_beginning(
        self, cursor: dict[str, Any], server: FaultServer, context: Context
    ) -> None:
        """After an upgrade that changed the cursor a source is read from the beginning."""
        server.answer = self.answer
        connector = self.build(context, self.options(server.url))
        assert _texts(connector.fetch(cursor)) == [self.text]
        connector.close()

    def test_the_end_of_a_quota_loses_and_repeats_nothing(
        self, server: FaultServer, context: Context, clock: MovedClock
    ) -> None:
        """While there are no calls left the source says so and for how long; then it goes on."""
        server.answer = self.answer
        connector = self.build(context, self.options(server.url))
        pages = list(connector.fetch(None))
        clock.move(timedelta(hours=2))
        server.answer, asked = FAULTS["429 with a wish"].reply, len(server.requests)
        error: ConnectorError | None = None
        try:
            pages += connector.fetch(pages[-1].cursor)
        except ConnectorError as refused:
            error = refused
        if error is None:
            assert len(server.requests) == asked, "the refusal was taken for an answer"
        else:
            assert (error.fault, error.retry_after) == (SourceFault.RATE_LIMITED, WISH)
        clock.move(WISH)
        server.answer = self.answer
        pages += connector.fetch(json.loads(json.dumps(pages[-1].cursor)))
        connector.close()
        assert _texts(pages) == [self.text]

    def test_posts_are_what_later_stages_expect(
        self, server: FaultServer, context: Context
    ) -> None:
        """Aware moments in UTC, text without markup at its ends, an id, a platform in lower case."""
        server.answer = self.answer
        [post] = [
            post for page in self._poll(context, self.options(server.url)) for post in page.posts
        ]
        _assert_sound(post)

    def test_a_clock_that_is_wrong_breaks_nothing(
        self, server: FaultServer, context: Context, clock: MovedClock
    ) -> None:
        """A machine whose clock is a day behind or ahead still reads, and goes on once it is mended."""
        server.answer = self.answer
        connector = self.build(context, self.options(server.url))
        clock.move(timedelta(days=-1))
        pages = list(connector.fetch(None))
        clock.move(timedelta(days=2))
        pages += connector.fetch(json.loads(json.dumps(pages[-1].cursor)) if pages else None)
        for page in pages:
            for post in page.posts:
                _assert_sound(post)
        connector.close()

    # -- of connectors that cost money -----------------------------------------------------------

    def _wallet(self, prices: Mapping[str, Decimal]) -> Wallet:
        """Money for the smallest page, and for nothing besides."""
        priced: Any = self.connector
        options = self.connector.Options.model_validate(self.options("http://127.0.0.1:9"))
        wallet = Wallet(Decimal(0), prices)
        wallet.money = wallet.cost(priced.least(options))
        return wallet

    def _shop(self, context: Context, server: FaultServer, wallet: Wallet, cursor: Any) -> _Bought:
        """One poll with so much money."""
        connector = self.build(replace(context, budget=wallet), self.options(server.url))
        bought = _Bought([], None, cursor)
        try:
            for page in connector.fetch(cursor):
                bought.pages.append(page)
                bought.cursor = json.loads(json.dumps(page.cursor))
        except ConnectorError as error:
            bought.error = error
        connector.close()
        return bought

    def test_money_is_spent_by_the_price_list_and_never_more_than_there_is(
        self, server: FaultServer, context: Context
    ) -> None:
        """The smallest page that it names is bought with its price, and told with what it cost."""
        prices: Mapping[str, Decimal] = getattr(self.connector, "prices")  # noqa: B009 - Priced
        server.answer = self.answer
        wallet = self._wallet(prices)
        bought = self._shop(context, server, wallet, None)
        assert _texts(bought.pages) == [self.text]
        cost = sum((wallet.cost(page.spent) for page in bought.pages), Decimal(0))
        assert 0 < cost <= wallet.money

    def test_money_that_is_gone_buys_nothing_and_it_says_so(
        self, server: FaultServer, context: Context
    ) -> None:
        """Where every unit has a price, a spent budget is an error that names it, and no request."""
        server.answer = self.answer
        prices = dict.fromkeys(getattr(self.connector, "prices"), Decimal(1))  # noqa: B009 - Priced
        bought = self._shop(context, server, Wallet(Decimal(0), prices), None)
        assert server.requests == [], "asked for what costs money"
        assert bought.error is not None, "a spent budget looks like a source without news"
        assert bought.error.fault is SourceFault.RATE_LIMITED
        assert "budget" in str(bought.error)

    def test_money_that_does_not_suffice_leaves_what_is_free_and_loses_nothing(
        self, server: FaultServer, context: Context
    ) -> None:
        """Below the price of the smallest page it counts where that is free; later the posts come."""
        prices: Mapping[str, Decimal] = getattr(self.connector, "prices")  # noqa: B009 - Priced
        server.answer = self.answer
        wallet = self._wallet(prices)
        poor = self._shop(context, server, Wallet(wallet.money - Decimal("0.0001"), prices), None)
        assert _texts(poor.pages) == []
        assert all(wallet.cost(page.spent) == 0 for page in poor.pages)
        counted = [count for page in poor.pages for count in page.counts]
        assert counted or poor.error is not None, "a spent budget looks like a source without news"
        rich = self._shop(context, server, Wallet(Decimal(10**6), prices), poor.cursor)
        assert _texts(rich.pages) == [self.text]


@dataclass
class _Bought:
    """What came of a poll with some money."""

    pages: list[Page]
    error: ConnectorError | None
    cursor: Any


def _texts(pages: Any) -> list[str]:
    return [post.text.splitlines()[-1] for page in pages for post in page.posts]


def _assert_sound(post: Post) -> None:
    assert post.published_at.utcoffset() == timedelta(), "published_at has to be aware, in UTC"
    assert post.id.strip() == post.id != "", "a post needs an id without blanks around it"
    assert post.platform.lower() == post.platform != "", "a platform is a word in lower case"
    assert post.text.strip() == post.text, "blanks around the text"
    assert post.url is None or post.url.startswith(("http://", "https://", "at://"))


__all__ = ["FAULTS", "Answer", "ConnectorSuite", "Fault", "MovedClock", "Wallet"]
