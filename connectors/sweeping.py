"""Sources that are told of some posts at once, and are swept for all others now and then.

A platform pushes events (``connectors.intake``), of which some hold a post and some only name it; and
it has lists that can be read, newest first, which cost more. Each poll goes through the events; when it
is time, it also sweeps: it reads every list down to what was swept before. The cursor keeps how far
both have come, so that a crash repeats a page, and what one poll may not ask for the next one does.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from connectors.base import (
    Arrival,
    ConnectorError,
    Context,
    Cursor,
    Page,
    Post,
    Reject,
    SourceFault,
)
from connectors.intake import Place, items
from connectors.marks import mark, version_of
from connectors.plaintext import one_line

GIVE_UP_AFTER = timedelta(hours=48)
"""What was only named, and could not be asked for during so long, is set aside."""

_OF_ONE_POST = frozenset(
    {
        SourceFault.BAD_REQUEST,
        SourceFault.BAD_RESPONSE,
        SourceFault.FORBIDDEN,
        SourceFault.NOT_FOUND,
        SourceFault.SERVER_ERROR,
        SourceFault.TIMEOUT,
        SourceFault.TOO_LARGE,
    }
)
"""Faults that may lie with the one post that was asked for, while the platform is well."""

_MOST_REMEMBERED = 2_000
_MOST_LATER = 1_000
_PAGE = 100

Event = Mapping[str, Any]
"""One thing that a platform told of, in the reader's own terms; JSON."""


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a sweep, in the reader's own terms."""

    path: str
    token: str | None = None
    """Goes on where an earlier answer ended; None: from the newest."""


@dataclass(frozen=True, slots=True)
class Window:
    """The time that a sweep is about."""

    since: datetime
    """What was written before was swept before."""
    began: datetime
    """What was written before is not wanted at all: when the source was first read, less its
    look back."""
    start: datetime
    """When the sweep began."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one step, or one event, brought."""

    posts: Sequence[Post] = ()
    rejects: Sequence[Reject] = ()
    more: Sequence[Step] = ()
    """What to read besides; the order does not matter."""
    pause: timedelta | None = None
    """The platform's wish for a pause before the next call."""
    calls: int = 1
    at: datetime | None = None
    """When it answered, by its own clock: ours may be wrong."""
    deleted: Sequence[tuple[str, str]] = ()
    """Platform and id of posts that are gone."""


class Reader(Protocol):
    """One platform's way to tell and to be swept."""

    def events(self, arrival: Arrival) -> Sequence[Event]:
        """What a push tells of. What it tells of and is no post is left out."""
        ...

    def tell(self, event: Event, received_at: datetime) -> Found:
        """The post that an event tells of, asked for where need be. Raises ConnectorError."""
        ...

    def steps(self) -> Sequence[Step]:
        """Where a sweep begins."""
        ...

    def read(self, step: Step, window: Window) -> Found:
        """One call of a sweep. Raises ConnectorError."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How much is read, and how often."""

    calls: int
    """Calls that one poll may make."""
    every: timedelta
    """Pause between two sweeps."""
    backfill: timedelta
    """How far back the first sweep looks."""
    overlap: timedelta
    """How far before the last sweep each one looks again, for what became visible late."""


def follow(reader: Reader, context: Context, cursor: Cursor | None, pace: Pace) -> Iterator[Page]:
    """Yield what is new: first what was told, then what a sweep finds when one is due.

    Args:
        reader: of the platform.
        context: clock and intake.
        cursor: of the last page of an earlier poll.
        pace: how much.

    Raises:
        ConnectorError: what the reader raised; what was read before it was yielded.
    """
    walk = _Walk(reader, context, pace, _State.read(cursor, context.now(), pace))
    waiting: Page | None = None
    try:
        for page in walk.pages():
            if waiting is not None and not page.is_empty:
                yield waiting
                waiting = page
            else:
                # Without anything new it costs no transaction of its own.
                waiting = page if waiting is None else _joined(waiting, page)
    except ConnectorError:
        if waiting is not None:
            yield waiting
        raise
    if waiting is not None:
        yield waiting


def _joined(first: Page, then: Page) -> Page:
    pauses = [one for one in (first.next_poll_after, then.next_poll_after) if one is not None]
    return replace(first, cursor=then.cursor, next_poll_after=max(pauses, default=None))


