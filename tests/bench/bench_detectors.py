"""What the detectors find, what they let pass and what they cost, on public corpora.

    python tests/bench/bench_detectors.py CORPORA [--quick]

Prints, as rows of a Markdown table: secrets of gitleaks' samples (both halves: rules were mended by
looking at the first only) and of detect-secrets' tests, identifiers per kind, evidence in ordinary
posts, and the time of hostile texts. Nothing of the corpora is printed.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from classifiers.base import Confidence, Finding, LeakCategory
from classifiers.detectors import default_detectors, find_all

DETECTORS = default_detectors()
FRAMES = {
    "bsn": ("bsn", "BSN {}"),
    "iban_nl": ("iban", "rekening {}"),
    "btw": ("btw", "btw {}"),
    "kvk": ("kvk", "KvK {}"),
    "phone_nl": ("phone", "bel {}"),
    "postcode": ("address", "{} 12"),
}
"""The numbers stand alone in the corpus; what needs a tell-tale word or a house number gets it."""
RECOGNIZERS = {
    "iban": {"iban"},
    "credit_card": {"payment-card"},
    "email": {"email"},
    "phone": {"phone"},
    "ip": {"private-address", "ip-address"},
}
SPANS = {"telefoonnummer": {"phone"}, "emailadres": {"email"}, "locatie": {"address"}}
ORDINARY = (
    "sentiment_en/semeval_pool",
    "sentiment_nl/aspects_translated",
    "sentiment_nl/political_tweets",
    "sentiment_nl/restaurants",
    "sentiment_nl/subtitles_projected",
    "sentiment_nl/tv_transcripts",
    "abuse/posts_nl",
    "abuse/offensive_en",
)
HOSTILE = (
    *(
        "a",
        "7",
        "1 ",
        "a.",
        "ww ",
        "auth",
        "api_",
        "key=",
        "http://a.b?x=1&",
        "a@",
        "\\\\a\\",
        "😀",
    ),
    *(
        "NL91 ABNA ",
        "7391 AB 12 ",
        "06-1234567 ",
        "wachtwoord is ",
        "code is 4471 ",
        "kind: secret data: ",
    ),
    *(
        "a\u200b",
        "%41",
        "&#97;",
        "N L 9 1 ",
        "YWJj",
        "\u0430b",
        "e\u0301",
        "1.1.1.1 ",
        "C:\\a\\",
        "-----BEGIN ",
    ),
)

Counts = dict[str, list[int]]
"""Per kind: found, missed, falsely found, rightly passed."""


def rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def secrets(text: str) -> list[Finding]:
    return [
        finding
        for finding in find_all(DETECTORS, text)
        if finding.category is LeakCategory.CREDENTIALS and finding.confidence is not Confidence.LOW
    ]


def half(text: str) -> int:
    return hashlib.sha256(text.encode()).digest()[0] % 2


def print_secrets(corpora: Path) -> None:
    print(
        "\n| secrets | true found | false passed | the same, each text once, true ones left out |"
    )
    print("| --- | --- | --- | --- |")
    samples = list(rows(corpora / "leak_secrets/gitleaks_samples.jsonl"))
    tests = list(rows(corpora / "leak_secrets/detect_secrets_tests.jsonl"))
    for name, chosen in (
        ("gitleaks, half looked at", [row for row in samples if half(row["text"]) == 0]),
        ("gitleaks, half not looked at", [row for row in samples if half(row["text"]) == 1]),
        ("gitleaks, all", samples),
        ("detect-secrets", tests),
    ):
        true = [row["text"] for row in chosen if row["label"] == "secret"]
        false = [row["text"] for row in chosen if row["label"] != "secret"]
        once = set(false) - {row["text"] for row in samples if row["label"] == "secret"}
        shares = [
            f"{sum(bool(secrets(text)) == wanted for text in texts) / len(texts):.3f} of {len(texts)}"
            for texts, wanted in ((true, True), (false, False), (sorted(once), False))
        ]
        print(f"| {name} | {' | '.join(shares)} |")


def found(text: str, names: set[str]) -> list[Finding]:
    return [finding for finding in find_all(DETECTORS, text) if finding.detector in names]


def count(counts: Counts, kind: str, *, true: bool, hit: bool) -> None:
    place = (0 if hit else 1) if true else (2 if hit else 3)
    counts.setdefault(kind, [0, 0, 0, 0])[place] += 1


def identifiers(corpora: Path) -> Mapping[str, list[int]]:
    counts: Counts = {}
    for row in rows(corpora / "leak_pii/nl_identifiers.jsonl"):
        if row["type"] in FRAMES:
            name, frame = FRAMES[row["type"]]
            hit = bool(found(frame.format(row["value"]), {name}))
            count(counts, f"{row['type']} (collected)", true=row["label"] == "valid", hit=hit)
    for row in rows(corpora / "leak_pii/presidio_recognizer_tests.jsonl"):
        if row["recognizer"] in RECOGNIZERS:
            hit = bool(found(row["text"], RECOGNIZERS[row["recognizer"]]))
            kind = f"{row['recognizer']} (presidio's tests)"
            count(counts, kind, true=row["label"] == "pii", hit=hit)
    for row in rows(corpora / "leak_pii/spans_nl.jsonl"):
        for kind, names in SPANS.items():
            spans = [span for span in row["spans"] if span["type"] == kind]
            if kind == "locatie":  # places without a number are no addresses
                spans = [span for span in spans if any(c.isdigit() for c in span["value"])]
            hits = found(row["text"], names)
            for span in spans:
                hit = any(f.start < span["end"] and span["start"] < f.end for f in hits)
                count(counts, f"{kind} (Dutch texts)", true=True, hit=hit)
            for f in hits:
                if not any(f.start < s["end"] and s["start"] < f.end for s in spans):
                    count(counts, f"{kind} (Dutch texts)", true=False, hit=True)
    return counts


def print_identifiers(corpora: Path) -> None:
    print("\n| identifiers | found | false | precision | recall |")
    print("| --- | --- | --- | --- | --- |")
    for kind, (right, missed, wrong, passed) in sorted(identifiers(corpora).items()):
        precision, recall = right / (right + wrong), right / (right + missed)
        print(
            f"| {kind} | {right} of {right + missed} | {wrong} of {wrong + passed} "
            f"| {precision:.3f} | {recall:.3f} |"
        )


def print_ordinary(corpora: Path, *, most: int | None) -> None:
    print(
        "\n| ordinary posts | posts | with high | with medium | ms of processor time a post | by |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for name in ORDINARY:
        texts = [row["text"] for row in rows(corpora / f"{name}.jsonl")][:most]
        by: Counter[str] = Counter()
        surest: Counter[Confidence] = Counter()
        started = time.process_time()
        for text in texts:
            findings = [f for f in find_all(DETECTORS, text) if f.confidence is not Confidence.LOW]
            by.update(finding.detector for finding in findings)
            surest.update({finding.confidence for finding in findings})
        cost = (time.process_time() - started) / len(texts) * 1e3
        print(
            f"| {name} | {len(texts)} | {surest[Confidence.HIGH]} | {surest[Confidence.MEDIUM]} "
            f"| {cost:.2f} | {', '.join(f'{k} {n}' for k, n in by.most_common())} |"
        )


def print_hostile() -> None:
    print("\n| hostile texts | worst ms of processor time, all detectors | of |")
    print("| --- | --- | --- |")
    for length in (10_000, 100_000, 1_000_000):
        costs = []
        for unit in HOSTILE:
            text = (unit * (length // len(unit) + 1))[:length]
            started = time.process_time()
            find_all(DETECTORS, text)
            costs.append(((time.process_time() - started) * 1e3, unit))
        worst, unit = max(costs)
        print(f"| {length:,} characters | {worst:.0f} | {unit!r} repeated |")


def main() -> None:
    arguments = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    if len(arguments) != 1:
        sys.exit("usage: bench_detectors.py CORPORA [--quick]")
    corpora = Path(arguments[0])
    print_secrets(corpora)
    print_identifiers(corpora)
    print_ordinary(corpora, most=1_000 if "--quick" in sys.argv else None)
    print_hostile()


if __name__ == "__main__":
    main()
