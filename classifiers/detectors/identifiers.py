"""Finds identifiers of people and organisations: shape, then checksum, then the words around.

Confidence says how sure it is that this is such an identifier *and* that it is somebody else's:
the writer's own, or a number meant for the public, is low, however valid.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from stdnum import iban, luhn
from stdnum.be import nn as rijksregister
from stdnum.nl import bsn, btw

from classifiers.base import Confidence, Finding, LeakCategory
from classifiers.detectors.base import Telltale, words
from classifiers.detectors.ownership import Owner, owner

_SEPARATORS = str.maketrans("", "", " .-/()_\n\t\r\u00a0")
_DIGIT_BEFORE = r"(?<![A-Za-z0-9])(?<!\d[.,-])"
_DIGIT_AFTER = r"(?![A-Za-z0-9])(?![.,-]\d)"


def _compact(value: str) -> str:
    return value.translate(_SEPARATORS).upper()


@dataclass(frozen=True, slots=True)
class IdentifierDetector:
    """One sort of identifier.

    ``valid`` judges the compact value (no separators, upper case). With ``told_by`` the words that
    name this sort of number must stand near, unless ``untold`` gives a confidence without them.
    """

    name: str
    pattern: re.Pattern[str]
    valid: Callable[[str], bool]
    must_match: Sequence[str]
    must_not_match: Sequence[str]
    extent: Callable[[re.Match[str]], int | None] | None = None
    """Where the value that the pattern begins ends; None: where the match ends."""
    told_by: Telltale | None = None
    untold: Confidence | None = None
    """Confidence where no tell-tale word is near; None: no finding then."""
    unclear: Confidence = Confidence.MEDIUM
    """Confidence where nothing says whose it is."""
    ceiling: Confidence = Confidence.HIGH
    category: LeakCategory = LeakCategory.PERSONAL_DATA

    def find(self, text: str) -> Iterator[Finding]:
        """Yield the identifiers of ``text`` that pass their checks."""
        for match in self.pattern.finditer(text):
            start, end = match.start(), self.extent(match) if self.extent else match.end()
            if end is None or not self.valid(_compact(text[start:end])):
                continue
            confidence = self._confidence(text, start, end)
            if confidence is not None:
                yield Finding(self.name, self.category, start, end, confidence)

    def _confidence(self, text: str, start: int, end: int) -> Confidence | None:
        if self.told_by and not self.told_by.near(text, start, end, before=40, after=20):
            return self.untold
        whose = owner(text, start, end)
        published = _compact(text[start:end]) in PUBLISHED
        if published or whose in {Owner.OWN, Owner.PUBLIC} or self.ceiling is Confidence.LOW:
            return Confidence.LOW
        if whose is Owner.OTHER:
            return self.ceiling
        return self.unclear


def _always(_: str) -> bool:
    return True


def _is_iban(value: str) -> bool:
    return bool(iban.is_valid(value, check_country=False))


def _is_bsn(value: str) -> bool:
    return len(value) == 9 and len(set(value)) > 2 and bool(bsn.is_valid(value))  # noqa: PLR2004


def _is_rijksregister(value: str) -> bool:
    return bool(rijksregister.is_valid(value))


def _is_btw(value: str) -> bool:
    number = value if value.startswith("NL") else f"NL{value}"
    return bool(btw.is_valid(number))


_BRANDS = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    r"|35(?:2[89]|[3-8]\d)\d{12}|3(?:0[0-5]|[68]\d)\d{11}|6(?:011|5\d\d)\d{12}|(?:5018|5019|5020|5038|6304|6759|676[1-3]|6703)\d{8,15}"
)
_FEW_DIGITS = 3
"""A number of so few different digits is a test number, such as 4000 0000 0000 0002."""
PUBLISHED = frozenset(
    (
        *("4111111111111111", "4242424242424242", "5555555555554444", "378282246310005"),
        *("4012888888881881", "NL91ABNA0417164300", "NL02ABNA0123456789", "NL20INGB0001234567"),
        *("BE71096123456769", "DE89370400440532013000", "111222333", "123456782", "123456789"),
    )
)
"""Numbers that documentation prints as examples: hidden like any other, but never evidence."""


def _is_card(value: str) -> bool:
    return (
        _BRANDS.fullmatch(value) is not None
        and len(set(value)) > _FEW_DIGITS
        and bool(luhn.is_valid(value))
    )


def _is_postcode(value: str) -> bool:
    return not (value[:4].isdigit() and value[4:6] in {"SA", "SD", "SS"})


_PHONE = re.compile(
    r"(?<![A-Za-z0-9+])(?<!\d[.,-])(?:"
    r"(?:\+|00)(?:31|32)[ .-]?(?:\(0\)[ .-]?)?(?:\d[ .-]?){6,8}\d"
    r"|\+(?!3[12])[1-9]\d{0,2}[ .-]?(?:\(\d{1,4}\)[ .-]?)?(?:\d[ .-]?){6,10}\d"
    r"|\(?0[1-9]\d{0,3}\)?[ ]?[/.-]?[ ]?(?:\d[ .-]?){5,8}\d"
    r"|0(?:800|90[069])[ .-]?\d{4})"
    r"(?![\dA-Za-z])(?![.,]\d)"
)
_SERVICE_NUMBER = re.compile(r"0(?:800|90[069])\d{4}(?:\d{3})?")


def _is_phone(value: str) -> bool:
    national = re.sub(r"^(?:\+|00)3[12]0?", "0", value)
    if national.startswith("+") or _SERVICE_NUMBER.fullmatch(national):
        return True
    lengths = {10} if national.startswith("06") else {9, 10}
    return national.startswith("0") and len(national) in lengths


def detectors() -> list[IdentifierDetector]:
    """Return one detector per sort of identifier, the surest first."""
    return [
        _iban(),
        _bsn(),
        _rijksregister(),
        _card(),
        _btw(),
        _kvk(),
        _address(),
        _english_address(),
        _phone(),
        _email(),
    ]


_IBAN_LENGTHS_LIST = """
    AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18
    DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23
    IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27
    MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19
    SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30
