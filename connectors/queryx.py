"""A brand query as a search expression of the X API v2, at least as wide as the query.

X has no wildcards, no NEAR and no capitals, so its answer is a superset that the query itself then
narrows. Whatever cannot be said on X is left out on the side that finds more: a part of an AND is
dropped, an exclusion is dropped, NEAR becomes AND. A part of an OR cannot be dropped without
missing posts, and is refused unless the caller asks for an approximation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from connectors.querysyntax import Near, Node, Not, Or, Pattern, Term, TermKind
from connectors.querytext import as_written

_X_HANDLE = re.compile(r"[a-z0-9_]{1,15}")


class XQueryError(ValueError):
    """A query that X cannot be asked, with the reason and what to do."""


@dataclass(frozen=True, slots=True)
class XSearch:
    """A search on X made from a query."""

    expression: str
    widened: tuple[str, ...] = ()
    """What X leaves to us to narrow, one sentence each."""
    missed: tuple[str, ...] = ()
    """Terms that X cannot search for and that were left out; empty unless approximate."""


@dataclass(frozen=True, slots=True)
class _Leaf:
    text: str
    negative: bool = False


@dataclass(frozen=True, slots=True)
class _All:
    parts: tuple[_Part, ...]


@dataclass(frozen=True, slots=True)
class _Any:
    parts: tuple[_Part, ...]


_Part = _Leaf | _All | _Any


@dataclass
class _Compiler:
    """Turns a tree into parts. None as a part means: everything, nothing that X could be told.

    When approximate, a part of an OR that would be everything is replaced by what X can find of it.
    """

    approximate: bool
    widened: dict[str, None] = field(default_factory=dict)
    missed: dict[str, None] = field(default_factory=dict)
    blocking: list[str] = field(default_factory=list)
    """Terms that became everything, in the order met."""

    def part(self, node: Node) -> _Part | None:
        if isinstance(node, Term):
            return self.term(node)
        if isinstance(node, Not):
            return self.exclusion(node)
        if isinstance(node, Or):
            return self.any_of(node)
        if isinstance(node, Near):
            self.note(f"{node}: the distance is checked here, X only looks for all of it")
        children = node.operands if isinstance(node, Near) else node.children
        part = _all_of([self.part(child) for child in children])
        if self.approximate and not _finds(part):
            return _all_of([part, *(self.stem(child) for child in children)])
        return part

    def term(self, term: Term) -> _Part | None:
        if term.exact:
            self.note(f"{term}: capitals are checked here, X does not tell them apart")
        if all(word.literal for word in term.words):
            return _searched(term)
        self.note(f"{term}: wildcards are checked here, X has none")
        runs: list[list[str]] = [[]]
        if term.kind is TermKind.WORDS:
            for word in term.words:
                if word.literal:
                    runs[-1].append(word.text)
                elif runs[-1]:
                    runs.append([])
        part = _all_of([_phrase(run) for run in runs if run])
        if part is None:
            self.blocking.append(str(term))
        return part

    def stem(self, node: Node) -> _Part | None:
        """The word itself for ``word*``: part of what the wildcard finds."""
        if not isinstance(node, Term) or len(node.words) > 1:
            return None
        stem = node.words[0].text.strip("*")
        if stem == node.words[0].text or re.search(r"[*?]", stem):
            return None
        self.missed[str(node)] = None
        return _searched(replace(node, words=(Pattern(stem, stem),)))

    def exclusion(self, node: Not) -> _Part | None:
        """An exclusion may only be told to X where X excludes no more than we do."""
        term = node.child
        if (
            not isinstance(term, Term)
            or term.exact
            or not all(word.literal and "'" not in word.text for word in term.words)
        ):
            self.note(f"{node}: left out on X, checked here")
            return None
        if term.kind is TermKind.HANDLE:
            name = term.words[0].text
            return _Leaf(f"@{name}", negative=True) if _X_HANDLE.fullmatch(name) else None
        if term.kind is TermKind.HASHTAG:
            return _Leaf(f"#{term.words[0].text}", negative=True)
        return _Leaf(_quoted([word.text for word in term.words]), negative=True)

    def any_of(self, node: Or) -> _Part | None:
        found: dict[_Part, None] = {}
        for child in node.children:
            before = len(self.blocking)
            part = self.part(child)
            if self.approximate and not _finds(part) and len(self.blocking) > before:
                self.missed.update(dict.fromkeys(self.blocking[before:]))
                part = self.stem(child)
                if part is None:
                    continue
            if part is None or not _finds(part):
                return None
            found.update(dict.fromkeys(part.parts if isinstance(part, _Any) else (part,)))
        if not found:
            return None
        return _Any(tuple(found)) if len(found) > 1 else next(iter(found))

    def note(self, text: str) -> None:
        self.widened[text] = None


def _searched(term: Term) -> _Part:
    if term.kind is TermKind.HASHTAG:
        return _Leaf(f"#{term.words[0].text}")
    if term.kind is TermKind.HANDLE:
        name = re.split(r"[.@-]", term.words[0].text)[0]
        if not _X_HANDLE.fullmatch(name):
            return _phrase([name])
        return _Any((_Leaf(f"@{name}"), _Leaf(f"from:{name}")))
    folded = [word.text for word in term.words]
    accented = as_written(term.raw)
    options = dict.fromkeys([_phrase(folded), _phrase(accented)])
    if len(accented) != len(folded) or len(options) == 1:
        return _phrase(folded)
    return _Any(tuple(options))


def _phrase(words: list[str]) -> _Part:
    """The words in a row; with an apostrophe also in the spelling without."""
    text = _Leaf(_quoted(words))
    joined = _Leaf(_quoted([word.replace("'", "") for word in words]))
    return text if joined == text else _Any((text, joined))


_PLAIN = re.compile(r"[^\W_]+")


def _quoted(words: list[str]) -> str:
    text = " ".join(words)
    if _PLAIN.fullmatch(text) and text not in {"or", "and", "not"}:
        return text
    return f'"{text}"'


def _all_of(parts: Sequence[_Part | None]) -> _Part | None:
    flat: dict[_Part, None] = {}
    for part in parts:
        if part is not None:
            flat.update(dict.fromkeys(part.parts if isinstance(part, _All) else (part,)))
    if not flat:
        return None
    return _All(tuple(flat)) if len(flat) > 1 else next(iter(flat))


def _finds(part: _Part | None) -> bool:
    """Whether ``part`` looks for something, rather than only exclude."""
    if part is None:
        return False
    if isinstance(part, _Leaf):
        return not part.negative
    return any(_finds(child) for child in part.parts)


def _without_exclusions(part: _Part) -> _Part | None:
    if isinstance(part, _Leaf):
        return None if part.negative else part
    parts = [_without_exclusions(child) for child in part.parts]
    if isinstance(part, _All):
        return _all_of(parts)
    return _Any(tuple(child for child in parts if child is not None))


def _written(part: _Part, *, nested: bool = False) -> str:
    if isinstance(part, _Leaf):
        return f"-{part.text}" if part.negative else part.text
    joiner = " " if isinstance(part, _All) else " OR "
    text = joiner.join(_written(child, nested=True) for child in part.parts)
    return f"({text})" if nested else text


def search_x(plan: Node, max_length: int, *, approximate: bool) -> XSearch:
    """Widen ``plan`` to a search on X: see :meth:`connectors.query.Query.search_x`."""
    compiler = _Compiler(approximate=False)
    part = compiler.part(plan)
    refused = compiler.blocking
    if approximate and not _finds(part):
        compiler = _Compiler(approximate=True)
        part = compiler.part(plan)
        if part is None:
            part = compiler.stem(plan)
    if part is None or not _finds(part):
        terms = ", ".join(dict.fromkeys(refused)) or "this"
        raise XQueryError(
            f"X cannot search for {terms}: it has no wildcards. Add a plain word that every such "
            "post holds, write the spellings out with OR, or allow an approximate search"
        )
    for shorter, reason in _shortened(part):
        expression = _written(shorter)
        if len(expression) <= max_length:
            if reason:
                compiler.note(f"too long for X, checked here: {reason}")
            return XSearch(expression, tuple(compiler.widened), tuple(compiler.missed))
    raise XQueryError(
        f"the search on X needs at least {len(expression)} characters, {max_length} are allowed: "
        "use fewer terms joined by OR, or split the brand's query"
    )


def _shortened(part: _Part) -> Iterator[tuple[_Part, str]]:
    """``part`` and ever shorter, ever wider versions of it, each with what was given up.

    Exclusions go first, the last one first; then the longest parts of an AND.
    """
    yield part, ""
    dropped: list[str] = []
    parts: list[_Part] = list(part.parts) if isinstance(part, _All) else [part]
    for victim in [child for child in reversed(parts) if not _finds(child)]:
        parts.remove(victim)
        dropped.append(_written(victim))
        yield _joined(parts), ", ".join(dropped)
    parts = [rest for child in parts if (rest := _without_exclusions(child)) is not None]
    yield _joined(parts), "all exclusions"
    while len(parts) > 1:
        victim = max(parts, key=lambda child: len(_written(child)))
        parts.remove(victim)
        dropped.append(_written(victim))
        yield _joined(parts), ", ".join(dropped)


def _joined(parts: list[_Part]) -> _Part:
    return _All(tuple(parts)) if len(parts) > 1 else parts[0]
