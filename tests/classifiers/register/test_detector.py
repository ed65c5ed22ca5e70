"""The register as a detector: what changes counts from the next post on, and what a hit weighs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from classifiers.base import Confidence, Finding, LeakCategory, LeakThresholds, Prediction
from classifiers.detectors import FINGERPRINT, Kind, default_detectors, find_all, kind
from classifiers.leaks import decide
from classifiers.register.detector import LOOK_EVERY_SECONDS, RegisterDetector
from classifiers.register.items import Item, ItemKind
from classifiers.register.lists import listing
from tests.classifiers.register.texts import FINGERPRINTS, MEMO, item

LIMITS = LeakThresholds(0.2, 0.6)
QUOTED = "De marge daarop is 38 procent en de leverancier, een kleine producent uit Oss, mag niets zeggen"


class Shelf:
    """A source that tests change."""

    def __init__(self, *items: Item) -> None:
        self.kept: list[Item] | None = list(items)
        self.number: int | None = 1
        self.reads = 0

    def generation(self) -> int | None:
        return self.number

    def items(self) -> list[Item] | None:
        self.reads += 1
        return self.kept


class Seconds:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def detector(shelf: Shelf, clock: Seconds | None = None) -> RegisterDetector:
    return RegisterDetector(shelf, FINGERPRINTS, clock=clock or Seconds())


def records(*rows: list[str]) -> Item:
    numbered = list(enumerate(rows, start=1))
    return listing(numbered, "rows", ItemKind.RECORDS, LeakCategory.PERSONAL_DATA, FINGERPRINTS)[0]


CUSTOMERS = records(["Djoeke Hofstra", "88301274465"], ["Jan de Vries", "88301279921"])


def test_a_quotation_becomes_a_finding_of_its_category_at_its_place() -> None:
    text = f"\u200bzo zo: “{QUOTED}” 😀"
    (finding,) = find_all([detector(Shelf(item(MEMO)))], text)
    assert finding.detector == FINGERPRINT
    assert finding.category is LeakCategory.PRODUCT
    assert finding.label == "doc"
    assert finding.confidence is Confidence.HIGH
    assert text[finding.start : finding.end].startswith("De marge daarop")
    assert kind(finding) is Kind.REGISTER


def test_what_is_added_or_removed_counts_from_the_next_second_on() -> None:
    shelf, clock = Shelf(), Seconds()
    found = detector(shelf, clock)
    assert list(found.find(QUOTED)) == []
    shelf.kept, shelf.number = [item(MEMO)], 2
    assert list(found.find(QUOTED)) == []
    clock.now += LOOK_EVERY_SECONDS
    assert list(found.find(QUOTED))
    shelf.kept, shelf.number = [], 3
    clock.now += LOOK_EVERY_SECONDS
    assert list(found.find(QUOTED)) == []


def test_an_unchanged_register_is_not_read_again() -> None:
    shelf, clock = Shelf(item(MEMO)), Seconds()
    found = detector(shelf, clock)
    for _ in range(5):
        clock.now += 10
        assert list(found.find(QUOTED))
    assert shelf.reads == 1


@pytest.mark.parametrize("failing", ["generation", "items"])
def test_a_register_that_cannot_be_read_stays_as_it_was(failing: str) -> None:
    shelf, clock = Shelf(item(MEMO)), Seconds()
    found = detector(shelf, clock)
    shelf.number = None if failing == "generation" else 2
    shelf.kept = None
    clock.now += 10
    assert list(found.find(QUOTED))
    shelf.number, shelf.kept = 3, []
    clock.now += 10
    assert list(found.find(QUOTED)) == []


def test_what_cannot_be_used_is_told_at_each_reading_and_the_rest_counts() -> None:
    damaged = replace(CUSTOMERS, label="cut", prints=CUSTOMERS.prints[:-1])
    weight = bytearray(CUSTOMERS.prints)
    weight[-2] = 200
    odd = replace(CUSTOMERS, label="odd", prints=bytes(weight))
    shelf, clock, told = Shelf(), Seconds(), list[str]()
    found = RegisterDetector(shelf, FINGERPRINTS, clock=clock, on_unusable=told.append)
    assert told == []
    shelf.kept, shelf.number = [damaged, odd, item(MEMO)], 2
    clock.now += LOOK_EVERY_SECONDS
    assert list(found.find(QUOTED))
    assert list(found.find("88301274465")) == []
    assert told == ["cut", "odd"]


def test_a_customers_own_number_is_no_leak_and_somebody_elses_is() -> None:
    found = detector(Shelf(CUSTOMERS))

    def surest(text: str) -> Confidence:
        return max((each.confidence for each in found.find(text)), key=list(Confidence).index)

    assert surest("mijn klantnummer is 88301274465, groet Djoeke Hofstra") is Confidence.LOW
    assert surest("88301274465") is Confidence.MEDIUM
    assert surest("van mevrouw Djoeke Hofstra: 88301274465") is Confidence.HIGH
    assert surest("mijn lijstje: 88301274465, 88301279921") is Confidence.HIGH


@pytest.mark.parametrize("category", [c for c in LeakCategory if c is not LeakCategory.NONE])
def test_a_sure_hit_escalates_by_itself_in_its_category(category: LeakCategory) -> None:
    sure = Finding(FINGERPRINT, category, 0, 9, Confidence.HIGH)
    leak = decide(Prediction(leak=0.0001), [sure], thresholds=LeakThresholds(0.4, 0.9))
    assert leak.escalate
    assert leak.category is category


def test_a_doubtful_hit_sways_a_model_in_doubt_and_a_faint_one_does_not() -> None:
    doubt = Prediction(leak=0.3)
    for confidence, escalates in ((Confidence.MEDIUM, True), (Confidence.LOW, False)):
        hit = Finding(FINGERPRINT, LeakCategory.INTERNAL, 0, 9, confidence)
        assert decide(doubt, [hit], thresholds=LIMITS).escalate is escalates


def test_of_several_sure_hits_the_gravest_category_counts() -> None:
    hits = [
        Finding(FINGERPRINT, category, n * 10, n * 10 + 9, Confidence.HIGH)
        for n, category in enumerate((LeakCategory.INTERNAL, LeakCategory.FINANCIAL))
    ]
    assert decide(Prediction(), hits, thresholds=LIMITS).category is LeakCategory.FINANCIAL


def test_it_stands_beside_the_other_detectors() -> None:
    text = f"{QUOTED}. Wachtwoord van de kassa is Zomer2026!"
    found = find_all([*default_detectors(), detector(Shelf(item(MEMO)))], text)
    assert {Kind.REGISTER, Kind.SECRET} <= {kind(each) for each in found}
