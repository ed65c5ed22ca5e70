"""Passages of registered documents are found in posts, and nothing else is."""

from __future__ import annotations

import random
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.base import Confidence, LeakCategory
from classifiers.register.documents import RegistrationError, document
from classifiers.register.fingerprints import Fingerprints
from classifiers.register.index import SMALL_REGISTER, Index
from classifiers.register.items import ItemKind, unpack_sections
from tests.classifiers.register.texts import (
    MEMO,
    MINUTES,
    SENTENCES,
    index,
    invented,
    item,
)

MEMO_WORDS = MEMO.split()
MINUTES_WORDS = MINUTES.split()
REGISTER = index(item(MEMO, "memo"), item(MINUTES, "minutes"))


def found(text: str, register: Index = REGISTER) -> Confidence | None:
    hits = register.find(text)
    return max((hit.confidence for hit in hits), key=list(Confidence).index) if hits else None


@given(st.data(), st.sampled_from([MEMO_WORDS, MINUTES_WORDS]))
def test_any_twelve_words_of_a_document_are_found(data: st.DataObject, words: list[str]) -> None:
    length = data.draw(st.integers(12, 60))
    start = data.draw(st.integers(0, len(words) - length))
    assert found(" ".join(words[start : start + length])) in {Confidence.MEDIUM, Confidence.HIGH}


@given(st.data())
def test_a_quotation_is_found_within_other_words_at_its_place(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(MEMO_WORDS) - 15))
    quoted = " ".join(MEMO_WORDS[start : start + 15])
    before, after = data.draw(st.sampled_from(SENTENCES)), data.draw(st.sampled_from(SENTENCES))
    text = f"{before} “{quoted.upper()}” {after}"
    hits = REGISTER.find(text)
    assert hits
    assert {hit.label for hit in hits} == {"memo"}
    # A word or two beside the quotation may happen to fit the document, too.
    assert len(before) - 30 <= min(hit.start for hit in hits) <= len(before) + len(quoted) / 2
    assert (
        len(before) + len(quoted) / 2 <= max(hit.end for hit in hits) <= len(text) - len(after) + 30
    )


@given(st.data())
def test_what_was_mistyped_left_out_or_put_in_does_not_hide_a_quotation(
    data: st.DataObject,
) -> None:
    start = data.draw(st.integers(0, len(MEMO_WORDS) - 20))
    words = MEMO_WORDS[start : start + 20]
    place = data.draw(st.integers(1, 18))
    how = data.draw(st.sampled_from(["mistyped", "left out", "put in"]))
    if how == "mistyped":
        words[place] = f"{words[place][:1]}x{words[place][2:]}"
    elif how == "left out":
        del words[place]
    else:
        words.insert(place, "echt")
    assert found(" ".join(words)) in {Confidence.MEDIUM, Confidence.HIGH}


@given(st.data())
def test_two_or_three_words_of_a_document_are_nothing(data: st.DataObject) -> None:
    length = data.draw(st.integers(1, 3))
    start = data.draw(st.integers(0, len(MEMO_WORDS) - length))
    assert found(" ".join(MEMO_WORDS[start : start + length])) is None


@given(st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=8))
def test_other_posts_are_not_found(sentences: list[str]) -> None:
    assert found(" ".join(sentences)) is None


@given(st.text(max_size=400))
def test_no_text_breaks_it_and_places_lie_within(text: str) -> None:
    for hit in REGISTER.find(text):
        assert 0 <= hit.start < hit.end <= len(text)


def test_words_in_another_order_are_no_quotation() -> None:
    words = MEMO_WORDS[:60]
    random.Random(3).shuffle(words)
    assert found(" ".join(words)) is not Confidence.HIGH


def test_a_disguised_quotation_is_found() -> None:
    quoted = "De marge daarop is 38 procent en de leverancier, een kleine producent uit Oss"
    disguised = quoted.replace("e", "е").replace("a", "a\u200b").replace("38 procent", "38%")
    assert found(disguised) is Confidence.HIGH


def test_saying_one_thing_often_does_not_make_it_more() -> None:
    once = "de marge daarop is "
    assert found(once * 20) is found(once) is not Confidence.HIGH


def test_several_short_pieces_of_one_document_add_up() -> None:
    pieces = [
        "een bakje van 180 gram",
        "met de boswachter begint pas op 12 maart",
        "de proefwinkels in Deventer en Roosendaal",
    ]
    alone = [REGISTER.find(piece) for piece in pieces]
    together = REGISTER.find(f"{pieces[0]} {SENTENCES[0]} {pieces[1]} {SENTENCES[1]} {pieces[2]}")
    strongest = max(hit.bits for hits in alone for hit in hits)
    assert together[0].bits > strongest
    assert {hit.confidence for hit in together} == {Confidence.HIGH}
    assert len(together) > 1


