"""The demo's mail server: real SMTP on loopback, every mail kept for people to read."""

from __future__ import annotations

import asyncio
import base64
import html
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.utils import getaddresses, parsedate_to_datetime
from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from jinja2 import Environment, PackageLoader, select_autoescape

_SLUG_LENGTH = 60
_TEMPLATES = Environment(
    loader=PackageLoader("monitor.demo", "templates"), autoescape=select_autoescape()
)
# Alerts quote strangers. Nothing in a kept mail may run or load, should an escape ever be missing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@dataclass(frozen=True, slots=True)
class KeptMail:
    """One mail that arrived, as the index and the closing table show it."""

    number: int
    name: str
    """Of its files, without ending."""
    subject: str
    to: tuple[str, ...]
    sent_at: datetime | None
    """From the Date header (the demo's clock), aware; None when it has none that can be read."""
    incident: str | None
    """What ``X-Merkwacht-Incident`` says."""
    preview: str
    """The first words of its text part, below the title."""


class Mailbox:
    """Takes mail on 127.0.0.1, on a free port, and keeps it as ``.eml`` and ``.html`` in a folder.

    Args:
        folder: made if it does not exist.
        timezone: in which the index shows the times of the mails.
    """

    def __init__(self, folder: Path, timezone: str = "Europe/Amsterdam") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.mails: list[KeptMail] = []
        self._severities: Mapping[str, str] = {}
        self._zone = ZoneInfo(timezone)
        self._controller: _LoopbackController | None = None

    @property
    def port(self) -> int:
        """Where it listens.

        Raises:
            RuntimeError: it does not: it was not entered.
        """
        if self._controller is None:
            raise RuntimeError("the mailbox has no port before it is entered")
        return self._controller.port

    @property
    def index(self) -> Path:
        """The page that lists all mails."""
        return self.folder / "index.html"

    def __enter__(self) -> Self:
        self._write_index()
        self._controller = _LoopbackController(self)
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    async def handle_DATA(  # noqa: N802 - the name and the arguments are aiosmtpd's
        self,
        server: SMTP,  # noqa: ARG002
        session: Session,  # noqa: ARG002
        envelope: Envelope,
    ) -> str:
        """Keep one mail; called by the server for each."""
        content = envelope.original_content or b""
        try:
            self.keep(content, tuple(envelope.rcpt_tos))
        except OSError as error:
            return f"451 cannot keep the mail: {error.strerror}"
        return "250 kept"

    def keep(self, content: bytes, recipients: tuple[str, ...] = ()) -> KeptMail:
        """Write one mail to the folder and list it.

        Args:
            content: the mail as it came over the wire.
            recipients: from the envelope, for mails without a To header.

        Raises:
            OSError: the folder cannot be written.
        """
        message = message_from_bytes(content)
        number = len(self.mails) + 1
        subject = header_text(message, "Subject") or "(no subject)"
        text, markup = _bodies(message)
        addresses = getaddresses([header_text(message, "To")])
        mail = KeptMail(
            number=number,
            name=f"{number:02d}-{slug(subject)}",
            subject=subject,
            to=tuple(address for _, address in addresses if address) or recipients,
            sent_at=_sent_at(message),
            incident=header_text(message, "X-Merkwacht-Incident") or None,
            preview=_preview(text),
        )
        (self.folder / f"{mail.name}.eml").write_bytes(content)
        page = self._page(mail, header_text(message, "From"), text, markup)
        (self.folder / f"{mail.name}.html").write_text(page, encoding="utf-8")
        self.mails.append(mail)
        self._write_index()
        return mail

    def grade(self, severities: Mapping[str, str]) -> None:
        """Colour the index by how grave each incident is, given by its number.

        Raises:
            OSError: the folder cannot be written.
        """
        self._severities = severities
        self._write_index()

    def when(self, mail: KeptMail) -> str:
        """The moment of a mail as people read it: ``Fri 13 Nov 2026 11:35``."""
        if mail.sent_at is None:
            return "no date"
        return f"{mail.sent_at.astimezone(self._zone):%a %-d %b %Y %H:%M}"

    def _page(self, mail: KeptMail, sender: str, text: str, markup: str | None) -> str:
        """The HTML part, below a strip with the headers, under a policy that lets nothing load."""
        strip = _TEMPLATES.get_template("strip.html").render(
            mail=mail, sender=sender, when=self.when(mail)
        )
        policy = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        meta = f'<meta charset="utf-8">{policy}'
        if markup is None:
            body = f"<pre style='white-space:pre-wrap'>{html.escape(text)}</pre>"
            return f"<!doctype html><html><head>{meta}</head><body>{strip}{body}</body></html>\n"
        opened = re.search(r"<body[^>]*>", markup, re.IGNORECASE)
        at = opened.end() if opened else 0
        return f"<!doctype html>{meta}{markup[:at]}{strip}{markup[at:]}"

    def _write_index(self) -> None:
        page = _TEMPLATES.get_template("index.html").render(
            days=self._by_day(),
            total=len(self.mails),
            severities=self._severities,
            zone=self._zone,
            policy=_POLICY,
        )
        self.index.write_text(page, encoding="utf-8")

    def _by_day(self) -> dict[str, list[list[KeptMail]]]:
        """The mails of each day; those that say the same at the same moment together."""
        days: dict[str, dict[tuple[object, ...], list[KeptMail]]] = {}
        for mail in self.mails:
            local = mail.sent_at.astimezone(self._zone) if mail.sent_at else None
            day = days.setdefault(f"{local:%A %-d %B %Y}" if local else "No date", {})
            day.setdefault((mail.sent_at, mail.subject, mail.incident), []).append(mail)
        return {day: list(groups.values()) for day, groups in days.items()}


