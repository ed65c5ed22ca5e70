"""The e-mail channel against real SMTP servers."""

import base64
import socket
from dataclasses import replace
from email import message_from_bytes
from email.policy import default
from email.utils import parsedate_to_datetime
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from alerts.base import DeliveryError, DeliveryFault, Event, Severity, SignalKind
from alerts.email import EmailChannel, EmailOptions
from alerts.letter import build_mail, parse_address
from alerts.message import Exhibit
from tests.alerts.mailserver import PASSWORD, USER, Mailbox, mail_server
from tests.alerts.make import NOON, chart, delivery, mention, message

SENDER = "Merkwacht Zonnehoek <merkwacht@example.com>"


def channel(port: int, **options: object) -> EmailChannel:
    table = {"host": "localhost", "port": port, "security": "none", "from": SENDER}
    return EmailChannel(EmailOptions.model_validate({**table, **options}), hostname="here.test")


def failure(sender: EmailChannel, **options: object) -> DeliveryError:
    with pytest.raises(DeliveryError) as failed:
        sender.send(delivery(**options))
    assert PASSWORD not in str(failed.value)
    return failed.value


def test_a_mail_arrives_as_text_and_html_with_its_headers(mailbox):
    receipt = channel(mailbox.port, reply_to="comms@example.com").send(
        delivery(to=("a@example.com", "b+alert@example.com"), key="mw-12-opened-1")
    )

    (mail,) = mailbox.mails
    assert mailbox.recipients == [["a@example.com", "b+alert@example.com"]]
    assert mail["Subject"] == "[Kritiek] Zonnehoek: persoonsgegevens mogelijk op straat"
    assert mail["From"] == SENDER
    assert mail["To"] == "a@example.com, b+alert@example.com"
    assert mail["Reply-To"] == "comms@example.com"
    assert mail["X-Merkwacht-Key"] == "mw-12-opened-1"
    assert mail["X-Merkwacht-Incident"] == "12"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Importance"] == "high"
    assert parsedate_to_datetime(mail["Date"]) == NOON
    assert mail.get_content_type() == "multipart/alternative"
    text = mail.get_body(("plain",)).get_content()
    html = mail.get_body(("html",)).get_content()
    for part in (text, html):
        assert "Gisteren bij Zonnehoek geweest." in part
        assert "privacyfunctionaris" in part
        assert "vrijdag 13 november 2026 om 12:00 uur" in part
        assert "mw-12-opened-1" in part
    assert receipt.thread["message_id"] == mail["Message-ID"]
    assert receipt.thread["subject"] == mail["Subject"]
    assert receipt.note is None


def test_a_spikes_chart_is_part_of_the_mail(mailbox):
    channel(mailbox.port).send(delivery(replace(message(SignalKind.VOLUME_SPIKE), chart=chart())))

    (mail,) = mailbox.mails
    assert mail.get_content_type() == "multipart/alternative"
    page, picture = list(mail.iter_parts())[1].iter_parts()
    assert picture.get_content_type() == "image/png"
    assert picture.get_content().startswith(b"\x89PNG")
    assert picture.get_content_disposition() == "inline"
    assert f'src="cid:{picture["Content-ID"][1:-1]}"' in page.get_content()
    assert "Hoogste: 40" in mail.get_body(("plain",)).get_content()


def test_a_repeat_of_one_delivery_is_recognisable_and_equal(mailbox):
    sender = channel(mailbox.port)

    sender.send(delivery())
    sender.send(delivery())

    first, second = mailbox.mails
    assert first["Message-ID"] == second["Message-ID"]
    assert first["X-Merkwacht-Key"] == second["X-Merkwacht-Key"]
    assert first["Date"] == second["Date"]


