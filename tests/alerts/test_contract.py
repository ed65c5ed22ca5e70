"""What holds for every kind of channel, against a real server of its kind.

A new channel adds one entry to ``RIGS`` and passes.
"""

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from alerts import CHANNELS
from alerts.base import Channel, Delivery, DeliveryError, DeliveryFault, Event, Message, SignalKind
from alerts.message import Exhibit
from monitor.app import App
from tests.alerts.mailserver import Mailbox, mail_server
from tests.alerts.make import NOON, assessment, leak, mention, message
from tests.alerts.slackserver import TOKEN, WEBHOOK_PATH, Answer, slack_server
from tests.alerts.webserver import Reply, Site, trust_only, web_server
from tests.fakes import FakeClock


@dataclass
class Rig:
    """A channel with its server."""

    channel: Channel
    to: tuple[str, ...]
    received: Callable[[], list[str]]
    """Everything that arrived, one text per message, as it came over the wire."""
    fail_once: Callable[[], None]
    refuse_for_good: Callable[[], None]


@contextmanager
def email_rig() -> Iterator[Rig]:
    box = Mailbox()
    with mail_server(box) as served:
        options = {"host": "localhost", "port": served.port, "security": "none"}
        channel = CHANNELS["email"](
            CHANNELS["email"].Options.model_validate({**options, "from": "a@b.example"})
        )

        def answer(text: str | None) -> None:
            box.refuse_data = text

        def texts() -> list[str]:
            box.refuse_data = None
            return [
                "\n".join(
                    [
                        *(f"{name}: {value}" for name, value in mail.items()),
                        *(
                            mail.get_body((part,)).get_content()  # type: ignore[union-attr]
                            for part in ("plain", "html")
                        ),
                    ]
                )
                for mail in box.mails
            ]

        yield Rig(
            channel,
            ("crisis@example.com",),
            texts,
            lambda: answer("451 later"),
            lambda: answer("554 no"),
        )


@contextmanager
def slack_webhook_rig() -> Iterator[Rig]:
    with slack_server() as slack:
        yield slack_rig(slack, {"webhook_url": f"{slack.url}{WEBHOOK_PATH}"}, ())


@contextmanager
def slack_bot_rig() -> Iterator[Rig]:
    with slack_server() as slack:
        options = {"bot_token": TOKEN, "base_url": f"{slack.url}/api"}
        yield slack_rig(slack, options, ("#merk",))


def slack_rig(slack, options, to) -> Rig:
    plugin = CHANNELS["slack"]

    def texts() -> list[str]:
        return [str(body) for body in slack.posted if body.get("text")]

    return Rig(
        plugin(plugin.Options.model_validate(options)),
        to,
        texts,
        lambda: slack.answers.append(Answer(503, "busy")),
        lambda: slack.answers.append(Answer(404, "no_service")),
    )


@contextmanager
def webhook_rig() -> Iterator[Rig]:
    options = {"secret": "whsec_" + "bWVya3dhY2h0" * 3, "allow_private_address": True}
    with web_server() as site:
        plugin = CHANNELS["webhook"]
        channel = plugin(plugin.Options.model_validate({"url": f"{site.url}/hook", **options}))
        yield site_rig(site, channel)


@contextmanager
def alertmanager_rig() -> Iterator[Rig]:
    with web_server() as site:
        site.usual = Reply(200, b'{"versionInfo": {}}')
        plugin = CHANNELS["alertmanager"]
        yield site_rig(site, plugin(plugin.Options.model_validate({"urls": [site.url]})))


@contextmanager
def apprise_rig() -> Iterator[Rig]:
    with web_server() as site:
        plugin = CHANNELS["apprise"]
        # Not JSON, in which a backslash of Markdown is another one.
        options = {"url": site.url.replace("http://", "json://"), "format": "text"}
        yield site_rig(site, plugin(plugin.Options.model_validate(options)))


def site_rig(site: Site, channel: Channel) -> Rig:
    def refuse() -> None:
        site.usual = Reply(404)

    return Rig(
        channel,
        (),
        lambda: [request.body.decode() for request in site.posted()],
        lambda: site.replies.append(Reply(503)),
        refuse,
    )