class _LoopbackController(Controller):  # type: ignore[misc] # aiosmtpd has no types
    """aiosmtpd's threaded server, on a port that the system chooses."""

    def __init__(self, handler: Mailbox) -> None:
        # With a name of its own it need not ask a name server for one at every connection.
        super().__init__(
            handler, hostname="127.0.0.1", port=0, ready_timeout=10, server_hostname="localhost"
        )

    async def _create_server(self) -> asyncio.AbstractServer:
        server: Any = await super()._create_server()
        self.port: int = server.sockets[0].getsockname()[1]
        return server  # type: ignore[no-any-return] # same


def header_text(message: Message, name: str) -> str:
    """A header decoded to one plain line, whatever its sender made of it; empty if not there."""
    raw = message.get(name)
    if raw is None:
        return ""
    try:
        parts = decode_header(raw)
    except HeaderParseError:
        parts = [(str(raw), None)]
    text = "".join(_decode(part, charset) for part, charset in parts)
    plain = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text)
    return " ".join(plain.split())


def slug(text: str) -> str:
    """Letters, digits and hyphens only: safe as part of a file name on any system."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_text.lower())[:_SLUG_LENGTH].strip("-") or "mail"


def _decode(part: bytes | str, charset: str | None) -> str:
    if isinstance(part, str):
        return part
    try:
        return part.decode(charset or "ascii", errors="replace")
    except (
        LookupError
    ):  # raw bytes (Python calls their charset "unknown-8bit"), or an invented name
        pass
    try:
        return part.decode("utf-8")
    except UnicodeDecodeError:
        return part.decode("latin-1")


def _bodies(message: Message) -> tuple[str, str | None]:
    """The first plain-text part and the first HTML part, its pictures within it."""
    found: dict[str, str] = {}
    pictures: dict[str, bytes] = {}
    for part in message.walk():
        payload = part.get_payload(decode=True)
        if not isinstance(payload, bytes):
            continue
        if part.get_content_type() == "image/png":
            pictures[header_text(part, "Content-ID").strip("<>")] = payload
        elif part.get_content_type() not in found:
            found[part.get_content_type()] = _decode(payload, part.get_content_charset("utf-8"))
    markup = found.get("text/html")
    for name, picture in pictures.items():
        data = base64.b64encode(picture).decode()
        markup = markup and markup.replace(
            f'src="cid:{name}"', f'src="data:image/png;base64,{data}"'
        )
    return found.get("text/plain", ""), markup


def _preview(text: str) -> str:
    """What follows the first paragraph, which says what the subject says."""
    title, _, rest = text.strip().replace("\r\n", "\n").partition("\n\n")
    return " ".join((rest or title).split())[:200]


def _sent_at(message: Message) -> datetime | None:
    try:
        moment = parsedate_to_datetime(header_text(message, "Date"))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
