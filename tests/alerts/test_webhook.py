"""The webhook channel against a real HTTP server."""

import base64
import hashlib
import hmac
import json
import logging
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from alerts.base import DeliveryError, DeliveryFault, Event, SignalKind
from alerts.webhook import WebhookChannel, WebhookOptions, body_of, payload_of
from connectors.options import SECRET_PLACES, SecretPlaces
from connectors.standardwebhooks import sign
from tests.alerts.hostile import HOSTILE, STEERING, hostile_message
from tests.alerts.make import NOON, chart, delivery, message
from tests.alerts.webserver import Reply, Site, trust_only, web_server

DOCS = Path(__file__).resolve().parents[2] / "docs" / "alerts.md"
NEW = b"geheim-new-key-of-32-bytes-long!"
OLD = b"geheim-old-key-of-32-bytes-long!"


def key(raw: bytes) -> str:
    return f"whsec_{base64.b64encode(raw).decode()}"


@pytest.fixture(autouse=True)
def _few_authorities(tmp_path_factory, monkeypatch):
    trust_only(tmp_path_factory.getbasetemp(), monkeypatch)


@pytest.fixture
def site() -> Iterator[Site]:
    with web_server() as served:
        yield served


def table(url: str, **options: object) -> dict[str, object]:
    return {
        "url": f"{url}/hooks/geheim",
        "secret": key(NEW),
        "allow_private_address": True,
        "timeout_seconds": 5,
        **options,
    }


def webhook(url: str, **options: object) -> WebhookChannel:
    return WebhookChannel(WebhookOptions.model_validate(table(url, **options)), now=lambda: NOON)


def failure(channel: WebhookChannel, **options: object) -> DeliveryError:
    with pytest.raises(DeliveryError) as failed:
        channel.send(delivery(to=(), **options))
    assert "geheim" not in str(failed.value)
    assert failed.value.__cause__ is None, "whose text could hold the address"
    return failed.value


def verify(request, raw: bytes) -> bool:
    """As the specification of Standard Webhooks says, written anew."""
    signed = (
        f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode()
        + request.body
    )
    right = base64.b64encode(hmac.new(raw, signed, hashlib.sha256).digest()).decode()
    return f"v1,{right}" in request.headers["webhook-signature"].split(" ")


# -- what is sent ----------------------------------------------------------------------------------


def test_a_message_is_posted_signed(site):
    webhook(site.url).send(delivery(to=(), key="mw-12-opened-abc"))

    (request,) = site.requests
    assert (request.method, request.path) == ("POST", "/hooks/geheim")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == request.json()["key"] == "mw-12-opened-abc"
    assert request.headers["webhook-timestamp"] == str(int(NOON.timestamp()))
    assert verify(request, NEW)
    assert not verify(request, OLD)


def test_the_signature_is_that_of_the_specifications_libraries():
    # The vector of Svix's and Standard Webhooks' own tests.
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    signed = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body)
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_while_keys_are_exchanged_both_are_good(site):
    webhook(site.url, previous_secret=key(OLD)).send(delivery(to=()))

    (request,) = site.requests
    assert verify(request, NEW)
    assert verify(request, OLD)
    assert len(request.headers["webhook-signature"].split(" ")) == 2


def test_a_repeat_is_the_same_but_for_the_moment_it_is_signed(site):
    moments = iter([NOON, NOON + timedelta(minutes=8)])
    options = WebhookOptions.model_validate(table(site.url))
    channel = WebhookChannel(options, now=lambda: next(moments))
    site.replies = [Reply(503)]
    failure(channel)
    channel.send(delivery(to=()))

    first, second = site.requests
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]
    assert verify(second, NEW)


def test_a_key_with_a_dot_cannot_shift_what_is_signed(site):
    webhook(site.url).send(delivery(to=(), key="mw.12\r\nX: 1"))

    (request,) = site.requests
    assert re.fullmatch(r"mw-[0-9a-f]{32}", request.headers["webhook-id"])
    assert request.json()["key"] == "mw.12 X: 1"


def test_the_receivers_own_headers_go_along(site):
    headers = [{"name": "X-Api-Key", "value": "k-1"}, {"name": "X-Queue", "value": "pers"}]
    webhook(site.url, headers=headers, bearer_token="t-1").send(delivery(to=()))
    webhook(site.url, username="merk", password="wacht").send(delivery(to=()))

    first, second = site.requests
    assert (first.headers["x-api-key"], first.headers["x-queue"]) == ("k-1", "pers")
    assert first.headers["authorization"] == "Bearer t-1"
    assert second.headers["authorization"] == "Basic bWVyazp3YWNodA=="


