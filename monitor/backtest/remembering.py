"""Classifiers with a memory: a backtest looks ahead, takes back and compares, and each text costs once."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

from classifiers.base import Assessment, Classifier, Model, Prediction, Text
from classifiers.embedded import ModelError
from monitor.backtest.spool import Spool
from monitor.log import logger

KEPT = 8192
"""Opinions kept in memory: more than are looked ahead for and taken back."""

_Value = TypeVar("_Value")


class _Memory(Generic[_Value]):
    """Opinions by key: the latest in memory, all of them in a spool where there is one."""

    def __init__(self, kind: Any, space: str, spool: Spool | None) -> None:
        self._adapter: TypeAdapter[_Value] = TypeAdapter(kind)
        self._space = space
        self._spool = spool
        self._known: OrderedDict[bytes, _Value] = OrderedDict()

    def recall(self, keys: Sequence[bytes]) -> dict[bytes, _Value]:
        found = {key: self._known[key] for key in keys if key in self._known}
        missing = [key for key in dict.fromkeys(keys) if key not in found]
        if missing and self._spool is not None:
            for key, body in self._spool.recall(self._space, missing).items():
                found[key] = self._adapter.validate_json(body)
                self._put(key, found[key])
        return found

    def keep(self, opinions: dict[bytes, _Value]) -> None:
        for key, opinion in opinions.items():
            self._put(key, opinion)
        if self._spool is not None:
            self._spool.remember(
                self._space,
                [(key, self._adapter.dump_json(opinion)) for key, opinion in opinions.items()],
            )

    def _put(self, key: bytes, opinion: _Value) -> None:
        self._known[key] = opinion
        if len(self._known) > KEPT:
            self._known.popitem(last=False)


class RememberingModel:
    """A model that computes each text once; all else is the model's own."""

    def __init__(self, model: Model, spool: Spool) -> None:
        self._model = model
        self._memory: _Memory[Prediction] = _Memory(Prediction, f"model {model.version}", spool)

    @property
    def version(self) -> str:
        """Names model and rules."""
        return self._model.version

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Predict for each text, in order."""
        keys = [_digest(text) for text in texts]
        known = self._memory.recall(keys)
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if new:
            fresh = dict(zip(new, self._model.predict(list(new.values())), strict=True))
            self._memory.keep(fresh)
            known |= fresh
        return [known[key] for key in keys]


class RememberingClassifier:
    """A classifier that assesses each text once, and may be asked ahead of time.

    Args:
        classifier: whose assessments they are.
        spool: remembers them all; without one only the latest are remembered.
    """

    def __init__(self, classifier: Classifier, spool: Spool | None = None) -> None:
        self._classifier = classifier
        self._memory: _Memory[Assessment] = _Memory(Assessment, "assessment", spool)
        self._log = logger("backtest")
        self.computed = 0
        """Texts that the classifier was asked about."""

    @property
    def version(self) -> str:
        """Names model and rules."""
        return self._classifier.version

    def classify(self, texts: Sequence[Text]) -> list[Assessment]:
        """Assess each text, in order."""
        keys = [_digest(f"{text.language or ''}\0{text.text}") for text in texts]
        known = self._memory.recall(keys)
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if new:
            fresh = dict(zip(new, self._classifier.classify(list(new.values())), strict=True))
            self.computed += len(fresh)
            self._memory.keep(fresh)
            known |= fresh
        return [known[key] for key in keys]

    def look_ahead(self, texts: Sequence[Text]) -> None:
        """Assess texts that will be asked for soon.

        Raises:
            ModelError: the models cannot be used.
        """
        try:
            self.classify(texts)
        except ModelError:
            raise
        except Exception:  # noqa: BLE001 - the step that asks next sets aside the text that does it
            self._log.exception("look_ahead_failed", texts=len(texts))


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
