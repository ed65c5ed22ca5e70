"""From the trained network to the graph that ships: ONNX, fused, int8."""

from __future__ import annotations

import logging
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers import optimizer
from onnxruntime.transformers.fusion_options import FusionOptions

from classifiers.training.data import Example
from classifiers.training.network import HEADS, Network, tokenizer

log = logging.getLogger(__name__)

Logits = dict[str, npt.NDArray[np.float64]]
"""Per head, ``(posts, width)``."""


def export(network: Network, folder: Path) -> Path:
    """Write ``fp32.onnx`` and the fused ``fused.onnx`` into ``folder``; returns the latter."""
    network.eval()
    plain, fused = folder / "fp32.onnx", folder / "fused.onnx"
    ids = torch.tensor([[0, 9, 17, 2], [0, 9, 2, 1]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    axes = {name: {0: "batch", 1: "tokens"} for name in ("input_ids", "attention_mask")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter announces its successor
        torch.onnx.export(
            network,
            (ids, mask),
            str(plain),
            input_names=list(axes),
            output_names=list(HEADS),
            dynamic_axes=axes | {name: {0: "batch"} for name in HEADS},
            opset_version=17,
            dynamo=False,
        )
    options = FusionOptions("bert")
    options.enable_embed_layer_norm = False
    settings = network.encoder.config
    model = optimizer.optimize_model(
        str(plain),
        "bert",
        num_heads=settings.num_attention_heads,
        hidden_size=settings.hidden_size,
        optimization_options=options,
        opt_level=0,
    )
    log.info("fused: %s", {k: v for k, v in model.get_fused_operator_statistics().items() if v})
    model.save_model_to_file(str(fused))
    return fused


def quantize(fused: Path, target: Path, *, reduce_range: bool) -> None:
    """Write the int8 graph: weights per channel, activations at run time."""
    quantize_dynamic(
        str(fused),
        str(target),
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=reduce_range,
        extra_options={"DefaultTensorType": 1},  # the fused graph's new tensors have no type
    )


def logits(graph: Path, base: Path, examples: list[Example], *, threads: int = 2) -> Logits:
    """Raw outputs for each example, one run each, as at run time."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    encode = tokenizer(base, 128)

    def run(example: Example) -> list[npt.NDArray[np.float32]]:
        ids = np.array([encode.encode(example.text).ids], dtype=np.int64)
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        return [output[0] for output in session.run(list(HEADS), feed)]

    with ThreadPoolExecutor(threads) as pool:
        results = list(pool.map(run, examples))
    return {
        name: np.array([result[i] for result in results], dtype=np.float64)
        for i, name in enumerate(HEADS)
    }
