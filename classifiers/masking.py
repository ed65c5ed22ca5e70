"""Hides what an alert, a log line or a report must not repeat.

Masking is eager where detection is careful: it hides every value that could be a secret or an
identifier, valid or not, whether or not the post was escalated. Of what the register of secrets
knows the whole sentence goes: a passage is found by some of its words, and those beside them are of
the same document. Names of people are
hidden behind a form of address only; other names, and words that give something away in plain
prose, cannot be told by shape: they are why the evidence itself stays behind
a login and an excerpt is short.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from classifiers.base import Finding, LeakCategory
from classifiers.detectors import Detector, Kind, identifiers, infrastructure, kind, secrets
from classifiers.detectors.base import entropy, words
from classifiers.detectors.phrases import CONNECTOR, all_phrases, looks_like_password
from classifiers.detectors.unfold import unfold
from classifiers.giveaway import behind_login, behind_password, keylike, odd_words


class _Hidden(StrEnum):
    """What was hidden; in order of gravity, the first wins where spans overlap."""

    REGISTERED = "registered"
    CREDENTIAL = "credential"
    IBAN = "iban"
    CARD = "card"
    BSN = "bsn"
    NATIONAL_NUMBER = "national_number"
    EMAIL = "email"
    PHONE = "phone"
    ADDRESS = "address"
    BIRTH = "birth"
    HOST = "host"
    PATH = "path"
    CODE_NAME = "code_name"
    NAME = "name"
    NUMBER = "number"


_LABELS: Final[Mapping[str, Mapping[_Hidden, str]]] = {
    "en": {
        _Hidden.REGISTERED: "registered text",
        _Hidden.CREDENTIAL: "credential",
        _Hidden.IBAN: "IBAN",
        _Hidden.CARD: "card",
        _Hidden.BSN: "BSN",
        _Hidden.NATIONAL_NUMBER: "national number",
        _Hidden.EMAIL: "e-mail",
        _Hidden.PHONE: "phone",
        _Hidden.ADDRESS: "address",
        _Hidden.BIRTH: "date of birth",
        _Hidden.HOST: "host",
        _Hidden.PATH: "path",
        _Hidden.CODE_NAME: "code name",
        _Hidden.NAME: "name",
        _Hidden.NUMBER: "number",
    },
    "nl": {
        _Hidden.REGISTERED: "geregistreerde tekst",
        _Hidden.CREDENTIAL: "inloggegeven",
        _Hidden.IBAN: "IBAN",
        _Hidden.CARD: "kaart",
        _Hidden.BSN: "BSN",
        _Hidden.NATIONAL_NUMBER: "rijksregisternummer",
        _Hidden.EMAIL: "e-mail",
        _Hidden.PHONE: "telefoon",
        _Hidden.ADDRESS: "adres",
        _Hidden.BIRTH: "geboortedatum",
        _Hidden.HOST: "host",
        _Hidden.PATH: "pad",
        _Hidden.CODE_NAME: "codenaam",
        _Hidden.NAME: "naam",
        _Hidden.NUMBER: "nummer",
    },
}

_BY_DETECTOR: Final = {
    "iban": _Hidden.IBAN,
    "payment-card": _Hidden.CARD,
    "bsn": _Hidden.BSN,
    "rijksregisternummer": _Hidden.NATIONAL_NUMBER,
    "email": _Hidden.EMAIL,
    "phone": _Hidden.PHONE,
    "address": _Hidden.ADDRESS,
    "address-en": _Hidden.ADDRESS,
    "private-address": _Hidden.HOST,
    "ip-address": _Hidden.HOST,
    "internal-host": _Hidden.HOST,
    "file-share": _Hidden.PATH,
    "intranet-link": _Hidden.PATH,
    "file-path": _Hidden.PATH,
}
_GRAVITY: Final = {hidden: place for place, hidden in enumerate(_Hidden)}

_LOOKS_LIKE_IBAN = re.compile(
    r"(?:(?<![A-Za-z])(?P<country>[A-Za-z]{2})[ .-]?|(?P<glued>[A-Za-z]{2}))\d{2}[ .-]?[A-Za-z0-9]{4}"
    r"(?:[ .-]?(?=[A-Za-z]{0,3}\d|[A-Z]{4})[A-Za-z0-9]{4}){1,7}"
    r"(?:[ .-]?(?=[A-Za-z]{0,2}\d)[A-Za-z0-9]{1,3}(?![A-Za-z0-9]))?"
)
_COUNTRIES_LIST = """
    AD AE AL AT AZ BA BE BG BH BR BY CH CR CY CZ DE DK DO EE EG ES FI FO FR GB GE GI GL GR GT HR
    HU IE IL IQ IS IT JO KW KZ LB LC LI LT LU LV MC MD ME MK MR MT MU NL NO PK PL PS PT QA RO RS
    SA SE SI SK SM TN TR UA VA XK
