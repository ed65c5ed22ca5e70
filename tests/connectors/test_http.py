from __future__ import annotations

import gzip
import ipaddress
import logging
import time
import zlib
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.addresses import AddressPolicy, is_public
from connectors.base import ConnectorError, SourceFault
from connectors.http import (
    LONGEST_WISH,
    fetch_limited,
    guarded_client,
    parse_retry_after,
    redact_url,
    status_error,
    user_agent,
)
from tests.connectors.faultserver import FaultServer, Reply, Request, unused_port

NOW = datetime(2026, 11, 10, 12, 0, tzinfo=UTC)


def fault_of(client: httpx.Client, url: str, **limits: float) -> ConnectorError:
    with pytest.raises(ConnectorError) as caught:
        fetch_limited(client, url, **limits)  # type: ignore[arg-type] # limits of both kinds
    return caught.value


# --- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "10.1.2.3", "172.16.0.1", "192.168.1.1",
        "0.0.0.0",  # noqa: S104 - an address to refuse, not to bind
        "169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "224.0.0.1",
        "255.255.255.255", "198.18.0.1", "203.0.113.9", "240.0.0.1",
        "::", "::1", "fe80::1", "fe80::1%eth0", "fec0::1", "fd00:ec2::254", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "2002:7f00:1::", "64:ff9b::7f00:1",
        "64:ff9b:1::1", "2001:db8::1",
    ],
)  # fmt: skip
def test_private_and_reserved_addresses_are_refused_in_every_disguise(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))
    assert not AddressPolicy().allows("feed.example", ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "2a00:1450:400e::1", "::ffff:8.8.8.8"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))
    assert AddressPolicy().allows("feed.example", ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("entry", "host", "address", "allowed"),
    [
        ("127.0.0.1", "localhost", "127.0.0.1", True),
        ("127.0.0.1", "localhost", "127.0.0.2", False),
        ("10.0.0.0/8", "feeds.internal", "10.9.9.9", True),
        ("10.0.0.0/8", "feeds.internal", "::ffff:10.9.9.9", True),
        ("10.0.0.0/8", "feeds.internal", "192.168.0.1", False),
        ("fd00::/8", "feeds.internal", "fd12::1", True),
        ("Feeds.Internal.", "feeds.internal", "192.168.0.1", True),
        ("feeds.internal", "evil.feeds.internal", "192.168.0.1", False),
    ],
)
def test_the_operator_may_allow_a_name_an_address_or_a_network(
    entry: str, host: str, address: str, allowed: bool
) -> None:
    assert AddressPolicy([entry]).allows(host, ipaddress.ip_address(address)) is allowed


@pytest.mark.parametrize("entry", ["", "10.0.0.0/99", "http://intranet", "a b", "x@y"])
def test_a_malformed_entry_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match="no host name, address or network"):
        AddressPolicy([entry])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f.1", "2130706433", "[::1]"])
def test_loopback_is_refused_by_default_however_it_is_written(
    server: FaultServer, host: str
) -> None:
    with guarded_client() as client:
        error = fault_of(client, f"http://{host}:{server.port}/")
    assert error.fault is SourceFault.BLOCKED_ADDRESS
    assert error.permanent
    assert "allow_private_addresses" in str(error)
    assert not server.requests


def test_a_redirect_to_an_address_that_is_not_allowed_is_refused(
    server: FaultServer, client: httpx.Client
) -> None:
    server.answer = Reply(302, headers={"Location": f"http://127.0.0.2:{server.port}/latest"})
    error = fault_of(client, server.url)
    assert error.fault is SourceFault.BLOCKED_ADDRESS
    assert "127.0.0.2" in str(error)
    assert [request.path for request in server.requests] == ["/"]


def test_the_name_in_the_address_is_still_what_the_server_is_told(
    server: FaultServer, client: httpx.Client
) -> None:
    fetch_limited(client, f"http://localhost:{server.port}/")
    assert server.requests[0].headers["host"] == f"localhost:{server.port}"


