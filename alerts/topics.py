"""Notices when many voices suddenly speak of the same new thing.

A small brand's crisis is not loud at first: five posts in half an hour where three are usual. What
gives it away is that four of the five, by different people, hold a word that this brand's public
hardly ever used. A :class:`TopicDetector` reads a brand's mentions in order of time and says which
word stands out in the newest hour; that word also explains a spike. Like its neighbour in
``alerts.spikes`` it is a pure function of what it was fed and its memory is bounded JSON; it judges
attention, not mood, and it does not read meaning.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from alerts.spikes import Sensitivity

SNAPSHOT_VERSION = 1

_WINDOW = 3600
_SLOT = 300
_PER_SLOT = 12
"""Mentions of one slot that are read: a busy brand is judged by a sample, at a bounded price."""
_HALVING = 14 * 86400
"""Old usage counts half after this long."""
_WORDS = 2000
"""Words remembered; the one not seen for longest goes first."""
_STEM = 6
"""Words count as one when their first letters agree: hummus, hummusschap, #Hummus."""
_SHORTEST = 4
_CLUMP = 4.0
"""Words come in conversations: so many uses of the past are worth one independent one."""
_UNSEEN = 0.1
"""Weight of the possibility that a word never seen is used by chance."""
_RARE = 0.01
"""A word that more than this part of past stories held is ordinary vocabulary, never a topic."""
_MATURE = 100
"""Mentions that must have been read before anything is new."""
_HOLD = 24 * 3600
"""A topic is over when nothing stood out for this long: a night is no end."""
_MONTH = 30 * 86400.0
_SCORE_ZERO = -2.0

_NOISE = re.compile(r"https?://\S+|www\.\S+|@\w+|\brt\b", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True)
class _Floor:
    """What one sensitivity means."""

    voices: int
    """Separate stories, and separate authors, that must share the word."""
    share: float
    """Part of the hour's stories that must hold it."""
    false_alarms: float
    """Chance bursts a month."""


_FLOORS = {
    Sensitivity.CALM: _Floor(voices=6, share=0.25, false_alarms=0.1),
    Sensitivity.BALANCED: _Floor(voices=4, share=0.2, false_alarms=1.0),
    Sensitivity.ALERT: _Floor(voices=3, share=0.15, false_alarms=5.0),
}


@dataclass(frozen=True, slots=True)
class TopicVerdict:
    """What the detector thinks after one mention. Counts are of the newest hour."""

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
    """Whether the alarm newly rings: once per topic."""
    warming_up: bool
    """Too little was read to know what is new: nothing rings."""
    since: datetime | None
    """First mention of the running topic, None when there is none."""


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
        self._usage: dict[str, int] = {}
        """In how many past stories each stem was used; least recently used first."""
        self._read = 0
        """Past stories."""
        self._began: int | None = None
        self._halved = 0
        self._last: int | None = None
        self._slot = [0, 0]
        self._since: int | None = None
        self._hot: int | None = None

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
        bursts = [burst for stem in words if (burst := self._burst(stem)) is not None]
        best = max(bursts, key=lambda burst: (burst.rarity, burst.stem), default=None)
        return self._verdict(moment, best, alert=self._judge(moment, best))

    def _take(self, read: _Read) -> None:
        self._recent.append(read)
        for stem in read.words:
            self._holding.setdefault(stem, []).append(read)

    def _age(self, moment: int) -> None:
        """Move what is older than the window into the past, and let the past fade."""
        if self._began is None:
            self._began = self._halved = moment
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
            self._read //= 2
            self._usage = {stem: n // 2 for stem, n in self._usage.items() if n > 1}

    def _remember(self, read: _Read, later: list[_Read]) -> None:
        if any(other.story == read.story for other in later):
            return  # Counted once, when the last of the story leaves the window.
        self._read += 1
        for stem in read.words:
            self._usage[stem] = self._usage.pop(stem, 0) + 1
        while len(self._usage) > _WORDS:
            del self._usage[next(iter(self._usage))]

    def _takes(self, moment: int) -> bool:
        slot = moment // _SLOT
        if self._slot[0] != slot:
            self._slot = [slot, 0]
        self._slot[1] += 1
        return self._slot[1] <= _PER_SLOT

    def _burst(self, stem: str) -> _Burst | None:
        """How far a word of the newest mention stands out, None when it is below the floors."""
        used = self._usage.get(stem, 0)
        if used + _UNSEEN > _RARE * (self._read + 1):
            return None
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
            (self._read - used) / _CLUMP + 1,
        )
        expected = total * (used + _UNSEEN) / (self._read + 1)
        forms = [read.words[stem] for read in holding]
        return _Burst(
            stem=stem,
            term=max(sorted(set(forms)), key=forms.count),
            stories=stories,
            authors=authors,
            total=total,
            expected=expected,
            rarity=tail - math.log10(self._looks(len(self._recent[-1].words))),
            since=holding[0].at,
        )

    def _looks(self, words: int) -> float:
        """How often a month a word of a mention is looked at."""
        seen = max(86400, (self._last or 0) - (self._began or 0))
        mentions = (self._read + len(self._recent)) * _MONTH / min(seen, 2 * _HALVING)
        return max(1.0, mentions * max(1, words))

    def _judge(self, moment: int, best: _Burst | None) -> bool:
        if self._hot is not None and moment - self._hot > _HOLD:
            self._since = self._hot = None
        if best is None or self._read < _MATURE:
            return False
        if best.rarity < -math.log10(self._floor.false_alarms):
            return False
        newly = self._since is None
        if newly:
            self._since = best.since
        self._hot = moment
        return newly

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
        )

    def snapshot(self) -> dict[str, Any]:
        """All that was read, as JSON of bounded size: :meth:`restore` continues identically."""
        return {
            "version": SNAPSHOT_VERSION,
            "recent": [[read.at, read.author, read.story, read.words] for read in self._recent],
            "usage": self._usage,
            "read": self._read,
            "began": self._began,
            "halved": self._halved,
            "last": self._last,
            "slot": self._slot,
            "since": self._since,
            "hot": self._hot,
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
        detector._usage = dict(snapshot["usage"])
        detector._read = snapshot["read"]
        detector._began = snapshot["began"]
        detector._halved = snapshot["halved"]
        detector._last = snapshot["last"]
        detector._slot = list(snapshot["slot"])
        detector._since = snapshot["since"]
        detector._hot = snapshot["hot"]
        return detector


@dataclass(frozen=True, slots=True)
class _Burst:
    """A word of the newest mention that many voices of the hour share."""

    stem: str
    term: str
    stories: int
    authors: int
    total: int
    expected: float
    rarity: float
    """``-log10`` of how often a month chance would show it."""
    since: int


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
