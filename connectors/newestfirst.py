"""Drives the reading of searches that answer newest first: poll after poll, with nothing left between.

For sources that tell the moment of each post, so that what is new, what lies between and what was read
can be told by time alone: Hacker News, Reddit, YouTube, reviews. The source gives one function that asks
for one page; everything else happens here. Where a place can only be named by ids of the source's own,
and the source has to choose its way down, it drives itself and keeps its place in ``connectors.descent``;
where posts are pushed as well, ``connectors.sweeping`` joins the two.

Answers begin with the latest post and go back page by page. The cursor keeps for
each search the newest moment seen and, as *gaps*, what lies below it and was not read yet, so that
a crash in the middle of an answer loses nothing. New posts come before old gaps. A stretch before
the newest post is read again each time, for posts that the source files late or that were edited;
what was delivered from that stretch is remembered, and not delivered again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta

from connectors.base import ConnectorError, Cursor, Page, Post, Reject, SourceFault
from connectors.marks import mark

_MOST_GAPS = 20
_MOST_REMEMBERED = 10_000
_OF_ONE_SEARCH = frozenset({SourceFault.BAD_REQUEST, SourceFault.BLOCKED, SourceFault.NOT_FOUND})
"""Faults that say nothing about the other searches of a source."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a search's results. Moments are seconds since 1970."""

    since: int
    """Where it ends below, inclusive."""
    known: int | None = None
    """Up to here earlier polls have read already; None: nothing was read before."""
    token: str | None = None
    """Goes on where an earlier answer ended, in the source's own terms; None: from the newest."""
    asked: int | None = None
    """When the search was last asked before this stretch was found; None: never. For sources that
    forget what is older than some days: what they dropped since then nobody has read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One page of results in our terms."""

    posts: Sequence[Post]
    newest: int | None = None
    """Moment of the newest item, also of those that became no post; None: no items."""
    oldest: int | None = None
    token: str | None = None
    """What continues this answer; None: it ends here."""
    rejects: Sequence[Reject] = ()
    cut_short: bool = False
    """It ends because the source goes back no further, not because there is no more."""
    pause: timedelta | None = None
    """The source's wish before the next poll."""


Ask = Callable[[str, Span], Answer]
"""Asks one search for one page. Raises ConnectorError."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How much is read."""

    calls: int
    """Pages that one poll may ask for, for each search."""
    backfill: timedelta
    """How far back a search begins."""
    overlap: timedelta
    """How far before the newest post each poll reads again."""


@dataclass(slots=True)
class _State:
    """How far one search has come."""

    start: int
    newest: int | None = None
    gaps: list[Span] = field(default_factory=list)
    asked: int | None = None
    """When its newest posts were last asked for."""

    def head(self, overlap: int) -> Span:
        """What was posted since the last poll."""
        if self.newest is None:
            return Span(self.start, asked=self.asked)
        since = max(self.newest - overlap, self.start)
        return Span(since, known=self.newest, asked=self.asked)


def read_through(
    searches: Sequence[str], ask: Ask, cursor: Cursor | None, now: datetime, pace: Pace
) -> Iterator[Page]:
    """Yield what is new in each of ``searches``, newest first.

    A search that the source refuses as malformed, or does not know, does not hold up the others; that
    is raised last. A page without anything new is joined with the one before it, so that it costs no
    transaction.

    Args:
        searches: what to ask for, in the source's own terms; those new to the cursor begin
            ``pace.backfill`` before ``now``.
        ask: fetches one page.
        cursor: of the last page of an earlier poll; searches that are gone are forgotten.
        now: the present moment.
        pace: how much to read.

    Raises:
        ConnectorError: what ``ask`` raised; pages read before it were yielded.
    """
    progress = _Progress.read(cursor, searches)
    refused: ConnectorError | None = None
    waiting: Page | None = None
    for search in searches:
        try:
            for page in progress.poll(search, ask, now, pace):
                if waiting is None or not (page.posts or page.rejects):
                    waiting = _joined(waiting, page)
                else:
                    yield waiting
                    waiting = page
        except ConnectorError as error:
            if error.fault not in _OF_ONE_SEARCH:
                if waiting is not None:
                    yield waiting
                raise
            refused = refused or error
    if waiting is not None:
        yield waiting
    if refused is not None:
        raise refused


def _joined(first: Page | None, then: Page) -> Page:
    if first is None:
        return then
    pauses = [one for one in (first.next_poll_after, then.next_poll_after) if one is not None]
    return replace(first, cursor=then.cursor, next_poll_after=max(pauses, default=None))


