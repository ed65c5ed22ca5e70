"""What hostile texts cost: ``python tests/bench/bench_hostile.py [--rounds N]``.

Prints for each text the processor time of normalising, of the model (nothing remembered), of language
and detectors, and of everything, with the ratio to a plain post; and in how many windows the model
looked at it. That those are sixteen at most is tested in ``tests/classifiers/test_embedded_cache.py``.
"""

from __future__ import annotations

import argparse
import base64
import random
import time
from collections.abc import Callable

from classifiers.detectors import default_detectors, find_all
from classifiers.embedded import EmbeddedModel
from classifiers.language import LanguageIdentifier
from classifiers.text import prepare

LOT = random.Random(5)
PLAIN = (
    "Vanmiddag bij de winkel geweest, het brood was op maar de koffie smaakte prima, morgen weer"
)
HOSTILE = {
    "a plain post": PLAIN,
    "1 MB of posts": f"{PLAIN}. " * 10_500,
    "1 MB of letters and blanks": "".join(LOT.choices("abcdefghij ", k=1_000_000)),
    "10,000 emoji": "😡" * 10_000,
    "10,000 unknown emoji": "🦖🛸🪗" * 3_334,
    "zero-width flood, 900,000": "l\u200be\u200bk\u2060 " + "\u200b\u200d\ufeff" * 300_000,
    "bidi flood, 600,000": "\u202e\u2066" * 300_000 + "tekst",
    "one word of 100,000 letters": "".join(LOT.choices("bcdfgaeiou", k=100_000)),
    "one letter 100,000 times": "a" * 100_000,
    "base64 of 400 kB": base64.b64encode(LOT.randbytes(400_000)).decode(),
    "1 MB of null bytes": "\x00" * 500_000 + "tekst" + "\x00" * 500_000,
    "marks heaped on letters": ("a" + "\u0301" * 50) * 5_000,
    "100,000 entities": "&amp;" * 100_000,
    "20,000 handles and links": "@iemand http://x.example/a?b=c " * 20_000,
    "100,000 lone surrogates": "\ud83d" * 100_000,
    "50,000 signs of rare scripts": "".join(
        chr(LOT.randrange(0x12000, 0x12300)) for _ in range(50_000)
    ),
    "100,000 digits": "".join(LOT.choices("0123456789", k=100_000)),
    "passwords without end": "wachtwoord is " * 10_000,
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=2, help="the best of so many (default: 2)")
    rounds = parser.parse_args().rounds
    model = EmbeddedModel(threads=1, remembered=0)
    language, detectors = LanguageIdentifier(), default_detectors()
    model.predict([PLAIN])
    language.identify(PLAIN, None)
    find_all(detectors, PLAIN)
    base = 0.0
    print(
        f"{'text':30}{'normal':>9}{'model':>9}{'language':>9}{'evidence':>9}{'all, s':>9}", end=""
    )
    print(f"{'ratio':>8}{'windows':>9}")
    for name, text in HOSTILE.items():
        parts: list[Callable[[], object]] = [
            lambda text=text: prepare(text),
            lambda text=text: model.predict([text]),
            lambda text=text: language.identify(text, None),
            lambda text=text: find_all(detectors, text),
        ]
        seconds = [min(timed(part) for _ in range(rounds)) for part in parts]
        whole = sum(seconds[1:])  # the model normalises by itself, and not more than it reads
        base = base or whole
        counting = EmbeddedModel(threads=1)
        counting.predict([text])
        windows = counting.cache_info()[1].misses or 1
        columns = "".join(f"{each:9.3f}" for each in [*seconds, whole])
        print(f"{name:30}{columns}{whole / base:8.0f}{windows:9}")


def timed(run: Callable[[], object]) -> float:
    """Seconds of processor."""
    began = time.process_time()
    run()
    return time.process_time() - began


if __name__ == "__main__":
    main()
