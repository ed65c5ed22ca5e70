"""Texts that try to do something: what strangers put into posts, names and terms."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from alerts.base import Message
from alerts.message import Exhibit
from tests.alerts.make import assessment, leak, mention, message

HOSTILE: dict[str, str] = {
    each["name"]: each["text"] * each.get("times", 1)
    for each in json.loads((Path(__file__).parents[1] / "data" / "hostile.json").read_text())
}
"""By name: ``tests/data/hostile.json``, where characters that cannot be seen are written as escapes."""

STEERING = "\x00\x07\x08\x1b\x7f\x85\u200e\u200f\u2028\u2029\u202a\u202c\u202e\u2066\u2069"
"""Characters that reach no receiver, whatever the channel."""


def hostile_message(text: str) -> Message:
    """A message in which every free text is ``text``: more than composing one lets through."""
    composed = message(
        brand=text,
        exhibits=[
            Exhibit(mention(text, brand=text, author=text, platform=text), assessment(leak=leak()))
        ],
    )
    samples = tuple(replace(each, text=text, author=text) for each in composed.samples)
    return replace(
        composed, title=text, summary=text, why=((text, text),), actions=(text,), samples=samples
    )
