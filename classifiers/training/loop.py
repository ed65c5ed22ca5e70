"""The training loop: a budget of minutes, checkpoints, resuming where it was left.

The schedule follows the clock, not the steps: a slow or shared machine trains on fewer posts but
ends its schedule in time.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import TaskID
from sklearn.metrics import average_precision_score, f1_score, recall_score
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from classifiers.training.data import SENTIMENTS, UNKNOWN, Example, Stage, draw
from classifiers.training.network import HEADS, KEPT_LAYERS, Network, pad, tokenizer
from classifiers.training.variations import vary

log = logging.getLogger(__name__)

_BUCKET = 40
"""Batches are cut from this many batches' worth of posts, sorted by length: little padding."""

Loader = Callable[[Stage], Mapping[str, list[Example]]]
"""Reads what a stage draws from."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fast to learn."""

    minutes: float = 90.0
    foundation: float = 0.3
    """Share of the minutes for the first stage."""
    batch: int = 64
    rate: float = 1.2e-4
    head_rate: float = 1e-3
    embedding_rate: float = 6e-5
    warm_up: float = 0.03
    weight_decay: float = 0.01
    max_tokens: int = 128
    digits: float = 0.25
    case: float = 0.08
    joined: float = 0.15
    """The last three: shares of posts varied, see :func:`classifiers.training.variations.vary`."""
    layers: tuple[int, ...] = KEPT_LAYERS
    """Which layers of the base learn; the others are left out."""
    doubt: float = 2.0
    """Temperature at which a teacher's opinions are compared with the student's."""
    trust: float = 1.0
    """Weight of the teacher's opinions beside the labels."""
    likeness: float = 2.0
    """Weight of how near a post's mean state has to be to the teacher's."""
    precision: torch.dtype = torch.float32
    seed: int = 0
    checkpoint_minutes: float = 5.0
    glance_minutes: float = 12.0

    def stage(self, done: float) -> Stage:
        """The stage when ``done`` of the budget is used up, 0..1."""
        return Stage.FOUNDATION if done < self.foundation else Stage.EVERYTHING


@dataclass(slots=True)
class Progress:
    """What a run has done so far; part of its checkpoint."""

    seconds: float = 0.0
    rounds: int = 0
    steps: int = 0
    posts: int = 0


