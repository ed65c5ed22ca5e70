"""The topic detector: a new word on many lips."""

from __future__ import annotations

import json
import math
import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.spikes import Sensitivity
from alerts.topics import TopicDetector, TopicVerdict, beta_binomial_tail, words_of

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
SYLLABLES = ["bo", "ka", "ri", "mo", "lu", "te", "sa", "ni", "po", "ve", "gra", "stu"]

Said = tuple[datetime, str, str, str]


def chatter(amount: int, seed: int, *, gap_minutes: float = 12) -> list[Said]:
    """Mentions about nothing in particular, words drawn by a long-tailed habit."""
    random_ = random.Random(seed)
    vocabulary = ["".join(random_.choices(SYLLABLES, k=3)) for _ in range(900)]
    weights = [1 / (rank + 3) for rank in range(len(vocabulary))]
    at, said = MONDAY, []
    for number in range(amount):
        at += timedelta(minutes=random_.expovariate(1 / gap_minutes))
        text = " ".join(random_.choices(vocabulary, weights, k=12))
        said.append((at, text, f"author {random_.randrange(400)}", f"story {number}"))
    return said


def read(detector: TopicDetector, said: list[Said]) -> list[TopicVerdict]:
    return [
        detector.advance(at, text, author=author, story=story) for at, text, author, story in said
    ]


def burst(after: datetime, texts: list[str], *, minutes: float = 5) -> list[Said]:
    return [
        (after + timedelta(minutes=minutes * (i + 1)), text, f"new {i}", f"burst {i}")
        for i, text in enumerate(texts)
    ]


def test_a_new_word_by_several_voices_rings_once_and_is_named() -> None:
    said = chatter(300, 1)
    detector = TopicDetector()
    assert not any(verdict.alert for verdict in read(detector, said))
    start = said[-1][0]
    texts = ["ziek van de hummus", "lege hummusschap gezien", "#Hummus bah", "nooit meer hummus"]
    verdicts = read(detector, burst(start, [*texts, "weer die hummus", "hummus weg"]))
    (rang,) = [verdict for verdict in verdicts if verdict.alert]
    assert rang is verdicts[2]
    assert (rang.term, rang.stories, rang.authors) == ("hummus", 3, 3)
    assert rang.since == (start + timedelta(minutes=5)).replace(microsecond=0)
    assert rang.window == timedelta(minutes=10)
    assert rang.expected < 0.2


@pytest.mark.parametrize("same", ["author", "story"])
def test_one_voice_repeated_is_not_many(same: str) -> None:
    said = chatter(300, 2)
    detector = TopicDetector()
    read(detector, said)
    for at, text, author, story in burst(said[-1][0], ["kijk deze salmonella"] * 8):
        one = {"author": author, "story": story} | {same: "the same"}
        assert not detector.advance(at, text, **one).alert


def test_a_word_that_is_always_used_is_no_topic() -> None:
    said = [
        (at, text + (" winkel" if number % 3 == 0 else ""), author, story)
        for number, (at, text, author, story) in enumerate(chatter(300, 3))
    ]
    detector = TopicDetector()
    read(detector, said)
    verdicts = read(detector, burst(said[-1][0], ["deze winkel", "die winkel"] * 3))
    assert not any(verdict.alert for verdict in verdicts)


def test_the_words_of_the_brand_are_no_topic() -> None:
    said = chatter(300, 4)
    detector = TopicDetector(ignore=["Zonnehoek", "zonne hoek"])
    read(detector, said)
    verdicts = read(detector, burst(said[-1][0], ["#zonnehoek", "Zonnehoekje"] * 3))
    assert not any(verdict.alert for verdict in verdicts)


def test_nothing_is_new_before_enough_was_read() -> None:
    said = chatter(60, 5)
    detector = TopicDetector()
    read(detector, said)
    verdicts = read(detector, burst(said[-1][0], ["hummus"] * 8))
    assert all(verdict.warming_up and not verdict.alert for verdict in verdicts)


def test_fifty_days_of_chatter_ring_at_most_once() -> None:
    verdicts = [read(TopicDetector(), chatter(1500, seed)) for seed in range(6, 10)]
    assert sum(verdict.alert for series in verdicts for verdict in series) <= 1


def test_a_topic_of_yesterday_is_not_new_today() -> None:
    said = chatter(300, 10)
    detector = TopicDetector()
    read(detector, said)
    first = burst(said[-1][0], ["over hummus"] * 40)
    assert sum(verdict.alert for verdict in read(detector, first)) == 1
    again = [
        (at + timedelta(hours=20), text, author, f"again {story}")
        for at, text, author, story in first[:6]
    ]
    assert not any(verdict.alert for verdict in read(detector, again))


def test_alert_rings_on_fewer_voices_than_calm() -> None:
    needed = {}
    for sensitivity in Sensitivity:
        said = chatter(400, 11)
        detector = TopicDetector(sensitivity=sensitivity)
        read(detector, said)
        verdicts = read(detector, burst(said[-1][0], ["hummus"] * 12, minutes=3))
        needed[sensitivity] = next(v.stories for v in verdicts if v.alert)
    assert needed == {Sensitivity.CALM: 4, Sensitivity.BALANCED: 3, Sensitivity.ALERT: 3}


def test_voices_further_apart_need_one_more() -> None:
    said = chatter(300, 1)
    detector = TopicDetector()
    read(detector, said)
    verdicts = read(detector, burst(said[-1][0], ["hummus"] * 6, minutes=9))
    (rang,) = [verdict for verdict in verdicts if verdict.alert]
    assert rang is verdicts[3]
    assert (rang.stories, rang.window) == (4, timedelta(hours=1))


