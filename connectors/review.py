"""What reviews of all platforms have in common: stars, and how they stand in a post's text."""

from __future__ import annotations

from connectors.plaintext import clean, one_line

MOST_STARS = 5
_LONGEST_TITLE = 500


def starred(stars: object, title: str, text: str) -> str:
    """Give the text of a review: its stars as signs, its title, what was written.

    The title is left out where the text begins with it.

    Args:
        stars: one to five.
        title: may be empty.
        text: may be empty: then stars and title are all there is.

    Raises:
        ValueError: the stars are no number from one to five.
    """
    if isinstance(stars, bool) or not isinstance(stars, int) or not 1 <= stars <= MOST_STARS:
        raise ValueError("no stars")
    signs = "★" * stars + "☆" * (MOST_STARS - stars)
    title, text = one_line(title, _LONGEST_TITLE), clean(text)
    head = signs if text.startswith(title) else f"{signs} {title}"
    return clean(f"{head}\n{text}") if text else clean(head)
