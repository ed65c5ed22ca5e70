"""How fast, large and ready the classifiers are: ``python tests/bench/bench_model.py [--rounds N]``.

Four questions, each on a batch of 64 different posts of about 32 pieces:

* how many posts a second, by the model alone and with language and detectors around it, against a
  ``transformers`` pipeline (PyTorch, fp32, two threads) of twelve layers of the same width: with
  random weights, since they take as long as any. All take turns, and the best of each counts, so that
  other work on the machine disturbs all alike;
* how much of the work is whose;
* how long from the start of a fresh process to its first result, and how large it is then;
* what neighbours in a padded batch would change in scores: why texts are run one by one.

Nothing is remembered between rounds. Without PyTorch the pipeline is left out, and said so.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from classifiers.assessor import Assessor
from classifiers.base import Text
from classifiers.detectors import default_detectors, find_all
from classifiers.embedded import EmbeddedModel
from classifiers.language import LanguageIdentifier
from classifiers.text import prepare

ROOT = Path(__file__).parents[2]
BATCH = 64
LAYERS_BEFORE_PRUNING = 12
OPENINGS = (
    "Vanmiddag bij de winkel geweest, het brood was op maar de koffie smaakte prima",
    "Still waiting for my parcel from last week, does anybody know who to call?",
    "Wie heeft er ook zo'n last van die nieuwe app, steeds moet ik opnieuw inloggen 😡",
    "De gemeente legt in het voorjaar een nieuw fietspad aan langs het kanaal #fietsen",
)
MIDDLES = (
    "en morgen nog eens kijken",
    "because nobody answers the phone",
    "voor de derde keer deze maand al",
    "want dat had allang gekund",
)

Run = Callable[[Sequence[str]], object]


@dataclass
class Best:
    """The quickest of several rounds, in seconds for the whole batch."""

    wall: float = float("inf")
    cpu: float = float("inf")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (default: 5)")
    rounds = parser.parse_args().rounds
    folder = EmbeddedModel().folder
    posts = texts(BATCH)
    encode = Tokenizer.from_file(str(folder / "tokenizer.json"))
    encode.no_padding()
    pieces = [len(encode.encode(prepare(post)).ids) for post in posts]
    print(
        f"{BATCH} posts of {min(pieces)} to {max(pieces)} pieces, {np.mean(pieces):.0f} on average"
    )
    speed(folder, posts, rounds)
    shares(posts)
    readiness(rounds)
    neighbours(folder, posts)


def texts(count: int) -> list[str]:
    """Different posts of about 32 pieces."""
    return [f"{OPENINGS[i % 4]} ({i}) {MIDDLES[(i // 4) % 4]}" for i in range(count)]


# -- speed -----------------------------------------------------------------------------------------


def speed(folder: Path, posts: Sequence[str], rounds: int) -> None:
    """Posts a second of each way, in turns, and their ratio to the pipeline."""
    one, two = (EmbeddedModel(folder, threads=n, remembered=0) for n in (1, 2))
    whole = assessor(two)
    ways: dict[str, Run] = {
        "model, one thread": one.predict,
        "model, two threads": two.predict,
        "everything, two threads": lambda some: whole.classify([Text(post) for post in some]),
    }
    reference = "pipeline, 12 layers"
    for size in (1, BATCH) if importlib.util.find_spec("torch") else ():
        ways[f"{reference}, batches of {size}"] = pipeline(folder, size)
    best = in_turns(ways, posts, rounds)
    slow = [name for name in ways if name.startswith(reference)]
    if not slow:
        print("PyTorch is not installed: no pipeline to compare with (pip install '.[torch]')")
    quickest = min((best[name].wall for name in slow), default=None)
    least = min((best[name].cpu for name in slow), default=None)
    for name in ways:
        line = f"{name}: {len(posts) / best[name].wall:.0f} posts/s, "
        line += f"{1000 * best[name].cpu / len(posts):.1f} ms of processor a post"
        if quickest is not None and least is not None and name not in slow:
            line += f"; {quickest / best[name].wall:.1f} times the pipeline"
            line += f" ({least / best[name].cpu:.1f} times by processor)"
        print(line)


def assessor(model: EmbeddedModel) -> Assessor:
    """All classifiers around a model."""
    return Assessor(
        model,
        language=LanguageIdentifier(),
        detectors=default_detectors(),
        leak_thresholds=model.leak_thresholds,
    )


def in_turns(ways: dict[str, Run], posts: Sequence[str], rounds: int) -> dict[str, Best]:
    """The best of some rounds in which each has its turn."""
    best = {name: Best() for name in ways}
    for run in ways.values():
        run(posts[:8])
    for _ in range(rounds):
        for name, run in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run(posts)
            best[name].wall = min(best[name].wall, time.perf_counter() - wall)
            best[name].cpu = min(best[name].cpu, time.process_time() - cpu)
    return best


def pipeline(folder: Path, batch_size: int) -> Run:
    """A plain pipeline of twelve layers of the model's width."""
    import torch
    import transformers

    torch.set_num_threads(2)
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    values |= {"num_hidden_layers": LAYERS_BEFORE_PRUNING, "model_type": "bert"}
    config = transformers.BertConfig(**values)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    network = transformers.BertForSequenceClassification(config).eval()
    run = transformers.pipeline("text-classification", model=network, tokenizer=tokenizer)
    return lambda posts: run(list(posts), batch_size=batch_size)


