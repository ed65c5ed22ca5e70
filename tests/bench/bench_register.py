"""What the register of secrets finds, what it takes for a leak by mistake, and what it costs.

    MERKWACHT_CORPORA=/folder/with/the/corpora python tests/bench/bench_register.py

Registers documents made of subtitles, translated reviews, this project's documentation and its training
posts, quotes them with and without slips, and looks for them in real posts that have nothing to do with
them. Nothing of the corpora is printed.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from classifiers.base import Confidence, LeakCategory
from classifiers.register.documents import document
from classifiers.register.fingerprints import Fingerprints
from classifiers.register.index import Index
from classifiers.register.items import Item, ItemKind, pack_sections

ROOT = Path(__file__).parents[2]
CORPORA = Path(os.environ.get("MERKWACHT_CORPORA", ""))
FINGERPRINTS = Fingerprints(b"a key for the bench, 32 bytes...")
SURENESS = [Confidence.LOW, Confidence.MEDIUM, Confidence.HIGH]
QUOTATIONS = 1_000
POSTS = {
    "English posts (SemEval)": ("sentiment_en/semeval_pool.jsonl", 20_000),
    "Dutch posts": ("abuse/posts_nl.jsonl", 2_000),
    "Dutch political posts": ("sentiment_nl/political_tweets.jsonl", 1_000),
    "Dutch restaurant reviews": ("sentiment_nl/restaurants.jsonl", 2_000),
    "Dutch television": ("sentiment_nl/tv_transcripts.jsonl", 10_000),
}
PAGE = 450


def lines(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as file:
        return [str(json.loads(line)["text"]) for line in file]


def pages(texts: list[str], words: int = 500) -> list[str]:
    """Documents of about so many words."""
    made, part = [], []
    for text in texts:
        part += text.split()
        if len(part) >= words:
            made.append(" ".join(part))
            part = []
    return made


def documents() -> list[str]:
    """A page and more each, half of them Dutch; in an order that mixes the sources."""
    own = sorted((ROOT / "classifiers" / "training" / "data" / "leaks").glob("*.jsonl"))
    sources = [
        pages(lines(CORPORA / "sentiment_nl" / "subtitles_projected.jsonl")),
        pages([path.read_text(encoding="utf-8") for path in sorted(ROOT.rglob("docs/**/*.md"))], 1),
        pages(lines(CORPORA / "sentiment_nl" / "aspects_translated.jsonl")),
        pages([text for path in own for text in lines(path)]),
    ]
    split = [part for text in sources[1] for part in pages(text.split("\n"))]
    sources[1] = split
    chance = random.Random(1)
    for source in sources:
        chance.shuffle(source)
    mixed: list[str] = []
    while any(sources):
        mixed += [source.pop() for source in sources if source]
    return mixed


def register(texts: list[str]) -> list[Item]:
    return [
        replace(document(text, f"doc-{n}", LeakCategory.INTERNAL, FINGERPRINTS), family=n + 1)
        for n, text in enumerate(texts)
    ]


def surest(index: Index, text: str) -> Confidence | None:
    return max((hit.confidence for hit in index.find(text)), key=SURENESS.index, default=None)


def quotation(texts: list[str], length: int, chance: random.Random) -> list[str]:
    """So many words in a row of some document, each with a letter in it."""
    while True:
        words = chance.choice(texts).split()
        if len(words) <= length:
            continue
        start = chance.randrange(len(words) - length)
        part = words[start : start + length]
        if all(any(c.isalpha() for c in word) for word in part):
            return part


def with_typos(words: list[str], chance: random.Random) -> list[str]:
    """One word in ten has one letter too few, too many or another."""
    for begin in range(0, len(words), 10):
        place = chance.randrange(begin, min(len(words), begin + 10))
        word = words[place]
        at = chance.randrange(len(word))
        words[place] = word[:at] + chance.choice(["", "x", "e", "en"]) + word[at + 1 :]
    return words


def without_a_word(words: list[str], chance: random.Random) -> list[str]:
    del words[chance.randrange(1, len(words) - 1)]
    return words


SLIPS: dict[str, Callable[[list[str], random.Random], list[str]]] = {
    "as it is": lambda words, _: words,
    "1 typo in 10 words": with_typos,
    "a word left out": without_a_word,
}


def recall(index: Index, texts: list[str]) -> Iterator[str]:
    chance = random.Random(7)
    for length in (8, 12, 20, 40):
        for name, slip in SLIPS.items():
            found: Counter[Confidence | None] = Counter()
            for _ in range(QUOTATIONS):
                quoted = " ".join(slip(quotation(texts, length, chance), chance))
                found[surest(index, quoted)] += 1
            total = QUOTATIONS - found[None]
            sure = found[Confidence.HIGH] + found[Confidence.MEDIUM]
            yield (
                f"{length:3d} words, {name:20s} found {total / QUOTATIONS:.3f}, "
                f"medium or high {sure / QUOTATIONS:.3f}, high {found[Confidence.HIGH] / QUOTATIONS:.3f}"
            )


def false_matches(index: Index) -> Iterator[str]:
    everything: Counter[Confidence | None] = Counter()
    for name, (path, most) in POSTS.items():
        found = Counter(surest(index, text) for text in lines(CORPORA / path)[:most])
        everything += found
        yield _per_ten_thousand(name, found)
    yield _per_ten_thousand("all", everything)


def _per_ten_thousand(name: str, found: Counter[Confidence | None]) -> str:
    total = sum(found.values())
    rates = ", ".join(f"{each.value} {found[each] / total * 10_000:.1f}" for each in SURENESS)
    return f"{name:26s} {total:6d} posts; false matches per 10,000: {rates}"


def cost(count: int, words: int) -> Iterator[str]:
    """Of a register of so many documents of so many words, filled with hashes drawn by lot."""
    chance = np.random.default_rng(1)
    each = int(words * 1.35)
    prints = [pack_sections([chance.integers(0, 2**39, each, np.uint64) * 2]) for _ in range(count)]
    items = [
        Item(f"doc-{n}", ItemKind.DOCUMENT, LeakCategory.INTERNAL, some, each, words, n + 1)
        for n, some in enumerate(prints)
    ]
    began = time.process_time()
    index = Index(items, FINGERPRINTS)
    loading = time.process_time() - began
    posts = lines(CORPORA / "sentiment_en" / "semeval_pool.jsonl")[:5_000]
    began = time.process_time()
    for text in posts:
        index.find(text)
    spent = (time.process_time() - began) / len(posts)
    yield f"{count:,} documents of {words} words: {index.bytes / 1e6:.0f} MB in memory"
    yield f"loading them: {loading:.1f} s of one core"
    yield f"a post of {sum(map(len, posts)) / len(posts):.0f} characters: {spent * 1e6:.0f} µs"


def main() -> None:
    if not CORPORA.name:
        raise SystemExit("set MERKWACHT_CORPORA to the folder of the corpora")
    texts = documents()
    few = texts[:200]
    items = register(few)
    index = Index(items, FINGERPRINTS)
    words = sum(item.size for item in items)
    stored = sum(len(item.prints) for item in items)
    print(f"{len(items)} documents, {words / len(items):.0f} words on average")
    print(f"a page of {PAGE} words: {stored / words * PAGE:.0f} bytes in the database")
    for line in recall(index, few):
        print(line)
    for line in false_matches(index):
        print(line)
    large = Index(register(texts), FINGERPRINTS)
    print(f"\n{len(texts)} documents")
    for line in recall(large, texts):
        print(line)
    for line in false_matches(large):
        print(line)
    print()
    for line in cost(10_000, words // len(items)):
        print(line)


if __name__ == "__main__":
    main()
