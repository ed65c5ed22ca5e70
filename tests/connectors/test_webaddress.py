"""Addresses of pages: what wraps them, what is said twice in them, and copies of one page."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.webaddress import canonical, page_key, unwrap

ARTICLE = "https://nieuws.example/artikel?id=7&ref=voor"


def wrapped(link: str) -> str:
    return (
        f"https://www.google.com/url?rct=j&sa=t&url={quote(link, safe='')}&ct=ga&cd=CAIyG&usg=AOv"
    )


@pytest.mark.parametrize(
    ("link", "target"),
    [
        (wrapped(ARTICLE), ARTICLE),
        (wrapped(wrapped(ARTICLE)), ARTICLE),
        ("https://www.google.nl/url?q=https://a.example/", "https://a.example/"),
        ("http://google.co.uk/url?url=http://a.example/b", "http://a.example/b"),
        ("https://www.google.com/url?url=javascript:alert(1)", None),
        ("https://www.google.com/url?sa=t", None),
        ("https://google.com.evil.example/url?url=https://a.example/", None),
        ("https://nieuws.example/url?url=https://a.example/", None),
        ("https://www.google.com/search?url=https://a.example/", None),
    ],
)
def test_only_googles_own_redirects_to_the_web_are_unwrapped(link: str, target: str | None) -> None:
    assert unwrap(link) == (target or link)


@pytest.mark.parametrize(
    ("link", "written"),
    [
        ("HTTPS://A.Example:443/B?x=1#y", "https://a.example/B?x=1"),
        ("http://a.example", "http://a.example/"),
        ("http://a.example:8080/", "http://a.example:8080/"),
        ("https://a.example/?utm_medium=m&id=%7e1&fbclid=z", "https://a.example/?id=~1"),
        ("https://a.example/?b=2&a=%20", "https://a.example/?b=2&a=%20"),
        ("https://u:p@a.example/x", "https://a.example/x"),
        ("https://[2001:DB8::1]/x", "https://[2001:db8::1]/x"),
        ("https://a.example:99999999/x", "https://a.example:99999999/x"),
    ],
)
def test_an_address_is_written_in_one_way(link: str, written: str) -> None:
    assert canonical(link) == written
    assert canonical(written) == written


@given(st.text(max_size=60), st.booleans())
def test_no_address_is_too_odd(text: str, in_query: bool) -> None:
    link = f"https://www.google.com/url?url={quote(text)}" if in_query else f"https://a/{text}"
    once = canonical(unwrap(link))
    assert canonical(unwrap(once)) == once


@pytest.mark.parametrize(
    "copy",
    [
        "https://nieuws.example/brand-in-heerde",
        "http://www.nieuws.example/brand-in-heerde/",
        "https://m.nieuws.example/brand-in-heerde#reacties",
        "https://amp.nieuws.example/brand-in-heerde",
        "https://nieuws.example/brand-in-heerde/amp/",
        "https://nieuws.example/brand-in-heerde?amp=1",
        "https://nieuws.example/brand-in-heerde?utm_source=nieuwsbrief&utm_medium=mail",
        "https://NIEUWS.example:443/brand-in-heerde",
        wrapped("https://nieuws.example/brand-in-heerde?fbclid=x"),
    ],
)
def test_copies_of_a_page_have_one_key(copy: str) -> None:
    assert page_key(copy) == "nieuws.example/brand-in-heerde"


@pytest.mark.parametrize(
    "other",
    [
        "https://nieuws.example/brand-in-epe",
        "https://andere.example/brand-in-heerde",
        "https://nieuws.example/brand-in-heerde?page=2",
        "https://nieuws.example:8443/brand-in-heerde",
        "https://nieuws.example/",
    ],
)
def test_other_pages_have_other_keys(other: str) -> None:
    assert page_key(other) != "nieuws.example/brand-in-heerde"


@pytest.mark.parametrize(
    "front", ["https://a.example", "https://www.a.example/?utm_source=x", "https://a.example/#top"]
)
def test_a_front_page_is_no_page_of_its_own(front: str) -> None:
    assert page_key(front) is None


def test_what_chooses_an_article_stays_in_any_order() -> None:
    assert page_key("https://a.example/x?id=7&b=1") == page_key("https://a.example/x?b=1&id=7")
    assert page_key("https://a.example/x?id=7") != page_key("https://a.example/x?id=8")
    assert page_key("https://www.nl/x") == "www.nl/x", "a site that is called so"


@given(st.text(max_size=60))
def test_a_key_never_fails_and_is_its_own_key(text: str) -> None:
    key = page_key(f"https://a.example/{text}")
    if key is not None:
        assert page_key(f"https://{key}") == key
    page_key(text)