# --- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        Reply(hang=True),
        Reply(raw=b"HTTP/1.1 200 OK\r\nX-Slow: ", drip=b"x"),
        Reply(drip=b"x"),
    ],
    ids=["silence", "header dripping", "body dripping"],
)
def test_the_whole_exchange_has_one_deadline(
    server: FaultServer, client: httpx.Client, reply: Reply
) -> None:
    server.answer = reply
    begun = time.monotonic()
    error = fault_of(client, server.url, total_seconds=0.3)
    assert error.fault is SourceFault.TIMEOUT
    assert time.monotonic() - begun < 3


def test_a_deadline_covers_all_redirects(server: FaultServer, client: httpx.Client) -> None:
    server.answer = lambda request: (
        Reply(hang=True) if request.path == "/slow" else Reply(302, headers={"Location": "/slow"})
    )
    assert fault_of(client, server.url, total_seconds=0.3).fault is SourceFault.TIMEOUT


def test_a_body_larger_than_allowed_is_not_read_to_its_end(
    server: FaultServer, client: httpx.Client
) -> None:
    server.answer = Reply(flood=b"x" * 65536)
    assert fault_of(client, server.url, max_bytes=100_000).fault is SourceFault.TOO_LARGE


def test_an_announced_size_is_believed_before_reading(
    server: FaultServer, client: httpx.Client
) -> None:
    server.answer = Reply(body=b"x", announce=10**12)
    assert fault_of(client, server.url).fault is SourceFault.TOO_LARGE


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compression_bomb_is_stopped_at_the_limit(
    server: FaultServer, client: httpx.Client, encoding: str
) -> None:
    zeros = b"\0" * 30_000_000
    bomb = gzip.compress(zeros) if encoding == "gzip" else zlib.compress(zeros)
    server.answer = Reply(body=bomb, headers={"Content-Encoding": encoding})
    assert fault_of(client, server.url, max_bytes=1_000_000).fault is SourceFault.TOO_LARGE


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(b"said " * 1000)),
        ("gzip", gzip.compress(b"said " * 400) + gzip.compress(b"said " * 600)),
        ("deflate", zlib.compress(b"said " * 1000)),
        ("deflate", zlib.compress(b"said " * 1000)[2:-4]),
        ("identity", b"said " * 1000),
    ],
    ids=["gzip", "two gzip members", "deflate", "bare deflate", "identity"],
)
def test_compressed_bodies_are_read(
    server: FaultServer, client: httpx.Client, encoding: str, body: bytes
) -> None:
    server.answer = Reply(body=body, headers={"Content-Encoding": encoding})
    assert fetch_limited(client, server.url, max_bytes=5000).body == b"said " * 1000


@pytest.mark.parametrize(
    ("encoding", "body"),
    [("gzip", b"not gzip at all"), ("gzip", gzip.compress(b"x" * 9999)[:-9]), ("br", b"x")],
    ids=["wrong", "cut off", "unknown"],
)
def test_a_body_that_does_not_decompress_is_a_bad_response(
    server: FaultServer, client: httpx.Client, encoding: str, body: bytes
) -> None:
    server.answer = Reply(body=body, headers={"Content-Encoding": encoding})
    assert fault_of(client, server.url).fault is SourceFault.BAD_RESPONSE


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b"half", announce=1000),
        Reply(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal"),
        Reply(raw=b"SSH-2.0-OpenSSH_9.2\r\n"),
        Reply(raw=b""),
        Reply(raw=b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000),
    ],
    ids=["short of its length", "chunk cut", "another protocol", "nothing", "endless header"],
)
def test_what_is_no_whole_http_answer_is_a_bad_response(
    server: FaultServer, client: httpx.Client, reply: Reply
) -> None:
    server.answer = reply
    assert fault_of(client, server.url).fault is SourceFault.BAD_RESPONSE


def test_a_closed_port_is_unreachable(client: httpx.Client) -> None:
    assert fault_of(client, f"http://127.0.0.1:{unused_port()}").fault is SourceFault.UNREACHABLE


