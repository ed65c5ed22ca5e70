"""The whole daemon while mail server, Slack or its own database are out of order for a while."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from classifiers.embedded import EmbeddedModel, ModelError
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
messages_per_minute = 6000
broken_after_minutes = {broken_after}
[[channels]]
kind = "slack"
name = "chat"
webhook_url = "{hook}"
broken_after_minutes = {broken_after}
[[receivers]]
name = "crisis"
channels = [{{ use = "mail", to = ["crisis@zonnehoek.example"] }}, {{ use = "chat" }}]
[[receivers]]
name = "operations"
channels = [{{ use = "mail", to = ["ops@zonnehoek.example"] }}]
[[routes]]
kinds = ["leak", "threat"]
receivers = ["crisis"]
cooldown_minutes = 0
[[routes]]
kinds = ["broken_channel"]
receivers = ["operations"]
{more}
"""


class Watch:
    """An installation in a folder, with a clock of its own and servers on loopback."""

    def __init__(
        self,
        folder: Path,
        mail: MailServer,
        chat: Webhook,
        *,
        broken_after: int = 1440,
        more: str = "",
    ) -> None:
        self.folder, self.mail, self.chat = folder, mail, chat
        self.clock = FakeClock()
        self.posts = folder / "posts.jsonl"
        self.posts.touch()
        self.written: list[tuple[str, str]] = []
        self.file = folder / "config.toml"
        self.file.write_text(
            CONFIG.format(
                posts=json.dumps(str(self.posts)),
                mail=mail.port,
                hook=chat.hook,
                broken_after=broken_after,
                more=more,
            ),
            encoding="utf-8",
        )

    def use_model(self, folder: Path) -> None:
        """Configure another model."""
        with self.file.open("a", encoding="utf-8") as file:
            file.write(f"[classifiers]\nmodel = {json.dumps(str(folder))}\n")

    def app(self) -> App:
        return App(self.file, now=self.clock)

    def leak(self, number: int | None = None) -> None:
        """Somebody publishes a password, another one each time unless told which."""
        number = len(self.written) if number is None else number
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
            self.drain(app)
            self.clock.advance(minutes=1)

    def drain(self, app: App) -> None:
        """Let time pass only as far as channels are held back by their pace."""
        while (moment := app.daemon.steps.deliver.held_until) is not None:
            self.clock.moment = moment
            app.daemon.hand_over()

    @property
    def opened(self) -> tuple[list[int], int]:
        """Incidents that mails told the opening of, and how many posts in Slack did; clocks may call
        besides."""
        mails = [mail.incident for mail in self.mail.mails if mail.event == "opened"]
        return mails, sum("-opened-" in post for post in self.chat.posts)

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
        waiting = sql(
            app.store.path,
            "SELECT count(*) FROM notification WHERE state = 'pending' AND event = 'opened'",
        )
        assert waiting == [(8,)]
        assert len(app.daemon.steps.deliver.failures) > 8
        watch.mail.up()
        watch.chat.up()
        watch.tick_for(app, 17)
        assert watch.verify(app) == []
    incidents, posts = watch.opened
    assert incidents == sorted(incidents), "in the order in which it happened"
    assert len(incidents) == len(set(incidents)) == posts == 5


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
    assert watch.opened == ([1, 2], 2)


def test_a_locked_database_stops_a_pass_and_loses_nothing(watch: Watch) -> None:
    with watch.app() as app:
        watch.leak()
        with (
            write_locked(app.store.path),
            pytest.raises(StoreBusyError, match="locked by another program"),
        ):
            app.daemon.tick()
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


def test_an_incident_whose_messages_were_refused_is_told_of_once_that_is_mended(
    watch: Watch,
) -> None:
    watch.mail.answer = lambda _mail: "554 no such mailbox"
    with watch.app() as app:
        for _ in range(3):
            watch.leak(number=0)
            watch.tick_for(app, 2)
        watch.mail.answer = lambda _mail: "250 taken"
        watch.leak(number=0)
        watch.tick_for(app, 2)
        states = sql(
            app.store.path, "SELECT state FROM notification WHERE channel = 'mail' ORDER BY id"
        )
        keys = sql(app.store.path, "SELECT count(DISTINCT key), count(*) FROM notification")
        told = sql(
            app.store.path,
            "SELECT receiver, channel, notification.state FROM notification JOIN incident"
            " ON incident.id = incident_id WHERE kind = 'broken_channel'",
        )
    assert told == [("crisis", "chat", "delivered")], "once, over another channel"
    assert states == [("dead",), ("dead",), ("dead",), ("delivered",)]
    assert keys == [(9, 9)]
    assert [mail.event for mail in watch.mail.mails] == ["continues"]


def test_a_damaged_model_leaves_the_queue_as_it_is(watch: Watch) -> None:
    whole = EmbeddedModel().folder
    broken = watch.folder / "model"
    shutil.copytree(whole, broken)
    content = (broken / "model.onnx").read_bytes()
    (broken / "model.onnx").write_bytes(content[:-1])
    watch.use_model(broken)
    watch.leak()
    # Whether it refuses at the start or at the first look, it goes on refusing.
    for _ in range(6):
        with pytest.raises(ModelError, match=r"model\.onnx"), watch.app() as app:
            app.daemon.tick()
        watch.clock.advance(minutes=2)
    touched = "SELECT post_id FROM mention WHERE failed OR tries OR assessed_by NOT NULL"
    assert sql(watch.folder / "merkwacht.db", touched) == []
    (broken / "model.onnx").write_bytes(content)
    with watch.app() as app:
        watch.tick_for(app, 2)
        assert watch.verify(app) == []
    assert len(watch.mail.mails) == 1
