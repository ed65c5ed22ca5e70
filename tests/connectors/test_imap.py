from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.base import Context, Post, SourceFault
from connectors.imap import ImapConnector, ImapOptions
from tests.connectors.conftest import MovedClock
from tests.connectors.faultserver import FaultServer, Reply
from tests.connectors.imapserver import (
    DOVECOT,
    PASSWORD,
    TOKEN,
    USER,
    Dovecot,
    MailServer,
    StandIn,
)
from tests.connectors.polling import Polling

NOON = datetime(2026, 11, 10, 11, 0, tzinfo=UTC)


def mail(
    subject: str = "Zonnehoek in het nieuws",
    text: str = "Een bericht over zonnehoek.",
    *,
    sender: str = "De Krant <knipsels@krant.example>",
    html: str = "",
    number: int = 1,
    **headers: str,
) -> bytes:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, USER, subject
    message["Message-ID"] = f"<{number}@krant.example>"
    message["Date"] = "Tue, 10 Nov 2026 11:59:30 +0100"
    message.set_content(text)
    if html:
        message.add_alternative(html, subtype="html")
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return message.as_bytes()


class Poller(Polling):
    """Polls one mailbox."""

    def __init__(self, server: MailServer, context: Context, **options: Any) -> None:
        self.server = server
        self.context = context
        if "oauth" not in options:
            options.setdefault("password", PASSWORD)
        settings = {
            "host": "127.0.0.1",
            "port": server.port,
            "security": "none",
            "username": USER,
            "timeout_seconds": 5,
        }
        self.options = ImapOptions.model_validate({**settings, **options})
        super().__init__(lambda: ImapConnector(self.options, self.context))

    def texts(self) -> list[str]:
        return [post.text for post in self.posts()]


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot | None]:
    if DOVECOT is None:
        yield None
        return
    running = Dovecot()
    yield running
    running.close()


@pytest.fixture
def standin() -> Iterator[StandIn]:
    with StandIn() as running:
        yield running


@pytest.fixture(params=["stand-in", "dovecot"])
def server(request: pytest.FixtureRequest) -> Iterator[MailServer]:
    if request.param == "dovecot":
        running = request.getfixturevalue("dovecot")
        if running is None:
            pytest.skip("Dovecot is not installed")
        running.empty()
        yield running
    else:
        yield request.getfixturevalue("standin")


@pytest.fixture
def poller(server: MailServer, context: Context) -> Poller:
    return Poller(server, context)


# --- following a folder ---------------------------------------------------------------------------


def test_a_mail_becomes_a_post(server: MailServer, poller: Poller) -> None:
    server.put(mail(List_Id="<knipsels.krant.example>", Content_Language="nl"), NOON)
    [post] = poller.posts()
    assert post.text == "Zonnehoek in het nieuws\nEen bericht over zonnehoek."
    assert (post.platform, post.author, post.language) == ("news", "De Krant", "nl")
    assert post.published_at == datetime(2026, 11, 10, 10, 59, 30, tzinfo=UTC)
    assert post.id.startswith("mail:")
    assert "krant" not in post.id


def test_each_mail_comes_once_and_stays_unread(server: MailServer, poller: Poller) -> None:
    server.put(mail("een"), NOON)
    assert poller.texts() == ["een\nEen bericht over zonnehoek."]
    assert poller.texts() == []
    server.put(mail("twee", number=2), NOON)
    server.put(mail("drie", number=3), NOON)
    assert [text.split()[0] for text in poller.texts()] == ["twee", "drie"]
    assert server.flags() == set()
    assert len(server.mails()) == 3


def test_mails_from_before_the_backfill_are_left_alone(
    server: MailServer, poller: Poller, clock: MovedClock
) -> None:
    server.put(mail("oud"), clock() - timedelta(hours=25))
    server.put(mail("nieuw", number=2), clock() - timedelta(hours=23))
    assert [text.split()[0] for text in poller.texts()] == ["nieuw"]


def test_what_came_while_the_folder_was_empty_is_read_also_much_later(
    server: MailServer, poller: Poller, clock: MovedClock
) -> None:
    server.put(mail("oud"), clock() - timedelta(days=30))
    assert poller.texts() == []
    server.put(mail("nieuw", number=2), clock())
    clock.move(timedelta(days=9))
    assert [text.split()[0] for text in poller.texts()] == ["nieuw"]


def test_a_crashed_poll_repeats_its_page(server: MailServer, poller: Poller) -> None:
    poller.options = poller.options.model_copy(update={"page_mails": 2})
    for number in range(5):
        server.put(mail(f"nr {number}", number=number), NOON)
    stored = [post.id for page in poller.pages(die_after=1) for post in page.posts]
    assert len(stored) == 2
    stored += poller.ids()
    assert len(stored) == len(set(stored)) == 5


