"""What hides a value is undone, and findings point into the text as given."""

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers import lookalikes
from classifiers.detectors import default_detectors, find_all
from classifiers.detectors.shapes import example
from classifiers.detectors.unfold import fold, unfold
from classifiers.masking import mask

DETECTORS = default_detectors(["project Zilvermeeuw"])
IBAN = "NL79VEEN0967322618"
KEY = example("ghp_{a:36}", seed="unfold")
PASSWORD = "wachtwoord: Kroket7broodje"
INVISIBLE = (
    "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f\u202d\u2066\u2069\u180e\x00\x7f\u034f\u3164"
)


def found(text):
    return {finding.detector for finding in find_all(DETECTORS, text)}


def encoded(text):
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("between", [" ", "  ", ".", "-", "_", "/", "|", " - ", "\u200b", "\u00a0"])
def test_an_account_number_spelled_sign_by_sign_is_found_whole(between):
    spelled = between.join(IBAN)

    (finding,) = find_all(DETECTORS, f"haar rekening: {spelled}, zegt ze")

    assert finding.detector == "iban"
    assert f"haar rekening: {spelled}, zegt ze"[finding.start : finding.end] == spelled


@pytest.mark.parametrize(
    "text",
    [
        "NL 79 VEEN 09 67 32 26 18",
        "NL79/VEEN/0967/3226/18",
        "nl79 veen 0967 322 618",
        "N L 7 9 V E E N 0 9 6 7  3 2 2 6 1 8",
        "\uff2e\uff2c\uff17\uff19\uff36\uff25\uff25\uff2e\uff10\uff19\uff16\uff17\uff13\uff12\uff12\uff16\uff11\uff18",
        "NL79VEEN\u0660\u0669\u0666\u0667\u0663\u0662\u0662\u0666\u0661\u0668",
        "NL79VEEN\U0001d7ce\U0001d7d7\U0001d7d4\U0001d7d5322618",
        "NL79V\u0415\u0415N0967322618",
        "NL79VEEN&#48;967322618",
        "NL79VEEN%30%39%36%37322618",
        "rekeningNL79VEEN0967322618van haar",
    ],
)
def test_an_account_number_in_disguise_is_found(text):
    assert "iban" in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "w a c h t w o o r d : K r o k e t 7 b r o o d j e",
        "w.a.c.h.t.w.o.o.r.d is Kroket7broodje",
        "w\u0430\u0441htwoord: Kroket7broodje",
        "w\u0336a\u0336c\u0336h\u0336t\u0336w\u0336o\u0336o\u0336r\u0336d: Kroket7broodje",
        "\uff57achtwoord: Kroket7broodje",
        "wacht\u00adwoord: Kroket7broodje",
        "\u202eejdoorb7tekorK :droowthcaw\u202c hihi",
        quote(PASSWORD),
        "".join(f"%{ord(c):02X}" for c in PASSWORD),
        "".join(f"&#{ord(c)};" for c in PASSWORD),
        "".join(f"&#x{ord(c):x};" for c in PASSWORD),
        "".join(f"\\u{ord(c):04x}" for c in PASSWORD),
        f"kijk {encoded(PASSWORD)} haha",
        f"kijk {encoded('login: admin, ' + PASSWORD).rstrip('=')}",
    ],
)
def test_a_password_in_disguise_is_found_and_masked(text):
    findings = find_all(DETECTORS, text)

    assert "password" in {finding.detector for finding in findings}
    left = mask(text, findings)
    assert [text[f.start : f.end] for f in findings if text[f.start : f.end] in left] == []


@pytest.mark.parametrize(
    "text",
    [
        encoded(f"key {KEY}"),
        "\u200b".join(KEY),
        KEY.replace("p", "\u0440", 1),
        "".join(f"&#{ord(c)};" for c in KEY),
        " ".join(KEY),
    ],
)
def test_a_key_in_disguise_is_found(text):
    assert "github-token" in found(f"kijk nou: {text} !")


