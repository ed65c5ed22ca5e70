"""Short marks of what was read, for cursors that have to know it again without keeping it."""

from __future__ import annotations

import hashlib

from connectors.base import Post


def mark(text: str) -> str:
    """Sixteen hexadecimal digits that stand for ``text``, the same for ever."""
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=8).hexdigest()


def version_of(post: Post) -> str:
    """The mark of this version of a post: what was edited since has another one."""
    return mark(f"{post.id} {post.edited_at}")
