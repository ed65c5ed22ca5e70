"""What looks like a secret and is none: pure predicates that discard false findings.

Kept apart from the rules on purpose: a rule says what a secret looks like, this says what people
write when they do not want to show one.
"""

from __future__ import annotations

import hashlib
import re
from itertools import pairwise

_TEMPLATE = re.compile(
    r"""^(?:
        <.*>? | .*<[a-zA-Z][^>]*> | \[.*\]? | \{.*\}? | %\{?\w+\}?%? | \$.* | .*\$\{.* | .*\{\{.*
      | @\w+@ | __\w+__ | `.*
    )$""",
    re.VERBOSE,
)
_SPEAKING = re.compile(
    r"""example|placeholder|change[-_]?(?:me|it|this)|your[-_]|your(?:password|token|key)|jouw[-_]?\w
      | dummy|sample|voorbeeld|insert|redacted|verwijderd|replace[-_]?(?:me|this)|xxxx|\*\*\*|\.\.|…|•••
      | my[-_]?(?:secret|password|token|key)$|wachtwoordhier|hierje|todo|process\.env|os\.environ|getenv
      | abcdefghij|^\D{0,12}0?123456789?0?$|qwertyui|snapshot""",
    re.IGNORECASE | re.VERBOSE,
)
_REFERENCE = re.compile(
    r"""^(?:(?:secrets?|vars?|env|config|settings|self|this|process|os|data|local|module|params?|options?
        |request|context|ctx|input|props)(?:\.|\[|->)[A-Za-z_]
      | (?:arn:aws|op://|vault:|file:|https?:|ref\+|gs://|s3://|azurekeyvault|/?projects/[\w-]+/secrets/)
      | (?:\.{0,2}/)?(?:[\w.-]+/)*[\w.-]+\.(?:json|ya?ml|toml|ini|conf|cfg|env|pem|crt|cer|key|p12|pfx|jks|txt
        |py|js|ts|go|rb|php|java|cs|sh|xml|csv|log|md|html?|lock|tar|gz|zip)$
      | (?:/(?:bin|etc|home|opt|tmp|usr|var|run|mnt|srv|app|Users)/)
      | \d{4}-\d\d-\d\d(?:[T_ ]|$) | v?\d+(?:\.\d+){2,}(?:[-+.]|$)
    )""",
    re.IGNORECASE | re.VERBOSE,
)
"""Where a secret is kept, rather than what it is: a setting, a store, a file; and dates, versions."""
_MEANINGLESS_LIST = """
    admin administrator changeme default foo bar foobar geheim guest hidden login none null pass
    passwd password passwort paswoord pwd root secret test testing token true false undefined
    user username wachtwoord welcome welkom xxx yyy zzz naam wachtwoorden passwords
"""
_MEANINGLESS = frozenset(_MEANINGLESS_LIST.split())
_COMMON_LIST = """
    welkom01 welkom123 welkom1 welkom2024 welkom2025 welkom2026 welcome01 welcome1 welcome123
    password1 password123 passw0rd p@ssw0rd p@ssword wachtwoord1 wachtwoord123 qwerty123 qwerty
    letmein admin123 abc123 test123 geheim123 123456 1234567 12345678 123456789 zomer2024
    hunter2 correcthorsebatterystaple
"""
COMMON_PASSWORDS = frozenset(_COMMON_LIST.split())
"""What advice and jokes about passwords use as the bad example: never sure evidence."""

_DOCUMENTED = frozenset(
    {
        # Keys that vendors print in their public documentation, as SHA-256, so that no scanner
        # that reads this repository stops at them.
        "0b476bdf9acf2123d547b5ae76f1e59884d8ec9553ee0c47e9f31fd4768f3f3c",
        "1a5d44a2dca19669d72edf4c4f1c27c4c1ca4b4408fbb17f6ce4ad452d78ddb3",
        "2037abcaffb2b77785da716cf7ccff4ff4d00c4ea930db0167b7d71f50af7eb4",
        "27a9a42931dff7eb2f8434e20a9bce976ea364e7bee49187f19d5cfeca9c7045",
        "2f21fd9c81678e396751af8b2472e2bd209ff5ce38da144052fb6c024485982f",
        "37f8f09bdf12c2f2eae4ead7273a62ddb0c23459cbf902892f282b57f7ed6619",
        "3a8b61d0f636b007840c0d40ba12bcf48465dc054cdc1a68704a33521d84b665",
        "3f370c9dd8225c63b5c77de1f785edc9712958f18bb612d5fa2e0ae33aeca682",
        "49f777db995e8260da7ca9ffdf0c08d66f0453e97ec967018baf2cdfe3b582d0",
        "4c98242dcadc8b29005c6b4aad526552d5ea1842149154c0694adeec75847583",
        "78314b11be2e581549ac1c4f616563fad3fdf0c3b71678f6e2299182080e0598",
        "7f39f457679583387ececc66df37c07add0f10c3aaf66bc3667ee034ee2a0456",
        "8731261cb72d86267a32a532ebd3df429e2144e5e4ced7e13568bc9e6c8fb1b1",
        "a19f89ab3555eac10c40741f6df79ecf0935998f15569f8db9d67bce0181fff6",
        "a6c814bc555ae62c7bd8b58ec07bf559c7ed3a009976a1e0acc9cef0d4473b41",
        "dc0fcf046c61640cbd1e8b999ada3262d722c2ca4bf42dceac999020ffdbb614",
        "e4a5542bb7fd7b67e943c71ad29c34b5972c9840597e7eda53e666f44d5da0b9",
        "ea9bb1082cf95663f5faca23b8b15ef2aa0fce0a5c6df9c32dcb85b2e0a4513d",
        "eb540d2b6ee2a0a47c5779bc8a0141784c6b753840d4c6f4e2428a6e86e9e0b1",
        "a0702bc91d699f600970f4dc4992b13ede1a29d49fa0942dd4bed2b5e4b1016e",
        "dba72c00f41f4e4c435e2491a5e1ce0140c7b5a6a498dc4847396b5e6368970c",
        "f56e323494a6ffc2064e7a955908957d84f0755e5f975dabd64328d0359a8f7c",
    }
)

