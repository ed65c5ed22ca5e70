"""The network: one encoder, its token states averaged, four linear heads."""

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


class Network(nn.Module):
    """Encoder plus heads; the word embeddings do not learn (they are most of the weights)."""

    def __init__(self, base: Path, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.encoder = AutoModel.from_pretrained(
            str(base),
            add_pooling_layer=False,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            attn_implementation="eager",
            dtype=torch.float32,
        )
        self.encoder.embeddings.word_embeddings.weight.requires_grad_(requires_grad=False)
        width = self.encoder.config.hidden_size
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.ModuleDict({name: nn.Linear(width, n) for name, n in HEADS.items()})

    def freeze_lower_half(self) -> None:
        """Let only the upper half of the layers, and the heads, learn from now on."""
        layers = self.encoder.encoder.layer
        if layers[0].attention.output.dense.weight.requires_grad:
            self.encoder.embeddings.requires_grad_(requires_grad=False)
            layers[: len(layers) // 2].requires_grad_(requires_grad=False)

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
