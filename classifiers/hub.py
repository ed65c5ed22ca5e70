"""Any sequence-classification model of the Hugging Face hub, for one head.

Named in the configuration by hub id or folder. When it has an ONNX graph, that runs in ONNX
Runtime; else PyTorch is needed (extra ``torch``). ``transformers`` is imported only in here, and
only when such a model is used. Code that comes with a model is never run, and weights are read
from safetensors only: a pickle could run code, too.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from classifiers.base import AbuseLabel, Prediction, SentimentLabel
from classifiers.embedded import ModelError
from classifiers.text import readable

Head = Literal["sentiment", "abuse"]
_Label = TypeVar("_Label", bound=StrEnum)
Runner = Callable[[Mapping[str, npt.NDArray[np.int64]]], npt.NDArray[np.float64]]
"""From the tokenizer's arrays for one text to its logits, ``(labels,)``."""

_LABELS: Mapping[Head, type[SentimentLabel | AbuseLabel]] = {
    "sentiment": SentimentLabel,
    "abuse": AbuseLabel,
}
_GRAPHS = ("onnx/model.onnx", "model.onnx")
_SMALL_FILES = ("*.json", "*.txt", "*.model", "*.jinja")
_EXTERNAL = ("onnx/model.onnx_data", "onnx/model.onnx.data", "model.onnx_data", "model.onnx.data")
"""Where the weights of a large graph lie beside it."""
_STARS = re.compile(r"([1-5])\s*(?:stars?|sterren|ster)?")
_OF_STARS: Mapping[int, str] = {2: "-+", 3: "-0+", 4: "--++", 5: "--0++"}
"""What stars mean, by how many there can be."""
_SIGNS = {"-": "negative", "0": "neutral", "+": "positive"}
_SAMPLES = 16
_SAMPLE_BYTES = 65536

_SENTIMENT_WORDS = {
    "negative": "negative neg negatief very_negative",
    "neutral": "neutral neu neutraal mixed",
    "positive": "positive pos positief very_positive",
}
_ABUSE_WORDS = {
    "none": (
        "none not_offensive non_offensive not_hate non_hate nothate no_hate nothateful non_hateful "
        "not_hateful non_toxic not_toxic nontoxic neutral clean normal ok acceptable appropriate "
        "safe not_abusive non_abusive"
    ),
    "abusive": (
        "abusive abuse offensive hate hateful hatespeech hate_speech toxic toxicity severe_toxic "
        "severe_toxicity obscene insult identity_hate identity_attack harassment inappropriate"
    ),
    "threat": "threat threatening violent violence",
}
_KNOWN: Mapping[Head, Mapping[str, str]] = {
    "sentiment": {w: label for label, words in _SENTIMENT_WORDS.items() for w in words.split()},
    "abuse": {w: label for label, words in _ABUSE_WORDS.items() for w in words.split()},
}


_NOTHING_SAID: Mapping[Head, Prediction] = {
    "sentiment": Prediction(
        sentiment={**dict.fromkeys(SentimentLabel, 0.0), SentimentLabel.NEUTRAL: 1.0}
    ),
    "abuse": Prediction(abuse={**dict.fromkeys(AbuseLabel, 0.0), AbuseLabel.NONE: 1.0}),
}
"""About a text without any readable character."""