DISCLAIMER = (
    "Deze presentatie is door de afdeling Formule gemaakt en bespreekt het assortiment van Zonnehoek "
    "in het tweede kwartaal, met cijfers van de franchisenemers."
)


def test_what_stands_in_many_documents_counts_little() -> None:
    chance = random.Random(1)
    few = index(*(item(f"{DISCLAIMER} {invented(chance, 60)}", f"d{n}") for n in range(2)))
    many = index(*(item(f"{DISCLAIMER} {invented(chance, 60)}", f"d{n}") for n in range(12)))
    assert found(DISCLAIMER, few) is Confidence.HIGH
    assert found(DISCLAIMER, many) is None


def test_versions_of_one_document_count_as_one() -> None:
    versions = [MEMO.replace("180", str(180 + n)) for n in range(12)]
    register = index(item(versions[0], "v0"))
    assert register.relatives(item(versions[1])).version_of == "v0"
    family = index(*(replace(item(text, f"v{n}"), family=7) for n, text in enumerate(versions)))
    assert found(" ".join(MEMO_WORDS[60:80]), family) is Confidence.HIGH


def test_the_same_document_is_recognised_and_another_is_not() -> None:
    assert REGISTER.relatives(item(MEMO.upper())).same == "memo"
    other = REGISTER.relatives(item(" ".join(SENTENCES)))
    assert (other.same, other.version_of) == (None, None)


def test_ordinary_phrases_of_correspondence_count_nothing() -> None:
    phrase = (
        "Heeft u vragen of opmerkingen, neem dan gerust contact met ons op. Indien u niet de beoogde "
        "ontvanger bent, verzoeken wij u dit bericht te verwijderen en de afzender te informeren."
    )
    assert found(phrase, index(item(f"{MEMO} {phrase}"))) is None


def test_what_is_public_counts_nothing_and_the_rest_still_does() -> None:
    public = " ".join(MEMO_WORDS[:70])
    register = index(item(MEMO, "memo"), item(public, "press", public=True))
    assert found(" ".join(MEMO_WORDS[10:40]), register) is None
    assert found(" ".join(MEMO_WORDS[90:110]), register) is Confidence.HIGH
    assert register.relatives(item(" ".join(MEMO_WORDS[:60]))).public


def test_a_quotation_across_the_border_of_sections_is_found() -> None:
    words = invented(random.Random(5), 1200).split()
    register = index(item(" ".join(words)))
    assert len(unpack_sections(item(" ".join(words)).prints)) > 2
    misses = [n for n in range(0, 1188, 3) if found(" ".join(words[n : n + 12]), register) is None]
    assert misses == []


def test_the_more_is_registered_the_more_must_be_found() -> None:
    chance = random.Random(9)
    others = [item(invented(chance, 40), f"d{n}") for n in range(SMALL_REGISTER * 4)]
    large = index(item(MEMO, "memo"), *others)
    quoted = " ".join(MEMO_WORDS[20:29])
    assert large.find(" ".join(MEMO_WORDS[20:50]))
    assert large.find(quoted)[0].bits < REGISTER.find(quoted)[0].bits


def test_nothing_is_found_with_another_key() -> None:
    other = Fingerprints(b"another key for tests, 32 bytes.")
    stolen = Index([item(MEMO)], other)
    assert stolen.find(MEMO) == []
    mine = set(unpack_sections(item(MEMO).prints)[0].tolist())
    theirs = document(MEMO, "memo", LeakCategory.PRODUCT, other)
    assert not mine & set(unpack_sections(theirs.prints)[0].tolist())


def test_fingerprints_do_not_follow_the_order_of_the_text() -> None:
    hashes = unpack_sections(item(MEMO).prints)[0].tolist()
    assert hashes == sorted(hashes)


@pytest.mark.parametrize("length", [0, 8, 15, 65])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="16 to 64"):
        Fingerprints(b"k" * length)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Zilvermeeuw komt in maart", "4 words"),
        ("de het een " * 20, "no passage"),
        ("woord " * 900_000, "at most"),
    ],
)
def test_what_cannot_be_registered_is_refused_with_a_reason(text: str, says: str) -> None:
    with pytest.raises(RegistrationError, match=says):
        item(text)


def test_damaged_items_and_those_of_another_version_are_left_out_by_name() -> None:
    good = item(MEMO, "good")
    cut = replace(good, label="cut", prints=good.prints[:-3])
    old = replace(good, label="old", scheme=0)
    rows = replace(good, label="rows", kind=ItemKind.RECORDS)
    register = index(cut, old, rows, good)
    assert set(register.unusable) == {"cut", "old", "rows"}
    assert {hit.label for hit in register.find(MEMO)} == {"good"}


def test_a_hostile_text_costs_bounded_time() -> None:
    for text in ("a" * 60_000, "a " * 30_000, "1 " * 30_000, MEMO * 60, "é\u200b" * 30_000):
        before = time.process_time()
        REGISTER.find(text)
        assert time.process_time() - before < 4.0
