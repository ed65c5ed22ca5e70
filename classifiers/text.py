"""The one normalisation before tokenising, shared by training and run time.

What a model learns from and what it is asked about must look alike: links and handles become
shapes, entities become characters, invisible characters go, and symbols that the vocabulary does
not hold get a name. Numbers, host names and tokens in links stay: leaks live in them. Tricks that hide
a word (a Cyrillic letter in a Latin word, marks heaped on letters, blanks that are no spaces) are
undone; full-width and mathematical letters are left to the tokeniser, which folds them itself.
Offsets are not kept; detectors that report spans work on the text as given.
"""

from __future__ import annotations

import html
import re
import unicodedata
from functools import lru_cache

from classifiers import lookalikes

_LINK = re.compile(r"\b(?:https?://|www\.)\S+", re.IGNORECASE)
_PICTURE = re.compile(r"\bpic\.(?:twitter|x)\.com/\w+", re.IGNORECASE)
_SHORTENERS = frozenset(
    ("t.co", "bit.ly", "buff.ly", "goo.gl", "ow.ly", "dlvr.it", "tinyurl.com", "lnkd.in", "fb.me")
)
_LINK_CHARACTERS = 80
"""What is kept of a link, without its scheme: host, path and the start of a secret in it."""
_HANDLE = re.compile(r"(?<![\w.@/+-])@[^\W\d][\w.-]{0,63}(?:@[\w.-]{1,120})?")
_RUN = re.compile(r"([^\W\d]|[^\w\s])\1{3,}")
_SPACE = re.compile(r"\s+")

_MARKED = re.compile("([A-Za-z])[\u0300-\u036f\u0488\u0489]{1,200}")
"""Marks above and through plain letters; what makes a letter of its own (é) is composed first."""
_BLANKS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and symbols without ink."""
_INVISIBLE = frozenset(("Cf", "Cs", "Co", "Cn"))
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_PICTOGRAMS = range(0x1F300, 0x1FB00)
_KNOWN = frozenset(
    "🌀🌄🌅🌆🌈🌊🌋🌍🌎🌏🌐🌙🌝🌞🌟🌱🌲🌳🌴🌶🌷🌸🌹🌺🌻🌼🌽🌾🌿🍀🍁🍂🍃🍄🍅🍆🍇🍉🍊🍋🍌🍍🍎🍏"
    "🍑🍒🍓🍔🍕🍚🍦🍨🍪🍫🍬🍯🍰🍲🍳🍴🍷🍹🍺🍻🍽🍾🍿🎀🎁🎂🎄🎅🎈🎉🎊🎋🎓🎖🎗🎙🎞🎢🎤🎥🎧🎨🎩🎬"
    "🎭🎮🎯🎵🎶🎸🎼🏀🏃🏄🏆🏋🏌🏖🏝🏠🏡🏢🏫🏳🏵🐍🐒🐘🐝🐞🐣🐤🐥🐦🐯🐰🐱🐲🐳🐴🐶🐷🐸🐻🐼🐾👀👁"
    "👃👄👅👆👇👈👉👊👋👌👍👎👏👐👑👒👔👕👖👗👙👚👜👟👠👣👤👥👦👧👨👩👪👫👬👭👮👯👰👱👳👶👸👻"
    "👼👿💀💁💃💄💅💆💇💉💊💋💌💍💎💏💐💑💓💔💕💖💗💘💙💚💛💜💝💞💟💠💡💢💣💥💦💧💪💫💬💭💮💯"
    "💰💲💳💵💶💸💻💼📃📅📋📌📍📎📕📖📚📜📝📞📢📣📥📦📧📩📬📮📰📱📲📷📸📹📺📽🔁🔅🔊🔍🔎🔔🔖🔗"
    "🔘🔜🔝🔞🔥🔫🔬🔮🔰🔱🔴🔵🔶🔷🔸🔹🔺🔻🕉🕊🕔🕯🕵🕺🖋🖐🖒🖤🖥🗓🗣🗼🗽😀😁😂😃😄😅😆😇😈😉😊"
    "😋😌😍😎😏😐😑😒😓😔😕😖😗😘😙😚😛😜😝😞😟😠😡😢😣😤😥😦😨😩😪😫😬😭😮😯😰😱😲😳😴😵😶😷"
    "😹😻🙀🙁🙂🙃🙄🙅🙆🙇🙈🙊🙋🙌🙏🚀🚇🚌🚗🚘🚙🚚🚛🚨🚩🚫🚲🚴🚵🚶🛌🛍🛑🛒🛫🤑🤓🤔🤖🤗🤘🤙🤝🤞"
    "🤟🤡🤣🤤🤦🤨🤩🤪🤭🤲🤵🤷🥀🥂🥇🥣🥰🦁🦄🦅🦊🦋🧚🧜🧡"
)
"""Pictograms that the model's vocabulary holds as pieces of their own."""