def test_a_spike_brings_its_numbers():
    spike = replace(message(SignalKind.VOLUME_SPIKE), chart=chart([1.0, None, 7.0]))

    drawn = payload_of(delivery(spike, to=()))["data"]["chart"]

    assert drawn == {
        "start": "2026-11-13T10:30:00Z",
        "step_seconds": 1800,
        "observed": [1.0, None, 7.0],
        "expected": [3.5, 3.5, 3.5],
        "upper": [9.0, 9.0, 9.0],
        "rang_at": "2026-11-13T11:00:00Z",
    }


@pytest.mark.parametrize("kind", list(SignalKind))
@pytest.mark.parametrize("event", list(Event))
def test_every_message_has_the_same_fields_and_is_small(kind, event):
    sent = replace(message(kind, event), chart=chart())
    usual = payload_of(delivery(to=()))

    payload = payload_of(delivery(sent, to=()))

    assert payload["type"] == f"incident.{event.value}"
    assert payload.keys() == usual.keys()
    assert payload["data"].keys() == usual["data"].keys()
    assert len(body_of(delivery(sent, to=()))) < 20_000


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_text_stays_a_text(site, text):
    webhook(site.url).send(delivery(hostile_message(text), to=(), key=f"k {text}"))

    (request,) = site.requests
    assert request.body.isascii()
    assert not set(request.body) & set(b"<>&")
    payload = request.json()
    assert payload["data"]["severity"] == "critical"
    assert payload["data"].keys() == payload_of(delivery(to=()))["data"].keys()
    assert not set(json.dumps(payload, ensure_ascii=False)) & set(STEERING)
    assert "x-evil" not in request.headers
    assert "bcc" not in request.headers
    for line in (payload["key"], payload["data"]["title"], payload["data"]["brand"]):
        assert "\n" not in line
    assert verify(request, NEW)


# -- what can go wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "fault", "permanent"),
    [
        (301, "refused", True),
        (302, "refused", True),
        (307, "refused", True),
        (400, "refused", True),
        (401, "unauthorized", True),
        (403, "unauthorized", True),
        (404, "refused", True),
        (405, "refused", True),
        (408, "timeout", False),
        (410, "refused", True),
        (413, "refused", True),
        (422, "refused", True),
        (425, "server_error", False),
        (429, "rate_limited", False),
        (500, "server_error", False),
        (502, "server_error", False),
        (503, "server_error", False),
    ],
)
def test_a_status_says_whether_trying_again_helps(site, status, fault, permanent):
    site.usual = Reply(status, b"you sent geheim", {"Location": "https://evil.example/geheim"})

    error = failure(webhook(site.url))

    assert (error.fault.value, error.permanent) == (fault, permanent)
    assert str(status) in str(error)
    assert len(site.requests) == 1, "neither repeated nor redirected here"


def test_gone_for_good_says_what_to_do(site):
    site.usual = Reply(410)
    assert "take the channel out or configure its new url" in str(failure(webhook(site.url)))


@pytest.mark.parametrize("status", [429, 503])
def test_a_wish_for_later_is_passed_on(site, status):
    site.usual = Reply(status, headers={"Retry-After": "47"})
    assert failure(webhook(site.url)).retry_after == timedelta(seconds=47)


def test_a_wish_may_be_a_date_and_has_a_limit(site):
    away = {"Date": "Fri, 13 Nov 2026 11:00:00 GMT", "Retry-After": "Fri, 13 Nov 2026 11:02:00 GMT"}
    site.usual = Reply(429, headers=away)
    # The server says its own date beside ours; the first one counts.
    assert failure(webhook(site.url)).retry_after is not None
    site.usual = Reply(429, headers={"Retry-After": "99999999"})
    assert failure(webhook(site.url)).retry_after == timedelta(hours=24)
    site.usual = Reply(429, headers={"Retry-After": "soon"})
    assert failure(webhook(site.url)).retry_after is None


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (Reply(drop=True), "unreachable"),
        (Reply(hang=True), "timeout"),
        (Reply(drip=True), "timeout"),
    ],
    ids=["drop", "hang", "drip"],
)
def test_what_may_pass_is_left_to_the_outbox(site, reply, fault):
    site.usual = reply

    began = time.monotonic()
    error = failure(webhook(site.url, timeout_seconds=0.4))

    assert (error.fault.value, error.permanent) == (fault, False)
    assert time.monotonic() - began < 10, "the limit holds for the whole exchange"


