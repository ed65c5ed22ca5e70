"""Which layers of the encoder can go: greedily, the one whose loss changes its view least.

What counts is not each vector but how texts lie to one another: linear centred kernel alignment
(Kornblith et al. 2019, "Similarity of Neural Network Representations Revisited") between the
averaged token states of the whole encoder and of what is left of it. The result for a trained
teacher is :data:`classifiers.training.network.KEPT_LAYERS`; ``--stage prune`` finds it again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoConfig

from classifiers.training.network import Network, pad, tokenizer

log = logging.getLogger(__name__)

_TOKENS = 48


def whole(base: Path) -> Network:
    """The encoder in ``base`` with all its layers, as it is before any training."""
    config = AutoConfig.from_pretrained(str(base))  # nosec B615 # a folder
    return Network(base, layers=range(config.num_hidden_layers))


def choose_layers(network: Network, base: Path, texts: Sequence[str], keep: int) -> list[int]:
    """Return the ``keep`` layers of an encoder that say most like all of them.

    Args:
        network: the encoder: as it comes, or a trained teacher.
        base: folder of the encoder, for its tokenizer.
        texts: prepared posts, a few hundred, of the kinds the model will see.
        keep: how many layers stay.
    """
    network.eval()
    encode = tokenizer(base, _TOKENS)
    ids = sorted((e.ids for e in encode.encode_batch(list(texts))), key=len)
    batches = [pad(ids[i : i + 32]) for i in range(0, len(ids), 32)]
    kept = list(range(len(network.layers)))
    truth = _view(network, batches, kept)
    while len(kept) > keep:
        options = [[layer for layer in kept if layer != gone] for gone in kept]
        scored = [(alignment(_view(network, batches, option), truth), option) for option in options]
        score, kept = max(scored)
        log.info("%d layers left: %s, alignment %.3f", len(kept), kept, score)
    return [network.layers[place] for place in kept]


def alignment(one: Tensor, other: Tensor) -> float:
    """Linear centred kernel alignment of two sets of vectors ``(texts, width)``, 0..1."""
    one, other = one - one.mean(0), other - other.mean(0)
    shared = (one.T @ other).norm() ** 2
    return float(shared / ((one.T @ one).norm() * (other.T @ other).norm()))


def _view(
    network: Network, batches: Sequence[tuple[Tensor, Tensor]], layers: Sequence[int]
) -> Tensor:
    """Averaged token states through some of the layers, ``(texts, width)``."""
    found = []
    with torch.inference_mode():
        for ids, mask in batches:
            states = network.encoder.embeddings(input_ids=ids)
            hidden = (1.0 - mask[:, None, None, :].float()) * torch.finfo(states.dtype).min
            for layer in layers:
                states = network.encoder.encoder.layer[layer](states, hidden)
                states = states[0] if isinstance(states, tuple) else states
            weight = mask.unsqueeze(-1).float()
            found.append((states * weight).sum(1) / weight.sum(1))
    return torch.cat(found)
