"""From the last checkpoint to the folder that ships: graph, calibration, figures, card."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from classifiers.base import LeakThresholds
from classifiers.embedded import EmbeddedModel, OperatingPoint
from classifiers.training import graph
from classifiers.training.card import card
from classifiers.training.data import ABUSES, CATEGORIES, SENTIMENTS, Example, load
from classifiers.training.loop import revive
from classifiers.training.measure import (
    ALLOWANCES,
    LEAKS,
    OURS,
    THREATS_PER_THOUSAND,
    Verdicts,
    abusive_bias,
    figures,
    sentiment_bias,
    temperature,
    threat_bias,
    thresholds,
)
from classifiers.training.network import HEADS, Network

log = logging.getLogger(__name__)

_COMPARED = 600
_LARGEST = 40_000_000


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far the int8 graph is from fp32, on development posts."""

    posts: int
    same_sentiment: float
    same_abuse: float
    leak_difference: float
    """99th percentile of the absolute difference of probabilities."""
    reduce_range: bool


def release(
    base: Path,
    corpora: Path,
    own: Path,
    checkpoint: Path,
    output: Path,
    *,
    version: str,
    note: str = "",
) -> None:
    """Write the model folder: replaces what is there, once everything is ready.

    Raises:
        ValueError: the folder would be too large to ship.
    """
    network, progress = revive(base, checkpoint)
    with tempfile.TemporaryDirectory(prefix="merkwacht-model-") as scratch:
        folder = Path(scratch) / "model"
        folder.mkdir()
        fused = graph.export(network, Path(scratch))
        dev = [e for posts in load(corpora, own, "dev").values() for e in posts]
        comparison, logits = _best_graph(fused, folder / "model.onnx", base, dev)
        log.info("int8 against fp32: %s", comparison)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(base / name, folder / name)
        settings = _settings(folder, network=network, logits=logits, dev=dev, version=version)
        settings["trained_on_posts"] = progress.posts
        points = _operating_points(folder, settings, dev)
        test = load(corpora, own, "test")
        found, costs = figures(Verdicts(EmbeddedModel(folder)), points, test, corpora, own)
        _write(folder, settings, costs)
        for figure in found:
            log.info("%s on %s (%d): %s", figure.task, figure.on, figure.posts, figure.result)
        text = card(settings, found, comparison, progress, note)
        (folder / "README.md").write_text(text, encoding="utf-8")
        size = sum(file.stat().st_size for file in folder.iterdir())
        if size > _LARGEST:
            raise ValueError(f"the model folder would have {size} bytes, more than {_LARGEST}")
        if output.exists():
            shutil.rmtree(output)
        shutil.copytree(folder, output)
    log.info("wrote %s (%.1f MB)", output, size / 1e6)