_MEANINGS = {
    "🤮": "walgelijk disgusting",
    "🤢": "misselijk nauseated",
    "🖕": "fuck you",
    "💩": "shit",
    "🤬": "vloekend swearing 😡",
    "🤐": "mond dicht zipped mouth",
    "🤫": "sst stil shush",
    "🤥": "leugenaar liar",
    "🥹": "ontroerd 😊",
    "🥲": "🙂 😢",
    "🥳": "feest party 🎉",
    "🤯": "wow mind blown",
    "🥵": "heet hot",
    "🥶": "koud cold",
    "🥺": "smekend pleading",
    "🥱": "saai yawn",
    "🥴": "duizelig dizzy",
    "🧐": "kritisch hmm",
    "🤑": "geld money",
    "🫠": "smelt 😅",
    "🫡": "saluut respect",
    "🫣": "oeps 🙈",
    "🫶": "❤",
    "🤍": "❤",
    "🤎": "❤",
    "🩷": "❤",
    "🩵": "❤",
    "🤌": "perfect",
    "🤧": "ziek sneezing",
    "🤒": "ziek sick",
    "😧": "😨",
    "😿": "😢",
    "🔪": "mes knife",
    "🔑": "sleutel key",
    "🔐": "slot lock",
    "📉": "daling chart down",
    "📈": "stijging chart up",
}
"""Frequent unknown symbols: what they say in posts. All others go by their Unicode name."""


def prepare(text: str) -> str:
    """Return ``text`` as the tokeniser gets it: one line, no control or invisible characters.

    Never raises for any string; lone surrogates and NUL become spaces. Idempotent enough for
    texts that a corpus has already masked with ``@user`` and ``http``.
    """
    text = html.unescape(text)
    text = _PICTURE.sub("http", text)
    text = _LINK.sub(_shape_of_link, text)
    text = _HANDLE.sub("@user", text)
    if not text.isascii() or not text.isprintable():
        text = _undisguised("".join(map(_readable, text)))
    text = _RUN.sub(r"\1\1\1", text)
    return _SPACE.sub(" ", text).strip()


def readable(text: str) -> str:
    """Return ``text`` without what no tokeniser can read: for models that others have trained.

    Entities become characters; control characters and lone surrogates become spaces. Never raises.
    """
    text = html.unescape(text)
    if not text.isprintable():
        text = "".join(" " if unicodedata.category(c) in {"Cc", "Cs"} else c for c in text)
    return _SPACE.sub(" ", text).strip()


def _undisguised(text: str) -> str:
    """Return ``text`` without tricks that ordinary posts practically never hold."""
    if _MARKED.search(text):
        text = _MARKED.sub(r"\1", unicodedata.normalize("NFC", text))
    return lookalikes.latin(text)


def _shape_of_link(match: re.Match[str]) -> str:
    _, _, rest = match.group().rpartition("://")
    host = re.split(r"[/?#:]", rest, maxsplit=1)[0].lower().removeprefix("www.")
    if not host or host in _SHORTENERS:
        return "http"
    return f"http {rest[:_LINK_CHARACTERS]}"


@lru_cache(maxsize=4096)
def _readable(character: str) -> str:
    """One character as the vocabulary can read it."""
    if character < "\x7f" and character.isprintable():
        return character
    category = unicodedata.category(character)
    code = ord(character)
    if code in _SKIN_TONES or "\ufe00" <= character <= "\ufe0f" or character == "\u200d":
        return ""
    if character in _BLANKS:
        return ""
    if code in _PICTOGRAMS and character not in _KNOWN:
        meaning = _MEANINGS.get(character) or unicodedata.name(character, "").lower()
        return f" {meaning} "
    if category == "Cc" or category in _INVISIBLE:
        return "" if category == "Cf" else " "
    return character