class HubModel:
    """A model from a hub or a folder for one head; implements :class:`classifiers.base.Model`.

    Args:
        name: a folder, or a hub id such as ``owner/model``.
        head: what the model judges.
        labels: what its labels mean to us, for a model whose own names don't say:
            ``{"LABEL_0": "negative", …}``; the values are ours. Every label needs one.
        revision: branch, tag or commit of a hub model.
        threads: CPU threads for one text.
        max_tokens: longer texts are cut; never more than the model itself can take.

    Each text is run on its own, so that no neighbour in a batch changes its scores. The model is
    fetched and loaded at the first use of ``version`` or ``predict``.
    """

    def __init__(
        self,
        name: str | Path,
        head: Head,
        *,
        labels: Mapping[str, str] | None = None,
        revision: str | None = None,
        threads: int = 2,
        max_tokens: int = 256,
    ) -> None:
        if head not in _LABELS:
            raise ValueError(f"head {head!r}: a hub model judges {' or '.join(_LABELS)}")
        self.name = str(name)
        self._head: Head = head
        self._explicit = labels
        self._revision = revision
        self._threads = threads
        self._max_tokens = max_tokens
        self._loaded: _Loaded | None = None
        self._loading = threading.Lock()

    @property
    def version(self) -> str:
        """Name and commit (of a folder: a digest of its configuration)."""
        return self._load().version

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Predict for each text, in order; only the model's own head is filled.

        Raises:
            ModelError: the model cannot be fetched, loaded or understood.
        """
        model = self._load()
        answers: dict[str, Prediction] = {}
        for text in texts:
            if text not in answers:
                answers[text] = self._prediction(model.scores(readable(text)), model)
        return [answers[text] for text in texts]

    def _prediction(self, scores: npt.NDArray[np.float64] | None, model: _Loaded) -> Prediction:
        if scores is None:
            return _NOTHING_SAID[self._head]
        if self._head == "sentiment":
            return Prediction(sentiment=_sums(SentimentLabel, scores, model.labels))
        if model.independent:
            return Prediction(abuse=_independent(scores, model.labels))
        return Prediction(abuse=_sums(AbuseLabel, scores, model.labels))

    def _load(self) -> _Loaded:
        with self._loading:
            if self._loaded is None:
                self._loaded = self._open()
            return self._loaded

    def _open(self) -> _Loaded:
        try:
            import transformers  # noqa: PLC0415 - seconds and megabytes, only for hub models
        except ImportError:
            raise ModelError(
                f"model {self.name} needs transformers: pip install '.[hub]' if it has an "
                "ONNX graph, '.[torch]' if not"
            ) from None

        folder, commit = self._folder()
        try:
            config = transformers.AutoConfig.from_pretrained(  # nosec B615 # a folder
                folder, trust_remote_code=False
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(  # nosec B615 # a folder
                folder, trust_remote_code=False
            )
        except (ImportError, OSError, ValueError) as error:
            raise ModelError(
                f"model {self.name}: not a model transformers can read: {_brief(error)}"
            ) from error
        independent = self._independent(config)
        labels = meanings(
            self.name, self._head, dict(config.id2label), self._explicit, independent=independent
        )
        graph = next((folder / g for g in _GRAPHS if (folder / g).is_file()), None)
        run = (
            _onnx_runner(graph, self._threads)
            if graph
            else _torch_runner(self.name, folder, self._threads)
        )
        limit = min(
            self._max_tokens,
            int(getattr(config, "max_position_embeddings", None) or self._max_tokens),
            int(tokenizer.model_max_length),
        )
        loaded = _Loaded(
            version=f"{self.name}@{commit or _digest(folder)}",
            labels=labels,
            independent=independent,
            tokenizer=tokenizer,
            run=run,
            limit=limit,
        )
        self._try(loaded)
        return loaded

    def _independent(self, config: Any) -> bool:
        """Whether several labels can hold at the same time.

        Raises:
            ModelError: such a model, or one that gives a number, cannot serve this head.
        """
        kind = config.problem_type
        if kind == "regression" or (config.num_labels == 1 and kind is None):
            raise ModelError(f"model {self.name} gives a number instead of labels: it cannot serve")
        independent = bool(kind == "multi_label_classification")
        if independent and self._head == "sentiment":
            raise ModelError(
                f"model {self.name} gives several labels at a time: no model of sentiment"
            )
        return independent

    def _try(self, loaded: _Loaded) -> None:
        """Run it once, so that what does not fit together is told now and not at the first post."""
        try:
            scores = loaded.scores("Goedemorgen!")
        except Exception as error:  # whatever ONNX Runtime, torch and models of others raise
            raise ModelError(
                f"model {self.name} cannot be run: {_brief(error)}; do graph, weights and tokenizer "
                "belong together?"
            ) from error
        if scores is None or scores.shape != (len(loaded.labels),) or not np.isfinite(scores).all():
            raise ModelError(
                f"model {self.name}: does not give one finite number for each of its "
                f"{len(loaded.labels)} labels; do weights and config.json belong together?"
            )

    def _folder(self) -> tuple[Path, str | None]:
        """Where the files are, and the commit when they come from the hub."""
        local = Path(self.name).expanduser()
        if local.is_dir():
            return local, None
        if local.is_absolute() or self.name.startswith((".", "~")) or self.name.count("/") != 1:
            raise ModelError(
                f"model {self.name}: no such folder, and no hub id either (owner/model)"
            )
        import httpx  # noqa: PLC0415 - what the hub's client raises when nobody answers
        from huggingface_hub import snapshot_download  # noqa: PLC0415
        from huggingface_hub.constants import HF_HUB_OFFLINE  # noqa: PLC0415
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError  # noqa: PLC0415

        patterns = [*_SMALL_FILES, *_GRAPHS, *_EXTERNAL]
        try:
            found = Path(
                snapshot_download(self.name, revision=self._revision, allow_patterns=patterns)
            )
            if not any((found / graph).is_file() for graph in _GRAPHS) and _torch_is_there():
                found = Path(
                    snapshot_download(
                        self.name,
                        revision=self._revision,
                        allow_patterns=[*_SMALL_FILES, "*.safetensors"],
                    )
                )
        except (HfHubHTTPError, HFValidationError, OSError, ValueError, httpx.HTTPError) as error:
            offline = " HF_HUB_OFFLINE is set: nothing is fetched;" if HF_HUB_OFFLINE else ""
            raise ModelError(
                f"model {self.name}: cannot be fetched from the hub ({type(error).__name__});{offline} "
                "check the name and the network, or copy its config.json, tokenizer files and "
                f"{' or '.join(_GRAPHS)} (else model.safetensors) into a folder and name that"
            ) from error
        return found, found.name


class _Loaded:
    """Everything about one model that is ready to run."""

    def __init__(
        self,
        *,
        version: str,
        labels: Sequence[StrEnum],
        independent: bool,
        tokenizer: Any,
        run: Runner,
        limit: int,
    ) -> None:
        self.version = version
        self.labels = labels
        self.independent = independent
        self._tokenizer = tokenizer
        self._run = run
        self._limit = limit

    def scores(self, text: str) -> npt.NDArray[np.float64] | None:
        """Probabilities of the model's own labels; None where there is nothing to read."""
        encoded = self._tokenizer(
            text, truncation=True, max_length=self._limit, return_tensors="np"
        )
        feed = {name: np.asarray(array, dtype=np.int64) for name, array in encoded.items()}
        if not text or not feed["input_ids"].size:
            return None
        logits = np.clip(self._run(feed), -60.0, 60.0)
        if self.independent:
            return np.asarray(1.0 / (1.0 + np.exp(-logits)))
        powers = np.exp(logits - logits.max())
        return np.asarray(powers / powers.sum())