_EXTENSION = re.compile(
    r"\.(?:png|jpe?g|gif|svg|webp|ico|bmp|css|s?css|m?js|map|woff2?|ttf|html?|php|pdf|mp[34]|zip)(?![A-Za-z0-9])",
    re.IGNORECASE,
)
_OVER_AND_OVER = re.compile(r"(.{1,8}?)\1{2,}.{0,7}|(.{9,40}?)\2{1,20}")
_LEAST_PATTERN = 8
_RUNS = 0.6
"""Share of neighbours that are equal; drawn by lot it is a sixteenth. Counting (``12345678-ABCD``) is
left alone: scanners take it for a key, and keys have begun like that."""
_PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_UNSPEAKABLE = re.compile(
    r"[bcdfghjklmnpqrstvwxz]{5}|[aeiou]{4}|[jqvx][bcdfghjklmnpqstvwxz]|(.)\1\1"
    r"|^(?!bl|br|ch|cl|cr|dr|fl|fr|gl|gn|gr|kl|kn|kr|ph|pl|pr|ps|rh|s[chklmnpqtw]|th|tr|ts|tw|vl|vr|wh|wr|zw)"
    r"[bcdfghjklmnpqrstvwxz]{2}"
)
"""Heaps of consonants or vowels, and beginnings that no Dutch or English word has."""
_LEAST_WORD = 4
_SMALL_NUMBER = 4
_MOSTLY_WORDS = 0.8
_LEAST_VOWELS, _MOST_VOWELS = 0.2, 0.7


def is_template(value: str) -> bool:
    """Tell whether ``value`` is a variable or a slot to fill in: ``<TOKEN>``, ``${KEY}``."""
    return _TEMPLATE.match(value) is not None


def is_monotonous(value: str) -> bool:
    """Tell whether ``value`` is padding: ``xxxx-xxxx``, ``****``, ``000000``."""
    letters = [c for c in value.lower() if c.isalnum()]
    if len(letters) <= 2:  # noqa: PLR2004  nothing but a mask such as ****
        return True
    most = max(letters.count(c) for c in set(letters))
    return most / len(letters) > 0.5  # noqa: PLR2004  more than half one character


def is_patterned(value: str) -> bool:
    """Tell whether ``value`` was typed by rule: runs of one sign, or the same over and over."""
    signs = [c for c in value.lower() if c.isalnum()]
    if len(signs) < _LEAST_PATTERN:
        return False
    if _OVER_AND_OVER.fullmatch("".join(signs)):
        return True
    same = sum(a == b for a, b in pairwise(signs))
    return same / (len(signs) - 1) > _RUNS


def is_worded(value: str) -> bool:
    """Tell whether ``value`` is made of words and small numbers: ``user-profile-v2``, ``page2Title``.

    Nearly all its letters stand in pieces of four or more that can be spoken; what is drawn by lot
    falls apart into shorter ones.
    """
    letters = sum(c.isalpha() for c in value)
    if not letters or any(len(run) > _SMALL_NUMBER for run in re.findall(r"\d+", value)):
        return False
    spoken = sum(len(piece) for piece in _PIECE.findall(value) if _is_spoken(piece))
    return spoken / letters >= _MOSTLY_WORDS


def _is_spoken(piece: str) -> bool:
    lowered = piece.lower()
    vowels = sum(c in "aeiouy" for c in lowered)
    return (
        len(piece) >= _LEAST_WORD
        and _LEAST_VOWELS <= vowels / len(piece) <= _MOST_VOWELS
        and _UNSPEAKABLE.search(lowered) is None
    )


def is_reference(value: str) -> bool:
    """Tell whether ``value`` says where a secret is kept, or is a path, date or version."""
    return _REFERENCE.match(value) is not None


def names_file(text: str, end: int) -> bool:
    """Tell whether what ends at ``end`` is the name of a picture, page or script."""
    return _EXTENSION.match(text, end) is not None


def is_placeholder(value: str) -> bool:
    """Tell whether ``value`` stands in a place where a secret would stand, but is none."""
    return (
        is_template(value)
        or is_monotonous(value)
        or is_patterned(value)
        or value.lower() in _MEANINGLESS
        or _SPEAKING.search(value) is not None
    )


def is_documented(value: str) -> bool:
    """Tell whether ``value`` is a key that its vendor prints in public documentation."""
    return hashlib.sha256(value.encode()).hexdigest() in _DOCUMENTED