def test_a_new_numbering_repeats_mails_under_the_same_ids_and_loses_none(
    server: MailServer, poller: Poller
) -> None:
    for number in range(3):
        server.put(mail(f"nr {number}", number=number), NOON)
    first = poller.ids()
    server.renumber()
    server.put(mail("nr 9", number=9), NOON)
    again = poller.ids()
    assert again[:3] == first
    assert len(again) == 4
    assert poller.ids() == []


def test_another_folder_is_read_from_its_start(server: MailServer, poller: Poller) -> None:
    server.put(mail("een"), NOON)
    poller.posts()
    server.make("Persberichten & meer")
    server.put(mail("twee", number=2), NOON, "Persberichten & meer")
    poller.options = poller.options.model_copy(update={"folder": "Persberichten & meer"})
    assert [text.split()[0] for text in poller.texts()] == ["twee"]


def test_a_mail_that_is_deleted_meanwhile_is_passed_over(
    standin: StandIn, context: Context
) -> None:
    for number in range(3):
        standin.put(mail(f"nr {number}", number=number), NOON)
    poller = Poller(standin, context, page_mails=1)
    pages = ImapConnector(poller.options, context).fetch(None)
    first = next(pages)
    standin.folders["INBOX"].mails.pop()
    rest = list(pages)
    assert [len(page.posts) for page in [first, *rest]] == [1, 1, 0]


# --- moving ---------------------------------------------------------------------------------------


def test_read_mails_move_away_once_they_are_stored(server: MailServer, context: Context) -> None:
    server.make("Gelezen")
    for number in range(3):
        server.put(mail(f"nr {number}", number=number), NOON)
    poller = Poller(server, context, move_to="Gelezen", page_mails=2)
    assert len(poller.posts()) == 3
    assert (len(server.mails()), len(server.mails("Gelezen"))) == (0, 3)


def test_a_mail_whose_page_was_not_stored_stays_and_one_that_was_moves_later(
    server: MailServer, context: Context
) -> None:
    server.make("Verwerkt")
    for number in range(3):
        server.put(mail(f"nr {number}", number=number), NOON)
    poller = Poller(server, context, move_to="Verwerkt", page_mails=1)
    pages = ImapConnector(poller.options, context).fetch(None)
    poller.cursor = next(pages).cursor  # stored, and then the daemon dies
    pages.close()  # type: ignore[attr-defined]
    assert len(server.mails("Verwerkt")) == 0
    assert len(poller.posts()) == 2
    assert (len(server.mails()), len(server.mails("Verwerkt"))) == (0, 3)


def test_a_missing_folder_to_move_to_says_so(server: MailServer, context: Context) -> None:
    server.put(mail(), NOON)
    poller = Poller(server, context, move_to="Nergens")
    error = poller.fault()
    assert (error.fault, error.permanent) == (SourceFault.NOT_FOUND, True)
    assert "'Nergens'" in str(error)
    assert len(server.mails()) == 1


def test_a_server_that_cannot_move_is_not_made_to_delete(
    standin: StandIn, context: Context
) -> None:
    standin.capabilities = "IMAP4rev1"
    standin.make("Gelezen")
    standin.put(mail(), NOON)
    error = Poller(standin, context, move_to="Gelezen").fault()
    assert "cannot move" in str(error)
    assert len(standin.mails()) == 1


# --- what is set aside ----------------------------------------------------------------------------


def test_mails_of_strangers_are_set_aside(server: MailServer, context: Context) -> None:
    server.put(mail("goed", sender="a@Krant.example"), NOON)
    server.put(mail("ook", sender="B <b@dienst.example>", number=2), NOON)
    server.put(mail("nee", sender="a@krant.example.evil.example", number=3), NOON)
    server.put(mail("nee", sender="c@dienst.example", number=4), NOON)
    poller = Poller(server, context, senders=["@krant.example", "b@dienst.example"])
    assert [text.split()[0] for text in poller.texts()] == ["goed", "ook"]
    assert poller.rejects == ["a mail from somebody who is not among senders"] * 2


def test_of_a_large_mail_the_beginning_is_read(server: MailServer, context: Context) -> None:
    message = EmailMessage()
    message["From"], message["Subject"] = "a@krant.example", "Knipsels"
    message.set_content("zonnehoek staat op pagina 3")
    message.add_attachment(b"x" * 300_000, maintype="application", subtype="pdf", filename="a.pdf")
    server.put(message.as_bytes(), NOON)
    poller = Poller(server, context, max_bytes=2_000)
    assert poller.texts() == ["Knipsels\nzonnehoek staat op pagina 3"]