def meanings(
    name: str,
    head: Head,
    id2label: Mapping[int, str],
    explicit: Mapping[str, str] | None,
    *,
    independent: bool = False,
) -> list[SentimentLabel] | list[AbuseLabel]:
    """What each label of a model means to us, in the order of its outputs.

    Args:
        name: of the model, for messages.
        head: what it judges.
        id2label: its own labels by output.
        explicit: what the configuration says they mean; None goes by their names.
        independent: whether several can hold at once, so that none may hold, too.

    Raises:
        ModelError: a label whose meaning is not known; says how to tell.
    """
    own = [str(id2label[index]) for index in sorted(id2label)]
    ours = _LABELS[head]
    if explicit is not None:
        unknown = sorted(set(explicit) - set(own))
        missing = [label for label in own if label not in explicit]
        if unknown or missing:
            raise ModelError(
                f"model {name}: {head}_labels must name all of {', '.join(own)} and nothing else"
                + (f"; missing: {', '.join(missing)}" if missing else "")
                + (f"; unknown: {', '.join(unknown)}" if unknown else "")
            )
        found = [explicit[label] for label in own]
    else:
        stars = _stars(own) if head == "sentiment" else {}
        found = [stars.get(label) or _meaning(head, label) for label in own]
    wrong = [label for label, meant in zip(own, found, strict=True) if meant not in set(ours)]
    if wrong:
        example = ", ".join(f'"{label}" = "{next(iter(ours)).value}"' for label in wrong[:2])
        raise ModelError(
            f"model {name}: what its labels {', '.join(wrong)} mean for {head} is unknown; say it "
            f"as {head}_labels = {{{example}, …}} with values among {', '.join(ours)}"
        )
    if len(set(found)) == 1 and (not independent or AbuseLabel.NONE in found):
        raise ModelError(f"model {name}: all its labels mean {found[0]}, nothing to choose from")
    if head == "sentiment":
        return [SentimentLabel(label) for label in found]
    return [AbuseLabel(label) for label in found]


def _meaning(head: Head, label: str) -> str:
    word = re.sub(r"[\s-]+", "_", label.strip().casefold())
    return _KNOWN[head].get(word, "")


