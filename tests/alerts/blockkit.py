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
    "actions": {"type", "elements", "block_id"},
}
ELEMENTS = {"context": 10, "actions": 25}
BUTTON_KEYS = {"type", "text", "action_id", "url", "value", "style", "confirm"}
BUTTON_LIMITS = {"action_id": 255, "url": 3000, "value": 2000}
CONFIRM_LIMITS = {"title": 100, "text": 300, "confirm": 30, "deny": 30}


def texts_of(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "text" in block:
        yield block["text"]
    yield from block.get("fields", [])
    if block["type"] == "context":
        yield from block.get("elements", [])


def buttons_of(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for block in blocks if block["type"] == "actions" for each in block["elements"]]


def problems(blocks: list[dict[str, Any]]) -> list[str]:
    """What Slack would refuse; empty when nothing."""
    found = []
    if not 1 <= len(blocks) <= 50:
        found.append(f"{len(blocks)} blocks")
    ids = [block["block_id"] for block in blocks if "block_id" in block]
    if len(ids) != len(set(ids)):
        found.append("duplicate block_id")
    ids = [button["action_id"] for button in buttons_of(blocks)]
    if len(ids) != len(set(ids)):
        found.append("duplicate action_id")
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
    if len(block.get("block_id", "")) > 255:
        found.append(f"block_id of {len(block['block_id'])}")
    if kind == "actions":
        for button in block["elements"]:
            found += _button_problems(button)
    for name, most in (("fields", 10), ("elements", ELEMENTS.get(kind, 10))):
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


def _button_problems(button: dict[str, Any]) -> list[str]:
    found = []
    if button["type"] != "button" or (extra := set(button) - BUTTON_KEYS):
        return [f"button: {extra if button['type'] == 'button' else button['type']}"]
    found += _label_problems("button", button["text"], 75)
    for name, most in BUTTON_LIMITS.items():
        if name in button and not 1 <= len(button[name]) <= most:
            found.append(f"button: {name} of {len(button[name])}")
    if button.get("style") not in {None, "primary", "danger"}:
        found.append(f"button: style {button['style']}")
    confirm = button.get("confirm", {})
    if extra := set(confirm) - set(CONFIRM_LIMITS) - {"style"}:
        found.append(f"confirm: extra {extra}")
    for name, most in CONFIRM_LIMITS.items():
        if confirm:
            found += _label_problems(f"confirm {name}", confirm[name], most)
    return found


def _label_problems(where: str, text: dict[str, Any], most: int) -> list[str]:
    if text["type"] != "plain_text" or not 1 <= len(text["text"]) <= most:
        return [f"{where}: {text['type']} of {len(text['text'])}"]
    return []
