"""What messages in the outbox show of posts, and when it goes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from alerts.base import Event, Message, Receipt, Sample
from alerts.message import from_json, to_json
from connectors.base import Post
from monitor.store import Store
from monitor.store.mentions import NewMention
from tests.alerts.make import message
from tests.monitor.make import NOON, add_incident, fresh_store, new_mention, new_signal, sql
from tests.monitor.test_migrations import downgrade

DAY = timedelta(days=1)
LATER = NOON + 40 * DAY
HELD = ("open", "acknowledged")


def shown(number: int) -> Sample:
    return Sample(f"tekst {number}", "news", "auteur", NOON, mention_id=number)


def by(number: int, author: str) -> NewMention:
    made = new_mention(number)
    post: Post = replace(made.post, author=author)
    return replace(made, post=post)


class Outbox:
    """A store with two mentions, an incident about them and a message that shows both."""

    def __init__(self, folder: Path, *, evidence: bool, sent: bool) -> None:
        self.store = fresh_store(folder)
        with self.store.write() as unit:
            unit.mentions.add([by(1, "anna"), by(2, "bert")], NOON)
        if evidence:
            self.incident = add_incident(self.store, 1, 2)
        else:
            with self.store.write() as unit:
                self.incident = unit.incidents.open(new_signal(), NOON)
        said = replace(message(), samples=(shown(1), shown(2)), more_samples=3)
        with self.store.write() as unit:
            unit.outbox.add(
                key="k",
                incident_id=self.incident.id,
                event=Event.OPENED,
                receiver="crisis",
                channel="mail",
                addresses=["crisis@zonnehoek.example"],
                message=to_json(said),
                now=NOON,
            )
            if sent:
                [pending] = unit.outbox.claim(NOON, timedelta(minutes=1))
                unit.outbox.delivered(pending, NOON, Receipt())

    def message(self) -> Message:
        [(kept,)] = sql(self.store.path, "SELECT message FROM notification")
        return from_json(json.loads(kept))

    def shows(self) -> list[int | None]:
        said = self.message()
        assert len(said.samples) + said.more_samples == 5, "what is not shown is counted"
        return [sample.mention_id for sample in said.samples]

    def happen(self, *, what: str) -> None:
        with self.store.write() as unit:
            match what:
                case "purged":
                    unit.mentions.purge(LATER, keep_states=HELD, limit=1)
                case "purged of its source":
                    unit.mentions.purge(LATER, keep_states=HELD, limit=1, source="feed")
                case "deleted by its author":
                    unit.mentions.withdraw([("news", "p1")], ["Zonnehoek"], LATER)
                case "erased on request":
                    unit.incidents.evidence.forget_author("anna", LATER)
                    unit.mentions.withdraw([("news", "p1")], ["Zonnehoek"], LATER)
                case "over":
                    unit.incidents.resolve(self.incident.id, "eva", NOON + DAY)
                case "evidence forgotten":
                    unit.incidents.forget_evidence(LATER, LATER, limit=100)


@pytest.fixture
def outbox_of(tmp_path: Path) -> Iterator[Callable[..., Outbox]]:
    stores: list[Store] = []

    def make(*, evidence: bool, sent: bool) -> Outbox:
        made = Outbox(tmp_path, evidence=evidence, sent=sent)
        stores.append(made.store)
        return made

    yield make
    for store in stores:
        store.close()


GONE, THERE = [2], [1, 2]


@pytest.mark.parametrize(
    ("evidence", "sent", "happens", "shows"),
    [
        (False, True, ["purged"], GONE),
        (False, True, ["purged of its source"], GONE),
        (False, True, ["deleted by its author"], GONE),
        (False, False, ["purged"], GONE),
        (False, False, ["deleted by its author"], GONE),
        # Evidence holds what was sent, and nothing that waits.
        (True, True, ["purged"], THERE),
        (True, True, ["over", "purged"], THERE),
        (True, True, ["deleted by its author"], THERE),
        (True, False, ["deleted by its author"], GONE),
        (True, False, ["over", "purged"], GONE),
        (True, True, ["erased on request"], GONE),
        (True, False, ["erased on request"], GONE),
        # And once it is forgotten, what is gone itself goes, and the rest stays.
        (True, True, ["over", "purged", "evidence forgotten"], GONE),
        (True, True, ["over", "deleted by its author", "evidence forgotten"], GONE),
        (True, True, ["over", "evidence forgotten", "purged"], GONE),
        (True, True, ["deleted by its author", "evidence forgotten"], THERE),
        (True, True, ["over", "evidence forgotten"], THERE),
    ],
)
def test_what_a_message_shows_of_a_post_goes_when_the_post_goes_unless_it_is_held(
    outbox_of: Callable[..., Outbox],
    evidence: bool,
    sent: bool,
    happens: list[str],
    shows: list[int],
) -> None:
    outbox = outbox_of(evidence=evidence, sent=sent)
    for what in happens:
        outbox.happen(what=what)
    assert outbox.shows() == shows
    with outbox.store.read() as unit:
        assert unit.incidents.evidence.verify().flaw is None
        assert unit.outbox.waiting()[0] == (0 if sent else 1), "what waits still leaves"


def test_what_leaves_later_shows_nothing_of_a_post_that_went(
    outbox_of: Callable[..., Outbox],
) -> None:
    outbox = outbox_of(evidence=True, sent=False)
    outbox.happen(what="deleted by its author")
    with outbox.store.write() as unit:
        [pending] = unit.outbox.claim(LATER, timedelta(minutes=1))
    said = from_json(pending.message)
    assert [sample.text for sample in said.samples] == ["tekst 2"]
    assert (said.title, said.summary) == (message().title, message().summary)


def test_messages_of_an_earlier_version_learn_which_posts_they_show(tmp_path: Path) -> None:
    store = fresh_store(tmp_path)
    with store.write() as unit:
        unit.mentions.add([new_mention(1), new_mention(2, at=NOON + DAY)], NOON)
        incident = unit.incidents.open(new_signal(), NOON)
        there, gone = replace(shown(1), mention_id=None), replace(shown(9), platform="x")
        unit.outbox.add(
            key="k",
            incident_id=incident.id,
            event=Event.OPENED,
            receiver="crisis",
            channel="mail",
            addresses=[],
            message=to_json(replace(message(), samples=(there, replace(gone, mention_id=None)))),
            now=NOON,
        )
    store.close()
    downgrade(store.path, "0013")
    store = Store(store.path)
    [(kept,)] = sql(store.path, "SELECT message FROM notification")
    said = from_json(json.loads(kept))
    assert [sample.mention_id for sample in said.samples] == [1]
    assert said.more_samples == message().more_samples + 1, "whose post is gone is gone too"
    assert sql(store.path, "SELECT * FROM notification_sample") == [(1, 1)]
    store.close()
