"""The least that a brand query makes one look for: clauses of which every match holds at least one.

For sources that put these clauses into words of their own (Hacker News, Reddit, YouTube): they join
several by OR, or look for the beginning of a word, each in another way. A *cover* misses nothing, or there
is none; it is as short as can be, since the query itself decides in the end. For sources that
know no OR, so that each alternative costs a call and some of them has to be given up,
``connectors.querysearches`` writes out whole searches and says what they miss. X has a language rich
enough for the whole query: ``connectors.queryx``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from connectors.query import Query
from connectors.querysyntax import Near, Node, Not, Or, Term, TermKind
from connectors.querytext import as_written

_GLOB = re.compile(r"[*?]")
_LEAST_STEM = 2
_MOST_PIECES = 4


@dataclass(frozen=True, slots=True)
class Piece:
    """Something that a text holds."""

    text: str
    """One or more words in a row, in lower case."""
    prefix: bool = False
    """Whether only the beginning of a word is given."""
    handle: bool = False
    """Whether it is an account, mentioned or as the author."""


Clause = tuple[Piece, ...]
"""All of these."""


def cover(query: Query) -> list[Clause] | None:
    """Give clauses of which every match of ``query`` holds one, or None if there are none.

    There are none where a wildcard stands at the beginning of all that could be looked for.
    """
    clauses = _cover(query.plan)
    return None if clauses is None else list(dict.fromkeys(clauses))


def _cover(node: Node) -> list[Clause] | None:
    if isinstance(node, Term):
        return _term(node)
    if isinstance(node, Not):
        return None
    if isinstance(node, Or):
        parts = [_cover(child) for child in node.children]
        if any(part is None for part in parts):
            return None
        return [clause for part in parts if part is not None for clause in part]
    children: Sequence[Node] = node.operands if isinstance(node, Near) else node.children
    return _all_of([part for child in children if (part := _cover(child)) is not None])


def _all_of(parts: list[list[Clause]]) -> list[Clause] | None:
    """Take the part with the fewest clauses; others that are a single clause narrow each of them."""
    if not parts:
        return None
    base = min(parts, key=_cost)
    more = [piece for part in parts if part is not base and len(part) == 1 for piece in part[0]]
    return [tuple(dict.fromkeys((*clause, *more)))[:_MOST_PIECES] for clause in base]


def _cost(part: list[Clause]) -> tuple[int, int]:
    return len(part), -min(len(piece.text) for clause in part for piece in clause)


def _term(term: Term) -> list[Clause] | None:
    if not all(word.literal for word in term.words):
        return _with_wildcards(term)
    if term.kind is TermKind.HANDLE:
        name = re.split(r"[.@]", term.words[0].text)[0]
        return [(Piece(name, handle=True),)]
    words = [word.text for word in term.words]
    accented = as_written(term.raw)
    spellings = [" ".join(words), " ".join(accented)]
    spellings += [spelling.replace("'", "").replace("’", "") for spelling in spellings]
    # A phrase is also found in a hashtag, where its words are one.
    spellings.append("".join(words).replace("'", ""))
    return [(Piece(spelling),) for spelling in dict.fromkeys(spellings) if spelling]


def _with_wildcards(term: Term) -> list[Clause] | None:
    literal = [Piece(word.text) for word in term.words if word.literal and len(word.text) > 1]
    if literal:
        return [tuple(literal[:_MOST_PIECES])]
    for word in term.words:
        stem = _GLOB.split(word.text)[0].split("'")[0]
        if len(stem) >= _LEAST_STEM:
            return [(Piece(stem, prefix=True, handle=term.kind is TermKind.HANDLE),)]
    return None
