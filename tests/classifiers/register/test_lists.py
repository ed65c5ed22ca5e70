"""Entries of lists are found in posts; people are not watched."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.base import Confidence, LeakCategory
from classifiers.register.documents import RegistrationError
from classifiers.register.index import Index
from classifiers.register.items import Item, ItemKind
from classifiers.register.lists import Remark, listing, looks_like_person
from tests.classifiers.register.texts import FINGERPRINTS, SENTENCES

CUSTOMERS = [
    ["Jan de Vries", "NL91ABNA0417164300", "Utrecht", "12-03-1984"],
    ["Djoeke Hofstra", "NL20INGB0001234567", "Sneek", "01-11-1970"],
    ["Bakkerij Ter Aa BV", "NL39RABO0300065264", "Utrecht", ""],
]


def registered(
    rows: list[list[str]], kind: ItemKind = ItemKind.RECORDS, label: str = "list"
) -> tuple[Item, list[Remark]]:
    numbered = list(enumerate(rows, start=1))
    return listing(numbered, label, kind, LeakCategory.PERSONAL_DATA, FINGERPRINTS)


def register(rows: list[list[str]], kind: ItemKind = ItemKind.RECORDS) -> Index:
    return Index([registered(rows, kind)[0]], FINGERPRINTS)


RECORDS = register(CUSTOMERS)
TERMS = register([["Zilvermeeuw"], ["project Noorderlicht X2"], ["ZH-88213"]], ItemKind.TERMS)


@pytest.mark.parametrize(
    "spelling",
    [
        "NL20INGB0001234567",
        "nl20 ingb 0001 2345 67",
        "NL20.INGB.0001.2345.67",
        "NL20-INGB-0001234567",
        "ＮＬ２０ ＩＮＧＢ ０００１２３４５６７",
        "NL20\u200bINGB 0001\u200b234567",
    ],
)
def test_an_account_is_found_in_every_spelling(spelling: str) -> None:
    text = f"betaald op {spelling}, dank"
    (hit,) = RECORDS.find(text)
    assert text[hit.start : hit.end] == spelling
    assert hit.confidence is Confidence.HIGH


@given(st.integers(0, 10**10 - 1))
def test_another_account_is_not_found(number: int) -> None:
    account = f"NL20INGB{number:010d}"
    expected = account in {row[1] for row in CUSTOMERS}
    assert bool(RECORDS.find(f"betaald op {account}, dank")) is expected


@pytest.mark.parametrize("text", ["Jan de Vries", "Djoeke Hofstra uit Sneek", "Utrecht", "Hofstra"])
def test_a_name_or_a_town_alone_is_nothing(text: str) -> None:
    assert RECORDS.find(f"Ik zag {text} gisteren op de markt.") == []


def test_a_name_counts_beside_other_data_of_its_row_only() -> None:
    own = RECORDS.find("Djoeke Hofstra, geboren 01-11-1970")
    mixed = RECORDS.find("Djoeke Hofstra, geboren 12-03-1984")
    assert {hit.confidence for hit in own} <= {Confidence.MEDIUM, Confidence.HIGH}
    assert len(own) == 2
    assert mixed == []


def test_a_name_in_two_columns_is_still_one_name() -> None:
    names = register([["Djoeke Hofstra", "Hofstra", "NL20INGB0001234567"]])
    assert names.find("Djoeke Hofstra") == []
    assert len(names.find("Djoeke Hofstra NL20INGB0001234567")) == 2


def test_names_only_cannot_be_registered_as_records() -> None:
    with pytest.raises(RegistrationError, match="no entry counts by itself"):
        registered([["Jan de Vries"], ["Djoeke Hofstra"]])
    with pytest.raises(RegistrationError, match="no entry counts by itself"):
        registered([["Djoeke", "Hofstra"], ["Jan", "de Vries"]])


def test_two_records_in_one_post_are_several() -> None:
    both = RECORDS.find("lijst: NL91ABNA0417164300 en NL20INGB0001234567")
    assert {hit.several for hit in both} == {True}
    one = RECORDS.find("NL91ABNA0417164300 Jan de Vries NL91ABNA0417164300")
    assert {hit.several for hit in one} == {False}
    assert len(one) == 3


def test_terms_are_found_by_themselves_the_longer_the_surer() -> None:
    (short,) = TERMS.find("Wat is zilver-meeuw eigenlijk?")
    (longer,) = TERMS.find("PROJECT  noorderlicht x-2 gaat door")
    (code,) = TERMS.find("staat in zh 88213")
    assert short.confidence is Confidence.LOW or short.confidence is Confidence.MEDIUM
    assert longer.confidence is Confidence.HIGH
    assert code.confidence is not Confidence.LOW
    assert TERMS.find("noorderlicht gezien vannacht, meeuwen ook") == []


def test_what_a_term_tells_does_not_depend_on_how_it_is_split() -> None:
    (glued,) = TERMS.find("zilvermeeuw")
    (split,) = TERMS.find("zilver meeuw")
    assert glued.bits == split.bits


def test_terms_refuse_people_and_common_words_by_line_without_repeating_them() -> None:
    rows = [["Zilvermeeuw"], ["Jan"], ["Marieke van den Berg"], ["de"], ["2026"], ["x" * 100]]
    item, remarks = registered(rows, ItemKind.TERMS)
    assert item.entries == 1
    said = [str(each) for each in remarks]
    assert [line.split(":")[0] for line in said] == ["lines 2, 3", "lines 4, 5", "line 6"]
    assert not any(word in line for line in said for word in ("Jan", "Marieke", "2026", "xxx"))


def test_entries_that_chance_meets_are_named() -> None:
    numbers = [[str(40_000 + n)] for n in range(500)]
    item, (remark,) = registered([*numbers, ["NL20INGB0001234567"]])
    assert item.size == 501
    assert len(remark.lines) == 500
    assert "by chance" in str(remark)
    hits = Index([item], FINGERPRINTS).find("ordernummer 40123 is zoek")
    assert [hit.confidence for hit in hits] == [Confidence.LOW]


@pytest.mark.parametrize(
    ("text", "person"),
    [
        ("Jan", True),
        ("Jan de Vries", True),
        ("FATIMA EL IDRISSI", True),
        ("Marieke van der Berg-Jansen", True),
        ("Zilvermeeuw", False),
        ("Project Jan", False),
        ("Jan Linders filiaal 12", False),
        ("", False),
    ],
)
def test_persons_names_are_told_from_names_of_things(text: str, person: bool) -> None:
    assert looks_like_person(text) is person


def test_a_value_of_thousands_of_rows_is_looked_for_beside_others() -> None:
    rows = [[f"NL20INGB{n:010d}", "Utrecht 3511"] for n in range(1000)]
    many = register(rows)
    assert many.find("het station van Utrecht 3511 is dicht") == []
    hits = many.find("NL20INGB0000000007, Utrecht 3511")
    assert len(hits) == 2


def test_ordinary_posts_hold_nothing_of_a_list() -> None:
    assert [text for text in SENTENCES if RECORDS.find(text) or TERMS.find(text)] == []


def test_a_hostile_text_costs_bounded_time_however_many_lists_there_are() -> None:
    rows = [[f"{'x' * length}{length:05d}", f"NL20INGB{length:010d}"] for length in range(1, 60)]
    lists = [registered(rows[number:], label=f"list-{number}")[0] for number in range(4)]
    index = Index(lists, FINGERPRINTS)
    for text in ("a b c " * 1500, "1 2 3 " * 1500, "NL20INGB0000000007 " * 900):
        before = time.process_time()
        index.find(text)
        assert time.process_time() - before < 4.0


def test_what_is_said_a_hundred_times_does_not_hide_what_is_said_once() -> None:
    hits = RECORDS.find("NL91ABNA0417164300 " * 100 + "en NL20INGB0001234567")
    found = {hit.start for hit in hits}
    assert 0 in found
    assert 1903 in found
    assert all(hit.several for hit in hits)


def test_an_empty_list_is_refused() -> None:
    with pytest.raises(RegistrationError, match="empty"):
        registered([["  "], ["--"]])


def test_the_rows_of_a_list_are_not_in_the_order_of_the_file() -> None:
    rows = [[f"klant-{n:06d}-{n * 7919 % 100_000:05d}"] for n in range(64)]
    index = register(rows)
    table = index._lists[0]._table
    of_hash = {int(entry["hash"]): int(entry["row"]) for entry in table}
    order = [of_hash[FINGERPRINTS.entry(row[0].replace("-", ""))] for row in rows]
    assert sorted(order) == list(range(64))
    assert order != list(range(64))


@pytest.mark.parametrize(
    "written",
    ["12-03-1984", "12.3.1984", "12/03/1984", "1984-03-12", "12 maart 1984", "12 March 1984"],
)
@pytest.mark.parametrize("kept", ["12-03-1984", "1984-03-12", "12-3-1984", "1984-03-12 00:00:00"])
def test_a_date_is_found_in_each_way_to_write_it(kept: str, written: str) -> None:
    found = register([["Djoeke Hofstra", kept], ["Jan de Vries", "01-11-1970"]])
    assert found.find(f"Djoeke Hofstra is geboren op {written}, zegt men")
    assert not found.find(f"geboren op {written}, zegt men")
    assert not found.find(f"Jan de Vries is geboren op {written}, zegt men")


def test_a_date_in_several_spellings_is_still_one_column() -> None:
    with pytest.raises(RegistrationError, match="nothing to register"):
        registered([["12-03-1984"], ["01-11-1970"]])


@pytest.mark.parametrize(
    ("term", "surest"),
    [
        ("kassa 3", Confidence.MEDIUM),
        ("Q3 2027", Confidence.MEDIUM),
        ("Zilvermeeuw", Confidence.MEDIUM),
        ("Kwartelkroon 3000", Confidence.HIGH),
        ("gouden kwartel 3", Confidence.HIGH),
    ],
)
def test_a_year_or_a_short_number_makes_no_word_surer(term: str, surest: Confidence) -> None:
    (hit,) = register([[term]], ItemKind.TERMS).find(f"zeg, {term}!")
    assert hit.confidence is surest


@pytest.mark.parametrize("term", ["X9", "B52", "q 7"])
def test_a_term_of_a_few_signs_is_left_out(term: str) -> None:
    with pytest.raises(RegistrationError, match="line 1: too short or too common"):
        registered([[term]], ItemKind.TERMS)