@dataclass(slots=True)
class _State:
    """The whole cursor."""

    began: datetime
    place: Place = field(default_factory=Place)
    later: list[dict[str, Any]] = field(default_factory=list)
    """Events whose post could not be asked for: ``event``, ``at`` (when it was told)."""
    since: datetime | None = None
    """Everything before was swept."""
    start: datetime | None = None
    """When the sweep under way, or else the last one, began: by our clock, "mark" by the platform's."""
    mark: datetime | None = None
    todo: list[Step] = field(default_factory=list)
    """What is left of the sweep under way."""
    seen: dict[str, int] = field(default_factory=dict)
    """Marks of posts delivered lately, with the second they were written in."""

    @classmethod
    def read(cls, cursor: Cursor | None, now: datetime, pace: Pace) -> _State:
        if not cursor or "began" not in cursor:
            return cls(began=now - pace.backfill)
        return cls(
            began=_moment(cursor["began"]) or now,
            place=Place.read(cursor.get("intake")),
            later=list(cursor.get("later", ())),
            since=_moment(cursor.get("since")),
            start=_moment(cursor.get("start")),
            mark=_moment(cursor.get("mark")),
            todo=[Step(*step) for step in cursor.get("todo", ())],
            seen=dict(cursor.get("seen", {})),
        )

    def cursor(self) -> Cursor:
        return {
            "began": self.began.isoformat(),
            "intake": self.place.kept(),
            "later": list(self.later),
            "since": None if self.since is None else self.since.isoformat(),
            "start": None if self.start is None else self.start.isoformat(),
            "mark": None if self.mark is None else self.mark.isoformat(),
            "todo": [[step.path, step.token] for step in self.todo],
            "seen": dict(self.seen),
        }

    def unseen(self, posts: Sequence[Post]) -> list[Post]:
        """Those that were not delivered lately; from now on they were."""
        fresh = []
        for post in posts:
            version = version_of(post)
            if version not in self.seen:
                self.seen[version] = int(post.published_at.timestamp())
                fresh.append(post)
        if len(self.seen) > _MOST_REMEMBERED:
            newest = sorted(self.seen.items(), key=lambda one: one[1])[-_MOST_REMEMBERED:]
            self.seen = dict(newest)
        return fresh

    def unheard(self, rejects: Sequence[Reject], now: datetime) -> list[Reject]:
        """The same for what was set aside."""
        fresh = []
        for reject in rejects:
            told = mark(f"reject {reject.reason} {reject.excerpt}")
            if told not in self.seen:
                self.seen[told] = int(now.timestamp())
                fresh.append(reject)
        return fresh


@dataclass(slots=True)
class _Walk:
    """One poll."""

    reader: Reader
    context: Context
    pace: Pace
    state: _State
    calls: int = 0
    posts: list[Post] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    deleted: list[tuple[str, str]] = field(default_factory=list)

    def pages(self) -> Iterator[Page]:
        # What is told must not use up every call: who tells may leave something out.
        told = max(self.pace.calls * 3 // 4, 1)
        wait = yield from self._told(told)
        wait = wait or (yield from self._asked_again(told))
        if not wait:
            yield from self._swept()
        yield self._page()

    def _page(self, pause: timedelta | None = None) -> Page:
        page = Page(self.posts, self.state.cursor(), self.rejects, pause, self.deleted)
        self.posts, self.rejects, self.deleted = [], [], []
        return page

    def _take(self, found: Found) -> None:
        self.posts += self.state.unseen(found.posts)
        self.rejects += self.state.unheard(found.rejects, self.context.now())
        self.deleted += found.deleted
        self.calls += found.calls

    def _told(self, calls: int) -> Generator[Page, None, bool]:
        """Go through what was pushed. Returns whether the platform wants to be left alone."""
        for event, arrival, after in items(
            self.context.intake, self.state.place, self.reader.events
        ):
            self.state.place = after
            if event is None:
                continue
            try:
                found = self.reader.tell(event, arrival.received_at)
            except ConnectorError:
                # It is not lost: asked for again later, however long this goes on.
                self._put_off(event, arrival.received_at)
                yield self._page()
                raise
            self._take(found)
            if found.calls or len(self.posts) >= _PAGE:
                yield self._page(found.pause)
            if found.pause is not None:
                return True
            if self.calls >= calls:
                break
        return False

    def _put_off(self, event: Event, at: datetime) -> None:
        if len(self.state.later) < _MOST_LATER:
            self.state.later.append({"event": dict(event), "at": at.isoformat()})
        else:
            self.rejects.append(_given_up(event))

    def _asked_again(self, calls: int) -> Generator[Page, None, bool]:
        """Ask once more for what could not be asked for. Returns like :meth:`_told`."""
        for kept in list(self.state.later):
            if self.calls >= calls:
                break
            event, at = kept["event"], _moment(kept["at"]) or self.state.began
            try:
                found = self.reader.tell(event, at)
            except ConnectorError as error:
                if error.fault not in _OF_ONE_POST:
                    raise
                self.calls += 1
                if self.context.now() - at < GIVE_UP_AFTER:
                    # Behind the others; one that always fails must not keep the lists unread.
                    self.state.later.append(self.state.later.pop(0))
                    break
                found = Found(rejects=[_given_up(event)])
            self.state.later.remove(kept)
            self._take(found)
            yield self._page(found.pause)
            if found.pause is not None:
                return True
        return False

    def _swept(self) -> Iterator[Page]:
        """Read the lists, when it is time or when a sweep is under way."""
        state, now = self.state, self.context.now()
        if not state.todo:
            # Where the clock was set back since, the last sweep lies ahead: it counts as long ago.
            if state.start is not None and timedelta() <= now - state.start < self.pace.every:
                return
            state.start, state.mark, state.todo = now, None, list(self.reader.steps())
        window = Window(
            since=state.began if state.since is None else max(state.since, state.began),
            began=state.began,
            start=state.start or now,
        )
        while state.todo and self.calls < self.pace.calls:
            step = state.todo[0]
            found = self._step(step, window)
            state.todo = [*found.more, *state.todo[1:]]
            self._take(found)
            state.mark = state.mark or found.at or now
            if not state.todo:
                state.since = state.mark - self.pace.overlap
            yield self._page(found.pause)
            if found.pause is not None:
                return

    def _step(self, step: Step, window: Window) -> Found:
        try:
            return self.reader.read(step, window)
        except ConnectorError as error:
            if error.fault is not SourceFault.BAD_REQUEST or step.token is None:
                raise
        # The place in the list was forgotten by the platform: from the newest again.
        self.calls += 1
        return self.reader.read(replace(step, token=None), window)


def _given_up(event: Event) -> Reject:
    return Reject(
        "a post that was announced and could not be asked for, for two days",
        one_line(str({key: value for key, value in event.items() if key.endswith("id")}), 500),
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
