"""What an alert must not repeat is gone from it."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.base import Confidence, Finding, LeakCategory
from classifiers.detectors import FINGERPRINT, default_detectors, find_all
from classifiers.detectors.secrets import all_rules
from classifiers.masking import excerpt, mask, together

DETECTORS = default_detectors(["zilvermeeuw"])
TRAINING = Path(__file__).parents[2] / "classifiers" / "training" / "data" / "leaks"

IBANS = ["NL79VEEN0967322618", "NL91ABNA0417164300", "BE71096123456769", "DE89370400440532013000"]
BSNS = ["872455725", "111222333", "782130033"]
CARDS = ["4539148803436467", "5555341244441115", "371449635398431"]
PASSWORDS = [
    "K44iman-Gent24",
    "Grid-Ops#77",
    "tulp-kraan-vijver-88",
    "Zomer2016",
    "goosefoot",
    "x9!kQ",
]
KEYS = [next(iter(rule.must_match)) for rule in all_rules() if rule.id in {"github-token", "jwt"}]
FRAMES = [
    "{}",
    "wat is dit: {} zei ze",
    "({})",
    "zie {}, echt waar",
    "rekening{}",
    "eerste regel\n{}\nlaatste regel",
    "😀{}😀",
    "#{}",
    '"{}".',
]
PASSWORD_FRAMES = [
    "wachtwoord: {}",
    "het wachtwoord van de kassa is {} hoor",
    "password is {}",
    "pw={}",
    "WW : {}",
    "user jan, pass: '{}'",
    "paswoord = {}\nen verder niks",
]


def masked(text, **options):
    return mask(text, find_all(DETECTORS, text), **options)


def plain(text):
    return re.sub(r"[\W_]", "", text).lower()


def spread(value, style, group):
    cut = [value[i : i + group] for i in range(0, len(value), group)]
    joined = {"spaces": " ", "dots": ".", "dashes": "-", "none": "", "zero width": "\u200b"}[style]
    return joined.join(cut)


@given(
    value=st.sampled_from([*IBANS, *BSNS, *CARDS]),
    style=st.sampled_from(["none", "spaces", "dots", "dashes", "zero width"]),
    group=st.sampled_from([1, 3, 4]),
    lower=st.booleans(),
    frame=st.sampled_from(FRAMES),
)
def test_a_planted_number_never_survives(value, style, group, lower, frame):
    written = spread(value.lower() if lower else value, style, group)

    left = plain(masked(frame.format(written)))

    account = re.sub(r"\D", "", value)[-7:]
    assert value.lower() not in left
    assert account not in left


@given(
    before=st.text(alphabet="abc éü\n.,!?", max_size=30),
    after=st.text(alphabet="abc éü\n.,!?", max_size=30),
    value=st.sampled_from([*IBANS, *BSNS, *CARDS]),
)
def test_a_planted_number_never_survives_wherever_it_stands(before, after, value):
    assert value not in masked(before + value + after)


@pytest.mark.parametrize("frame", PASSWORD_FRAMES)
@pytest.mark.parametrize("password", PASSWORDS)
def test_a_planted_password_never_survives(frame, password):
    left = masked(frame.format(password))

    assert password.lower() not in left.lower()
    assert "[credential]" in left


@given(
    password=st.text(
        alphabet="abcdefghkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789!#$%&*-_.",
        min_size=6,
        max_size=24,
    ).filter(lambda p: any(c.isalpha() for c in p) and any(c.isdigit() for c in p)),
    frame=st.sampled_from(PASSWORD_FRAMES),
)
def test_a_password_with_a_digit_never_survives_behind_the_words_that_tell(password, frame):
    assert password not in masked(frame.format(password))


@pytest.mark.parametrize(
    "text",
    [
        "PW zonnebloem",
        "wachtwoord: correct paard batterij zonnebloem",
        "login:\nadmin\nzonnebloem",
        "inlog\njsmit\nzonnebloem",
        "Login details below\n\njsmit\nzonnebloem",
        "Login: jsmit / zonnebloem",
        "zo log je in: login zaal 3, jsmit / zonnebloem",
        "inloggegevens: jsmit zonnebloem",
        "gebruikersnaam jsmit\nwachtwoord zonnebloem",
        "het wachtwoord van het portaal is nu dus zonnebloem",
        "mijn ww is gewoon zonnebloem haha",
        "wachtwoord staat nog op zonnebloem",
        "password changed to zonnebloem",
        "the password's zonnebloem",
        "wifi wachtwoord zonnebloem",
        "w8woord: zonnebloem",
        "p@ssword = zonnebloem",
        "wachtwoord\nzonnebloem",
    ],
)
def test_a_password_that_is_an_ordinary_word_does_not_survive_where_one_stands(text):
    left = mask(text, ())

    assert "zonnebloem" not in left
    assert "jsmit" not in left or "gebruikersnaam" not in text


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("fietsenkelder personeel is nu 3-1-4-1, van niks", "3-1-4-1"),
        ("de voordeur, gewoon 1 2 4 5 en de klink omhoog", "1 2 4 5"),
        ("side gate at Fitnow Hull is C1984Z, since it opened", "1984"),
        ("portier riep 'm net over de gang: zes zes nul acht", "zes nul"),
        ("she bellowed thirty-one, oh seven, sixty-two!", "seven"),
        ("redacteur / Sirene1eMaandag. Marije kun jij hier in?", "Sirene"),
        ("onder het toetsenbord: klant_almelo3 / Herfst!Herfst.", "Herfst"),
        ("#newkeys #door3is8820 #turnthehandleUP", "8820"),
        ("ge zegt 'karnemelk' en ze hangen weer op", "karnemelk"),
    ],
)
def test_of_a_post_that_gives_credentials_away_whatever_could_open_something_is_hidden(
    text, secret
):
    assert secret in mask(text, ())
    assert secret not in mask(text, (), likely=LeakCategory.CREDENTIALS)
    assert mask(text, (), likely=LeakCategory.PRODUCT) == mask(text, ())


def test_nearly_all_leaks_of_credentials_that_we_know_show_what_was_hidden():
    lines = [
        line
        for file in TRAINING.glob("*.jsonl")
        for line in file.read_text("utf-8").splitlines()
        if '"category": "credentials"' in line
    ]
    bare = sum(
        "[" not in mask(json.loads(line)["text"], (), likely=LeakCategory.CREDENTIALS)
        for line in lines
    )

    assert len(lines) > 400
    assert bare / len(lines) < 0.08, "the rest says how, not what: a birthday, a photo, a place"


@pytest.mark.parametrize("rule", all_rules(), ids=lambda rule: rule.id)
def test_what_a_secret_rule_finds_is_gone(rule):
    for text in rule.must_match:
        found = [f for f in find_all(DETECTORS, text) if f.category is LeakCategory.CREDENTIALS]
        assert found
        left = masked(text)
        assert [text[f.start : f.end] for f in found if text[f.start : f.end] in left] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("IBAN NL79VEEN0967322618!", "IBAN [IBAN …18]!"),
        ("bel 06-12345678 even", "bel [telefoon] even"),
        ("mail jan.jansen@teasel.example nu", "mail [e-mail] nu"),
        ("Elzenkade 31 in Terwolde", "[adres] in Terwolde"),
        ("kaart 4539 1488 0343 6467", "kaart [kaart]"),
        ("BSN 872455725", "BSN [BSN]"),
        ("kluiscode is 4471", "kluiscode is [inloggegeven]"),
        ("server 10.40.8.12 ligt plat", "server [host] ligt plat"),
        ("heb je Zilvermeeuw gezien", "heb je [codenaam] gezien"),
        ("Jan, geb. 14-03-1998", "Jan, geb. [geboortedatum]"),
    ],
)
def test_a_label_says_what_was_hidden(text, expected):
    assert masked(text, language="nl") == expected


@pytest.mark.parametrize(
    "text",
    [
        "Wat een fijne winkel, 10 euro korting op 12-11-2025!",
        "de kaartverkoop start op 2026-03-01 09:30, 1.500 plaatsen",
        "mijn wachtwoord is verlopen en niemand helpt",
        "the password is wrong again",
        "3 voor €4,95 bij de Jumbo, seizoen 2025-2026",
        "CONFIDENTIAL, staat erboven",
        "Wachtwoord vergeten? Dan een nieuw wachtwoord aanvragen bij de balie.",
        "Wat een gedoe met die login, elke keer opnieuw, en niemand die het snapt.",
        "De login doet het weer niet.\n\nAl een uur lang probeer ik het, ik ben er klaar mee.",
        "Mijn account/profiel is weg, de username and/or password werkt niet meer",
    ],
)
def test_an_ordinary_post_is_left_as_it_is(text):
    assert masked(text) == text


def test_handles_are_hidden_unless_they_may_be_shown():
    text = "@Winkel en @jan_de_vries.nl, kijk: @piet@mastodon.example. mail a@b.nl"

    assert masked(text, keep_handles=["@winkel"]) == "@Winkel en @…, kijk: @…. mail [e-mail]"


def test_a_finding_is_hidden_even_where_the_eager_look_would_see_nothing():
    text = "de sleutel heet boterbloem"
    found = Finding("password", LeakCategory.CREDENTIALS, 16, 26, Confidence.HIGH)

    assert mask(text, [found]) == "de sleutel heet [credential]"


def test_masking_what_is_masked_shows_no_more():
    text = "wachtwoord: Zomer2016 en IBAN NL79VEEN0967322618 van @jan, bel 06-12345678"
    once = masked(text)

    assert "Zomer" not in masked(once)
    assert "0967" not in masked(once)


@given(st.text(max_size=400), st.integers(1, 300))
def test_an_excerpt_is_one_line_and_never_longer_than_asked(text, limit):
    short = excerpt(text, find_all(DETECTORS, text), limit)

    assert len(short) <= limit
    assert "\n" not in short


def test_an_excerpt_ends_with_a_whole_word_and_an_ellipsis():
    assert excerpt("een heel gewone zin over niets", (), 16) == "een heel gewone…"
    assert excerpt("een heel gewone zin over niets", (), 18) == "een heel gewone…"


def test_an_excerpt_never_cuts_through_a_label():
    text = "rekening NL79VEEN0967322618 van haar"

    for limit in range(1, 40):
        short = excerpt(text, (), limit)
        assert short.count("[") == short.count("]")


def test_an_excerpt_of_nothing_is_refused():
    with pytest.raises(ValueError, match="1 or more"):
        excerpt("x", (), 0)


def test_an_excerpt_of_a_gigantic_post_hides_what_its_reading_cuts_in_two():
    text = "\n" * 25_590 + "NL79VEEN0967322618 " * 50_000

    short = excerpt(text, (), 280)

    assert "0967" not in short
    assert len(short) <= 280


def test_a_person_behind_a_form_of_address_is_hidden() -> None:
    for text, kept in (
        ("Mail over Mevr. I. Vrolijk-Postma, elke maand", "Mail over Mevr. [naam], elke maand"),
        ("dhr Van der Berg belde", "dhr [naam] belde"),
        ("volgens mevrouw de Vries uit Ede", "volgens mevrouw [naam] uit Ede"),
        ("mr Oduya has hep C", "mr [naam] has hep C"),
        ("Mw. mag ik wat vragen", "Mw. mag ik wat vragen"),
    ):
        assert mask(text, (), language="nl") == kept


# -- what is registered ----------------------------------------------------------------------------

LEAD = "Hoorde net dit in de trein, wie verzint zoiets?"
QUOTE = (
    "De marge daarop is 38 procent en de leverancier van dhr. Jansen B.V. te Oss mag niets zeggen."
)
TAIL = "Nou ja, morgen weer gewoon boodschappen doen."


def known(text, *values, confidence=Confidence.HIGH, category=LeakCategory.PRODUCT):
    places = [(text.index(value), text.index(value) + len(value)) for value in values]
    return [
        Finding(FINGERPRINT, category, start, end, confidence, label="doc-7")
        for start, end in places
    ]


@pytest.mark.parametrize("confidence", list(Confidence))
@pytest.mark.parametrize(
    ("language", "word"), [("nl", "[geregistreerde tekst]"), ("en", "[registered text]")]
)
def test_of_a_registered_passage_the_whole_sentence_is_hidden(language, word, confidence):
    text = f"{LEAD} {QUOTE} {TAIL}"
    found = known(text, "38 procent en de leverancier", confidence=confidence)

    assert mask(text, found, language=language) == f"{LEAD} {word} {TAIL}"


@pytest.mark.parametrize("value", ["De marge", "te Oss", "mag niets zeggen."])
def test_abbreviations_end_no_sentence(value):
    text = f"{LEAD} {QUOTE} {TAIL}"

    assert mask(text, known(text, value)) == f"{LEAD} [registered text] {TAIL}"


def test_line_breaks_of_a_copied_page_end_no_sentence_and_a_blank_line_does():
    text = f"kijk nou\n\n{QUOTE.replace(' ', chr(10))}\n\nbizar toch"

    assert mask(text, known(text, "leverancier")) == "kijk nou\n\n[registered text]\n\nbizar toch"


def test_a_little_between_two_registered_sentences_belongs_to_the_passage():
    text = f"{LEAD} {QUOTE} Zwijg erover. De campagne begint op 12 maart in Deventer. {TAIL}"
    found = known(text, "De marge daarop", "12 maart")

    assert mask(text, found) == f"{LEAD} [registered text] {TAIL}"


def test_much_between_two_registered_sentences_is_the_writers_own():
    between = " ".join([LEAD] * 8)
    text = f"{QUOTE} {between} De campagne begint op 12 maart in Deventer. {TAIL}"
    found = known(text, "De marge daarop", "12 maart")

    assert mask(text, found) == f"[registered text] {between} [registered text] {TAIL}"


def test_registered_text_wins_over_what_stands_in_it():
    iban = "NL91ABNA0417164300"
    text = f"{LEAD} Betaal de leverancier in Oss op {iban} voor week negen. {TAIL}"

    assert mask(text, known(text, "leverancier in Oss")) == f"{LEAD} [registered text] {TAIL}"


@given(
    before=st.text(alphabet="ab éü\n.,!?:", max_size=30),
    after=st.text(alphabet="ab éü\n.,!?:", max_size=30),
    start=st.integers(0, 60),
    length=st.integers(1, 30),
)
def test_nothing_that_is_registered_survives_wherever_it_stands(before, after, start, length):
    quote = "Zilvermeeuw kost straks twaalf euro in Sneek, zegt Djoeke. Of niet. En Workum zwijgt"
    text = before + quote + after
    first = len(before) + start
    found = [Finding(FINGERPRINT, LeakCategory.INTERNAL, first, first + length, Confidence.MEDIUM)]

    shown, hidden, rest = mask(text, found).partition("[registered text]")

    assert hidden
    assert not text[first : len(shown)].strip()
    assert not text[len(text) - len(rest) : first + length].strip()


def test_an_excerpt_of_a_registered_passage_shows_its_label_whole():
    text = f"{LEAD} {QUOTE}"

    assert excerpt(text, known(text, QUOTE), limit=280).endswith("[registered text]")
    assert excerpt(text, known(text, QUOTE), limit=55).endswith("zoiets?…")


def test_what_one_text_hides_its_neighbour_does_not_repeat():
    shown = ["Het wachtwoord is goosefoot, geloof ik.", "Wie kent GOOSEFOOT? En goosefoots?"]
    known = together((text, (), LeakCategory.NONE) for text in shown)
    first, second = (mask(text, (), known=known) for text in shown)
    assert "goosefoot" not in first
    assert second == "Wie kent [credential]? En goosefoots?"
    assert mask(shown[1], ()) == shown[1]
