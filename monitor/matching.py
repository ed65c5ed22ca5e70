"""From posts to mentions: which brands a post speaks of. Pure; runs in the fetch workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from connectors.base import Post
from connectors.query import Query
from connectors.story import anchors
from monitor.privacy import Pseudonyms
from monitor.store.mentions import NewMention


@dataclass(frozen=True, slots=True)
class Brand:
    """A brand, ready to match."""

    name: str
    query: Query
    official: frozenset[tuple[str, str]]
    """Platform and handle of its own accounts, both in lower case."""

    def is_official(self, post: Post) -> bool:
        """Whether one of the brand's own accounts wrote the post."""
        if not post.author:
            return False
        return (post.platform.casefold(), post.author.lstrip("@").casefold()) in self.official

    def is_named_in(self, text: str) -> bool:
        """Whether its query finds something in a text alone, whoever wrote it."""
        return self.query.match(text) is not None

    @property
    def handles(self) -> frozenset[str]:
        """Handles that may be shown in alerts: the brand's own."""
        return frozenset(handle for _, handle in self.official)


def match(
    posts: Sequence[Post], brands: Sequence[Brand], source: str, pseudonyms: Pseudonyms
) -> tuple[list[NewMention], Counter[str]]:
    """The mentions among ``posts``, and how many there were by brand.

    What an official account says about its brand is a mention whatever its words: a hijacked account
    need not name the brand. So is what is about the brand by where it was said, such as a review.
    """
    mentions = []
    counts: Counter[str] = Counter()
    for post in posts:
        keys: tuple[str, ...] = ()
        for brand in brands:
            official = brand.is_official(post)
            found = brand.query.match(post.text, author=post.author)
            if found is None and not official and not post.about_brand:
                continue
            counts[brand.name] += 1
            keys = keys or anchors(post.text)
            mentions.append(
                NewMention(
                    brand=brand.name,
                    source=source,
                    post=pseudonyms.cover(post),
                    matched=() if found is None else found.terms,
                    story=keys[0],
                    official=official,
                    anchors=keys,
                )
            )
    return mentions, counts