RIGS = {
    "email": email_rig,
    "slack webhook": slack_webhook_rig,
    "slack bot": slack_bot_rig,
    "webhook": webhook_rig,
    "alertmanager": alertmanager_rig,
    "apprise": apprise_rig,
}


@pytest.fixture(autouse=True)
def _few_authorities(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    trust_only(tmp_path_factory.getbasetemp(), monkeypatch)


@pytest.fixture(params=RIGS)
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with RIGS[request.param]() as ready:
        yield ready
        ready.channel.close()


def send(rig: Rig, sent: Message, key: str = "mw-12-opened-abc", thread=None):
    return rig.channel.send(Delivery(sent, rig.to, key, thread, NOON))


def test_every_kind_has_a_rig():
    assert {name.split()[0] for name in RIGS} == set(CHANNELS)


def test_the_table_and_the_classes_agree():
    for kind, plugin in CHANNELS.items():
        assert plugin.kind == kind
        assert plugin.Options.model_fields["kind"].default == kind


@pytest.mark.parametrize("kind", list(SignalKind))
@pytest.mark.parametrize("event", list(Event))
def test_everything_there_is_to_say_arrives_with_its_key(rig, kind, event):
    send(rig, message(kind, event))

    (arrived,) = rig.received()
    assert "mw-12-opened-abc" in arrived


def test_a_repeat_carries_the_same_key(rig):
    send(rig, message())
    send(rig, message())

    assert ["mw-12-opened-abc" in each for each in rig.received()] == [True, True]


def test_what_a_receipt_says_can_be_given_back(rig):
    first = send(rig, message())
    second = send(rig, message(event=Event.RESOLVED), "mw-12-resolved", first.thread)

    assert second.thread == first.thread


def test_a_passing_failure_may_be_tried_again_and_then_arrives(rig):
    rig.fail_once()
    before = len(rig.received())
    rig.fail_once()
    with pytest.raises(DeliveryError) as failed:
        send(rig, message())
    assert (failed.value.permanent, failed.value.fault) == (False, DeliveryFault.SERVER_ERROR)

    arrived = rig.received()[before:]
    assert arrived == [] or all("mw-12-opened-abc" in each for each in arrived)


def test_a_refusal_for_good_is_permanent(rig):
    rig.refuse_for_good()

    with pytest.raises(DeliveryError) as failed:
        send(rig, message())

    assert failed.value.permanent


def test_a_check_delivers_nothing(rig):
    rig.channel.check()

    assert rig.received() == []


def test_wrong_addresses_are_named_before_sending(rig):
    assert rig.channel.problem_with(rig.to) is None
    assert rig.channel.problem_with(("<not an address>\r\n",)) is not None


HOSTILE = (
    "<!channel> <script>alert(1)</script> <@U012> @here </td></table>\r\nBcc: x@evil.example\r\n\r\n"
    "{{ 7 * 7 }} {brand} %s <a href='javascript:alert(1)'>x</a> \u202egnp.exe\x00\x1b[31m"
)


def test_nothing_hostile_comes_through_any_channel(rig):
    sent = message(
        brand=HOSTILE,
        exhibits=[
            Exhibit(
                mention(HOSTILE, brand=HOSTILE, author=HOSTILE, platform=HOSTILE),
                assessment(leak=leak()),
            )
        ],
    )

    send(rig, sent)

    (arrived,) = rig.received()
    html = arrived[arrived.find("<!DOCTYPE") :] if "<!DOCTYPE" in arrived else arrived
    for markup in ("<script", "<!channel", "<@U012", "</td></table>\r\n", "javascript:alert(1)'>"):
        assert markup not in html
    assert "\nBcc:" not in arrived.split("<!DOCTYPE")[0].split("X-Merkwacht-Key")[0]
    assert "49" not in html.split("7 * 7")[0][-5:]
    for char in ("\x00", "\x1b", "\u202e"):
        assert char not in arrived


def test_nobody_listening_says_so_and_nothing_more():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    here = f"http://127.0.0.1:{port}"
    secret = "whsec_" + "bWVya3dhY2h0" * 3
    deaf = {
        "email": {"host": "127.0.0.1", "port": port, "security": "none", "from": "a@b.example"},
        "slack": {"webhook_url": f"{here}/services/geheim"},
        "webhook": {"url": f"{here}/geheim", "secret": secret, "allow_private_address": True},
        "alertmanager": {"urls": [here], "bearer_token": "geheim"},
        "apprise": {"url": f"json://merk:geheim@127.0.0.1:{port}/geheim"},
    }
    assert set(deaf) == set(CHANNELS)
    for kind, options in deaf.items():
        channel = CHANNELS[kind](CHANNELS[kind].Options.model_validate(options))
        to = ("a@b.example",) if kind == "email" else ()
        attempts = [lambda c=channel, t=to: c.send(Delivery(message(), t, "k"))]
        if kind != "apprise":  # which has no way to try without sending
            attempts.append(channel.check)
        for attempt in attempts:
            with pytest.raises(DeliveryError) as failed:
                attempt()
            assert failed.value.fault is DeliveryFault.UNREACHABLE, kind
            assert "geheim" not in str(failed.value), kind


# -- with the daemon around it ---------------------------------------------------------------------

CONFIG = """
[http]
enabled = false
[[brands]]
name = "Zonnehoek"
query = "zonnehoek"
[[sources]]
kind = "file"
name = "posts"
path = "posts.jsonl"
[[channels]]
kind = "webhook"
name = "hook"
url = "URL/hook"
secret = "whsec_bWVya3dhY2h0bWVya3dhY2h0bWVya3dhY2h0"
allow_private_address = true
[[channels]]
kind = "alertmanager"
name = "alertmanager"
urls = ["URL/am"]
[[channels]]
kind = "apprise"
name = "phone"
url = "json://merk:geheim@HOST/phone"
format = "text"
[[receivers]]
name = "crisis"
channels = [{ use = "hook" }, { use = "alertmanager" }, { use = "phone" }]
[[routes]]
kinds = ["leak", "threat"]
receivers = ["crisis"]
cooldown_minutes = 0
"""


def test_an_hour_of_silence_at_the_other_side_loses_nothing_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    posts, clock = tmp_path / "posts.jsonl", FakeClock()
    posts.touch()
    with web_server() as site:
        text = CONFIG.replace("URL", site.url).replace("HOST", site.url.partition("://")[2])
        (tmp_path / "config.toml").write_text(text.replace("posts.jsonl", str(posts)))
        # Each in its own way: later, broken off, too much at once.
        ways = [Reply(503), Reply(drop=True), Reply(429, headers={"Retry-After": "40"})]
        site.usual = ways[0]
        with App(tmp_path / "config.toml", now=clock) as app:
            for number in range(3):
                site.usual = ways[number]
                said = (
                    f"Gelekt: wachtwoord beheerder Zonnehoek filiaal {number} is Hx7!qL29z{number}K"
                )
                post = {"id": f"p{number}", "source": "x", "text": said}
                with posts.open("a") as file:
                    line = post | {"published_at": clock().isoformat()}
                    file.write(json.dumps(line) + "\n")
                for _ in range(20):
                    app.daemon.tick()
                    clock.advance(minutes=1)
            tried = {request.path for request in site.posted()}
            assert tried == {"/hook", "/am/api/v2/alerts", "/phone"}
            refused = len(site.requests)
            site.usual = Reply(200, b"[]")
            for _ in range(17):
                app.daemon.tick()
                clock.advance(minutes=1)
    # Clocks call besides, about incidents that were told of.
    taken = [
        request
        for request in site.requests[refused:]
        if request.method == "POST" and b"-opened-" in request.body
    ]
    for path in tried:
        keys = [
            re.findall(r"mw-\d+-opened-[0-9a-f]{24}", request.body.decode())[0]
            for request in taken
            if request.path == path
        ]
        incidents = [int(key.split("-")[1]) for key in keys]
        assert len(incidents) == len(set(incidents)) == 3, f"once each through {path}"
    before = {
        request.body
        for request in site.requests[:refused]
        if request.path == "/hook" and b"-opened-" in request.body
    }
    assert before <= {request.body for request in taken if request.path == "/hook"}