def test_an_incident_is_one_thread_by_every_convention(mailbox):
    sender = channel(mailbox.port)

    opened = sender.send(delivery())
    worse = sender.send(
        delivery(message(event=Event.WORSENED), key="12-worsened", thread=opened.thread)
    )
    closed = sender.send(
        delivery(message(event=Event.RESOLVED), key="12-resolved", thread=worse.thread)
    )

    first, graver, last = mailbox.mails
    for later in (graver, last):
        assert later["In-Reply-To"] == later["References"] == first["Message-ID"]
        assert later["Message-ID"] != first["Message-ID"]
        # Outlook and Exchange.
        assert later["Thread-Topic"] == first["Thread-Topic"] == first["Subject"]
        assert later["Thread-Index"].startswith(first["Thread-Index"][:28])
        assert len(base64.b64decode(later["Thread-Index"])) == 27
        assert later["List-Id"] == first["List-Id"] == "Merkwacht <merkwacht.example.com>"
    assert len(base64.b64decode(first["Thread-Index"])) == 22
    assert base64.b64decode(first["Thread-Index"])[0] == 1
    assert graver["Thread-Index"] != last["Thread-Index"]
    assert first["In-Reply-To"] is None
    assert closed.thread == worse.thread == opened.thread
    assert last["Importance"] is None
    # Gmail wants the same subject; only what became worse stands out.
    assert last["Subject"] == f"Re: {first['Subject']}"
    assert graver["Subject"].startswith("[Ernstiger: kritiek] ")
    # RFC 5256 takes what is in brackets off before subjects are compared.
    assert first["Subject"].split("] ")[1] == graver["Subject"].split("] ")[1]
    page = last.get_body(("html",))
    assert page is not None
    assert "Gesloten · Het mogelijke lek" in page.get_content()


def test_two_incidents_are_two_threads(mailbox):
    sender = channel(mailbox.port)
    sender.send(delivery(key="12-opened"))
    sender.send(delivery(key="13-opened"))

    one, other = mailbox.mails
    assert one["Thread-Index"][10:] != other["Thread-Index"][10:]
    assert one["Message-ID"] != other["Message-ID"]


def test_a_thread_that_was_begun_by_an_earlier_version_goes_on(mailbox):
    old = {"message_id": "<abc.merkwacht@zonnehoek.example>"}
    receipt = channel(mailbox.port).send(delivery(thread=old))

    assert mailbox.mails[0]["References"] == old["message_id"]
    assert receipt.thread == old


def test_only_what_is_critical_is_marked_important(mailbox):
    channel(mailbox.port).send(delivery(message(severity=Severity.HIGH)))

    assert mailbox.mails[0]["Importance"] is None


def test_foreign_letters_arrive_and_domains_travel_in_ascii(mailbox):
    sender = channel(mailbox.port, **{"from": "Bürö Ζ <wacht@bücher.example>"})

    sender.send(delivery(message(brand="Café Zónnehoek 🌞"), to=("jan@bücher.example",)))

    (mail,) = mailbox.mails
    assert mailbox.recipients == [["jan@xn--bcher-kva.example"]]
    assert "Café Zónnehoek 🌞" in mail["Subject"]
    assert mail["From"].addresses[0].display_name == "Bürö Ζ"
    assert mail["From"].addresses[0].domain == "xn--bcher-kva.example"


def test_some_refused_addresses_are_noted_and_the_others_served(mailbox):
    mailbox.refuse_recipient = {"weg@example.com": "550 5.1.1 no such user"}

    receipt = channel(mailbox.port).send(delivery(to=("weg@example.com", "er@example.com")))

    assert mailbox.recipients == [["er@example.com"]]
    assert receipt.note == "not taken for weg@example.com (550 5.1.1 no such user)"


@pytest.mark.parametrize(
    ("answers", "fault", "permanent"),
    [
        ({"refuse_recipient": {"crisis@example.com": "550 no such user"}}, "refused", True),
        ({"refuse_recipient": {"crisis@example.com": "450 greylisted"}}, "server_error", False),
        ({"refuse_sender": "553 not yours"}, "refused", True),
        ({"refuse_sender": "421 too busy"}, "server_error", False),
        ({"refuse_data": "451 try later"}, "server_error", False),
        ({"refuse_data": "554 spam"}, "refused", True),
        ({"hang_up_after_data": True}, "unreachable", False),
    ],
)
def test_a_refusal_says_whether_trying_again_helps(mailbox, answers, fault, permanent):
    for name, value in answers.items():
        setattr(mailbox, name, value)

    error = failure(channel(mailbox.port))

    assert (error.fault.value, error.permanent) == (fault, permanent)
    assert f"localhost:{mailbox.port}" in str(error)


def test_the_servers_words_are_repeated(mailbox):
    mailbox.refuse_data = "554 5.7.1 looks like\x07 spam"

    assert "554 5.7.1 looks like spam" in str(failure(channel(mailbox.port)))


