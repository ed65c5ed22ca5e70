"""Which words and phrases a brand's public uses more than it usually does.

Explains a spike ("what is it about?") and fills reports ("what was this day about?"). Pure: what was
said now and what was said before go in, terms come out, most telling first.

What counts is a *voice*: one author on one day, and of each story only who told it first that day.
Somebody who repeats a word, or a post that is reshared a thousand times, is one voice. Every term is
judged against the brand's own past, language by language, so that words which everybody always uses
need no list, and English posts about a Dutch brand do not make "the" a topic.

A term is shown only when several voices share it, and never when it could name or betray somebody:
handles, addresses, anything with a digit, what masking hides, and names of people are left out.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib import resources

from alerts.topics import beta_binomial_tail
from classifiers.base import Finding
from connectors.querytext import fold

LEAST = 3
"""Voices that must share a term before it is shown."""
HISTORY = 60
"""Voices of the past without which nothing can be said to be unusual."""

_LIFT = 2.0
"""A term is used at least this many times as often as usual."""
_UNSEEN = 0.5
"""Uses that the past may have missed by chance: the prior of Jeffreys."""
_CHANCE = 0.5
"""``-log10`` of how many terms chance may put on a list: one on every third at most."""
_SHRINK = 20.0
"""Voices of one language that the habits of all languages together are worth."""
_COMMON = 0.04
"""Part of the past voices from which a word is too ordinary to begin or end a phrase."""
_EXPLAINS = 0.6
"""A phrase stands for a word when it makes up this part of the word's uses."""
_ENOUGH = 100
"""Past voices in a language from which its ordinary words are known without a list."""
_SHORTEST = 3
_LONGEST = 40
_STEM = 6
"""Of words whose first letters agree only the strongest is shown: hummus, hummusschap."""
_CHECKED = 4
"""So many times the wanted number of terms are looked at more closely."""
_MOSTLY = 0.5

_NOISE = re.compile(
    r"https?://\S+|www\.\S+"
    r"|[\w.+-]+@[\w-]+\.[\w.-]+"  # e-mail, before handles
    r"|(?<!\w)[@＠]\s?[\w.@-]+|(?<!\w)/?u/[\w-]+"
    r"|\b[\w-]+\.(?:com|nl|be|org|net|eu|de|co|io|ly|me)\b\S*"
    r"|\brt\b",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"#?[^\W_]+(?:['’][^\W_]+)*")
_STOP = re.compile(r"[.!?…\n:]")
_JOINS = re.compile(r"[ \t]{1,2}|-")
_PARTICLES = frozenset(
    [
        "van",
        "de",
        "der",
        "den",
        "ter",
        "ten",
        "te",
        "het",
        "el",
        "al",
        "ben",
        "von",
        "le",
        "la",
        "du",
        "di",
    ]
)


@dataclass(frozen=True, slots=True)
class Said:
    """What one mention says. Nothing here may be shown as it is."""

    at: datetime
    text: str
    author: str
    """A stable name, such as a pseudonym."""
    story: str
    """Key that near-duplicates share."""
    language: str = "nl"
    findings: tuple[Finding, ...] = ()
    """What detectors found in the text: hidden before a term is shown."""


@dataclass(frozen=True, slots=True)
class Trend:
    """A term that stands out."""

    term: str
    """One word or two, as most people wrote it; hashtags with their sign."""
    now: int
    """Voices that use it."""
    usual: float
    """As many voices would usually use it this often."""
    score: float
    """``-log10`` of how often chance would put such a term on a list; comparable within a list."""


@dataclass(frozen=True, slots=True)
class _Word:
    """One word of a text."""

    key: str
    written: str
    follows: bool
    """Whether it stands right behind the word before it in the list."""
    begins: bool
    """Whether it begins a sentence: its capital says nothing."""

    @property
    def titled(self) -> bool:
        return self.written[:1].isupper() and self.written[1:].islower()


@dataclass(slots=True)
class _Tally:
    """Voices, and in how many of them each term stands, by language."""

    voices: Counter[str] = field(default_factory=Counter)
    uses: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """Term to language to voices."""

    @property
    def total(self) -> int:
        return self.voices.total()


def trends(
    now: Iterable[Said],
    usual: Iterable[Said],
    *,
    ignore: Collection[str] = (),
    most: int = 10,
) -> list[Trend]:
    """Give the terms of ``now`` that stand out against ``usual``, most telling first.

    Args:
        now: what is looked at: a spike, a day.
        usual: what the same public said before; the more the better, at least :data:`HISTORY`
            voices.
        ignore: words that belong to the brand itself, as in its query: never a term.
        most: how many terms at most.

    Returns:
        None stands out, or too little is known: an empty list.
    """
    texts = _voices(now)
    present, past = _tally(texts), _tally(_voices(usual))
    if past.total < HISTORY:
        return []
    banned = _banned(ignore, past) | _names(words for voice in texts for words in voice.texts)
    found = [
        trend
        for term, uses in present.uses.items()
        if _speakable(term, banned, past)
        and (trend := _judge(term, uses.total(), present, past)) is not None
    ]
    found.sort(key=_strongest)
    chosen = _distinct(found, present, most * _CHECKED)
    return _shown(chosen, texts, most)