"""
_COUNTRIES = frozenset(_COUNTRIES_LIST.split())
_IBAN_DIGITS = 8
_NUMBER = re.compile(r"\d(?:(?:[\s._/()·-]{1,2}|\s-\s)?\d){6,}")
_DATE = re.compile(
    r"(?:(?:19|20)\d\d-[01]\d-[0-3]\d|[0-3]?\d([-/.])[01]?\d\1(?:19|20)\d\d)(?:\s[0-2]\d)?"
    r"|(?:19|20)\d\d\s?[-/]\s?(?:19|20)\d\d"
)
_BORN = re.compile(
    r"\b(?:geb\.?|geboren|geboortedatum|born|dob|date\sof\sbirth)[\s:]{1,3}(?:op\s|on\s)?"
    r"(?P<value>\d{1,2}[-/. ](?:\d{1,2}|[a-z]{3,9})[-/. ]\d{2,4})",
    re.IGNORECASE,
)
_NAMED = re.compile(
    r"\b(?:[Dd]e\s)?(?:[Mm]evrouw|[Mm]eneer|[Mm]evr|[Dd]hr|[Mm][wr]s?|M[wr]s?|Drs?|dr)\.?\s"
    r"(?P<value>(?:[A-Z]\.\s?){0,4}(?:(?:[Vv]an|[Dd]e[rn]?|[Tt]e[rn]?|[Hh]et|'t|[Ee]l|[Ll][ae])\s){0,3}"
    r"[A-ZÀ-Ý][\w'’-]{1,40}(?:\s[A-ZÀ-Ý][\w'’-]{1,40}){0,2})"
)
"""A person behind a form of address: ``mevr. I. Vrolijk-Postma``."""
_KEY = re.compile(r"[A-Za-z0-9+_=~-]{12,}")
_KEY_ENTROPY = 3.0
_BLANKLESS = re.compile(r"\S{1,400}")
_QUOTED = re.compile(r"""["'][^"'\n]{3,80}["']""")
_DIGITS = re.compile(r"(?<![\w.,])\d(?:[ -]?\d){2,7}[#*]?(?!\w)")
_READ_ANYWAY = 20_000
"""An excerpt is made of this many characters and twenty times its length, not of a megabyte."""
_CUT = 500
_TOLD_BY_NAME = 60
"""How far after a tell-tale word a value without a connector is still hidden."""
_SENTENCE_END = re.compile(
    # A dot behind three letters or less may be an abbreviation (``dhr. Jansen``), and a small letter
    # goes on with the sentence: where in doubt, more is hidden.
    r"(?:(?<![\s.][^\W\d_])(?<![\s.][^\W\d_]{2})(?<![\s.][^\W\d_]{3})\.|[!?…])[.!?…]{0,9}"
    r"""["'’”»)\]]{0,3}(?:\s{1,9}(?=["'‘“«@#]|[^\W\d_a-zà-öø-ÿ])|[^\S\n]{0,9}\n)"""
    r"|\n[^\S\n]{0,9}\n"
)
"""Where a sentence ends. A line break by itself does not: what was copied from a page has many."""
_AROUND = " \t\r\n.,:;!?()[]\"'"
_SHORTEST, _LONGEST = 4, 200
"""Characters of a value that is hidden in neighbouring texts, too."""
_SAME_PASSAGE = 200
"""Characters between two registered sentences that are taken for a part of what was quoted."""
_HANDLE = re.compile(r"(?<![\w@/.])@([A-Za-z0-9_](?:[\w.-]{0,62}\w)?(?:@[\w-]+(?:\.[\w-]+)+)?)")

