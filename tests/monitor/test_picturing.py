"""Text in pictures: fetched within limits, read beside the rest, judged with the words, never waited for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

from classifiers.assessor import Assessor
from classifiers.base import LeakCategory, LeakThresholds
from classifiers.detectors import default_detectors
from classifiers.vision import PictureError
from connectors.conformance import FaultServer, Reply
from connectors.http import guarded_client
from monitor.announcing import Announcement
from monitor.assessing import AssessStep
from monitor.dossier import Dossier, gather
from monitor.dossier_pages import as_text
from monitor.inbox import Inbox
from monitor.metrics import Metrics
from monitor.picturing import MOST_BYTES, PictureStep
from monitor.store import Store, Unit
from monitor.store.pictures import MOST_OF_ONE, MOST_TRIES
from tests.classifiers.fakes import FakeLanguage, FakeModel, prediction
from tests.fakes import FakeClock
from tests.monitor.crowds import announcer
from tests.monitor.make import fresh_store, new_mention, sql

LIST = "Klantenlijst, vertrouwelijk\nJ. Jansen NL91 ABNA 0417 1643 00"
WORDS = "Kijk eens wat Zonnehoek laat slingeren"
LEAK = prediction(leak=0.95, category=LeakCategory.PERSONAL_DATA)
CALM = prediction(leak=0.01)


@dataclass
class Gallery:
    """The step in a room of its own, with a server of pictures."""

    store: Store
    clock: FakeClock
    server: FaultServer
    client: httpx.Client
    read: Callable[[bytes], str] = lambda data: data.decode()
    inbox: Inbox = field(default_factory=Inbox)
    found: int = 0

    def __post_init__(self) -> None:
        self.pool = ThreadPoolExecutor(1)
        self.metrics = Metrics(CollectorRegistry())
        self.step = PictureStep(
            store=self.store,
            inbox=self.inbox,
            pool=self.pool,
            http=self.client,
            metrics=self.metrics,
            reader=self,
            now=self.clock,
            found=self._count,
        )
        self.assess = AssessStep(
            store=self.store,
            classifier=Assessor(
                FakeModel({LIST: LEAK}, otherwise=CALM),
                language=FakeLanguage(),
                detectors=default_detectors(),
                leak_thresholds=LeakThresholds(0.2, 0.6),
            ),
            announcer=announcer(),
            timezone="Europe/Amsterdam",
            metrics=self.metrics,
            now=self.clock,
        )

    def _count(self) -> None:
        self.found += 1

    def post(self, number: int = 1, *paths: str, text: str = WORDS) -> None:
        item = new_mention(number, text=text, at=self.clock())
        images = tuple(f"{self.server.url}{path}" for path in paths or ("/a.png",))
        item = replace(item, post=replace(item.post, images=images))
        with self.store.write() as unit:
            unit.mentions.add([item], self.clock())
            unit.pictures.wait([item], self.clock())

    def look(self) -> int:
        """Read what is due, to the end."""
        begun = self.step.run()
        while self.step.in_flight:
            self.inbox.pump(0.2)
        return begun

    def judge(self) -> list[Announcement]:
        return self.assess.run()[1]

    def outcomes(self) -> dict[str, float]:
        [family] = self.metrics.pictures.collect()
        return {
            each.labels["outcome"]: each.value
            for each in family.samples
            if each.name.endswith("_total")
        }

    def waiting(self) -> int:
        return len(sql(self.store.path, "SELECT id FROM picture"))

    def pictured(self) -> list[str | None]:
        return [
            text for (text,) in sql(self.store.path, "SELECT pictured FROM mention ORDER BY id")
        ]


@pytest.fixture
def gallery(tmp_path: Path, clock: FakeClock) -> Iterator[Gallery]:
    store = fresh_store(tmp_path)
    with (
        FaultServer(Reply(body=LIST.encode())) as server,
        guarded_client(allow_private_addresses=["127.0.0.1"]) as client,
    ):
        made = Gallery(store, clock, server, client)
        yield made
        made.pool.shutdown()
    store.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_a_leak_in_a_picture_is_announced_and_says_where_it_is(gallery: Gallery) -> None:
    gallery.post()
    assert gallery.judge() == []
    assert gallery.look() == 1
    assert (gallery.found, gallery.waiting(), gallery.pictured()) == (1, 0, [LIST])
    assert gallery.outcomes() == {"text": 1}
    [announced] = gallery.judge()
    [message] = [text for (text,) in sql(gallery.store.path, "SELECT message FROM notification")]
    assert "in de afbeelding" in message
    assert "NL91" not in message
    assert "ABNA" not in message
    assert WORDS in json.dumps(json.loads(message), ensure_ascii=False)
    assert announced.incident.brand == "Zonnehoek"


def test_words_that_leak_by_themselves_do_not_blame_the_picture(gallery: Gallery) -> None:
    gallery.post(text=LIST)
    gallery.read = lambda _: "Zomaar een foto"
    assert len(gallery.judge()) == 1
    gallery.look()
    gallery.judge()
    for (message,) in sql(gallery.store.path, "SELECT message FROM notification"):
        assert "in de afbeelding" not in message


def test_findings_of_a_picture_lie_behind_the_words(gallery: Gallery) -> None:
    gallery.post()
    gallery.look()
    gallery.judge()
    [(findings,)] = sql(gallery.store.path, "SELECT findings FROM assessment")
    starts = [each["start"] for each in json.loads(findings)]
    assert starts
    assert min(starts) > len(WORDS)


def test_evidence_keeps_what_the_picture_said(gallery: Gallery) -> None:
    gallery.post()
    gallery.look()
    gallery.judge()
    with gallery.store.read() as unit:
        [kept] = unit.incidents.evidence.of([1])
        pages = [
            as_text(found)
            for unmasked in (True, False)
            if (found := dossier(unit, gallery, unmasked=unmasked)) is not None
        ]
    assert kept.text == f"{WORDS}\n{LIST}"
    bare, masked = (" ".join(page.split()) for page in pages)
    assert "NL91 ABNA 0417 1643 00" in bare
    assert "ABNA" not in masked
    assert WORDS in masked
    assert "tekst die in de afbeelding gelezen is" in masked


def dossier(unit: Unit, gallery: Gallery, *, unmasked: bool) -> Dossier | None:
    return gather(
        unit,
        1,
        language="nl",
        timezone="Europe/Amsterdam",
        now=gallery.clock(),
        unmasked=unmasked,
    )


def test_a_picture_without_text_changes_nothing(gallery: Gallery) -> None:
    gallery.post()
    gallery.judge()
    gallery.read = lambda _: ""
    gallery.look()
    assert (gallery.found, gallery.waiting(), gallery.pictured()) == (0, 0, [None])
    assert gallery.assess.run()[0] == 0
    assert gallery.outcomes() == {"nothing": 1}


def test_a_mention_is_counted_once_although_it_is_assessed_twice(gallery: Gallery) -> None:
    gallery.post()
    gallery.judge()
    gallery.look()
    gallery.judge()
    assert sql(gallery.store.path, "SELECT sum(count) FROM bucket_count") == [(1,)]


def test_several_pictures_say_it_together_and_no_more_than_a_few_are_looked_at(
    gallery: Gallery,
) -> None:
    gallery.post(1, *(f"/{number}.png" for number in range(9)))
    assert gallery.look() == MOST_OF_ONE
    assert gallery.pictured() == ["\n".join([LIST] * MOST_OF_ONE)]


def test_pictures_of_a_post_that_is_known_are_not_read_again(
    gallery: Gallery, clock: FakeClock
) -> None:
    gallery.post()
    gallery.look()
    clock.advance(minutes=5)
    gallery.post()
    assert gallery.look() == 0


def test_what_does_not_come_is_tried_a_few_times_and_given_up(
    gallery: Gallery, clock: FakeClock
) -> None:
    gallery.server.answer = Reply(503)
    gallery.post()
    tries = 0
    for _ in range(200):
        tries += gallery.look()
        clock.advance(minutes=10)
    assert tries == MOST_TRIES
    assert gallery.outcomes() == {"put_off": MOST_TRIES - 1, "given_up": 1}
    assert (gallery.waiting(), gallery.pictured()) == (0, [None])


def test_a_server_that_asks_for_a_pause_gets_it(gallery: Gallery, clock: FakeClock) -> None:
    gallery.server.answer = Reply(429, headers={"Retry-After": "7200"})
    gallery.post()
    gallery.look()
    clock.advance(minutes=90)
    assert gallery.look() == 0
    clock.advance(minutes=31)
    assert gallery.look() == 1


@pytest.mark.parametrize(
    "reply",
    [
        Reply(404, b"gone"),
        Reply(403),
        Reply(flood=b"x" * 65_536),
        Reply(302, headers={"Location": "http://10.0.0.1/secret.png"}),
    ],
    ids=["gone", "forbidden", "endless", "inwards"],
)
def test_nothing_a_server_does_stops_the_next_picture(gallery: Gallery, reply: Reply) -> None:
    gallery.server.answer = lambda asked: (
        reply if asked.path == "/a.png" else Reply(body=LIST.encode())
    )
    gallery.post(1, "/a.png")
    gallery.post(2, "/b.png")
    assert gallery.look() == 2
    assert gallery.pictured() == [None, LIST]


def test_what_is_too_large_is_not_read_to_its_end(gallery: Gallery) -> None:
    seen: list[int] = []

    def read(data: bytes) -> str:
        seen.append(len(data))
        return ""

    gallery.read = read
    gallery.server.answer = Reply(body=b"x" * (MOST_BYTES + 1))
    gallery.post()
    gallery.look()
    assert seen == []


@pytest.mark.parametrize("error", [PictureError("no picture"), ValueError("odd"), MemoryError()])
def test_a_reader_that_fails_stops_nothing(gallery: Gallery, error: Exception) -> None:
    def read(data: bytes) -> str:
        if data == b"odd":
            raise error
        return data.decode()

    gallery.read = read
    gallery.server.answer = lambda asked: Reply(
        body=b"odd" if asked.path == "/a.png" else LIST.encode()
    )
    gallery.post(1, "/a.png")
    gallery.post(2, "/b.png")
    gallery.look()
    assert (gallery.waiting(), gallery.pictured()) == (0, [None, LIST])


def test_a_picture_that_kills_the_process_is_not_tried_for_ever(
    gallery: Gallery, clock: FakeClock
) -> None:
    gallery.post()
    begun = 0
    for _ in range(10):
        with gallery.store.write() as unit:
            begun += len(unit.pictures.begin(clock(), 4))  # and nobody comes back
        clock.advance(days=1)
    assert (begun, gallery.waiting()) == (MOST_TRIES, 0)


def test_what_was_deleted_meanwhile_is_not_looked_at(gallery: Gallery) -> None:
    gallery.post()
    with gallery.store.write() as unit:
        [picture] = unit.pictures.begin(gallery.clock(), 4)
        unit.mentions.withdraw([("news", "p1")], ["Zonnehoek"], gallery.clock())
        assert not unit.pictures.found(picture, LIST)
    assert (gallery.waiting(), gallery.pictured()) == (0, [None])


def test_a_deletion_takes_what_was_read_along(gallery: Gallery) -> None:
    gallery.post()
    gallery.look()
    with gallery.store.write() as unit:
        unit.mentions.withdraw([("news", "p1")], ["Zonnehoek"], gallery.clock())
    assert gallery.pictured() == [None]
