"""Whether Slack would take a message: slack-sdk's own checks, and the ones that it leaves out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from slack_sdk.models.blocks import Block

LIMITS = {"header": 150, "section": 3000, "context": 3000}
TEXT_TYPES = {
    "header": {"plain_text"},
    "section": {"plain_text", "mrkdwn"},
    "context": {"plain_text", "mrkdwn"},
}
KEYS = {
    "header": {"type", "text", "block_id"},
    "section": {"type", "text", "fields", "block_id", "accessory", "expand"},
    "context": {"type", "elements", "block_id"},
    "divider": {"type", "block_id"},
}


def texts_of(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "text" in block:
        yield block["text"]
    yield from block.get("fields", [])
    yield from block.get("elements", [])


def problems(blocks: list[dict[str, Any]]) -> list[str]:
    """What Slack would refuse; empty when nothing."""
    found = []
    if not 1 <= len(blocks) <= 50:
        found.append(f"{len(blocks)} blocks")
    ids = [block["block_id"] for block in blocks if "block_id" in block]
    if len(ids) != len(set(ids)):
        found.append("duplicate block_id")
    for block in blocks:
        found += _block_problems(block)
    return found


def _block_problems(block: dict[str, Any]) -> list[str]:
    kind = block["type"]
    found = []
    if extra := set(block) - KEYS[kind]:
        found.append(f"{kind}: extra {extra}")
    if kind == "section" and "text" not in block and "fields" not in block:
        found.append("section without text or fields")
    for name, most in (("fields", 10), ("elements", 10)):
        if name in block and not 1 <= len(block[name]) <= most:
            found.append(f"{kind}: {len(block[name])} {name}")
    for text in texts_of(block):
        field = "fields" in block and text in block["fields"]
        limit = 2000 if field else LIMITS[kind]
        if text["type"] not in TEXT_TYPES[kind]:
            found.append(f"{kind}: text of type {text['type']}")
        if not 1 <= len(text["text"]) <= limit:
            found.append(f"{kind}: text of {len(text['text'])}")
        allowed = {"type", "text"} | ({"emoji"} if text["type"] == "plain_text" else {"verbatim"})
        if extra := set(text) - allowed:
            found.append(f"{kind}: text with {extra}")
    parsed = Block.parse(block)
    assert parsed is not None
    parsed.validate_json()
    return found
