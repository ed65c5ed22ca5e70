"""From the last checkpoint to the folder that ships: graph, calibration, figures, card."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from classifiers.embedded import EmbeddedModel
from classifiers.training import graph
from classifiers.training.card import card
from classifiers.training.data import ABUSES, CATEGORIES, SENTIMENTS, Example, load
from classifiers.training.loop import Progress, restore
from classifiers.training.measure import figures, leak_threshold, temperature, threat_bias
from classifiers.training.network import HEADS, Network

log = logging.getLogger(__name__)

FALSE_ALARMS_PER_THOUSAND = 3.0
"""What the threshold allows on development posts; test posts may then stay below five."""
FALSE_ALARMS_PER_HUNDRED_LOOK_ALIKES = 8.0
"""The same for development posts that were written to look like leaks without being any."""
_COMPARED = 250
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
    network = Network(base)
    progress = restore(checkpoint, network)
    with tempfile.TemporaryDirectory(prefix="merkwacht-model-") as scratch:
        folder = Path(scratch) / "model"
        folder.mkdir()
        fused = graph.export(network, Path(scratch))
        dev = [e for posts in load(corpora, own, "dev").values() for e in posts]
        comparison, logits = _best_graph(fused, folder / "model.onnx", base, dev)
        log.info("int8 against fp32: %s", comparison)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(base / name, folder / name)
        threshold = _write_config(
            folder, network=network, logits=logits, dev=dev, version=version, progress=progress
        )
        test = load(corpora, own, "test")
        model = EmbeddedModel(folder)
        found = figures(model, threshold, test, corpora, own)
        for figure in found:
            log.info("%s on %s (%d): %s", figure.task, figure.on, figure.posts, figure.result)
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
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


def _write_config(
    folder: Path,
    *,
    network: Network,
    logits: graph.Logits,
    dev: list[Example],
    version: str,
    progress: Progress,
) -> float:
    labels = {
        "sentiment": [e.sentiment for e in dev],
        "leak": [e.leak for e in dev],
        "category": [e.category for e in dev],
        "abuse": [e.abuse for e in dev],
    }
    heat = {name: round(temperature(logits[name], labels[name]), 4) for name in HEADS}
    leak = _sigmoid(logits["leak"][:, 0] / heat["leak"])
    contrast = np.array([e.source == "leaks" for e in dev])
    escalate = np.array(labels["leak"]) == 1
    threshold = leak_threshold(
        leak[~contrast],
        leak[contrast & ~escalate],
        per_thousand=FALSE_ALARMS_PER_THOUSAND,
        per_hundred=FALSE_ALARMS_PER_HUNDRED_LOOK_ALIKES,
    )
    calm = np.array([e.abuse != ABUSES.index("threat") for e in dev])
    loud = threat_bias(
        logits["abuse"][calm] / heat["abuse"], per_thousand=FALSE_ALARMS_PER_THOUSAND
    )
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
        "heads": {
            name: {
                "id2label": {str(i): str(label) for i, label in enumerate(labels_of)},
                "temperature": heat[name],
                "bias": [0.0, 0.0, loud] if name == "abuse" else [0.0] * len(labels_of),
            }
            for name, labels_of in names.items()
        },
        "trained_on_posts": progress.posts,
        "sha256": {
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
            for name in ("model.onnx", "tokenizer.json")
        },
    }
    config["heads"]["leak"] |= {
        "threshold": threshold,
        "allowed_per_thousand": FALSE_ALARMS_PER_THOUSAND,
        "allowed_per_hundred_look_alikes": FALSE_ALARMS_PER_HUNDRED_LOOK_ALIKES,
    }
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")
    return threshold


def _agreement(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    return float((one.argmax(axis=1) == other.argmax(axis=1)).mean())


def _sigmoid(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    result: npt.NDArray[np.float64] = 1.0 / (1.0 + np.exp(-values))
    return result