_PASSWORD_WORDS = tuple(
    phrase.word for phrase in all_phrases() if phrase.value in {"password", "strict"}
)
_CODE_WORDS = tuple(phrase.word for phrase in all_phrases() if phrase.value == "code")
_KEY_WORDS = words("key", "api-?key", "secret", "token", "sleutel").pattern
_LED = re.compile(r"(?:[:=→>]|\b(?:is|are|was|blijft|wordt|from)\s{0,3})\s{0,3}$", re.IGNORECASE)
_LED_LATER = re.compile(r"(?:[:=]|\b(?:is|are))\s{1,3}(?=\S)")
_NO_VALUE_LIST = """
    a all already also always an and another any at back been blijf but by correct de dead die dood
    down een een en er expired for fout free gone goed hard heb het hetzelfde hier how if in incorrect is it
    ja jouw just kapot kwijt maar me met mijn my na never nice nee niet no not nog nooit nu of on
    only onze op our over real reset right safe same secure so still strong te terug that the
    their there they this to too uit unsafe vast veilig verkeerd verlopen vergeten very was wat
    weak weer weg werkt what where why with wrong yes yet your zo zwak
"""
_NO_VALUE = frozenset(_NO_VALUE_LIST.split())
"""Words that follow ``the password is`` and are no password."""


@dataclass(frozen=True, slots=True)
class _Span:
    start: int
    end: int
    hidden: _Hidden


@dataclass(frozen=True, slots=True)
class Known:
    """Values hidden in some texts, which others that are shown beside them must not repeat either."""

    pattern: re.Pattern[str] | None
    hidden: Mapping[str, _Hidden]

    def spans(self, text: str) -> Iterator[_Span]:
        """Where they stand, as whole words, in upper or lower case."""
        for match in self.pattern.finditer(text) if self.pattern else ():
            yield _Span(
                match.start(), match.end(), self.hidden.get(match[0].casefold(), _Hidden.CREDENTIAL)
            )


def together(texts: Iterable[tuple[str, Sequence[Finding], LeakCategory]]) -> Known:
    """What is hidden in texts that are shown side by side.

    A password that one post names as such is a word like any other in its neighbour. Of what is
    registered only the passage itself is hidden, wherever it is found.

    Args:
        texts: each with what the detectors found in it, and what it is thought to give away.
    """
    hidden: dict[str, _Hidden] = {}
    for text, findings, likely in texts:
        for span in (*_given(text, findings), *_eager(text, likely)):
            value = text[span.start : span.end].strip(_AROUND)
            folded = value.casefold()
            # Folding may change the length of a text: then it would not be found by it again.
            if _SHORTEST <= len(value) <= _LONGEST and value.lower() == folded:
                hidden.setdefault(folded, span.hidden)
    if not hidden:
        return Known(None, {})
    longest_first = sorted(hidden, key=len, reverse=True)
    alternatives = "|".join(re.escape(value) for value in longest_first)
    return Known(re.compile(rf"(?<!\w)(?:{alternatives})(?!\w)", re.IGNORECASE), hidden)


def mask(
    text: str,
    findings: Sequence[Finding],
    *,
    keep_handles: Collection[str] = (),
    language: str = "en",
    known: Known | None = None,
    likely: LeakCategory = LeakCategory.NONE,
) -> str:
    """Return ``text`` without what must not be repeated.

    Hidden are the spans of ``findings`` (markings excepted; of what is registered the sentences that
    it stands in, and what little stands between two such sentences) and, found anew by an eager look at the
    text, everything shaped like a secret or an identifier: accounts, cards, national numbers, any
    number of seven digits or more that is no date, addresses, e-mail, phones, dates of birth, keys,
    and whatever stands where a password or code would stand. Handles become ``@…``.

    Args:
        text: a post's text, as given to the detectors.
        findings: what the detectors found in it.
        keep_handles: handles that may be shown (official accounts), with or without ``@``.
        language: ``nl`` or ``en``, of the labels such as ``[telefoon]``.
        known: what is hidden in the texts beside it; see :func:`together`.
        likely: what the post is thought to give away. Of credentials whatever could open something is
            hidden, whether or not a word tells of it: any number of three digits, a word with digits in it.
    """
    labels = _LABELS.get(language, _LABELS["en"])
    kept = frozenset(handle.lstrip("@").casefold() for handle in keep_handles)
    parts: list[str] = []
    done = 0
    found = [*_given(text, findings), *_registered(text, findings), *_eager(text, likely)]
    for span in _merged([*found, *(known.spans(text) if known else ())]):
        parts.append(_without_handles(text[done : span.start], kept))
        parts.append(_label(text, span, labels))
        done = span.end
    parts.append(_without_handles(text[done:], kept))
    return "".join(parts)


