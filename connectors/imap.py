"""A mailbox over IMAP: press clippings, alerts by mail, and what colleagues report.

The folder is opened read-only: nothing is marked, moved or deleted, unless ``move_to`` says where
mails go that were read. What a mail becomes: :mod:`connectors.mailtext`. ``imap_tools`` knows the
protocol; underneath it every answer has a deadline and a largest size. The cursor is the highest
UID that was read, which means something only as long as the server keeps the folder's UIDVALIDITY.
"""

from __future__ import annotations

import imaplib
import json
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal, Self
from urllib.parse import urlencode

from imap_tools import BaseMailBox, MailMessage
from imap_tools.errors import ImapToolsError, UnexpectedCommandStatusError
from imap_tools.utils import encode_folder
from pydantic import Field, SecretStr, model_validator

from connectors.base import ConnectorError, Context, Cursor, Page, Post, Reject, SourceFault
from connectors.http import post_limited, redact_url, status_error
from connectors.mailtext import Mail, Reading, read_mail
from connectors.options import Options as BaseOptions
from connectors.plaintext import one_line

_PORTS = {"tls": 993, "starttls": 143, "none": 143}
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_LONGEST_LINE = 2**20
_CHUNK = 2**16
_OVERHEAD = 2**16
"""Bytes of an answer besides the mail that was asked for."""
_GOODBYE_SECONDS = 2.0
_MOST_UIDS = 10_000
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_WISH = timedelta(minutes=15)
_ODD = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What the standard library's reader of mails raises on malformed ones."""
_BUSY = re.compile(r"too many|\[(?:LIMIT|INUSE|UNAVAILABLE)\]|try again", re.IGNORECASE)


class OAuthOptions(BaseOptions):
    """A login without password: a token that the mail provider gives to a registered app."""

    token_url: str = Field(pattern=r"^https?://[^\s/?#]+\S*$")
    """Where tokens are given."""
    client_id: str = Field(min_length=1, max_length=200)
    """Id of the registered app."""
    client_secret: SecretStr
    """Its secret."""
    scope: str = Field(default="https://outlook.office365.com/.default", max_length=500)
    """What the token is for."""


class ImapOptions(BaseOptions):
    """Options of a source of kind ``imap``."""

    kind: Literal["imap"] = "imap"
    host: str = Field(pattern=r"^[A-Za-z0-9.:_-]{1,255}$")
    """Name of the IMAP server. Required."""
    port: int | None = Field(default=None, ge=1, le=65_535)
    """Its port. Default 993 with security "tls", else 143."""
    security: Literal["tls", "starttls", "none"] = "tls"
    """How the connection is encrypted; "none" is for a server on this machine only.
    Default "tls"."""
    ca_file: Path | None = None
    """Certificates (PEM) to trust instead of the system's. Default: the system's."""
    username: str = Field(pattern=r"^[^\x00-\x1f\x7f]{1,320}$")
    """Name to log in with, often the address. Required."""
    password: SecretStr | None = None
    """Password of the mailbox, or an app password. Also as `password_file`, or from the environment
    or a systemd credential. Default: none, then oauth must be there."""
    oauth: OAuthOptions | None = None
    """Instead of a password, as at Microsoft 365: { token_url, client_id, client_secret, scope }.
    Default: none."""
    folder: str = Field(default="INBOX", min_length=1, max_length=500)
    """Folder to read. Default "INBOX"."""
    move_to: str | None = Field(default=None, min_length=1, max_length=500)
    """Folder that mails are moved to once they are stored; it must exist. Default: none, nothing is
    moved, marked or deleted."""
    kind_of_mail: Literal["press", "report"] = "press"
    """"press": clippings, newsletters, alerts; "report": what colleagues report, whose names are
    not kept. Default "press"."""
    senders: tuple[str, ...] = ()
    """Addresses ("alerts@example.com") and domains ("@example.com") whose mails are read; others
    are set aside. Default: all."""
    platform: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9_-]{0,49}$")
    """What the posts count as. Default "news", or "report" for reports."""
    language: str | None = Field(default=None, pattern=r"^[a-z]{2,3}(-[a-z0-9]{2,8})*$")
    """Language of all mails, as "nl". Default: what each mail says."""
    backfill_hours: float = Field(default=24.0, ge=0, le=24 * 366)
    """Hours to look back when the folder is read for the first time. Default 24."""
    page_mails: int = Field(default=50, ge=1, le=500)
    """Mails that are stored together. Default 50."""
    max_bytes: int = Field(default=2**20, ge=1024, le=50 * 2**20)
    """Bytes that are read of each mail; behind them are mostly attachments. Default 1048576."""
    timeout_seconds: float = Field(default=30.0, gt=0, le=600)
    """Seconds that each answer of the server may take. Default 30."""

    @model_validator(mode="after")
    def _logs_in_safely(self) -> Self:
        if (self.password is None) == (self.oauth is None):
            raise ValueError("give either a password or oauth")
        secret = "" if self.password is None else self.password.get_secret_value()
        if not secret.isprintable():
            raise ValueError("the password holds characters that cannot be typed; copy it again")
        if self.security == "none" and self.host not in _LOOPBACK:
            raise ValueError(
                'security = "none" would send password and mails readable over the network; '
                'use "tls" or "starttls"'
            )
        if self.move_to is not None and self.move_to == self.folder:
            raise ValueError("move_to must be another folder than the one that is read")
        return self