def test_a_slow_answer_is_an_answer(site):
    site.usual = Reply(200, b"[]", wait_seconds=0.3)
    webhook(site.url).send(delivery(to=()))
    assert len(site.requests) == 1


def test_an_answer_without_end_is_taken_by_its_status(site):
    site.usual = Reply(200, endless=True)
    webhook(site.url, timeout_seconds=2).send(delivery(to=()))

    site.usual = Reply(500, endless=True)
    assert failure(webhook(site.url, timeout_seconds=2)).fault is DeliveryFault.SERVER_ERROR


def test_nobody_listening_is_unreachable():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    error = failure(webhook(f"http://127.0.0.1:{port}"))

    assert (error.fault, error.permanent) == (DeliveryFault.UNREACHABLE, False)
    assert "Connection refused" in str(error)


def test_a_name_that_nobody_has_is_unreachable():
    error = failure(webhook("https://nobody.invalid"))
    assert error.fault is DeliveryFault.UNREACHABLE
    assert "nobody.invalid" in str(error)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "10.1.2.3"])
def test_a_private_address_wants_to_be_meant(host):
    channel = webhook(f"https://{host}:9", allow_private_address=False)

    error = failure(channel)

    assert (error.fault, error.permanent) == (DeliveryFault.UNREACHABLE, False)
    assert "allow_private_address = true" in str(error)


# -- encryption ------------------------------------------------------------------------------------


def test_a_certificate_is_verified(certificates):
    with web_server(certificates.context()) as site:
        error = failure(webhook(site.url))
        assert (error.fault, error.permanent) == (DeliveryFault.TLS, True)
        assert "set ca_file" in str(error)

        webhook(site.url, ca_file=str(certificates.authority)).send(delivery(to=()))
        wrong_name = site.url.replace("localhost", "127.0.0.1")
        error = failure(webhook(wrong_name, ca_file=str(certificates.authority)))
        assert error.fault is DeliveryFault.TLS
        assert len(site.posted()) == 1


def test_no_redirect_is_followed_with_own_certificates_either(certificates):
    with web_server(certificates.context()) as site:
        site.replies = [Reply(307, headers={"Location": f"{site.url}/elsewhere"})]
        error = failure(webhook(site.url, ca_file=str(certificates.authority)))
        assert (error.fault, error.permanent) == (DeliveryFault.REFUSED, True)
        assert len(site.requests) == 1


def test_a_private_address_wants_to_be_meant_with_own_certificates_too(certificates):
    with web_server(certificates.context()) as site:
        options = {"ca_file": str(certificates.authority), "allow_private_address": False}
        assert "allow_private_address" in str(failure(webhook(site.url, **options)))
        assert site.requests == []


def test_a_server_may_want_a_certificate_of_ours(certificates, tmp_path):
    context = certificates.context()
    context.load_verify_locations(certificates.authority)
    context.verify_mode = ssl.CERT_REQUIRED
    ours = {
        "ca_file": str(certificates.authority),
        "client_certificate_file": str(certificates.chain),
        "client_key_file": str(certificates.key),
    }
    with web_server(context) as site:
        webhook(site.url, **ours).send(delivery(to=()))
        assert len(site.posted()) == 1

        without = failure(webhook(site.url, ca_file=ours["ca_file"]))
        assert without.fault in {DeliveryFault.TLS, DeliveryFault.UNREACHABLE}
        assert len(site.posted()) == 1

        missing = failure(webhook(site.url, **ours | {"client_key_file": "/nowhere/key.pem"}))
        assert (missing.fault, missing.permanent) == (DeliveryFault.TLS, True)
        no_pem = tmp_path / "no.pem"
        no_pem.write_text("not a certificate")
        for file in ("ca_file", "client_certificate_file", "client_key_file"):
            odd = failure(webhook(site.url, **ours | {file: str(no_pem)}))
            assert (odd.fault, odd.permanent) == (DeliveryFault.TLS, True)
            assert "no.pem" in str(odd)


