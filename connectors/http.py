"""The one way out to the web for connectors: guarded, bounded in time and size, and polite.

:func:`guarded_client` builds the ``httpx.Client`` that the composition root hands to every
connector; :func:`fetch_limited` and :func:`post_limited` are how they use it. What is chosen here,
once for all:

* only ``http`` and ``https``; only addresses that :class:`~connectors.addresses.AddressPolicy`
  allows, checked on the very address that is connected to, so that a DNS answer that changes
  between check and use gains nothing; host name and TLS certificate are still those of the URL;
* one connection per request, a deadline for the whole exchange (a slow drip ends too);
* bodies capped while they stream, after decompression as well;
* redirects followed here, a few at most, each hop under the same rules;
* no cookies kept, no proxy and no ``.netrc`` taken from the environment: behind a proxy the daemon
  could not know whom it talks to. Own certificate authorities come through ``SSL_CERT_FILE``;
* addresses in messages lose user names, passwords and query strings.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import urlsplit

import httpcore
import httpx

from connectors.addresses import AddressPolicy
from connectors.base import ConnectorError, SourceFault

DEFAULT_MAX_BYTES = 10 * 2**20
DEFAULT_TOTAL_SECONDS = 30.0
MAX_REDIRECTS = 5
LONGEST_WISH = timedelta(hours=24)
"""A source may ask us to stay away for this long at most: beyond it we ask again."""

_CONNECT_SECONDS = 10.0
DEADLINE = "merkwacht_deadline"
"""Extension of a request: until when, by ``time.monotonic``, the whole exchange has to be over."""


Resolver = Callable[[str, int], Sequence[str]]
"""From a name and port to its addresses."""


class BlockedAddressError(httpx.ConnectError):
    """The name leads only to addresses that the configuration does not allow."""


# --- the client -----------------------------------------------------------------------------------


def guarded_client(
    *, allow_private_addresses: bool | Iterable[str] = False, contact: str | None = None
) -> httpx.Client:
    """Build the client that all connectors share. Safe to use from several threads.

    Args:
        allow_private_addresses: see :class:`~connectors.addresses.AddressPolicy`.
        contact: a mail or web address that site owners may write to, put into the User-Agent.

    Raises:
        ValueError: an entry of ``allow_private_addresses`` is malformed.
    """
    # Both libraries log whole addresses, with the tokens that some feeds carry in their query.
    for chatty in ("httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return httpx.Client(
        transport=GuardedTransport(AddressPolicy(allow_private_addresses)),
        headers={"User-Agent": user_agent(contact), "Accept-Encoding": "gzip, deflate"},
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
        timeout=httpx.Timeout(DEFAULT_TOTAL_SECONDS, connect=_CONNECT_SECONDS),
        follow_redirects=False,
        trust_env=False,
    )


def user_agent(contact: str | None = None) -> str:
    """Say who asks, and where its keeper can be reached when the operator tells us."""
    try:
        release = version("merkwacht")
    except PackageNotFoundError:  # run from a bare checkout
        release = "0"
    if not contact:
        return f"Merkwacht/{release}"
    reachable = contact.encode("ascii", "ignore").decode("ascii")
    return f"Merkwacht/{release} (+{' '.join(reachable.split())})"


class GuardedTransport(httpx.BaseTransport):
    """One connection for each request, so that no connection is shared between host names.

    Args:
        policy: which addresses may be connected to.
        context: whom to trust and what to show; None: the usual authorities.
        resolve: gives the addresses of a name and port; asked once for each connection. Raises
            OSError or UnicodeError.
    """

    def __init__(
        self,
        policy: AddressPolicy,
        context: ssl.SSLContext | None = None,
        *,
        resolve: Resolver | None = None,
    ) -> None:
        self._policy = policy
        self._resolve = resolve or _resolve
        self._ssl_context = context or httpx.create_ssl_context()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Make one request; ``DEADLINE`` among its extensions bounds the whole exchange."""
        deadline = request.extensions.get(DEADLINE, time.monotonic() + DEFAULT_TOTAL_SECONDS)
        pool = httpcore.ConnectionPool(
            ssl_context=self._ssl_context,
            max_connections=1,
            max_keepalive_connections=0,
            network_backend=_GuardedBackend(self._policy, self._resolve, deadline),
        )
        outgoing = httpcore.Request(
            method=request.method,
            url=httpcore.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            ),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        try:
            with _httpcore_errors_as_httpx():
                incoming = pool.handle_request(outgoing)
        except BaseException:
            pool.close()
            raise
        return httpx.Response(
            incoming.status,
            headers=incoming.headers,
            stream=_Body(incoming, pool),
            extensions=incoming.extensions,
        )