def test_a_server_that_stumbles_over_the_goodbye_has_taken_the_mail(mailbox):
    mailbox.refuse_quit = True

    channel(mailbox.port).send(delivery())

    assert len(mailbox.mails) == 1


def test_nobody_listening_is_unreachable():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    error = failure(channel(port))

    assert (error.fault, error.permanent) == (DeliveryFault.UNREACHABLE, False)


def test_an_unknown_host_is_unreachable():
    error = failure(channel(25, host="nergens.invalid"))

    assert (error.fault, error.permanent) == (DeliveryFault.UNREACHABLE, False)


def test_a_silent_server_is_a_time_out():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = failure(channel(silent.getsockname()[1], timeout_seconds=0.2))

    assert (error.fault, error.permanent) == (DeliveryFault.TIMEOUT, False)
    assert "0.2 s" in str(error)


def test_no_address_at_all_is_refused(mailbox):
    assert failure(channel(mailbox.port), to=()).permanent


def test_with_starttls_a_mail_travels_encrypted_after_login(certificates):
    box = Mailbox()
    with mail_server(
        box,
        tls_context=certificates.context(),
        require_starttls=True,
        authenticator=box.login,
        auth_required=True,
    ):
        secure = channel(
            box.port,
            security="starttls",
            ca_file=certificates.authority,
            username=USER,
            password=PASSWORD,
        )
        secure.check()
        secure.send(delivery())

    assert box.encrypted == [True]
    assert len(box.logins) == 2


def test_tls_from_the_start(certificates):
    box = Mailbox()
    with mail_server(box, ssl_context=certificates.context()):
        channel(box.port, security="tls", ca_file=certificates.authority).send(delivery())

    assert len(box.mails) == 1


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_an_unknown_certificate_is_never_accepted(certificates, security):
    box = Mailbox()
    context = certificates.context()
    served = {"tls_context": context} if security == "starttls" else {"ssl_context": context}
    with mail_server(box, **served):
        error = failure(channel(box.port, security=security))

    assert (error.fault, error.permanent) == (DeliveryFault.TLS, True)
    assert "ca_file" in str(error)
    assert box.mails == []


def test_a_certificate_for_another_name_is_never_accepted(certificates):
    box = Mailbox()
    with mail_server(box, tls_context=certificates.context()):
        secure = channel(
            box.port, host="127.0.0.1", security="starttls", ca_file=certificates.authority
        )
        error = failure(secure)

    assert (error.fault, error.permanent) == (DeliveryFault.TLS, True)


def test_a_server_without_starttls_gets_no_mail(mailbox):
    error = failure(channel(mailbox.port, security="starttls"))

    assert (error.fault, error.permanent) == (DeliveryFault.TLS, True)
    assert mailbox.mails == []


def test_speaking_tls_to_a_server_that_does_not_says_what_to_change(mailbox):
    error = failure(channel(mailbox.port, security="tls", timeout_seconds=2))

    assert error.fault is DeliveryFault.TLS
    assert "starttls" in str(error)


def test_a_missing_ca_file_is_named(mailbox, tmp_path):
    secure = channel(mailbox.port, security="tls", ca_file=tmp_path / "none.pem")

    assert "none.pem" in str(failure(secure))


def test_a_wrong_password_is_permanent_and_not_repeated(certificates):
    box = Mailbox()
    with mail_server(
        box,
        tls_context=certificates.context(),
        authenticator=box.login,
        auth_required=True,
    ):
        wrong = channel(
            box.port,
            security="starttls",
            ca_file=certificates.authority,
            username=USER,
            password=f"{PASSWORD}?",
        )
        error = failure(wrong)
        with pytest.raises(DeliveryError):
            wrong.check()

    assert (error.fault, error.permanent) == (DeliveryFault.UNAUTHORIZED, True)
    assert USER in str(error)


def test_a_server_that_offers_no_login_is_said_to(mailbox):
    error = failure(channel(mailbox.port, username=USER, password=PASSWORD))

    assert (error.fault, error.permanent) == (DeliveryFault.UNAUTHORIZED, True)


