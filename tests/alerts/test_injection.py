"""The whole corpus of hostile texts through every channel: what comes out is what the template meant.

The measure is a harmless message of the same shape: tags, links, blocks, headers and fields of a
hostile one must be the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import Any

import pytest

from alerts.alertmanager import AlertmanagerChannel, AlertmanagerOptions
from alerts.apprise import AppriseChannel, AppriseOptions
from alerts.base import Delivery, Message
from alerts.email import EmailChannel, EmailOptions
from alerts.slack import SlackChannel, SlackOptions
from alerts.webhook import WebhookChannel, WebhookOptions
from tests.alerts.blockkit import buttons_of, problems, texts_of
from tests.alerts.hostile import HOSTILE, STEERING, hostile_message
from tests.alerts.mailserver import Mailbox, mail_server
from tests.alerts.slackserver import APP_TOKEN, TOKEN, WEBHOOK_PATH, slack_server
from tests.alerts.webserver import Reply, web_server

OWN = "https://watch.example.com/i/ticket"
POST = "https://x.com/i/status/1"
_TEXTUAL_LINK = re.compile(
    r"(?i)\b(?:https?|ftp|file|data|javascript|vbscript|tel|mailto):(?:/|\w)|\bwww\.\w|\b\w+\.(?:com|nl|example)\b"
)


def hostile(text: str) -> Message:
    return replace(hostile_message(text), link=OWN, ticket="ticket", taken_by=None)


class Outline(HTMLParser):
    """Tags, the attributes that do something, and what is read between them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, ...]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = ",".join(sorted(name for name, _ in attrs))
        where = "|".join(value or "" for name, value in attrs if name in {"href", "src"})
        self.tags.append((tag, names, where))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def handle_comment(self, data: str) -> None:
        self.tags.append(("comment", data, ""))


def outline(page: str) -> Outline:
    found = Outline()
    found.feed(page)
    return found


Shape = Any
"""What must not depend on what a text says."""
Check = Callable[[Message, str], Shape]


def no_link_in(text: str) -> None:
    rest = text.replace(OWN, "").replace(POST, "")
    assert not _TEXTUAL_LINK.findall(rest), _TEXTUAL_LINK.findall(rest)[:3]


def nothing_steers(text: str) -> None:
    assert not set(text) & (set(STEERING) | {"\x00"})


@contextmanager
def by_mail() -> Iterator[Check]:
    with mail_server(Mailbox()) as box:
        options = {"host": "127.0.0.1", "port": box.port, "security": "none"}
        sender = {"from": "Merkwacht <wacht@merk.example>", "hello_hostname": "localhost"}
        channel = EmailChannel(EmailOptions.model_validate(options | sender))

        def check(message: Message, key: str) -> Shape:
            channel.send(Delivery(message, ["crisis@merk.example"], key))
            (mail,) = box.mails
            box.mails.clear()
            text, page = (mail.get_body((kind,)) for kind in ("plain", "html"))
            assert isinstance(text, EmailMessage)
            assert isinstance(page, EmailMessage)
            found = outline(page.get_content())

            no_link_in(" ".join(found.words).replace(key, ""))
            no_link_in(text.get_content().replace(key, ""))
            nothing_steers(page.get_content() + text.get_content() + str(mail["Subject"]))
            assert text.get_content().splitlines().count("-- ") == 1
            return mail.keys(), found.tags, [part.get_content_type() for part in mail.walk()]

        yield check


def mrkdwn_of(blocks: list[dict[str, Any]]) -> str:
    found = [text for block in blocks for text in texts_of(block)]
    return "\n".join(each["text"] for each in found)


def check_blocks(body: dict[str, Any]) -> Shape:
    blocks = body["blocks"]
    assert problems(blocks) == []
    text = mrkdwn_of(blocks) + "\n" + body["text"]
    links = re.findall(r"<([^>]*)>", text)
    assert all(re.match(rf"(?:{re.escape(OWN)}|{re.escape(POST)})\|", each) for each in links)
    assert not re.search(r"(?<!\w)@(?:channel|here|everyone|room)\b", text)
    # `verbatim` keeps Slack from making links of bare domains.
    assert all(each.get("verbatim", True) for block in blocks for each in texts_of(block))
    assert not re.search(r"\w:(?=//)|\bwww\.\w", re.sub(r"<[^>]*>", "", text))
    nothing_steers(text)
    shape = [(block["type"], [each["type"] for each in texts_of(block)]) for block in blocks]
    presses = [(each["action_id"], each.get("url")) for each in buttons_of(blocks)]
    return shape, presses, links, sorted(body)