class _Body(httpx.SyncByteStream):
    """The body of a response; closing it closes the connection."""

    def __init__(self, response: httpcore.Response, pool: httpcore.ConnectionPool) -> None:
        self._response = response
        self._pool = pool

    def __iter__(self) -> Iterator[bytes]:
        with _httpcore_errors_as_httpx():
            yield from self._response.iter_stream()

    def close(self) -> None:
        with _httpcore_errors_as_httpx():
            self._response.close()
            self._pool.close()


class _GuardedBackend(httpcore.SyncBackend):
    """Resolves, checks, and connects to the checked address itself."""

    def __init__(self, policy: AddressPolicy, resolve: Resolver, deadline: float) -> None:
        self._policy = policy
        self._resolve = resolve
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        trouble: Exception | None = None
        for address in self._allowed(host, port):
            try:
                stream = super().connect_tcp(
                    address, port, _until(self._deadline, timeout), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                trouble = error  # the next address may answer: IPv6 is often announced, not routed
            else:
                return _DeadlineStream(stream, self._deadline)
        raise trouble or httpcore.ConnectError("the name has no address")

    def _allowed(self, host: str, port: int) -> list[str]:
        try:
            addresses = list(dict.fromkeys(self._resolve(host, port)))
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"the name does not resolve: {error}") from error
        allowed = [
            address
            for address in addresses
            if self._policy.allows(host, ipaddress.ip_address(address))
        ]
        if addresses and not allowed:
            raise BlockedAddressError(f"{host} leads to the private address {addresses[0]}")
        return allowed


def _resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class _DeadlineStream(httpcore.NetworkStream):
    """A stream on which no read or write waits beyond the deadline of the whole exchange."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _until(self._deadline, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _until(self._deadline, timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        stream = self._stream.start_tls(
            ssl_context, server_hostname, _until(self._deadline, timeout)
        )
        return _DeadlineStream(stream, self._deadline)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


def _until(deadline: float, timeout: float | None) -> float:
    """Seconds that one operation may take. Wall time on purpose: sockets know no other clock."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the whole exchange took too long")
    return left if timeout is None else min(left, timeout)


@contextmanager
def _httpcore_errors_as_httpx() -> Iterator[None]:
    """Raise what ``httpcore`` raises under the name that ``httpx`` gives it (they are the same)."""
    try:
        yield
    except (
        httpcore.TimeoutException,
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.UnsupportedProtocol,
    ) as error:
        raise getattr(httpx, type(error).__name__)(str(error)) from error


# --- fetching -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fetched:
    """A whole answer of any status: ``body`` is decompressed, ``url`` is where redirects ended."""

    status: int
    headers: httpx.Headers
    body: bytes
    url: str


def fetch_limited(
    client: httpx.Client,
    url: str,
    *,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    max_bytes: int = DEFAULT_MAX_BYTES,
    total_seconds: float = DEFAULT_TOTAL_SECONDS,
    max_redirects: int = MAX_REDIRECTS,
) -> Fetched:
    """GET ``url`` through ``client`` and read the whole answer within the limits.

    Args:
        client: from :func:`guarded_client`.
        url: may hold a user name and password: they are sent as basic authentication to that host
            only, and never shown.
        params: query parameters to add to those of ``url``.
        headers: to add; ``Authorization`` does not survive a redirect to another host.
        max_bytes: of the body after decompression.
        total_seconds: for everything, redirects included.
        max_redirects: how many hops are followed.

    Raises:
        ConnectorError: nothing came back within the limits. Answers of any status are returned:
            see :func:`raise_for_status`.
    """
    deadline = time.monotonic() + total_seconds
    extra = dict(headers or {})
    target = _parse_url(url, url)
    if params:
        target = target.copy_merge_params(dict(params))
    for _ in range(max_redirects + 1):
        fetched = _fetch_once(client, target, extra, max_bytes, deadline)
        location = fetched.headers.get("location")
        if fetched.status not in {301, 302, 303, 307, 308} or location is None:
            return fetched
        onward = _parse_url(location, url, base=target)
        if not _same_origin(onward, target):
            extra = {
                name: value for name, value in extra.items() if name.lower() != "authorization"
            }
        target = onward
    raise ConnectorError(
        f"{redact_url(url)}: more than {max_redirects} redirects; "
        f"the last one leads to {redact_url(str(target))}",
        fault=SourceFault.TOO_MANY_REDIRECTS,
    )


