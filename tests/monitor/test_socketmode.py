"""Buttons in Slack, over a real WebSocket to a server shaped like Slack's."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from alerts.base import Delivery, IncidentState
from alerts.slack import SlackChannel, SlackOptions
from monitor.log import set_up
from monitor.socketmode import SocketMode, is_safe_socket, presses
from tests.alerts.blockkit import buttons_of, problems
from tests.alerts.slackserver import APP_TOKEN, TOKEN, Answer, Workspace, slack_server
from tests.monitor.counter import Office, office

ROOT = ("Cmerk", "17.1")


def until(true: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        threading.Event().wait(0.02)


class Room:
    """An office with Slack: one message is posted, somebody may press its buttons."""

    def __init__(self, made: Office, slack: Workspace, **options: Any) -> None:
        self.office, self.slack = made, slack
        table = {
            "bot_token": TOKEN,
            "app_token": APP_TOKEN,
            "base_url": f"{slack.url}/api/",
            "timeout_seconds": 5,
            **options,
        }
        self.channel = SlackChannel(SlackOptions.model_validate(table))
        self.listener = SocketMode(
            "slack", self.channel, made.desk, made.metrics, first_wait_seconds=0.05
        )

    def post(self) -> None:
        case = self.office.desk.show(self.office.links.read(self.office.ticket(), None))
        assert case is not None
        self.channel.send(Delivery(case.message, ["#merk"], "mw-1"))
        self.slack.requests.clear()

    @property
    def connected(self) -> bool:
        return bool(self.office.metrics.slack_connected.labels("slack")._value.get())

    def listen(self) -> None:
        self.listener.start()
        until(lambda: self.connected)

    def press(self, button: str, user: str = "U1", moment: str = "") -> str:
        envelope = self.slack.press(ROOT, f"merkwacht.{button}", user=user, moment=moment)
        assert self.slack.session.wait_for(envelope) < 3
        return envelope

    def shown(self) -> str:
        return json.dumps(self.slack.messages[ROOT]["blocks"], ensure_ascii=False)


@contextmanager
def room(tmp_path: Path, **options: Any) -> Iterator[Room]:
    with office(tmp_path) as made, slack_server() as slack:
        slack.names = {"U1": "Anna", "U2": "Bram"}
        found = Room(made, slack, **options)
        found.post()
        try:
            yield found
        finally:
            found.listener.close()
            if found.listener._thread is not None:
                found.listener._thread.join(20)


def test_a_button_takes_the_incident_and_the_message_says_so(tmp_path):
    with room(tmp_path) as here:
        here.listen()
        here.press("take")
        until(lambda: "Opgepakt door Anna" in here.shown())

        assert here.office.now().state is IncidentState.ACKNOWLEDGED
        assert here.office.history() == [("acknowledged", "Anna", "slack")]
        assert here.office.changes == [None]
        ids = [each["action_id"] for each in buttons_of(here.slack.messages[ROOT]["blocks"])]
        assert ids == ["merkwacht.resolve", "merkwacht.open"]
        assert problems(here.slack.messages[ROOT]["blocks"]) == []
        assert "kenmerk mw-1" in here.shown()
        assert here.slack.whispers == []
        assert here.office.metrics.actions.labels("slack", "take", "done")._value.get() == 1


def test_who_presses_second_is_told_who_was_first_and_nobody_else_is(tmp_path):
    with room(tmp_path) as here:
        here.listen()
        before = dict(here.slack.messages[ROOT])
        here.press("take", "U1")
        until(lambda: here.office.now().acknowledged_by)
        here.slack.messages[ROOT] |= {"blocks": before["blocks"]}  # a screen that lags behind
        here.press("take", "U2")
        until(lambda: here.slack.whispers)

        assert here.slack.whispers[0]["user"] == "U2"
        assert here.slack.whispers[0]["text"] == "Anna heeft dit al opgepakt."
        assert here.office.now().acknowledged_by == "Anna"
        until(lambda: "Opgepakt door Anna" in here.shown())


def test_closing_ends_it_for_everybody(tmp_path):
    with room(tmp_path) as here:
        here.listen()
        here.press("resolve", "U2")
        until(lambda: "🟢" in here.shown())

        assert here.office.now().state is IncidentState.RESOLVED
        assert buttons_of(here.slack.messages[ROOT]["blocks"]) == []
        with here.office.store.read() as unit:
            sent = unit.outbox.of_incident(here.office.incident.id)
        assert {each.event for each in sent} >= {"opened", "resolved"}


def test_the_button_that_opens_the_page_is_acknowledged_and_does_nothing(tmp_path):
    with room(tmp_path) as here:
        here.listen()
        here.press("open")
        here.press("take")
        until(lambda: here.office.now().acknowledged_by)

        assert len(here.office.history()) == 1


def test_an_envelope_that_comes_twice_is_one_press(tmp_path):
    with room(tmp_path) as here:
        here.listen()
        before = dict(here.slack.messages[ROOT])
        here.press("take", moment="1700.1")
        until(lambda: "Opgepakt door" in here.shown())
        here.slack.messages[ROOT] = before
        here.press("take", moment="1700.1")
        here.press("take", user="U2", moment="1700.2")
        until(lambda: here.slack.whispers)

        assert [each["user"] for each in here.slack.whispers] == ["U2"]
        assert len(here.office.history()) == 1


def test_a_lost_connection_is_opened_again(tmp_path):
    with room(tmp_path) as here:
        here.listen()
        here.slack.session.hang_up()
        until(lambda: not here.connected)
        until(lambda: here.connected)
        here.press("take")
        until(lambda: here.office.now().acknowledged_by == "Anna")

        assert len(here.slack.sessions) == 2


def test_slacks_own_goodbye_is_followed_by_a_new_connection(tmp_path):
    with room(tmp_path) as here:
        here.listen()
        here.slack.session.send({"type": "disconnect", "reason": "refresh_requested"})
        until(lambda: len(here.slack.sessions) == 2)
        until(lambda: here.connected)
        here.press("take")
        until(lambda: here.office.now().acknowledged_by == "Anna")


def test_what_keeps_it_from_connecting_is_logged_and_tried_again(tmp_path):
    log = io.StringIO()
    with room(tmp_path) as here:
        set_up(level="info", style="json", stream=log)
        here.slack.answers = [
            Answer(body={"ok": False, "error": "invalid_auth"}),
            Answer(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "0"}),
            Answer(500, "oops"),
            Answer(drop=True),
            Answer(body={"ok": True, "url": "ws://evil.example/x"}),
        ]
        here.listen()
        here.press("take")
        until(lambda: here.office.now().acknowledged_by == "Anna")

    lines = [json.loads(line) for line in log.getvalue().splitlines() if line.startswith("{")]
    failed = [each["error"] for each in lines if each["event"] == "slack_not_connected"]
    assert failed == [
        "invalid_auth", "ratelimited", "status 500", "RemoteDisconnected", "ValueError",
    ]  # fmt: skip
    assert "geheim" not in log.getvalue()


def test_while_it_cannot_connect_alerts_go_out(tmp_path):
    with room(tmp_path) as here:
        here.slack.socket_mode = False
        here.listener.start()
        until(lambda: here.slack.asked("apps.connections.open"))
        here.post()

        assert not here.connected
        assert len(here.slack.messages) == 2


def test_slack_that_asks_to_wait_is_waited_for(tmp_path):
    with room(tmp_path) as here:
        here.slack.answers = [
            Answer(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "30"})
        ]
        here.listener.start()
        until(lambda: here.slack.asked("apps.connections.open"))
        threading.Event().wait(0.5)

        assert len(here.slack.asked("apps.connections.open")) == 1


def test_without_users_read_the_envelopes_name_is_used(tmp_path):
    with room(tmp_path) as here:
        here.slack.names = {}
        here.listen()
        here.press("take")
        until(lambda: here.office.now().acknowledged_by == "u1.name")


def test_a_hostile_display_name_stays_a_name(tmp_path):
    with room(tmp_path) as here:
        here.slack.names = {"U1": "<!channel>\r\n\u202e*Eve*"}
        here.listen()
        here.press("take")
        until(lambda: "Opgepakt door" in here.shown())

        assert "<!channel>" not in here.shown()
        assert here.office.now().acknowledged_by == "<!channel> *Eve*"


def test_a_ticket_that_is_not_ours_changes_nothing(tmp_path):
    with room(tmp_path) as here:
        here.listen()
        for block in here.slack.messages[ROOT]["blocks"]:
            for element in block.get("elements", []):
                if "value" in element:
                    element["value"] = "A" * 88
        here.press("take")
        until(lambda: here.slack.whispers)

        assert "is er niet meer" in here.slack.whispers[0]["text"]
        assert here.office.now().state is IncidentState.OPEN


def test_a_press_while_the_daemon_ends_is_told_to_be_repeated(tmp_path):
    with room(tmp_path) as here:
        here.listen()
        here.office.inbox.close()
        here.press("take")
        until(lambda: here.slack.whispers)

        assert "er is niets veranderd" in here.slack.whispers[0]["text"]


def test_a_message_that_cannot_be_edited_does_not_undo_the_press(tmp_path):
    with room(tmp_path) as here:
        here.listen()
        envelope = here.slack.press(ROOT, "merkwacht.take")
        del here.slack.messages[ROOT]
        here.slack.session.wait_for(envelope)
        until(lambda: here.office.now().acknowledged_by == "Anna")


def test_a_wrong_app_token_never_reaches_the_log(tmp_path, caplog):
    caplog.set_level("DEBUG")
    log = io.StringIO()
    with room(tmp_path, app_token="xapp-geheim-9") as here:
        set_up(level="debug", style="json", stream=log)
        here.listener.start()
        until(lambda: "invalid_auth" in log.getvalue())

    assert "geheim" not in log.getvalue() + caplog.text


@pytest.mark.parametrize(
    "payload",
    [
        None,
        [],
        {},
        {"type": "view_submission"},
        {"type": "block_actions", "actions": None},
        {"type": "block_actions", "container": [], "user": {}, "actions": []},
        {"type": "block_actions", "container": {}, "user": {"id": 5}, "actions": [{}]},
        {
            "type": "block_actions",
            "container": {"channel_id": "C", "message_ts": "1"},
            "user": {"id": "U"},
            "actions": [None, {"action_id": ["x"]}, {"action_id": "other.take", "value": "t"}],
        },
    ],
)
def test_what_is_not_as_documented_is_no_press(payload):
    assert list(presses(payload)) == []


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("wss://wss-primary.slack.com/link/?ticket=x", True),
        ("wss://wss-primary.slack.com:443/link", True),
        ("wss://wss-primary.slack.com:8443/link", False),  # slack-sdk would not encrypt it
        ("ws://wss-primary.slack.com/link", False),
        ("ws://127.0.0.1:999/link", True),
        ("ws://localhost/link", True),
        ("https://slack.com", False),
        ("wss://", False),
        ("wss://[bad/", False),
        ("", False),
    ],
)
def test_only_an_encrypted_address_is_connected_to(url, safe):
    assert is_safe_socket(url) is safe
