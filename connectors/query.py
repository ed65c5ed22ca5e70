"""Brand queries: which posts are about us.

A :class:`Query` is read once and then asked of every post. It answers with the terms that were
found and where. ``connectors.querysyntax`` has the written language, ``connectors.querytext`` what
counts as a word, ``connectors.queryx`` the widening to a search on X; ``docs/queries.md`` teaches.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from connectors.querysyntax import (
    ANY_WORD,
    And,
    Near,
    Node,
    Not,
    Or,
    Pattern,
    QuerySyntaxError,
    Term,
    TermKind,
    normal,
    parse,
)
from connectors.querytext import Hit, Index, Reading, folded, handle_forms, read
from connectors.queryx import XQueryError, XSearch, search_x

__all__ = ["Match", "Query", "QuerySyntaxError", "XQueryError", "XSearch"]


@dataclass(frozen=True, slots=True)
class Match:
    """Why a post matches a query."""

    terms: tuple[str, ...]
    """The terms that were found, as written in the query, in the order of the query, each once."""
    spans: tuple[tuple[int, int], ...]
    """Where: (start, end) in characters of the text as given, sorted. Empty when only the author
    was asked for."""


Found = list[tuple[Term, Sequence[Hit]]]
"""Terms with the places where they were found; without places when it is the author."""


@dataclass(frozen=True)
class Query:
    """A brand query, read and ready. Two are equal when they differ in spaces and brackets only.

    Make one with :meth:`parse`. ``str()`` gives a standard form that parses to an equal query.
    """

    root: Node
    source: str = field(compare=False)

    @classmethod
    def parse(cls, source: str) -> Query:
        """Read a query.

        Raises:
            QuerySyntaxError: it cannot be read, or would match posts that hold none of its words.
        """
        query = cls(parse(source), source)
        if _collect(query.plan, read(""), frozenset()) is not None:
            raise QuerySyntaxError(
                "this matches every post that holds none of its words: a query needs something to "
                "look for before it can exclude (word -other)",
                source,
                0,
            )
        return query

    def __str__(self) -> str:
        return str(self.root)

    @cached_property
    def plan(self) -> Node:
        """The tree that is evaluated: every NOT directly before a term or a NEAR."""
        return normal(self.root)

    @cached_property
    def terms(self) -> tuple[str, ...]:
        """All terms that are looked for, exclusions aside, as written, each once."""
        return tuple(dict.fromkeys(str(term) for term in _positive(self.plan)))

    @cached_property
    def _needles(self) -> tuple[str, ...]:
        """A text that holds none of these cannot match."""
        needles = sorted(_needles(self.plan) or (), key=len)
        return tuple(
            needle
            for index, needle in enumerate(needles)
            if not any(shorter in needle for shorter in needles[:index])
        )

    @cached_property
    def _asks_author(self) -> bool:
        return any(term.kind is TermKind.HANDLE for term in _all_terms(self.plan))

    def match(self, text: str, *, author: str | None = None) -> Match | None:
        """The terms found in ``text`` if the query matches it, else None.

        Args:
            text: a post's text, as it came.
            author: the handle of its author: ``@handle`` in a query also finds what that account
                wrote.
        """
        haystack = folded(text)
        asked = author if self._asks_author else None
        if asked:
            haystack = f"{haystack}\n{folded(asked)}"
        for needle in self._needles:
            if needle in haystack:
                break
        else:
            return None
        reading = read(text)
        found = _collect(self.plan, reading, handle_forms(asked) if asked else frozenset())
        if found is None:
            return None
        return Match(
            terms=tuple(dict.fromkeys(str(term) for term, _ in found)),
            spans=reading.spans(hit for _, hits in found for hit in hits),
        )

    def search_x(self, max_length: int = 512, *, approximate: bool = False) -> XSearch:
        """The search on X that finds at least what this query matches, with what was widened.

        Args:
            max_length: characters that the account's plan allows.
            approximate: leave out what X cannot search for (and list it in ``missed``) instead of
                raising, where there are other terms to search for.

        Raises:
            XQueryError: X cannot search for this, or it cannot be made to fit.
        """
        return search_x(self.plan, max_length, approximate=approximate)

    def compile_x(self, max_length: int = 512, *, approximate: bool = False) -> str:
        """The expression of :meth:`search_x` alone."""
        return self.search_x(max_length, approximate=approximate).expression

    def explain(self) -> str:
        """What the query looks for, in English sentences, one line a part."""
        return "\n".join(_explain(self.root))


def _collect(node: Node, reading: Reading, author: frozenset[str]) -> Found | None:
    """The terms found, or None when ``node`` does not hold."""
    if isinstance(node, Term):
        hits = _hits(node, reading)
        if not hits and not _is_by(node, author):
            return None
        return [(node, hits)]
    if isinstance(node, Not):
        return [] if _collect(node.child, reading, author) is None else None
    if isinstance(node, Near):
        return _near(node, reading)
    return _collect_parts(node, reading, author)


def _collect_parts(node: And | Or, reading: Reading, author: frozenset[str]) -> Found | None:
    every = isinstance(node, And)
    found: Found = []
    held = every
    for child in node.children:
        part = _collect(child, reading, author)
        if part is not None:
            held = True
            found.extend(part)
        elif every:
            return None
    return found if held else None


def _is_by(term: Term, author: frozenset[str]) -> bool:
    return term.kind is TermKind.HANDLE and any(_fits(term.words[0], name) for name in author)


def _fits(pattern: Pattern, form: str) -> bool:
    if pattern.literal:
        return form == pattern.text
    return pattern.regex.fullmatch(form) is not None


def _hits(term: Term, reading: Reading) -> Sequence[Hit]:
    if term.kind is TermKind.HASHTAG:
        return _lookup(term.words[0], reading.tags)
    if term.kind is TermKind.HANDLE:
        return _lookup(term.words[0], reading.handles)
    hits = _word_hits(term, term.words[0], reading)
    if len(term.words) == 1 or not hits:
        return hits
    return _phrase_hits(term, hits, reading)


def _lookup(pattern: Pattern, index: Index) -> Sequence[Hit]:
    if pattern.literal:
        hits: list[Hit] = []
        for form in pattern.forms:
            hits.extend(index.get(form, ()))
        return hits
    matches = pattern.regex.fullmatch
    return [hit for form, places in index.items() if matches(form) for hit in places]


def _word_hits(term: Term, pattern: Pattern, reading: Reading) -> Sequence[Hit]:
    hits = _lookup(pattern, reading.words)
    if not term.exact:
        return hits
    cased, matches = reading.cased, pattern.cased_regex.fullmatch
    return [hit for hit in hits if matches(cased, hit.start, hit.end)]


def _phrase_hits(term: Term, begun: Sequence[Hit], reading: Reading) -> Sequence[Hit]:
    """Extend the hits of the first word by each next word standing directly behind."""
    for pattern in term.words[1:]:
        if pattern.text == ANY_WORD:
            following: Sequence[Hit] = [hit for hits in reading.words.values() for hit in hits]
        else:
            following = _word_hits(term, pattern, reading)
        behind: dict[int, list[Hit]] = {}
        for hit in following:
            behind.setdefault(hit.first, []).append(hit)
        begun = list(
            {
                Hit(start.first, hit.last, start.start, hit.end)
                for start in begun
                for hit in behind.get(start.last + 1, ())
            }
        )
        if not begun:
            return begun
    return begun


Place = tuple[Term, Hit]


def _near(node: Near, reading: Reading) -> Found | None:
    """The places of each operand that have a neighbour within reach, all along the chain."""
    chain: list[list[Place]] = []
    for index, operand in enumerate(node.operands):
        terms = operand.children if isinstance(operand, Or) else (operand,)
        places = [
            (term, hit) for term in terms if isinstance(term, Term) for hit in _hits(term, reading)
        ]
        if index:
            places = _within(places, chain[-1], node.distances[index - 1])
        if not places:
            return None
        chain.append(places)
    for index in range(len(chain) - 2, -1, -1):
        chain[index] = _within(chain[index], chain[index + 1], node.distances[index])
    return [(term, (hit,)) for places in chain for term, hit in places]


def _within(places: list[Place], others: list[Place], distance: int) -> list[Place]:
    """The places at most ``distance`` words before or behind one of ``others``, not on it."""
    firsts = sorted(hit.first for _, hit in others)
    lasts = sorted(hit.last for _, hit in others)
    return [
        (term, hit)
        for term, hit in places
        if _any_between(firsts, hit.last + 1, hit.last + distance)
        or _any_between(lasts, hit.first - distance, hit.first - 1)
    ]


def _any_between(numbers: list[int], low: int, high: int) -> bool:
    at = bisect_left(numbers, low)
    return at < len(numbers) and numbers[at] <= high


def _needles(node: Node) -> frozenset[str] | None:
    """Pieces of which a text must hold at least one for ``node`` to hold; None: no such pieces."""
    if isinstance(node, Term):
        return frozenset({max((word.needle for word in node.words), key=len)})
    if isinstance(node, Not):
        return None
    if isinstance(node, Or):
        wanted = [_needles(child) for child in node.children]
        if None in wanted:
            return None
        return frozenset[str]().union(*(pieces for pieces in wanted if pieces))
    parts = node.operands if isinstance(node, Near) else node.children
    options = [pieces for part in parts if (pieces := _needles(part))]
    return min(options, key=_cost, default=None)


def _cost(needles: frozenset[str]) -> tuple[int, int]:
    """Few needles first, then long ones: they are the rarest."""
    return len(needles), -min(map(len, needles))


def _all_terms(node: Node) -> Iterator[Term]:
    if isinstance(node, Term):
        yield node
    elif isinstance(node, Not):
        yield from _all_terms(node.child)
    else:
        for part in node.operands if isinstance(node, Near) else node.children:
            yield from _all_terms(part)


def _positive(node: Node) -> Iterator[Term]:
    """The terms looked for, in a tree whose NOT stand before terms or NEAR only."""
    if isinstance(node, And | Or):
        for child in node.children:
            yield from _positive(child)
    elif not isinstance(node, Not):
        yield from _all_terms(node)


def _explain(node: Node) -> list[str]:
    if isinstance(node, And):
        return _listed("all of:", node.children)
    if isinstance(node, Or):
        return _listed("at least one of:", node.children)
    if isinstance(node, Not):
        if isinstance(node.child, And | Or):
            inner = _explain(node.child)
            return [f"not {inner[0]}", *inner[1:]]
        return [f"not {line}" for line in _explain(node.child)]
    if isinstance(node, Near):
        return [_explain_near(node)]
    return [_explain_term(node)]


def _listed(title: str, children: tuple[Node, ...]) -> list[str]:
    lines = [title]
    for child in children:
        first, *rest = _explain(child)
        lines.append(f"  - {first}")
        lines.extend(f"    {line}" for line in rest)
    return lines


def _explain_near(node: Near) -> str:
    text = _explain_operand(node.operands[0])
    for distance, operand in zip(node.distances, node.operands[1:], strict=True):
        words = "1 word" if distance == 1 else f"{distance} words"
        text += f", within {words} of it (before or after) {_explain_operand(operand)}"
    return text


def _explain_operand(operand: Term | Or) -> str:
    if isinstance(operand, Term):
        return _explain_term(operand)
    terms = [_explain_term(child) for child in operand.children if isinstance(child, Term)]
    return " or ".join(terms)


_WORDING: dict[TermKind, Callable[[Term], str]] = {
    TermKind.HASHTAG: lambda term: f"the hashtag {term.raw}",
    TermKind.HANDLE: lambda term: f"the account {term.raw}, mentioned or as the author",
}


def _explain_term(term: Term) -> str:
    if term.kind in _WORDING:
        text = _WORDING[term.kind](term)
    elif len(term.words) > 1:
        text = f'the words "{term.raw}" in a row'
    else:
        text = f"the word {term.raw}"
    notes = []
    if any("*" in word.text for word in term.words):
        notes.append("* stands for any letters")
    if any("?" in word.text for word in term.words):
        notes.append("? for one letter")
    if term.exact:
        notes.append("with exactly these capitals")
    return f"{text} ({', '.join(notes)})" if notes else text