def post_limited(
    client: httpx.Client,
    url: str,
    content: bytes,
    *,
    headers: Mapping[str, str] | None = None,
    max_bytes: int = DEFAULT_MAX_BYTES,
    total_seconds: float = DEFAULT_TOTAL_SECONDS,
) -> Fetched:
    """POST ``content`` to ``url`` through ``client`` and read the whole answer within the limits.

    A redirect is returned like any other answer, never followed: what is sent goes to nobody else.

    Args:
        client: from :func:`guarded_client`.
        url: where to.
        content: the body.
        headers: to add.
        max_bytes: of the answer's body after decompression.
        total_seconds: for everything.

    Raises:
        ConnectorError: nothing came back within the limits.
    """
    deadline = time.monotonic() + total_seconds
    target = _parse_url(url, url)
    return _fetch_once(client, target, dict(headers or {}), max_bytes, deadline, content=content)


class Upgraded:
    """A connection that no longer speaks HTTP, under the rules of the exchange that it began with."""

    def __init__(self, stream: httpcore.NetworkStream, headers: httpx.Headers, where: str) -> None:
        self._stream = stream
        self._where = where
        self.headers = headers
        """Of the answer that agreed to it."""

    def read(self, seconds: float, *, most: int = 65_536) -> bytes | None:
        """Give what arrives; None when nothing did for so many seconds, b"" when it was closed.

        Raises ConnectorError when the connection broke.
        """
        try:
            return self._stream.read(most, max(seconds, 0.001))
        except httpcore.ReadTimeout:
            return None
        except httpcore.NetworkError as error:
            raise self._broken(error) from error

    def write(self, data: bytes, seconds: float) -> None:
        """Send all of ``data``. Raises ConnectorError when that takes longer or the connection broke."""
        try:
            self._stream.write(data, seconds)
        except (httpcore.NetworkError, httpcore.TimeoutException) as error:
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> ConnectorError:
        return ConnectorError(
            f"{self._where}: the connection broke ({error})", fault=SourceFault.UNREACHABLE
        )


@contextmanager
def upgraded(
    client: httpx.Client,
    url: str,
    headers: Mapping[str, str],
    *,
    now: datetime,
    answer_seconds: float,
    total_seconds: float,
    max_bytes: int = DEFAULT_MAX_BYTES,
    remedy: str = "",
) -> Iterator[Upgraded]:
    """Ask ``url`` through ``client`` to speak another protocol, and give the connection.

    Args:
        client: from :func:`guarded_client`.
        url: http or https.
        headers: what the other protocol wants to be asked with.
        now: see :func:`status_error`.
        answer_seconds: until the server answers.
        total_seconds: for everything, what is read from the connection included.
        max_bytes: of an answer that is a refusal.
        remedy: what the operator can do about one.

    Raises:
        ConnectorError: it refuses, redirects, or nothing came back in time.
    """
    target = _parse_url(url, url)
    where = redact_url(str(target))
    answer_seconds = min(answer_seconds, total_seconds)
    request = client.build_request(
        "GET",
        target,
        headers=headers,
        timeout=httpx.Timeout(answer_seconds, connect=min(answer_seconds, _CONNECT_SECONDS)),
        extensions={DEADLINE: time.monotonic() + total_seconds},
    )
    try:
        response = client.send(request, stream=True)
    except (httpx.RequestError, httpx.InvalidURL) as error:
        raise _connector_error(error, where) from error
    try:
        stream = response.extensions.get("network_stream")
        if response.status_code != 101 or stream is None:  # noqa: PLR2004 - switching protocols
            raise _no_upgrade(response, max_bytes, now, where, remedy)
        yield Upgraded(stream, response.headers, where)
    finally:
        response.close()


def _no_upgrade(
    response: httpx.Response, max_bytes: int, now: datetime, where: str, remedy: str
) -> ConnectorError:
    """Why there is no connection: read whole, since a refusal may be as hostile as any answer."""
    if response.is_redirect:
        return ConnectorError(
            f"{where}: redirects, which is not followed here: give the address that it leads to",
            fault=SourceFault.TOO_MANY_REDIRECTS,
        )
    try:
        body = _read(response, max_bytes, where)
    except ConnectorError as error:
        return error
    except httpx.RequestError as error:
        return _connector_error(error, where)
    return status_error(
        Fetched(response.status_code, response.headers, body, str(response.url)),
        now=now,
        detail=remedy,
    )


