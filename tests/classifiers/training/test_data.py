"""Our own posts, and what training makes of them."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.base import AbuseLabel, LeakCategory, SentimentLabel
from classifiers.text import prepare
from classifiers.training.data import OWN, UNKNOWN, Example, Source, draw, rows, side_of, sources
from classifiers.training.variations import vary
from monitor import demo

LEAKS = sorted((OWN / "leaks").glob("*.jsonl"))
MEASURED = ["leaks-dev.jsonl", "leaks-other.jsonl"]
POSTS = sorted((OWN / "posts").glob("*.jsonl"))


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def source(name) -> Source:
    return next(each for each in sources() if each.name == name)


@pytest.mark.parametrize("path", LEAKS, ids=lambda path: path.stem)
def test_a_leak_has_a_category_and_a_look_alike_has_none(path):
    for row in read(path):
        assert (LeakCategory(row["category"]) is not LeakCategory.NONE) == row["escalate"], row[
            "id"
        ]
        assert row["lang"] in {"nl", "en"}, row["id"]


@pytest.mark.parametrize("path", POSTS, ids=lambda path: path.stem)
def test_other_posts_have_a_sentiment_and_an_abuse_label(path):
    for row in read(path):
        assert row["sentiment"] in set(SentimentLabel), row["id"]
        assert row["abuse"] in set(AbuseLabel), row["id"]


def test_no_id_and_no_text_of_our_own_comes_twice():
    posts = [row for path in LEAKS + POSTS for row in read(path)]

    for what in (lambda row: row["id"], lambda row: prepare(row["text"]).casefold()):
        assert [x for x, n in Counter(map(what, posts)).items() if n > 1] == []


def test_nothing_that_is_measured_on_is_learned_from():
    kept_apart = [row["text"] for name in MEASURED for row in read(OWN / name)]
    week = Path(demo.__file__).parent / "data" / "mentions.jsonl"
    kept_apart += [row["text"] for row in read(week)]
    learned = {prepare(row["text"]).casefold() for path in LEAKS + POSTS for row in read(path)}

    assert [text for text in kept_apart if prepare(text).casefold() in learned] == []


def test_both_of_a_pair_are_twins_and_fall_on_the_same_side():
    pairs = {}
    leaks = source("leaks")
    for row in rows(OWN / "leaks"):
        example = leaks.read(row)
        if "pair" in row:
            side = side_of(example.group, leaks.dev, leaks.test)
            pairs.setdefault(row["pair"], []).append((side, example.leak))

    assert len(pairs) > 300
    assert all(len({side for side, _ in pair}) == 1 for pair in pairs.values())
    assert all({leak for _, leak in pair} == {0, 1} for pair in pairs.values())


@given(st.text(max_size=40))
def test_the_side_of_a_group_is_always_the_same(group):
    assert side_of(group, 0.1, 0.2) == side_of(group, 0.1, 0.2)


def test_a_round_draws_what_the_shares_say():
    few = [Example(f"post {i}", "leaks", "", leak=i % 2) for i in range(100)]

    drawn = draw({"leaks": few}, random.Random(1))

    assert len(drawn) == source("leaks").per_round
    assert set(Counter(e.text for e in drawn).values()) == {source("leaks").per_round // 100}


def variations(examples, **shares):
    nothing = {"digits": 0.0, "case": 0.0, "joined": 0.0}
    return vary(examples, random.Random(3), **{**nothing, **shares})


def test_other_digits_keep_the_shape_of_a_number():
    (post,) = variations([Example("Code 4711 voor hal B", "leaks", "g", leak=1)], digits=1.0)

    assert post.text != "Code 4711 voor hal B"
    assert "".join("0" if c.isdigit() else c for c in post.text) == "Code 0000 voor hal B"


def test_a_leak_joined_with_an_ordinary_post_stays_a_leak_and_says_nothing_of_mood():
    leak = Example("De overname is maandag", "leaks", "pair x", leak=1, category=2, sentiment=1)
    ordinary = Example("Lekker brood gekocht", "SemEval tweets", "", leak=0, sentiment=2)

    joined, same = variations([leak, ordinary], joined=1.0)

    assert leak.text in joined.text
    assert ordinary.text in joined.text
    assert (joined.leak, joined.category, joined.sentiment) == (1, 2, UNKNOWN)
    assert same == ordinary


def test_public_posts_are_not_varied():
    tweets = [Example("Gas 3.39 at MY house", "SemEval tweets", "", leak=0)] * 20

    assert variations(tweets, digits=1.0, case=1.0, joined=1.0) == tweets
