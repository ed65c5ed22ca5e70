"""Recorded answers of real services and thousands of odd feeds, all through the real connectors."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from connectors.base import ConnectorError, Context
from connectors.feedworker import FeedWorker
from connectors.query import Query
from connectors.x import XConnector, XOptions
from tests.connectors.faultserver import FaultServer, Reply, Request

pytestmark = pytest.mark.corpora


# --- X --------------------------------------------------------------------------------------------


@dataclass
class Recording:
    """Replays what X answered: the pages of a search in turn, and its counts."""

    pages: list[dict[str, Any]]
    counts: dict[str, Any]
    last_is_open: bool = False

    def __call__(self, request: Request) -> Reply:
        if request.path == "/2/tweets/counts/recent":
            recorded = self.counts
        else:
            assert request.path == "/2/tweets/search/recent"
            token = request.query.get("next_token")
            tokens = [page["body"]["meta"]["next_token"] for page in self.pages]
            recorded = self.pages[tokens.index(token) + 1 if token else 0]
        body = recorded["body"]
        if recorded is self.pages[-1] and not self.last_is_open:
            meta = {key: value for key, value in body["meta"].items() if key != "next_token"}
            body = {**body, "meta": meta}
        return Reply(recorded["status"], json.dumps(body).encode(), recorded["headers"])


@pytest.fixture
def recording(corpora: Path) -> Recording:
    path = corpora / "api" / "x_api_v2_tweepy.jsonl"
    with path.open(encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    by_path: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        by_path.setdefault(urlsplit(record["uri"]).path, []).append(record)
    searches = [*by_path["/2/tweets/search/recent"], *by_path["/2/tweets/search/all"]]
    # Newest first, as one search would have gone on through them.
    searches.sort(key=lambda record: int(record["body"]["meta"]["newest_id"]), reverse=True)
    return Recording(searches, by_path["/2/tweets/counts/recent"][0])


@pytest.fixture
def then(context: Context) -> Context:
    """The moment of the recording, as the query of the recording."""
    moment = datetime(2022, 10, 7, 23, 12, tzinfo=UTC)
    return replace(context, now=lambda: moment, queries=[Query.parse("Tweepy")])


def test_recorded_search_pages_are_read_through_to_the_end(
    recording: Recording, then: Context, server: FaultServer
) -> None:
    server.answer = recording
    options = XOptions(bearer_token="t", base_url=server.url, include_reposts=True)
    pages = list(XConnector(options, then).fetch(None))
    assert [len(page.posts) for page in pages] == [
        page["body"]["meta"]["result_count"] for page in recording.pages
    ]
    assert not any(page.rejects for page in pages)
    recorded = [post for page in recording.pages for post in page["body"]["data"]]
    posts = [post for page in pages for post in page.posts]
    assert [post.id for post in posts] == [post["id"] for post in recorded]
    assert all("tweepy" in post.text.lower() for post in posts)
    assert all(post.published_at.date().isoformat() == "2022-10-07" for post in posts)
    assert [request.query["query"] for request in server.requests] == ["(tweepy)"] * len(pages)
    newest = max((post.id for post in posts), key=int)
    [state] = pages[-1].cursor["searches"].values()
    assert (state["newest"], state["gaps"]) == (newest, [])


def test_recorded_counts_say_what_a_spent_budget_leaves_unread(
    recording: Recording, then: Context, server: FaultServer
) -> None:
    server.answer = replace(recording, last_is_open=True)
    options = XOptions(bearer_token="t", base_url=server.url, max_posts_per_day=15)
    total = recording.counts["body"]["meta"]["total_tweet_count"]
    connector = XConnector(options, then)
    with pytest.raises(ConnectorError, match=f"X counts {total} more"):
        list(connector.fetch(None))


# --- feeds ----------------------------------------------------------------------------------------


def files(corpora: Path, archive: str) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(corpora / "feeds" / archive) as tar:
        for member in tar:
            if member.isfile() and (file := tar.extractfile(member)) is not None:
                yield member.name, file.read()


@pytest.fixture(scope="module")
def worker() -> Iterator[FeedWorker]:
    made = FeedWorker(seconds=30)
    yield made
    made.close()


def count(worker: FeedWorker, body: bytes, content_type: str = "application/xml") -> int | None:
    """How many entries a feed has, None if it is no feed; any other error is one of ours."""
    try:
        feed = worker.read(
            body,
            {"content-type": content_type},
            url="https://feeds.example/one",
            host="feeds.example",
            most=10_000,
            where="the feed",
        )
    except ConnectorError as error:
        if "cannot be read" in str(error):  # not "is no feed": the parser failed, or took too long
            raise
        return None
    assert all(entry.text == entry.text.strip() and entry.id for entry in feed.entries)
    assert len(feed.entries) == feed.total
    return feed.total


@pytest.mark.parametrize(
    ("archive", "least"),
    [
        ("feedparser_tests.tar.gz", 2_000),
        ("gofeed_testdata.tar.gz", 500),
        ("real_captures.tar.gz", 60),
        ("xml_bombs_defusedxml.tar.gz", 10),
    ],
)
def test_no_feed_is_too_odd(corpora: Path, worker: FeedWorker, archive: str, least: int) -> None:
    read = [
        count(worker, body) for name, body in files(corpora, archive) if not name.endswith(".json")
    ]
    assert len(read) >= least


def test_entries_are_counted_as_the_recorded_expectations_do(
    corpora: Path, worker: FeedWorker
) -> None:
    """Of gofeed's universal parser: each feed lies beside what it should become."""
    tests = dict(files(corpora, "gofeed_testdata.tar.gz"))
    compared = wrong = 0
    for name, body in tests.items():
        expected = tests.get(re.sub(r"\.xml$", ".json", name))
        if expected is None or not name.endswith(".xml") or "/translator/" not in name:
            continue
        items = json.loads(expected).get("items") or []
        got = count(worker, body)
        compared += 1
        wrong += (got or 0) != len(items)
    assert compared >= 90
    assert wrong == 0


def test_feedparsers_own_expectations_of_titles_ids_and_links_hold(
    corpora: Path, worker: FeedWorker
) -> None:
    """Each of feedparser's tests says in a comment which value it expects; ours are made of them."""
    pattern = re.compile(rb"entries\[0\]\['(title|id|link)'\]\s*==\s*u?'([^'\\<>&]{3,})'")
    compared = wrong = 0
    for name, body in files(corpora, "feedparser_tests.tar.gz"):
        found = pattern.search(body[:2_000])
        if found is None or any(part in name for part in ("illformed", "/http", "/sanitize/")):
            continue  # of these we mean to make something else
        field, value = found[1].decode(), found[2].decode("utf-8", "replace").strip()
        try:
            feed = worker.read(
                body, {}, url="http://127.0.0.1:8097/", host="h", most=9, where="the feed"
            )
        except ConnectorError:
            wrong += 1
            continue
        entry = feed.entries[0]
        ours = {"title": entry.text, "id": entry.id, "link": entry.url or ""}[field]
        compared += 1
        wrong += value not in ours
    assert compared >= 40
    assert wrong == 0