ODD_MAILS = [
    b"From: a@b.example\r\nContent-Type: text/plain; charset=klingon\r\n\r\nzonnehoek",
    b"From: =?utf-8?q?=zz?= <\xff\xfe>\r\nSubject: =?klingon?b?!!!?=\r\n\r\nzonnehoek",
    b"Subject: =?utf-8?b?////?=\r\nDate: Tue, 99 Nov 99999999 99:99:99 +9999\r\n\r\nzonnehoek",
    b"Content-Type: multipart/mixed; boundary=\r\n\r\n--\r\nzonnehoek",
    b"Content-Type: text/html; charset=utf-16\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!",
    b"Content-Type: message/rfc822\r\n\r\nContent-Type: message/rfc822\r\n\r\n\r\n",
    b"\x00" * 500,
    b"Content-Type: multipart/mixed; boundary=a\r\n\r\n" + b"--a\r\n" * 3_000,
    b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(400)
    ),
]


def test_odd_mails_do_not_stop_the_folder(standin: StandIn, context: Context) -> None:
    for odd in ODD_MAILS:
        standin.put(odd, NOON)
    standin.put(mail("goed"), NOON)
    poller = Poller(standin, context, timeout_seconds=20)
    posts = poller.posts()
    assert posts[-1].text.startswith("goed")
    assert len(posts) + len(poller.rejects) >= len(ODD_MAILS)  # two may say the same: nothing


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    head=st.binary(max_size=200), name=st.sampled_from(["From", "Subject", "Date", "Message-ID"])
)
def test_no_header_is_too_odd(context: Context, head: bytes, name: str) -> None:
    with StandIn() as server:
        server.put(name.encode() + b": " + head + b"\r\n\r\nzonnehoek", NOON)
        server.put(mail("goed"), NOON)
        assert Poller(server, context).posts()[-1].text.startswith("goed")


def test_a_mail_without_text_is_set_aside(server: MailServer, poller: Poller) -> None:
    server.put(b"From: a@krant.example\r\n\r\n", NOON)
    assert poller.posts() == []
    assert len(poller.rejects) == 1


# --- logging in -----------------------------------------------------------------------------------


def test_a_wrong_password_says_what_to_do_and_not_what_it_was(
    server: MailServer, context: Context
) -> None:
    error = Poller(server, context, password="s3cret").fault()
    assert (error.fault, error.permanent) == (SourceFault.UNAUTHORIZED, True)
    assert "app password" in str(error)
    assert "s3cret" not in str(error)


def test_a_missing_folder_says_so(server: MailServer, context: Context) -> None:
    error = Poller(server, context, folder="Nergens").fault()
    assert (error.fault, error.permanent) == (SourceFault.NOT_FOUND, True)
    assert "'Nergens'" in str(error)


def test_a_token_of_the_provider_logs_in(
    standin: StandIn, context: Context, tokens: FaultServer
) -> None:
    tokens.answer = Reply(body=b'{"access_token": "%s", "expires_in": 3599}' % TOKEN.encode())
    standin.put(mail(), NOON)
    assert len(Poller(standin, context, oauth=oauth(tokens)).posts()) == 1


def test_a_refused_token_says_what_to_do(
    standin: StandIn, context: Context, tokens: FaultServer
) -> None:
    poller = Poller(standin, context, oauth=oauth(tokens))
    tokens.answer = Reply(401, b'{"error": "invalid_client"}')
    error = poller.fault()
    assert (error.fault, error.permanent) == (SourceFault.UNAUTHORIZED, True)
    assert "invalid_client" in str(error)
    assert "s3cret" not in str(error)
    tokens.answer = Reply(503)
    assert poller.fault().fault is SourceFault.SERVER_ERROR
    tokens.answer = Reply(body=b'{"access_token": "another"}')
    error = poller.fault()
    assert (error.fault, error.permanent) == (SourceFault.UNAUTHORIZED, True)


def test_a_server_that_is_full_is_tried_again_later(standin: StandIn, context: Context) -> None:
    standin.says["LOGIN"] = b"TAG NO [LIMIT] Too many simultaneous connections\r\n"
    error = Poller(standin, context).fault()
    assert (error.fault, error.permanent) == (SourceFault.RATE_LIMITED, False)
    assert error.retry_after is not None


def oauth(tokens: FaultServer) -> dict[str, str]:
    return {"token_url": f"{tokens.url}/token", "client_id": "app", "client_secret": "s3cret"}


@pytest.fixture
def tokens() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


# --- encryption -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def secured(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_an_encrypted_connection_with_a_trusted_certificate(
    authority: trustme.CA, context: Context, tmp_path: Path, security: str
) -> None:
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    with StandIn(secured(authority, "127.0.0.1"), starttls=security == "starttls") as server:
        server.put(mail(), NOON)
        poller = Poller(server, context, security=security, ca_file=ca_file)
        assert len(poller.posts()) == 1


