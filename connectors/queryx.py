"""A brand query as a search expression of the X API v2, at least as wide as the query.

X has no wildcards, no NEAR and no capitals, so its answer is a superset that the query itself then
narrows. Whatever cannot be said on X is left out on the side that finds more: a part of an AND is
dropped, an exclusion is dropped, NEAR becomes AND. A part of an OR cannot be dropped without
missing posts, and is refused unless the caller asks for an approximation.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field, replace

from connectors.querysyntax import Near, Node, Not, Or, Pattern, Term, TermKind

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
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
    """None as a part means: everything (nothing that X could be told)."""

    approximate: bool
    widened: dict[str, None] = field(default_factory=dict)
    missed: dict[str, None] = field(default_factory=dict)
    blocking: dict[str, None] = field(default_factory=dict)

    def part(self, node: Node) -> _Part | None:
        if isinstance(node, Term):
            return self.term(node)
        if isinstance(node, Not):
            return self.exclusion(node)
        if isinstance(node, Or):
            return self.any_of(node)
        if isinstance(node, Near):
            self.note(f"{node}: the distance is checked here, X only looks for all of it")
        parts = node.operands if isinstance(node, Near) else node.children
        return _all_of([self.part(part) for part in parts])

    def term(self, term: Term) -> _Part | None:
        if term.exact:
            self.note(f"{term}: capitals are checked here, X does not tell them apart")
        if all(word.literal for word in term.words):
            return _searched(term)
        self.note(f"{term}: wildcards are checked here, X has none")
        if len(term.words) == 1:
            self.blocking[str(term)] = None
            return self.stem(term) if self.approximate else None
        runs: list[list[str]] = [[]]
        for word in term.words:
            if word.literal:
                runs[-1].append(word.text)
            elif runs[-1]:
                runs.append([])
        parts = [_phrase(run) for run in runs if run]
        if not parts:
            self.blocking[str(term)] = None
        return _all_of(list(parts))

    def stem(self, term: Term) -> _Part | None:
        """The word itself for ``word*``: part of what the wildcard finds."""
        stem = term.words[0].text.strip("*")
        if re.search(r"[*?]", stem):
            return None
        self.missed[str(term)] = None
        return _searched(replace(term, words=(Pattern(stem, stem),)))

    def exclusion(self, node: Not) -> _Part | None:
        """An exclusion may only be told to X where X excludes no more than we do."""
        term = node.child
        if not isinstance(term, Term) or term.exact or not all(w.literal for w in term.words):
            self.note(f"{node}: left out on X, checked here")
            return None
        if term.kind is TermKind.HANDLE:
            name = term.words[0].text
            return _Leaf(f"@{name}", negative=True) if _X_HANDLE.fullmatch(name) else None
        if term.kind is TermKind.HASHTAG:
            return _Leaf(f"#{term.words[0].text}", negative=True)
        return _Leaf(_quoted([word.text for word in term.words]), negative=True)

    def any_of(self, node: Or) -> _Part | None:
        parts: list[_Part] = []
        for child in node.children:
            before = len(self.blocking)
            part = self.part(child)
            if part is not None and _has_positive(part):
                parts.append(part)
            elif not self.approximate or len(self.blocking) == before:
                return None
            else:
                self.missed.update(dict.fromkeys(list(self.blocking)[before:]))
        if not parts:
            return None
        flat: dict[_Part, None] = {}
        for part in parts:
            flat.update(dict.fromkeys(part.parts if isinstance(part, _Any) else (part,)))
        return _Any(tuple(flat)) if len(flat) > 1 else next(iter(flat))

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
    accented = _WORD.findall(unicodedata.normalize("NFKC", term.raw).casefold())
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


def _all_of(parts: list[_Part | None]) -> _Part | None:
    flat: dict[_Part, None] = {}
    for part in parts:
        if part is not None:
            flat.update(dict.fromkeys(part.parts if isinstance(part, _All) else (part,)))
    if not flat:
        return None
    return _All(tuple(flat)) if len(flat) > 1 else next(iter(flat))


def _has_positive(part: _Part) -> bool:
    if isinstance(part, _Leaf):
        return not part.negative
    return any(_has_positive(child) for child in part.parts)


def _written(part: _Part, *, nested: bool = False) -> str:
    if isinstance(part, _Leaf):
        return f"-{part.text}" if part.negative else part.text
    joiner = " " if isinstance(part, _All) else " OR "
    text = joiner.join(_written(child, nested=True) for child in part.parts)
    return f"({text})" if nested else text


def search_x(plan: Node, max_length: int, *, approximate: bool) -> XSearch:
    """Widen ``plan`` to a search on X: see :meth:`connectors.query.Query.search_x`."""
    compiler = _Compiler(approximate=approximate)
    part = compiler.part(plan)
    if part is None or not _has_positive(part):
        terms = ", ".join(compiler.blocking) or "it"
        raise XQueryError(
            f"X cannot search for {terms}: it has no wildcards. Add a plain word that every such "
            "post holds, write the spellings out with OR, or allow an approximate search"
        )
    for shorter, reason in _shortened(part):
        expression = _written(shorter)
        if len(expression) <= max_length:
            if reason:
                compiler.note(reason)
            return XSearch(expression, tuple(compiler.widened), tuple(compiler.missed))
    raise XQueryError(
        f"the search on X needs at least {len(expression)} characters, {max_length} are allowed: "
        "use fewer terms joined by OR, or split the brand's query"
    )


def _shortened(part: _Part) -> list[tuple[_Part, str]]:
    """``part`` and ever shorter, ever wider versions of it, each with what was given up."""
    versions: list[tuple[_Part, str]] = [(part, "")]
    if isinstance(part, _All):
        parts = list(part.parts)
        dropped = []
        negatives = [child for child in parts if not _has_positive(child)]
        positives = sorted(
            (child for child in parts if _has_positive(child)),
            key=lambda child: len(_written(child)),
        )
        for victim in [*reversed(negatives), *reversed(positives[1:])]:
            parts.remove(victim)
            dropped.append(_written(victim))
            rest = _All(tuple(parts)) if len(parts) > 1 else parts[0]
            versions.append((rest, f"too long for X, checked here: {', '.join(dropped)}"))
    return versions


def explain_x(search: XSearch) -> str:
    """The search for people: the expression, then what X leaves to us."""
    lines = [search.expression]
    lines.extend(f"  wider: {text}" for text in search.widened)
    lines.extend(f"  not searched on X: {text}" for text in search.missed)
    return "\n".join(lines)
