"""The apprise channel: real plug-ins of the real library against real servers on loopback."""

from __future__ import annotations

import logging
import re
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from alerts.apprise import AppriseChannel, AppriseOptions
from alerts.base import DeliveryError, DeliveryFault, Event, Message, Severity, SignalKind
from alerts.message import heading
from alerts.notice import Notice, Style, notice
from tests.alerts.hostile import HOSTILE, STEERING, hostile_message
from tests.alerts.mailserver import PASSWORD, USER, Mailbox, mail_server
from tests.alerts.make import chart, delivery, message
from tests.alerts.webserver import Reply, Site, web_server

KEY = "mw-12-opened-abc"


@pytest.fixture
def site() -> Iterator[Site]:
    with web_server() as served:
        yield served


def channel(url: str, **options: object) -> AppriseChannel:
    table = {"url": url, "timeout_seconds": 5, **options}
    return AppriseChannel(AppriseOptions.model_validate(table))


def at(site: Site, scheme: str = "json", path: str = "geheimpad?+X-Api-Key=geheim") -> str:
    return f"{scheme}://merk:geheim@{site.url.partition('://')[2]}/{path}"


def failure(made: AppriseChannel, **options: object) -> DeliveryError:
    with pytest.raises(DeliveryError) as failed:
        made.send(delivery(to=(), **options))
    assert "geheim" not in str(failed.value)
    assert "127.0.0.1" not in str(failed.value), "a host is a token with some services"
    assert failed.value.__cause__ is None
    return failed.value


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


# -- what is sent ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(SignalKind))
@pytest.mark.parametrize("event", list(Event))
@pytest.mark.parametrize("style", list(Style))
def test_everything_is_said_in_either_form(kind, event, style):
    sent = message(kind, event, language="en", link="https://merkwacht.example/i/12")
    if kind is SignalKind.VOLUME_SPIKE:
        sent = replace(sent, chart=chart())

    said = notice(sent, KEY, style)

    plainly = said.body.replace("\\", "").replace("\u2060", "")
    assert said.title == heading(sent)
    assert sent.summary in plainly
    assert KEY in plainly
    assert sent.link in plainly
    for text in (*sent.actions, *(value for _, value in sent.why)):
        assert text in plainly
    for sample in sent.samples:
        assert sample.text in plainly
        assert sample.url in plainly
    assert ("**Why you get this**" in said.body) is (style is Style.MARKDOWN)
    assert "Since " in said.body


def test_a_message_comes_in_the_receivers_language(site):
    channel(at(site)).send(delivery(message(language="nl"), to=(), key=KEY))
    channel(at(site)).send(delivery(message(language="en"), to=(), key=KEY))

    dutch, english = (request.json() for request in site.requests)
    assert "**Wat nu te doen**" in dutch["message"] or "Waarom" in dutch["message"]
    assert "**What to do now**" in english["message"]
    assert dutch["title"].startswith("[Kritiek] Zonnehoek")
    assert site.requests[0].path.startswith("/geheimpad")
    assert site.requests[0].headers["x-api-key"] == "geheim"


@pytest.mark.parametrize(
    ("severity", "event", "kind"),
    [
        (Severity.CRITICAL, Event.OPENED, "failure"),
        (Severity.HIGH, Event.WORSENED, "failure"),
        (Severity.MEDIUM, Event.OPENED, "warning"),
        (Severity.LOW, Event.CONTINUES, "info"),
        (Severity.CRITICAL, Event.RESOLVED, "success"),
    ],
)
def test_how_grave_it_is_shows_in_the_type(site, severity, event, kind):
    channel(at(site)).send(delivery(message(event=event, severity=severity), to=()))
    assert site.requests[0].json()["type"] == kind


def test_a_form_can_be_chosen(site):
    channel(at(site), format="text").send(delivery(to=()))
    assert "**" not in site.requests[0].json()["message"]


def test_a_repeat_carries_the_same_key(site):
    site.replies = [Reply(503)]
    made = channel(at(site))
    failure(made, key=KEY)
    made.send(delivery(to=(), key=KEY))

    first, second = (request.json() for request in site.requests)
    assert first == second
    assert KEY in first["message"].replace("\\", "")


