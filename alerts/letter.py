"""What a mail looks like: headers, text and HTML of one delivery.

Pure: sending it is ``alerts.email``'s work. The words come from the message; the layout from the
templates beside this module. The texts of posts are untrusted: the HTML template escapes all it is
given, and nothing untrusted reaches a header with a line break in it.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from functools import cache
from typing import TYPE_CHECKING, Any

from alerts.base import Delivery, Event, Message, Sample, Severity
from alerts.chart import chart_line, describe, draw
from alerts.message import heading, marker, sample_line, since_line
from alerts.message import reference as incident_reference
from alerts.plain import one_line, plain
from alerts.words import words

if TYPE_CHECKING:
    from jinja2 import Environment

_COLOURS: Mapping[Severity, str] = {
    Severity.LOW: "#475569",
    Severity.MEDIUM: "#0e639c",
    Severity.HIGH: "#b45309",
    Severity.CRITICAL: "#b3142b",
}
_FILETIME_BEGINS = datetime(1601, 1, 1, tzinfo=UTC)
_INDEX_BYTES = 22
_JOINER = "\u2060"
"""Invisible, and keeps what stands on its sides from being read as one by a machine."""
_AT_ADDRESS = re.compile(r"\w:(?=/|\w)|/(?=/)|(?<=\w)[.@](?=\w)")
"""After the scheme, between slashes, at each dot of a domain."""
_RESOLVED_COLOUR = "#1f7a4d"
_MESSAGE_ID = re.compile(r"<[\x21-\x3b\x3d\x3f-\x7e]{1,250}>")


def parse_address(text: str) -> Address:
    """A mail address, with or without a name, its domain in ASCII form.

    Raises:
        ValueError: it is none; the message says so.
    """
    name, bracket, rest = text.strip().rpartition("<")
    spec = rest.strip().removesuffix(">") if bracket else text.strip()
    user, at, domain = spec.rpartition("@")
    odd = not spec.isprintable() or bool(set(spec) & set(' ,;<>()"'))
    try:
        if at and user and domain and not odd:
            return Address(
                display_name=_header(name.strip().strip('"'), 100),
                username=user,
                domain=domain.encode("idna").decode("ascii"),
            )
    except ValueError:
        pass  # the same answer as below
    raise ValueError(f"{one_line(text, 100)!r} is not a mail address")


def build_mail(
    delivery: Delivery,
    sender: Address,
    recipients: Sequence[Address],
    *,
    reply_to: str | None = None,
) -> EmailMessage:
    """The mail of a delivery, complete with headers. The same for every attempt."""
    message = delivery.message
    mail = EmailMessage(policy=SMTP)
    mail["From"] = sender
    mail["To"] = recipients
    if reply_to is not None:
        mail["Reply-To"] = parse_address(reply_to)
    topic, subject = _subjects(delivery)
    mail["Subject"] = subject
    mail["Message-ID"] = _message_id(delivery.key, sender.domain)
    if delivery.created_at is not None:
        mail["Date"] = delivery.created_at
    first = _first_of(delivery)
    if first and first != mail["Message-ID"]:
        mail["In-Reply-To"] = first
        mail["References"] = first
    # What Exchange and Outlook go by instead.
    mail["Thread-Topic"] = topic
    mail["Thread-Index"] = _thread_index(delivery, str(mail["Message-ID"]))
    mail["List-Id"] = f"Merkwacht <merkwacht.{sender.domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    # Keeps Exchange from answering with an out-of-office notice.
    mail["X-Auto-Response-Suppress"] = "All"
    mail["X-Merkwacht-Key"] = _header(delivery.key)
    mail["X-Merkwacht-Incident"] = str(message.incident_id)
    mail["X-Merkwacht-Event"] = message.event.value
    if message.severity is Severity.CRITICAL and message.event is not Event.RESOLVED:
        mail["Importance"] = "high"
        mail["X-Priority"] = "1"
    picture = None
    if message.chart is not None:
        picture = draw(message.chart, language=message.language, timezone=message.timezone)
    name = f"chart.{mail['Message-ID'][1:-1]}"
    text, html = render(message, key=delivery.key, picture=name if picture else None)
    mail.set_content(text)
    mail.add_alternative(html, subtype="html")
    page = mail.get_body(("html",))
    if picture is not None and isinstance(page, EmailMessage):
        page.add_related(
            picture, "image", "png", cid=f"<{name}>", disposition="inline", filename="chart.png"
        )
    # After the parts: making them takes content headers along into the first.
    mail["Content-Language"] = message.language
    return mail


def thread_of(delivery: Delivery, mail: EmailMessage) -> dict[str, str]:
    """What later mails of the same incident to the same receiver need to know of the first."""
    if _first_of(delivery):
        return {name: str(value) for name, value in (delivery.thread or {}).items()}
    return {
        "message_id": str(mail["Message-ID"]),
        "subject": str(mail["Thread-Topic"]),
        "index": str(mail["Thread-Index"]),
    }


def _first_of(delivery: Delivery) -> str:
    """The Message-ID of the thread's first mail; empty when this is the first."""
    first = str((delivery.thread or {}).get("message_id", ""))
    return first if _MESSAGE_ID.fullmatch(first) else ""