class Trainer:
    """One training run: until the budget is used up, from ``checkpoint`` on when there is one.

    Args:
        base: folder of the encoder to start from.
        load: reads what a stage draws from; called when the stage begins.
        glance: development posts to look at now and then, for the log only; may be empty.
        checkpoint: where the run is saved, and resumed from.
        plan: how long and how fast.
        teacher: a trained network of the same heads and at least the same layers: where the
            training starts, and whose opinions and states are learned beside the labels.
    """

    def __init__(
        self,
        base: Path,
        load: Loader,
        glance: Sequence[Example],
        checkpoint: Path,
        plan: Plan,
        *,
        teacher: Network | None = None,
    ) -> None:
        torch.manual_seed(plan.seed)
        self.network = Network(base, layers=plan.layers, precision=plan.precision)
        self.progress = Progress()
        self._teacher = teacher
        if teacher is not None:
            teacher.eval().precision = plan.precision
            self.network.adopt(teacher)
        self._load = load
        self._glance = glance
        self._checkpoint = checkpoint
        self._plan = plan
        self._encode = tokenizer(base, plan.max_tokens)
        self._optimizer = _optimizer(self.network, plan)
        self._saved = self._looked = time.monotonic()
        if checkpoint.exists():
            self.progress = restore(checkpoint, self.network, self._optimizer)
            log.info("resuming after %.0f minutes", self.progress.seconds / 60)

    @property
    def _done(self) -> float:
        return self.progress.seconds / (self._plan.minutes * 60)

    def run(self) -> None:
        """Train and save."""
        console = Console(stderr=True)
        with Bar(console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task("training", total=self._plan.minutes * 60)
            while self._done < 1.0:
                stage = self._plan.stage(self._done)
                examples = self._load(stage)
                for name, posts in examples.items():
                    log.info("%s, %s: %d posts to learn from", stage.value, name, len(posts))
                losses = _Losses(examples, stage)
                while self._done < 1.0 and self._plan.stage(self._done) is stage:
                    self._round(stage, examples, losses, bar, task)
        save(self._checkpoint, self.network, self._optimizer, self.progress)

    def _round(
        self,
        stage: Stage,
        examples: Mapping[str, list[Example]],
        losses: _Losses,
        bar: Bar,
        task: TaskID,
    ) -> None:
        """Learn from one round's draw, or from what of it the stage has time for."""
        plan, progress = self._plan, self.progress
        # The steps are part of the seed: a resumed run draws anew instead of repeating itself.
        rng = random.Random(f"{plan.seed} {progress.steps}")  # noqa: S311 - shuffling
        drawn = vary(
            draw(examples, rng, stage),
            rng,
            digits=plan.digits,
            case=plan.case,
            joined=plan.joined,
        )
        last = time.monotonic()
        for batch, ids in _batches(drawn, self._encode, plan.batch, rng):
            if self._done >= 1.0 or plan.stage(self._done) is not stage:
                return
            _schedule(self._optimizer, plan, self._done)
            self._step(losses, batch, ids)
            now = time.monotonic()
            progress.seconds += now - last
            last = now
            progress.steps += 1
            progress.posts += len(batch)
            bar.update(
                task,
                completed=progress.seconds,
                description=f"{stage.value}: {progress.posts} posts, loss {losses.running:.3f}",
            )
            if progress.steps % 100 == 0:
                log.info(
                    "%4.0f s, step %d, %d posts (%.1f/s), loss %s",
                    progress.seconds,
                    progress.steps,
                    progress.posts,
                    progress.posts / progress.seconds,
                    losses.summary(),
                )
            if now - self._saved > plan.checkpoint_minutes * 60:
                save(self._checkpoint, self.network, self._optimizer, progress)
                self._saved = time.monotonic()
            if self._glance and now - self._looked > plan.glance_minutes * 60:
                for line in glance(self.network, self._encode, self._glance):
                    log.info("development: %s", line)
                # What a look costs is not learning time.
                self._looked = last = time.monotonic()
        progress.rounds += 1

    def _step(self, losses: _Losses, batch: list[Example], ids: list[list[int]]) -> None:
        self.network.train()
        inputs = pad(ids)
        state = self.network.read(*inputs)
        logits = self.network.judge(state)
        loss = losses(logits, batch)
        if self._teacher is not None:
            plan = self._plan
            with torch.no_grad():
                aim = self._teacher.read(*inputs)
                opinions = self._teacher.judge(aim)
            loss = loss + plan.trust * disagreement(logits, opinions, plan.doubt)
            loss = loss + plan.likeness * (1.0 - functional.cosine_similarity(state, aim)).mean()
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self._optimizer.step()


def save(
    path: Path, network: Network, optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    """Write a checkpoint; a crash in between leaves the former one whole."""
    numbers = {name: getattr(progress, name) for name in Progress.__slots__}
    fresh = path.with_suffix(".part")
    torch.save(
        {
            "layers": network.layers,
            "network": network.state_dict(),
            "optimizer": optimizer.state_dict(),
            "progress": numbers,
        },
        fresh,
    )
    fresh.replace(path)


def restore(
    path: Path, network: Network, optimizer: torch.optim.Optimizer | None = None
) -> Progress:
    """Read a checkpoint into ``network`` (and ``optimizer``).

    Raises:
        ValueError: the checkpoint belongs to a network of other layers.
    """
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    try:
        network.load_state_dict(state["network"])
    except RuntimeError as error:
        raise ValueError(
            f"checkpoint {path} belongs to another network; remove it to start anew"
        ) from error
    if optimizer is not None:
        optimizer.load_state_dict(state["optimizer"])
    return Progress(**state["progress"])


def revive(base: Path, path: Path) -> tuple[Network, Progress]:
    """The network of a checkpoint, with the layers that it was trained with."""
    layers = torch.load(path, map_location="cpu", weights_only=True).get("layers", KEPT_LAYERS)
    network = Network(base, layers=layers)
    return network, restore(path, network)


def disagreement(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], doubt: float) -> Tensor:
    """How far the heads' opinions are from a teacher's, per post.

    Kullback-Leibler divergence at temperature ``doubt``, times its square, summed over the heads
    (Hinton et al. 2015, "Distilling the Knowledge in a Neural Network"). One column is the logit
    of one of two classes.
    """
    parts = []
    for mine, theirs in zip(student, teacher, strict=True):
        if mine.shape[1] == 1:
            mine = torch.cat([torch.zeros_like(mine), mine], dim=1)  # noqa: PLW2901 - as two
            theirs = torch.cat([torch.zeros_like(theirs), theirs], dim=1)  # noqa: PLW2901
        parts.append(
            functional.kl_div(
                functional.log_softmax(mine / doubt, dim=1),
                functional.log_softmax(theirs / doubt, dim=1),
                reduction="batchmean",
                log_target=True,
            )
        )
    return doubt**2 * torch.stack(parts).sum()


def _optimizer(network: Network, plan: Plan) -> torch.optim.Optimizer:
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            rate = plan.rate
            if name.startswith("heads"):
                rate = plan.head_rate
            elif "word_embeddings" in name:
                rate = plan.embedding_rate
            decay = plan.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "lr": rate, "full_rate": rate, "weight_decay": decay}
            for (rate, decay), parameters in groups.items()
        ],
        betas=(0.9, 0.98),
        fused=True,
    )


