"""The network: one encoder of fewer layers, its token states averaged, four linear heads."""

from __future__ import annotations

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


KEPT_LAYERS = (0, 2, 4, 9, 10, 11)
"""The layers of the twelve-layer base that stay: what :mod:`classifiers.training.pruning` chose."""


class Network(nn.Module):
    """Encoder plus heads.

    Args:
        base: folder of the encoder to start from.
        layers: which of its layers stay, in order.
        dropout: share of values dropped between layers and before the heads, when training.
    """

    def __init__(
        self, base: Path, *, layers: Sequence[int] = KEPT_LAYERS, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.encoder = AutoModel.from_pretrained(
            str(base),
            add_pooling_layer=False,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=0.0,
            attn_implementation="eager",
            dtype=torch.float32,
        )
        self.layers = tuple(layers)
        whole = self.encoder.encoder.layer
        self.encoder.encoder.layer = nn.ModuleList([whole[i] for i in layers])
        self.encoder.config.num_hidden_layers = len(layers)
        width = self.encoder.config.hidden_size
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.ModuleDict({name: nn.Linear(width, n) for name, n in HEADS.items()})

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        """Logits of each head, in the order of ``HEADS``; shapes ``(batch, width)``."""
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(states.dtype)
        mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1.0)
        mean = self.dropout(mean)
        return tuple(head(mean) for head in self.heads.values())


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
