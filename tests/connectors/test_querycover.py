from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.query import Query, QuerySyntaxError
from connectors.querycover import Clause, Piece, cover
from connectors.querytext import fold

WORDS = ("zon", "hoek", "zonnehoek", "bank", "domino's", "café")
TERMS = (*WORDS, '"zon hoek"', "zon*", "*hoek", '"zon* bank"', "#zonhoek", "@bank", "=bank", "z?n")


def holds(clause: Clause, text: str, author: str) -> bool:
    """Whether a simple search for ``clause`` finds a post: whole words, without accents."""
    said = f"{text} {author}".replace("#", " ").replace("@", " ")
    words = f" {' '.join(fold(said).split())} "
    return all(f" {fold(piece.text)}{'' if piece.prefix else ' '}" in words for piece in clause)


@st.composite
def queries(draw: st.DrawFn, depth: int = 2) -> str:
    if depth == 0:
        return draw(st.sampled_from(TERMS))
    left, right = draw(queries(depth=depth - 1)), draw(queries(depth=depth - 1))
    sort = draw(st.sampled_from(["term", "and", "or", "not"]))
    if sort == "term":
        return left
    return {
        "and": f"({left}) AND ({right})",
        "or": f"({left}) OR ({right})",
        "not": f"({left}) AND NOT ({right})",
    }[sort]


@settings(max_examples=400, deadline=None)
@given(
    queries(),
    st.lists(st.sampled_from([*WORDS, "#zonhoek", "@bank", "dominos", "BANK", "cafe", "zonnig"])),
    st.sampled_from(["", "bank", "anna"]),
)
def test_every_match_holds_a_clause(source: str, words: list[str], author: str) -> None:
    try:
        query = Query.parse(source)
    except QuerySyntaxError:
        return
    text = " ".join(words)
    clauses = cover(query)
    if clauses is not None and query.match(text, author=author):
        assert any(holds(clause, text, author) for clause in clauses), clauses


@pytest.mark.parametrize(
    ("source", "clauses"),
    [
        ("zon*", [(Piece("zon", prefix=True),)]),
        ('"zonne* bank"', [(Piece("bank"),)]),
        ("*hoek", None),
        ("*hoek OR bank", None),
        ("*hoek AND bank", [(Piece("bank"),)]),
        ("@bank.example", [(Piece("bank", handle=True),)]),
        ("a1 AND b2 AND c3 AND d4 AND e5", 4),
    ],
)
def test_clauses_are_as_narrow_as_they_can_be_said(
    source: str, clauses: list[Clause] | int | None
) -> None:
    found = cover(Query.parse(source))
    if isinstance(clauses, int):
        assert found is not None
        assert [len(clause) for clause in found] == [clauses]
    else:
        assert found == clauses