"""
_IBAN_LENGTHS = {entry[:2]: int(entry[2:]) for entry in _IBAN_LENGTHS_LIST.split()}
"""Letters and digits of an account number per country, from the registry of SWIFT."""
_IBAN_HEAD = re.compile(
    r"(?:(?<![A-Za-z0-9])(?P<country>[A-Za-z]{2})|(?<=[a-z])(?P<glued>[A-Z]{2}))[ ._/-]{0,3}\d[ ._/-]{0,3}\d"
)
_IBAN_REST = re.compile(r"[ ._/\n-]{0,3}[A-Za-z0-9]")


def _iban_end(head: re.Match[str]) -> int | None:
    """Return where an account number of that country ends, however its signs are grouped."""
    country = head["country"] or head["glued"]
    text, at = head.string, head.end()
    for _ in range(_IBAN_LENGTHS.get(country.upper(), 0) - 4):
        sign = _IBAN_REST.match(text, at)
        if sign is None:
            return None
        at = sign.end()
    following = text[at : at + 1]
    whole = not (following.isascii() and following.isalnum())
    glued = country.isupper() and following.islower() and text[at - 1].isdigit()
    return at if at > head.end() and (whole or glued) else None


def _iban() -> IdentifierDetector:
    return IdentifierDetector(
        name="iban",
        pattern=_IBAN_HEAD,
        extent=_iban_end,
        valid=_is_iban,
        must_match=(
            "Lotte H., geb. 14-03-1998, IBAN NL79VEEN0967322618. niet oké",
            "terugstorten op nl34 klvr 0411 9741 22, reden: kapot",
            "haar rekening BE71 0961 2345 6769 staat erbij",
            "NL91.ABNA.0417.1643.00",
            "NL 79 VEEN 09 67 32 26 18 van mevrouw Pas",
            "NL79/VEEN/0967/3226/18",
            "rekeningNL79VEEN0967322618van haar",
            "DE89 3704 0044 0532 0130 00 van de leverancier",
        ),
        must_not_match=(
            "NL91ABNA0417164301",
            "model NL12 ABCD 2025 is uit",
            "AB12 is de zaal",
            "NL79VEEN09673226189",
            "in 10 jaar is er niets veranderd aan deze weg",
        ),
    )


def _bsn() -> IdentifierDetector:
    return IdentifierDetector(
        name="bsn",
        pattern=re.compile(_DIGIT_BEFORE + r"\d(?:[ .-]?\d){8}" + _DIGIT_AFTER),
        valid=_is_bsn,
        told_by=words(
            "bsn",
            "bsn-?n(?:umme)?r",
            "burgerservicenummer",
            "burger service ?nummer",
            "sofi-?(?:nummer)?",
            "patiënt(?:nummer)?",
            "geb\\.?",
            "geboren",
            "dossier",
            "verzekerde",
            "citizen service number",
        ),
        must_match=(
            "mw. T. Brandsma, BSN 872455725, Elzenkade 31",
            "burgerservicenummer: 8724.55.725",
        ),
        must_not_match=(
            "bestelling 872455725 is nog niet binnen",
            "BSN 872455726",
            "bsn 111111111",
        ),
    )


def _rijksregister() -> IdentifierDetector:
    return IdentifierDetector(
        name="rijksregisternummer",
        pattern=re.compile(
            _DIGIT_BEFORE
            + r"\d{2}[ ./-]?\d{2}[ ./-]?\d{2}[ ./-]{0,3}\d{3}[ .-]?\d{2}"
            + _DIGIT_AFTER
        ),
        valid=_is_rijksregister,
        told_by=words(
            "rijksregister(?:nummer|nr\\.?)?",
            "rrn",
            "insz",
            "nationaal nummer",
            "national (?:register )?number",
            "niss",
        ),
        untold=Confidence.LOW,
        must_match=(
            "zijn rijksregisternummer is 85.07.30-033.28",
            "85.07.30-033.28 stond op het formulier",
        ),
        must_not_match=("rijksregisternummer 85.07.30-033.29", "bel 0470 12 34 567"),
    )


def _card() -> IdentifierDetector:
    return IdentifierDetector(
        name="payment-card",
        pattern=re.compile(_DIGIT_BEFORE + r"\d(?:[ ./-]?\d){11,18}" + _DIGIT_AFTER),
        valid=_is_card,
        must_match=("kaart 4539 1488 0343 6467 van een gast", "card 4539148803436467 exp 04/27"),
        must_not_match=(
            "4539 1488 0343 6468",
            "test with 4242 4242 4242 4242",
            "tracking 3SABCD4539148803",
        ),
    )


def _btw() -> IdentifierDetector:
    return IdentifierDetector(
        name="btw",
        pattern=re.compile(
            r"(?<![A-Za-z0-9])(?:NL[ .]?\d{7,9}|(?:NL)?[ .]?\d{4}[ .]?\d{2,3}[ .]?\d{2,3})[ .]?B[ .]?\d{2}"
            r"(?![A-Za-z0-9])"
        ),
        valid=_is_btw,
        ceiling=Confidence.LOW,
        category=LeakCategory.PERSONAL_DATA,
        must_match=("btw NL002455799B11 op de factuur", "004495445B01"),
        must_not_match=("123456789B90", "model 1234B01"),
    )


def _kvk() -> IdentifierDetector:
    return IdentifierDetector(
        name="kvk",
        pattern=re.compile(_DIGIT_BEFORE + r"\d{8}" + _DIGIT_AFTER),
        valid=_always,
        told_by=words(
            "kvk",
            "kvk-?(?:nummer|nr\\.?)",
            "k\\.v\\.k\\.?",
            "kamer van koophandel",
            "chamber of commerce",
        ),
        ceiling=Confidence.LOW,
        must_match=("KvK 69599084", "ingeschreven bij de Kamer van Koophandel: 68727720"),
        must_not_match=("bestelling 69599084", "kvk gebeld, 20 minuten wachten"),
    )


_NUMBERED = (
    r"""[ ](?:nr\.?[ ])?\d{1,4}(?:[ -]?[a-zA-Z]\b|-\d{1,3}|[ ](?:bis|bus[ ]\d{1,3}|I{1,3})\b)?"""
)
_COUNTED = r"""(?![ ]?(?:euro|uur|u\b|jaar|min|sec|km|m\b|x\b|keer|dagen|weken|maanden|man\b|mensen|personen
    |stuks|autos?|auto's|meter|graden|procent|kinderen|huizen|woningen|bomen|plekken|januari|februari|maart|april|mei
    |juni|juli|augustus|september|oktober|november|december))(?![A-Za-z0-9:%€])"""
_ADDRESS = re.compile(
    rf"""(?<![A-Za-z0-9])(?:
        [1-9]\d{{3}}[ ]?[A-Z]{{2}}[ ,]{{1,3}}(?:nr\.?[ ]|huisnummer[ ]|no\.?[ ])?
        \d{{1,4}}(?:[ -]?[a-zA-Z]{{1,2}}|-\d{{1,3}})?
      | (?!19|20[0-3])[1-9]\d{{3}}[ ][A-Z]{{2}}(?=[ ,]{{1,2}}[A-Z][a-z])
      | [A-Z][a-zà-ÿ]{{2,24}}(?:straat|laan|weg|plein|kade|gracht|singel|dreef|hof|steeg|pad|dijk|plantsoen
        |park|baan|lei|kouter|markt|erf|vest|bolwerk|strjitte|haven|kerkhof|burgwal|brink|hoek|zijde|akker
        |veld|meent|str\.?|ln\.?|pln\.?|wg\.?|sngl|stg|prk|drf|hf|pd){_NUMBERED}
      | [a-zà-ÿ]{{3,24}}(?:straat|laan|gracht|plein|singel|dreef|steeg){_NUMBERED}
      | (?:[Ll]aan|[Pp]lein|[Ww]eg|[Kk]ade|[Ss]traat)[ ](?:van|der|den|de|het|'t|ter)[ ]
        (?:(?:de|den|der|het)[ ])?[A-Z][a-zà-ÿ]{{2,24}}{_NUMBERED}
    ){_COUNTED}""",
    re.VERBOSE,
)
_ENGLISH_ADDRESS = re.compile(
    r"(?<![A-Za-z0-9])\d{1,4}[a-zA-Z]?,? (?:[A-Z][a-z]{2,20} ){1,3}"
    r"(?:Street|Road|Lane|Avenue|Close|Drive|Gardens|Terrace|Crescent|Court|Grove|Mews|St|Rd|Ave|Ln)\b\.?"
    r"|(?<![A-Za-z0-9])[A-Z]{1,2}\d[A-Z\d]? \d[ABD-HJLNP-UW-Z]{2}(?![A-Za-z0-9])"
)


def _address() -> IdentifierDetector:
    return IdentifierDetector(
        name="address",
        pattern=_ADDRESS,
        valid=_is_postcode,
        untold=None,
        ceiling=Confidence.MEDIUM,
        must_match=(
            "mw. T. Brandsma, Elzenkade 31 Terwolde",
            "dhr. Pas, 7391 AB 12, ligt al weken ziek",
            "familie El Amrani, Vlierstraat 6",
            "die klant woont op Laan van de Linden 512",
            "familie de Wit, Kerkstr. 14b",
            "haar huis: dorpsstraat 9",
            "Elzenkade 31, 7391 AB Terwolde",
        ),
        must_not_match=(
            "1234 SS 12",
            "om 1530 UUR 12 man",
            "onderweg 5 minuten",
            "in de winkelstraat 10 mensen",
            "since 2015 US Open is fun",
            "Spring 2015",
            "Kerkstraat 12%",
        ),
    )


def _english_address() -> IdentifierDetector:
    return IdentifierDetector(
        name="address-en",
        pattern=_ENGLISH_ADDRESS,
        valid=_always,
        unclear=Confidence.LOW,
        ceiling=Confidence.MEDIUM,
        must_match=(
            "Mrs Adeyemi, 14 Larch Grove, is in arrears",
            "the tenant at BX7 2QD has left",
        ),
        must_not_match=("42nd street", "windows 10 pro"),
    )


def _phone() -> IdentifierDetector:
    return IdentifierDetector(
        name="phone",
        pattern=_PHONE,
        valid=_is_phone,
        unclear=Confidence.LOW,
        ceiling=Confidence.MEDIUM,
        must_match=(
            "bel haar op 06-12345678",
            "mw. De Roo, +31 6 12345678",
            "(030) 555 5555",
            "haar nummer: 0031612345678",
            "meneer Pas: 0470 12 34 56",
            "haar Duitse nummer +49 30 1234567",
            "bel 0900-1234",
        ),
        must_not_match=(
            "bel 112",
            "order 1234567890",
            "06-1234567",
            "2025-11-22 09:30",
            "+5 punten, +12 345",
        ),
    )


def _email() -> IdentifierDetector:
    return IdentifierDetector(
        name="email",
        pattern=re.compile(
            r"(?<![A-Za-z0-9._%+@-])[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}\.){1,4}(?:[A-Za-z]{2,24}|xn--[a-z0-9-]{2,40})(?![A-Za-z0-9-])"
        ),
        valid=_always,
        unclear=Confidence.LOW,
        ceiling=Confidence.MEDIUM,
        must_match=("mail naar a.b.c.naam-12@umcutrecht.nl", "persoon@teasel.example"),
        must_not_match=("@teasel meldt zich", "jan@werk", "user @ host"),
    )
