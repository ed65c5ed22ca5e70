"""What a mail says: from a message to posts.

A mail of Google Alerts is one post for each article in it, with the article's own address, so that
the same article in a feed is the same post. Any other mail is one post of subject and body. Forwards
count as what was forwarded. Of a report only what it points at is kept, never who wrote it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import Message
from email.utils import parsedate_to_datetime
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit

from imap_tools import MailMessage

from connectors.base import Post
from connectors.feedreader import fingerprint
from connectors.plaintext import clean, from_html, language_tag, one_line, web_url
from connectors.webaddress import canonical, unwrap

_LATEST_DELIVERY = timedelta(days=2)
_LONGEST_ID = 400
_MOST_ITEMS = 200
_LONGEST_HTML = 200_000
_LONGEST_UNENDED = 5_000
_LONGEST_MARK = 120
"""Characters of a line that may be a mail program's mark or closing words; longer ones are text."""
_GOOGLE_ALERTS = "googlealerts-noreply@google.com"
_ALERT_ITSELF = re.compile(r"https?://www\.google\.[a-z.]+/alerts(?!/(?:share|feedback))")
_BULK = ("list-id", "list-unsubscribe", "list-post", "feedback-id")
"""Headers of those who write to many: a medium or a service, not a person."""

_LINK = re.compile(r"https?://[^\s<>\"']+")
_TRAILING = ".,;:!?)]}»”’"
_X_POST = re.compile(r"https?://(?:www\.|mobile\.)?(?:x|twitter)\.com/\w+/status/(\d+)")
_ADDRESS = re.compile(r"(?<![\w.+'-])[\w.+'-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_SUBJECT_MARKS = re.compile(r"^(?:\s*(?:re|fw|fwd|aw|wg|tr|antw|doorst)\s*:)+\s*", re.IGNORECASE)
_FORWARD = re.compile(
    r"^[>\s]*(?:-{2,}\s*)?(?:"
    r"forwarded message|original message|begin forwarded message|doorgestuurd bericht"
    r"|oorspronkelijk bericht|begin doorgestuurd bericht|weitergeleitete nachricht"
    r"|ursprüngliche nachricht|message transféré|message d'origine"
    r")\s*:?\s*(?:-{2,})?\s*$",
    re.IGNORECASE,
)
_HEADER_LINE = re.compile(
    r"^[>\s*]*(from|van|von|de|date|datum|sent|verzonden|gesendet|envoyé|to|aan|an|à|cc"
    r"|reply-to|antwoord aan|subject|onderwerp|betreff|objet)\s*:\**\s*(.*)$",
    re.IGNORECASE,
)
_SUBJECT_NAMES = frozenset({"subject", "onderwerp", "betreff", "objet"})
_SIGNATURE = re.compile(r"^--\s?$")
_CLOSING = re.compile(
    r"^(?:met )?(?:(?:vriendelijke|hartelijke|collegiale|sportieve)[ -])?"
    r"(?:groet(?:en|jes)?|mvg|m\.v\.g\.?|kind regards|best regards|warm regards|regards"
    r"|best wishes|cheers|sincerely|mit freundlichen grüßen|mfg|cordialement)\W*(?:\w+\W*){0,2}$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail as it was fetched."""

    message: MailMessage
    received: datetime | None
    """When the server got it, aware, UTC; None where it does not say."""
    read: int
    """Bytes that were read; the mail may be longer."""

    @property
    def sender(self) -> str:
        """The address that it says to come from."""
        return one_line(self.message.from_, 320)


@dataclass(frozen=True, slots=True)
class Reading:
    """How mails are read."""

    platform: str
    reports: bool
    """Whether they are reports of colleagues: who wrote them is not kept."""
    language: str | None


def read_mail(mail: Mail, reading: Reading, now: datetime) -> list[Post]:
    """Give the posts of a mail; none if it holds no text.

    Args:
        mail: as fetched, perhaps cut off.
        reading: how.
        now: the present; nothing was published after it.
    """
    ident = _identity(mail)
    inner = _attached(mail.message) or mail.message
    published = min(_published(inner, mail.received, now), now)
    if reading.reports:
        posts = [_report(mail, inner, reading, ident, published)]
    elif items := _alert_items(inner):
        posts = [item.post(reading, published) for item in items]
    else:
        posts = [_clipping(inner, reading, ident, published)]
    return [post for post in posts if post.text]


# --- one post for the mail ------------------------------------------------------------------------


def _clipping(message: MailMessage, reading: Reading, ident: str, published: datetime) -> Post:
    subject, body = _forwarded(_subject(message), _body(message))
    links = _links(message)
    return Post(
        platform=reading.platform,
        id=ident,
        text=_joined(subject, body),
        published_at=published,
        url=links[0] if len(links) == 1 else None,  # of many none speaks for the mail
        author=_medium(message),
        language=reading.language or _language(message),
    )


def _report(
    mail: Mail, inner: MailMessage, reading: Reading, ident: str, published: datetime
) -> Post:
    """What a colleague points at, without the colleague."""
    subject, body = _forwarded(_subject(inner), _without_signature(_body(inner)))
    names = [*_names(mail.message), *(_names(inner) if inner is not mail.message else ())]
    links = _links(inner) or _links(mail.message)
    return Post(
        platform=reading.platform,
        id=ident,
        text=_anonymous(_joined(subject, body), names),
        published_at=published,
        url=links[0] if links else None,
        language=reading.language or _language(inner),
        about_brand=True,
    )


def _joined(subject: str, body: str) -> str:
    """Put the subject above the body, unless the body begins with it."""
    if not subject or body.startswith(subject):
        return body
    return clean(f"{subject}\n{body}") if body else subject


def _identity(mail: Mail) -> str:
    """An id of the mail that names neither sender nor server."""
    message = mail.message
    given = str(message.obj["Message-ID"] or "").strip()
    if not given:
        given = f"{message.date_str}\0{message.from_}\0{message.subject}\0{message.text[:1_000]}"
    digest = hashlib.blake2b(given.encode(errors="replace"), digest_size=16).hexdigest()
    return f"mail:{digest}"


def _published(message: MailMessage, received: datetime | None, now: datetime) -> datetime:
    """When it was sent, if that is soon before it came in; anyone can write any date."""
    came = received or now
    try:
        sent = parsedate_to_datetime(message.date_str)
    except (ValueError, TypeError, IndexError, OverflowError):
        return came
    if sent.tzinfo is None or not came - _LATEST_DELIVERY <= sent <= came:
        return came
    return sent.astimezone(came.tzinfo)


def _subject(message: MailMessage) -> str:
    return _SUBJECT_MARKS.sub("", one_line(message.subject, 500))


def _body(message: MailMessage) -> str:
    """The text that a reader sees: the plain part if there is a full one, else the HTML."""
    plain = clean(message.text.replace("\r\n", "\n"))
    marked = from_html(_html(message)) if _html(message) else ""
    # Newsletters often put no more than "see the web version" into the plain part.
    return plain if plain and len(plain) * 4 >= len(marked) else marked


def _html(message: MailMessage) -> str:
    """The HTML part, without comments, as far as it is read.

    Tags and comments that never end would take time that grows with the square of their number.
    """
    first, *others = message.html[:_LONGEST_HTML].split("<!--")
    kept = [first]
    for part in others:
        _, end, rest = part.partition("-->")
        if not end:
            break
        kept.append(rest)
    markup = "".join(kept)
    unended = markup.count("<") > 2 * markup.count(">")
    return markup[:_LONGEST_UNENDED] if unended else markup


def _language(message: MailMessage) -> str | None:
    return language_tag(str(message.obj["Content-Language"] or "").split(",")[0])


def _medium(message: MailMessage) -> str | None:
    """The sender where it is one that writes to many; a person's name is nobody's business."""
    sender = message.from_values
    if sender is None or not any(name in message.headers for name in _BULK):
        return None
    return one_line(sender.name or sender.email.rpartition("@")[2], 200) or None


# --- forwards -------------------------------------------------------------------------------------


def _attached(message: MailMessage) -> MailMessage | None:
    """The mail that is attached to this one, if one was forwarded that way."""
    for part in message.obj.walk():
        if part is not message.obj and part.get_content_type() == "message/rfc822":
            inner = part.get_payload()
            if isinstance(inner, list) and inner and isinstance(inner[0], Message):
                attached: MailMessage = MailMessage.from_bytes(inner[0].as_bytes())
                return attached
    return None


def _forwarded(subject: str, body: str) -> tuple[str, str]:
    """Subject and body, with the headers that mail programs put above what is forwarded taken out.

    They hold names and addresses; the forwarded subject stands in for that of the forward.
    """
    kept: list[str] = []
    lines = body.split("\n")
    place = 0
    while place < len(lines):
        end, inner = _header_block(lines, place)
        if end == place:
            kept.append(lines[place])
            place += 1
            continue
        subject = inner or subject
        place = end
    return subject, clean("\n".join(kept))


def _header_block(lines: Sequence[str], start: int) -> tuple[int, str]:
    """Where the header block that begins at ``start`` ends, and its subject; ``start``: none does.

    A block is a forward's mark with header lines below it, or at least three of those in a row.
    """
    place = start
    marked = len(lines[start]) <= _LONGEST_MARK and _FORWARD.match(lines[start]) is not None
    place += marked
    while marked and place < len(lines) and not lines[place].strip(" >"):
        place += 1
    subject, count = "", 0
    while place < len(lines) and (found := _HEADER_LINE.match(lines[place])):
        if found[1].casefold() in _SUBJECT_NAMES:
            subject = _SUBJECT_MARKS.sub("", one_line(found[2], 500))
        count += 1
        place += 1
    if marked or count >= 3:  # noqa: PLR2004 - as the docstring says
        return place, subject
    return start, ""


# --- reports --------------------------------------------------------------------------------------


def _without_signature(body: str) -> str:
    """Cut signatures: from the mark or the closing words to a forward's header, or the end."""
    kept: list[str] = []
    signing = False
    lines = body.split("\n")
    place = 0
    while place < len(lines):
        end, _ = _header_block(lines, place)
        if end > place:
            signing = False
            kept += lines[place:end]
            place = end
            continue
        line = lines[place].strip()
        signing = signing or (
            len(line) <= _LONGEST_MARK and bool(_SIGNATURE.match(line) or _CLOSING.match(line))
        )
        if not signing:
            kept.append(lines[place])
        place += 1
    return "\n".join(kept)


def _names(message: MailMessage) -> list[str]:
    """How the writer of a mail is called, in full: a first name alone could be anybody's."""
    names: list[str] = []
    for sender in [message.from_values, *message.reply_to_values]:
        if sender is not None:
            parts = re.findall(r"[^\s,()\"]+", sender.name)
            if len(parts) > 1:
                names += [sender.name, " ".join(parts), " ".join([*parts[1:], parts[0]])]
    return names


def _anonymous(text: str, names: Sequence[str]) -> str:
    """The text without the names, and without any mail address."""
    text = _ADDRESS.sub("…", text)
    for name in sorted(filter(None, set(names)), key=len, reverse=True):
        text = re.sub(re.escape(name), "…", text, flags=re.IGNORECASE)
    return text


# --- links ----------------------------------------------------------------------------------------


def direct(link: str) -> str:
    """The address that a link of a mail leads to, past the redirects of Google and Outlook."""
    parts = urlsplit(link)
    if (parts.hostname or "").endswith(".safelinks.protection.outlook.com"):
        link = web_url((parse_qs(parts.query).get("url") or [""])[0]) or link
    link = canonical(unwrap(link))
    # A handle in an address would carry the author's name past the pseudonym.
    found = _X_POST.match(link)
    return f"https://x.com/i/web/status/{found[1]}" if found else link


def _links(message: MailMessage) -> list[str]:
    """Where the mail leads to, each once, in order."""
    found = [link for link, _, _ in _anchors(_html(message))]
    found += [link.rstrip(_TRAILING) for link in _LINK.findall(clean(message.text))]
    return list(dict.fromkeys(direct(link) for link in map(web_url, found) if link is not None))


# --- Google Alerts --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Item:
    """One article of an alert."""

    link: str
    text: str

    def post(self, reading: Reading, published: datetime) -> Post:
        """As the feed of the alert would give it."""
        bounded = len(self.link) <= _LONGEST_ID
        host = urlsplit(self.link).hostname
        return Post(
            platform=reading.platform,
            id=self.link if bounded else f"{host}#{fingerprint(self.link)}",
            text=self.text,
            published_at=published,
            url=self.link,
            language=reading.language,
        )


def _alert_items(message: MailMessage) -> list[_Item]:
    """The articles of a mail of Google Alerts, also of a forwarded one; nothing of other mails.

    An article begins with a link through Google's redirect that has words. Its excerpt is what
    follows outside of links, up to the next article or to a link that belongs to the alert itself.
    """
    if _GOOGLE_ALERTS not in f"{message.from_} {_html(message)} {message.text}".lower():
        return []
    texts: dict[str, list[str]] = {}
    current: list[str] = []
    for link, words, rest in _anchors(_html(message)):
        target = unwrap(link)
        if target != link and words and (article := canonical(target)) not in texts:
            current = texts[article] = [words]
        elif _ALERT_ITSELF.match(link):
            current = []
        if rest:
            current.append(rest)
    return [
        _Item(link, clean("\n".join(parts))) for link, parts in list(texts.items())[:_MOST_ITEMS]
    ]


def _anchors(markup: str) -> list[tuple[str, str, str]]:
    """The links of ``markup``, each with its words and the text between it and the next one."""
    reader = _AnchorReader()
    reader.feed(markup)
    reader.close()
    return [
        (link, one_line(from_html("".join(words)), 500), from_html("".join(rest)))
        for link, words, rest in reader.anchors
    ]


class _AnchorReader(HTMLParser):
    """Collects links, the words inside each, and the markup between it and the next one."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.anchors: list[tuple[str, list[str], list[str]]] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.anchors.append((dict(attrs).get("href") or "", [], []))
            self._inside = True
        else:
            self._add(f"<{tag}>")

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._inside = False
        else:
            self._add(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self._add(data)

    def handle_entityref(self, name: str) -> None:
        self._add(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self._add(f"&#{name};")

    def _add(self, markup: str) -> None:
        if self.anchors:
            _, words, rest = self.anchors[-1]
            (words if self._inside else rest).append(markup)