@contextmanager
def by_bot() -> Iterator[Check]:
    with slack_server() as slack:
        table = {"bot_token": TOKEN, "app_token": APP_TOKEN, "base_url": f"{slack.url}/api/"}
        channel = SlackChannel(SlackOptions.model_validate(table))

        def check(message: Message, key: str) -> Shape:
            slack.requests.clear()
            first = channel.send(Delivery(message, ["#merk"], key))
            channel.send(Delivery(message, ["#merk"], key, first.thread))
            return [check_blocks(body) for body in slack.posted]

        yield check


@contextmanager
def by_slack_webhook() -> Iterator[Check]:
    with slack_server() as slack:
        channel = SlackChannel(
            SlackOptions.model_validate({"webhook_url": f"{slack.url}{WEBHOOK_PATH}"})
        )

        def check(message: Message, key: str) -> Shape:
            slack.requests.clear()
            channel.send(Delivery(message, (), key))
            return [check_blocks(body) for body in slack.posted]

        yield check


def keys_of(value: object) -> Shape:
    """The shape of JSON: names and kinds, not contents."""
    if isinstance(value, dict):
        return {name: keys_of(each) for name, each in value.items()}
    if isinstance(value, list):
        return [keys_of(each) for each in value]
    return type(value).__name__


@contextmanager
def by_webhook() -> Iterator[Check]:
    with web_server() as site:
        table = {"url": site.url, "secret": "whsec_" + "bWVya3dhY2h0" * 3}
        channel = WebhookChannel(
            WebhookOptions.model_validate(table | {"allow_private_address": True})
        )

        def check(message: Message, key: str) -> Shape:
            channel.send(Delivery(message, (), key))
            request = site.requests[-1]
            assert not set(request.body) & set(b"<>&\x00\x1b")
            body = json.loads(request.body)
            nothing_steers(json.dumps(body, ensure_ascii=False))
            assert "ticket" not in body["data"]
            return keys_of(body), sorted(name.lower() for name in request.headers)

        yield check


def tame(text: str) -> None:
    """Nothing in a text for programs we know nothing of."""
    rest = text.replace(OWN, "").replace(POST, "")
    assert not re.search(r"(?i)\w://|\bwww\.\w|(?:java|vb)script:\w", rest)
    assert not re.search(r"(?<!\w)[@#!]\w", rest)
    assert not set("<>") & set(rest)
    nothing_steers(text)


@contextmanager
def by_alertmanager() -> Iterator[Check]:
    with web_server() as site:
        site.usual = Reply(200, b"[]")
        channel = AlertmanagerChannel(AlertmanagerOptions.model_validate({"urls": [site.url]}))

        def check(message: Message, key: str) -> Shape:
            channel.send(Delivery(message, (), key))
            request = next(each for each in reversed(site.requests) if each.method == "POST")
            (alert,) = json.loads(request.body)
            for text in (*alert["labels"].values(), *alert["annotations"].values()):
                tame(text)
            return keys_of(alert)

        yield check


@contextmanager
def by_apprise() -> Iterator[Check]:
    with web_server() as site:
        url = f"json://{site.url.removeprefix('http://')}"
        channel = AppriseChannel(AppriseOptions.model_validate({"url": url, "format": "text"}))

        def check(message: Message, key: str) -> Shape:
            channel.send(Delivery(message, (), key))
            body = json.loads(site.requests[-1].body)
            tame(body["title"])
            tame(body["message"])
            assert "\n" not in body["title"]
            return sorted(body)

        yield check


WAYS = {
    "email": by_mail,
    "slack bot": by_bot,
    "slack webhook": by_slack_webhook,
    "webhook": by_webhook,
    "alertmanager": by_alertmanager,
    "apprise": by_apprise,
}


@pytest.mark.parametrize("way", WAYS)
def test_no_text_does_anything(way):
    with WAYS[way]() as check:
        usual = check(hostile("rustig"), "mw-1")
        for name, text in HOSTILE.items():
            if name in {"empty", "only marks"}:
                continue  # nothing is left of them: see below
            assert check(hostile(text), "mw-1") == usual, name


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["empty", "only marks"])
def test_a_text_of_which_nothing_is_left_is_told_all_the_same(way, name):
    with WAYS[way]() as check:
        check(hostile(HOSTILE[name]), "mw-1")
