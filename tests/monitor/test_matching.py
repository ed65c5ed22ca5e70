from __future__ import annotations

from datetime import UTC, datetime

import pytest

from connectors.base import Post
from connectors.query import Query
from monitor.matching import Brand, match
from monitor.privacy import Pseudonyms

BRAND = Brand("Zonnehoek", Query.parse("zonnehoek"), frozenset({("x", "zonnehoek")}))
NOW = datetime(2026, 11, 10, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("post", "matched"),
    [
        (Post("x", "1", "Zonnehoek lekt", NOW), ("zonnehoek",)),
        (Post("x", "2", "iets anders", NOW), None),
        (Post("x", "3", "iets anders", NOW, author="Zonnehoek"), ()),
        (Post("trustpilot", "4", "nooit meer", NOW, about_brand=True), ()),
        (Post("trustpilot", "5", "zonnehoek nooit meer", NOW, about_brand=True), ("zonnehoek",)),
    ],
    ids=["its words", "nothing", "an official account", "a review", "a review with the name"],
)
def test_a_post_is_a_mention_by_its_words_its_author_or_its_place(
    post: Post, matched: tuple[str, ...] | None
) -> None:
    mentions, counts = match([post], [BRAND], "source", Pseudonyms(b"k" * 32))
    assert [mention.matched for mention in mentions] == ([] if matched is None else [matched])
    assert counts.total() == len(mentions)
