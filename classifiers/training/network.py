"""The network: one encoder of fewer layers, its token states averaged, four linear heads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoModel

from classifiers.training.data import ABUSES, CATEGORIES, SENTIMENTS

HEADS = {"sentiment": len(SENTIMENTS), "leak": 1, "category": len(CATEGORIES), "abuse": len(ABUSES)}
"""Outputs of the network, in order, with their widths."""

PAD = 1
"""Id of the padding piece in the XLM-R vocabulary."""


KEPT_LAYERS = (0, 1, 3, 4, 6, 7, 8, 9)
"""The layers of the twelve-layer teacher that stay: what :mod:`classifiers.training.pruning` chose."""


_LAYER = re.compile(r"(encoder\.encoder\.layer\.)(\d+)\.")


class SharedDropout(nn.Module):
    """Dropout that drops the same columns at every token of a post.

    Drawing a random number for each value of each token took a sixth of the training time on a
    CPU; this draws one for each column of each post. Known from recurrent networks as variational
    dropout (Gal and Ghahramani 2016, https://arxiv.org/abs/1512.05287).

    Args:
        share: of the columns that are dropped when training, 0..1.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, values: Tensor) -> Tensor:
        """``values`` of shape ``(batch, tokens, width)``, some columns nought, others larger."""
        if not self.training or self.share == 0.0:
            return values
        kept = values.new_empty(values.shape[0], 1, values.shape[-1]).bernoulli_(1.0 - self.share)
        return values * (kept / (1.0 - self.share))


class Network(nn.Module):
    """Encoder plus heads.

    Args:
        base: folder of the encoder to start from.
        layers: which of its layers stay, in order.
        dropout: share of values dropped between layers and before the heads, when training.
        precision: type that the encoder computes in; weights are always float32. ``bfloat16``
            is two to three times as fast where the CPU has AMX or AVX512-BF16, and slower
            elsewhere.
    """

    def __init__(
        self,
        base: Path,
        *,
        layers: Sequence[int] = KEPT_LAYERS,
        dropout: float = 0.1,
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.encoder = AutoModel.from_pretrained(  # nosec B615 # a folder
            str(base),
            add_pooling_layer=False,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            attn_implementation="eager",
            dtype=torch.float32,
        )
        self.precision = precision
        self.layers = tuple(layers)
        whole = self.encoder.encoder.layer
        self.encoder.encoder.layer = nn.ModuleList([whole[i] for i in layers])
        self.encoder.config.num_hidden_layers = len(layers)
        for layer in self.encoder.encoder.layer:
            layer.attention.output.dropout = SharedDropout(dropout)
            layer.output.dropout = SharedDropout(dropout)
        width = self.encoder.config.hidden_size
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.ModuleDict({name: nn.Linear(width, n) for name, n in HEADS.items()})

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        """Logits of each head, in the order of ``HEADS``; shapes ``(batch, width)``."""
        return self.judge(self.read(input_ids, attention_mask))

    def read(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The mean of each post's token states, ``(batch, width)`` of float32."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision is torch.bfloat16):
            states = self.encoder(
                input_ids=input_ids, attention_mask=attention_mask
            ).last_hidden_state
        states = states.float()
        mask = attention_mask.unsqueeze(-1).to(states.dtype)
        return (states * mask).sum(1) / mask.sum(1).clamp(min=1.0)

    def judge(self, mean: Tensor) -> tuple[Tensor, ...]:
        """Logits of each head from what :meth:`read` returns."""
        mean = self.dropout(mean)
        return tuple(head(mean) for head in self.heads.values())

    def adopt(self, other: Network) -> None:
        """Start from what ``other``, a network with at least these layers, has learned.

        Raises:
            ValueError: ``other`` lacks one of the layers.
        """
        missing = set(self.layers) - set(other.layers)
        if missing:
            raise ValueError(f"the teacher has no layer {', '.join(map(str, sorted(missing)))}")
        theirs = other.state_dict()
        mine = {}
        for name in self.state_dict():
            place = _LAYER.match(name)
            if place:
                layer = other.layers.index(self.layers[int(place[2])])
                mine[name] = theirs[f"{place[1]}{layer}{name[place.end(2) :]}"]
            else:
                mine[name] = theirs[name]
        self.load_state_dict(mine)


def tokenizer(base: Path, max_tokens: int) -> Tokenizer:
    """The tokenizer of ``base``, cutting at ``max_tokens``, not padding."""
    result = Tokenizer.from_file(str(base / "tokenizer.json"))
    result.no_padding()
    result.enable_truncation(max_tokens)
    return result


def pad(sequences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ids and attention mask, both ``(batch, longest)`` of int64."""
    longest = max(map(len, sequences))
    ids = torch.full((len(sequences), longest), PAD, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence)
        mask[row, : len(sequence)] = 1
    return ids, mask