def test_a_renewed_certificate_needs_no_restart(certificates, tmp_path):
    trusted = tmp_path / "ca.pem"
    trusted.write_text("not there yet")
    with web_server(certificates.context()) as site:
        channel = webhook(site.url, ca_file=str(trusted))
        assert failure(channel).fault is DeliveryFault.TLS
        trusted.write_bytes(certificates.authority.read_bytes())
        channel.send(delivery(to=()))
        channel.close()
        channel.send(delivery(to=()))
        assert len(site.posted()) == 2


def test_no_cookie_is_kept(certificates):
    ways = [(None, {}), (certificates.context(), {"ca_file": str(certificates.authority)})]
    for tls, options in ways:
        with web_server(tls) as site:
            site.usual = Reply(200, headers={"Set-Cookie": "who=you; Path=/"})
            channel = webhook(site.url, **options)
            channel.send(delivery(to=()))
            channel.send(delivery(to=()))
            assert "cookie" not in site.requests[1].headers


def test_a_server_without_tls_is_no_encrypted_connection(site):
    error = failure(webhook(site.url.replace("http://", "https://")))
    assert error.fault is DeliveryFault.TLS


# -- checking --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 204, 400, 403, 405, 501])
def test_a_check_asks_and_posts_nothing(site, status):
    site.usual = Reply(status)
    webhook(site.url, bearer_token="t-1").check()

    (request,) = site.requests
    assert (request.method, request.body) == ("OPTIONS", b"")
    assert request.headers["authorization"] == "Bearer t-1"


@pytest.mark.parametrize("status", [301, 401, 404, 410, 502, 503])
def test_a_check_finds_what_a_message_would_find(site, status):
    site.usual = Reply(status)
    with pytest.raises(DeliveryError, match=str(status)) as failed:
        webhook(site.url).check()
    assert "geheim" not in str(failed.value)


def test_neither_secrets_nor_texts_reach_the_log_even_at_debug(site, caplog):
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, logger=name)
    headers = [{"name": "X-Api-Key", "value": "geheim"}]
    channel = webhook(site.url, headers=headers, bearer_token="geheim", timeout_seconds=0.4)
    channel.send(delivery(to=()))
    channel.check()
    for reply in (Reply(500), Reply(404), Reply(drop=True), Reply(hang=True)):
        site.replies = [reply]
        failure(channel)

    assert "geheim" not in caplog.text
    assert key(NEW) not in caplog.text
    assert "Zonnehoek" not in caplog.text
    assert "geheim" not in repr(WebhookOptions.model_validate(table(site.url, headers=headers)))


# -- options ---------------------------------------------------------------------------------------

WRONG = [
    ({"url": "https://a.example"}, "secret"),
    ({"secret": key(NEW)}, "url"),
    ({"url": "ftp://a.example/geheim", "secret": key(NEW)}, "must be an https address"),
    ({"url": "https://geheim:geheim@a.example", "secret": key(NEW)}, "without a user name"),
    ({"url": "https://a.example/geheim\r\nX: 1", "secret": key(NEW)}, "must be an https address"),
    ({"url": "https://", "secret": key(NEW)}, "must be an https address"),
    ({"url": "https://a.example:99999/geheim", "secret": key(NEW)}, "must be an https address"),
    ({"url": "http://a.example/geheim", "secret": key(NEW)}, "must begin with https://"),
    ({"url": "https://a.example", "secret": "geheim"}, "openssl rand"),
    ({"url": "https://a.example", "secret": key(b"geheim")}, "24 to 64 bytes"),
    ({"url": "https://a.example", "secret": "whsec_geheim"}, "24 to 64 bytes"),
    ({"url": "https://a.example", "secret": key(NEW), "previous_secret": "geheim"}, "24 to 64"),
    ({"url": "https://a.example", "secret": key(NEW), "timeout_seconds": 0}, "timeout_seconds"),
    ({"url": "https://a.example", "secret": key(NEW), "to": "x"}, "to"),
    ({"url": "https://a.example", "secret": key(NEW), "username": "u"}, "give both"),
    (
        {"url": "https://a.example", "secret": key(NEW), "bearer_token": "geheim\r\nX: 1"},
        "one word",
    ),
    (
        {"url": "https://a.example", "secret": key(NEW), "client_key_file": "k.pem"},
        "client_certificate_file",
    ),
    (
        {
            "url": "https://a.example", "secret": key(NEW),
            "bearer_token": "geheim", "username": "u", "password": "geheim",
        },
        "not both",
    ),
    (
        {
            "url": "http://intranet.example", "secret": key(NEW),
            "allow_private_address": True, "bearer_token": "geheim",
        },
        "readable on the network",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("options", "told"), WRONG)
def test_wrong_options_are_refused_in_plain_words(options, told):
    with pytest.raises(ValidationError) as refused:
        WebhookOptions.model_validate(options)

    assert told in str(refused.value)
    assert "geheim" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("X Key", "geheim", "not a name for a header"),
        ("X-Key\r\nX", "geheim", "not a name for a header"),
        ("Webhook-Id", "geheim", "set by Merkwacht itself"),
        ("content-type", "geheim", "set by Merkwacht itself"),
        ("X-Key", "geheim\r\nX: 1", "one line of ASCII"),
        ("Authorization", "geheim", "given twice"),
    ],
)
def test_a_header_is_one_header(name, value, told):
    options = {
        "url": "https://a.example",
        "secret": key(NEW),
        "bearer_token": "geheim",
        "headers": [{"name": name, "value": value}],
    }
    with pytest.raises(ValidationError) as refused:
        WebhookOptions.model_validate(options)
    assert told in str(refused.value)
    assert "geheim" not in str(refused.value)