def shares(posts: Sequence[str]) -> None:
    """Milliseconds of processor that each part takes of one post."""
    model = EmbeddedModel(threads=1, remembered=0)
    model.predict(posts[:4])
    detectors, language = default_detectors(), LanguageIdentifier()
    parts: dict[str, Run] = {
        "model": model.predict,
        "detectors": lambda some: [find_all(detectors, post) for post in some],
        "language": lambda some: [language.identify(post, None) for post in some],
    }
    best = in_turns(parts, posts, 3)
    told = (f"{name} {1000 * found.cpu / len(posts):.2f}" for name, found in best.items())
    print(f"milliseconds of processor a post: {', '.join(told)}")


# -- readiness -------------------------------------------------------------------------------------

MODEL_ALONE = """
from classifiers.embedded import EmbeddedModel
EmbeddedModel().predict(["Lekker brood bij Acme"])
"""
EVERYTHING = """
from classifiers.assessor import Assessor
from classifiers.base import Text
from classifiers.detectors import default_detectors
from classifiers.embedded import EmbeddedModel
from classifiers.language import LanguageIdentifier
model = EmbeddedModel()
assessor = Assessor(model, language=LanguageIdentifier(), detectors=default_detectors(),
                    leak_thresholds=model.leak_thresholds)
assessor.classify([Text("Lekker brood bij Acme")])
"""
COMMAND = """
import io, sys
sys.stdin, sys.stdout = io.StringIO("Lekker brood bij Acme"), io.StringIO()
sys.argv = ["merkwacht", "classify", "--plain"]
from monitor.cli import main
try:
    main()
except SystemExit:
    pass
sys.stdout = sys.__stdout__
"""
REPORT = """
import pathlib, re, resource, sys, time
try:  # getrusage would count what our parent had in memory when it made us
    status = pathlib.Path("/proc/self/status").read_text()
    size = int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) / 2**10
except OSError:
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    size /= 2**20 if sys.platform == "darwin" else 2**10
print(time.process_time(), size, flush=True)
"""


def readiness(rounds: int) -> None:
    """From the start of a process to its first result, and its largest size until then."""
    scripts = {
        "model alone": MODEL_ALONE,
        "everything": EVERYTHING,
        "merkwacht classify": COMMAND,
    }
    for name, script in scripts.items():
        found = [start(script + REPORT) for _ in range(rounds)]
        wall, cpu = (min(each[place] for each in found) for place in (0, 1))
        size = max(each[2] for each in found)
        print(f"{name}: first result after {wall:.2f} s ({cpu:.2f} s of processor), {size:.0f} MB")


def start(script: str) -> tuple[float, float, float]:
    """Seconds until a script reports, its processor seconds, its size in MB."""
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        line = process.stdout.readline() if process.stdout else ""
        seconds = time.perf_counter() - began
    if not line:
        raise SystemExit("a fresh process did not come to its first result")
    cpu, size = map(float, line.split())
    return seconds, cpu, size


# -- neighbours ------------------------------------------------------------------------------------


def neighbours(folder: Path, posts: Sequence[str]) -> None:
    """What padded batches would change in the scores of the same posts."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    encode = Tokenizer.from_file(str(folder / "tokenizer.json"))
    encode.enable_padding(pad_id=1, pad_token="<pad>")
    lists = sorted((prepare(post) for post in posts), key=len)

    def run(size: int) -> np.ndarray:
        found = []
        for start_at in range(0, len(lists), size):
            items = encode.encode_batch(lists[start_at : start_at + size])
            feed = {
                "input_ids": np.array([e.ids for e in items], dtype=np.int64),
                "attention_mask": np.array([e.attention_mask for e in items], dtype=np.int64),
            }
            logits = session.run(["sentiment"], feed)[0]
            powers = np.exp(logits - logits.max(axis=1, keepdims=True))
            found.append(powers / powers.sum(axis=1, keepdims=True))
        return np.concatenate(found)

    apart = np.abs(run(BATCH) - run(1)).max(axis=1)
    print(
        f"in one padded batch, sentiment would differ by {np.median(apart):.3f} (median), "
        f"{apart.max():.3f} (largest)"
    )


if __name__ == "__main__":
    main()