def _parse_url(text: str, origin: str, base: httpx.URL | None = None) -> httpx.URL:
    """Parse an address, or the target of a redirect from ``base``.

    A password is sent to the host that the configuration names, never onward to another one.
    """
    try:
        url = httpx.URL(text) if base is None else base.join(text)
        if base is not None and not _same_origin(url, base):
            url = url.copy_with(userinfo=b"")
    except (httpx.InvalidURL, ValueError):
        url = httpx.URL("")
    if url.scheme in {"http", "https"} and url.host:
        return url
    if base is None:
        raise ConnectorError(
            f"{redact_url(text)} is no http or https address: correct it in the configuration",
            fault=SourceFault.BAD_REQUEST,
            permanent=True,
        )
    raise ConnectorError(
        f"{redact_url(origin)}: redirects to something that is no http or https address",
        fault=SourceFault.BAD_RESPONSE,
    )


def _same_origin(one: httpx.URL, other: httpx.URL) -> bool:
    return (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port)


def _fetch_once(
    client: httpx.Client,
    url: httpx.URL,
    headers: Mapping[str, str],
    max_bytes: int,
    deadline: float,
    *,
    content: bytes | None = None,
) -> Fetched:
    """GET, or POST where there is something to send."""
    where = redact_url(str(url))
    seconds = max(deadline - time.monotonic(), 0.001)
    timeout = httpx.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS))
    try:
        with client.stream(
            "GET" if content is None else "POST",
            url,
            content=content,
            headers=headers,
            timeout=timeout,
            extensions={DEADLINE: deadline},
        ) as response:
            body = _read(response, max_bytes, where)
            return Fetched(response.status_code, response.headers, body, str(url))
    except (httpx.RequestError, httpx.InvalidURL) as error:
        raise _connector_error(error, where) from error


def _read(response: httpx.Response, max_bytes: int, where: str) -> bytes:
    too_large = ConnectorError(
        f"{where}: the answer is larger than {max_bytes} bytes", fault=SourceFault.TOO_LARGE
    )
    announced = response.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > max_bytes:
        raise too_large
    encoding = response.headers.get("content-encoding", "").strip().lower()
    inflate = _Inflate(encoding, where)
    body = bytearray()
    for chunk in response.iter_raw():
        body += inflate.feed(chunk, room=max_bytes - len(body))
        if len(body) > max_bytes:
            raise too_large
    if body or response.status_code not in {204, 304}:
        inflate.finish()
    return bytes(body)


class _Inflate:
    """Undoes ``Content-Encoding`` without ever making more than the caller has room for.

    The decoders of ``httpx`` unpack a whole chunk at once: a thousandfold for gzip.
    """

    def __init__(self, encoding: str, where: str) -> None:
        self._where = where
        self._raw = False
        self._seen = False
        self._unzip: zlib._Decompress | None = None
        if encoding in {"gzip", "x-gzip", "deflate"}:
            # 32 + …: gzip or zlib, by the header that the data starts with.
            self._unzip = zlib.decompressobj(32 + zlib.MAX_WBITS)
            self._raw = encoding == "deflate"
        elif encoding not in {"", "identity"}:
            raise self._bad(f"is compressed as {encoding[:40]!r}, which we did not ask for")

    def feed(self, chunk: bytes, *, room: int) -> bytes:
        """Decode ``chunk``; at most ``room + 1`` bytes come out."""
        out = bytearray()
        while self._unzip is not None and chunk and len(out) <= room:
            out += self._step(self._unzip, chunk, room + 1 - len(out))
            if not self._unzip.eof:
                return bytes(out)
            chunk = self._unzip.unused_data
            if chunk:  # a further gzip member
                self._unzip = zlib.decompressobj(32 + zlib.MAX_WBITS)
        return chunk if self._unzip is None else bytes(out)

    def _step(self, unzip: zlib._Decompress, chunk: bytes, most: int) -> bytes:
        first, self._seen = not self._seen, True
        try:
            return unzip.decompress(chunk, most)
        except zlib.error as error:
            if not (first and self._raw):
                raise self._bad("is not validly compressed") from error
        # Some servers send bare deflate, without the zlib header that the standard wants.
        self._unzip = zlib.decompressobj(-zlib.MAX_WBITS)
        return self._step(self._unzip, chunk, most)

    def finish(self) -> None:
        """Raise if the data ended in the middle."""
        if self._unzip is not None and self._seen and not self._unzip.eof:
            raise self._bad("is cut off")

    def _bad(self, what: str) -> ConnectorError:
        return ConnectorError(f"{self._where}: the answer {what}", fault=SourceFault.BAD_RESPONSE)


