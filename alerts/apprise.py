"""The apprise channel: a message through any of the services that the library apprise knows.

A service is one address, which holds its credentials and is a secret as a whole. apprise says yes
or no; why not is read from its log. That log leads nowhere else: it would show addresses and texts.
Sending happens in a thread of its own, since no time limit holds in all of its plug-ins.
"""

from __future__ import annotations

import logging
import re
import threading
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import unquote

from pydantic import Field, SecretStr, field_validator

from alerts.base import Delivery, DeliveryError, DeliveryFault, Event, Message, Receipt, Severity
from alerts.notice import Notice, Style, dressed, notice
from alerts.plain import one_line
from alerts.posting import is_loopback
from connectors.options import Options as BaseOptions

if TYPE_CHECKING:
    from apprise import NotifyBase

_THREAD = "merkwacht-apprise"
_MISSING = "needs the library apprise: pip install 'merkwacht[apprise]'"
_LOADING = threading.Lock()
_PART_OF_THE_LIMIT = 0.8
"""Of the time limit is given to one read, so that a silent server ends before the limit does."""
_LONGEST_CONNECT = 10.0
_TITLE_FRAME = 16
"""Characters that a service without titles may put around the title, in front of the body."""
_SHOWN = 160
_TELLING = 3
"""A part of the address at least this long is taken out of what is shown."""

_NETWORK_ERROR = re.compile(r"[\w ]{0,40}Exception\b")
_WITH_ADDRESS = re.compile(r"with url: .*?(?= \(Caused|$)", re.DOTALL)
_HTTP_STATUS = re.compile(r"(?:\berror[=:]|\bcode[=:]|\bstatus[=:]|\bHTTP[ /:=]) *([1-5]\d\d)\b")
_SMTP_STATUS = re.compile(r"\(([245]\d\d), b|\brefused: ([245]\d\d) ")
_TIMED_OUT = re.compile(r"timed? ?out", re.IGNORECASE)
_UNTRUSTED = re.compile(r"certificate verify failed|CertificateError|SSLCertVerif", re.IGNORECASE)
_NO_TLS = re.compile(r"\bSSL|\bTLS|STARTTLS", re.IGNORECASE)
_NO_LOGIN = re.compile(r"authenticat|log ?in failed|unauthorized|invalid token", re.IGNORECASE)
_NO_WAY = re.compile(
    r"connection|socket exception|refused|unreachable|resolve|name or service", re.IGNORECASE
)
_SMTP_LOGIN = frozenset({"530", "534", "535", "538"})


class AppriseOptions(BaseOptions):
    """One service, by its apprise address."""

    kind: Literal["apprise"] = "apprise"
    url: SecretStr
    """Address of the service as apprise documents it, such as ``ntfys://token@ntfy.example/topic``."""
    format: Literal["auto", "text", "markdown"] = "auto"
    """What the message is written in; ``auto``: Markdown where the service shows it, else text."""
    timeout_seconds: float = Field(default=30, gt=0, le=60)
    """How long handing over may take in all."""

    @field_validator("url")
    @classmethod
    def _is_address(cls, value: SecretStr) -> SecretStr:
        if not re.fullmatch(
            r"[A-Za-z][A-Za-z0-9+.-]{0,30}://[\x21-\x7e]+", value.get_secret_value()
        ):
            raise ValueError(
                "is no apprise address; write it like ntfys://token@ntfy.example/topic, with "
                "characters outside ASCII and spaces as %20"
            )
        return value