def _stars(own: Sequence[str]) -> Mapping[str, str]:
    """What labels mean that are stars, from one to as many as there are; nothing for others."""
    counts = [_STARS.fullmatch(label.strip().casefold()) for label in own]
    numbers = [int(found[1]) for found in counts if found]
    if sorted(numbers) != list(range(1, len(own) + 1)):
        return {}
    signs = _OF_STARS.get(len(own), "")
    return {
        label: _SIGNS[signs[number - 1]]
        for label, number in zip(own, numbers, strict=True)
        if signs
    }


def _sums(
    labels: type[_Label], scores: npt.NDArray[np.float64], meant: Sequence[StrEnum]
) -> dict[_Label, float]:
    """Our labels' probabilities: of each the sum of those that mean it."""
    result = dict.fromkeys(labels, 0.0)
    for score, label in zip(scores.tolist(), meant, strict=True):
        result[labels(label)] += score
    return result


def _independent(
    scores: npt.NDArray[np.float64], meant: Sequence[StrEnum]
) -> dict[AbuseLabel, float]:
    """From labels that can be true at once: the surest of each kind, scaled to add up to 1."""
    surest = {AbuseLabel.ABUSIVE: 0.0, AbuseLabel.THREAT: 0.0}
    for score, label in zip(scores.tolist(), meant, strict=True):
        if label != AbuseLabel.NONE:
            kind = AbuseLabel(label)
            surest[kind] = max(surest[kind], score)
    none = 1.0 - max(surest.values())
    total = none + sum(surest.values())
    return {
        AbuseLabel.NONE: none / total,
        **{label: score / total for label, score in surest.items()},
    }


def _onnx_runner(graph: Path, threads: int) -> Runner:
    import onnxruntime  # noqa: PLC0415 - only when used

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            str(graph), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime raises bare subclasses of it
        raise ModelError(f"model graph {graph} cannot be loaded: {error}") from error
    wanted = {item.name: _dtype(item.type) for item in session.get_inputs()}
    outputs = [item.name for item in session.get_outputs()]
    output = "logits" if "logits" in outputs else outputs[0]

    def run(feed: Mapping[str, npt.NDArray[np.int64]]) -> npt.NDArray[np.float64]:
        full = {"token_type_ids": np.zeros_like(feed["input_ids"]), **feed}
        given = {name: full[name].astype(kind) for name, kind in wanted.items() if name in full}
        logits = session.run([output], given)[0]
        return np.asarray(logits[0], dtype=np.float64)

    return run


def _dtype(kind: str) -> type[np.int64 | np.int32]:
    return np.int32 if kind == "tensor(int32)" else np.int64


def _torch_is_there() -> bool:
    return importlib.util.find_spec("torch") is not None


def _torch_runner(name: str, folder: Path, threads: int) -> Runner:
    if not _torch_is_there():
        raise ModelError(
            f"model {name} has no ONNX graph ({' or '.join(_GRAPHS)}) and needs PyTorch: "
            "pip install '.[torch]'"
        )
    import torch  # noqa: PLC0415 - an optional extra
    import transformers  # noqa: PLC0415

    torch.set_num_threads(threads)
    transformers.utils.logging.disable_progress_bar()
    try:
        network = transformers.AutoModelForSequenceClassification.from_pretrained(  # nosec B615 # a folder
            folder, use_safetensors=True, trust_remote_code=False
        ).eval()
    except Exception as error:  # safetensors and torch raise errors of their own
        raise ModelError(
            f"model {name}: no weights that can be read: {_brief(error)}; they must be "
            "model.safetensors, as save_pretrained writes it: a pickle (pytorch_model.bin) could run code"
        ) from error
    known = inspect.signature(network.forward).parameters

    def run(feed: Mapping[str, npt.NDArray[np.int64]]) -> npt.NDArray[np.float64]:
        given = {k: torch.from_numpy(v) for k, v in feed.items() if k in known}
        with torch.inference_mode():
            logits = network(**given).logits
        return np.asarray(logits[0].double().numpy())

    return run


def _brief(error: BaseException) -> str:
    """The first line of a message, without what makes a log unreadable."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300].rstrip(" .:;")


def _digest(folder: Path) -> str:
    """Changes with the configuration and with the weights, of which samples are read."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix not in {".json", ".onnx", ".safetensors"} or not path.is_file():
            continue
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder)} {size}\n".encode())
        with path.open("rb") as file:
            # Spread over the file: what was trained on differs nearly everywhere.
            for sample in range(_SAMPLES):
                file.seek(max(0, size - _SAMPLE_BYTES) * sample // (_SAMPLES - 1))
                digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()[:12]
