"""The training loop: a budget of minutes, checkpoints, resuming where it was left.

The schedule follows the clock, not the steps: a slow or shared machine trains on fewer posts but
ends its schedule in time.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress as Bar
from torch import Tensor, nn
from torch.nn import functional

from classifiers.training.data import UNKNOWN, Example, draw
from classifiers.training.network import Network, pad, tokenizer

log = logging.getLogger(__name__)

_BUCKET = 40
"""Batches are cut from this many batches' worth of posts, sorted by length: little padding."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fast to learn."""

    minutes: float = 60.0
    batch: int = 32
    rate: float = 6e-5
    head_rate: float = 6e-4
    warm_up: float = 0.04
    weight_decay: float = 0.01
    max_tokens: int = 128
    seed: int = 0
    checkpoint_minutes: float = 4.0
    deep_until: float = 0.3
    """Share of the budget in which all layers learn; after it only the upper half, which is much
    cheaper for little loss."""


@dataclass(slots=True)
class Progress:
    """What a run has done so far; part of its checkpoint."""

    seconds: float = 0.0
    rounds: int = 0
    steps: int = 0
    posts: int = 0


def train(
    base: Path, examples: Mapping[str, list[Example]], checkpoint: Path, plan: Plan
) -> tuple[Network, Progress]:
    """Train until the budget is used up; continues from ``checkpoint`` when it exists."""
    torch.manual_seed(plan.seed)
    network = Network(base)
    optimizer = _optimizer(network, plan)
    progress = Progress()
    if checkpoint.exists():
        progress = restore(checkpoint, network, optimizer)
        log.info("resuming after %.0f minutes", progress.seconds / 60)
    losses = _Losses(examples)
    encode = tokenizer(base, plan.max_tokens)
    budget = plan.minutes * 60
    before, started, saved = progress.seconds, time.monotonic(), time.monotonic()
    console = Console(stderr=True)
    with Bar(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("training", total=budget)
        while progress.seconds < budget:
            # The steps are part of the seed: a resumed run draws anew instead of repeating itself.
            rng = random.Random(f"{plan.seed} {progress.steps}")  # noqa: S311 - shuffling
            for batch, ids in _batches(draw(examples, rng), encode, plan.batch, rng):
                _schedule(optimizer, plan, progress.seconds / budget)
                if progress.seconds / budget > plan.deep_until:
                    network.freeze_lower_half()
                loss = _step(network, optimizer, losses, batch, ids)
                progress.steps += 1
                progress.posts += len(batch)
                progress.seconds = before + time.monotonic() - started
                bar.update(
                    task,
                    completed=progress.seconds,
                    description=f"{progress.posts} posts, loss {losses.running:.3f}",
                )
                if progress.steps % 50 == 0:
                    log.info(
                        "%4.0f s, step %d, %d posts (%.1f/s), loss %.3f (%s)",
                        progress.seconds,
                        progress.steps,
                        progress.posts,
                        progress.posts / progress.seconds,
                        loss,
                        losses.summary(),
                    )
                if time.monotonic() - saved > plan.checkpoint_minutes * 60:
                    save(checkpoint, network, optimizer, progress)
                    saved = time.monotonic()
                if progress.seconds >= budget:
                    break
            else:
                progress.rounds += 1
    save(checkpoint, network, optimizer, progress)
    return network, progress


def save(
    path: Path, network: Network, optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    """Write a checkpoint; a crash in between leaves the former one whole."""
    state = {k: v for k, v in network.state_dict().items() if "word_embeddings" not in k}
    numbers = {name: getattr(progress, name) for name in Progress.__slots__}
    fresh = path.with_suffix(".part")
    torch.save({"network": state, "optimizer": optimizer.state_dict(), "progress": numbers}, fresh)
    fresh.replace(path)


def restore(
    path: Path, network: Network, optimizer: torch.optim.Optimizer | None = None
) -> Progress:
    """Read a checkpoint into ``network`` (and ``optimizer``)."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    missing, unexpected = network.load_state_dict(state["network"], strict=False)
    if unexpected or any("word_embeddings" not in name for name in missing):
        raise ValueError(f"checkpoint {path} belongs to another network; remove it to start anew")
    if optimizer is not None:
        optimizer.load_state_dict(state["optimizer"])
    return Progress(**state["progress"])


def _optimizer(network: Network, plan: Plan) -> torch.optim.Optimizer:
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            rate = plan.head_rate if name.startswith("heads") else plan.rate
            decay = plan.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "lr": rate, "full_rate": rate, "weight_decay": decay}
            for (rate, decay), parameters in groups.items()
        ],
        betas=(0.9, 0.98),
    )


def _schedule(optimizer: torch.optim.Optimizer, plan: Plan, done: float) -> None:
    """Linear warm-up, then linear decay to nothing."""
    factor = min(1.0, 0.02 + done / plan.warm_up) * max(0.0, 1.0 - done)
    for group in optimizer.param_groups:
        group["lr"] = group["full_rate"] * factor


def _step(
    network: Network,
    optimizer: torch.optim.Optimizer,
    losses: _Losses,
    batch: list[Example],
    ids: list[list[int]],
) -> float:
    network.train()
    loss = losses(network(*pad(ids)), batch)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


def _batches(
    examples: list[Example], encode: Any, size: int, rng: random.Random
) -> Iterator[tuple[list[Example], list[list[int]]]]:
    """Batches of similar length; the twins of a pair come in one batch."""
    ids = [e.ids for e in encode.encode_batch([example.text for example in examples])]
    units: dict[str, list[int]] = {}
    for index, example in enumerate(examples):
        twins = example.group.startswith("pair ")
        units.setdefault(example.group if twins else f"#{index}", []).append(index)
    order = list(units.values())
    rng.shuffle(order)
    batches: list[list[int]] = []
    for start in range(0, len(order), size * _BUCKET):
        bucket = order[start : start + size * _BUCKET]
        bucket.sort(key=lambda unit: max(len(ids[i]) for i in unit))
        flat = [i for unit in bucket for i in unit]
        batches.extend(flat[i : i + size] for i in range(0, len(flat), size))
    rng.shuffle(batches)
    for batch in batches:
        yield [examples[i] for i in batch], [ids[i] for i in batch]


class _Losses:
    """The sum of the tasks' losses, each over the posts that have its label."""

    def __init__(self, examples: Mapping[str, list[Example]]) -> None:
        posts = draw(examples, random.Random(0))  # noqa: S311 - shuffling
        self.sentiment = _class_weights([e.sentiment for e in posts], 3)
        self.abuse = _class_weights([e.abuse for e in posts], 3)
        self.running = 0.0
        self._parts: dict[str, float] = {}

    def __call__(self, logits: tuple[Tensor, ...], batch: list[Example]) -> Tensor:
        sentiment, leak, category, abuse = logits
        parts = {
            "sentiment": self._cross_entropy(
                sentiment, [e.sentiment for e in batch], self.sentiment, smoothing=0.05
            ),
            "leak": self._leak(leak.squeeze(-1), [e.leak for e in batch]),
            "category": 0.5 * self._cross_entropy(category, [e.category for e in batch], None),
            "abuse": self._cross_entropy(abuse, [e.abuse for e in batch], self.abuse),
        }
        for name, value in parts.items():
            last = self._parts.get(name, float(value.detach()))
            self._parts[name] = 0.98 * last + 0.02 * float(value.detach())
        self.running = sum(self._parts.values())
        return torch.stack(list(parts.values())).sum()

    def summary(self) -> str:
        return ", ".join(f"{name} {value:.3f}" for name, value in self._parts.items())

    @staticmethod
    def _cross_entropy(
        logits: Tensor, labels: list[int], weights: Tensor | None, smoothing: float = 0.0
    ) -> Tensor:
        # Divided by the whole batch: a post counts the same however few share its task.
        total = functional.cross_entropy(
            logits,
            torch.tensor(labels),
            weight=weights,
            ignore_index=UNKNOWN,
            label_smoothing=smoothing,
            reduction="sum",
        )
        return total / len(labels)

    @staticmethod
    def _leak(logits: Tensor, labels: list[int]) -> Tensor:
        truth = torch.tensor(labels, dtype=torch.float32)
        each = functional.binary_cross_entropy_with_logits(
            logits, truth.clamp(min=0.0), reduction="none"
        )
        # A leak is the rare class here, too, and the one the model is for.
        weight = torch.where(truth == 1.0, 2.0, 1.0) * (truth != UNKNOWN)
        return (each * weight).sum() / len(labels)


def _class_weights(labels: list[int], classes: int) -> Tensor:
    """Square root of inverse frequency, around 1; at most 2, or rare labels are seen everywhere."""
    counts = torch.bincount(torch.tensor([x for x in labels if x != UNKNOWN]), minlength=classes)
    return (counts.sum() / (classes * counts.clamp(min=1))).sqrt().clamp(max=2.0)
