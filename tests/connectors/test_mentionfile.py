from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base import Engagement, Post
from connectors.mentionfile import Deleted, MentionLineError, parse_line, read_line, to_line

LEAST = {"id": "1", "source": "news", "text": "tekst", "published_at": "2026-11-10T12:00:00Z"}

words = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1)
posts = st.builds(
    Post,
    platform=words.filter(lambda word: len(word) <= 50),
    id=words.filter(lambda word: len(word) <= 400),
    text=words,
    published_at=st.datetimes(
        datetime(1990, 1, 1),  # noqa: DTZ001 - the zone is added by the strategy
        datetime(2100, 1, 1),  # noqa: DTZ001
        timezones=st.just(UTC),
    ),
    url=st.none() | st.just("https://example.org/a?b=ë"),
    author=st.none() | words.filter(lambda word: len(word) <= 100),
    author_followers=st.none() | st.integers(0, 2**50),
    language=st.none() | st.sampled_from(["nl", "en-gb"]),
    engagement=st.builds(
        Engagement, st.integers(0, 2**50), st.integers(0, 2**50), st.integers(0, 2**50)
    ),
    edited_at=st.none()
    | st.datetimes(
        datetime(1990, 1, 1),  # noqa: DTZ001 - the zone is added by the strategy
        timezones=st.just(UTC),
    ),
    thread=st.none() | st.just("https://example.org/gesprek/7"),
)


@given(posts)
def test_a_post_survives_being_written_and_read(post: Post) -> None:
    written = to_line(post)
    assert "\n" not in written
    assert parse_line(written) == post


@given(st.binary() | st.text())
def test_no_line_is_too_odd(line: bytes | str) -> None:
    with suppress(MentionLineError):
        post = parse_line(line)
        assert parse_line(to_line(post)) == post


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys([*LEAST, "url", "author", "lang", "likes"], json_values)
    )
)
def test_no_value_is_too_odd(changes: dict[str, object]) -> None:
    with suppress(MentionLineError):
        post = parse_line(json.dumps({**LEAST, **changes}))
        to_line(post).encode("utf-8")
        assert post.published_at.utcoffset() == timedelta()


def test_the_demo_stream_is_read_without_a_loss() -> None:
    stream = resources.files("monitor.demo") / "data" / "mentions.jsonl"
    lines = stream.read_text(encoding="utf-8").splitlines()
    posts = [parse_line(line) for line in lines]
    assert len(posts) == 600
    assert [parse_line(to_line(post)) for post in posts] == posts
    assert [post.text for post in posts] == [json.loads(line)["text"].strip() for line in lines]


def test_the_least_that_is_needed_is_enough() -> None:
    assert parse_line(json.dumps(LEAST)) == Post(
        "news", "1", "tekst", datetime(2026, 11, 10, 12, tzinfo=UTC)
    )


def test_times_are_taken_with_their_offset() -> None:
    line = json.dumps({**LEAST, "published_at": "2026-11-09T06:30:16+01:00"})
    expected = datetime(2026, 11, 9, 6, 30, 16, tzinfo=timezone(timedelta(hours=1)))
    assert parse_line(line).published_at == expected


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"published_at": "2026-11-09T06:30:16"}, "published_at"),
        ({"published_at": "yesterday"}, "published_at"),
        ({"published_at": "0001-01-01T00:00:00+14:00"}, "published_at"),
        ({"text": None}, "text"),
        ({"id": ""}, "id"),
        ({"id": None}, "id"),
        ({"likes": -1}, "likes"),
        ({"likes": "many"}, "likes"),
        ({"author_followers": 10**30}, "author_followers"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(MentionLineError, match=complaint):
        parse_line(json.dumps({**LEAST, **changes}))


@pytest.mark.parametrize(
    "line", ["[]", "7", "null", "[" * 100_000, '{"id": ' + "9" * 10_000 + "}", "{", b"\xff", ""]
)
def test_what_is_no_object_is_refused(line: str | bytes) -> None:
    with pytest.raises(MentionLineError):
        parse_line(line)


def test_what_cannot_be_stored_is_replaced() -> None:
    line = json.dumps({**LEAST, "text": "a\ud83d b\x00 c\nd", "author": "x\r\ny"})
    post = parse_line(line)
    assert post.text == "a\N{REPLACEMENT CHARACTER} b\N{REPLACEMENT CHARACTER} c\nd"
    assert post.author == "x y"


@pytest.mark.parametrize("url", ["javascript:alert(1)", "/relative", "https://", "http://a b", "x"])
def test_an_address_that_is_none_is_dropped(url: str) -> None:
    assert parse_line(json.dumps({**LEAST, "url": url})).url is None


def test_further_keys_are_ignored_and_numbers_may_be_ids() -> None:
    post = parse_line(json.dumps({**LEAST, "id": 17, "assessment": {"leak": True}, "likes": None}))
    assert (post.id, post.engagement.likes) == ("17", 0)


def test_a_byte_order_mark_is_no_content() -> None:
    assert parse_line(b"\xef\xbb\xbf" + json.dumps(LEAST).encode()).id == "1"


def test_a_line_may_say_that_a_post_was_deleted() -> None:
    line = json.dumps({"id": 7, "source": "x", "deleted": True})
    assert read_line(line) == Deleted("x", "7")
    with pytest.raises(MentionLineError, match="only a source can say"):
        parse_line(line)
    assert isinstance(read_line(json.dumps({**LEAST, "deleted": False})), Post)
    with pytest.raises(MentionLineError, match="source"):
        read_line(json.dumps({"id": 7, "deleted": True}))
