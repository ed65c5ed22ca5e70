"""Moves the clock over the mentions of a backtest and lets the daemon's steps do their work.

Small steps are the truth; long ones are tried first. A *leap* goes over up to two hours in one
transaction. When nothing was announced in it, small steps would have announced nothing, as the steps
look at every bucket and every post of the stretch in the same order either way. When something was,
the leap is taken back and the stretch walked up to the step in which it happened.

While a spike lasts it matters when it was looked at: each look keeps its incident burning and takes
new posts in. Then leaps are as short as the rhythm in which `detect` looks without being asked, and
one that may have gone over the end of a spike is taken back.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice

from alerts.base import Event, Receipt
from alerts.incidents import SPIKES
from classifiers.base import Text
from monitor.announcing import Announcement
from monitor.app import Thinking
from monitor.backtest.remembering import RememberingClassifier
from monitor.backtest.scratch import ScratchStore
from monitor.delivering import LEASE
from monitor.detecting import CATCH_UP, SETTLE, SETTLE_BATCH, SETTLE_STEP
from monitor.store.mentions import BUCKET, NewMention, bucket_of
from monitor.store.outbox import About, Pending

AHEAD = 512
"""Mentions that are assessed together, ahead of their time."""
MOST_AT_ONCE = 2000
"""A leap over more mentions than this costs more to take back than it saves."""
MOST_WHILE_BURNING = 400
"""So many new posts an incident surely takes in at one look."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ReplayClock:
    """The moment it is set to; a leap that is taken back sets it back."""

    def __init__(self, start: datetime) -> None:
        self.moment = start

    def __call__(self) -> datetime:
        """The moment of the replay, aware, in UTC."""
        return self.moment


class Feed:
    """The mentions in order of time, assessed ahead, handed out as their time comes.

    Args:
        mentions: in order of time.
        classifier: asked about them ahead of time.
    """

    def __init__(self, mentions: Iterable[NewMention], classifier: RememberingClassifier) -> None:
        self._source: Iterator[NewMention] = iter(mentions)
        self._classifier = classifier
        self._waiting: deque[NewMention] = deque()

    def next_at(self) -> datetime | None:
        """When the next mention is published; None: there is none."""
        if not self._waiting:
            some = list(islice(self._source, AHEAD))
            self._classifier.look_ahead([Text(each.post.text, each.post.language) for each in some])
            self._waiting.extend(some)
        return self._waiting[0].post.published_at if self._waiting else None

    def until(self, moment: datetime, most: int | None) -> list[NewMention] | None:
        """Hand out the mentions published up to a moment; None when they are more than ``most``."""
        taken: list[NewMention] = []
        while (at := self.next_at()) is not None and at <= moment:
            if most is not None and len(taken) == most:
                self.give_back(taken)
                return None
            taken.append(self._waiting.popleft())
        return taken

    def give_back(self, taken: Sequence[NewMention]) -> None:
        """Hand these out again."""
        self._waiting.extendleft(reversed(taken))


@dataclass(slots=True)
class Work:
    """What a replay cost, and how it got on."""

    seconds: dict[str, float] = field(default_factory=dict)
    """Of processor time, by what it was spent on."""
    leaps: int = 0
    taken_back: int = 0
    mentions: int = 0

    @contextmanager
    def spent_on(self, what: str) -> Iterator[None]:
        """Count the time that the block takes."""
        began = time.process_time()
        try:
            yield
        finally:
            self.seconds[what] = self.seconds.get(what, 0.0) + time.process_time() - began