class AppriseChannel:
    """Hands messages to one service.

    Args:
        options: its address.
    """

    kind: ClassVar[str] = "apprise"
    Options: ClassVar[type[BaseOptions]] = AppriseOptions

    def __init__(self, options: AppriseOptions) -> None:
        self._options = options
        self._service: NotifyBase | None = None
        self._running: threading.Thread | None = None
        self._lock = threading.Lock()

    @staticmethod
    def problem_with(to: Sequence[str]) -> str | None:
        """What is wrong with the addresses of a receiver, or None."""
        if to:
            return "an apprise channel has its addresses in its url; leave `to` away"
        return None if find_spec("apprise") else f"the channel {_MISSING}"

    def send(self, delivery: Delivery) -> Receipt:
        """Hand the message to the service and wait for its verdict. Raises DeliveryError."""
        if problem := self.problem_with(delivery.to):
            raise DeliveryError(problem, fault=DeliveryFault.REFUSED, permanent=True)
        # One at a time: a plug-in keeps to its service's rate by waiting, and has state of its own.
        with self._lock:
            service = self._ready()
            self._hand_over(service, delivery)
        return Receipt()

    def check(self) -> str:
        """See whether apprise understands the address. Raises DeliveryError.

        It has no way to try a service without sending; whether the service takes messages shows
        with the first one.
        """
        with self._lock:
            name = _name(self._ready())
        return f"{name} understands the url; whether the service takes a message shows with the first one"

    def close(self) -> None:
        """Let go of the service. An attempt that ran out of time may still hold its connection."""
        self._service = None

    def _ready(self) -> NotifyBase:
        if self._service is None:
            self._service = _instantiate(self._options)
        return self._service

    def _hand_over(self, service: NotifyBase, delivery: Delivery) -> None:
        if self._running is not None and self._running.is_alive():
            raise self._late(service, "is still busy with an earlier message")
        style, written = _written(service, self._options, delivery)
        attempt = _Attempt(service, style, written, delivery.message)
        _silence()
        thread = threading.Thread(target=attempt.run, name=_THREAD, daemon=True)
        thread.start()
        thread.join(self._options.timeout_seconds)
        if thread.is_alive():
            self._running = thread
            raise self._late(service, "did not take the message")
        if not attempt.taken:
            raise self._refusal(service, attempt, delivery.message)

    def _late(self, service: NotifyBase, what: str) -> DeliveryError:
        return DeliveryError(
            f"{_name(service)} {what} within {self._options.timeout_seconds:g} s",
            fault=DeliveryFault.TIMEOUT,
        )

    def _refusal(self, service: NotifyBase, attempt: _Attempt, message: Message) -> DeliveryError:
        fault, permanent, what = _verdict(attempt)
        said = attempt.heard.complaint(self._options.url.get_secret_value(), message)
        return DeliveryError(
            f"{_name(service)} {what}{': ' if said else ''}{said}",
            fault=fault,
            permanent=permanent,
        )


@dataclass
class _Heard:
    """What apprise logged during one call."""

    warned: list[str] = field(default_factory=list)
    """What it complained about."""
    errors: list[str] = field(default_factory=list)
    """That and the errors of the network, for finding out what went wrong; never shown.

    Not the rest: it holds what was sent, and a post shall not say what became of it.
    """

    def complaint(self, url: str, message: Message | None = None) -> str:
        """Its own words, without any part of the address and without post texts."""
        words = one_line("; ".join(self.warned), 2 * _SHOWN)
        if message is not None and any(each.text[:20] in words for each in message.samples):
            return ""
        for part in _parts(url):
            words = re.sub(re.escape(part), "…", words, flags=re.IGNORECASE)
        return one_line(words, _SHOWN)


@dataclass
class _Attempt:
    """One call of a service's plug-in, with what it logs meanwhile."""

    service: NotifyBase
    style: Style
    written: Notice
    message: Message
    taken: bool = False
    heard: _Heard = field(default_factory=_Heard)
    defect: str = ""

    def run(self) -> None:
        """Call it; whatever comes of it is in the other fields."""
        from apprise import NotifyFormat, OverflowMode  # noqa: PLC0415 - lazy

        _EAR.listen(self.heard)
        try:
            self.taken = bool(
                self.service.notify(
                    body=self.written.body,
                    title=self.written.title,
                    notify_type=_notify_type(self.message),
                    body_format=NotifyFormat(self.style.value),
                    overflow=OverflowMode.TRUNCATE,
                )
            )
        except Exception as error:  # noqa: BLE001 - the border of a library of many plug-ins
            # Its text and traceback may hold the address.
            self.defect = type(error).__name__


class _Ear(logging.Filter):
    """Hears what apprise logs, for whoever listens in that thread, and lets nothing of it out."""

    def __init__(self) -> None:
        super().__init__()
        self._listeners = threading.local()

    def listen(self, heard: _Heard | None) -> None:
        """Put down what is logged in this thread from now on; None: no more."""
        self._listeners.heard = heard

    def filter(self, record: logging.LogRecord) -> bool:
        heard: _Heard | None = getattr(self._listeners, "heard", None)
        if heard is not None:
            said = record.getMessage()
            if record.levelno >= logging.WARNING:
                heard.warned.append(said)
                heard.errors.append(said)
            elif _NETWORK_ERROR.match(said):
                # Some services get the message within the address, which requests tells along.
                heard.errors.append(_WITH_ADDRESS.sub("", said))
        return False