def may_be_shown(term: str, said: Iterable[Said]) -> bool:
    """Whether a word can be told without naming or betraying somebody.

    Args:
        term: one word, as somebody wrote it.
        said: posts, those that hold it among them; where it stands, it is hidden by masking or part
            of a name in less than half of them.
    """
    key = fold(term)[:_STEM]
    holding = [(post, words) for post in said if _holds(words := _words(post.text), key)]
    if not holding or any(name[:_STEM] == key for name in _names(words for _, words in holding)):
        return False
    few = holding[: 4 * LEAST]
    return sum(_holds(_words(_masked(post)), key) for post, _ in few) > _MOSTLY * len(few)


def _holds(words: Iterable[_Word], stem: str) -> bool:
    return any(word.key[:_STEM] == stem for word in words)


# -- voices ------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Voice:
    """One author on one day."""

    language: str
    said: list[Said] = field(default_factory=list)
    texts: list[list[_Word]] = field(default_factory=list)
    """The words of each."""

    @property
    def terms(self) -> set[str]:
        return {term for words in self.texts for term in _terms(words)}


def _voices(posts: Iterable[Said]) -> list[_Voice]:
    """The posts by author and day; of each story only who told it first that day."""
    told: set[tuple[str, int]] = set()
    voices: dict[tuple[str, int], _Voice] = {}
    for post in sorted(posts, key=lambda each: (each.at, each.story, each.author)):
        day = post.at.astimezone(UTC).toordinal()
        if (post.story, day) not in told:
            told.add((post.story, day))
            voice = voices.setdefault((post.author, day), _Voice(post.language))
            voice.said.append(post)
            voice.texts.append(_words(post.text))
    return list(voices.values())


def _tally(voices: Iterable[_Voice]) -> _Tally:
    tally = _Tally()
    for voice in voices:
        tally.voices[voice.language] += 1
        for term in voice.terms:
            tally.uses[term][voice.language] += 1
    return tally


def _words(text: str) -> list[_Word]:
    plain = _NOISE.sub(" . ", text)
    words: list[_Word] = []
    end, apart = 0, True
    for match in _TOKEN.finditer(plain):
        gap = plain[end : match.start()]
        apart = apart or _STOP.search(gap) is not None
        written = match.group()
        key = fold(written.removeprefix("#")).removesuffix("'s")
        follows = bool(words) and end > 0 and _JOINS.fullmatch(gap) is not None
        words.append(_Word(key, written, follows, apart))
        end, apart = match.end(), False
    return words


def _terms(words: Sequence[_Word]) -> Iterator[str]:
    """The words and two-word phrases of a text, folded."""
    for place, word in enumerate(words):
        if not _SHORTEST <= len(word.key) <= _LONGEST or not _is_plain(word.key):
            continue
        yield word.key
        if place + 1 < len(words):
            after = words[place + 1]
            if after.follows and _SHORTEST <= len(after.key) <= _LONGEST and _is_plain(after.key):
                yield f"{word.key} {after.key}"


def _is_plain(key: str) -> bool:
    return key.replace("'", "").isalpha()


# -- judging -----------------------------------------------------------------------------------


def _judge(term: str, count: int, present: _Tally, past: _Tally) -> Trend | None:
    """The term if it stands out.

    The chance of so many voices is that of a beta-binomial law: of a rate that the past tells as
    well as its size allows. Log-odds with a Dirichlet prior, the usual choice, rank a word of thirty
    voices that three had used before above one that nobody had, since the logarithm of next to
    nothing is uncertain. Here the unheard-of wins, and the bar is a number of false terms.
    """
    if count < LEAST:
        return None
    rate = _usual_rate(term, present, past)
    total = present.total
    usual = rate * total
    if count < _LIFT * usual:
        return None
    used = rate * past.total
    tail = beta_binomial_tail(count, total, used + _UNSEEN, past.total - used + 1)
    score = tail - math.log10(max(1, len(present.uses)))
    return Trend(term, count, usual, score) if score >= _CHANCE else None


def _usual_rate(term: str, present: _Tally, past: _Tally) -> float:
    """Part of the voices that usually use a term, given the languages that are spoken now."""
    uses = past.uses.get(term, Counter())
    overall = uses.total() / past.total
    rate = 0.0
    for language, voices in present.voices.items():
        known = past.voices[language]
        shrunk = (uses[language] + _SHRINK * overall) / (known + _SHRINK)
        rate += voices / present.total * shrunk
    return min(1.0, rate)


def _speakable(term: str, banned: Collection[str], past: _Tally) -> bool:
    words = term.split()
    if any(word in banned for word in words):
        return False
    return len(words) == 1 or not any(
        past.uses.get(word, Counter()).total() > _COMMON * past.total
        or any(word in ordinary for ordinary in _ordinary().values())
        for word in words
    )


