"""What a backtest costs: a made-up year of posts, of which a share matches.

    python tests/bench/bench_backtest.py --mentions 100000
    python tests/bench/bench_backtest.py --mentions 1000000 --share 1 --model none
    python tests/bench/bench_backtest.py --mentions 20000 --share 0.05 --profile

Prints posts and mentions (posts that match) per second with the real model, and for the rest of the
machinery (with a classifier that answers at once) the share of time of each step. Wall clock and
processor time are told apart: only the latter means something on a busy machine. How far it got goes
to standard error. Three crises are hidden in the year.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from classifiers.base import (
    Abuse,
    AbuseLabel,
    Assessment,
    Classifier,
    Leak,
    LeakBand,
    LeakCategory,
    Sentiment,
    SentimentLabel,
    Text,
)
from classifiers.register.detector import RegisterDetector
from monitor.backtest.reading import Reader
from monitor.backtest.run import Progress, Result, Setting, Wrap, backtest, build
from monitor.config import Config, parse
from monitor.log import set_up

START = datetime(2025, 11, 3, tzinfo=UTC)
CRISES = (0.11, 0.47, 0.82)
"""Places of the crises in the span."""
SENTENCE = (
    "de het een van bij in winkel kassa rij lang mooi app bezorger koffie één café gisteren zegels "
    "korting kapot mijn tuin brood kaas weer niet wel maar toch gewoon vandaag morgen iemand weet "
    "waarom altijd nooit lekker vers druk rustig folder klant service bestelling fiets parkeren"
)
CONFIG = """
[[brands]]
name = "Zonnehoek"
query = '(zonnehoek OR zonnebezorgd OR @zonnehoek) AND NOT (tuin* OR "op de zonnehoek")'
[[sources]]
name = "x"
kind = "rss"
url = "https://feeds.example.com/x.xml"
[[channels]]
name = "mail"
kind = "email"
host = "mail.example.com"
from = "merkwacht@example.com"
[[receivers]]
name = "team"
channels = [{ use = "mail", to = ["team@example.com"] }]
[[routes]]
receivers = ["team"]
cooldown_minutes = 240
"""


def posts(count: int, share: float, days: int, seed: int = 1) -> Iterator[dict[str, object]]:
    """Posts over some days, busier by day, of which a share names the brand."""
    chance = random.Random(seed)
    vocabulary = SENTENCE.split()
    for number in range(count):
        matching = chance.random() < share
        at = START + timedelta(days=days) * chance.random()
        if at.hour < 6 and chance.random() < 0.8:
            at += timedelta(hours=8)
        words = chance.choices(vocabulary, k=chance.randint(6, 30))
        if matching:
            words = [word for word in words if not word.startswith("tuin")]
            words.insert(chance.randrange(len(words)), "Zonnehoek")
            if chance.random() < 0.03:
                day = days * chance.choice(CRISES)
                at = START + timedelta(days=day, hours=10 + chance.expovariate(0.25))
                words += ["hummus", "ziek", "schande"]
        yield {
            "id": f"p{number}",
            "source": chance.choice(("x", "x", "facebook", "news")),
            "author": f"a{chance.randrange(count // 4 + 1)}",
            "author_followers": int(chance.paretovariate(0.7) * 50),
            "published_at": at.isoformat(),
            "lang": "nl",
            "text": " ".join(words) + f" {number % 97}",
        }


class Quick:
    """Answers at once: what is left is everything but the model."""

    version = "quick"

    def classify(self, texts: Sequence[Text]) -> list[Assessment]:
        return [self._assess(text.text) for text in texts]

    def _assess(self, text: str) -> Assessment:
        negative = "schande" in text or hash(text) % 5 == 0
        label = SentimentLabel.NEGATIVE if negative else SentimentLabel.NEUTRAL
        return Assessment(
            "nl",
            Sentiment(label, {each: 0.9 if each is label else 0.05 for each in SentimentLabel}),
            Leak(LeakBand.LOW, 0.0, LeakCategory.NONE),
            Abuse(AbuseLabel.NONE, 0.0),
        )


def quick(config: Config, register: RegisterDetector | None, wrap: Wrap) -> Classifier:
    del config, register, wrap
    return Quick()


def report(name: str, result: Result, processor: float) -> None:
    work = result.work[0]
    (outcome,) = result.outcomes
    mentions = sum(outcome.matched.values())
    print(f"\n{name}: {result.read:,} posts, {mentions:,} mentions")
    print(
        f"  {result.seconds:.1f} s by the clock, {processor:.1f} s of processor: "
        f"{result.read / result.seconds:,.0f} posts/s, {result.read / processor:,.0f} per processor second"
    )
    print(
        f"  {mentions / result.seconds:,.0f} mentions/s, {mentions / processor:,.0f} per processor second"
    )
    print(
        f"  {work.leaps:,} passes, {work.taken_back:,} taken back; "
        f"{len(outcome.incidents)} incidents, {len(outcome.told)} told"
    )
    rest = processor - sum(work.seconds.values())
    for what, seconds in [*work.seconds.items(), ("reading, matching, sorting, rest", rest)]:
        print(f"  {what:34} {seconds:8.1f} s {seconds / processor:6.1%}")


def watched(mentions: int) -> Progress:
    """Says on standard error at every twentieth how far a replay is."""
    told = 0

    def progress(done: int) -> None:
        nonlocal told
        if done * 20 // max(1, mentions) > told:
            told = done * 20 // mentions
            print(f"{told * 5}% at {time.process_time():.0f} s", file=sys.stderr, flush=True)

    return progress


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mentions", type=int, default=100_000, help="posts in the file")
    parser.add_argument("--share", type=float, default=0.05, help="of them that match")
    parser.add_argument("--days", type=int, default=365, help="that they are spread over")
    parser.add_argument("--model", choices=("both", "real", "none"), default="both")
    parser.add_argument("--profile", action="store_true", help="of the run without a model")
    asked = parser.parse_args()
    set_up(level="error", style="text")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "posts.jsonl"
        with path.open("w", encoding="utf-8") as file:
            file.writelines(
                json.dumps(each) + "\n" for each in posts(asked.mentions, asked.share, asked.days)
            )
        config = parse(CONFIG, Path(folder) / "config.toml", secrets=False)
        for name, builder in (("without a model", quick), ("with the real model", build)):
            if asked.model == ("real" if builder is quick else "none"):
                continue
            profile = cProfile.Profile()
            if asked.profile and builder is quick:
                profile.enable()
            began = time.process_time()
            result = backtest(
                Reader([path], errors=sys.stderr),
                [Setting(config)],
                sorted_out=watched,
                build=builder,
            )
            processor = time.process_time() - began
            profile.disable()
            report(name, result, processor)
            if asked.profile and builder is quick:
                pstats.Stats(profile).sort_stats("cumulative").print_stats(45)


if __name__ == "__main__":
    main()