class ImapConnector:
    """Reads one folder of one mailbox."""

    kind: ClassVar[str] = "imap"
    Options: ClassVar[type[BaseOptions]] = ImapOptions

    def __init__(self, options: ImapOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._where = f"imap://{options.host}:{options.port or _PORTS[options.security]}"
        reports = options.kind_of_mail == "report"
        self._reading = Reading(
            platform=options.platform or ("report" if reports else "news"),
            reports=reports,
            language=options.language,
        )

    def fetch(self, cursor: Cursor | None) -> Iterator[Page]:
        """Yield the mails that came since. See :class:`connectors.base.Connector`."""
        with self._explained(), self._open() as mailbox:
            state = _State.read(cursor, self._options.folder, mailbox.uid_validity)
            self._move(mailbox, state.taken)  # what a crash left between storing and moving
            now = self._context.now()
            back = (state.since or now) - timedelta(hours=self._options.backfill_hours)
            todo = mailbox.newer(state.uid, back)
            if not todo:
                uid = max(state.uid, mailbox.uid_next - 1)
                yield Page((), replace(state, uid=uid, since=now, taken=()).cursor())
            for start in range(0, len(todo), self._options.page_mails):
                uids = todo[start : start + self._options.page_mails]
                posts, rejects = self._posts(mailbox, uids, None if state.uid else back)
                taken = tuple(uids) if self._options.move_to is not None else ()
                state = replace(state, uid=uids[-1], since=now, taken=taken)
                yield Page(posts, state.cursor(), rejects)
                self._move(mailbox, taken)  # asked for more: the page is stored

    def close(self) -> None:
        """Each poll logs out by itself; nothing else is held."""

    # --- mails ---

    def _posts(
        self, mailbox: _Mailbox, uids: Sequence[int], earliest: datetime | None
    ) -> tuple[list[Post], list[Reject]]:
        posts: dict[str, Post] = {}
        rejects: list[Reject] = []
        for uid in uids:
            mail = mailbox.mail(uid, self._options.max_bytes)
            if mail is None:  # deleted by somebody while we read
                continue
            if earliest is not None and mail.received is not None and mail.received < earliest:
                continue  # the search knows days only
            where = f"{self._options.folder}, UID {uid}"
            if not self._is_expected(_sender(mail)):
                rejects.append(Reject("a mail from somebody who is not among senders", where))
                continue
            try:
                found = read_mail(mail, self._reading, self._context.now())
            except _ODD as error:  # a mail can be odd in every way; it must not stop the folder
                rejects.append(Reject(f"a mail that cannot be read: {type(error).__name__}", where))
                continue
            posts.update((post.id, post) for post in found)
            if not found:
                rejects.append(Reject(f"a mail without text in its first {mail.read} bytes", where))
        return list(posts.values()), rejects

    def _is_expected(self, sender: str) -> bool:
        address = sender.casefold()
        wanted = [one.casefold() for one in self._options.senders]
        return not wanted or any(
            address.endswith(one) if one.startswith("@") else address == one for one in wanted
        )

    def _move(self, mailbox: _Mailbox, uids: Sequence[int]) -> None:
        if self._options.move_to is not None and uids:
            mailbox.move_away(uids, self._options.move_to)

    # --- the connection ---

    @contextmanager
    def _open(self) -> Iterator[_Mailbox]:
        token = None if self._options.oauth is None else self._token(self._options.oauth)
        mailbox = _Mailbox(self._options)
        try:
            self._log_in(mailbox, token)
            mailbox.open_folder(self._options.folder, readonly=self._options.move_to is None)
            yield mailbox
        finally:
            mailbox.leave()

    def _log_in(self, mailbox: _Mailbox, token: str | None) -> None:
        options = self._options
        mailbox.limited.allow(options.timeout_seconds)
        try:
            if token is not None:
                mailbox.xoauth2(options.username, token, initial_folder=None)
                return
            password = "" if options.password is None else options.password.get_secret_value()
            plain = (options.username + password).isascii()
            log_in = mailbox.login if plain else mailbox.login_utf8
            log_in(options.username, password, initial_folder=None)
        except imaplib.IMAP4.abort:
            raise
        except (imaplib.IMAP4.error, ImapToolsError) as error:
            said = _said(error)
            if _BUSY.search(said):
                raise ConnectorError(
                    f"{self._where}: the server has no room for another login now ({said})",
                    fault=SourceFault.RATE_LIMITED,
                    retry_after=_WISH,
                ) from None
            raise ConnectorError(
                f"{self._where}: the server refuses the login of {options.username} ({said}); "
                "compare username and password; many providers want an app password here, and "
                "Microsoft 365 wants oauth",
                fault=SourceFault.UNAUTHORIZED,
                permanent=True,
            ) from None

    def _token(self, oauth: OAuthOptions) -> str:
        """Ask for a token of the app itself (client credentials)."""
        fields = {
            "grant_type": "client_credentials",
            "client_id": oauth.client_id,
            "client_secret": oauth.client_secret.get_secret_value(),
            "scope": oauth.scope,
        }
        fetched = post_limited(
            self._context.http,
            oauth.token_url,
            urlencode(fields).encode(),
            headers={
                "Content-Type": "application/x-www-form-urlencoded",
                "Accept": "application/json",
            },
            max_bytes=_OVERHEAD,
            total_seconds=self._options.timeout_seconds,
        )
        try:
            body = json.loads(fetched.body)
        except (ValueError, RecursionError):
            body = None
        body = body if isinstance(body, dict) else {}
        token = body.get("access_token")
        if fetched.status == 200 and isinstance(token, str) and token.isascii():  # noqa: PLR2004 - HTTP OK
            return token
        said = one_line(str(body.get("error", "no token in the answer")), 80)
        if fetched.status in {200, 400, 401}:
            raise ConnectorError(
                f"{redact_url(oauth.token_url)}: no token for the mailbox ({said}); compare "
                "client_id, client_secret, scope and the tenant in token_url",
                fault=SourceFault.UNAUTHORIZED,
                permanent=True,
            )
        raise status_error(fetched, now=self._context.now(), detail=said)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say in our own words what goes wrong between us and the server."""
        try:
            yield
        except ssl.SSLError as error:
            raise self._error(
                f"no encrypted connection ({one_line(str(error), 200)}); look at port, security "
                "and, for a private certificate, ca_file",
                SourceFault.UNREACHABLE,
            ) from error
        except TimeoutError as error:
            raise self._error("no answer in time", SourceFault.TIMEOUT) from error
        except _TooLargeError as error:
            raise self._error(str(error), SourceFault.TOO_LARGE) from error
        except OSError as error:
            raise self._error(
                f"cannot be reached ({one_line(str(error), 200)})", SourceFault.UNREACHABLE
            ) from error
        except (imaplib.IMAP4.error, ImapToolsError, OverflowError, ValueError) as error:
            raise self._error(
                f"the server answers in an unknown way ({_said(error)})", SourceFault.BAD_RESPONSE
            ) from error

    def _error(self, what: str, fault: SourceFault) -> ConnectorError:
        return ConnectorError(f"{self._where}: {what}", fault=fault)


def _sender(mail: Mail) -> str:
    """The address that a mail says to come from; "" where that cannot be read."""
    try:
        return mail.sender
    except _ODD:
        return ""


def _said(error: Exception) -> str:
    """The server's own words in an error of either library."""
    if isinstance(error, UnexpectedCommandStatusError):
        words = error.command_result[1] or [b""]
        last = words[-1]
        return one_line(last.decode(errors="replace") if isinstance(last, bytes) else "", 200)
    return one_line(str(error).removeprefix("b'").removesuffix("'"), 200)


# --- the cursor -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _State:
    """How far the folder was read."""

    folder: str
    validity: int
    """The server's mark for this numbering of mails: with another one UIDs mean nothing."""
    uid: int = 0
    since: datetime | None = None
    """When mails were last read, from where to begin if the numbering changes."""
    taken: tuple[int, ...] = ()
    """UIDs of the last page, which are moved once it is stored."""

    @classmethod
    def read(cls, cursor: Cursor | None, folder: str, validity: int) -> _State:
        known: Mapping[str, Any] = cursor or {}
        if known.get("folder") != folder:
            return cls(folder, validity)
        since = None if known["since"] is None else datetime.fromisoformat(known["since"])
        if known["validity"] != validity:
            return cls(folder, validity, since=since)
        return cls(folder, validity, known["uid"], since, tuple(known["taken"]))

    def cursor(self) -> Cursor:
        return {
            "folder": self.folder,
            "validity": self.validity,
            "uid": self.uid,
            "since": None if self.since is None else self.since.astimezone(UTC).isoformat(),
            "taken": list(self.taken),
        }


# --- the way to the server ------------------------------------------------------------------------


class _TooLargeError(Exception):
    """The server sends more than was asked for."""


class _LimitedClient(imaplib.IMAP4):
    """The standard library's client, with a deadline and a largest size for every answer.

    It overrides what ``imaplib`` means to be overridden, and what its own client for TLS overrides.
    """

    def __init__(self, options: ImapOptions, context: ssl.SSLContext) -> None:
        self._context = context
        self._tls = options.security == "tls"
        self._most = options.max_bytes + _OVERHEAD
        self._received = bytearray()
        self._source: socket.socket | None = None
        self._deadline = 0.0
        self.allow(options.timeout_seconds)
        port = options.port or _PORTS[options.security]
        super().__init__(options.host, port, options.timeout_seconds)
        if options.security == "starttls":
            try:
                self.starttls(context)
            except BaseException:
                with suppress(OSError):
                    self.shutdown()
                raise

    def allow(self, seconds: float) -> None:
        """Let the next answers take ``seconds`` in all."""
        self._deadline = time.monotonic() + seconds

    def _create_socket(self, timeout: float | None) -> socket.socket:
        plain = socket.create_connection((self.host, self.port), timeout)
        return self._context.wrap_socket(plain, server_hostname=self.host) if self._tls else plain

    def readline(self) -> bytes:
        while (end := self._received.find(b"\n") + 1) == 0:
            if len(self._received) > _LONGEST_LINE:
                raise _TooLargeError(f"a line of the answer is longer than {_LONGEST_LINE} bytes")
            if not self._receive():
                return b""
        return self._taken(end)

    def read(self, size: int) -> bytes:
        if size > self._most:
            raise _TooLargeError(f"the answer is larger than the {self._most} bytes asked for")
        while len(self._received) < size:
            if not self._receive():
                break
        return self._taken(size)

    def _receive(self) -> bool:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.sock.settimeout(left)
        self._source = self.sock
        chunk = self.sock.recv(_CHUNK)
        self._received += chunk
        return bool(chunk)

    def _taken(self, size: int) -> bytes:
        if self._source is not self.sock:  # slipped in before encryption began: by whom?
            raise self.error("the server spoke before encryption began")
        taken = bytes(self._received[:size])
        del self._received[:size]
        return taken


class _Mailbox(BaseMailBox):
    """The few things that are asked of a mailbox."""

    def __init__(self, options: ImapOptions) -> None:
        self._options = options
        super().__init__()

    def _get_mailbox_client(self) -> _LimitedClient:
        ca_file = self._options.ca_file
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
        self.limited = _LimitedClient(self._options, context)
        return self.limited

    def leave(self) -> None:
        """Log out if the server goes along, and close the connection."""
        self.limited.allow(min(self._options.timeout_seconds, _GOODBYE_SECONDS))
        try:
            self.logout()
        except (imaplib.IMAP4.error, ImapToolsError, OSError, _TooLargeError):
            with suppress(OSError):
                self.limited.shutdown()

    def open_folder(self, folder: str, *, readonly: bool) -> None:
        """Open ``folder``. Raises ConnectorError when it is not there."""
        self.limited.allow(self._options.timeout_seconds)
        try:
            self.folder.set(folder, readonly=readonly)
        except UnexpectedCommandStatusError as error:
            raise ConnectorError(
                f"imap://{self._options.host}: the folder {folder!r} cannot be opened "
                f"({_said(error)}); write its name as the mail program shows it, with the server's "
                'sign between levels, as "INBOX/Alerts" or "INBOX.Alerts"',
                fault=SourceFault.NOT_FOUND,
                permanent=True,
            ) from error

    @property
    def uid_validity(self) -> int:
        """The server's mark for the numbering of the open folder."""
        return self._told("UIDVALIDITY")

    @property
    def uid_next(self) -> int:
        """The UID that the next mail will get, as of opening; 0 if the server does not say."""
        return self._told("UIDNEXT")

    def _told(self, name: str) -> int:
        values = self.limited.untagged_responses.get(name) or [b"0"]
        last = values[-1]
        return int(last) if isinstance(last, bytes) else 0

    def newer(self, uid: int, since: datetime) -> list[int]:
        """UIDs above ``uid``, or if that is 0 of mails since (about) ``since``; in order."""
        self.limited.allow(self._options.timeout_seconds)
        day = (since - timedelta(days=1)).astimezone(UTC)
        criteria = (
            f"UID {uid + 1}:*" if uid else f"SINCE {day.day}-{_MONTHS[day.month - 1]}-{day.year}"
        )
        found = sorted({int(one) for one in self.uids(criteria, charset=None)})
        # "n:*" always finds the last mail, also below n.
        return [one for one in found if one > uid][:_MOST_UIDS]

    def mail(self, uid: int, most: int) -> Mail | None:
        """The first ``most`` bytes of a mail, without marking it as read; None: it is gone."""
        self.limited.allow(self._options.timeout_seconds)
        parts = f"(UID INTERNALDATE RFC822.SIZE BODY.PEEK[]<0.{most}>)"
        status, answer = self.limited.uid("FETCH", str(uid), parts)
        if status != "OK":
            raise self.limited.error(f"no mail with UID {uid}")
        bodies = [one for one in answer if isinstance(one, tuple)]
        if not bodies:
            return None
        told = b" ".join(one[0] if isinstance(one, tuple) else one for one in answer if one)
        moment = imaplib.Internaldate2tuple(told)
        return Mail(
            message=MailMessage(answer),
            received=None if moment is None else datetime.fromtimestamp(time.mktime(moment), UTC),
            read=len(bodies[0][1]),
        )

    def move_away(self, uids: Sequence[int], folder: str) -> None:
        """Move mails that are still there. Raises ConnectorError when that cannot be."""
        self.limited.allow(self._options.timeout_seconds)
        _, told = self.limited.capability()
        if b"MOVE" not in b" ".join(one for one in told if isinstance(one, bytes)).upper().split():
            # Copy and expunge would also delete what others marked in this folder.
            raise ConnectorError(
                f"imap://{self._options.host}: the server cannot move mails (no MOVE): leave out "
                "move_to",
                fault=SourceFault.BAD_REQUEST,
                permanent=True,
            )
        quoted = bytes(encode_folder(folder)).decode("ascii")
        status, answer = self.limited.uid("MOVE", ",".join(map(str, uids)), quoted)
        if status != "OK":
            said = one_line(
                b" ".join(one for one in answer if isinstance(one, bytes)).decode(errors="replace"),
                200,
            )
            raise ConnectorError(
                f"imap://{self._options.host}: mails cannot be moved to {folder!r} ({said}); make "
                "that folder, or correct move_to",
                fault=SourceFault.NOT_FOUND,
                permanent=True,
            )