def _best_graph(
    fused: Path, target: Path, base: Path, dev: list[Example]
) -> tuple[Comparison, graph.Logits]:
    """Quantise both ways, keep the one nearer to fp32; its logits on all of ``dev``."""
    picked = dev[:: max(1, len(dev) // _COMPARED)]
    truth = graph.logits(fused, base, picked)
    options = []
    for reduce_range in (True, False):
        path = target.with_suffix(f".{reduce_range}.onnx")
        graph.quantize(fused, path, reduce_range=reduce_range)
        said = graph.logits(path, base, picked)
        near = Comparison(
            posts=len(picked),
            same_sentiment=_agreement(truth["sentiment"], said["sentiment"]),
            same_abuse=_agreement(truth["abuse"], said["abuse"]),
            leak_difference=float(
                np.quantile(np.abs(_sigmoid(truth["leak"]) - _sigmoid(said["leak"])), 0.99)
            ),
            reduce_range=reduce_range,
        )
        options.append((near.same_sentiment + near.same_abuse - near.leak_difference, near, path))
    options.sort(key=lambda option: option[0])
    (_, _, worse), (_, best, kept) = options
    worse.unlink()
    kept.rename(target)
    return best, graph.logits(target, base, dev)


def _settings(
    folder: Path,
    *,
    network: Network,
    logits: graph.Logits,
    dev: list[Example],
    version: str,
) -> dict[str, Any]:
    """The model's ``config.json``, still without measured operating points."""
    labels = {
        "sentiment": [e.sentiment for e in dev],
        "leak": [e.leak for e in dev],
        "category": [e.category for e in dev],
        "abuse": [e.abuse for e in dev],
    }
    heat = {name: round(temperature(logits[name], labels[name]), 4) for name in HEADS}
    # Ours were written by few hands, many of them to be nearly a threat: real posts decide.
    real = np.array([e.source not in OURS for e in dev])
    sets = [e.source for e in dev]
    moods = sentiment_bias(
        logits["sentiment"][real] / heat["sentiment"],
        [e.sentiment for e in dev if e.source not in OURS],
        [e.source for e in dev if e.source not in OURS],
    )
    words = logits["abuse"] / heat["abuse"]
    crude = abusive_bias(words, labels["abuse"], sets)
    words = words + np.array([0.0, crude, 0.0])
    calm = np.array([e.abuse != ABUSES.index("threat") for e in dev])
    loud = threat_bias(words[real & calm], per_thousand=THREATS_PER_THOUSAND)
    bias = {"sentiment": list(moods), "abuse": [0.0, crude, loud]}
    log.info("biases: %s", bias)
    names: dict[str, list[str]] = {
        "sentiment": list(SENTIMENTS),
        "leak": ["escalate"],
        "category": list(CATEGORIES),
        "abuse": list(ABUSES),
    }
    config: dict[str, Any] = network.encoder.config.to_dict()
    for noise in ("_name_or_path", "transformers_version", "id2label", "label2id"):
        config.pop(noise, None)
    config |= {
        "architectures": ["MerkwachtNetwork"],
        "model_version": version,
        "pooling": "mean",
        "kept_layers": list(network.layers),
        "heads": {
            name: {
                "id2label": {str(i): str(label) for i, label in enumerate(labels_of)},
                "temperature": heat[name],
                "bias": bias.get(name, [0.0] * len(labels_of)),
            }
            for name, labels_of in names.items()
        },
        "sha256": {
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
            for name in ("model.onnx", "tokenizer.json")
        },
    }
    return config


def _operating_points(
    folder: Path, settings: dict[str, Any], dev: list[Example]
) -> dict[str, LeakThresholds]:
    """Choose thresholds on development posts, by verdicts with evidence."""
    provisional = LeakThresholds(0.5, 0.5)
    unmeasured = OperatingPoint(provisional, 0.0, 0.0, 0.0, 0.0)
    _write(folder, settings, dict.fromkeys(ALLOWANCES, unmeasured))
    verdicts = Verdicts(EmbeddedModel(folder))
    texts = [e.raw for e in dev]
    judged = verdicts.leaks(texts, verdicts.predict(texts), provisional)
    scores = np.array([leak.score for leak in judged])
    ours = np.array([e.source == LEAKS for e in dev])
    escalate = np.array([e.leak == 1 for e in dev])
    points = {
        name: thresholds(scores[~ours], scores[ours & ~escalate], allowance)
        for name, allowance in ALLOWANCES.items()
    }
    log.info("thresholds: %s", points)
    return points


def _write(folder: Path, settings: dict[str, Any], points: Mapping[str, OperatingPoint]) -> None:
    """Write ``config.json`` with ``points``, which are put into ``settings`` too."""
    settings["heads"]["leak"]["operating_points"] = {
        name: {
            "review": point.thresholds.review,
            "escalate": point.thresholds.escalate,
            "escalated_per_thousand": point.escalated_per_thousand,
            "reviewed_per_thousand": point.reviewed_per_thousand,
            "recall": point.recall,
            "recall_with_review": point.recall_with_review,
        }
        for name, point in points.items()
    }
    text = json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")


def _agreement(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    return float((one.argmax(axis=1) == other.argmax(axis=1)).mean())


def _sigmoid(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    result: npt.NDArray[np.float64] = 1.0 / (1.0 + np.exp(-values))
    return result
