"""Stories: reshares are found and recognised, other posts are not."""

from __future__ import annotations

import random
import time
from itertools import combinations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.story import ANCHORS, STRETCH, anchors, same_story, story_key


def told_again(one: str, other: str) -> bool:
    """Found under a common key, and then recognised."""
    return not set(anchors(one)).isdisjoint(anchors(other)) and same_story(one, other)


ORIGINAL = (
    "Vannacht is bij de bakkerij van Lindeboom in Heerde brand uitgebroken; "
    "volgens de brandweer is niemand gewond. De winkel blijft deze week dicht."
)


@pytest.mark.parametrize(
    "reshare",
    [
        f"RT @stentor_nu: {ORIGINAL}",
        f"RT @stentor_nu: {ORIGINAL[:110]}…",
        f"rt @buur.man@plein.example: {ORIGINAL}",
        f"Sterkte allemaal! RT @stentor_nu: {ORIGINAL}",
        f"“{ORIGINAL}”",
        f'Gelezen: "{ORIGINAL}"',
        f"{ORIGINAL} (via Stentor)",
        f"{ORIGINAL} via Stentor",
        f"{ORIGINAL} https://news.example.com/brand?utm_source=x",
        f"{ORIGINAL} #heerde #brand",
        f"@lindeboom {ORIGINAL}",
        f"🔥🔥 {ORIGINAL.upper()} 🔥",
        ORIGINAL.replace(" ", "  \n"),
        ORIGINAL.replace(";", " -").replace(".", "!!"),
        ORIGINAL.replace("is", "i\u200bs"),
        ORIGINAL.replace("brand", "bránd"),
        ORIGINAL.replace("volgens de brandweer", "volgens de politie"),
        ORIGINAL.replace("De winkel blijft", "De zaak blijft"),
        ORIGINAL.replace("deze week ", ""),
    ],
)
def test_a_reshare_is_its_original_told_again(reshare: str) -> None:
    assert told_again(reshare, ORIGINAL)
    assert told_again(ORIGINAL, reshare)


@pytest.mark.parametrize(
    "other",
    [
        "Vannacht is bij de bakkerij van Lindeboom een prijs gevallen in de loterij van het dorp.",
        ORIGINAL.replace(
            "brand uitgebroken; volgens de brandweer", "feest gevierd, en volgens oma"
        ),
        "",
    ],
)
def test_another_post_is_another_story(other: str) -> None:
    assert not told_again(other, ORIGINAL)


def test_short_posts_equal_themselves_only() -> None:
    posts = [
        "Wow",
        "wow",
        "Wow!",
        "Wow 🔥",
        "RT @jan: Wow",
        "@jan Wow",
        "Wow https://a.example",
        "",
    ]
    posts += ["Wow https://b.example", "Goedemorgen allemaal!", "Goedemorgen allemaal"]
    keys = [story_key(post) for post in posts]
    assert len(set(keys)) == len(posts)
    assert keys == [story_key(post) for post in posts]


def test_links_and_handles_do_not_make_a_short_post_long() -> None:
    many = " ".join(f"@volger{number}" for number in range(STRETCH * 2))
    assert story_key(f"Wow {many}") != story_key(f"{many} Wow")


def test_posts_that_only_share_a_greeting_stay_apart() -> None:
    openings = [
        f"Goedemorgen allemaal, weet iemand of {place} vandaag tot hoe laat open is voor publiek"
        for place in ("de Lindeboom", "het zwembad", "gemeentehuis Epe", "de kringloop")
    ]
    assert not any(told_again(one, other) for one, other in combinations(openings, 2))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text())
def test_every_text_has_keys_of_32_digits_and_is_its_own_story(text: str) -> None:
    keys = anchors(text)
    assert 1 <= len(keys) <= ANCHORS
    assert len(set(keys)) == len(keys)
    assert all(len(key) == 32 and int(key, 16) >= 0 for key in keys)
    assert keys == anchors(text)
    assert story_key(text) == keys[0]
    assert same_story(text, text)


word = st.text("abcdefgh", min_size=1, max_size=5)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(word, min_size=STRETCH, max_size=40))
def test_decoration_changes_nothing(words: list[str]) -> None:
    text = " ".join(words)
    decorated = f"RT @iemand: {', '.join(word.title() for word in words)}!! 😀 https://x.example/y"
    assert anchors(decorated) == anchors(text)
    assert told_again(decorated, text)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_word_changed_in_twenty_is_recognised(data: st.DataObject) -> None:
    words = data.draw(
        st.lists(
            st.text("abcdefghijklmnop", min_size=3, max_size=6),
            min_size=40,
            max_size=60,
            unique=True,
        )
    )
    changed = list(words)
    changed[data.draw(st.integers(0, 14))] = "zzz"
    changed[data.draw(st.integers(39, len(words) - 1))] = "yyy"
    assert same_story(" ".join(words), " ".join(changed))


def test_a_word_changed_in_twenty_is_found_but_for_a_few_in_a_thousand() -> None:
    # Keys are drawn by lot: what is found under none of them begins a story of its own.
    rng = random.Random(1)
    found = 0
    for _ in range(400):
        words = ["".join(rng.choices("abcdefghijklmnop", k=6)) for _ in range(rng.randint(40, 60))]
        changed = list(words)
        changed[rng.randrange(15)] = "zzz"
        changed[rng.randrange(39, len(words))] = "yyy"
        found += told_again(" ".join(words), " ".join(changed))
    assert found >= 396


def test_a_hostile_text_takes_no_longer_than_its_length() -> None:
    texts = ["(" * 200_000, '"' * 200_000, "@a" * 100_000, "a-" * 100_000, "via " * 50_000]
    texts += ["(a) " * 50_000, "#a " * 60_000, "rt @a: " * 30_000, "a." * 100_000, "…" * 200_000]
    texts += ["www." * 50_000, " " * 200_000, "a" * 200_000, "a b " * 50_000]
    for text in texts:
        started = time.process_time()
        anchors(text)
        same_story(text, text + " x")
        assert time.process_time() - started < 4, text[:8]
