"""From a post to somebody who takes it, and silence after: the daemon, Slack, mail and a browser."""

from __future__ import annotations

import html
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path

import pytest
from typer.testing import CliRunner

from alerts.base import IncidentState
from monitor.app import App
from monitor.cli import app
from tests.alerts.mailserver import Mailbox, mail_server
from tests.alerts.slackserver import APP_TOKEN, TOKEN, Workspace, slack_server
from tests.fakes import FakeClock
from tests.monitor.make import sql
from tests.monitor.test_journey import START, THREAT, Stage
from tests.monitor.test_pages import Visitor
from tests.monitor.test_socketmode import until

PUBLIC = "http://127.0.0.1:1/merkwacht"
ROOT = "Ccrisis"


class Watch:
    """The daemon as it runs for ever, with a clock that the test moves."""

    def __init__(self, folder: Path, mails: Mailbox, slack: Workspace) -> None:
        self.mails, self.slack = mails, slack
        stage = Stage.__new__(Stage)
        stage.clock = FakeClock(START)
        stage.posts = folder / "posts.jsonl"
        stage.number = 0
        stage.say(THREAT)
        self.clock = stage.clock
        self.app = App(self.configured(folder, mails, slack), now=self.clock)
        assert self.app.site is not None
        self.app.site.bind()
        self.visitor = Visitor(self.app.site.port)
        self._thread = threading.Thread(target=self.app.daemon.run)
        self._thread.start()

    @staticmethod
    def configured(folder: Path, mails: Mailbox, slack: Workspace) -> Path:
        posts = folder / "posts.jsonl"
        posts.touch()
        file = folder / "config.toml"
        file.write_text(
            f"""
            [web]
            enabled = true
            port = 0
            public_url = "{PUBLIC}"
            [http]
            enabled = false
            [[brands]]
            name = "Acme"
            query = "acme NOT street"
            [[sources]]
            kind = "file"
            name = "clippings"
            path = "{posts}"
            [[channels]]
            kind = "email"
            name = "mail"
            host = "127.0.0.1"
            port = {mails.port}
            security = "none"
            from = "merkwacht@acme.example"
            [[channels]]
            kind = "slack"
            name = "slack"
            bot_token = "{TOKEN}"
            app_token = "{APP_TOKEN}"
            base_url = "{slack.url}/api/"
            [[receivers]]
            name = "team"
            channels = [
              {{ use = "slack", to = ["#crisis"] }}, {{ use = "mail", to = ["team@acme.example"] }}
            ]
            [[receivers]]
            name = "boss"
            channels = [{{ use = "mail", to = ["boss@acme.example"] }}]
            [[escalations]]
            name = "up"
            steps = [{{ wait_minutes = 15, receivers = ["boss"] }}]
            [[routes]]
            receivers = ["team"]
            escalation = "up"
            """
        )
        return file

    def state(self) -> str:
        ((state,),) = sql(self.app.store.path, "SELECT state FROM incident")
        return str(state)

    def taken_by(self) -> str | None:
        ((who,),) = sql(self.app.store.path, "SELECT acknowledged_by FROM incident")
        return None if who is None else str(who)

    def mails_to(self, who: str) -> list[EmailMessage]:
        pairs = zip(self.mails.mails, self.mails.recipients, strict=False)
        return [mail for mail, to in pairs if to == [f"{who}@acme.example"]]

    def posted(self) -> str | None:
        """Where the incident's one message stands."""
        found = [
            ts for (channel, ts), body in self.slack.messages.items() if "thread_ts" not in body
        ]
        return found[0] if found else None

    def let_pass(self, minutes: float) -> None:
        """Time passes, and the daemon has looked at all that follows from it."""
        self.clock.advance(minutes=minutes)
        looked = threading.Event()
        for _ in range(2):
            looked.clear()
            self.app.daemon._inbox.post(lambda: self.app.daemon._turn("follow"))
            self.app.daemon._inbox.post(lambda: self.app.daemon._turn("deliver"))
            self.app.daemon._inbox.post(looked.set)
            assert looked.wait(20)

    def close(self) -> None:
        self.app.daemon.stop()
        self._thread.join(30)
        assert not self._thread.is_alive()
        self.app.store.close()
        self.app._lock.close()