def test_few_voices_among_many_others_are_no_topic_yet() -> None:
    said = chatter(300, 1)
    detector = TopicDetector()
    read(detector, said)
    start = said[-1][0]
    others = chatter(340, 1)[300:]
    busy = [
        (
            start + timedelta(minutes=number / 2),
            f"{text} hummus" if number % 4 == 3 else text,
            author,
            story,
        )
        for number, (_, text, author, story) in enumerate(others[:12])
    ]
    assert not any(verdict.alert for verdict in read(detector, busy))


def test_a_post_told_on_is_no_new_voice() -> None:
    said = chatter(300, 1)
    detector = TopicDetector()
    read(detector, said)
    start = said[-1][0]
    told = [
        (start + timedelta(minutes=minutes), "ziek van de hummus", f"author {minutes}", story)
        for minutes, story in ((1, "a"), (2, "b"), (17, "a"), (18, "b"), (19, "c"), (20, "c"))
    ]
    assert not any(verdict.alert for verdict in read(detector, told))


def test_another_topic_rings_while_one_is_running_and_its_own_words_do_not() -> None:
    said = chatter(300, 1)
    detector = TopicDetector()
    read(detector, said)
    first = burst(said[-1][0], ["lege hummusschap", *["hummus met salmonella"] * 8], minutes=2)
    assert [verdict.term for verdict in read(detector, first) if verdict.alert] == ["hummus"]
    later = [
        (at + timedelta(hours=3), "staking morgen", f"again {author}", f"again {story}")
        for at, _, author, story in first
    ]
    rang = [verdict for verdict in read(detector, later) if verdict.alert]
    assert [(verdict.stories, verdict.authors) for verdict in rang] == [(3, 3)]
    assert rang[0].since == later[0][0].replace(microsecond=0)


def test_a_word_of_a_busy_brand_is_still_known_weeks_later() -> None:
    """Ordinary words come back after a month of others."""
    random_ = random.Random(13)
    words = ["".join(random_.choices("abcdefghij", k=6)) for _ in range(6000)]
    at, detector = MONDAY, TopicDetector()
    for number in range(6000):
        at += timedelta(minutes=5)
        text = " ".join([*random_.choices(words, k=10), "levering" if number % 150 == 0 else ""])
        detector.advance(at, text, author=str(number), story=str(number))
    back = burst(at, ["levering laat", "levering vroeg", "levering goed"], minutes=4)
    assert not any(verdict.term == "levering" for verdict in read(detector, back) if verdict.alert)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), st.integers(0, 160), st.floats(0.1, 30))
def test_a_restart_at_any_mention_changes_nothing(seed: int, cut: int, gap: float) -> None:
    said = chatter(140, seed, gap_minutes=gap)
    said += burst(said[-1][0], ["hummus"] * 20)
    whole, parted = TopicDetector(), TopicDetector()
    expected = read(whole, said)
    got = read(parted, said[:cut])
    parted = TopicDetector.restore(json.loads(json.dumps(parted.snapshot())))
    assert got + read(parted, said[cut:]) == expected
    assert parted.snapshot() == whole.snapshot()


def test_memory_is_bounded_however_much_is_said() -> None:
    detector = TopicDetector()
    random_ = random.Random(12)
    for number in range(4000):
        words = ["".join(random_.choices("abcdefghij", k=6)) for _ in range(12)]
        detector.advance(
            MONDAY + timedelta(seconds=9 * number),
            " ".join(words),
            author=str(number),
            story=words[0],
        )
    assert len(json.dumps(detector.snapshot())) < 80_000


def test_mentions_out_of_order_or_without_a_zone_are_refused() -> None:
    detector = TopicDetector()
    detector.advance(MONDAY, "een", author="a", story="a")
    with pytest.raises(ValueError, match="earlier"):
        detector.advance(MONDAY - timedelta(seconds=1), "twee", author="a", story="b")
    with pytest.raises(ValueError, match="no time zone"):
        detector.advance(datetime(2026, 2, 1), "twee", author="a", story="b")  # noqa: DTZ001


def test_a_snapshot_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="read anew"):
        TopicDetector.restore(TopicDetector().snapshot() | {"version": 0})


@pytest.mark.parametrize(
    ("text", "stems"),
    [
        ("RT @iemand: zie https://example.com/hummus nu", set()),
        ("#Hummus, HUMMUS en hummusschap", {"hummus"}),
        ("Zonnehoek-hummus", {"zonneh", "hummus"}),
        ("geïnfecteerd geinfecteerd", {"geinfe"}),
        ("12345 4you ja", set()),
    ],
)
def test_words_are_taken_without_links_handles_and_numbers(text: str, stems: set[str]) -> None:
    assert set(words_of(text)) == stems


@given(st.integers(1, 60), st.floats(0.05, 50), st.floats(0.5, 500))
def test_the_tail_shrinks_with_every_further_voice(trials: int, alpha: float, beta: float) -> None:
    tails = [beta_binomial_tail(k, trials, alpha, beta) for k in range(trials + 1)]
    assert tails[0] == pytest.approx(0, abs=1e-6)
    assert all(later >= earlier - 1e-9 for earlier, later in pairwise(tails))


def test_the_tail_is_the_binomial_one_when_the_rate_is_known() -> None:
    rate, trials = 0.1, 9
    exact = sum(math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(4, 10))
    got = beta_binomial_tail(4, trials, 1e6 * rate, 1e6 * (1 - rate))
    assert got == pytest.approx(-math.log10(exact), rel=1e-3)
