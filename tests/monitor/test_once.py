"""The same thing once: stories, copies of an article, edits as versions, what a platform deleted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.base import SentimentLabel
from connectors.base import Post
from connectors.mentionfile import parse_line
from connectors.query import Query
from connectors.story import anchors
from monitor.matching import Brand, match
from monitor.privacy import Pseudonyms
from monitor.store import Store
from monitor.store.mentions import MOST_VERSIONS, NewMention
from tests.alerts.make import assessment
from tests.monitor.make import NOON, add_incident, fresh_store, sql

ARTICLE = (
    "Brand bij bakkerij Zonnehoek in Heerde. Vannacht is in het pand brand uitgebroken; "
    "volgens de brandweer is niemand gewond geraakt. De winkel blijft deze week dicht."
)
PAGE = "https://nieuws.example/brand-in-heerde"
HOUR = timedelta(hours=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = fresh_store(tmp_path)
    yield made
    made.close()


def post(number: int, text: str = ARTICLE, *, url: str | None = None, **fields: Any) -> Post:
    return Post("news", f"p{number}", text, NOON, url=url, **fields)


def mention(item: Post, source: str = "feed", brand: str = "Zonnehoek") -> NewMention:
    [found], _ = match(
        [item],
        [Brand(brand, Query.parse("zonnehoek"), frozenset())],
        source,
        Pseudonyms(b"k" * 32),
    )
    return found


def add(store: Store, *mentions: NewMention, at: datetime = NOON) -> tuple[int, int, int]:
    """How many were new, edited and copies."""
    with store.write() as unit:
        added = unit.mentions.add(mentions, at)
    return added.new.total(), added.edited, added.doubled


def assess(store: Store, *, negative: float = 0.1, version: str = "v1") -> int:
    with store.write() as unit:
        queued = [item.mention.id for item in unit.mentions.queue(1000)]
        unit.mentions.assess(dict.fromkeys(queued, assessment(negative=negative)), version, NOON)
    return len(queued)


def stories(store: Store) -> list[str]:
    return [story for (story,) in sql(store.path, "SELECT story FROM mention ORDER BY id")]


def counted(store: Store) -> dict[SentimentLabel, int]:
    with store.read() as unit:
        cells = unit.mentions.counts("Zonnehoek", NOON - HOUR, NOON + HOUR).values()
    return {label: sum(cell[label] for cell in cells) for label in SentimentLabel}


# --- stories --------------------------------------------------------------------------------------


def test_a_reshare_joins_the_story_of_its_original_also_after_a_restart(store: Store) -> None:
    add(store, mention(post(1)))
    again = Store(store.path)
    add(again, mention(post(2, f"Erg! RT @stentor: {ARTICLE[:120]}…"), "x"))
    add(again, mention(post(3, ARTICLE.replace("volgens de brandweer", "aldus de brandweer")), "x"))
    add(
        again,
        mention(post(4, "Zonnehoek opent een winkel in Epe naast het oude postkantoor."), "x"),
    )
    again.close()
    first, second, third, other = stories(store)
    assert first == second == third != other


def test_a_story_told_twice_in_one_page_is_one(store: Store) -> None:
    add(store, mention(post(1)), mention(post(2, f"{ARTICLE} #heerde")))
    assert len(set(stories(store))) == 1


def test_brands_keep_stories_apart(store: Store) -> None:
    add(store, mention(post(1)), mention(post(1), brand="Harskamp"))
    add(store, mention(post(2), brand="Harskamp"))
    kept = sql(store.path, "SELECT DISTINCT brand FROM story_anchor ORDER BY brand")
    assert kept == [("Harskamp",), ("Zonnehoek",)]


def test_a_story_ends_with_the_mention_that_began_it(store: Store) -> None:
    add(store, mention(post(1)))
    with store.write() as unit:
        assert unit.mentions.purge(NOON + HOUR, keep_states=(), limit=10) == 1
    assert sql(store.path, "SELECT * FROM story_anchor") == []


def test_the_demo_stream_is_grouped_whole_and_without_wrong_merges(store: Store) -> None:
    folder = Path(__file__).parents[2] / "monitor" / "demo" / "data"
    answers = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
    lines = (folder / "mentions.jsonl").read_text(encoding="utf-8").splitlines()
    for start in range(0, len(lines), 40):
        posts = [parse_line(line) for line in lines[start : start + 40]]
        found = []
        for each in posts:
            keys = anchors(each.text)
            found.append(NewMention("Zonnehoek", "file", each, (), keys[0], anchors=keys))
        add(store, *found, at=NOON + timedelta(days=30))
    told: dict[str, set[str]] = {}
    for ident, story in sql(store.path, "SELECT post_id, story FROM mention"):
        told.setdefault(story, set()).add(ident)
    groups = answers["near_duplicate_groups"]
    assert len(groups) == 7
    expected = [{group["original"], *group["copies"]} for group in groups]
    assert sorted(map(sorted, expected)) == sorted(
        sorted(ids) for ids in told.values() if len(ids) > 1
    )


# --- copies of an article -------------------------------------------------------------------------


def test_the_same_article_in_five_feeds_is_one_mention(store: Store) -> None:
    add(store, mention(post(1, url=PAGE), "regional"))
    links = [f"{PAGE}?utm_source=rss", f"{PAGE}/", "https://www.nieuws.example/brand-in-heerde#x"]
    for number, link in enumerate(links, start=2):
        assert add(store, mention(post(number, url=link), f"feed {number}")) == (0, 0, 1)
    snippet = post(9, ARTICLE[:100] + " …", url="https://amp.nieuws.example/brand-in-heerde")
    assert add(store, mention(snippet, "google alert")) == (0, 0, 1)
    assert add(store, mention(snippet, "google alert")) == (0, 0, 1), "as often as it comes"
    with store.read() as unit:
        assert unit.mentions.total() == 1
        seen = [each.source for each in unit.copies.of(1)]
    assert seen == ["feed 2", "feed 3", "feed 4", "google alert"]


def test_different_items_of_a_live_page_are_all_kept(store: Store) -> None:
    live = "https://nieuws.example/live"
    add(store, mention(post(1, "Zonnehoek: eerste bericht over de brand in de bakkerij", url=live)))
    other = post(2, "Zonnehoek: de brandweer geeft het sein brand meester", url=live)
    assert add(store, mention(other, "feed two")) == (1, 0, 0)


def test_what_one_source_brings_under_two_ids_is_kept(store: Store) -> None:
    add(store, mention(post(1, url=PAGE)))
    assert add(store, mention(post(2, url=PAGE))) == (1, 0, 0)


def test_a_link_to_a_front_page_makes_no_copies(store: Store) -> None:
    add(store, mention(post(1, url="https://zonnehoek.example/")))
    assert add(store, mention(post(2, url="https://zonnehoek.example/"), "x")) == (1, 0, 0)


# --- edits ----------------------------------------------------------------------------------------

EDITED = ARTICLE.replace("niemand gewond", "één bakker gewond")


def test_an_edit_is_a_version_of_the_same_mention_and_is_assessed_anew(store: Store) -> None:
    add(store, mention(post(1)))
    assert assess(store, negative=0.1) == 1
    later = NOON + HOUR
    changed = post(1, EDITED, edited_at=NOON + HOUR / 2)
    assert add(store, mention(changed), at=later) == (0, 1, 0)
    assert assess(store, negative=0.9) == 1
    assert add(store, mention(changed), at=later + HOUR) == (0, 0, 0), "the same edit again"
    assert assess(store) == 0
    [(text, edited, versions)] = sql(store.path, "SELECT text, edited_at, versions FROM mention")
    assert (text, versions) == (EDITED, 1)
    assert edited.startswith("2026-11-09 11:30")
    [(before, thought)] = sql(store.path, "SELECT text, assessment FROM mention_version")
    assert before == ARTICLE
    assert json.loads(thought)["sentiment"] == "neutral"
    assert counted(store) == {
        SentimentLabel.NEGATIVE: 1,
        SentimentLabel.NEUTRAL: 0,
        SentimentLabel.POSITIVE: 0,
    }
    judged = sql(store.path, "SELECT count(*) FROM assessment")
    assert judged == [(1,)], "once per version of the model"


def test_an_edit_before_the_first_assessment_is_assessed_once(store: Store) -> None:
    add(store, mention(post(1)))
    add(store, mention(post(1, EDITED)))
    assert assess(store) == 1
    assert sum(counted(store).values()) == 1


def test_spaces_and_capitals_are_no_edit(store: Store) -> None:
    add(store, mention(post(1)))
    assert add(store, mention(post(1, ARTICLE.upper().replace(" ", "  ")))) == (0, 0, 0)


def test_another_sources_words_for_the_same_post_are_no_edit(store: Store) -> None:
    add(store, mention(post(1)))
    assert add(store, mention(post(1, ARTICLE[:80]), "other")) == (0, 0, 0)


def test_an_older_text_that_comes_late_replaces_nothing(store: Store) -> None:
    add(store, mention(post(1, EDITED, edited_at=NOON)))
    older = post(1, edited_at=NOON - HOUR)
    assert add(store, mention(older)) == (0, 0, 0)


def test_a_post_that_changes_at_every_look_is_followed_for_a_while_only(store: Store) -> None:
    for number in range(MOST_VERSIONS + 5):
        add(store, mention(post(1, f"{ARTICLE} {number} reacties")))
    assert sql(store.path, "SELECT versions FROM mention") == [(MOST_VERSIONS,)]


def test_evidence_has_both_what_was_said_and_what_is_said_now(store: Store) -> None:
    add(store, mention(post(1)))
    assess(store)
    incident = add_incident(store, 1)
    add(store, mention(post(1, EDITED)))
    with store.read() as unit:
        kept = [each.text for each in unit.incidents.evidence.of([incident.id])]
    assert kept == [ARTICLE, EDITED]


@settings(max_examples=30, deadline=None)
@given(
    texts=st.lists(st.sampled_from(["een", "twee", "drie"]), min_size=1, max_size=8),
    assessed=st.lists(st.booleans(), min_size=8, max_size=8),
)
def test_whatever_is_edited_counts_once_and_nothing_said_is_lost(
    texts: list[str], assessed: list[bool], tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = fresh_store(tmp_path_factory.mktemp("once"))
    for text, now in zip(texts, assessed, strict=False):
        add(store, mention(post(1, f"Zonnehoek {text}")))
        if now:
            assess(store, negative=len(text) / 5)
    assess(store)
    assert sum(counted(store).values()) == 1
    said = {text for (text,) in sql(store.path, "SELECT text FROM mention_version")}
    said |= {text for (text,) in sql(store.path, "SELECT text FROM mention")}
    assert said == {f"Zonnehoek {text}" for text in texts}
    store.close()


# --- what a platform deleted ----------------------------------------------------------------------


def withdraw(store: Store, *idents: str) -> int:
    with store.write() as unit:
        return unit.mentions.withdraw([("news", ident) for ident in idents], ["Zonnehoek"], NOON)


def test_what_its_platform_deleted_is_gone_but_for_its_count(store: Store) -> None:
    add(store, mention(post(1, EDITED, url=PAGE, author="piet", thread=PAGE)), mention(post(2)))
    add(store, mention(post(1, url=PAGE, author="piet")))
    assess(store)
    assert withdraw(store, "p1", "p1", "p9") == 1
    assert sql(store.path, "SELECT text, url, author, thread FROM mention WHERE id = 1") == [
        ("", None, None, None)
    ]
    assert sql(store.path, "SELECT count(*) FROM mention_version") == [(0,)]
    assert sum(counted(store).values()) == 2
    assert withdraw(store, "p1") == 0


def unsay(store: Store, item: Post) -> int:
    with store.write() as unit:
        return unit.mentions.withdraw_unsaid(
            "Zonnehoek", [item], lambda text: "Zonnehoek" in text, NOON + HOUR
        )


def test_an_edit_that_takes_the_brand_out_lets_go_of_the_mention_but_not_of_evidence(
    store: Store,
) -> None:
    add(store, mention(post(1)), mention(post(2, "Zonnehoek is open")))
    assess(store)
    incident = add_incident(store, 1)
    edited = post(1, "Mijn hond is ziek", edited_at=NOON + HOUR)
    assert unsay(store, edited) == 1
    assert unsay(store, edited) == 0
    assert sql(store.path, "SELECT text FROM mention") == [("",), ("Zonnehoek is open",)]
    assert sql(store.path, "SELECT count(*) FROM mention_version") == [(0,)]
    with store.read() as unit:
        kept = [each.text for each in unit.incidents.evidence.of([incident.id])]
    assert kept == [ARTICLE, "Mijn hond is ziek"]


@pytest.mark.parametrize(
    ("stored", "came"),
    [
        (post(1, edited_at=NOON + HOUR), post(1, "Iets anders", edited_at=NOON + HOUR)),
        (post(1), post(1, "Iets anders", edited_at=NOON)),
        (post(1, "De zonnehoek lekt"), post(1, "Iets anders", edited_at=NOON + HOUR)),
        (post(1), post(2, "Iets anders", edited_at=NOON + HOUR)),
    ],
    ids=["no later version", "no edit", "not found by its words", "another post"],
)
def test_what_no_edit_took_out_stays(store: Store, stored: Post, came: Post) -> None:
    add(store, mention(stored), at=NOON + HOUR)
    assert unsay(store, came) == 0
    assert sql(store.path, "SELECT text FROM mention") == [(stored.text,)]


def test_a_closed_account_takes_its_posts_along_and_nobody_elses(store: Store) -> None:
    idents = ["did:plc:anna/1", "did:plc:anna/2", "did:plc:anna2/1", "did:plc:ann/1", "p5"]
    for number, ident in enumerate(idents, 1):
        add(store, mention(replace(post(number, f"Zonnehoek {number}"), id=ident)))
    add(store, mention(replace(post(6, "Zonnehoek 6"), id="did:plc:anna/1", platform="x")))
    accounts = [("news", "did:plc:anna"), ("news", "did:plc:nobody")]
    with store.write() as unit:
        assert unit.mentions.withdraw_accounts(accounts, ["Zonnehoek"], NOON) == 2
        assert unit.mentions.withdraw_accounts(accounts, ["Zonnehoek"], NOON) == 0
    assert sql(store.path, "SELECT id FROM mention WHERE text = ''") == [(1,), (2,)]


def test_what_was_deleted_does_not_come_back(store: Store) -> None:
    add(store, mention(post(1)))
    withdraw(store, "p1")
    assert add(store, mention(post(1, EDITED, edited_at=NOON + HOUR))) == (0, 0, 0)
    assert sql(store.path, "SELECT text FROM mention") == [("",)]


def test_a_deleted_post_begins_no_story_and_is_no_original_any_more(store: Store) -> None:
    add(store, mention(post(1, url=PAGE)))
    withdraw(store, "p1")
    assert add(store, mention(post(2, url=PAGE), "other")) == (1, 0, 0)


def test_evidence_outlives_a_deletion(store: Store) -> None:
    add(store, mention(post(1)))
    assess(store)
    incident = add_incident(store, 1)
    withdraw(store, "p1")
    with store.read() as unit:
        assert [each.text for each in unit.incidents.evidence.of([incident.id])] == [ARTICLE]


def test_messages_show_no_post_that_was_deleted_and_still_count_it(store: Store) -> None:
    add(store, *(mention(post(number, thread=PAGE)) for number in (1, 2, 3)))
    assess(store)
    incident = add_incident(store, 1, 2, 3)
    withdraw(store, "p3")
    with store.read() as unit:
        pairs, total = unit.incidents.exhibits(incident.id, 2)
    assert {(found.post.id, found.post.thread) for found, _ in pairs} == {
        ("p1", PAGE),
        ("p2", PAGE),
    }
    assert total == 3


def test_a_deleted_post_that_waits_is_still_assessed_as_nothing(store: Store) -> None:
    add(store, mention(post(1)))
    withdraw(store, "p1")
    assert assess(store) == 1


def test_imported_mentions_join_stories_too(store: Store) -> None:
    add(store, mention(post(1)))
    with store.write() as unit:
        [late] = unit.mentions.add_imported(
            [mention(post(2, f"RT @a: {ARTICLE}")), replace(mention(post(1)), source="y")], NOON
        )
    assert late.post.id == "p2"
    assert len(set(stories(store))) == 1
