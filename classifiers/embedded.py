"""The model that comes with Merkwacht: sentiment, leak and abuse in one forward pass, offline.

Only ``tokenizers`` and ``onnxruntime`` are needed here; the folder is written by
``python -m classifiers.training`` and described by its ``config.json``.

Every text is run on its own: the graph's int8 layers scale their activations per call, so in a
batch a neighbour would change a text's scores. Several threads each run one text at a time, which
costs no throughput (no padding either) and makes a result depend on nothing but its text.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from classifiers.base import (
    AbuseLabel,
    LeakCategory,
    LeakThresholds,
    Prediction,
    SentimentLabel,
)
from classifiers.text import prepare

FOLDER_VARIABLE = "MERKWACHT_MODEL"
"""Environment variable naming another model folder than the one that comes along."""

_HEAD_WINDOWS = 12
_TAIL_WINDOWS = 4
_OVERLAP = 16
_KEPT_CHARACTERS = 8000
"""Of a very long text, this much of its start and of its end is read at all."""

REMEMBERED = 4096
"""Opinions kept for when the same text comes again: shares, quotations, slogans."""

_Label = TypeVar("_Label", bound=StrEnum)
_Value = TypeVar("_Value")
_Ids = tuple[int, ...]
_Floats = npt.NDArray[np.float64]


DEFAULT_POINT = "balanced"
"""The operating point unless the configuration names another."""


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Leak thresholds, and what they did on posts that the model never learned from."""

    thresholds: LeakThresholds
    escalated_per_thousand: float
    """Ordinary posts that would have woken the team, of 1,000."""
    reviewed_per_thousand: float
    """Ordinary posts that would have been put up for review, of 1,000."""
    recall: float
    """Share of leaks that wake the team, 0..1."""
    recall_with_review: float
    """Share of leaks that wake the team or come up for review, 0..1."""


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """How often opinions were known already."""

    hits: int
    misses: int
    size: int
    capacity: int