@dataclass(slots=True)
class _Progress:
    """The whole cursor: a state for each search, and what was delivered lately by any of them."""

    states: dict[str, _State]
    seen: dict[str, int]

    @classmethod
    def read(cls, cursor: Cursor | None, searches: Sequence[str]) -> _Progress:
        cursor = cursor or {}
        keys = {mark(search) for search in searches}
        states = {
            key: _State(**{**state, "gaps": [Span(**gap) for gap in state["gaps"]]})
            for key, state in cursor.get("searches", {}).items()
            if key in keys
        }
        return cls(states, dict(cursor.get("seen", {})))

    def cursor(self) -> Cursor:
        states = {key: asdict(state) for key, state in self.states.items()}
        return {"searches": states, "seen": dict(self.seen)}

    def poll(self, search: str, ask: Ask, now: datetime, pace: Pace) -> Iterator[Page]:
        """Ask for what is new, then for gaps, as far as ``pace.calls`` go."""
        overlap = int(pace.overlap.total_seconds())
        start = int((now - pace.backfill).timestamp())
        state = self.states.setdefault(mark(search), _State(start))
        head = state.head(overlap)
        todo = [head, *state.gaps]
        latecomers: Span | None = None
        for _ in range(pace.calls):
            span = todo.pop(0)
            answer = ask(search, span)
            state.asked = int(now.timestamp())  # the newest are asked for first
            fresh = self._fresh(answer, span)
            if answer.newest is not None:
                # A post from the future must not make later ones look old.
                newest = min(answer.newest, int(now.timestamp()))
                state.newest = newest if state.newest is None else max(state.newest, newest)
            rejects = self._unheard(answer)
            if not _is_read(span, answer, anything_new=bool(fresh)):
                if answer.token is not None:
                    rest = replace(span, token=answer.token)
                    todo.insert(0, rest)
                    latecomers = rest if _has_reached_known(span, answer) else None
                elif answer.cut_short:
                    rejects.append(_lost(search, span, answer))
            # Looking for latecomers is worth this poll's calls, but is no debt of later ones.
            state.gaps = _few([_owed(one) for one in todo if one is not latecomers])
            self._forget(overlap, head.since)
            yield Page(fresh, self.cursor(), rejects, answer.pause)
            if not todo:
                return

    def _fresh(self, answer: Answer, span: Span) -> list[Post]:
        """Give the posts of the span that were not delivered before, and remember them."""
        fresh = []
        for post in answer.posts:
            moment = int(post.published_at.timestamp())
            known_as = _known_as(post)
            if moment >= span.since and known_as not in self.seen:
                fresh.append(post)
                self.seen[known_as] = moment
        return fresh

    def _unheard(self, answer: Answer) -> list[Reject]:
        """Give the rejects that were not told before, and remember them like posts."""
        unheard = []
        for reject in answer.rejects:
            ident = f"reject {mark(reject.reason + reject.excerpt)}"
            if ident not in self.seen:
                unheard.append(reject)
                self.seen[ident] = answer.newest or 0
        return unheard

    def _forget(self, overlap: int, since: int) -> None:
        """Keep what this poll, which goes back to ``since``, and the next can meet again."""
        reached = [state.newest for state in self.states.values() if state.newest is not None]
        horizon = min(min(reached, default=0) - overlap, since)
        kept = sorted(self.seen.items(), key=lambda one: one[1])[-_MOST_REMEMBERED:]
        self.seen = {ident: moment for ident, moment in kept if moment >= horizon}


def _is_read(span: Span, answer: Answer, *, anything_new: bool) -> bool:
    """Whether ``span`` holds nothing more that is worth a call."""
    if answer.oldest is None:
        return not answer.cut_short and answer.token is None
    if answer.oldest < span.since:
        return True
    # In the stretch that is read again, a page without news ends the search for latecomers.
    return _has_reached_known(span, answer) and (not anything_new or answer.token is None)


def _has_reached_known(span: Span, answer: Answer) -> bool:
    return span.known is not None and answer.oldest is not None and answer.oldest <= span.known


def _owed(span: Span) -> Span:
    """Give what later polls must read of ``span``: down to what is known, and no further."""
    return span if span.known is None else replace(span, since=max(span.since, span.known))


def _few(gaps: Sequence[Span]) -> list[Span]:
    """Keep the cursor small: join the oldest gaps, at the price of reading what lies between."""
    few = list(gaps)
    while len(few) > _MOST_GAPS:
        older, newer = few.pop(), few.pop()
        few.append(replace(older, token=newer.token))
    return few


def _lost(search: str, span: Span, answer: Answer) -> Reject:
    below = span.since if span.known is None else span.known
    above = f" and {_iso(answer.oldest)}" if answer.oldest is not None else " and now"
    return Reject(
        f"posts between {_iso(below)}{above} that were not read: the source goes back no further; "
        "poll more often, or narrow the query",
        search[:500],
    )


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _known_as(post: Post) -> str:
    """What tells this version of a post from others: what was edited since counts as new."""
    return post.id if post.edited_at is None else f"{post.id} {post.edited_at.isoformat()}"