def _connector_error(error: Exception, where: str) -> ConnectorError:
    """Say in our own terms what went wrong between us and the server."""
    if isinstance(error, BlockedAddressError):
        return ConnectorError(
            f"{where}: {error}; if that is meant, list it under allow_private_addresses",
            fault=SourceFault.BLOCKED_ADDRESS,
            permanent=True,
        )
    if isinstance(error, httpx.TimeoutException):
        return ConnectorError(f"{where}: no answer in time", fault=SourceFault.TIMEOUT)
    if isinstance(error, httpx.RemoteProtocolError | httpx.DecodingError):
        return ConnectorError(
            f"{where}: the answer is cut off or no HTTP ({error})", fault=SourceFault.BAD_RESPONSE
        )
    if isinstance(error, httpx.NetworkError | httpx.ProxyError):
        return ConnectorError(
            f"{where}: cannot be reached ({error})", fault=SourceFault.UNREACHABLE
        )
    return ConnectorError(
        f"{where}: cannot be requested ({type(error).__name__}): correct the address",
        fault=SourceFault.BAD_REQUEST,
        permanent=True,
    )


# --- reading answers ------------------------------------------------------------------------------

_ADVICE: Mapping[int, tuple[SourceFault, bool, str]] = {
    400: (SourceFault.BAD_REQUEST, True, "refused the request as malformed"),
    401: (SourceFault.UNAUTHORIZED, True, "wants other credentials"),
    402: (SourceFault.PAYMENT_REQUIRED, True, "wants to be paid"),
    403: (SourceFault.FORBIDDEN, True, "does not let us in"),
    404: (SourceFault.NOT_FOUND, False, "knows nothing at this address"),
    408: (SourceFault.TIMEOUT, False, "gave up waiting"),
    410: (SourceFault.NOT_FOUND, True, "says this is gone for good: remove the source"),
    429: (SourceFault.RATE_LIMITED, False, "asks us to slow down"),
    451: (SourceFault.FORBIDDEN, True, "withholds this for legal reasons"),
}


def status_error(fetched: Fetched, *, now: datetime, detail: str = "") -> ConnectorError:
    """Turn an answer that is no success into the error that says who must act.

    Args:
        fetched: the answer.
        now: used for a Retry-After date when the answer bears no date of its own.
        detail: the server's own words, appended; the caller sees to it that they hold no secret.
    """
    if fetched.status in _ADVICE:
        fault, permanent, what = _ADVICE[fetched.status]
    elif fetched.status >= 500:  # noqa: PLR2004 - an HTTP status class
        fault, permanent, what = SourceFault.SERVER_ERROR, False, "has trouble of its own"
    else:
        fault, permanent, what = SourceFault.BAD_RESPONSE, False, "gave an unexpected answer"
    message = f"{redact_url(fetched.url)}: the server {what} (HTTP {fetched.status})"
    return ConnectorError(
        f"{message}: {detail}" if detail else message,
        fault=fault,
        permanent=permanent,
        retry_after=parse_retry_after(
            fetched.headers.get("retry-after"), server_time(fetched.headers, now)
        ),
    )


def server_time(headers: httpx.Headers, now: datetime) -> datetime:
    """Give the moment by the server's clock, else ours: what its absolute times are relative to."""
    return parse_http_date(headers.get("date")) or now


def parse_http_date(value: str | None) -> datetime | None:
    """Read an HTTP date; None for anything else."""
    try:
        moment = parsedate_to_datetime(value or "")
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def parse_retry_after(value: str | None, reference: datetime) -> timedelta | None:
    """Read a Retry-After header: seconds or a date, at least zero and at most ``LONGEST_WISH``.

    Args:
        value: the header, or None.
        reference: what a date is relative to.
    """
    text = (value or "").strip()
    if text.isascii() and text.replace(".", "", 1).isdigit():
        return timedelta(seconds=min(float(text[:20]), LONGEST_WISH.total_seconds()))
    moment = parse_http_date(text)
    return None if moment is None else bounded_wish(moment - reference)


def bounded_wish(pause: timedelta) -> timedelta:
    """Keep a source's wish for a pause between nothing and ``LONGEST_WISH``."""
    return max(timedelta(), min(pause, LONGEST_WISH))


def redact_url(url: str) -> str:
    """Give ``url`` for people's eyes: without user name, password, query and fragment."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(malformed address)"
    host = f"[{host}]" if ":" in host else host
    query = "?…" if parts.query else ""
    shown = f"{parts.scheme}://{host}{port}{parts.path}{query}"
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in shown)[
        :500
    ]
