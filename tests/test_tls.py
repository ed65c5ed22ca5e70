"""Nobody with a wrong certificate hears a word: every client of ours against a real server of a stranger.

The stranger's certificate bears the right name and is signed by nobody we know, or it is signed by whom we
trust and bears another name. What is counted is what was said inside the encrypted connection: nothing.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from alerts import CHANNELS
from alerts.base import DeliveryError, DeliveryFault
from alerts.posting import PostingOptions, Web
from classifiers.second_opinion import (
    EndpointOpinion,
    Question,
    SecondOpinionOptions,
    Unanswered,
)
from connectors import BUILT_IN
from connectors.base import ConnectorError, Context, SourceFault
from connectors.http import fetch_limited, guarded_client, post_limited
from connectors.query import Query
from tests.alerts.make import delivery, message
from tests.connectors.test_contract import OVER_HTTP

ABOUT = "certificate|CERTIFICATE"


class Stranger:
    """Speaks TLS with a certificate that should convince nobody, and writes down what it is told."""

    def __init__(self, context: ssl.SSLContext, greeting: bytes = b"") -> None:
        self.heard = b""
        self.met = 0
        self._context = context
        self._greeting = greeting
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listening.accept()
            except OSError:
                return
            self.met += 1
            thread = threading.Thread(target=self._talk, args=(plain,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _talk(self, plain: socket.socket) -> None:
        plain.settimeout(5)
        with suppress(OSError), plain:
            if self._greeting:
                # In clear up to the word after which encryption begins.
                plain.sendall(self._greeting)
                while b"STARTTLS" not in (line := plain.recv(1000)).upper():
                    if not line:
                        return
                    plain.sendall(self._meanwhile(line))
                plain.sendall(self._agreed(line))
            with self._context.wrap_socket(plain, server_side=True) as secure:
                while part := secure.recv(65536):
                    self.heard += part

    def _meanwhile(self, line: bytes) -> bytes:
        if line.upper().startswith(b"EHLO"):
            return b"250-stranger\r\n250 STARTTLS\r\n"
        tag = line.split()[0]
        return b"* CAPABILITY IMAP4rev1 STARTTLS\r\n" + tag + b" OK done\r\n"

    def _agreed(self, line: bytes) -> bytes:
        return (
            b"220 go\r\n" if self._greeting.startswith(b"220") else line.split()[0] + b" OK go\r\n"
        )

    def close(self) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join(10)


class Certificates:
    """One authority that is trusted, and one that nobody knows."""

    def __init__(self, folder: Path) -> None:
        self._trusted, self._unknown = trustme.CA(), trustme.CA()
        self.authority = folder / "ca.pem"
        self._trusted.cert_pem.write_to_path(self.authority)

    def context(self, wrong: str) -> ssl.SSLContext:
        authority = self._unknown if wrong == "authority" else self._trusted
        names = ["other.example"] if wrong == "name" else ["localhost", "127.0.0.1"]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*names).configure_cert(context)
        return context


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(autouse=True)
def _trusts_one_authority(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.authority))  # what apprise goes by


@contextmanager
def stranger(certificates: Certificates, wrong: str, greeting: bytes = b"") -> Iterator[Stranger]:
    running = Stranger(certificates.context(wrong), greeting)
    try:
        yield running
    finally:
        running.close()
        assert running.met, "nobody called"
        assert running.heard == b""


wrong_in_both_ways = pytest.mark.parametrize("wrong", ["authority", "name"])


# -- the way in ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OVER_HTTP)
def test_no_source_is_read_from_a_stranger(kind: str, certificates: Certificates) -> None:
    with (
        stranger(certificates, "authority") as server,
        guarded_client(allow_private_addresses=["127.0.0.1"]) as client,
    ):
        given = OVER_HTTP[kind](f"https://127.0.0.1:{server.port}")
        given["timeout_seconds"] = 5
        context = Context(
            name="x",
            now=lambda: datetime(2026, 11, 10, 12, tzinfo=UTC),
            http=client,
            queries=[Query.parse("zonnehoek")],
        )
        made = BUILT_IN[kind](BUILT_IN[kind].Options(**given), context)
        try:
            with pytest.raises(ConnectorError, match=ABOUT) as caught:
                list(made.fetch(None))
        finally:
            made.close()
    assert caught.value.fault is SourceFault.UNREACHABLE


@wrong_in_both_ways
@pytest.mark.parametrize("how", ["get", "post"])
def test_the_client_of_all_sources_asks_no_stranger(
    wrong: str, how: str, certificates: Certificates
) -> None:
    with (
        stranger(certificates, wrong) as server,
        guarded_client(allow_private_addresses=["127.0.0.1"]) as client,
    ):
        url = f"https://me:secret@localhost:{server.port}/"
        with pytest.raises(ConnectorError, match=ABOUT):
            fetch_limited(client, url) if how == "get" else post_limited(client, url, b"secret")


@wrong_in_both_ways
@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_no_password_of_a_mailbox_is_told_to_a_stranger(
    wrong: str, security: str, certificates: Certificates
) -> None:
    greeting = b"* OK IMAP4rev1 here\r\n" if security == "starttls" else b""
    with stranger(certificates, wrong, greeting) as server, httpx.Client() as client:
        options = {"host": "localhost", "port": server.port, "security": security,
                   "username": "m", "password": "secret", "timeout_seconds": 5}  # fmt: skip
        context = Context(
            name="x",
            now=lambda: datetime(2026, 11, 10, 12, tzinfo=UTC),
            http=client,
            queries=[Query.parse("zonnehoek")],
        )
        made = BUILT_IN["imap"](BUILT_IN["imap"].Options(**options), context)
        with pytest.raises(ConnectorError, match=ABOUT):
            list(made.fetch(None))


# -- the way out -----------------------------------------------------------------------------------

WAYS_OUT: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "webhook": (
        {"url": "URL/hook", "secret": "whsec_" + "bWVya3dhY2h0" * 3, "allow_private_address": True},
        (),
    ),
    "alertmanager": ({"urls": ["URL"], "bearer_token": "secret"}, ()),
    "slack by webhook": ({"webhook_url": "URL/services/T/B/secret"}, ()),
    "slack as a bot": ({"bot_token": "xoxb-secret", "base_url": "URL/api/"}, ("#press",)),
    "apprise": ({"url": "jsons://me:secret@HOST/x"}, ()),
    "apprise by mail": ({"url": "mailtos://me:secret@HOST?from=a@b.example&to=c@b.example"}, ()),
}


@wrong_in_both_ways
@pytest.mark.parametrize("way", WAYS_OUT)
def test_no_channel_tells_a_stranger_anything(
    way: str, wrong: str, certificates: Certificates
) -> None:
    options, to = WAYS_OUT[way]
    kind = way.partition(" ")[0]
    greeting = b"220 stranger\r\n" if "mail" in way else b""
    with stranger(certificates, wrong, greeting) as server:
        host = f"localhost:{server.port}"

        def put(value: Any) -> Any:
            if isinstance(value, list):
                return [put(each) for each in value]
            if not isinstance(value, str):
                return value
            return value.replace("URL", f"https://{host}").replace("HOST", host)

        plugin: Any = CHANNELS[kind]
        channel = plugin(plugin.Options(**{name: put(value) for name, value in options.items()}))
        try:
            with pytest.raises(DeliveryError) as caught:
                channel.send(delivery(message(), to=to))
        finally:
            channel.close()
    assert caught.value.fault is DeliveryFault.TLS, caught.value
    assert "secret" not in str(caught.value)


@wrong_in_both_ways
@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_no_mail_is_handed_to_a_stranger(
    wrong: str, security: str, certificates: Certificates
) -> None:
    greeting = b"220 stranger ESMTP\r\n" if security == "starttls" else b""
    with stranger(certificates, wrong, greeting) as server:
        plugin: Any = CHANNELS["email"]
        given = {"host": "localhost", "port": server.port, "security": security, "from": "a@b.example",
                 "username": "m", "password": "secret", "timeout_seconds": 5}  # fmt: skip
        with pytest.raises(DeliveryError, match=ABOUT) as caught:
            plugin(plugin.Options(**given)).send(delivery(message(), to=("c@b.example",)))
    assert caught.value.fault is DeliveryFault.TLS


@wrong_in_both_ways
def test_no_sign_of_life_is_given_to_a_stranger(wrong: str, certificates: Certificates) -> None:
    # What a heartbeat asks with.
    web = Web(PostingOptions(), private_hosts=("localhost",))
    with (
        stranger(certificates, wrong) as server,
        pytest.raises(DeliveryError, match=ABOUT) as caught,
    ):
        web.ask(
            "POST", f"https://localhost:{server.port}/secret", where="the heartbeat", content=b"{}"
        )
    web.close()
    assert caught.value.fault is DeliveryFault.TLS


@wrong_in_both_ways
def test_no_stranger_gives_a_second_opinion(wrong: str, certificates: Certificates) -> None:
    with stranger(certificates, wrong) as server:
        options = SecondOpinionOptions(
            base_url=f"https://localhost:{server.port}/v1", model="m", api_key="secret"
        )
        opinion = EndpointOpinion(options)
        answers = opinion.ask([Question("is this a leak?")], lambda wanted: wanted)
        opinion.close()
    assert answers == [Unanswered.UNREACHABLE]