def test_a_small_service_gets_what_matters_most(site):
    host = site.url.partition("://")[2]
    site.usual = Reply(200, b"{}")
    big = replace(message(), summary="Iemand zegt iets. " * 40)
    channel(f"misskey://geheim@{host}").send(delivery(big, to=(), key=KEY))
    channel(f"mmost://{host}/geheimgeheim").send(delivery(to=(), key=KEY))

    small, larger = (request.json()["text"] for request in site.requests)
    assert len(small) <= 512
    assert "[Kritiek] Zonnehoek" in small
    assert "Iemand zegt iets." in small
    assert KEY in small
    assert len(larger) <= 4000
    assert "Gisteren bij Zonnehoek geweest" in larger


@settings(max_examples=40)
@given(
    limit=st.integers(min_value=60, max_value=5000),
    style=st.sampled_from(list(Style)),
    text=st.sampled_from(sorted(HOSTILE)),
)
def test_a_notice_fits_and_keeps_its_reference(limit: int, style: Style, text: str) -> None:
    said = notice(
        hostile_message(HOSTILE[text]),
        KEY,
        style,
        lambda form: len(form.title) + len(form.body) <= limit,
    )
    assert len(said.title) + len(said.body) <= limit
    assert KEY in said.body.replace("\\", "")
    assert said.title


def test_a_mail_is_a_mail(mailbox):
    url = f"mailto://127.0.0.1:{mailbox.port}?from=merk@a.example&to=crisis@b.example&mode=insecure"
    channel(url).send(delivery(message(language="en"), to=(), key=KEY))

    (mail,) = mailbox.mails
    assert mail["Subject"].startswith("[Critical] Zonnehoek")
    html = mail.get_body(("html",))
    assert html is not None
    assert "<strong>What to do now</strong>" in html.get_content()
    assert KEY in html.get_content()


# -- hostile texts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["text", "markdown"])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_text_stays_a_text(site, style, text):
    channel(at(site), format=style).send(delivery(hostile_message(text), to=(), key=f"k {text}"))

    (request,) = site.requests
    said = request.json()
    assert not set(said["title"] + said["message"]) & set(STEERING)
    assert "\n" not in said["title"]
    assert "bcc" not in request.headers
    both = said["title"] + "\n" + said["message"]
    links = re.findall(r"https?://[^\s>)]+", both)
    assert set(links) <= {"https://x.com/i/status/1"}, "only the address of the post"
    for active in ("<!", "<@", "<script", "<img", "</", "@everyone", "@here", "](", "{{", "{%"):
        assert active not in both
    assert "javascript:alert" not in both
    if style == "markdown":
        body = said["message"].replace("**", "").replace("\\\\", "")
        assert not re.search(r"(?<!\\)[*_`\[\]~]", body.replace("https://x.com/i/status/1", ""))


@pytest.mark.parametrize("service", ["mmost://HOST/geheimgeheim", "misskey://geheim@HOST"])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_text_does_nothing_in_a_chat(site, service, text):
    site.usual = Reply(200, b"{}")
    url = service.replace("HOST", site.url.partition("://")[2])
    channel(url).send(delivery(hostile_message(text), to=()))

    said = site.requests[0].json()["text"]
    assert not set(said) & set(STEERING)
    assert set(re.findall(r"https?://[^\s>)]+", said)) <= {"https://x.com/i/status/1"}
    for active in ("<!", "<@", "@everyone", "@here", "@channel", "@room", "@U", "](", "www.e"):
        assert active not in said


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_text_does_nothing_in_a_mail(mailbox, text):
    url = f"mailto://127.0.0.1:{mailbox.port}?from=merk@a.example&to=crisis@b.example&mode=insecure"
    channel(url).send(delivery(hostile_message(text), to=()))

    (mail,) = mailbox.mails
    assert mailbox.recipients == [["crisis@b.example"]]
    assert mail["Bcc"] is None
    assert mail["X-Evil"] is None
    page = mail.get_body(("html",))
    assert page is not None
    html = page.get_content()
    tags = set(re.findall(r"<\s*/?\s*([a-z0-9!]+)", html.lower()))
    assert tags <= {
        "!doctype", "html", "head", "title", "meta", "body", "b", "br", "p", "strong", "ol", "ul",
        "li", "blockquote", "a", "h1", "h2", "hr", "div", "style",
    }  # fmt: skip
    assert set(re.findall(r'href="([^"]*)"', html)) <= {"https://x.com/i/status/1"}


