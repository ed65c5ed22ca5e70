"""The step ``poll``: workers fetch, the main thread stores page by page."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from classifiers.masking import mask
from connectors.base import (
    Connector,
    ConnectorError,
    Cursor,
    Page,
    Post,
    Reject,
    SourceFault,
    darkness_of,
)
from connectors.guides import advised
from connectors.query import Query
from monitor.budget import Tariff
from monitor.database import StoreError
from monitor.inbox import Inbox, StoppedError
from monitor.log import about, logger, some
from monitor.matching import Brand, match
from monitor.metrics import OK, Metrics
from monitor.privacy import Pseudonyms
from monitor.schedule import after_failure, after_success
from monitor.store import Store, Unit
from monitor.store.crowd import bucket_of
from monitor.store.mentions import NewMention

COVERAGE_SLACK = 3
"""A source polled again within this many intervals was listened to without a gap."""


@dataclass(frozen=True, slots=True)
class Source:
    """A configured source, ready to poll."""

    name: str
    kind: str
    connector: Connector
    brands: Sequence[Brand]
    interval: timedelta
    silent_after: timedelta
    fingerprint: str
    """Of its options and queries: when it changes, its cursor means nothing any more."""
    canary: Query | None = None
    """Finds something among what the source brings, as long as it brings what it has."""
    canary_within: timedelta = timedelta(days=1)
    """How long it may find nothing."""
    tariff: Tariff | None = None
    """What it costs and may cost; None: no money."""


@dataclass(frozen=True, slots=True)
class PollFailure:
    """A poll that failed, for those who want to list it."""

    source: str
    fault: SourceFault
    message: str


_AUTHOR = re.compile(r'("author"\s*:\s*")(?:[^"\\]|\\.)*')


def _harmless(rejects: Sequence[Reject]) -> list[Reject]:
    """The rejects as they may be kept: values masked, no author."""
    return [Reject(each.reason, _AUTHOR.sub(r"\1…", mask(each.excerpt, ()))) for each in rejects]


class PollStep:
    """Polls the sources that are due. Its public methods belong to the main thread."""

    def __init__(
        self,
        *,
        sources: Sequence[Source],
        store: Store,
        inbox: Inbox,
        pool: ThreadPoolExecutor,
        pseudonyms: Pseudonyms,
        metrics: Metrics,
        now: Callable[[], datetime],
        rng: random.Random,
        stored: Callable[[], object],
        with_pictures: bool = False,
    ) -> None:
        self.sources = {source.name: source for source in sources}
        self._store = store
        self._inbox = inbox
        self._pool = pool
        self._pseudonyms = pseudonyms
        self._metrics = metrics
        self._now = now
        self._rng = rng
        self._stored = stored
        self._with_pictures = with_pictures
        self._in_flight: set[str] = set()
        self._unrecorded: dict[str, Callable[[], None]] = {}
        self._agreed: dict[str, timedelta] = {}
        """Pauses after good polls. A source's own wish may be longer than the interval, and keeping to
        it is no gap. Not kept over a restart: then nobody knows how long the program was away."""
        self._log = logger("poll")
        self.failures: list[PollFailure] = []
        """What failed since the caller last emptied it; kept short."""

    @property
    def in_flight(self) -> int:
        """How many polls are under way."""
        return len(self._in_flight)

    def begin(self) -> None:
        """Make the sources known to the store."""
        now = self._now()
        with self._store.write() as unit:
            for source in self.sources.values():
                unit.sources.ensure(source.name, source.kind, source.fingerprint, now)
            unit.dusk.awaken(self.sources.keys(), now)
            lasting = unit.dusk.lasting()
        for name in self.sources.keys() & lasting.keys():
            self._metrics.darken(name, lasting[name].reason)

    def run(self) -> int:
        """Start the polls that are due. Returns how many.

        First it records the ends of those that could not be recorded when they came: without it
        their sources would be polled again at once, over and over.

        Raises:
            StoreError: the store is out of order; nothing was started.
        """
        while self._unrecorded:
            name, record = next(iter(self._unrecorded.items()))
            record()
            del self._unrecorded[name]
        now = self._now()
        with self._store.read() as unit:
            due = unit.sources.due(list(self.sources), now)
        started = 0
        for state in due:
            if state.name not in self._in_flight:
                self._in_flight.add(state.name)
                self._metrics.poll_lateness.observe((now - state.next_due_at).total_seconds())
                self._pool.submit(self._fetch, self.sources[state.name], state.cursor)
                started += 1
        return started

    # -- in a worker ---------------------------------------------------------------------------

    def _fetch(self, source: Source, cursor: Cursor | None) -> None:
        """One poll, in a worker."""
        with about(source=source.name):
            self._fetch_pages(source, cursor)

    def _fetch_pages(self, source: Source, cursor: Cursor | None) -> None:
        """Hands every page to the main thread and waits for its commit."""
        began = time.monotonic()
        error: ConnectorError | None = None
        wish: timedelta | None = None
        canary = False
        heard_until: datetime | None = None
        try:
            for page in source.connector.fetch(cursor):
                heard_until = page.heard_until
                wish = page.next_poll_after or wish
                canary = canary or _sings(source.canary, page)
                if page.is_empty and page.cursor == cursor:
                    continue
                mentions, counts = match(page.posts, source.brands, source.name, self._pseudonyms)
                self._inbox.ask(lambda p=page, m=mentions, c=counts: self._keep(source, p, m, c))  # type: ignore[misc]
                cursor = page.cursor
        except ConnectorError as failure:
            error = failure
        except StoppedError:
            return
        except StoreError as failure:
            self._log.error("page_not_stored", source=source.name, error=str(failure))
            error = ConnectorError(
                f"the page could not be stored: {failure}", fault=SourceFault.INTERNAL
            )
        except Exception:  # noqa: BLE001 - the border of a plug-in: its defects must not stop the daemon
            self._log.exception("connector_defect", source=source.name, kind=source.kind)
            error = ConnectorError(
                f"defect in the {source.kind} connector; its traceback is in the log",
                fault=SourceFault.INTERNAL,
            )
        seconds = time.monotonic() - began
        ended = _Ended(source, error, wish, canary=canary, heard_until=heard_until)
        self._inbox.post(lambda: self._end(ended, seconds))

    # -- in the main thread --------------------------------------------------------------------

    def _keep(
        self, source: Source, page: Page, mentions: Sequence[NewMention], counts: Counter[str]
    ) -> None:
        now = self._now()
        with self._store.write() as unit:
            before = unit.mentions.newest()
            added = unit.mentions.add(mentions, now)
            if self._with_pictures:
                unit.pictures.wait(mentions, now)
            newest = unit.mentions.newest()
            brands = [brand.name for brand in source.brands]
            withdrawn = unit.mentions.withdraw(page.deleted, brands, now)
            withdrawn += unit.mentions.withdraw_accounts(page.closed, brands, now)
            for each in source.brands:
                withdrawn += unit.mentions.withdraw_unsaid(
                    each.name, _unsaid(page, mentions, each), each.is_named_in, now
                )
            rejected = unit.sources.reject(source.name, _harmless(page.rejects), now)
            for each in source.brands:
                unit.crowd.count_unread(each.name, source.name, _by_bucket(page, each))
                if source.tariff is not None:
                    # Only such sources count now and read later.
                    unit.crowd.show(each.name, source.name, _shown(mentions, each))
            prices = source.tariff.prices if source.tariff else {}
            unit.spending.add(source.name, now.astimezone(UTC).date(), page.spent, prices)
            unit.sources.advance(source.name, page.cursor)
        self._metrics.posts_fetched.labels(source.name).inc(len(page.posts))
        self._metrics.rejects.labels(source.name).inc(rejected)
        for billed, number in page.spent.items():
            self._metrics.costs.spent.labels(source.name, billed).inc(number)
        for brand, count in counts.items():
            self._metrics.posts_matched.labels(brand).inc(count)
        for brand, count in added.new.items():
            self._metrics.mentions_stored.labels(brand).inc(count)
        self._metrics.mentions_doubled.labels(source.name).inc(added.doubled)
        if page.posts or page.rejects or withdrawn:
            self._log.info(
                "page_stored",
                source=source.name,
                posts=len(page.posts),
                matched=len(mentions),
                new=added.new.total(),
                edited=added.edited,
                doubled=added.doubled,
                deleted=withdrawn,
                rejects=rejected,
                mention=some(range(before + 1, newest + 1)),
            )
        if added.new or added.edited:
            self._stored()

    def _end(self, ended: _Ended, seconds: float) -> None:
        """A poll has ended. Whatever happens here, the source is no longer in flight."""
        name = ended.source.name
        self._in_flight.discard(name)
        now = self._now()
        outcome = OK if ended.error is None else ended.error.fault.value
        self._metrics.poll_seconds.labels(name).observe(seconds)
        try:
            self._record(ended, now)
        except StoreError as trouble:
            self._unrecorded[name] = partial(self._record, ended, now)
            self._log.error("not_recorded", source=name, outcome=outcome, error=str(trouble))

    def _record(self, ended: _Ended, now: datetime) -> None:
        """Keep how a poll went, and when the next one is due."""
        source, error = ended.source, ended.error
        jitter = self._rng.random()
        with self._store.write() as unit:
            state = unit.sources.state(source.name)
            agreed = self._agreed.get(source.name, timedelta(0))
            gap = max(source.interval, agreed) * COVERAGE_SLACK
            last = state.last_success_at or state.first_seen_at
            if ended.canary and source.canary is not None:
                unit.dusk.canary_seen(source.name, now)
            elif error is None:
                error = self._without_canary(unit, source, now, gap)
            behind = error is None and ended.is_behind(now - gap)
            if behind:
                error = ended.why_behind()
            error = None if error is None else advised(error, source.kind)
            if error is None:
                due = after_success(now, source.interval, ended.wish, jitter=jitter)
                unit.sources.succeeded(source.name, now, due)
                self._agreed[source.name] = due - now
                unit.sources.cover(source.name, now, gap=gap)
                if state.last_success_at is not None and last < now - gap:
                    unit.dusk.was_down(source.name, last, now)
                unit.dusk.lift(source.name, now)
            else:
                self._agreed.pop(source.name, None)
                if behind:
                    # A pause would only leave more to catch up with.
                    due = after_success(now, source.interval, ended.wish, jitter=jitter)
                    if (
                        state.last_success_at is not None
                        and not state.failures
                        and last < now - gap
                    ):
                        unit.dusk.was_down(source.name, last, now)
                        last = now
                else:
                    due = after_failure(
                        now, source.interval, state.failures + 1, error, jitter=jitter
                    )
                unit.sources.failed(
                    source.name, now, due, fault=error.fault.value, error=str(error)
                )
                unit.dusk.fall(
                    source.name,
                    last,
                    now,
                    darkness_of(error.fault),
                    fault=error.fault.value,
                    error=str(error),
                )
        self._tell(source, error, state.failures, due, now)

    def _without_canary(
        self, unit: Unit, source: Source, now: datetime, gap: timedelta
    ) -> ConnectorError | None:
        """The error of a poll that went well but for its canary, if that has been missing for too long."""
        if source.canary is None or not unit.dusk.canary_missing(
            source.name, now, within=source.canary_within, gap=gap
        ):
            return None
        hours = source.canary_within / timedelta(hours=1)
        return ConnectorError(
            f"{source.name} answers, but for more than {hours:g} hours nothing has come that its "
            f"canary finds ({source.canary.source}): look for it there by hand; if it is there, the "
            "token sees no posts any more or the search is filtered",
            fault=SourceFault.BLOCKED,
        )

    def _tell(
        self,
        source: Source,
        error: ConnectorError | None,
        failures: int,
        due: datetime,
        now: datetime,
    ) -> None:
        """How a poll went, to metrics and log."""
        outcome = OK if error is None else error.fault.value
        self._metrics.polls.labels(source.name, outcome).inc()
        self._metrics.darken(source.name, None if error is None else darkness_of(error.fault))
        if error is None:
            self._metrics.last_success.labels(source.name).set(now.timestamp())
            self._metrics.source_failures.labels(source.name).set(0)
            return
        self._metrics.source_failures.labels(source.name).set(failures + 1)
        self.failures.append(PollFailure(source.name, error.fault, str(error)))
        del self.failures[:-100]
        self._log.warning(
            "poll_failed",
            source=source.name,
            fault=error.fault.value,
            permanent=error.permanent,
            failures=failures + 1,
            next_due_at=due.isoformat(timespec="seconds"),
            error=str(error),
        )


def _by_bucket(page: Page, brand: Brand) -> Counter[datetime]:
    """What the source counted for a brand's query without showing it, by bucket."""
    counts: Counter[datetime] = Counter()
    for each in page.counts:
        if each.query == brand.query.source:
            counts[bucket_of(each.start)] += each.number
    return counts