def test_secrets_come_from_where_all_secrets_come_from(tmp_path, monkeypatch):
    (tmp_path / "key").write_text(key(NEW))
    monkeypatch.setenv("TICKET_KEY", "k-1")
    options = WebhookOptions.model_validate(
        {
            "url": "https://a.example",
            "secret_file": str(tmp_path / "key"),
            "headers": [{"name": "X-Api-Key", "value": {"env": "TICKET_KEY"}}],
        }
    )
    assert options.secret.get_secret_value() == key(NEW)
    assert options.headers[0].value.get_secret_value() == "k-1"


def test_a_command_that_sends_nothing_needs_no_credentials(monkeypatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    places = SECRET_PLACES.set(SecretPlaces(needed=False))
    try:
        options = WebhookOptions.model_validate(
            {"url": {"credential": "hook"}, "secret": {"credential": "key"}}
        )
    finally:
        SECRET_PLACES.reset(places)
    assert WebhookChannel(options).problem_with(()) is None


# -- the documentation -----------------------------------------------------------------------------


def blocks(language: str, heading: str) -> list[str]:
    text = DOCS.read_text(encoding="utf-8")
    section = re.split(r"^### ", text[text.index(f"### {heading}") + 4 :], flags=re.MULTILINE)[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)


def test_the_documented_body_is_what_is_sent():
    (documented,) = blocks("json", "`webhook`")
    assert json.loads(documented) == json.loads(
        body_of(delivery(message(language="en"), to=(), key="mw-12-opened-3f0a6c"))
    )


def test_the_documented_receiver_stops_posts_in_a_crisis_and_believes_nobody_else(tmp_path):
    (program,) = blocks("python", "`webhook`")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert "8787" in program
    file = tmp_path / "receiver.py"
    file.write_text(program.replace("8787", str(port)), encoding="utf-8")
    ready = tmp_path / "posts-paused"
    process = subprocess.Popen(
        [sys.executable, str(file)],
        cwd=tmp_path,
        env={"MERKWACHT_KEY": key(OLD)},
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        reached = threading.Event()
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                reached.wait(0.05)
            else:
                break

        def channel(**options: object) -> WebhookChannel:
            made = WebhookOptions.model_validate(table(url, **options))
            return WebhookChannel(made, now=lambda: datetime.now(UTC))

        assert failure(channel()).fault is DeliveryFault.UNAUTHORIZED, "signed with another key"
        stale = WebhookChannel(
            WebhookOptions.model_validate(table(url, secret=key(OLD))), now=lambda: NOON
        )
        assert failure(stale).fault is DeliveryFault.UNAUTHORIZED, "signed long ago"
        assert list(ready.iterdir()) == []

        both = channel(previous_secret=key(OLD))
        both.send(delivery(to=()))
        both.send(delivery(to=()))
        assert [each.name for each in ready.iterdir()] == ["12"]
        both.send(delivery(message(event=Event.RESOLVED), to=()))
        assert list(ready.iterdir()) == []
    finally:
        process.terminate()
        process.wait(10)
