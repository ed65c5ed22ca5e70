"""What a post on Bluesky says, as its author's own record has it: for the search and for the stream.

Both give the same record; what they say around it differs and is read by each of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from connectors.plaintext import clean, language_tag, web_url

URI = re.compile(
    r"at://(did:[a-z]+:[A-Za-z0-9._:%-]{1,200})/app\.bsky\.feed\.post/([\w.~:-]{1,512})"
)
"""Address of a post's record: the account's number and the post's key."""

HIDDEN = frozenset({"!hide", "!takedown", "!suspend", "!no-unauthenticated"})
"""Labels of what was taken away, or of authors who ask not to be shown to the whole world."""


def id_of(did: str, key: str) -> str:
    """Ours, of a post: the account's number and the post's key."""
    return f"{did}/{key}"


def address_of(did: str, key: str) -> str:
    """Where it can be seen. By number instead of handle: an address must not name the author."""
    return f"https://bsky.app/profile/{did}/post/{key}"


def images_of(did: str, embed: Any) -> tuple[str, ...]:
    """Addresses of the pictures of a post, where Bluesky shows them."""
    if not isinstance(embed, Mapping):
        return ()
    if isinstance(embed.get("media"), Mapping):
        return images_of(did, embed["media"])
    images = embed.get("images")
    numbers = (_blob(image) for image in (images if isinstance(images, list) else ()))
    return tuple(
        f"https://cdn.bsky.app/img/feed_fullsize/plain/{did}/{number}@jpeg"
        for number in numbers
        if isinstance(number, str) and number.isascii() and number.isalnum()
    )


def _blob(image: Any) -> Any:
    for step in ("image", "ref", "$link"):
        image = image.get(step) if isinstance(image, Mapping) else None
    return image


def author_of(did: str, handle: Any) -> str:
    """The handle, as long as it is one that leads to the account; else the account's number."""
    return handle if isinstance(handle, str) and handle not in {"", "handle.invalid"} else did


def languages_of(record: Mapping[str, Any]) -> list[str | None]:
    """What its author says that it is written in."""
    return [language_tag(tag) for tag in record.get("langs") or ()]


def is_in(languages: Sequence[str | None], wanted: Sequence[str]) -> bool:
    """Whether one of its languages is wanted; yes, where it names none or all are wanted."""
    if not wanted or not languages:
        return True
    return any((tag or "").split("-")[0] in wanted for tag in languages)


def thread_of(reply: Any) -> str | None:
    """Address of the post that began the conversation, by number instead of handle."""
    root = reply.get("root") if isinstance(reply, Mapping) else None
    uri = root.get("uri") if isinstance(root, Mapping) else None
    found = URI.fullmatch(uri) if isinstance(uri, str) else None
    return address_of(found[1], found[2]) if found else None


def text_of(record: Mapping[str, Any], view: Any) -> str:
    """What its author wrote, with links in full, hidden hashtags, and texts of images."""
    text = _with_links(record["text"], record.get("facets") or ())
    parts = [text, *(f"#{tag}" for tag in record.get("tags") or () if isinstance(tag, str))]
    parts += [line for line in _embedded(record.get("embed") or view or {}) if line not in text]
    return clean("\n".join(part for part in map(clean, parts) if part))


def _with_links(text: str, facets: Sequence[Any]) -> str:
    """Put the whole address where the app shows a shortened one. Facets count bytes of UTF-8."""
    data = text.encode(errors="replace")
    links: list[tuple[int, int, str]] = []
    for facet in facets:
        for feature in facet.get("features") or ():
            url = (
                web_url(feature.get("uri")) if feature.get("$type", "").endswith("#link") else None
            )
            index = facet["index"]
            start, end = index["byteStart"], index["byteEnd"]
            if url is not None and 0 <= start < end <= len(data):
                links.append((start, end, url))
    ceiling = len(data)
    for start, end, url in sorted(links, reverse=True):
        if end <= ceiling:
            shown = data[start:end].decode(errors="replace")
            # A word that is a link stays, with the address behind it.
            address = url if "." in shown else f"{shown} {url}"
            data = data[:start] + address.encode() + data[end:]
            ceiling = start
    return data.decode(errors="replace")


def _embedded(embed: Any) -> Iterator[str]:
    """Texts of images and films, and the address and title of a linked page."""
    if not isinstance(embed, dict):
        return
    media = embed.get("media")
    if isinstance(media, dict):
        yield from _embedded(media)
    for image in embed.get("images") or ():
        yield image.get("alt") or ""
    if isinstance(embed.get("alt"), str):
        yield embed["alt"]
    external = embed.get("external")
    if isinstance(external, dict):
        yield external.get("title") or ""
        yield web_url(external.get("uri")) or ""


def labels_of(labelled: Any, *, of: str = "labels") -> set[str]:
    """Labels in force on a view, or those that an author gave."""
    labels = labelled.get(of) if isinstance(labelled, dict) else None
    values = labels if isinstance(labels, list) else ()
    return {
        label["val"]
        for label in values
        if isinstance(label, dict) and isinstance(label.get("val"), str) and not label.get("neg")
    }