@contextmanager
def watching(folder: Path) -> Iterator[Watch]:
    with mail_server(Mailbox()) as mails, slack_server() as slack:
        slack.names = {"U1": "Anna"}
        watch = Watch(folder, mails, slack)
        try:
            until(lambda: watch.posted() and watch.mails_to("team"))
            yield watch
        finally:
            watch.close()


def test_a_press_in_slack_is_heard_told_and_ends_the_paging(tmp_path):
    with watching(tmp_path) as watch:
        root = watch.posted()
        assert root is not None
        until(lambda: watch.slack.sessions)
        envelope = watch.slack.press((ROOT, root), "merkwacht.take")
        assert watch.slack.session.wait_for(envelope) < 3

        until(lambda: watch.taken_by() == "Anna")
        until(lambda: "Opgepakt door Anna" in str(watch.slack.messages[ROOT, root]["blocks"]))
        watch.let_pass(1)
        until(lambda: any("Anna" in text for text in watch.slack.in_thread(root)))
        until(lambda: len(watch.mails_to("team")) == 2)
        watch.let_pass(20)

        assert watch.state() == IncidentState.ACKNOWLEDGED.value
        assert watch.mails_to("boss") == []
        replies = watch.slack.in_thread(root)
        assert len(watch.slack.messages) == 1 + len(replies) == 2


def test_without_a_press_the_next_one_is_paged(tmp_path):
    with watching(tmp_path) as watch:
        watch.let_pass(16)
        until(lambda: watch.mails_to("boss"))

        assert watch.state() == IncidentState.OPEN.value


def link_in(mail: EmailMessage) -> str:
    """The path of the button in the HTML part, which must be the link in the text part, too."""
    page, text = mail.get_body(("html",)), mail.get_body(("plain",))
    assert page is not None
    assert text is not None
    (button,) = re.findall(rf'href="({re.escape(PUBLIC)}/i/[^"]+)"', page.get_content())
    assert html.unescape(button) in text.get_content().replace("\n", " ").split()
    return html.unescape(button).removeprefix(PUBLIC)


def test_the_link_in_a_mail_takes_it_and_slack_shows_who(tmp_path):
    with watching(tmp_path) as watch:
        path = link_in(watch.mails_to("team")[0])
        page = watch.visitor.ask(path)[1]
        assert watch.state() == IncidentState.OPEN.value
        answer, after = watch.visitor.press(page, path, "Bram")

        assert answer.status == 200
        assert "Opgepakt door Bram" in after
        root = watch.posted()
        assert root is not None
        watch.let_pass(1)
        until(lambda: "Opgepakt door Bram" in str(watch.slack.messages[ROOT, root]["blocks"]))
        until(lambda: len(watch.mails_to("team")) == 2)
        watch.let_pass(20)

        assert watch.mails_to("boss") == []
        first, second = watch.mails_to("team")
        assert second["In-Reply-To"] == first["Message-ID"]


def test_a_public_port_that_is_taken_is_named(tmp_path):
    with mail_server(Mailbox()) as mails, slack_server() as slack:
        file = Watch.configured(tmp_path, mails, slack)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            file.write_text(file.read_text().replace("port = 0", f"port = {port}", 1))
            file.chmod(0o600)
            result = CliRunner().invoke(app, ["run", "--config", str(file)])

    assert result.exit_code == 1
    assert f"web: cannot serve on 127.0.0.1:{port}: Address already in use" in result.stderr


@pytest.mark.parametrize("secret", [TOKEN, APP_TOKEN])
def test_no_token_is_in_the_database(tmp_path, secret):
    with watching(tmp_path) as watch:
        path = watch.app.store.path
    assert secret.encode() not in path.read_bytes()