def excerpt(
    text: str,
    findings: Sequence[Finding],
    limit: int = 280,
    *,
    keep_handles: Collection[str] = (),
    language: str = "en",
    known: Known | None = None,
    likely: LeakCategory = LeakCategory.NONE,
) -> str:
    """Return ``text`` masked, on one line, and at most ``limit`` characters long.

    It is shortened after masking, at the end of a word and never within a label, with ``…``.

    Raises:
        ValueError: the limit leaves no room for anything.
    """
    if limit < 1:
        raise ValueError(f"an excerpt of {limit} characters cannot be made; 1 or more, please")
    read = text[: limit * 20 + _READ_ANYWAY]
    hidden = mask(
        read, findings, keep_handles=keep_handles, language=language, known=known, likely=likely
    )
    if len(read) < len(text):  # a value cut in two at the end must not show its first half
        hidden = hidden[:-_CUT]
    line = " ".join(hidden.split())
    if len(line) <= limit:
        return line if len(read) == len(text) else f"{line[: limit - 1]}…"
    cut = line[: limit - 1]
    if not line[limit - 1].isspace() and " " in cut:
        cut = cut[: cut.rindex(" ")]
    if cut.rfind("[") > cut.rfind("]"):
        cut = cut[: cut.rfind("[")]
    return f"{cut.rstrip()}…"


def _given(text: str, findings: Iterable[Finding]) -> Iterator[_Span]:
    for finding in findings:
        sort = kind(finding)
        if sort in {Kind.MARKING, Kind.REGISTER}:
            continue
        if sort is Kind.WATCH_WORD:
            hidden = _Hidden.CODE_NAME
        elif finding.category is LeakCategory.CREDENTIALS:
            hidden = _Hidden.CREDENTIAL
        else:
            hidden = _BY_DETECTOR.get(finding.detector, _Hidden.NUMBER)
        yield _Span(max(0, finding.start), min(len(text), finding.end), hidden)


def _registered(text: str, findings: Iterable[Finding]) -> Iterator[_Span]:
    """Yield the sentences in which something registered stands; near ones are one passage."""
    found = sorted(
        (finding.start, finding.end)
        for finding in findings
        if kind(finding) is Kind.REGISTER and 0 <= finding.start < finding.end
    )
    if not found:
        return
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    passages: list[tuple[int, int]] = []
    for first, last in found:
        before, after = bisect_right(ends, first), bisect_left(ends, last)
        start = ends[before - 1] if before else 0
        end = ends[after] if after < len(ends) else len(text)
        if passages and start - passages[-1][1] <= _SAME_PASSAGE:
            passages[-1] = passages[-1][0], max(passages[-1][1], end)
        else:
            passages.append((start, end))
    for start, end in passages:
        said = text[start:end]
        lead = len(said) - len(said.lstrip())
        yield _Span(start + lead, start + len(said.rstrip()), _Hidden.REGISTERED)


def _eager(text: str, likely: LeakCategory) -> Iterator[_Span]:
    """Yield everything that could be a value to hide, with offsets into ``text``."""
    for reading in unfold(text):
        plain = reading.text
        for span in (
            *_by_detectors(plain),
            *_numbers(plain),
            *_keys(plain),
            *_passwords(plain),
            *_codes(plain),
            *_logins(plain, likely),
        ):
            start, end = reading.span(span.start, span.end)
            yield _Span(start, end, span.hidden)


def _by_detectors(text: str) -> Iterator[_Span]:
    for finding in _EAGER_SECRETS.find(text):
        yield _Span(finding.start, finding.end, _Hidden.CREDENTIAL)
    for detector in _SHAPES:
        for finding in detector.find(text):
            yield _Span(finding.start, finding.end, _BY_DETECTOR.get(detector.name, _Hidden.NUMBER))
    for match in _LOOKS_LIKE_IBAN.finditer(text):
        country = (match["country"] or match["glued"]).upper()
        if country in _COUNTRIES and sum(c.isdigit() for c in match[0]) >= _IBAN_DIGITS:
            yield _Span(match.start(), match.end(), _Hidden.IBAN)


def _numbers(text: str) -> Iterator[_Span]:
    for match in _NUMBER.finditer(text):
        if not _DATE.fullmatch(match[0]):
            yield _Span(match.start(), match.end(), _Hidden.NUMBER)
    for match in _BORN.finditer(text):
        yield _Span(match.start("value"), match.end("value"), _Hidden.BIRTH)
    for match in _NAMED.finditer(text):
        yield _Span(match.start("value"), match.end("value"), _Hidden.NAME)


