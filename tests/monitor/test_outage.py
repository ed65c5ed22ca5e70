"""The whole daemon while mail server, Slack or its own database are out of order for a while."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from monitor.app import App
from monitor.store import StoreBusyError
from tests.crash import verify_deliveries, verify_store
from tests.fakes import FakeClock
from tests.monitor.make import limit_pages, new_mention, sql, write_locked
from tests.monitor.servers import MailServer, Webhook

CONFIG = """
[store]
path = "merkwacht.db"
[http]
enabled = false
[[brands]]
name = "Zonnehoek"
query = "zonnehoek"
[[sources]]
kind = "file"
name = "posts"
path = {posts}
interval_seconds = 60
[[channels]]
kind = "email"
name = "mail"
host = "127.0.0.1"
port = {mail}
security = "none"
from = "merkwacht@zonnehoek.example"
hello_hostname = "localhost"
[[channels]]
kind = "slack"
name = "chat"
webhook_url = "{hook}"
[[receivers]]
name = "crisis"
channels = [{{ use = "mail", to = ["crisis@zonnehoek.example"] }}, {{ use = "chat" }}]
[[routes]]
kinds = ["leak", "threat"]
receivers = ["crisis"]
cooldown_minutes = 0
"""


class Watch:
    """An installation in a folder, with a clock of its own and servers on loopback."""

    def __init__(self, folder: Path, mail: MailServer, chat: Webhook) -> None:
        self.folder, self.mail, self.chat = folder, mail, chat
        self.clock = FakeClock()
        self.posts = folder / "posts.jsonl"
        self.posts.touch()
        self.written: list[tuple[str, str]] = []
        self.file = folder / "config.toml"
        self.file.write_text(
            CONFIG.format(posts=json.dumps(str(self.posts)), mail=mail.port, hook=chat.hook),
            encoding="utf-8",
        )

    def app(self) -> App:
        return App(self.file, now=self.clock)

    def leak(self) -> None:
        """Somebody publishes a password, another one each time."""
        number = len(self.written)
        self._post(f"Gelekt: wachtwoord beheerder Zonnehoek filiaal {number} is Hx7!qL29z{number}K")

    def chatter(self) -> None:
        self._post(f"Lekker brood bij Zonnehoek, bon {len(self.written)}.")

    def _post(self, text: str) -> None:
        number = f"p{len(self.written)}"
        moment: datetime = self.clock()
        line = {"id": number, "source": "x", "text": text, "published_at": moment.isoformat()}
        with self.posts.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self.written.append(("x", number))

    def tick_for(self, app: App, minutes: int) -> None:
        for _ in range(minutes):
            app.daemon.tick()
            self.clock.advance(minutes=1)

    def verify(self, app: App) -> list[str]:
        """What is lost, double, or in another order than it was meant to be."""
        with app.store._engine.connect() as connection:
            database = connection.connection.driver_connection
            assert database is not None
            return verify_store(database, self.written) + verify_deliveries(
                database, self.mail.mails, self.chat.posts
            )


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    with MailServer() as mail, Webhook() as chat:
        yield Watch(tmp_path, mail, chat)


def test_mail_and_slack_down_for_an_hour_lose_nothing(watch: Watch) -> None:
    with watch.app() as app:
        watch.leak()
        watch.tick_for(app, 2)
        assert len(watch.mail.mails) == len(watch.chat.posts) == 1
        watch.mail.down()
        watch.chat.down()
        for _ in range(4):
            watch.leak()
            watch.chatter()
            watch.tick_for(app, 15)
        assert len(watch.mail.mails) == len(watch.chat.posts) == 1
        waiting = sql(app.store.path, "SELECT count(*) FROM notification WHERE state = 'pending'")
        assert waiting == [(8,)]
        assert len(app.daemon.steps.deliver.failures) > 8
        watch.mail.up()
        watch.chat.up()
        watch.tick_for(app, 17)
        assert watch.verify(app) == []
    incidents = [mail.incident for mail in watch.mail.mails]
    assert incidents == sorted(incidents), "in the order in which it happened"
    assert len(incidents) == len(set(incidents)) == 5
    assert len(watch.chat.posts) == 5


def test_a_restart_in_the_middle_of_the_outage_loses_nothing(watch: Watch) -> None:
    watch.mail.down()
    watch.chat.down()
    with watch.app() as app:
        watch.leak()
        watch.leak()
        watch.tick_for(app, 3)
    watch.mail.up()
    watch.chat.up()
    watch.clock.advance(minutes=30)
    with watch.app() as app:
        watch.tick_for(app, 2)
        assert watch.verify(app) == []
    assert len(watch.mail.mails) == len(watch.chat.posts) == 2


def test_a_locked_database_stops_every_step_and_loses_nothing(watch: Watch) -> None:
    with watch.app() as app:
        watch.leak()
        with write_locked(app.store.path):
            for step in (app.daemon.steps.assess, app.daemon.steps.deliver, app.daemon.steps.tend):
                with pytest.raises(StoreBusyError, match="locked by another program"):
                    step.run()
        watch.tick_for(app, 2)
        assert watch.verify(app) == []
    assert len(watch.mail.mails) == 1


def test_what_a_full_disk_did_to_a_batch_is_not_held_against_its_mentions(watch: Watch) -> None:
    with watch.app() as app:
        leak = "Gelekt: wachtwoord beheerder Zonnehoek filiaal 1 is Hx7!qL29z1K"
        waiting = [new_mention(n, at=watch.clock(), text=leak) for n in range(40)]
        with app.store.write() as unit:
            unit.mentions.add(waiting, watch.clock())
        watch.written += [("news", item.post.id) for item in waiting]
        sql(app.store.path, "VACUUM")
        used = sql(app.store.path, "PRAGMA page_count")[0][0]
        limit_pages(app.store, used)
        # A mark fits into the pages there are, what follows from the batch does not.
        for _ in range(6):
            with pytest.raises(StoreBusyError, match="disk is full"):
                app.daemon.steps.assess.run()
        limit_pages(app.store, 1_000_000)
        watch.tick_for(app, 2)
        assert watch.verify(app) == [], "neither set aside nor without its alert"
    assert len(watch.mail.mails) == len(watch.chat.posts) == 40
