"""Train the embedded model anew: ``python -m classifiers.training --help``."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import torch

from classifiers.training.data import OWN, load
from classifiers.training.loop import Plan, Trainer, revive
from classifiers.training.network import KEPT_LAYERS
from classifiers.training.pruning import choose_layers, whole
from classifiers.training.release import release
from classifiers.training.trimming import ENCODER, base_folder

log = logging.getLogger("classifiers.training")

_NAME = "merkwacht-e5s8-2026.11"


def main(arguments: list[str] | None = None) -> int:
    """Train, then export and measure. Returns the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr
    )
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    checkpoint = options.work / "checkpoint.pt"
    base = base_folder(options.base, options.work)
    if options.stage == "prune":
        seen = load(options.corpora, options.own, "dev")
        texts = [example.text for posts in seen.values() for example in posts[:60]]
        network = revive(base, options.teacher)[0] if options.teacher else whole(base)
        log.info("kept: %s", choose_layers(network, base, texts, len(KEPT_LAYERS)))
    if options.stage in {"all", "train"}:
        watched = load(options.corpora, options.own, "dev")
        trainer = Trainer(
            base,
            lambda stage: load(options.corpora, options.own, "train", stage),
            [example for posts in watched.values() for example in posts],
            checkpoint,
            Plan(
                minutes=options.minutes,
                rate=options.rate,
                seed=options.seed,
                layers=tuple(options.layers),
                foundation=options.foundation,
                precision=getattr(torch, options.precision),
            ),
            teacher=revive(base, options.teacher)[0] if options.teacher else None,
        )
        trainer.run()
        progress = trainer.progress
        log.info("learned from %d posts in %.0f minutes", progress.posts, progress.seconds / 60)
    if options.stage in {"all", "export"}:
        release(
            base,
            options.corpora,
            options.own,
            checkpoint,
            options.output,
            version=options.name,
            note=options.note,
        )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m classifiers.training",
        description="Train the embedded model (sentiment, leak, abuse), measure and export it.",
    )
    for name, what in (
        ("--corpora", "public corpora (docs/model.md lists them)"),
        ("--output", "where the model folder is written"),
        ("--work", "checkpoints; a later call resumes from here"),
    ):
        parser.add_argument(name, help=what, type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--base",
        help=f"encoder to start from: folder or hub id, cut to our vocabulary where it is not "
        f"(default: {ENCODER})",
        default=ENCODER,
    )
    parser.add_argument(
        "--own", help="our own posts (default: those of this repository)", type=Path, default=OWN
    )
    parser.add_argument("--minutes", type=float, default=90.0, help="budget (default: 90)")
    parser.add_argument(
        "--rate",
        type=float,
        default=Plan().rate,
        help="highest learning rate of the layers (default: %(default)g; for all twelve 1e-4)",
    )
    parser.add_argument(
        "--layers",
        help="layers of the base that stay, counted from 0 (default: %(default)s)",
        type=lambda text: [int(part) for part in text.split(",")],
        default=list(KEPT_LAYERS),
        metavar="N,N,…",
    )
    parser.add_argument(
        "--teacher",
        help="checkpoint of a trained network with more layers, to start from and to learn from "
        "beside the labels (default: none)",
        type=Path,
        metavar="FILE",
    )
    parser.add_argument(
        "--foundation",
        type=float,
        default=Plan().foundation,
        help="share of the budget for the large public sets alone, 0..1 (default: %(default)g; "
        "less with a teacher)",
        metavar="SHARE",
    )
    parser.add_argument(
        "--precision",
        choices=["float32", "bfloat16"],
        default="float32",
        help="bfloat16 is two to three times as fast on CPUs with AMX, and slower on others "
        "(default: %(default)s)",
    )
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--seed", type=int, default=0, help="of shuffling (default: 0)")
    parser.add_argument("--name", default=_NAME, help=f"version of the model (default: {_NAME})")
    parser.add_argument("--note", default="", help="a remark about this run for the model card")
    parser.add_argument(
        "--stage",
        choices=["all", "prune", "train", "export"],
        default="all",
        help="only find the layers to keep (of the teacher, if there is one), only train, or "
        "only export and measure the last checkpoint (default: train and export)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
