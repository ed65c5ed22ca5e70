"""What a Slack message looks like: Block Kit from a message.

Pure: posting it is ``alerts.slack``'s work. The texts of posts are untrusted. They appear only in
``plain_text`` objects, in which Slack reads no markup at all; everything else that is not ours is
escaped, and what looks like a mention or a link is taken apart, so that nothing notifies or tempts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import quote

from alerts.base import Event, Message, Sample, Severity
from alerts.chart import chart_line
from alerts.links import Action
from alerts.message import heading, reference, sample_line, since_line
from alerts.plain import one_line, plain
from alerts.words import words

Block = dict[str, Any]

HEADER_LIMIT = 150
TEXT_LIMIT = 3000
FIELD_LIMIT = 2000
FIELDS_LIMIT = 10
BLOCKS_LIMIT = 50
FALLBACK_LIMIT = 1000
VALUE_LIMIT = 2000

ACTIONS_BLOCK = "merkwacht.actions"
OPEN_ID = "merkwacht.open"
_ACTIONS = {f"merkwacht.{each.name.lower()}": each for each in (Action.TAKE, Action.RESOLVE)}
_LINK_LIMIT = 2000
_IN_ADDRESS = "%/:?#[]@!$&'()*+,;=~-._"

_SIGN = {
    Severity.LOW: "⚪",
    Severity.MEDIUM: "🔵",
    Severity.HIGH: "🟠",
    Severity.CRITICAL: "🔴",
}
_RESOLVED_SIGN = "🟢"

_JOINER = "\u2060"
"""Invisible, and keeps what stands on its sides from being read as one word by a machine."""
_MENTION = re.compile(r"(?<![^\W_])([@#])(?=\w)")
_ADDRESS = re.compile(r"\b(\w[\w+.-]{0,20}:)(?=//)|\b(www)(?=\.)", re.IGNORECASE)
_MARKUP = re.compile(r"([*_~`])")


def blocks_of(message: Message, *, key: str = "", buttons: bool = False) -> list[Block]:
    """The message as Block Kit, within all limits that Slack sets.

    Args:
        message: what to say.
        key: idempotency key, shown at the end and given back by buttons.
        buttons: whether somebody hears when one is pressed.
    """
    catalogue = words(message.language)
    resolved = message.event is Event.RESOLVED
    blocks = _top(message, key=key, buttons=buttons)
    blocks += _sample_blocks(message)
    if message.actions:
        label = catalogue.text("label.aftercare" if resolved else "label.actions")
        blocks.append(_section(f"*{label}*\n{_numbered(message.actions)}"))
    if message.why:
        blocks.append({"type": "divider"})
        blocks.append(_section(f"*{catalogue.text('label.why')}*"))
        blocks += _fields(message.why)
    blocks.append(_context(_footer(message, key)))
    return blocks[:BLOCKS_LIMIT]


def brief_blocks(message: Message, *, key: str = "", buttons: bool = False) -> list[Block]:
    """The same without posts, advice and reasons: for when Slack finds the whole too long."""
    return [*_top(message, key=key, buttons=buttons), _context(_footer(message, key))]


def fallback_text(message: Message) -> str:
    """What a notification on a phone shows."""
    return _fit(f"{_title(message)}\n{message.summary}", FALLBACK_LIMIT, escape)


def escape(text: str) -> str:
    """Untrusted text for a ``mrkdwn`` object: no markup, mention or link is left in it."""
    return _MARKUP.sub(rf"{_JOINER}\1{_JOINER}", _entities(_tame(text)))


def pressed(action_id: object, value: object) -> tuple[Action, str, str] | None:
    """What a button of ours gives back: what to do, ticket, idempotency key. None: not one of ours."""
    action = _ACTIONS.get(action_id) if isinstance(action_id, str) else None
    if action is None or not isinstance(value, str) or len(value) > VALUE_LIMIT:
        return None
    ticket, _, key = value.partition(" ")
    return action, ticket, key


def _top(message: Message, *, key: str, buttons: bool) -> list[Block]:
    """What is seen without scrolling: what, since when, who has it, what to press."""
    # A button of its own leads to the page; without buttons a line does.
    pressing = _buttons(message, key) if buttons else []
    blocks = [_header(message), _section(_lead(message, link=not pressing))]
    if message.taken_by and message.event is not Event.RESOLVED:
        who = _fit(message.taken_by, 200, escape)
        blocks.append(_context(f"✅ {words(message.language).text('slack.taken', who=who)}"))
    if pressing:
        blocks.append({"type": "actions", "block_id": ACTIONS_BLOCK, "elements": pressing})
    return blocks


def _buttons(message: Message, key: str) -> list[Block]:
    """Take it or, once taken, close it; and the page."""
    if not message.ticket or message.event is Event.RESOLVED:
        return []
    say = words(message.language)
    value = f"{message.ticket} {one_line(key, 300)}".strip()
    buttons: list[Block] = []
    if len(value) <= VALUE_LIMIT and not message.taken_by:
        buttons.append(_button(Action.TAKE, say.text("slack.take"), value) | {"style": "primary"})
    if len(value) <= VALUE_LIMIT:
        confirm = {
            "title": _label(say.text("slack.sure")),
            "text": _label(say.text("slack.sure_text")),
            "confirm": _label(say.text("slack.yes")),
            "deny": _label(say.text("slack.no")),
        }
        close = _button(Action.RESOLVE, say.text("slack.resolve"), value)
        buttons.append(close | {"confirm": confirm})
    address = quote(message.link or "", safe=_IN_ADDRESS)
    if address.startswith(("https://", "http://")) and len(address) <= _LINK_LIMIT:
        opens = {"type": "button", "action_id": OPEN_ID, "url": address}
        buttons.append(opens | {"text": _label(say.text("label.open"))})
    return buttons


def _button(action: Action, text: str, value: str) -> Block:
    return {
        "type": "button",
        "action_id": f"merkwacht.{action.name.lower()}",
        "text": _label(text),
        "value": value,
    }


def _label(text: str) -> Block:
    return {"type": "plain_text", "text": text, "emoji": False}


def _header(message: Message) -> Block:
    title = _fit(_title(message), HEADER_LIMIT, _plain_text)
    return {"type": "header", "text": {"type": "plain_text", "text": title, "emoji": False}}


def _title(message: Message) -> str:
    sign = _RESOLVED_SIGN if message.event is Event.RESOLVED else _SIGN[message.severity]
    return f"{sign} {one_line(heading(message))}"


def _lead(message: Message, *, link: bool = True) -> str:
    catalogue = words(message.language)
    lines = [
        _fit(message.summary, FALLBACK_LIMIT, escape),
        f"{catalogue.text('label.since')} {escape(since_line(message))}",
    ]
    if message.chart is not None:
        lines.append(escape(chart_line(message.chart, language=message.language)))
    if link and message.link and (shown := _link(message.link, catalogue.text("label.open"))):
        lines.append(f"*{shown}*")
    return "\n".join(lines)


def _sample_blocks(message: Message) -> Iterator[Block]:
    if not message.samples:
        return
    catalogue = words(message.language)
    one = len(message.samples) == 1 and not message.more_samples
    yield {"type": "divider"}
    yield _section(f"*{catalogue.text('label.sample' if one else 'label.samples')}*")
    for sample in message.samples:
        yield _quote(sample.text)
        yield _context(_sample_meta(sample, message))
    if message.more_samples:
        yield _context(f"… {catalogue.count('label.more', message.more_samples)}")
    yield {"type": "divider"}


def _sample_meta(sample: Sample, message: Message) -> str:
    line = _fit(sample_line(sample, message), FALLBACK_LIMIT - 100, escape)
    if sample.url and (link := _link(sample.url, words(message.language).text("label.view"))):
        line = f"{line} · {link}"
    return line


def _quote(text: str) -> Block:
    """The text of a post, in which Slack shall read nothing but characters."""
    shown = _fit(f"“{plain(text)}”", TEXT_LIMIT, _plain_text)
    return {"type": "section", "text": {"type": "plain_text", "text": shown, "emoji": False}}


def _numbered(actions: Sequence[str]) -> str:
    return "\n".join(
        f"{place}. {_fit(each, TEXT_LIMIT // (len(actions) + 1), escape)}"
        for place, each in enumerate(actions, start=1)
    )


def _fields(why: Sequence[tuple[str, str]]) -> Iterator[Block]:
    texts = [
        _mrkdwn(f"*{_fit(label, 100, escape)}*\n{_fit(value, FIELD_LIMIT - 200, escape)}")
        for label, value in why
    ]
    for start in range(0, len(texts), FIELDS_LIMIT):
        yield {"type": "section", "fields": texts[start : start + FIELDS_LIMIT]}


def _footer(message: Message, key: str) -> str:
    catalogue = words(message.language)
    parts = [f"Merkwacht · {reference(message)}"]
    if message.samples:
        parts.append(catalogue.text("label.masked"))
    parts.append(catalogue.text("label.times", timezone=message.timezone))
    if key:
        parts.append(catalogue.text("label.key", key=_fit(one_line(key), 300, escape)))
    return " · ".join(part.rstrip(".") for part in parts)


def _section(text: str) -> Block:
    return {"type": "section", "text": _mrkdwn(text)}


def _context(text: str) -> Block:
    return {"type": "context", "elements": [_mrkdwn(text)]}


def _mrkdwn(text: str) -> Block:
    """``verbatim`` keeps Slack from making links and mentions of its own accord."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _link(url: str, label: str) -> str | None:
    """A link as Slack writes it; the address cannot end it early."""
    address = quote(url, safe=_IN_ADDRESS).replace("&", "&amp;")
    return f"<{address}|{label}>" if len(address) <= _LINK_LIMIT else None


def _fit(text: str, limit: int, dress: Callable[[str], str]) -> str:
    """Dress untrusted text, shortened beforehand so far that the result keeps to ``limit``.

    Cutting afterwards could cut an entity in two.
    """
    kept = text[:limit]
    dressed = dress(kept if kept == text else f"{kept.rstrip()}…")
    while len(dressed) > limit:
        kept = kept[: len(kept) * limit // len(dressed) - 1]
        dressed = dress(f"{kept.rstrip()}…")
    return dressed


def _plain_text(text: str) -> str:
    return _entities(_tame(text))


def _tame(text: str) -> str:
    """Take mentions and addresses apart: what they say stays readable, what they do is gone."""
    text = _ADDRESS.sub(lambda found: f"{found.group()}{_JOINER}", plain(text))
    return _MENTION.sub(rf"\1{_JOINER}", text)


def _entities(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