class _Discreet(logging.Filter):
    """Keeps what is logged in our threads by all that apprise uses from getting out."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.threadName != _THREAD


_EAR, _DISCREET = _Ear(), _Discreet()


def _silence() -> None:
    """See to it that nothing that an attempt logs reaches anybody but its ear."""
    log = logging.getLogger("apprise")
    log.setLevel(logging.DEBUG)
    log.addFilter(_EAR)
    # Below apprise there are libraries that log addresses, such as urllib3.
    for handler in logging.getLogger().handlers:
        handler.addFilter(_DISCREET)


def _instantiate(options: AppriseOptions) -> NotifyBase:
    """The plug-in for an address. Raises DeliveryError."""
    if find_spec("apprise") is None:
        raise DeliveryError(
            f"this channel {_MISSING}", fault=DeliveryFault.INTERNAL, permanent=True
        )
    _silence()
    url = options.url.get_secret_value()
    # It loads all of its plug-ins at once, and some of them what is deprecated.
    with _LOADING, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from apprise import Apprise, AppriseAsset  # noqa: PLC0415 - lazy

        asset = AppriseAsset(
            app_id="Merkwacht",
            app_desc="Merkwacht",
            storage_mode="memory",
            allow_templates=False,
            interpret_escapes=False,
            interpret_emojis=False,
            pgp_autogen=False,
            pem_autogen=False,
            http_redirects=False,
            default_service_retry=0,
        )
        heard = _Heard()
        _EAR.listen(heard)
        service = Apprise.instantiate(url, asset=asset)
        _EAR.listen(None)
    if service is None:
        scheme, said = one_line(url.partition("://")[0], 30), heard.complaint(url)
        raise DeliveryError(
            f"apprise does not understand the url, which begins with {scheme}://: compare it with"
            " apprise's page on that service, and see whether it needs a library that is missing"
            f"{' (' if said else ''}{said}{')' if said else ''}",
            fault=DeliveryFault.REFUSED,
            permanent=True,
        )
    _limit(service, options.timeout_seconds)
    return service


def unprotected(options: AppriseOptions) -> tuple[str, str] | None:
    """What is wrong with the way to a service, and its remedy; None where it is encrypted and verified.

    A service on this machine needs neither. None as well where the address is not understood: who
    sends says so.
    """
    try:
        service = _instantiate(options)
    except DeliveryError:
        return None
    host = str(getattr(service, "host", None) or "").strip("[]")
    if is_loopback(host):
        return None
    if not service.verify_certificate:
        return (
            f"{_name(service)}: whose certificate it shows is not looked at",
            "take verify=no out of the address",
        )
    # Services that have one way only name it as their encrypted one.
    named: Any = service.protocol
    plain = {named} if isinstance(named, str) else set(named or ())
    # Of some, the makers' own server is asked, encrypted, whatever the scheme.
    hosted = getattr(service, "mode", None) == "cloud"
    if host and not hosted and service.schema in plain and not service.secure:
        return (
            f"{_name(service)} is spoken to without encryption",
            "write the address with its encrypted scheme, such as jsons:// for json://",
        )
    return None


def _limit(service: NotifyBase, seconds: float) -> None:
    """Lengthen or shorten what a plug-in waits, unless the address says how long that is."""
    usual = type(service)
    patience = seconds * _PART_OF_THE_LIMIT
    if service.socket_read_timeout == usual.socket_read_timeout:
        service.socket_read_timeout = patience
    if service.socket_connect_timeout == usual.socket_connect_timeout:
        service.socket_connect_timeout = min(patience, _LONGEST_CONNECT)


def _written(
    service: NotifyBase, options: AppriseOptions, delivery: Delivery
) -> tuple[Style, Notice]:
    """The message, as much of it as the service takes, in a form that it shows well."""
    from apprise import NotifyFormat  # noqa: PLC0415 - lazy
    from apprise.conversion import convert_between  # noqa: PLC0415 - lazy

    style = Style.TEXT
    if options.format != "auto":
        style = Style(options.format)
    elif service.resolve_format(NotifyFormat.MARKDOWN) is not NotifyFormat.TEXT:
        style = Style.MARKDOWN
    source = NotifyFormat(style.value)
    target = service.resolve_format(source)
    convert: Callable[..., str] = convert_between
    # A service without titles gets it in front of the body, in the same format.
    titled = service.title_maxlen > 0

    def fits(form: Notice) -> bool:
        length = len(convert(source, target, form.body))
        lines = form.body.count("\n") + 1
        if not titled:
            length += len(convert(source, target, dressed(form.title, style))) + _TITLE_FRAME
            lines += 1
        most_lines = service.body_max_line_count or lines
        return length <= service.body_maxlen and lines <= most_lines

    form = notice(delivery.message, delivery.key, style, fits)
    title = form.title[: service.title_maxlen] if titled else dressed(form.title, style)
    return style, Notice(title, form.body)


def _notify_type(message: Message) -> Any:
    from apprise import NotifyType  # noqa: PLC0415 - lazy

    if message.event is Event.RESOLVED:
        return NotifyType.SUCCESS
    if message.severity >= Severity.HIGH:
        return NotifyType.FAILURE
    return NotifyType.WARNING if message.severity is Severity.MEDIUM else NotifyType.INFO


_Verdict = tuple[DeliveryFault, bool, str]


def _verdict(attempt: _Attempt) -> _Verdict:
    """What went wrong, from what the plug-in logged: by numbers first, then by kinds of error."""
    if attempt.defect:
        what = f"broke off ({attempt.defect}): a defect of its plug-in in apprise, or of its url"
        return DeliveryFault.INTERNAL, False, what
    errors = attempt.heard.errors
    if found := _last(_SMTP_STATUS, errors):
        return _of_smtp(found)
    if found := _last(_HTTP_STATUS, attempt.heard.warned):
        return _of_http(int(found))
    kinds: Iterable[tuple[re.Pattern[str], _Verdict]] = (
        (_TIMED_OUT, (DeliveryFault.TIMEOUT, False, "did not answer in time")),
        (_UNTRUSTED, (DeliveryFault.TLS, True, "has a certificate that is not to be trusted")),
        (_NO_TLS, (DeliveryFault.TLS, False, "allows no encrypted connection")),
        (_NO_LOGIN, (DeliveryFault.UNAUTHORIZED, True, "refused the login")),
        (_NO_WAY, (DeliveryFault.UNREACHABLE, False, "cannot be reached")),
    )
    for pattern, verdict in kinds:
        if any(pattern.search(each) for each in errors):
            return verdict
    return DeliveryFault.SERVER_ERROR, False, "did not take the message"


def _last(pattern: re.Pattern[str], errors: Sequence[str]) -> str:
    for said in reversed(errors):
        if found := pattern.search(said):
            return next(group for group in found.groups() if group)
    return ""


def _of_http(status: int) -> _Verdict:
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return DeliveryFault.UNAUTHORIZED, True, f"wants other credentials (HTTP {status})"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return DeliveryFault.RATE_LIMITED, False, f"asks to slow down (HTTP {status})"
    if status == HTTPStatus.REQUEST_TIMEOUT:
        return DeliveryFault.TIMEOUT, False, f"gave up waiting (HTTP {status})"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_EARLY:
        return DeliveryFault.SERVER_ERROR, False, f"has trouble of its own (HTTP {status})"
    return DeliveryFault.REFUSED, True, f"refused the message (HTTP {status})"


def _of_smtp(code: str) -> _Verdict:
    if code in _SMTP_LOGIN:
        return DeliveryFault.UNAUTHORIZED, True, f"refused the login (SMTP {code})"
    if code.startswith("5"):
        return DeliveryFault.REFUSED, True, f"refused the message (SMTP {code})"
    return DeliveryFault.SERVER_ERROR, False, f"wants it later (SMTP {code})"


def _parts(url: str) -> list[str]:
    """Everything that an address consists of, as written and decoded, longest first."""
    rest = url.partition("://")[2]
    pieces: set[str] = {rest}
    for text in (rest, unquote(rest)):
        pieces.update(re.split(r"[/:@?&=,;+#]+", text))
        pieces.update(re.split(r"[/@?&=,;#]+", text))
    return sorted((each for each in pieces if len(each) >= _TELLING), key=len, reverse=True)


def _name(service: NotifyBase) -> str:
    return f"{one_line(str(service.service_name), 60)} (apprise)"
