"""One request to a web service on behalf of a channel, and what its failure means.

What ``alerts.webhook`` and ``alerts.alertmanager`` share: the guarded client of ``connectors.http``
(no redirects, a deadline for the whole exchange, TLS verified), credentials, and the table from HTTP
statuses to delivery faults. Each request has a connection of its own, and a renewed certificate
needs no restart.
"""

from __future__ import annotations

import base64
import re
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from pydantic import Field, SecretStr, field_validator, model_validator

from alerts.base import DeliveryError, DeliveryFault
from connectors.addresses import AddressPolicy
from connectors.http import (
    DEADLINE,
    BlockedAddressError,
    GuardedTransport,
    guarded_client,
    parse_retry_after,
    server_time,
)
from connectors.options import Options as BaseOptions

_CONNECT_SECONDS = 10.0
_OK = range(200, 300)
_REDIRECTS = range(300, 400)
_CLIENT_ERRORS = range(400, 500)


class PostingOptions(BaseOptions):
    """What every channel over HTTP can be told about login, trust and patience."""

    bearer_token: SecretStr | None = None
    """Sent as ``Authorization: Bearer …``."""
    username: str | None = None
    """Name for basic authentication, instead of a bearer token."""
    password: SecretStr | None = None
    """Password for basic authentication."""
    ca_file: Path | None = None
    """Certificates (PEM) to trust instead of the system's, for a server with a private one."""
    client_certificate_file: Path | None = None
    """Certificate (PEM) to show to a server that wants one (mutual TLS), with its chain."""
    client_key_file: Path | None = None
    """Key (PEM, not encrypted) of that certificate, where it is not in the same file."""
    timeout_seconds: float = Field(default=15, gt=0, le=60)
    """How long the whole exchange may take."""

    @field_validator("bearer_token")
    @classmethod
    def _is_one_word(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"[\x21-\x7e]+", value.get_secret_value()):
            raise ValueError("is one word of ASCII characters")
        return value

    @model_validator(mode="after")
    def _login_is_whole(self) -> PostingOptions:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password belong together: give both or neither")
        if self.username is not None and self.bearer_token is not None:
            raise ValueError("give either bearer_token or username and password, not both")
        if self.username is not None and ":" in self.username:
            raise ValueError("a username for basic authentication holds no colon")
        if self.client_key_file is not None and self.client_certificate_file is None:
            raise ValueError("client_key_file needs client_certificate_file")
        return self

    @property
    def has_credentials(self) -> bool:
        """Whether something is sent that must not be read on the way."""
        return self.bearer_token is not None or self.password is not None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: ``body`` is its beginning, as far as it was asked for."""

    status: int
    headers: httpx.Headers
    body: bytes = b""

    @property
    def ok(self) -> bool:
        """Whether the other side has taken it."""
        return self.status in _OK


class Web:
    """Makes single requests to web services for one channel.

    Args:
        options: login, trust and patience.
        private_hosts: names that may lead to private addresses.
        advice: what to do where an address is refused because it is private.
    """

    def __init__(
        self, options: PostingOptions, *, private_hosts: Sequence[str] = (), advice: str = ""
    ) -> None:
        self._options = options
        self._private_hosts = tuple(private_hosts)
        self._advice = advice
        self._kept: tuple[object, httpx.Client] | None = None

    def close(self) -> None:
        """Let go of the client; a later request makes a new one."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept[1].close()

    def ask(
        self,
        method: str,
        url: str,
        *,
        where: str,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        keep: int = 0,
    ) -> Answer:
        """Make one request and give the answer, whatever its status. Raises DeliveryError.

        Args:
            method: an HTTP method.
            url: where to; no redirect is followed.
            where: what errors call the other side.
            content: the body to send.
            headers: to add.
            keep: how many bytes of the answer's body to read at most. The verdict is in its status:
                a body that breaks off is kept as far as it came.
        """
        seconds = self._options.timeout_seconds
        sent = {"Accept-Encoding": "identity", **self._login(), **(headers or {})}
        with self._errors(where):
            client = self._client()
            request = client.build_request(
                method,
                url,
                content=content,
                headers=sent,
                timeout=httpx.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS)),
                extensions={DEADLINE: time.monotonic() + seconds},
            )
            response = client.send(request, stream=True)
            try:
                body = _beginning(response, keep)
            finally:
                response.close()
        return Answer(response.status_code, response.headers, body)

    def _login(self) -> dict[str, str]:
        options = self._options
        if options.bearer_token is not None:
            return {"Authorization": f"Bearer {options.bearer_token.get_secret_value()}"}
        if options.username is not None and options.password is not None:
            pair = f"{options.username}:{options.password.get_secret_value()}"
            return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        return {}

    def _client(self) -> httpx.Client:
        """The client, made anew when a certificate's file has changed."""
        stamp = tuple(_changed_at(file) for file in self._files())
        if self._kept is None or self._kept[0] != stamp:
            self._kept = stamp, self._new_client()
        return self._kept[1]

    def _new_client(self) -> httpx.Client:
        client = guarded_client(allow_private_addresses=self._private_hosts)
        context = self._trust()
        if context is None:
            return client
        with client:
            return httpx.Client(
                transport=GuardedTransport(AddressPolicy(self._private_hosts), context),
                headers=client.headers,
                cookies=client.cookies.jar,
                follow_redirects=False,
                trust_env=False,
            )

    def _files(self) -> list[Path]:
        options = self._options
        files = (options.ca_file, options.client_certificate_file, options.client_key_file)
        return [file for file in files if file is not None]

    def _trust(self) -> ssl.SSLContext | None:
        """Whom to trust and what to show, if that is not the usual; verification is never off."""
        options = self._options
        if not self._files():
            return None
        try:
            if options.ca_file is None:
                context = httpx.create_ssl_context()
            else:
                context = ssl.create_default_context(cafile=str(options.ca_file))
            if options.client_certificate_file is not None:
                # The empty password: an encrypted key shall fail and not ask on the terminal.
                context.load_cert_chain(
                    options.client_certificate_file, options.client_key_file, password=""
                )
        except OSError as error:
            named = ", ".join(str(file) for file in self._files())
            unread = isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError)
            raise DeliveryError(
                f"{named}: {error.strerror if unread else 'no certificate with its key in PEM'}",
                fault=DeliveryFault.TLS,
                permanent=True,
            ) from None
        return context

    @contextmanager
    def _errors(self, where: str) -> Iterator[None]:
        """Put whatever goes wrong on the way in terms of who must act."""
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            # No cause is chained: its message could hold the address.
            raise self._translate(where, error) from None

    def _translate(self, where: str, error: Exception) -> DeliveryError:
        causes = list(_chain(error))
        if any(isinstance(cause, BlockedAddressError) for cause in causes):
            return DeliveryError(
                f"{where} leads to a private address{self._advice}",
                fault=DeliveryFault.UNREACHABLE,
            )
        if tls := next((cause for cause in causes if isinstance(cause, ssl.SSLError)), None):
            return self._no_tls(where, tls)
        if isinstance(error, httpx.TimeoutException):
            return DeliveryError(
                f"{where} did not answer within {self._options.timeout_seconds:g} s",
                fault=DeliveryFault.TIMEOUT,
            )
        if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
            return DeliveryError(
                f"{where}: its address is no http or https address",
                fault=DeliveryFault.REFUSED,
                permanent=True,
            )
        reasons = (cause.strerror for cause in causes if isinstance(cause, OSError))
        reason = next((each for each in reasons if each), "it closed the connection")
        return DeliveryError(
            f"{where} cannot be reached: {reason}", fault=DeliveryFault.UNREACHABLE
        )

    def _no_tls(self, where: str, cause: ssl.SSLError) -> DeliveryError:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return DeliveryError(
                f"the certificate of {where} is not to be trusted: {cause.verify_message};"
                " set ca_file if it has a private certificate",
                fault=DeliveryFault.TLS,
                permanent=True,
            )
        return DeliveryError(
            f"no encrypted connection with {where}: {cause.reason}", fault=DeliveryFault.TLS
        )