def _keys(text: str) -> Iterator[_Span]:
    """Yield runs that look drawn by lot."""
    for match in _KEY.finditer(text):
        if secrets.is_drawn(match[0]) and entropy(match[0]) >= _KEY_ENTROPY:
            yield _Span(match.start(), match.end(), _Hidden.CREDENTIAL)


def _passwords(text: str) -> Iterator[_Span]:
    """Yield what stands where a password would stand, and every password-like token beside it."""
    told = False
    for pattern in (*_PASSWORD_WORDS, _KEY_WORDS):
        for word in pattern.finditer(text):
            told = True
            yield from _after(text, word.end())
    if told:
        for token in _BLANKLESS.finditer(text):
            if looks_like_password(token[0].strip(".,:;()[]\"'")) or _signed(token[0]):
                yield _Span(token.start(), token.end(), _Hidden.CREDENTIAL)


def _logins(text: str, likely: LeakCategory) -> Iterator[_Span]:
    """Yield what stands where a name and a password would; of a post that gives such away, much more."""
    places = [*behind_login(text)]
    for word in (*odd_words(text), *(w for p in _PASSWORD_WORDS for w in p.finditer(text))):
        places += behind_password(text, word)
    found = [place for place in places if _may_be_value(text[slice(*place)])]
    for word in odd_words(text):
        yield from _after(text, word.end())
    if likely is LeakCategory.CREDENTIALS:
        found += keylike(text)
    for start, end in found:
        yield _Span(start, end, _Hidden.CREDENTIAL)


def _after(text: str, at: int) -> Iterator[_Span]:
    """Yield the value after a tell-tale word, when a connector leads to it or it is quoted."""
    connector = CONNECTOR.match(text, at)
    start = connector.end() if connector else at
    led = _LED.search(connector[0]) is not None if connector else False
    quoted = _QUOTED.match(text, start)
    if quoted:
        yield _Span(quoted.start(), quoted.end(), _Hidden.CREDENTIAL)
    token = _BLANKLESS.match(text, start)
    if token and ((led and _may_be_value(token[0])) or any(c.isdigit() for c in token[0])):
        yield _Span(token.start(), token.end(), _Hidden.CREDENTIAL)
    window = text[start : start + _TOLD_BY_NAME]
    led_later = _LED_LATER.search(window)
    if led_later:
        later = _BLANKLESS.match(text, start + led_later.end())
        if later and _may_be_value(later[0]):
            yield _Span(later.start(), later.end(), _Hidden.CREDENTIAL)


def _may_be_value(token: str) -> bool:
    return token.strip(".,:;!?()[]\"'").lower() not in _NO_VALUE


def _signed(token: str) -> bool:
    """Tell whether ``token`` has a sign within, as passwords have and words have not."""
    return re.search(r"[A-Za-z0-9][!#$%^&*+=?_~][A-Za-z0-9]", token) is not None


def _codes(text: str) -> Iterator[_Span]:
    """Yield every short number of a text that speaks of doors, safes, alarms or pins."""
    if any(pattern.search(text) for pattern in _CODE_WORDS):
        for match in _DIGITS.finditer(text):
            yield _Span(match.start(), match.end(), _Hidden.CREDENTIAL)


def _merged(spans: Iterable[_Span]) -> list[_Span]:
    """Return spans in order, overlapping ones joined under the gravest label."""
    merged: list[_Span] = []
    for span in sorted(spans, key=lambda s: (s.start, s.end)):
        if span.end <= span.start:
            continue
        if merged and span.start < merged[-1].end:
            last = merged[-1]
            gravest = min(last.hidden, span.hidden, key=lambda hidden: _GRAVITY[hidden])
            merged[-1] = _Span(last.start, max(last.end, span.end), gravest)
        else:
            merged.append(span)
    return merged


def _label(text: str, span: _Span, labels: Mapping[_Hidden, str]) -> str:
    label = labels[span.hidden]
    if span.hidden is _Hidden.IBAN:
        digits = [c for c in text[span.start : span.end] if c.isalnum()]
        return f"[{label} …{''.join(digits[-2:])}]"
    return f"[{label}]"


def _without_handles(text: str, kept: frozenset[str]) -> str:
    def hide(match: re.Match[str]) -> str:
        return match[0] if match[1].casefold() in kept else "@…"

    return _HANDLE.sub(hide, text)


_EAGER_SECRETS = secrets.SecretDetector(eager=True)
_SHAPES: Final[Sequence[Detector]] = (
    *identifiers.detectors(),
    *infrastructure.detectors(),
)
