from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.opml import ListedFeed, OpmlError, read_opml


def opml(*outlines: str, head: str = '<?xml version="1.0" encoding="UTF-8"?>') -> bytes:
    return f'{head}<opml version="2.0"><body>{"".join(outlines)}</body></opml>'.encode()


def test_feeds_are_found_however_deep_they_are_nested() -> None:
    listed = read_opml(
        opml(
            '<outline text="Kranten"><outline title="Regio" text="x">'
            '<outline type="rss" text="De Bode" xmlUrl="https://bode.example/feed?a=1&amp;b=2"/>'
            "</outline></outline>",
            '<outline TEXT="Blog" XMLURL="http://blog.example/rss"/>',
            '<outline text="Geen feed" htmlUrl="https://a.example"/>',
        )
    )
    assert listed.feeds == (
        ListedFeed("https://bode.example/feed?a=1&b=2", "De Bode", ("Kranten", "Regio")),
        ListedFeed("http://blog.example/rss", "Blog"),
    )


def test_a_feed_that_stands_there_twice_is_one() -> None:
    listed = read_opml(
        opml(
            '<outline text="een" xmlUrl="https://A.example:443/feed"/>',
            '<outline text="twee" xmlUrl="https://a.example/feed#x"/>',
        )
    )
    assert ([feed.title for feed in listed.feeds], listed.repeated) == (["een"], 1)


def test_old_spellings_of_addresses_are_understood_and_others_told() -> None:
    listed = read_opml(
        opml(
            '<outline text="a" xmlUrl="feed://a.example/rss"/>',
            '<outline text="b" xmlUrl="feed:https://b.example/rss"/>',
            '<outline text="c" xmlUrl="javascript:alert(1)"/>',
            '<outline xmlUrl="/rss"/>',
        )
    )
    assert [feed.url for feed in listed.feeds] == ["http://a.example/rss", "https://b.example/rss"]
    assert listed.unusable == ("c", "/rss")


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "well-formed"),
        (b"<opml><body>", "well-formed"),
        (b"<html><body/></html>", "not OPML but <html>"),
        (b"<rss/>", "not OPML"),
        (
            opml(head='<!DOCTYPE opml [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'),
            "declares entities",
        ),
        (
            opml(head='<!DOCTYPE opml [<!ENTITY x SYSTEM "file:///etc/passwd">]>'),
            "declares entities",
        ),
        (opml(head='<!DOCTYPE opml [<!ENTITY % x SYSTEM "http://a/"> %x;]>'), "declares entities"),
        (opml("<outline>" * 200 + "</outline>" * 200), "nested"),
        (opml(head='<?xml version="1.0" encoding="klingon"?>'), "well-formed|read"),
    ],
)
def test_what_is_no_safe_list_is_refused_with_the_reason(data: bytes, complaint: str) -> None:
    with pytest.raises(OpmlError, match=complaint):
        read_opml(data)


@given(st.binary(max_size=300))
def test_no_file_is_too_odd(data: bytes) -> None:
    for document in (data, opml().replace(b"<body>", b"<body>" + data)):
        with suppress(OpmlError):
            assert not read_opml(document).unusable