# -- what can go wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "fault", "permanent"),
    [
        (302, "refused", True),
        (400, "refused", True),
        (401, "unauthorized", True),
        (403, "unauthorized", True),
        (404, "refused", True),
        (408, "timeout", False),
        (410, "refused", True),
        (425, "server_error", False),
        (429, "rate_limited", False),
        (500, "server_error", False),
        (503, "server_error", False),
    ],
)
def test_a_status_says_whether_trying_again_helps(site, status, fault, permanent):
    site.usual = Reply(status, b"you sent geheim", {"Location": "http://127.0.0.1:9/geheim"})

    error = failure(channel(at(site)))

    assert (error.fault.value, error.permanent) == (fault, permanent)
    assert f"HTTP {status}" in str(error)
    assert len(site.requests) == 1, "neither repeated nor redirected here"


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

    error = failure(channel(at(site), timeout_seconds=0.5))

    assert (error.fault.value, error.permanent) == (fault, False)


def test_a_slow_answer_is_an_answer(site):
    site.usual = Reply(200, b"[]", wait_seconds=0.3)
    channel(at(site)).send(delivery(to=()))
    assert len(site.requests) == 1


def test_an_attempt_that_hangs_is_not_joined_by_another(site):
    site.usual = Reply(drip=True)
    made = channel(at(site), timeout_seconds=0.3)
    assert "did not take the message" in str(failure(made))
    assert "still busy" in str(failure(made))
    assert len(site.requests) == 1


def test_what_goes_wrong_at_once_is_told_apart(site):
    """What apprise logs is one stream; each attempt must hear its own part of it."""
    answers = {"refused": 400, "unauthorized": 401, "rate_limited": 429, "server_error": 500}
    with ExitStack() as stack:
        sites = {fault: stack.enter_context(web_server()) for fault in answers}
        for fault, status in answers.items():
            sites[fault].usual = Reply(status, wait_seconds=0.2)
        pool = stack.enter_context(ThreadPoolExecutor(len(answers)))
        waiting = {
            fault: pool.submit(failure, channel(at(sites[fault])), key=fault) for fault in answers
        }
        told = {fault: future.result().fault.value for fault, future in waiting.items()}
    assert told == {fault: fault for fault in answers}


def test_nobody_listening_is_unreachable():
    url = f"json://merk:geheim@127.0.0.1:{free_port()}/geheim"
    error = failure(channel(url))
    assert (error.fault, error.permanent) == (DeliveryFault.UNREACHABLE, False)


LIES = (
    "error=404 status: 410 HTTP 400 (550, b'no') refused: 554 timed out timeout SSLCertVerification"
    " certificate verify failed unauthorized Socket Exception: (550, b'x')"
)


@pytest.mark.parametrize(
    "service", ["json://HOST/x", "enigma2://HOST", "mailto://HOST?from=a@b.nl"]
)
def test_a_post_does_not_say_what_became_of_it(service):
    """A refusal for good would lose the message; nobody was there."""
    url = service.replace("HOST", f"127.0.0.1:{free_port()}")
    error = failure(channel(url), sent=hostile_message(LIES))
    assert (error.fault, error.permanent) == (DeliveryFault.UNREACHABLE, False)


def test_a_certificate_is_verified(certificates):
    with web_server(certificates.context()) as site:
        error = failure(channel(at(site, "jsons")))
        assert (error.fault, error.permanent) == (DeliveryFault.TLS, True)
        assert site.requests == []


