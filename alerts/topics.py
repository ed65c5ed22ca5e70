"""Notices when many voices suddenly speak of the same new thing.

A small brand's crisis is not loud at first: five posts in half an hour where three are usual. What
gives it away is that most of them, by different people, hold a word that this brand's public hardly
ever used. A :class:`TopicDetector` reads a brand's mentions in order of time and says which word
stands out: among all that was said in the newest hour, or, with fewer voices but closer together, in
a few minutes in which hardly anything else was said. That word also explains a spike. Like its
neighbour in ``alerts.spikes`` the detector is a pure function of what it was fed and its memory is
bounded JSON; it judges attention, not mood, and it does not read meaning.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from alerts.spikes import Sensitivity
from alerts.wordcounts import WordCounts

SNAPSHOT_VERSION = 2

_WINDOW = 3600
_FIRST = 900
"""The first voices of a topic come within this time."""
_FIRST_SHARE = 0.5
"""Part of what is said since the first of them that holds the word."""
_SLOT = 300
_PER_SLOT = 12
"""Mentions of one slot that are read: a busy brand is judged by a sample, at a bounded price."""
_HALVING = 14 * 86400
"""Old usage counts half after this long."""
_STEM = 6
"""Words count as one when their first letters agree: hummus, hummusschap, #Hummus."""
_SHORTEST = 4
_CLUMP = 4.0
"""Words come in conversations: so many uses of the past are worth one independent one."""
_UNSEEN = 0.1
"""Weight of the possibility that a word never seen is used by chance."""
_ONCE = 0.5
"""Uses that the past may have missed, of a word that was just used: the prior of Jeffreys."""
_RULES = 2
"""Every word is looked at in two ways."""
_RARE = 0.01
"""A word that more than this part of past stories held is ordinary vocabulary, never a topic."""
_MATURE = 100
"""Stories that must have been read before anything is new …"""
_MATURE_FIRST = 200
"""… and before so little as a few voices says so."""
_HOLD = 24 * 3600
"""A topic is over when nothing of it stood out for this long: a night is no end."""
_SAME = 0.5
"""With this part of its posts in a running topic a word belongs to that."""
_TOPIC_WORDS = 64
"""Words of running topics that are remembered; the one that stood out longest ago goes first."""
_MONTH = 30 * 86400.0
_SCORE_ZERO = -2.0
_NEGLIGIBLE = 1e-9

_NOISE = re.compile(r"https?://\S+|www\.\S+|@\w+|\brt\b", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True)
class _Floor:
    """What one sensitivity means."""

    voices: int
    """Separate stories, and separate authors, that must share the word within an hour."""
    first: int
    """The same within a quarter of an hour, where little else is said."""
    share: float
    """Part of the hour's stories that must hold it."""
    false_alarms: float
    """Chance bursts a month, at most: the bound is wide."""


_FLOORS = {
    Sensitivity.CALM: _Floor(voices=6, first=4, share=0.25, false_alarms=0.5),
    Sensitivity.BALANCED: _Floor(voices=4, first=3, share=0.2, false_alarms=5.0),
    Sensitivity.ALERT: _Floor(voices=3, first=3, share=0.15, false_alarms=15.0),
}


@dataclass(frozen=True, slots=True)
class TopicVerdict:
    """What the detector thinks after one mention. Counts are of the newest ``window``."""

    at: datetime
    term: str | None
    """The word that stands out most, as most people wrote it; None when none does."""
    stories: int
    """Separate stories that hold it."""
    authors: int
    """Separate authors who wrote it, reshares included."""
    of: int
    """Separate stories in all."""
    expected: float
    """Stories that would usually hold it."""
    score: float
    """0..1, monotone in surprise; 0.5 is where it rings."""
    alert: bool
    """Whether the alarm newly rings: once per topic, of which several may run."""
    warming_up: bool
    """Too little was read to know what is new: nothing rings."""
    since: datetime | None
    """First mention of the newest running topic, None when there is none."""
    window: timedelta
    """An hour, or the time since the first of a few voices that came close together."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A mention of the newest hour."""

    at: int
    author: str
    story: str
    words: dict[str, str]
    """Stem to the word as written."""


