"""Variations of a post that must not change what it means: learning them makes a small set large.

Our own posts are few and each was written with care; what a model may learn by heart from them
(this number, that capital, a post that says one thing only) is varied at every round.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import replace

from classifiers.training.data import UNKNOWN, Example

_DIGIT = re.compile(r"\d")
_LONGEST_JOINED = 260
"""Characters of a post that may still be joined with another."""
_LONGEST_BESIDE = 160
"""Characters of what it is joined with."""

_VARIED = frozenset({"leaks", "brand posts", "threats"})


def vary(
    examples: Sequence[Example], rng: random.Random, *, digits: float, case: float, joined: float
) -> list[Example]:
    """Return ``examples`` with some of our own posts varied, in order.

    Args:
        examples: one round of training.
        rng: draws which are varied, and how.
        digits: share of posts whose digits are drawn anew (shapes stay; checksums no longer hold,
            which is the detectors' affair).
        case: share written in lower case.
        joined: share of leaks and their look-alikes joined with an unrelated ordinary post, before
            or after: a leak stays one among other sentences. Such a post keeps no other label.
    """
    ordinary = [
        e.text
        for e in examples
        if e.leak == 0 and e.source != "leaks" and len(e.text) < _LONGEST_BESIDE
    ]
    result = []
    for example in examples:
        varied = example
        if example.source in _VARIED:
            if rng.random() < digits:
                varied = replace(varied, text=_other_digits(varied.text, rng))
            if rng.random() < case:
                varied = replace(varied, text=varied.text.lower())
            if (
                example.source == "leaks"
                and ordinary
                and len(varied.text) < _LONGEST_JOINED
                and rng.random() < joined
            ):
                parts = [varied.text, rng.choice(ordinary)]
                rng.shuffle(parts)
                varied = replace(
                    varied, text=" ".join(parts), sentiment=UNKNOWN, abuse=UNKNOWN, group=""
                )
        result.append(varied)
    return result


def _other_digits(text: str, rng: random.Random) -> str:
    return _DIGIT.sub(lambda _: str(rng.randrange(10)), text)
