"""What the embedded model remembers, and how little of a hostile text it looks at."""

from __future__ import annotations

import base64
import random
import threading

import pytest

from classifiers.embedded import CacheInfo, EmbeddedModel, _Cache

ARTICLE = " ".join(
    f"Punt {number} van de raad van Ede gaat over de fietsbrug bij kilometer {number * 3} en het groen."
    for number in range(20)
)


def test_a_text_that_repeats_is_computed_once_across_batches() -> None:
    model = EmbeddedModel()
    first = model.predict(["Lekker brood bij Acme", "Waardeloze service"])
    again = model.predict(["Waardeloze service", "Lekker  brood bij Acme\n", "Iets nieuws"])
    assert again[:2] == first[::-1]
    texts, windows = model.cache_info()
    assert (texts.hits, texts.misses, texts.size) == (2, 3, 3)
    assert windows.size == 0, "a text that is one window is remembered once, not twice"


def test_what_is_remembered_equals_what_is_computed() -> None:
    texts = ["Lekker brood bij Acme", ARTICLE, "", "top 👍", "Waardeloze service"]
    model = EmbeddedModel()
    model.predict(texts)
    assert model.predict(texts) == EmbeddedModel(remembered=0).predict(texts)


def test_windows_that_repeat_are_computed_once() -> None:
    model = EmbeddedModel()
    model.predict([ARTICLE + " Einde van het eerste stuk."])
    before = model.cache_info()[1]
    model.predict([ARTICLE + " Een heel ander slot van dit stuk."])
    after = model.cache_info()[1]
    assert before.size > 5
    assert after.hits >= before.size - 2, "all but the last windows are the same"
    assert after.size - before.size <= 2


def test_the_same_article_with_another_post_in_between_changes_nothing() -> None:
    article = ARTICLE
    model = EmbeddedModel(threads=1)
    (first,) = model.predict([article])
    model.predict(["Iets anders", article + " Met een staart."])
    assert model.predict([article]) == [first]


def test_only_so_many_are_remembered_and_the_oldest_go_first() -> None:
    model = EmbeddedModel(remembered=2)
    model.predict(["een"])
    model.predict(["twee"])
    model.predict(["een"])
    model.predict(["drie"])
    assert model.cache_info()[0] == CacheInfo(hits=1, misses=3, size=2, capacity=2)
    model.predict(["een"])
    assert model.cache_info()[0].hits == 2
    model.predict(["twee"])
    assert model.cache_info()[0].hits == 2


def test_nothing_is_remembered_where_nothing_should_be() -> None:
    model = EmbeddedModel(remembered=0)
    for _ in range(2):
        model.predict(["een", ARTICLE])
    assert [(info.hits, info.size) for info in model.cache_info()] == [(0, 0), (0, 0)]


def test_no_text_is_kept() -> None:
    model = EmbeddedModel()
    model.predict(["Het wachtwoord is Zomer2026!", ARTICLE])
    for cache in (model._known, model._known_windows):
        keys = list(cache._values)
        assert keys
        assert {len(key) for key in keys} == {16}
        assert "Zomer2026" not in repr(cache._values)


def test_many_threads_may_remember_at_once() -> None:
    cache: _Cache[int] = _Cache(50)
    wrong: list[tuple[int, int]] = []

    def work(seed: int) -> None:
        lot = random.Random(seed)
        for _ in range(3000):
            number = lot.randrange(100)
            known = cache.get(str(number).encode())
            if known is None:
                cache.put(str(number).encode(), number)
            elif known != number:
                wrong.append((known, number))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    info = cache.info()
    assert not wrong
    assert info.size == 50
    assert info.hits + info.misses == 4 * 3000


def test_threads_share_one_model() -> None:
    model = EmbeddedModel()
    texts = [f"Bericht {number} over de winkel" for number in range(12)]
    expected = EmbeddedModel(remembered=0).predict(texts)
    found: dict[int, object] = {}

    def work(seed: int) -> None:
        order = random.Random(seed).sample(range(12), 12)
        answers = model.predict([texts[number] for number in order])
        found[seed] = [answers[order.index(number)] for number in range(12)]

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[seed] == expected for seed in range(4))


# -- hostile texts ---------------------------------------------------------------------------------

LOT = random.Random(5)
HOSTILE = {
    "a megabyte of words": "".join(LOT.choice("abcdefghij ") for _ in range(1_000_000)),
    "10,000 emoji": "😡" * 10_000,
    "10,000 emoji without a piece of their own": "🦖🛸🪗" * 3_334,
    "a zero-width flood": "l\u200be\u200bk\u2060 " + "\u200b\u200d\ufeff" * 300_000,
    "a bidi flood": "\u202e\u2066" * 300_000 + "tekst",
    "one word of 100,000 letters": "".join(LOT.choice("bcdfgaeiou") for _ in range(100_000)),
    "one letter 100,000 times": "a" * 100_000,
    "base64": base64.b64encode(LOT.randbytes(400_000)).decode(),
    "null bytes": "\x00" * 500_000 + "tekst" + "\x00" * 500_000,
    "marks heaped on letters": ("a" + "\u0301" * 50) * 5_000,
    "entities": "&amp;" * 100_000,
    "handles and links": "@iemand http://x.example/a?b=c " * 20_000,
    "lone surrogates": "\ud83d" * 100_000,
    "rare scripts": "".join(chr(LOT.randrange(0x12000, 0x12300)) for _ in range(50_000)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_costs_sixteen_windows_at_most(name: str) -> None:
    model = EmbeddedModel(threads=1)
    (answer,) = model.predict([HOSTILE[name]])
    _, windows = model.cache_info()
    assert windows.misses <= 16
    assert answer.leak is not None
    assert 0.0 <= answer.leak <= 1.0