@pytest.mark.parametrize("security", ["tls", "starttls"])
@pytest.mark.parametrize("trusted", [True, False], ids=["wrong name", "unknown authority"])
def test_a_certificate_that_does_not_fit_gets_no_password(
    authority: trustme.CA, context: Context, tmp_path: Path, security: str, trusted: bool
) -> None:
    ca_file = tmp_path / "ca.pem"
    (authority if trusted else trustme.CA()).cert_pem.write_to_path(ca_file)
    name = "mail.example" if trusted else "127.0.0.1"
    with StandIn(secured(authority, name), starttls=security == "starttls") as server:
        error = Poller(server, context, security=security, ca_file=ca_file).fault()
        assert error.fault is SourceFault.UNREACHABLE
        assert "ca_file" in str(error)
        assert "LOGIN" not in server.commands


def test_words_slipped_in_before_encryption_are_not_believed(
    authority: trustme.CA, context: Context, tmp_path: Path
) -> None:
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    with StandIn(secured(authority, "127.0.0.1"), starttls=True) as server:
        server.slip = b"* CAPABILITY IMAP4rev1\r\n"
        error = Poller(server, context, security="starttls", ca_file=ca_file).fault()
        assert error.fault is SourceFault.BAD_RESPONSE
        assert "LOGIN" not in server.commands


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (
            {"security": "none", "host": "mail.example", "password": "x"},
            "readable over the network",
        ),
        (
            {
                "password": "x",
                "oauth": {"token_url": "https://a", "client_id": "b", "client_secret": "c"},
            },
            "either",
        ),
        ({}, "either"),
        ({"password": "x\r\nA1 DELETE INBOX"}, "cannot be typed"),
        ({"password": "x", "username": "a\r\nb"}, "pattern"),
        ({"password": "x", "move_to": "INBOX"}, "another folder"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        ImapOptions.model_validate({"host": "127.0.0.1", "username": USER, **options})


# --- servers that misbehave -----------------------------------------------------------------------


def test_a_server_that_says_nothing_or_too_little_is_given_up(
    standin: StandIn, context: Context
) -> None:
    poller = Poller(standin, context, timeout_seconds=0.3)
    standin.hang = True
    assert poller.fault().fault is SourceFault.TIMEOUT
    standin.hang, standin.drip = False, True
    assert poller.fault().fault is SourceFault.TIMEOUT


@pytest.mark.parametrize(
    ("command", "answer", "fault"),
    [
        ("UID FETCH", b"* 1 FETCH (BODY[]<0> {99999999}\r\n", SourceFault.TOO_LARGE),
        ("UID SEARCH", b"* SEARCH " + b"1 " * 3_000_000, SourceFault.TOO_LARGE),
        ("UID SEARCH", b"* SEARCH one two\r\nTAG OK\r\n", SourceFault.BAD_RESPONSE),
        ("UID SEARCH", b"\x00\xff\xfe\r\n", SourceFault.BAD_RESPONSE),
        ("UID SEARCH", b"TAG BAD no\r\n", SourceFault.BAD_RESPONSE),
        ("UID FETCH", b"TAG NO gone\r\n", SourceFault.BAD_RESPONSE),
        ("EXAMINE", b"* BYE shutting down\r\n", SourceFault.BAD_RESPONSE),
    ],
)
def test_an_odd_answer_ends_the_poll_with_a_word(
    standin: StandIn, context: Context, command: str, answer: bytes, fault: SourceFault
) -> None:
    standin.put(mail(), NOON)
    standin.says[command] = answer
    error = Poller(standin, context, timeout_seconds=2).fault()
    assert error.fault is fault
    assert PASSWORD not in str(error)


def test_something_else_than_a_mail_server_is_a_bad_response(
    standin: StandIn, context: Context
) -> None:
    standin.greeting = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    assert Poller(standin, context, timeout_seconds=1).fault().fault is SourceFault.BAD_RESPONSE


# --- what a mail becomes: see test_mailtext.py; here only what depends on the options --------------


def test_reports_keep_no_reporter(server: MailServer, context: Context) -> None:
    report = mail(
        "Kijk dit eens",
        "Zie https://x.com/boze_klant/status/1987654321 over zonnehoek.\n\nGroet,\nJan Jansen",
        sender="Jan Jansen <jan@zonnehoek.example>",
    )
    server.put(report, NOON)
    poller = Poller(server, context, kind_of_mail="report")
    [post] = poller.posts()
    assert post == Post(
        platform="report",
        id=post.id,
        text="Kijk dit eens\nZie https://x.com/boze_klant/status/1987654321 over zonnehoek.",
        published_at=post.published_at,
        url="https://x.com/i/web/status/1987654321",
        about_brand=True,
    )