class Replay:
    """One configuration over the mentions of a span.

    Args:
        store: empty but for the sources and their coverage.
        thinking: the steps over that store, with ``clock``.
        clock: is moved.
        feed: the mentions.
        step: how often the daemon would have looked.
        end: the last step is the first at or after this moment.
        keep: gets each notification that would have been sent, in order.
        progress: called with the number of mentions replayed so far.
        leaping: whether to try long stretches first; without, every single step is taken.
    """

    def __init__(
        self,
        *,
        store: ScratchStore,
        thinking: Thinking,
        clock: ReplayClock,
        feed: Feed,
        step: timedelta,
        end: datetime,
        keep: Callable[[Pending, Sequence[About]], object],
        progress: Callable[[int], object] = lambda _done: None,
        leaping: bool = True,
    ) -> None:
        self._store = store
        self._thinking = thinking
        self._clock = clock
        self._feed = feed
        self._step = step
        self._end = end
        self._keep = keep
        self._progress = progress
        # What `detect` still looks back on in full.
        self._longest = max(step, (SETTLE - BUCKET) // step * step) if leaping else step
        self._reach = self._longest
        self._walk_until = clock.moment
        """Until then something is known to happen: single steps."""
        self._spoken_at = clock.moment
        """When the latest mention was published."""
        self._happened: datetime | None = None
        """The earliest of what was announced in a leap that was taken back."""
        self._choosy: set[int] = set()
        """Incidents that are known to take in some new posts only: the negative ones."""
        self.work = Work()

    def run(self) -> None:
        """Go to the end.

        Raises:
            ModelError: the models cannot be used.
            StoreError: the disk is full or failing.
        """
        while self._clock.moment < self._end:
            now = self._clock.moment
            target = self._target(now)
            while not self._went(now, target):
                target = self._nearer(now, target)
            self._progress(self.work.mentions)

    # -- how far -------------------------------------------------------------------------------

    def _target(self, now: datetime) -> datetime:
        """Where to go next: never over a moment at which something is due."""
        target = self._far(now)
        due = self._thinking.follow.next_at()
        if due is None or due > target:
            return target
        return now + max(1, -((now - due) // self._step) - 1) * self._step

    def _far(self, now: datetime) -> datetime:
        if now < self._walk_until:
            return now + self._step
        if self._burning():
            return self._next_look(now)
        target = now + self._reach
        self._reach = min(self._reach * 2, self._longest)
        with self.work.spent_on("ahead"):
            coming = self._feed.next_at() or self._end
        if coming - now > CATCH_UP + _LONG and now - self._spoken_at > _LONG:
            # After so long a silence the detectors begin anew, whoever counts its hours.
            target = now + (coming - now - self._longest) // self._step * self._step
        steps_left = -((now - self._end) // self._step)
        return min(target, now + steps_left * self._step)

    def _nearer(self, now: datetime, target: datetime) -> datetime:
        """Where to go instead of a leap in which something happened."""
        if now < self._walk_until:
            return now + self._step
        steps = (target - now) // self._step // 2
        if self._happened is None:
            self._reach = max(self._step, steps * self._step)
        else:
            # Up to the last step that knows nothing of it, and from there one by one.
            steps = -((now - self._happened) // self._step) - 1
            self._walk_until = self._happened + BUCKET + self._step
        return now + max(1, steps) * self._step

    def _next_look(self, now: datetime) -> datetime:
        """When `detect` next looks at a spike, whether or not anybody says anything."""
        if self._longest == self._step or SETTLE_STEP % self._step:
            return now + self._step
        look = now + SETTLE_STEP - (now - _EPOCH) % SETTLE_STEP
        return max(min(look, self._end), now + self._step)

    # -- going ---------------------------------------------------------------------------------

    def _went(self, now: datetime, target: datetime) -> bool:
        """Go to ``target``. False when that was too far at once; then nothing has happened."""
        single = target - now <= self._step
        self._happened = None
        burning = self._burning()
        with self.work.spent_on("ahead"):
            most = MOST_WHILE_BURNING if burning else MOST_AT_ONCE
            taken = self._feed.until(target, None if single else most)
        if taken is None:
            return False
        self._clock.moment = target
        with self._store.attempt() as attempt:
            if target - now > CATCH_UP:
                self._catch_up()
            announced = self._pass(taken, hasty=not single)
            if single:
                self._deliver()
                self._remember(burning, taken, announced)
            elif announced or self._anybody_waits():
                self._happened = self._earliest(announced, now)
                attempt.take_back()
            elif not self._sure(burning, taken, now):
                self._walk_until = target
                attempt.take_back()
        if not attempt.stands:
            self._clock.moment = now
            self._feed.give_back(taken)
            self.work.taken_back += 1
            if burning:
                self._look_again()
            return False
        self.work.leaps += 1
        self.work.mentions += len(taken)
        if taken:
            self._spoken_at = taken[-1].post.published_at
        return True

    def _catch_up(self) -> None:
        """Let `detect` walk through the silence that it begins anew with: it does so bit by bit."""
        with self.work.spent_on("detect"):
            for _ in range(CATCH_UP // SETTLE_BATCH + 1):
                self._thinking.detect.run()

    def _look_again(self) -> None:
        """Let `detect` see what it saw before the leap: it passes over what it has just seen."""
        with self._store.attempt() as attempt:
            self._thinking.detect.run()
            attempt.take_back()

    # -- while a spike lasts -------------------------------------------------------------------

    def _burning(self) -> dict[int, _Burning]:
        """The incidents made of spikes that are not over."""
        with self._store.read() as unit:
            return {
                each.id: _Burning(
                    each.brand, each.last_signal_at, unit.incidents.exhibits(each.id, 1)[1]
                )
                for each in unit.incidents.burning()
                if each.kind in SPIKES
            }

    def _sure(
        self, before: Mapping[int, _Burning], taken: Sequence[NewMention], now: datetime
    ) -> bool:
        """Whether small steps would have left the same: no spike may have ended on the way."""
        if not before:
            return True
        after = self._burning()
        for number, was in before.items():
            then = after[number]
            lasts = then.touched_at == self._clock.moment
            if not lasts and was.touched_at > now - SETTLE_STEP:
                return False
            if lasts and number not in self._choosy and _left_out(was, then, taken):
                return False
        return True

    def _remember(
        self,
        before: Mapping[int, _Burning],
        taken: Sequence[NewMention],
        announced: Sequence[Announcement],
    ) -> None:
        """Learn from a single step which incidents leave some posts out."""
        if announced:
            self._choosy.clear()
        elif before and taken:
            after = self._burning()
            self._choosy |= {
                number
                for number, was in before.items()
                if number in after and _left_out(was, after[number], taken)
            }

    def _pass(self, taken: Sequence[NewMention], *, hasty: bool) -> list[Announcement]:
        """What the daemon does in one full pass; a hasty one ends at the first announcement."""
        announced: list[Announcement] = []
        if taken:
            with self.work.spent_on("store"), self._store.write() as unit:
                unit.mentions.add(taken, self._clock.moment)
            with self.work.spent_on("assess"):
                while (outcome := self._thinking.assess.run())[0]:
                    announced += outcome[1]
        if not (announced and hasty):
            with self.work.spent_on("detect"):
                announced += self._thinking.detect.run()[1]
        if not (announced and hasty):
            with self.work.spent_on("tend"):
                announced += self._thinking.tend.run()[1]
        if not hasty:
            with self.work.spent_on("follow"):
                announced += self._follow()
        return announced

    def _follow(self) -> list[Announcement]:
        """All that is due now. In a leap nothing is: it ends before."""
        announced: list[Announcement] = []
        while (outcome := self._thinking.follow.run())[0]:
            announced += outcome[1]
        return announced

    def _earliest(self, announced: Sequence[Announcement], now: datetime) -> datetime | None:
        """When the first of what was announced happened; None: it went quiet, nobody knows when."""
        known = bucket_of(now)
        with self._store.read() as unit:
            moments = [
                signal.occurred_at
                for each in announced
                if each.event is not Event.RESOLVED
                for signal in unit.incidents.signals(each.incident.id)
                if signal.occurred_at >= known
            ]
        return min(moments, default=None)

    def _anybody_waits(self) -> bool:
        with self._store.read() as unit:
            return unit.outbox.waiting()[0] > 0

    def _deliver(self) -> None:
        """Write down what is in the outbox as taken by the other side."""
        now = self._clock.moment
        with self._store.write() as unit:
            while claimed := unit.outbox.claim(now, LEASE):
                for pending in claimed:
                    unit.outbox.delivered(pending, now, Receipt())
                    self._keep(pending, unit.outbox.further(pending.id))
                unit.flush()


@dataclass(frozen=True, slots=True)
class _Burning:
    """An incident made of spikes, as it stands."""

    brand: str
    touched_at: datetime
    """When a look last found the spike still lasting."""
    posts: int


def _left_out(was: _Burning, then: _Burning, taken: Sequence[NewMention]) -> bool:
    """Whether an incident did not take in all new posts of its brand."""
    return then.posts - was.posts < sum(each.brand == was.brand for each in taken)


_LONG = timedelta(days=2)
"""Longer than any window of the detectors."""