def refusal(where: str, answer: Answer, *, detail: str = "", gone: str = "") -> DeliveryError:
    """What an answer that is no success means for the delivery.

    Args:
        where: what errors call the other side.
        answer: the answer.
        detail: the other side's own words; the caller sees to it that they hold no secret.
        gone: what to do where the other side says that it is gone for good.
    """
    fault, permanent, what = _meaning(answer.status, gone)
    wish = answer.headers.get("retry-after")
    return DeliveryError(
        f"{where} {what} (HTTP {answer.status}{': ' if detail else ''}{detail})",
        fault=fault,
        permanent=permanent,
        retry_after=parse_retry_after(wish, server_time(answer.headers, datetime.now(UTC))),
    )


_MEANINGS: Mapping[int, tuple[DeliveryFault, bool, str]] = {
    401: (DeliveryFault.UNAUTHORIZED, True, "wants other credentials"),
    403: (DeliveryFault.UNAUTHORIZED, True, "does not let us in: check credentials and rights"),
    404: (DeliveryFault.REFUSED, True, "knows nothing at this address: check it"),
    405: (DeliveryFault.REFUSED, True, "takes no POST at this address: check it"),
    407: (DeliveryFault.UNAUTHORIZED, True, "wants a login at a proxy"),
    408: (DeliveryFault.TIMEOUT, False, "gave up waiting"),
    413: (DeliveryFault.REFUSED, True, "finds the message too large"),
    425: (DeliveryFault.SERVER_ERROR, False, "wants it later"),
    429: (DeliveryFault.RATE_LIMITED, False, "asks to slow down"),
}


def _meaning(status: int, gone: str) -> tuple[DeliveryFault, bool, str]:
    if status in _MEANINGS:
        return _MEANINGS[status]
    if status == httpx.codes.GONE:
        return DeliveryFault.REFUSED, True, f"is gone for good{gone}"
    if status in _CLIENT_ERRORS:
        return DeliveryFault.REFUSED, True, "refused the message"
    if status in _REDIRECTS:
        return DeliveryFault.REFUSED, True, "leads elsewhere: configure where it leads to"
    return DeliveryFault.SERVER_ERROR, False, "has trouble of its own"


def web_address(url: str) -> str | None:
    """The host of an ``http`` or ``https`` address that can be posted to, or None.

    User name and password have options of their own, and a fragment is never sent.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
        # As the client will spell it: lower case, names outside ASCII encoded.
        host = httpx.URL(url).raw_host.decode("ascii")
    except (ValueError, httpx.InvalidURL):
        return None
    odd = not url.isprintable() or " " in url or "@" in parts.netloc or bool(parts.fragment)
    return None if odd or parts.scheme not in {"http", "https"} or not host else host


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name or address alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _changed_at(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0  # whoever reads it says what is wrong


def _beginning(response: httpx.Response, most: int) -> bytes:
    body = bytearray()
    if most:
        try:
            for chunk in response.iter_raw():
                body += chunk
                if len(body) >= most:
                    break
        except httpx.RequestError:
            pass  # the verdict is in: its status
    return bytes(body[:most])


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it, outermost first."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__