def _shown(mentions: Sequence[NewMention], brand: Brand) -> Counter[datetime]:
    """The mentions of a brand, by bucket."""
    return Counter(
        bucket_of(each.post.published_at) for each in mentions if each.brand == brand.name
    )


def _unsaid(page: Page, mentions: Sequence[NewMention], brand: Brand) -> list[Post]:
    """Posts that were edited, and as they are now are not about a brand."""
    edited = [post for post in page.posts if post.edited_at is not None]
    about = {
        (each.post.platform, each.post.id, each.post.edited_at)
        for each in (mentions if edited else ())
        if each.brand == brand.name
    }
    return [post for post in edited if (post.platform, post.id, post.edited_at) not in about]


def _sings(canary: Query | None, page: Page) -> bool:
    """Whether the canary finds something among what came; also where there is none.

    What is only counted cannot be looked at: nothing can be missing from it.
    """
    if canary is None or (page.counts and not page.posts):
        return True
    return any(canary.match(post.text) for post in page.posts)


@dataclass(frozen=True, slots=True)
class _Ended:
    """How a poll went."""

    source: Source
    error: ConnectorError | None
    wish: timedelta | None
    canary: bool
    """Whether something came that the canary finds."""
    heard_until: datetime | None = None
    """See :class:`connectors.base.Page`."""

    def is_behind(self, since: datetime) -> bool:
        """Whether what was said at ``since`` is still to be read."""
        return self.heard_until is not None and self.heard_until < since

    def why_behind(self) -> ConnectorError:
        """What that means, as an error."""
        return ConnectorError(
            f"{self.source.name} was read up to {self.heard_until:%Y-%m-%d %H:%M} (UTC); the rest "
            "follows with the next polls. If this lasts, more is said there than is read: let a "
            "poll read longer or come more often, or see how fast this machine and its line are and "
            "whether its clock is right",
            fault=SourceFault.BEHIND,
        )