def test_an_unknown_name_is_unreachable(client: httpx.Client) -> None:
    error = fault_of(client, "http://no-such-host.invalid/")
    assert error.fault is SourceFault.UNREACHABLE


def test_a_server_that_speaks_no_tls_is_unreachable_over_https(
    server: FaultServer, client: httpx.Client
) -> None:
    server.answer = Reply(raw=b"plain text")
    error = fault_of(client, f"https://127.0.0.1:{server.port}/", total_seconds=3)
    assert error.fault in {SourceFault.UNREACHABLE, SourceFault.TIMEOUT}


@pytest.mark.parametrize("url", ["ftp://example.org/", "file:///etc/passwd", "nonsense", "http://"])
def test_only_web_addresses_are_requested(client: httpx.Client, url: str) -> None:
    error = fault_of(client, url)
    assert error.fault is SourceFault.BAD_REQUEST
    assert error.permanent


# --- redirects, identity --------------------------------------------------------------------------


def test_redirects_are_followed_and_the_end_is_told(
    server: FaultServer, client: httpx.Client
) -> None:
    server.answer = lambda request: (
        Reply(body=b"here")
        if request.path == "/new/feed"
        else Reply(301, headers={"Location": "../new/feed"})
    )
    fetched = fetch_limited(client, f"{server.url}/old/feed")
    assert (fetched.body, fetched.url) == (b"here", f"{server.url}/new/feed")


def test_redirects_in_a_circle_end(server: FaultServer, client: httpx.Client) -> None:
    server.answer = Reply(302, headers={"Location": "/again"})
    assert fault_of(client, server.url).fault is SourceFault.TOO_MANY_REDIRECTS
    assert len(server.requests) == 6


@pytest.mark.parametrize("target", ["file:///etc/passwd", "gopher://127.0.0.1/", "http://[::"])
def test_a_redirect_out_of_the_web_is_a_bad_response(
    server: FaultServer, client: httpx.Client, target: str
) -> None:
    server.answer = Reply(302, headers={"Location": target})
    assert fault_of(client, server.url).fault is SourceFault.BAD_RESPONSE


def test_credentials_are_not_carried_to_another_host(client: httpx.Client) -> None:
    with FaultServer() as other:
        onward = Reply(302, headers={"Location": f"http://127.0.0.1:{other.port}/"})
        with FaultServer(onward) as first:
            address = f"http://reader:s3cret@127.0.0.1:{first.port}/"
            fetch_limited(client, address, headers={"X-Ask": "yes"})
            assert first.requests[0].headers["authorization"].startswith("Basic ")
            assert "authorization" not in other.requests[0].headers
            fetch_limited(client, first.url, headers={"Authorization": "Bearer s3cret"})
            assert "authorization" not in other.requests[1].headers


def test_no_cookie_comes_back(server: FaultServer, client: httpx.Client) -> None:
    server.answer = Reply(headers={"Set-Cookie": "id=1; Path=/"})
    fetch_limited(client, server.url)
    fetch_limited(client, server.url)
    assert "cookie" not in server.requests[1].headers


def test_we_say_who_we_are(server: FaultServer) -> None:
    with guarded_client(
        allow_private_addresses=True, contact="mailto:press@zonnehoek.example\r\nX: y"
    ) as client:
        fetch_limited(client, server.url)
    told = server.requests[0].headers["user-agent"]
    assert told.startswith("Merkwacht/")
    assert told.endswith("(+mailto:press@zonnehoek.example X: y)")
    assert user_agent() == told.split(" ")[0]


