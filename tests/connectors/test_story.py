"""The story key: reshares share it, other posts do not."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.story import STRETCH, story_key

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
    ],
)
def test_a_reshare_has_the_key_of_its_original(reshare: str) -> None:
    assert story_key(reshare) == story_key(ORIGINAL)


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
def test_another_post_has_another_key(other: str) -> None:
    assert story_key(other) != story_key(ORIGINAL)


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
    assert len({story_key(text) for text in openings}) == len(openings)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text())
def test_every_text_has_a_key_of_32_digits(text: str) -> None:
    key = story_key(text)
    assert len(key) == 32
    assert int(key, 16) >= 0
    assert key == story_key(text)


word = st.text("abcdefgh", min_size=1, max_size=5)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(word, min_size=STRETCH, max_size=40))
def test_decoration_never_changes_the_key(words: list[str]) -> None:
    text = " ".join(words)
    decorated = f"RT @iemand: {', '.join(word.title() for word in words)}!! 😀 https://x.example/y"
    assert story_key(decorated) == story_key(text)


def test_a_hostile_text_takes_no_longer_than_its_length() -> None:
    texts = ["(" * 200_000, '"' * 200_000, "@a" * 100_000, "a-" * 100_000, "via " * 50_000]
    texts += ["(a) " * 50_000, "#a " * 60_000, "rt @a: " * 30_000, "a." * 100_000, "…" * 200_000]
    texts += ["www." * 50_000, " " * 200_000, "a" * 200_000, "a b " * 50_000]
    for text in texts:
        started = time.process_time()
        story_key(text)
        assert time.process_time() - started < 2, text[:8]


def test_the_demo_stream_is_grouped_without_false_merges() -> None:
    folder = Path(__file__).parents[2] / "monitor" / "demo" / "data"
    answers = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
    lines = (folder / "mentions.jsonl").read_text(encoding="utf-8").splitlines()
    keys = {post["id"]: story_key(post["text"]) for post in map(json.loads, lines)}
    group_of = {}
    found = copies = 0
    for group in answers["near_duplicate_groups"]:
        original = group["original"]
        group_of.update(dict.fromkeys([original, *group["copies"]], group["group"]))
        copies += len(group["copies"])
        found += sum(keys[copy] == keys[original] for copy in group["copies"])
    assert found >= 0.9 * copies
    stories: dict[str, set[str]] = {}
    for post, key in keys.items():
        stories.setdefault(key, set()).add(group_of.get(post, post))
    assert [story for story in stories.values() if len(story) > 1] == []