class _Cache(Generic[_Value]):
    """The latest values by key; the one that was not asked for longest goes first. Thread-safe.

    Keys are digests: no text is kept beyond the batch that it came in.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._values: OrderedDict[bytes, _Value] = OrderedDict()
        self._hits = self._misses = 0
        self._lock = threading.Lock()

    def get(self, key: bytes) -> _Value | None:
        with self._lock:
            value = self._values.get(key)
            if value is None:
                self._misses += 1
            else:
                self._hits += 1
                self._values.move_to_end(key)
            return value

    def put(self, key: bytes, value: _Value) -> None:
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self._capacity:
                self._values.popitem(last=False)

    def info(self) -> CacheInfo:
        with self._lock:
            return CacheInfo(self._hits, self._misses, len(self._values), self._capacity)


class ModelError(Exception):
    """A model that cannot be used: missing, damaged or of another kind than needed.

    The message says where and what to do.
    """


@dataclass(frozen=True, slots=True)
class _Window:
    """The calibrated opinion about one stretch of a text."""

    tokens: int
    sentiment: _Floats
    leak: float
    category: _Floats
    abuse: _Floats


class EmbeddedModel:
    """The embedded model; implements :class:`classifiers.base.Model`.

    Args:
        folder: where ``model.onnx``, ``tokenizer.json`` and ``config.json`` are; None takes
            ``$MERKWACHT_MODEL`` when set, else the folder that comes with the package.
        threads: how many texts are worked on at a time.
        max_tokens: length of one look at a text, in pieces of the vocabulary; longer texts are
            read through up to sixteen overlapping windows, twelve from the start and four at the
            end, so short (48 of 128) that a leak in one sentence is not drowned by the next.
        remembered: how many opinions about texts, and as many about windows of long texts, are kept
            for when the same comes again; 0 keeps none. By digest: the texts themselves are not kept.

    The weights are loaded at the first prediction. Safe to use from several threads.

    Raises:
        ModelError: the folder is missing or holds no such model.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        threads: int = 2,
        max_tokens: int = 128,
        remembered: int = REMEMBERED,
    ) -> None:
        if threads < 1 or not 4 * _OVERLAP < max_tokens <= 512:  # noqa: PLR2004 - positions
            raise ValueError(f"threads >= 1 and {4 * _OVERLAP} < max_tokens <= 512, please")
        self.folder = folder or _default_folder()
        self._config = _read_config(self.folder)
        self._threads = threads
        self._max_tokens = max_tokens
        self._engine: _Engine | None = None
        self._loading = threading.Lock()
        self._known: _Cache[Prediction] = _Cache(remembered)
        self._known_windows: _Cache[_Window] = _Cache(remembered)

    @property
    def version(self) -> str:
        """Names the weights: changes with every training run that is released."""
        return self._config.version

    @property
    def operating_points(self) -> Mapping[str, OperatingPoint]:
        """Pairs of leak thresholds to choose from, by name, with what they cost."""
        return self._config.operating_points

    @property
    def leak_thresholds(self) -> LeakThresholds:
        """Those of the operating point :data:`DEFAULT_POINT`."""
        return self._config.operating_points[DEFAULT_POINT].thresholds

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Predict for each text, in order. Equal texts are computed once, also across calls.

        Raises:
            ModelError: at the first call, when weights or vocabulary cannot be loaded.
        """
        engine = self._load()
        prepared = [prepare(_ends(text)) for text in texts]
        keys = {text: _digest(text.encode()) for text in prepared}
        answers: dict[str, Prediction] = {}
        for text, key in keys.items():
            if (known := self._known.get(key)) is not None:
                answers[text] = known
        windows = {text: engine.windows(text) for text in keys if text not in answers}
        opinion_of = self._looks(engine, list(windows.values()))
        for text, parts in windows.items():
            answers[text] = _joined([opinion_of[ids] for ids in parts])
            self._known.put(keys[text], answers[text])
        return [answers[text] for text in prepared]

    def cache_info(self) -> tuple[CacheInfo, CacheInfo]:
        """How often whole texts, and windows of long texts, were known already."""
        return self._known.info(), self._known_windows.info()

    def _looks(self, engine: _Engine, texts: Sequence[Sequence[_Ids]]) -> Mapping[_Ids, _Window]:
        """The opinion about each window of some texts; what is new is computed.

        Windows are remembered where there are several: a whole text is remembered as such.
        """
        keys = {
            ids: _digest(np.array(ids).tobytes())
            for parts in texts
            if len(parts) > 1
            for ids in parts
        }
        found = {ids: known for ids, key in keys.items() if (known := self._known_windows.get(key))}
        # Long ones first: the threads then end at about the same time.
        fresh = sorted(
            {ids for parts in texts for ids in parts} - set(found), key=len, reverse=True
        )
        if self._threads == 1 or len(fresh) == 1:
            opinions = [engine.look(ids) for ids in fresh]
        else:
            with ThreadPoolExecutor(self._threads, "merkwacht-model") as pool:
                opinions = list(pool.map(engine.look, fresh))
        for ids, opinion in zip(fresh, opinions, strict=True):
            found[ids] = opinion
            if ids in keys:
                self._known_windows.put(keys[ids], opinion)
        return found

    def _load(self) -> _Engine:
        with self._loading:
            if self._engine is None:
                self._engine = _Engine(self.folder, self._config, self._max_tokens)
            return self._engine


@dataclass(frozen=True, slots=True)
class _Config:
    """The parts of ``config.json`` that matter at run time."""

    version: str
    operating_points: Mapping[str, OperatingPoint]
    temperatures: Mapping[str, float]
    biases: Mapping[str, list[float]]
    digests: Mapping[str, str]


class _Engine:
    """Tokenizer and session of one folder, loaded."""

    def __init__(self, folder: Path, config: _Config, max_tokens: int) -> None:
        for name, digest in config.digests.items():
            _check_digest(folder / name, digest)
        import onnxruntime  # noqa: PLC0415 - loading costs time and memory, only when used
        from tokenizers import Tokenizer  # noqa: PLC0415

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        # The arena keeps the peak of the longest text for ever; texts here need little.
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 3
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._session = onnxruntime.InferenceSession(
                str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise ModelError(_damaged(folder, str(error).splitlines()[0])) from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._temperatures = config.temperatures
        self._biases = config.biases
        self._size = max_tokens

    def windows(self, text: str) -> list[_Ids]:
        """The ids of each look at ``text``; none at all for an empty text."""
        if not text:
            return []
        ids = tuple(self._tokenizer.encode(text).ids)
        if len(ids) <= self._size:
            return [ids]
        first, *content, last = ids
        width = 3 * self._size // 8 - 2
        starts = [*range(0, len(content) - width, width - _OVERLAP), len(content) - width]
        if len(starts) > _HEAD_WINDOWS + _TAIL_WINDOWS:
            starts = starts[:_HEAD_WINDOWS] + starts[-_TAIL_WINDOWS:]
        return [(first, *content[start : start + width], last) for start in starts]

    def look(self, ids: _Ids) -> _Window:
        """Run the graph on one window."""
        array = np.array([ids], dtype=np.int64)
        names = ["sentiment", "leak", "category", "abuse"]
        outputs = self._session.run(
            names, {"input_ids": array, "attention_mask": np.ones_like(array)}
        )
        logits = {
            name: output[0].astype(np.float64) / self._temperatures[name] + self._biases[name]
            for name, output in zip(names, outputs, strict=True)
        }
        return _Window(
            tokens=len(ids),
            sentiment=_softmax(logits["sentiment"]),
            leak=float(1.0 / (1.0 + np.exp(-np.clip(logits["leak"][0], -60.0, 60.0)))),
            category=_softmax(logits["category"]),
            abuse=_softmax(logits["abuse"]),
        )


def _joined(parts: Sequence[_Window]) -> Prediction:
    """One opinion about a text from those about its windows: the gravest stretch counts."""
    if not parts:
        return _NOTHING_SAID
    weights = np.array([part.tokens for part in parts], dtype=np.float64)
    sentiment = np.average([part.sentiment for part in parts], axis=0, weights=weights)
    gravest = max(parts, key=lambda part: part.leak)
    rudest = max(parts, key=lambda part: (int(part.abuse.argmax()) == _THREAT, -part.abuse[0]))
    return Prediction(
        sentiment=_labelled(SentimentLabel, sentiment),
        leak=gravest.leak,
        category=dict(zip(_CATEGORIES, gravest.category.tolist(), strict=True)),
        abuse=_labelled(AbuseLabel, rudest.abuse),
    )


_CATEGORIES = tuple(label for label in LeakCategory if label is not LeakCategory.NONE)
_THREAT = tuple(AbuseLabel).index(AbuseLabel.THREAT)
_NOTHING_SAID = Prediction(
    sentiment={
        SentimentLabel.NEGATIVE: 0.0,
        SentimentLabel.NEUTRAL: 1.0,
        SentimentLabel.POSITIVE: 0.0,
    },
    leak=0.0,
    category=dict.fromkeys(_CATEGORIES, 1.0 / len(_CATEGORIES)),
    abuse={AbuseLabel.NONE: 1.0, AbuseLabel.ABUSIVE: 0.0, AbuseLabel.THREAT: 0.0},
)
"""About a text without any readable character."""


def _labelled(labels: type[_Label], values: _Floats) -> dict[_Label, float]:
    return dict(zip(labels, values.tolist(), strict=True))


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _softmax(logits: _Floats) -> _Floats:
    powers = np.exp(logits - logits.max())
    shares: _Floats = powers / powers.sum()
    return shares


def _ends(text: str) -> str:
    """Start and end of a text too long to be read whole."""
    if len(text) <= 2 * _KEPT_CHARACTERS:
        return text
    return f"{text[:_KEPT_CHARACTERS]} … {text[-_KEPT_CHARACTERS:]}"


def _default_folder() -> Path:
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named).expanduser() if named else Path(__file__).parent / "model"


def _damaged(folder: Path, what: str) -> str:
    return (
        f"model folder {folder}: {what}; install merkwacht again, or let ${FOLDER_VARIABLE} "
        "name a whole folder written by python -m classifiers.training"
    )


def _read_config(folder: Path) -> _Config:
    path = folder / "config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(_damaged(folder, "no config.json there")) from None
    except (OSError, ValueError) as error:
        raise ModelError(_damaged(folder, f"config.json cannot be read ({error})")) from error
    try:
        heads = config["heads"]
        for name, labels in _expected_labels().items():
            found = [heads[name]["id2label"][str(i)] for i in range(len(labels))]
            if found != labels:
                raise ModelError(_damaged(folder, f"head {name} has labels {found}, not {labels}"))
        return _Config(
            version=str(config["model_version"]),
            operating_points={
                name: OperatingPoint(
                    LeakThresholds(float(point["review"]), float(point["escalate"])),
                    float(point["escalated_per_thousand"]),
                    float(point["reviewed_per_thousand"]),
                    float(point["recall"]),
                    float(point["recall_with_review"]),
                )
                for name, point in heads["leak"]["operating_points"].items()
            },
            temperatures={name: float(head["temperature"]) for name, head in heads.items()},
            biases={name: list(map(float, head["bias"])) for name, head in heads.items()},
            digests=dict(config["sha256"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"config.json is not one of ours ({type(error).__name__}: {error})"
        raise ModelError(_damaged(folder, what)) from error


def _expected_labels() -> dict[str, list[str]]:
    return {
        "sentiment": [label.value for label in SentimentLabel],
        "leak": ["escalate"],
        "category": [label.value for label in _CATEGORIES],
        "abuse": [label.value for label in AbuseLabel],
    }


def _check_digest(path: Path, digest: str) -> None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(_damaged(path.parent, f"{path.name}: {error.strerror}")) from error
    if found != digest:
        raise ModelError(_damaged(path.parent, f"{path.name} is not the file config.json names"))