def test_a_finding_in_base64_is_the_whole_run():
    run = encoded("kluiscode is 4471, zegt hij")
    text = f"😀 zie {run}."

    (finding,) = find_all(DETECTORS, text)

    assert text[finding.start : finding.end] == run


@pytest.mark.parametrize(
    "text",
    [
        "Москва, я тебя люблю",
        "Καλημέρα στην Αθήνα",
        "IT-компания и WhatsAppом",
        "🇳🇱 hup 😀 het is 'n café—écht",
    ],
)
def test_an_ordinary_text_of_another_alphabet_has_one_reading_of_the_same_letters(text):
    (reading,) = unfold(text)

    assert [c for c in reading.text if c.isalpha()] == [c for c in text if c.isalpha()]


def test_plain_text_is_read_once_and_as_it_is():
    (reading,) = unfold("Wat een fijne winkel, 10 euro korting op 12-11-2025!\nKijk: a.b/c?d=e&f=g")

    assert reading.starts is None


PLANTED = [
    f"haar rekening is {IBAN}",
    f"kijk: {KEY} ",
    PASSWORD,
    "kluiscode is 4471",
    "mevrouw Pas, BSN 872455725",
    "mail jan@teasel.example",
    "server 10.40.8.12 ligt plat",
    "project Zilvermeeuw komt eraan",
    "strikt geheim: niet doorsturen",
]


@given(data=st.data(), text=st.sampled_from(PLANTED))
def test_invisible_characters_anywhere_lose_no_finding(data, text):
    places = data.draw(st.lists(st.integers(0, len(text)), max_size=12))
    hidden = text
    for place in sorted(places, reverse=True):
        hidden = hidden[:place] + data.draw(st.sampled_from(INVISIBLE)) + hidden[place:]

    def seen(of):
        return [
            (f.detector, "".join(c for c in of[f.start : f.end] if c not in INVISIBLE))
            for f in find_all(DETECTORS, of)
        ]

    assert seen(hidden) == seen(text)


NASTY = st.text(
    alphabet=st.one_of(
        st.sampled_from(" %&#;=:/\\.-_0123456789abcxAKNL<>@\n\u200b\u202e\u202c\u0430\u0336\uff11"),
        st.characters(),
    ),
    max_size=200,
)


@given(text=NASTY)
def test_every_reading_leads_back_into_the_text(text):
    for reading in unfold(text):
        for at in range(len(reading.text)):
            start, end = reading.span(at, at + 1)
            assert 0 <= start < end <= len(text)


@given(text=NASTY, planted=st.sampled_from(PLANTED))
def test_nothing_before_a_finding_breaks_it_and_spans_lie_within_the_text(text, planted):
    whole = f"{text}\n\n{planted}"

    for finding in find_all(DETECTORS, whole):
        assert 0 <= finding.start < finding.end <= len(whole)
    mask(whole, ())


@given(text=st.text(alphabet=st.characters(codec="utf-8"), max_size=100))
def test_folding_keeps_the_order_of_what_it_keeps(text):
    folded = fold(text)

    starts = list(folded.starts) if folded.starts is not None else list(range(len(text)))
    assert starts == sorted(set(starts))
    assert len(starts) == len(folded.text)


@given(text=st.text(max_size=100))
def test_look_alikes_are_swapped_one_for_one(text):
    assert len(lookalikes.latin(text)) == len(text)
    assert len(lookalikes.latin_throughout(text)) == len(text)


def test_a_word_of_look_alikes_alone_is_read_in_a_latin_text_only():
    assert lookalikes.latin_throughout("the \u0440\u0430\u0455\u0455 code") == "the pass code"
    assert lookalikes.latin("the \u0440\u0430\u0455\u0455 code") != "the pass code"
    assert "\u0440" in lookalikes.latin_throughout("the \u0440\u0430\u0455\u0455 да code")