def _banned(ignore: Iterable[str], past: _Tally) -> frozenset[str]:
    """Words that are no term: the brand's own, names of days, those of a language too little known."""
    own = {fold(word) for word in _list("calendar.txt")}
    for text in ignore:
        keys = [word.key for word in _words(text.replace("*", " "))]
        own |= {*keys, "".join(keys)}
    for language, words in _ordinary().items():
        if past.voices[language] < _ENOUGH:
            own |= words
    return frozenset(own)


def _distinct(found: Sequence[Trend], present: _Tally, most: int) -> list[Trend]:
    """Without those that say the same again: a phrase and its words, a word and its endings."""
    taken: set[str] = set()
    covered: set[str] = set()
    phrases = []
    for each in found:
        words = each.term.split()
        explains = [word for word in words if each.now >= _EXPLAINS * present.uses[word].total()]
        stems = {word[:_STEM] for word in words}
        if len(words) > 1 and explains and not stems & taken:
            phrases.append(each)
            taken |= stems
            covered.update(explains)
    # A word that a phrase does not explain stands for itself, and the phrase says nothing new of it.
    chosen = []
    taken = set()
    for each in sorted([*phrases, *(e for e in found if " " not in e.term)], key=_strongest):
        stems = {word[:_STEM] for word in each.term.split()}
        if each.term not in covered and not stems & taken:
            chosen.append(each)
            taken |= stems
    return chosen[:most]


def _strongest(trend: Trend) -> tuple[float, str]:
    return -trend.score, trend.term


# -- showing -----------------------------------------------------------------------------------


def _shown(chosen: Sequence[Trend], voices: Sequence[_Voice], most: int) -> list[Trend]:
    """The terms as people wrote them, without those that only stand in what masking hides."""
    masked: dict[int, list[list[_Word]]] = {}
    holding: dict[str, list[int]] = {each.term: [] for each in chosen}
    for number, voice in enumerate(voices):
        for term in voice.terms:
            if term in holding:
                holding[term].append(number)
    shown: list[Trend] = []
    for each in chosen:
        written: Counter[str] = Counter()
        seen = 0
        for number in holding[each.term]:
            if number not in masked:
                masked[number] = [_words(_masked(post)) for post in voices[number].said]
            forms = [form for words in masked[number] for form in _written(words, each.term)]
            written.update(forms[:1])
            seen += bool(forms)
            if seen >= 2 * LEAST:  # enough to know, and how it is written
                break
        if seen >= LEAST:
            best = max(sorted(written), key=lambda form: (written[form], not form[:1].isupper()))
            shown.append(Trend(best, each.now, each.usual, each.score))
            if len(shown) == most:
                break
    return shown


def _masked(post: Said) -> str:
    # Imported here: its many patterns take longer to compile than a configuration to check.
    from classifiers.masking import mask  # noqa: PLC0415 - lazy

    return mask(post.text, post.findings)


def _written(words: Sequence[_Word], term: str) -> Iterator[str]:
    """How a term is written wherever a text holds it; a capital at a sentence's start is not meant."""
    keys = term.split()
    for place in range(len(words) - len(keys) + 1):
        part = words[place : place + len(keys)]
        if [word.key for word in part] == keys and all(word.follows for word in part[1:]):
            forms = [word.written for word in part]
            if part[0].begins and part[0].titled:
                forms[0] = forms[0].lower()
            yield " ".join(form.removesuffix("'s") for form in forms)


def _names(texts: Iterable[Sequence[_Word]]) -> frozenset[str]:
    """Words that mostly stand in the name of a person: two capitals in a row, or a first name."""
    first = _first_names()
    named: Counter[str] = Counter()
    written: Counter[str] = Counter()
    for words in texts:
        inside = _in_names(words, first)
        for place, word in enumerate(words):
            written[word.key] += 1
            named[word.key] += place in inside
    return frozenset(
        key
        for key, times in named.items()
        if times > _MOSTLY * written[key] and key not in _PARTICLES
    )


def _in_names(words: Sequence[_Word], first: Collection[str]) -> set[int]:
    """Places of words that stand in the name of a person, or look like it."""
    inside: set[int] = set()
    for place, word in enumerate(words):
        known = word.key in first
        if not word.titled or (word.begins and not known):
            continue
        if known:
            inside.add(place)
        after = place + 1
        while after < len(words) and words[after].follows and words[after].key in _PARTICLES:
            after += 1
        if after < len(words) and words[after].follows and words[after].titled:
            inside |= {place, after}
    return inside


@cache
def _first_names() -> frozenset[str]:
    return frozenset(fold(name) for name in _list("first_names.txt"))


@cache
def _ordinary() -> Mapping[str, frozenset[str]]:
    """The most ordinary words of each language.

    They make no phrase, nor, where the brand's own past does not tell what is ordinary, a term.
    """
    return {
        language: frozenset(fold(word) for word in _list(f"ordinary.{language}.txt"))
        for language in ("nl", "en")
    }


def _list(name: str) -> list[str]:
    text = (resources.files("alerts") / "words" / name).read_text(encoding="utf-8")
    return [word for line in text.splitlines() if not line.startswith("#") for word in line.split()]