def test_a_check_sends_nothing(mailbox):
    channel(mailbox.port).check()

    assert mailbox.mails == []


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"username": "a"}, "belong together"),
        ({"username": "a", "password": "b", "security": "none"}, "readable over the network"),
        ({"from": "nobody"}, "is not a mail address"),
        ({"from": "a@b.example\r\nBcc: x@y.example"}, "is not a mail address"),
        ({"reply_to": "a b@c.example"}, "is not a mail address"),
        ({"port": 0}, "port"),
        ({"security": "ssl"}, "security"),
        ({"smtp_host": "x"}, "smtp_host"),
    ],
)
def test_wrong_options_are_refused_in_plain_words(table, told):
    good = {"host": "mail.example.com", "from": SENDER}

    with pytest.raises(ValidationError) as refused:
        EmailOptions.model_validate({**good, **table})

    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("to", "problem"),
    [
        ([], "needs at least one address"),
        (["a@example.com", "b"], "'b' is not a mail address"),
        (["a@example.com, b@example.com"], "is not a mail address"),
        (["<script>@example.com"], "is not a mail address"),
        (["a@example.com"], None),
        (["Crisisteam <a+b@example.com>"], None),
    ],
)
def test_addresses_are_checked_before_anything_is_sent(to, problem):
    found = channel(25).problem_with(to)

    assert found is None if problem is None else problem in found


def test_a_crisis_in_english_reads_in_english(mailbox):
    channel(mailbox.port).send(delivery(message(SignalKind.VOLUME_SPIKE, language="en", total=64)))

    text = mailbox.mails[0].get_body(("plain",)).get_content()
    assert "WHAT TO DO NOW" in text
    assert mailbox.mails[0]["Content-Language"] == "en"


def test_no_line_of_a_mail_is_longer_than_mail_allows(mailbox):
    channel(mailbox.port).send(delivery())

    raw = mailbox.mails[0].as_bytes()
    assert max(len(line) for line in raw.splitlines()) < 998


HEADERS = [
    "From",
    "To",
    "Subject",
    "Message-ID",
    "Date",
    "Thread-Topic",
    "Thread-Index",
    "List-Id",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "X-Merkwacht-Key",
    "X-Merkwacht-Incident",
    "X-Merkwacht-Event",
    "Importance",
    "X-Priority",
    "MIME-Version",
    "Content-Type",
    "Content-Language",
]

hostile = st.text(max_size=60) | st.sampled_from(
    [
        "Zonnehoek\r\nBcc: all@evil.example",
        "a\n\n<script>alert(1)</script>",
        "\u2028X: y",
        "=?utf-8?q?=0D=0ABcc=3A_a=40b?=",
        "=??Q?=0D",
        "a =?utf-8?b?DQpCY2M6IHg=?= =?utf-8?q?=0A?=",
        "</title></style><img src=x onerror=alert(1)>",
        "{{ 7 * 7 }}{% raw %}",
        '" onmouseover="alert(1)',
    ]
)


@settings(max_examples=40)
@example("=?utf-8?q?=0D=0ABcc=3A_a=40b?=", "", "=??Q?=0D", "")
@given(hostile, hostile, hostile, hostile)
def test_no_text_adds_a_header_or_a_tag(brand, post, key, thread):
    sent = message(
        brand=brand,
        exhibits=[Exhibit(mention(post, brand=brand, author=brand), None)],
        link="https://merkwacht.example.com/",
    )
    wire = build_mail(
        delivery(sent, key=key, thread={"message_id": thread, "subject": thread, "index": thread}),
        parse_address(f"{brand.replace('<', '')} <a@b.example>"),
        [parse_address("crisis@example.com")],
    ).as_bytes()

    mail = message_from_bytes(wire, policy=default)
    assert mail.keys() == HEADERS
    html = mail.get_body(("html",)).get_content()
    tags = Tags()
    tags.feed(html)
    assert tags.found <= ALLOWED_TAGS
    assert not any(name.startswith("on") for name in tags.attributes)
    assert {urlsplit(link).scheme for link in tags.links} <= {"https"}


ALLOWED_TAGS = {
    *("html", "head", "meta", "title", "style", "body", "div", "table", "tr", "td"),
    *("h1", "h2", "p", "a", "span", "br"),
}


class Tags(HTMLParser):
    """What an HTML reader makes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in {"href", "src"}]


def test_a_mail_without_a_moment_leaves_the_date_to_the_server(mailbox):
    undated = delivery()
    channel(mailbox.port).send(type(undated)(undated.message, undated.to, undated.key))

    assert mailbox.mails[0]["Date"] is None
