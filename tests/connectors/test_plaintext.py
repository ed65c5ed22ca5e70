from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.plaintext import (
    LONGEST_TEXT,
    clean,
    from_html,
    language_tag,
    one_line,
    web_url,
)


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("gewoon &amp; kort", "gewoon & kort"),
        ("<p>een</p><p>twee</p>", "een\ntwee"),
        ("een<br>twee<br/>drie", "een\ntwee\ndrie"),
        ("a<b>b</b>c", "abc"),
        ("<style>p {}</style>zicht<script>alert('x')</script>baar", "zichtbaar"),
        ("<iframe src='x'>nog steeds te lezen", "nog steeds te lezen"),
        ("<img src=x onerror=alert(1)>plaatje", "plaatje"),
        ("3 &lt; 4 &euro;&nbsp;5 &#128512; &bogus;", "3 < 4 € 5 😀 &bogus;"),
        ("<a href='https://x.example'>lees</a> meer", "lees meer"),
        ("<ul><li>een</li>\n<li>twee</li></ul>", "een\ntwee"),
        ("  veel \n\n witruimte\t hier ", "veel witruimte hier"),
        ("<", "<"),
        ("a < b", "a < b"),
    ],
)
def test_markup_becomes_what_a_reader_sees(markup: str, text: str) -> None:
    assert from_html(markup) == text


@given(st.text())
def test_cleaned_text_can_be_stored_and_printed(text: str) -> None:
    for cleaned in (clean(text), from_html(text), one_line(text, 80)):
        cleaned.encode("utf-8")
        assert not any(ord(sign) < 32 and sign not in "\t\n\r" for sign in cleaned)
    assert "\n" not in one_line(text, 80)
    assert len(one_line(text, 80)) <= 80


def test_a_text_without_end_is_cut() -> None:
    assert len(clean("x" * 10 * LONGEST_TEXT)) == LONGEST_TEXT
    assert len(from_html("<p>x" * LONGEST_TEXT)) <= LONGEST_TEXT


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://nieuws.example/a?b=c#d", "https://nieuws.example/a?b=c#d"),
        (" http://nieuws.example ", "http://nieuws.example"),
        ("HTTPS://nieuws.example/é", "HTTPS://nieuws.example/é"),
        ("javascript:alert(1)", None),
        ("data:text/html,x", None),
        ("//nieuws.example/", None),
        ("https:///pad", None),
        ("https://a b", None),
        ("https://a\nb", None),
        ("https://[::", None),
        ("https://x.example/" + "a" * 2000, None),
        ("", None),
        (None, None),
    ],
)
def test_only_web_addresses_become_links(value: str | None, expected: str | None) -> None:
    assert web_url(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("NL", "nl"),
        ("nl_BE", "nl-be"),
        ("und", None),
        ("Nederlands!", None),
        ("", None),
        (None, None),
    ],
)
def test_languages_are_tags_or_unknown(value: str | None, expected: str | None) -> None:
    assert language_tag(value) == expected
