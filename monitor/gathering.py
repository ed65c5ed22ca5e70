"""A message about very many incidents, put together slice by slice.

A flood of ten thousand is one message, and yet nobody may hold the writer for as long as ten thousand
histories take to read. So what waits in a group goes over to the message in slices, as far as the round
has room; where one ends the group stays due, and the next round goes on. What is left to do is rows: a
process that dies between two slices loses nothing and repeats nothing. The message itself is made at the
end, of counts that the database makes and of the gravest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from alerts.base import Event, Reason, Severity
from alerts.grouping import (
    News,
    is_urgent,
    leaves_at,
    merged,
    repeats_at,
)
from monitor.store.news import Gathering, Group, GroupKey, Kept, Pile
from monitor.store.outbox import About

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.store import Unit
    from monitor.telling import Round


class Gatherer:
    """What a round does with groups in which very much waits."""

    def __init__(self, round_: Round) -> None:
        self._round = round_

    @property
    def _unit(self) -> Unit:
        return self._round.unit

    @property
    def _now(self) -> datetime:
        return self._round.now

    # -- news comes in -------------------------------------------------------------------------

    def take_in(
        self, key: GroupKey, group: Group, fresh: Sequence[News], asked: Collection[int]
    ) -> None:
        """Let news wait with the rest, and what is not wanted any more wait no longer.

        Nothing but that news is looked at, and what waits of the incidents that are asked about.
        """
        if asked:
            self._sift(self._unit.news.of(key, asked))
        fresh = self._round.wanted(fresh)
        for news in fresh:
            if news.event is Event.RESOLVED:
                # An all-clear takes the place of what was still to be said of its incident.
                said = self._unit.news.of(key, [news.incident_id])
                self._unit.news.drop([each.id for each in said])
        moments = [self._asks_at(news, group) for news in fresh]
        if group.next_look_at is not None:
            moments.append(group.next_look_at)
        self._unit.news.put(key, replace(group, next_look_at=min(moments, default=None)))
        self._unit.news.keep(key, fresh)

    def _asks_at(self, news: News, group: Group) -> datetime:
        """When the group is to be asked because of one piece of news, whatever else waits."""
        if news.not_before is not None and news.not_before > self._now:
            return news.not_before
        urgent = is_urgent(news, group.options)
        return leaves_at(news.since, group.options, urgent=urgent, sent_at=group.sent_at)

    def _sift(self, kept: Sequence[Kept]) -> list[Kept]:
        """Drop what is not wanted any more; gives back the rest."""
        wanted = {id(news) for news in self._round.wanted([each.news for each in kept])}
        self._unit.news.drop([each.id for each in kept if id(each.news) not in wanted])
        return [each for each in kept if id(each.news) in wanted]

    # -- a message leaves ----------------------------------------------------------------------

    def ask(self, key: GroupKey, group: Group) -> None:
        """Have a group asked that is due: go on with its message, begin one, or put it off."""
        under_way = group.gathering
        if under_way is None:
            pile = self._pile(key, group)
            due = self._due(pile, group)
            if pile.first is None or due is None or due > self._now:
                self._unit.news.put(key, replace(group, next_look_at=due))
                return
            group = self._begin(key, group, upto=pile.last)
        elif not self._round.room:
            return
        self._slice(key, group)

    def repeat(self, key: GroupKey, group: Group) -> None:
        """Begin a message that repeats what burns; it is its moment."""
        self._slice(key, self._begin(key, group, upto=0))

    def _pile(self, key: GroupKey, group: Group) -> Pile:
        at_once = Severity[group.options.at_once.upper()]
        return self._unit.news.pile(key, at_once, self._now)

    @staticmethod
    def _due(pile: Pile, group: Group) -> datetime | None:
        """When the next message of a group leaves, of what waits or of what burns."""
        if pile.last == 0:
            return repeats_at(group.options, group.sent_at)
        if pile.first is None:
            return pile.later
        return leaves_at(pile.first, group.options, urgent=pile.urgent, sent_at=group.sent_at)

    def _begin(self, key: GroupKey, group: Group, *, upto: int) -> Group:
        incident_id = self._any_incident(key, group, upto)
        parts = ("gathering", *key, self._now.isoformat())
        number = self._unit.outbox.begin(
            f"gathering-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:24]}",
            incident_id,
            receiver=key[0],
            channel=key[1],
            now=self._now,
        )
        return replace(group, next_look_at=self._now, gathering=Gathering(number, upto))

    def _any_incident(self, key: GroupKey, group: Group, upto: int) -> int:
        if upto:
            return self._unit.news.ready(key, upto, self._now, 1)[0]
        return self._round.burning(key, group.options, after=0, limit=1)[0]

    def _slice(self, key: GroupKey, group: Group) -> None:
        """One slice; with the last one the message is complete."""
        under_way, room = group.gathering, self._round.room
        if under_way is None or not room:
            self._unit.news.put(key, group)
            return
        if under_way.upto:
            numbers = self._unit.news.ready(key, under_way.upto, self._now, room)
            self._over_to(key, under_way, numbers)
        else:
            numbers = self._round.burning(key, group.options, after=under_way.asked, limit=room)
            self._let_tell(
                under_way, self._round.repeated(key, group.options, numbers), from_quiet=False
            )
            under_way = replace(under_way, asked=max(numbers, default=under_way.asked))
        self._round.room = room - len(numbers)
        if len(numbers) == room:
            self._unit.news.put(key, replace(group, next_look_at=self._now, gathering=under_way))
            return
        sent = self._round.send_gathered(under_way.notification_id, key)
        group = replace(group, sent_at=self._now if sent else group.sent_at, gathering=None)
        self._rest(key, group, repeats=sent or bool(under_way.upto))

    def _over_to(self, key: GroupKey, under_way: Gathering, numbers: Sequence[int]) -> None:
        """What waits of some incidents goes over to the message."""
        self._round.hold(numbers)
        kept = self._sift(self._unit.news.of(key, numbers, upto=under_way.upto))
        ready = [each for each in kept if (each.news.not_before or self._now) <= self._now]
        over = {each.news.incident_id for each in kept if each.over}
        over |= {each.news.incident_id for each in kept if each.news.event is Event.RESOLVED}
        leaves = merged((each.news for each in ready), over)
        # What was kept of an incident that leaves now is said with it.
        said = {news.incident_id for news in leaves}
        self._unit.news.drop([each.id for each in kept if each.news.incident_id in said])
        from_quiet = any(each.news.not_before is not None for each in ready)
        self._let_tell(under_way, leaves, from_quiet=from_quiet)

    def _let_tell(self, under_way: Gathering, leaves: Sequence[News], *, from_quiet: bool) -> None:
        if leaves and not self._round.has_way(leaves[0].receiver, leaves[0].channel):
            for news in leaves:
                self._round.withhold(news, Reason.NO_ROUTE)
            return
        self._unit.outbox.gather(
            under_way.notification_id,
            [
                About(each.incident_id, each.event, each.reason, each.since, each.page)
                for each in leaves
            ],
            from_quiet=from_quiet,
        )
        for each in leaves:
            self._round.forget_told(each.incident_id)

    def _rest(self, key: GroupKey, group: Group, *, repeats: bool) -> None:
        """After its message: until when the group is left alone."""
        pile = self._pile(key, group)
        plain = not group.options.interval_minutes and group.options.repeat_hours is None
        if pile.last == 0 and plain:
            self._unit.news.forget(key)
            return
        due = self._due(pile, group) if repeats or pile.last else None
        self._unit.news.put(key, replace(group, next_look_at=due))
