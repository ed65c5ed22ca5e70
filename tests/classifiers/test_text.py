"""The normalisation that training and run time share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.text import prepare, readable


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("kijk https://t.co/aB3xY nou", "kijk http nou"),
        ("foto pic.twitter.com/aB3xY", "foto http"),
        (
            "zie https://kluis.voorbeeld.example/d/7?toegang=Ev8k6X9s",
            "zie http kluis.voorbeeld.example/d/7?toegang=Ev8k6X9s",
        ),
        ("www.voorbeeld.example/aanbieding", "http www.voorbeeld.example/aanbieding"),
        ("@Zonnehoek en @jan.de_wit: hoi", "@user en @user: hoi"),
        ("@piet@mastodon.example hoi", "@user hoi"),
        ("mail naar jan@bedrijf.example", "mail naar jan@bedrijf.example"),
        ("2 @ 3 euro", "2 @ 3 euro"),
        ("Jansen &amp; Zn &lt;3", "Jansen & Zn <3"),
        ("regel een\n\n\tregel   twee ", "regel een regel twee"),
        ("zooooooo goed!!!!!!!", "zooo goed!!!"),
    ],
)
def test_what_says_nothing_becomes_a_shape(given_text: str, expected: str) -> None:
    assert prepare(given_text) == expected


@pytest.mark.parametrize("number", ["100000", "€ 1.000.000", "NL91ABNA0417164300", "4471#", "0000"])
def test_numbers_stay_as_they_are(number: str) -> None:
    assert number in prepare(f"de code is {number} hoor")


def test_user_information_in_a_link_stays() -> None:
    link = "https://ci-bot:ghp_qNsXEDQD944@git.example.com/factuur"
    assert prepare(link) == "http ci-bot:ghp_qNsXEDQD944@git.example.com/factuur"


def test_a_link_is_cut_where_nothing_is_to_be_learned_any_more() -> None:
    assert len(prepare("https://voorbeeld.example/" + "a1" * 500)) < 100


def test_emoji_outside_the_vocabulary_get_a_meaning() -> None:
    assert prepare("getver 🤮") == "getver walgelijk disgusting"
    assert prepare("een 🦒") == "een giraffe face"


def test_emoji_inside_the_vocabulary_stay_and_lose_their_skin_tone() -> None:
    assert prepare("top 👍🏽🔥") == "top 👍🔥"


def test_control_characters_and_lone_surrogates_become_spaces() -> None:
    assert prepare("a\x00b\ud83dc\u200bd\ufeff") == "a b cd"
    assert readable("a\x00b\ud83dc") == "a b c"


@pytest.mark.parametrize(
    ("disguised", "said"),
    [
        ("het wаchtwооrd is p\u0430ss", "het wachtwoord is pass"),
        ("pa\u3164ss\u2800word", "password"),
        ("p\u0336a\u0336s\u0336s", "pass"),
        ("cafe\u0301 en idee\u0308n", "café en ideën"),
    ],
)
def test_a_word_in_disguise_is_read_as_what_it_says(disguised: str, said: str) -> None:
    assert prepare(disguised) == said


@pytest.mark.parametrize(
    "text", ["Москва, я тебя люблю", "Καλημέρα στην Αθήνα", "IT-компания и WhatsAppом", "ô ça já"]
)
def test_other_alphabets_stay_what_they_are(text: str) -> None:
    assert prepare(text) == text


@given(st.text(alphabet=st.characters(), max_size=200))
def test_any_text_becomes_one_readable_line(text: str) -> None:
    for made in (prepare(text), readable(text)):
        made.encode("utf-8")
        assert made == made.strip()
        assert not {"\n", "\r", "\t", "\x00"} & set(made)


def test_a_very_long_run_takes_no_time() -> None:
    assert prepare("@" * 200_000) == "@@@"
    assert prepare("http://" * 30_000).startswith("http")
    assert prepare("a.b-" * 50_000).startswith("a.b-")
