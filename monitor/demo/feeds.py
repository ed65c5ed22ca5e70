"""Posts as the feeds that platforms and newspapers offer: RSS 2.0, and Atom where they use it."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from xml.etree import ElementTree as ET

from monitor.demo.stream import StreamPost

DC = "http://purl.org/dc/elements/1.1/"
ATOM = "http://www.w3.org/2005/Atom"
ET.register_namespace("dc", DC)
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_HEADLINE = re.compile(r"(?P<title>.+?[.!?])\s+(?P<rest>\S.*)", re.DOTALL)


def render_rss(platform: str, posts: Sequence[StreamPost]) -> bytes:
    """An RSS 2.0 document with ``posts`` as they stand, newest first by the caller's order."""
    root = ET.Element("rss", version="2.0")
    channel = ET.SubElement(root, "channel")
    _add(channel, "title", f"Zonnehoek on {platform}")
    _add(channel, "link", f"https://{platform.replace('_', '-')}.example.com/")
    _add(channel, "description", "Posts of an invented week")
    for post in posts:
        item = ET.SubElement(channel, "item")
        title, body = _headline(post)
        if title:
            _add(item, "title", title)
        _add(item, "description", html.escape(body, quote=False))
        _add(item, "link", post.url)
        guid = _add(item, "guid", post.source_id)
        guid.set("isPermaLink", "false")
        _add(item, f"{{{DC}}}creator", post.author)
        _add(item, "pubDate", format_datetime(post.published_at))
    return _document(root)


def render_atom(platform: str, posts: Sequence[StreamPost]) -> bytes:
    """An Atom 1.0 document with ``posts`` as they stand, newest first by the caller's order."""
    root = ET.Element(f"{{{ATOM}}}feed")
    newest = posts[0].published_at if posts else datetime(2026, 1, 1, tzinfo=UTC)
    _add(root, f"{{{ATOM}}}id", f"https://{platform}.example.com/")
    _add(root, f"{{{ATOM}}}title", f"Zonnehoek on {platform}")
    _add(root, f"{{{ATOM}}}updated", newest.isoformat())
    for post in posts:
        entry = ET.SubElement(root, f"{{{ATOM}}}entry")
        title, body = _headline(post)
        _add(entry, f"{{{ATOM}}}id", post.source_id)
        _add(entry, f"{{{ATOM}}}title", title)
        content = _add(entry, f"{{{ATOM}}}content", html.escape(body, quote=False))
        content.set("type", "html")
        ET.SubElement(entry, f"{{{ATOM}}}link", href=post.url)
        _add(ET.SubElement(entry, f"{{{ATOM}}}author"), f"{{{ATOM}}}name", post.author)
        _add(entry, f"{{{ATOM}}}published", post.published_at.isoformat())
        _add(entry, f"{{{ATOM}}}updated", post.published_at.isoformat())
    return _document(root)


def _headline(post: StreamPost) -> tuple[str, str]:
    """Newspapers put the first sentence in the title; social posts have no title."""
    found = _HEADLINE.fullmatch(post.text) if post.platform == "news" else None
    return (found["title"], found["rest"]) if found else ("", post.text)


def _add(parent: ET.Element, tag: str, text: str) -> ET.Element:
    child = ET.SubElement(parent, tag)
    child.text = _NOT_XML.sub("\ufffd", text)
    return child


def _document(root: ET.Element) -> bytes:
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document