def _subjects(delivery: Delivery) -> tuple[str, str]:
    """The subject of the thread, and of this mail.

    Gmail begins a new conversation when a subject changes, so later mails answer the first one's: what
    happened stands first in the text. Only what became worse has a subject of its own, to be seen.
    """
    message = delivery.message
    own = _header(heading(message))
    topic = _header(str((delivery.thread or {}).get("subject", ""))) if _first_of(delivery) else ""
    if not topic:
        return own, own
    return topic, own if message.event is Event.WORSENED else f"Re: {topic}"


def _thread_index(delivery: Delivery, message_id: str) -> str:
    """The conversation as Outlook keeps it: 22 bytes that all mails share, five more for an answer.

    A byte of one, a moment (the middle of its 100 ns since 1601) and 16 bytes that tell
    conversations apart.
    """
    root = b""
    with contextlib.suppress(ValueError):
        kept = str((delivery.thread or {}).get("index", "")) if _first_of(delivery) else ""
        root = base64.b64decode(kept, validate=True)
    if len(root) == _INDEX_BYTES:
        child = hashlib.sha256(delivery.key.encode()).digest()[:5]
        return base64.b64encode(root + child).decode()
    moment = delivery.created_at or delivery.message.since
    ticks = (moment - _FILETIME_BEGINS) // timedelta(microseconds=1) * 10
    name = hashlib.sha256((_first_of(delivery) or message_id).encode()).digest()[:16]
    return base64.b64encode(b"\x01" + (ticks >> 16).to_bytes(6, "big")[-5:] + name).decode()


def render(message: Message, *, key: str = "", picture: str | None = None) -> tuple[str, str]:
    """The text and the HTML of a message, without headers.

    Args:
        message: what to say.
        key: idempotency key, shown at the end.
        picture: content id of the drawn chart, where the mail carries one.
    """
    values = _values(_without_addresses(message), key) | {"picture": picture}
    environment = _templates()
    text = environment.get_template("email.txt").render(values)
    html = environment.get_template("email.html").render(values)
    return text, html


def _without_addresses(message: Message) -> Message:
    """The message with every address in its texts taken apart.

    Mail programs make links of whatever looks like one: nobody should find a stranger's under our name.
    """
    return replace(
        message,
        title=_unlinked(message.title),
        summary=_unlinked(message.summary),
        actions=tuple(_unlinked(each) for each in message.actions),
        why=tuple((_unlinked(label), _unlinked(value)) for label, value in message.why),
        samples=tuple(
            replace(
                each,
                text=_unlinked(each.text),
                author=_unlinked(each.author),
                platform=_unlinked(each.platform),
            )
            for each in message.samples
        ),
    )


def _unlinked(text: str) -> str:
    """Text in which no program sees an address; it reads the same."""
    return _AT_ADDRESS.sub(f"\\g<0>{_JOINER}", plain(text))


def _values(message: Message, key: str) -> dict[str, Any]:
    catalogue = words(message.language)
    resolved = message.event is Event.RESOLVED
    one = len(message.samples) == 1 and not message.more_samples
    return {
        "message": message,
        "subject": heading(message),
        "marker": marker(message),
        "kind": "Merkwacht" if message.bulletin else catalogue.text(f"kind.{message.kind.value}"),
        "severity": catalogue.text(f"severity.{message.severity.word}"),
        "colour": _RESOLVED_COLOUR if resolved else _COLOURS[message.severity],
        "since": since_line(message),
        "samples": [_shown(sample, message) for sample in message.samples],
        "samples_label": catalogue.text("label.sample" if one else "label.samples"),
        "more": catalogue.count("label.more", message.more_samples) if message.more_samples else "",
        "actions_label": catalogue.text("label.aftercare" if resolved else "label.actions"),
        "why_label": catalogue.text("label.why"),
        "since_label": catalogue.text("label.since"),
        "view_label": catalogue.text("label.view"),
        "open_label": catalogue.text("label.open"),
        "chart": _chart(message),
        "bars": _bars(message),
        "notes": [
            *([catalogue.text("label.masked")] if message.samples else []),
            catalogue.text("label.watched"),
            catalogue.text("label.times", timezone=message.timezone),
        ],
        "incident": incident_reference(message),
        "reference": catalogue.text("label.key", key=one_line(key)) if key else "",
    }


def _chart(message: Message) -> str:
    """What the chart shows, in a sentence."""
    if message.chart is None:
        return ""
    return describe(message.chart, language=message.language, timezone=message.timezone)


def _bars(message: Message) -> str:
    """The chart as a line of text."""
    if message.chart is None:
        return ""
    return chart_line(message.chart, language=message.language)


def _shown(sample: Sample, message: Message) -> dict[str, Any]:
    return {
        "line": sample_line(sample, message),
        "text": sample.text,
        "url": sample.url,
    }


@cache
def _templates() -> Environment:
    # Imported here: reading a configuration needs no templates.
    from jinja2 import (  # noqa: PLC0415 - lazy
        Environment,
        PackageLoader,
        StrictUndefined,
        select_autoescape,
    )

    return Environment(
        loader=PackageLoader("alerts", "templates"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _header(text: str, limit: int = 200) -> str:
    """Text fit for a header: one line, and nothing that a mail library would decode into more.

    The standard library decodes ``=?utf-8?q?…?=`` in a value that it is given, line breaks included.
    """
    return one_line(text, limit).replace("=?", "= ?")


def _message_id(key: str, domain: str) -> str:
    """The same for every attempt at one delivery, so that mail programs fold repeats."""
    return f"<{hashlib.sha256(key.encode()).hexdigest()[:32]}.merkwacht@{domain}>"
