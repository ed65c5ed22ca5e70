"""How often the language of a post is recognised, by length, and what it costs.

    python tests/bench/bench_language.py NAME=GLOB …

Each file is JSON Lines with ``text`` and ``lang``; without files only time and memory are measured.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections import defaultdict
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from classifiers.language import UNKNOWN, LanguageIdentifier

MOST = 2_000
"""Texts read of each file."""
BANDS = ((4, "1-3 words"), (8, "4-7 words"), (16, "8-15 words"), (10**9, "16+ words"))


def memory() -> float:
    """Resident memory in MB, 0 where the system does not say."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0.0
    found = re.search(r"VmRSS:\s+(\d+)", status.read_text())
    return int(found.group(1)) / 1024 if found else 0.0


def band(text: str) -> str:
    words = len(re.findall(r"[^\W\d_]+", re.sub(r"https?://\S+|[@#]\S+", " ", text)))
    return next(name for limit, name in BANDS if words < limit)


def main() -> None:
    identifier = LanguageIdentifier()
    before, started = memory(), time.process_time()
    identifier.identify("het model wordt bij de eerste vraag geladen")
    spent = time.process_time() - started
    print(f"first use: {spent:.2f} s, {memory() - before:.1f} MB")
    rows: dict[tuple[str, str], list[str]] = defaultdict(list)
    texts = 0
    started = time.process_time()
    for path in map(Path, sys.argv[1:]):
        with path.open(encoding="utf-8") as lines:
            for line in islice(lines, MOST):
                row = json.loads(line)
                language = row.get("lang", "nl")
                found = identifier.identify(row["text"])
                rows[path.name, "all"].append(f"{language}>{found}")
                rows[f"language {language}", band(row["text"])].append(f"{language}>{found}")
                texts += 1
    if texts:
        print(f"{texts} texts, {(time.process_time() - started) / texts * 1e6:.0f} µs a text")
    for (name, part), outcomes in sorted(rows.items()):
        pairs = [outcome.split(">") for outcome in outcomes]
        right = sum(language == found for language, found in pairs)
        unknown = sum(found == UNKNOWN for _, found in pairs)
        print(
            f"{name:32} {part:12} {len(pairs):6}  right {right / len(pairs):6.1%}"
            f"  undetermined {unknown / len(pairs):6.1%}"
        )


if __name__ == "__main__":
    main()