def test_no_proxy_is_taken_from_the_environment(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{unused_port()}")
    with guarded_client(allow_private_addresses=True) as client:
        assert fetch_limited(client, server.url).status == 200


# --- secrets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        Reply(500),
        Reply(404),
        Reply(hang=True),
        Reply(body=b"half", announce=99),
        Reply(302, headers={"Location": "/?token=s3cret"}),
        Reply(302, headers={"Location": "ftp://u:s3cret@x/"}),
    ],
    ids=["500", "404", "silence", "cut off", "circle", "bad redirect"],
)
def test_no_message_and_no_log_holds_a_secret_of_the_address(
    server: FaultServer, client: httpx.Client, reply: Reply, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.answer = reply
    url = f"http://u:s3cret@127.0.0.1:{server.port}/feed?token=s3cret#s3cret"
    with pytest.raises(ConnectorError) as caught:
        raise status_error(fetch_limited(client, url, total_seconds=0.5), now=NOW)
    assert "s3cret" not in str(caught.value) + caplog.text
    assert f"http://127.0.0.1:{server.port}/" in str(caught.value)


@given(
    st.text(alphabet="abcdefgh", min_size=4), st.text(alphabet="pqrstuvw", min_size=4), st.text()
)
def test_a_redacted_address_keeps_host_and_path_only(user: str, secret: str, path: str) -> None:
    shown = redact_url(f"https://{user}:{secret}@host.example/x?key={secret}#{secret}")
    assert shown == "https://host.example/x?…"
    assert redact_url(path).isprintable()


def test_a_malformed_address_is_not_shown_at_all() -> None:
    assert "s3cret" not in redact_url("http://[s3cret/")


# --- reading answers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("1.5", 1.5),
        (" 7 ", 7),
        ("9" * 400, LONGEST_WISH.total_seconds()),
        ("Tue, 10 Nov 2026 12:05:00 GMT", 300),
        ("Tue, 10 Nov 2026 11:00:00 GMT", 0),
        ("Tue, 10 Nov 2099 11:00:00 GMT", LONGEST_WISH.total_seconds()),
        ("-5", None),
        ("soon", None),
        ("²", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert parse_retry_after(value, NOW) == expected


@given(st.text())
def test_no_retry_after_is_too_odd(value: str) -> None:
    pause = parse_retry_after(value, NOW)
    assert pause is None or timedelta() <= pause <= LONGEST_WISH


def test_a_retry_date_counts_from_the_servers_own_clock(
    server: FaultServer, client: httpx.Client
) -> None:
    server.answer = Reply(
        503,
        headers={
            "Date": "Tue, 10 Nov 2020 12:00:00 GMT",
            "Retry-After": "Tue, 10 Nov 2020 12:02:00 GMT",
        },
    )
    error = status_error(fetch_limited(client, server.url), now=NOW)
    assert error.fault is SourceFault.SERVER_ERROR
    assert error.retry_after == timedelta(minutes=2)


@pytest.mark.parametrize(
    ("status", "fault", "permanent"),
    [
        (400, SourceFault.BAD_REQUEST, True),
        (401, SourceFault.UNAUTHORIZED, True),
        (402, SourceFault.PAYMENT_REQUIRED, True),
        (403, SourceFault.FORBIDDEN, True),
        (404, SourceFault.NOT_FOUND, False),
        (410, SourceFault.NOT_FOUND, True),
        (418, SourceFault.BAD_RESPONSE, False),
        (429, SourceFault.RATE_LIMITED, False),
        (500, SourceFault.SERVER_ERROR, False),
        (599, SourceFault.SERVER_ERROR, False),
    ],
)
def test_every_status_says_who_must_act(
    server: FaultServer, client: httpx.Client, status: int, fault: SourceFault, permanent: bool
) -> None:
    server.answer = Reply(status)
    error = status_error(fetch_limited(client, server.url), now=NOW)
    assert (error.fault, error.permanent) == (fault, permanent)
    assert str(status) in str(error)


def test_headers_and_parameters_reach_the_server(server: FaultServer, client: httpx.Client) -> None:
    fetch_limited(client, f"{server.url}/s?a=1", params={"q": "ë & x"}, headers={"X-One": "1"})
    request: Request = server.requests[0]
    assert (request.path, dict(request.query)) == ("/s", {"a": "1", "q": "ë & x"})
    assert request.headers["x-one"] == "1"