def _schedule(optimizer: torch.optim.Optimizer, plan: Plan, done: float) -> None:
    """Linear warm-up, then linear decay to nothing."""
    factor = min(1.0, 0.02 + done / plan.warm_up) * max(0.0, 1.0 - done)
    for group in optimizer.param_groups:
        group["lr"] = group["full_rate"] * factor


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

    def __init__(self, examples: Mapping[str, list[Example]], stage: Stage) -> None:
        posts = draw(examples, random.Random(0), stage)  # noqa: S311 - shuffling
        self.sentiment = _class_weights([e.sentiment for e in posts], 3)
        self.abuse = _class_weights([e.abuse for e in posts], 3)
        self._leaks = any(e.leak == 1 for e in posts)
        self.running = 0.0
        self._parts: dict[str, float] = {}

    def __call__(self, logits: tuple[Tensor, ...], batch: list[Example]) -> Tensor:
        sentiment, leak, category, abuse = logits
        parts = {
            "sentiment": self._cross_entropy(
                sentiment, [e.sentiment for e in batch], self.sentiment, smoothing=0.05
            ),
            # Without a leak among them, ordinary posts would only teach the head to say no.
            "leak": self._leaks * self._leak(leak.squeeze(-1), [e.leak for e in batch]),
            "twins": 0.5 * self._twins(leak.squeeze(-1), batch),
            "category": 0.5 * self._cross_entropy(category, [e.category for e in batch], None),
            "abuse": self._cross_entropy(abuse, [e.abuse for e in batch], self.abuse),
        }
        for name, value in parts.items():
            last = self._parts.get(name, float(value.detach()))
            self._parts[name] = 0.98 * last + 0.02 * float(value.detach())
        self.running = sum(self._parts.values())
        return torch.stack(list(parts.values())).sum()

    def summary(self) -> str:
        parts = ", ".join(f"{name} {value:.3f}" for name, value in self._parts.items())
        return f"{self.running:.3f} ({parts})"

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
        weight = torch.where(truth == 1.0, 1.5, 1.0) * (truth != UNKNOWN)
        return (each * weight).sum() / len(labels)

    @staticmethod
    def _twins(logits: Tensor, batch: list[Example]) -> Tensor:
        """Of two posts that differ only in what decides, the leak has to score higher."""
        pairs: dict[str, list[int]] = {}
        for index, example in enumerate(batch):
            if example.group.startswith("pair "):
                pairs.setdefault(example.group, []).append(index)
        apart = [
            logits[leak] - logits[calm]
            for places in pairs.values()
            for leak in places
            for calm in places
            if batch[leak].leak == 1 and batch[calm].leak == 0
        ]
        if not apart:
            return logits.new_zeros(())
        return functional.softplus(-torch.stack(apart)).sum() / len(batch)


def glance(network: Network, encode: Tokenizer, posts: Sequence[Example]) -> list[str]:
    """How the network stands on ``posts``: a line a set, for people who watch a run."""
    network.eval()
    order = sorted(posts, key=lambda e: len(e.text))
    outputs: list[tuple[Tensor, ...]] = []
    with torch.inference_mode():
        for start in range(0, len(order), 32):
            texts = [e.text for e in order[start : start + 32]]
            outputs.append(network(*pad([e.ids for e in encode.encode_batch(texts)])))
    sentiment, leak, category, abuse = (
        torch.cat([output[i] for output in outputs]).numpy() for i in range(len(HEADS))
    )
    lines = []
    for name in dict.fromkeys(e.source for e in order):
        at = [i for i, e in enumerate(order) if e.source == name]
        moods = [i for i in at if order[i].sentiment != UNKNOWN]
        words = [i for i in at if order[i].abuse != UNKNOWN]
        found = [f"{name} ({len(at)})"]
        if len({order[i].sentiment for i in moods}) == len(SENTIMENTS):
            truth = [order[i].sentiment for i in moods]
            recall = recall_score(truth, sentiment[moods].argmax(axis=1), average="macro")
            found.append(f"sentiment macro recall {recall:.3f}")
        if any(order[i].abuse for i in words):
            truth = [int(order[i].abuse > 0) for i in words]
            said = (abuse[words].argmax(axis=1) > 0).astype(int)
            found.append(f"abuse macro F1 {f1_score(truth, said, average='macro'):.3f}")
        if any(order[i].leak == 1 for i in at):
            known = [i for i in at if order[i].category != UNKNOWN]
            right = (category[known].argmax(axis=1) == [order[i].category for i in known]).mean()
            precision = average_precision_score([order[i].leak for i in at], leak[at, 0])
            found.append(f"leak average precision {precision:.3f}, right category {right:.2f}")
        lines.append(", ".join(found))
    return lines


def _class_weights(labels: list[int], classes: int) -> Tensor:
    """Square root of inverse frequency, around 1; at most 2, or rare labels are seen everywhere."""
    counts = torch.bincount(torch.tensor([x for x in labels if x != UNKNOWN]), minlength=classes)
    return (counts.sum() / (classes * counts.clamp(min=1))).sqrt().clamp(max=2.0)
