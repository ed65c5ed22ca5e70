"""A brand query written out as whole searches and hashtags, for sources whose search knows no OR.

For Mastodon and Bluesky, where each search is a call of its own: a few words, phrases or hashtags that
must all be there. Parts are multiplied as far as there is room, so that each search is narrow; together they
find at least what the query finds, save what is listed as missed, such as the ends of words. Exclusions,
capitals and distances are left to the query itself. For sources that join alternatives,
``connectors.querycover`` gives the least to look for, and misses nothing; X has a language of its own:
``connectors.queryx``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product

from connectors.querysyntax import Near, Node, Not, Or, Term, TermKind
from connectors.querytext import as_written

MOST_SEARCHES = 50
"""Searches that one query may become: more would cost more requests than any source allows."""

_PLAIN = re.compile(r"[^\W_]+")
_LEAST_STEM = 3
_MOST_COMBINED = 4
"""Alternatives of two parts are multiplied up to here; beyond it the smaller part is searched for."""

Handles = Callable[[str], Sequence[str]]
"""How a source searches for a handle: alternatives, each one piece of a search."""

_Search = tuple[str, ...]
"""Pieces that must all be found."""


@dataclass(frozen=True, slots=True)
class Searches:
    """What to ask a source for on behalf of a query."""

    texts: tuple[str, ...]
    """One search each; may be empty when the query holds nothing but wildcards."""
    missed: tuple[str, ...]
    """Terms of which the source finds a part only, or nothing."""


def searches(plan: Node, handles: Handles) -> Searches:
    """Give the searches that together find what ``plan`` finds.

    Args:
        plan: of a query, see :attr:`connectors.query.Query.plan`.
        handles: gives the ways to search for the account ``name`` or ``name@instance``.

    Raises:
        ValueError: the query would become more than ``MOST_SEARCHES`` searches.
    """
    finder = _Finder(handles)
    found = finder.find(plan) or []
    texts = dict.fromkeys(" ".join(pieces) for pieces in found)
    if len(texts) > MOST_SEARCHES:
        raise ValueError(
            f"it would take {len(texts)} searches, {MOST_SEARCHES} are allowed: use fewer terms "
            "joined by OR, or split the brand's query"
        )
    return Searches(tuple(texts), tuple(finder.missed))


@dataclass
class _Finder:
    """Turns a tree into alternatives. None: everything, nothing that could be searched for."""

    handles: Handles
    missed: dict[str, None] = field(default_factory=dict)

    def find(self, node: Node) -> list[_Search] | None:
        if isinstance(node, Term):
            return self.term(node)
        if isinstance(node, Not):
            return None
        if isinstance(node, Or):
            return self.any_of(node.children)
        return self.all_of(node.operands if isinstance(node, Near) else node.children)

    def any_of(self, nodes: Iterable[Node]) -> list[_Search] | None:
        found: dict[_Search, None] = {}
        for node in nodes:
            part = self.find(node)
            if part is None:
                self.missed[str(node)] = None
            else:
                found.update(dict.fromkeys(part))
        return list(found) or None

    def all_of(self, nodes: Iterable[Node]) -> list[_Search] | None:
        """Combine the parts, the ones with the fewest alternatives first, as far as there is room.

        A part of which something would be missed is left out where another can be searched for.
        """
        parts: list[tuple[list[_Search], dict[str, None]]] = []
        for node in nodes:
            inner = _Finder(self.handles)
            part = inner.find(node)
            if part:
                parts.append((part, inner.missed))
        whole = sorted((part for part, missed in parts if not missed), key=len)
        if not whole:
            best, missed = min(parts, key=lambda one: len(one[1]), default=(None, {}))
            self.missed.update(missed)
            return best
        found, *others = whole
        for part in others:
            if len(part) == 1 or len(found) * len(part) <= _MOST_COMBINED:
                found = [
                    tuple(dict.fromkeys([*one, *other])) for one, other in product(found, part)
                ]
        return found

    def term(self, term: Term) -> list[_Search] | None:
        if all(word.literal for word in term.words):
            return [(piece,) for piece in dict.fromkeys(self.spelled(term))]
        self.missed[str(term)] = None
        if term.kind is TermKind.HANDLE:
            return None
        sign = "#" if term.kind is TermKind.HASHTAG else ""
        if len(term.words) == 1:
            stem = _stem(term.words[0].text)
            return [(sign + stem,)] if stem else None
        runs: list[list[str]] = [[]]
        for word in term.words:
            if word.literal:
                runs[-1].append(word.text)
            elif runs[-1]:
                runs.append([])
        pieces = tuple(_quoted(run) for run in runs if run)
        return [pieces] if pieces else None

    def spelled(self, term: Term) -> list[str]:
        text = term.words[0].text
        if term.kind is TermKind.HASHTAG:
            return [f"#{text}"]
        if term.kind is TermKind.HANDLE:
            return list(self.handles(text))
        folded = [word.text for word in term.words]
        accented = as_written(term.raw)
        forms = [folded, [word.replace("'", "") for word in folded]]
        if len(accented) == len(folded):
            forms.append(accented)
        return [_quoted(form) for form in forms]


def hashtags(plan: Node) -> tuple[str, ...]:
    """Give the hashtags, folded and without ``#``, under which posts of a query can be expected.

    Words and phrases count as the hashtag that people make of them. Of words that must all be there
    the first one speaks for all, or the one that is written as a hashtag.
    """
    return tuple(dict.fromkeys(tag for tag in _tags(plan) if not tag.isdigit()))


def _tags(node: Node) -> list[str]:
    if isinstance(node, Term):
        return _tag(node)
    if isinstance(node, Not):
        return []
    if isinstance(node, Or):
        return [tag for child in node.children for tag in _tags(child)]
    children = node.operands if isinstance(node, Near) else node.children
    for child in children:
        if isinstance(child, Term) and child.kind is TermKind.HASHTAG and _tag(child):
            return _tag(child)
    return next((tags for child in children if (tags := _tags(child))), [])


def _tag(term: Term) -> list[str]:
    if term.kind is TermKind.HANDLE:
        return []
    text = "".join(word.text for word in term.words).replace("'", "")
    if re.search(r"[*?]", text):
        text = _stem(text) or ""
    return [text] if re.fullmatch(r"\w+", text) else []


def _stem(text: str) -> str | None:
    """The word itself for ``word*``: part of what the wildcard finds."""
    stem = text.strip("*")
    return stem if _PLAIN.fullmatch(stem) and len(stem) >= _LEAST_STEM else None


def _quoted(words: Sequence[str]) -> str:
    text = " ".join(words)
    if _PLAIN.fullmatch(text) and text not in {"or", "and", "not"}:
        return text
    return f'"{text}"'