class TopicDetector:
    """Reads one brand's mentions and rings when a new word is on many lips.

    Args:
        ignore: words that belong to the brand itself, as in its query: never a topic.
        sensitivity: how readily it rings.
    """

    def __init__(
        self,
        *,
        ignore: Iterable[str] = (),
        sensitivity: Sensitivity = Sensitivity.BALANCED,
    ) -> None:
        self._ignore = frozenset(stem for text in ignore for stem in words_of(text))
        self._floor = _FLOORS[sensitivity]
        self._recent: list[_Read] = []
        self._holding: dict[str, list[_Read]] = {}
        """The same by the stems that they hold."""
        self._usage = WordCounts()
        """In how many past stories each stem was used."""
        self._read = 0
        """Past stories."""
        self._hours = [0.0] * 24
        """The same by the hour of the day, UTC."""
        self._seconds = 0.0
        """Time in which they were told, up to the last halving."""
        self._halved: int | None = None
        """When the past last faded, or began."""
        self._last: int | None = None
        self._slot = [0, 0]
        self._since: int | None = None
        """First mention of the newest topic that is running."""
        self._running: dict[str, int] = {}
        """When each word of a running topic last stood out, longest ago first."""

    def advance(self, at: datetime, text: str, *, author: str, story: str) -> TopicVerdict:
        """Read the next mention.

        Args:
            at: when it was published, aware; not earlier than the one before.
            text: what it says.
            author: any stable name of who wrote it.
            story: key that near-duplicates share.

        Raises:
            ValueError: ``at`` is naive or earlier than the mention before.
        """
        if at.tzinfo is None:
            raise ValueError(f"the mention at {at} has no time zone")
        moment = int(at.timestamp())
        if self._last is not None and moment < self._last:
            raise ValueError(f"the mention at {at} is earlier than the one before")
        self._last = moment
        self._age(moment)
        if not self._takes(moment):
            return self._verdict(moment, None, alert=False)
        words = {s: w for s, w in words_of(text).items() if s not in self._ignore}
        self._take(_Read(moment, author, story, words))
        best = self._best(words)
        return self._verdict(moment, best, alert=self._judge(moment, best))

    def _take(self, read: _Read) -> None:
        self._recent.append(read)
        for stem in read.words:
            self._holding.setdefault(stem, []).append(read)

    def _age(self, moment: int) -> None:
        """Move what is older than the window into the past, and let the past fade."""
        if self._halved is None:
            self._halved = moment
        gone = 0
        for read in self._recent:
            if read.at > moment - _WINDOW:
                break
            gone += 1
            for stem in read.words:
                holding = self._holding[stem]
                del holding[0]  # they leave in the order in which they came
                if not holding:
                    del self._holding[stem]
            self._remember(read, self._recent[gone:])
        del self._recent[:gone]
        while moment - self._halved >= _HALVING:
            self._halved += _HALVING
            self._seconds = (self._seconds + _HALVING) / 2
            self._read //= 2
            self._hours = [stories / 2 for stories in self._hours]
            self._usage.fade()

    def _remember(self, read: _Read, later: list[_Read]) -> None:
        if any(other.story == read.story for other in later):
            return  # Counted once, when the last of the story leaves the window.
        self._read += 1
        self._hours[read.at // 3600 % 24] += 1
        for stem in read.words:
            self._usage.add(stem)

    def _takes(self, moment: int) -> bool:
        slot = moment // _SLOT
        if self._slot[0] != slot:
            self._slot = [slot, 0]
        self._slot[1] += 1
        return self._slot[1] <= _PER_SLOT

    def _best(self, words: Mapping[str, str]) -> _Burst | None:
        """The word of the newest mention that stands out most, None when all are below the floors."""
        fewest = min(self._floor.first, self._floor.voices)
        ordinary = _RARE * (self._read + 1) - _UNSEEN
        bursts = [
            burst
            for stem in words
            if len(self._holding[stem]) >= fewest and (used := self._usage.count(stem)) <= ordinary
            for look in (self._together, self._at_first)
            if (burst := look(stem, used)) is not None
        ]
        if not bursts:
            return None
        best = max(bursts, key=lambda burst: (burst.rarity, burst.stem))
        rare = sum(self._usage.count(stem) <= ordinary for stem in words)
        return replace(best, rarity=best.rarity - math.log10(self._looks(rare)))

    def _together(self, stem: str, used: int) -> _Burst | None:
        """How far a word stands out among all that was said in the newest hour."""
        holding = self._holding[stem]
        stories = len({read.story for read in holding})
        authors = len({read.author for read in holding})
        if min(stories, authors) < self._floor.voices:
            return None
        total = len({read.story for read in self._recent})
        if stories < self._floor.share * total:
            return None
        tail = beta_binomial_tail(
            stories,
            total,
            used / _CLUMP + _UNSEEN,
            max(0, self._read - used) / _CLUMP + 1,
        )
        expected = total * (used + _UNSEEN) / (self._read + 1)
        return _burst(stem, holding, stories, total, expected, tail, _WINDOW)

    def _at_first(self, stem: str, used: int) -> _Burst | None:
        """How soon a few voices came upon one another, where little else is usually said.

        Given the first use of the word: the chance that so many others use it within the time in which
        they did. As much is expected to be said then as usually is at this hour, or as in fact was.
        """
        if self._read < _MATURE_FIRST:
            return None
        now = self._recent[-1].at
        told: dict[str, _Read] = {}
        for read in self._holding[stem]:
            told.setdefault(read.story, read)  # Who tells on what was told before is no new voice.
        holding = [read for read in told.values() if read.at > now - _FIRST]
        stories = len(holding)
        voices = min(stories, len({read.author for read in holding}))
        if voices < self._floor.first:
            return None
        since = holding[0].at
        total = len({read.story for read in self._recent if read.at >= since})
        if stories < _FIRST_SHARE * total:
            return None
        said = max(self._usual(now) * _FIRST / 3600, total - stories)
        ratio = said / (self._read + 1)
        tail = gamma_poisson_tail(voices - 1, used + _ONCE, ratio)
        present = [read for read in self._holding[stem] if read.at >= since]
        return _burst(stem, present, stories, total, (used + _ONCE) * ratio, tail, now - since)

    def _past(self) -> float:
        """Seconds in which the past stories were told, at least a day."""
        return max(86400.0, self._seconds + (self._last or 0) - (self._halved or 0))

    def _usual(self, moment: int) -> float:
        """Stories that are told in an hour at this time of the day."""
        days, hour = self._past() / 86400, moment // 3600
        near = sum(self._hours[(hour + step) % 24] for step in (-1, 0, 1))
        mean = self._read / days / 24
        return (near + mean) / (3 * days + 1)

    def _looks(self, words: int) -> float:
        """How often a month a word is looked at that may be a topic: so many are in a mention."""
        mentions = (self._read + len(self._recent)) * _MONTH / self._past()
        return max(1.0, mentions * words * _RULES)

    def _judge(self, moment: int, best: _Burst | None) -> bool:
        """Move the topics' state on: whether one newly rings."""
        while self._running and moment - next(iter(self._running.values())) > _HOLD:
            del self._running[next(iter(self._running))]
        if not self._running:
            self._since = None
        if best is None or self._read < _MATURE:
            return False
        if best.rarity < -math.log10(self._floor.false_alarms):
            return False
        newly = not self._is_running(best.stem)
        self._running.pop(best.stem, None)
        self._running[best.stem] = moment
        if len(self._running) > _TOPIC_WORDS:
            del self._running[next(iter(self._running))]
        if newly:
            self._since = best.since
        return newly

    def _is_running(self, stem: str) -> bool:
        """Whether a word, or most of what holds it, belongs to a topic that is running."""
        if stem in self._running:
            return True
        holding = self._holding[stem]
        known = sum(not self._running.keys().isdisjoint(read.words) for read in holding)
        return known >= _SAME * len(holding)

    def _verdict(self, moment: int, best: _Burst | None, *, alert: bool) -> TopicVerdict:
        middle = -math.log10(self._floor.false_alarms) - _SCORE_ZERO
        rarity = max(0.0, best.rarity - _SCORE_ZERO) if best else 0.0
        return TopicVerdict(
            at=datetime.fromtimestamp(moment, UTC),
            term=best.term if best else None,
            stories=best.stories if best else 0,
            authors=best.authors if best else 0,
            of=best.total if best else len({read.story for read in self._recent}),
            expected=best.expected if best else 0.0,
            score=rarity / (rarity + middle),
            alert=alert,
            warming_up=self._read < _MATURE,
            since=None if self._since is None else datetime.fromtimestamp(self._since, UTC),
            window=timedelta(seconds=best.window if best else _WINDOW),
        )

    def snapshot(self) -> dict[str, Any]:
        """All that was read, as JSON of bounded size: :meth:`restore` continues identically."""
        return {
            "version": SNAPSHOT_VERSION,
            "recent": [[read.at, read.author, read.story, read.words] for read in self._recent],
            "usage": self._usage.snapshot(),
            "read": self._read,
            "hours": self._hours,
            "seconds": self._seconds,
            "halved": self._halved,
            "last": self._last,
            "slot": self._slot,
            "since": self._since,
            "running": list(self._running.items()),
        }

    @classmethod
    def restore(
        cls,
        snapshot: Mapping[str, Any],
        *,
        ignore: Iterable[str] = (),
        sensitivity: Sensitivity = Sensitivity.BALANCED,
    ) -> TopicDetector:
        """Continue where a snapshot was taken.

        Raises:
            ValueError: the snapshot is of another version of the detector: read anew from the
                stored mentions.
        """
        if snapshot.get("version") != SNAPSHOT_VERSION:
            raise ValueError(f"topic snapshot of version {snapshot.get('version')!r}: read anew")
        detector = cls(ignore=ignore, sensitivity=sensitivity)
        for at, author, story, words in snapshot["recent"]:
            detector._take(_Read(at, author, story, dict(words)))
        detector._usage.load(snapshot["usage"])
        detector._read = snapshot["read"]
        detector._hours = list(snapshot["hours"])
        detector._seconds = snapshot["seconds"]
        detector._halved = snapshot["halved"]
        detector._last = snapshot["last"]
        detector._slot = list(snapshot["slot"])
        detector._since = snapshot["since"]
        detector._running = dict(snapshot["running"])
        return detector


@dataclass(frozen=True, slots=True)
class _Burst:
    """A word of the newest mention that many voices share."""

    stem: str
    term: str
    stories: int
    authors: int
    total: int
    expected: float
    rarity: float
    """``-log10`` of how often a month chance would show it."""
    since: int
    window: int
    """Seconds."""


def _burst(  # noqa: PLR0917 - one private step of the detector
    stem: str,
    holding: Sequence[_Read],
    stories: int,
    total: int,
    expected: float,
    tail: float,
    window: int,
) -> _Burst:
    forms = [read.words[stem] for read in holding]
    return _Burst(
        stem=stem,
        term=max(sorted(set(forms)), key=forms.count),
        stories=stories,
        authors=len({read.author for read in holding}),
        total=total,
        expected=expected,
        rarity=tail,
        since=holding[0].at,
        window=window,
    )


def words_of(text: str) -> dict[str, str]:
    """Stems of the words of a text, each with the word as first written there, lower case."""
    plain = _NOISE.sub(" ", text)
    found: dict[str, str] = {}
    for match in _WORD.finditer(plain):
        word = match.group().lower()
        if len(word) >= _SHORTEST:
            stem = word if word.isascii() else _unaccented(word)
            found.setdefault(stem[:_STEM], word[:40])
    return found


def _unaccented(word: str) -> str:
    folded = unicodedata.normalize("NFKD", word)
    return "".join(letter for letter in folded if not unicodedata.combining(letter))


def beta_binomial_tail(successes: int, trials: int, alpha: float, beta: float) -> float:
    """``-log10`` of the chance of at least so many successes when their rate is itself uncertain.

    Args:
        successes: at most ``trials``.
        trials: how many.
        alpha: past successes, above 0.
        beta: past failures, above 0.
    """
    base = (
        math.lgamma(trials + 1)
        + math.lgamma(alpha + beta)
        - math.lgamma(alpha)
        - math.lgamma(beta)
        - math.lgamma(trials + alpha + beta)
    )
    logs = [
        base
        - math.lgamma(k + 1)
        - math.lgamma(trials - k + 1)
        + math.lgamma(k + alpha)
        + math.lgamma(trials - k + beta)
        for k in range(successes, trials + 1)
    ]
    top = max(logs)
    total = top + math.log(sum(math.exp(value - top) for value in logs))
    return max(0.0, -total / math.log(10))


def gamma_poisson_tail(count: int, shape: float, ratio: float) -> float:
    """``-log10`` of the chance of at least so many, of a count whose rate is itself uncertain.

    Args:
        count: at least 0.
        shape: of the gamma law that the rate has, above 0.
        ratio: mean of the count over ``shape``, above 0.
    """
    if count <= 0:
        return 0.0
    part = ratio / (1 + ratio)
    first = (
        math.lgamma(shape + count)
        - math.lgamma(shape)
        - math.lgamma(count + 1)
        + count * math.log(part)
        - shape * math.log1p(ratio)
    )
    total = term = 1.0
    step = count
    while term > _NEGLIGIBLE * total:
        term *= part * (shape + step) / (step + 1)
        total += term
        step += 1
    return max(0.0, -(first + math.log(total)) / math.log(10))
