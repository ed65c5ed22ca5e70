"""Texts for places whose markup is not known."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alerts.harmless import harmless
from tests.alerts.hostile import HOSTILE, STEERING

JOINER = "\u2060"
PIECES = st.lists(
    st.one_of(
        st.text(max_size=5),
        st.sampled_from(
            ["<", ">", "@", "everyone", "](", "]", "(", "://", "https", "www.", "!", "#", "&", "{",
             "%", "$", "javascript", ":", "data", "\r\n", "\x00", "\u202e", JOINER, " "]
        ),
    ),
    max_size=12,
).map("".join)  # fmt: skip


@given(text=PIECES)
@example(text="a@everyone")
@example(text="<<https://x>>")
@example(text="x" * 40 + "https://y")
@example(text="xjavascript:1")
def test_nothing_active_is_left_of_any_text(text: str) -> None:
    made = harmless(text)
    for active in ("<", ">", "@everyone", "](", "][", "{{", "{%", "https://", "javascript:"):
        assert active not in made
    assert not set(made) & set(STEERING)
    assert "\r" not in made


@given(text=PIECES)
def test_what_is_harmless_stays_as_it_is(text: str) -> None:
    made = harmless(text)
    assert harmless(made) == made


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_text_has_a_longest_length(text):
    made = harmless(text, 100)
    assert len(made.replace(JOINER, "")) <= 100


@pytest.mark.parametrize(
    "text",
    [
        "De directie sluit in maart drie filialen: 12:30 uur, 5 % korting!",
        "Zonnehoek (Utrecht) & zn., C# en e-mail; [Kritiek] 3 > 2?".replace(">", "›"),
        "",
    ],
)
def test_an_ordinary_text_stays_as_it_is(text):
    assert harmless(text) == text


def test_it_reads_the_same():
    told = "@zonnehoek: kijk op https://zonnehoek.example en www.zonnehoek.example"
    assert harmless(told).replace(JOINER, "") == told
