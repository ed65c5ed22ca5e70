"""What matching costs: one post against many queries, and many posts against one.

    python tests/bench/bench_matching.py [POSTS.jsonl]

Prints microseconds of processor time. Without a file, made-up posts are used.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from connectors import querytext
from connectors.query import Query
from connectors.story import story_key

SENTENCE = (
    "de het een van bij in winkel kassa rij lang mooi app bezorger koffie één café gisteren "
    "zegels korting kapot 😀 mijn’s tuin brood hummus weer niet wel maar toch gewoon"
)
BRAND = """
(zonnehoek OR zonnenhoek OR "zonne hoek" OR zonnehoekje OR zonnebezorgd OR zonnepas OR @zonnehoek)
-(
  (zonnehoek OR zonnehoekje) NEAR/10 (*tuin OR moestuin* OR terras OR balkon OR schutting)
  OR "in mijn zonnehoek" OR (basisschool OR buurthuis) NEAR/2 zonnehoek OR "op de zonnehoek"
)
"""


def posts(path: str | None) -> list[str]:
    if path:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        return [str(json.loads(line)["text"]) for line in lines]
    chance = random.Random(1)
    made = [chance.choices(SENTENCE.split(), k=chance.randint(5, 45)) for _ in range(1_000)]
    for number, words in enumerate(made):
        if number % 2:
            words.insert(chance.randrange(len(words)), "Zonnehoek")
    return [" ".join(words) for words in made]


def measured(run: Callable[[], object], times: int) -> float:
    """Microseconds of processor time a time."""
    run()
    started = time.process_time()
    for _ in range(3):
        run()
    return (time.process_time() - started) / 3 / times * 1e6


def forget() -> None:
    querytext.folded.cache_clear()
    querytext.read.cache_clear()


def main() -> None:
    texts = posts(sys.argv[1] if len(sys.argv) > 1 else None)
    brand = Query.parse(BRAND)
    others = [Query.parse(BRAND.replace("zonne", f"merk{number}")) for number in range(100)]
    hits = [text for text in texts if brand.match(text)]
    print(f"{len(texts)} posts, {sum(map(len, texts)) / len(texts):.0f} characters on average")
    print(f"read a query          {measured(lambda: Query.parse(BRAND), 1):8.1f} µs")

    def each(query: Query, some: list[str]) -> None:
        forget()
        for text in some:
            query.match(text)

    print(f"a post that matches   {measured(lambda: each(brand, hits), len(hits)):8.1f} µs")
    print(f"a post that does not  {measured(lambda: each(others[0], texts), len(texts)):8.1f} µs")

    def all_of_them() -> None:
        forget()
        for text in texts[:200]:
            for query in others:
                query.match(text)

    number = len(texts[:200])
    print(f"100 queries, one post {measured(all_of_them, number):8.1f} µs, none matches")
    print(f"the story key         {measured(lambda: [*map(story_key, texts)], len(texts)):8.1f} µs")


if __name__ == "__main__":
    main()