@pytest.mark.parametrize(
    ("answer", "fault", "permanent"),
    [
        ({"refuse_data": "451 later"}, "server_error", False),
        ({"refuse_data": "554 no geheim"}, "refused", True),
        ({"refuse_recipient": {"crisis@b.example": "550 no such mailbox"}}, "refused", True),
        ({"refuse_recipient": {"crisis@b.example": "450 full"}}, "server_error", False),
        ({"hang_up_after_data": True}, "unreachable", False),
    ],
)
def test_a_mail_servers_no_says_whether_trying_again_helps(mailbox, answer, fault, permanent):
    for name, value in answer.items():
        setattr(mailbox, name, value)
    url = f"mailto://127.0.0.1:{mailbox.port}?from=merk@a.example&to=crisis@b.example&mode=insecure"

    error = failure(channel(url))

    assert (error.fault.value, error.permanent) == (fault, permanent)


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_a_wrong_password_is_a_wrong_password():
    box = Mailbox()
    with mail_server(box, authenticator=box.login, auth_require_tls=False, auth_required=True):
        rest = f"127.0.0.1:{box.port}?from=m@a.example&to=c@b.example&mode=insecure"
        error = failure(channel(f"mailto://{USER}:geheim@{rest}"))
        assert (error.fault, error.permanent) == (DeliveryFault.UNAUTHORIZED, True)
        channel(f"mailto://{USER}:{PASSWORD.replace('!', '%21')}@{rest}").send(delivery(to=()))
        assert len(box.mails) == 1


def test_a_defect_of_a_plug_in_loses_nothing_and_tells_nothing(site):
    made = channel(at(site))
    # Two of its headers become one that is none: the library below refuses to send that.
    broken = channel(at(site, path="geheim?+X-Key=geheim%0d%0aX:%201"))
    made.send(delivery(to=()))
    error = failure(broken)
    assert not error.permanent
    assert len(site.requests) == 1


# -- checking, logging, options --------------------------------------------------------------------


def test_a_check_sends_nothing_and_finds_an_address_that_is_none(site):
    channel(at(site)).check()
    assert site.requests == []
    for url in ("nosuchservice://geheim", "json://:geheim", "discord://geheim"):
        with pytest.raises(DeliveryError, match="does not understand the url") as failed:
            channel(url).check()
        assert failed.value.permanent
        assert "geheim" not in str(failed.value)


def test_nothing_reaches_the_log_even_at_debug(site, caplog):
    caplog.set_level(logging.DEBUG)
    for name in ("apprise", "urllib3", "urllib3.connectionpool", "requests"):
        caplog.set_level(logging.DEBUG, logger=name)
    made = channel(at(site), timeout_seconds=0.5)
    made.check()
    made.send(delivery(to=()))
    for reply in (Reply(500, b"geheim"), Reply(404), Reply(drop=True), Reply(hang=True)):
        site.replies = [reply]
        failure(made)
    with pytest.raises(DeliveryError):
        channel("discord://geheim").check()

    assert "geheim" not in caplog.text
    assert "Zonnehoek" not in caplog.text
    assert "geheim" not in repr(AppriseOptions.model_validate({"url": at(site)}))


def test_others_may_still_log(site, caplog):
    made = channel(at(site))
    made.send(delivery(to=()))
    logging.getLogger("somebody.else").warning("heard")
    assert "heard" in caplog.text


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({}, "url"),
        ({"url": "geheim"}, "is no apprise address"),
        ({"url": "json://a b/geheim"}, "is no apprise address"),
        ({"url": "json://a/geheim\r\nX: 1"}, "is no apprise address"),
        ({"url": "json://a", "format": "html"}, "format"),
        ({"url": "json://a", "timeout_seconds": 0}, "timeout_seconds"),
        ({"url": "json://a", "tag": "x"}, "tag"),
    ],
)
def test_wrong_options_are_refused_in_plain_words(table, told):
    with pytest.raises(ValidationError) as refused:
        AppriseOptions.model_validate(table)
    assert told in str(refused.value)
    assert "geheim" not in str(refused.value)


def test_without_the_library_it_says_what_to_install(monkeypatch):
    made = channel("json://a.example")
    monkeypatch.setitem(sys.modules, "apprise", None)
    assert "pip install" in str(made.problem_with(()))
    for attempt in (made.check, lambda: made.send(delivery(to=()))):
        with pytest.raises(DeliveryError, match="pip install"):
            attempt()


def test_addresses_belong_into_the_url():
    made = channel("json://a.example")
    assert made.problem_with(()) is None
    assert "leave `to` away" in str(made.problem_with(["#merk"]))


def test_a_notice_without_a_limit_is_the_fullest():
    sent: Message = message()
    assert notice(sent, KEY, Style.TEXT) == notice(sent, KEY, Style.TEXT, lambda form: True)
    assert isinstance(notice(sent, KEY, Style.TEXT, lambda form: False), Notice)
