"""How fast and how large the embedded model is: ``python tests/bench/bench_model.py [--posts N]``.

Prints posts per second of the ways to run it and their ratios, the memory it takes, and how much
neighbours in a batch would change scores (the reason why texts are run one by one). With PyTorch
installed, a ``transformers`` pipeline of the same size in fp32 is measured beside it.
"""

import argparse
import importlib.util
import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from classifiers.embedded import EmbeddedModel
from classifiers.text import prepare

PARTS = (
    "Vanmiddag bij de winkel geweest, het brood was op maar de koffie smaakte prima",
    "Still waiting for my parcel from last week, does anybody know who to call?",
    "Wie heeft er ook zo'n last van die nieuwe app, steeds moet ik opnieuw inloggen 😡",
    "De gemeente legt in het voorjaar een nieuw fietspad aan langs het kanaal #fietsen",
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--posts", type=int, default=256)
    posts = texts(parser.parse_args().posts)
    before = memory()
    started = time.perf_counter()
    model = EmbeddedModel(threads=1)
    model.predict([PARTS[0]])
    print(f"loading and the first post: {time.perf_counter() - started:.2f} s")
    print(f"memory taken by it: {memory() - before:.0f} MB (peak of the process {peak():.0f} MB)")
    one = rate(model.predict, posts)
    print(f"one thread: {one:.0f} posts/s")
    model.predict(["woord " * 20_000])
    print(f"memory after a very long text: {memory() - before:.0f} MB more than at the start")
    two = rate(EmbeddedModel(threads=2).predict, posts)
    print(f"two threads: {two:.0f} posts/s, {two / one:.2f} times one thread")
    batches(model.folder, posts, two)
    if importlib.util.find_spec("torch"):
        slow = pipeline(model.folder, posts[:64])
        print(
            f"transformers pipeline, fp32, two threads: {slow:.0f} posts/s; "
            f"the embedded model is {two / slow:.1f} times as fast"
        )


def texts(count: int) -> list[str]:
    """Different posts of about 20 to 45 pieces."""
    return [f"{PARTS[i % 4]} ({i}) {PARTS[(i // 4) % 4][: i % 60]}" for i in range(count)]


def rate(run: Callable[[Sequence[str]], object], posts: Sequence[str]) -> float:
    """Posts per second, the best of three."""
    run(posts[:8])
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        run(posts)
        best = min(best, time.perf_counter() - started)
    return len(posts) / best


def batches(folder: Path, posts: Sequence[str], alone: float) -> None:
    """The same graph with padded batches, sorted by length: speed, and what neighbours change."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    encode = Tokenizer.from_file(str(folder / "tokenizer.json"))
    encode.enable_padding(pad_id=1, pad_token="<pad>")
    lists = [prepare(text) for text in posts]
    lists.sort(key=len)

    def run(size: int) -> np.ndarray:
        found = []
        for start in range(0, len(lists), size):
            items = encode.encode_batch(lists[start : start + size])
            feed = {
                "input_ids": np.array([e.ids for e in items], dtype=np.int64),
                "attention_mask": np.array([e.attention_mask for e in items], dtype=np.int64),
            }
            logits = session.run(["sentiment"], feed)[0]
            powers = np.exp(logits - logits.max(axis=1, keepdims=True))
            found.append(powers / powers.sum(axis=1, keepdims=True))
        return np.concatenate(found)

    truth = run(1)
    for size in (1, 16, 64):
        speed = rate(partial(by_size, run, size), lists)
        apart = np.abs(run(size) - truth).max(axis=1)
        print(
            f"batches of {size}, two threads inside: {speed:.0f} posts/s ({speed / alone:.2f} of "
            f"one by one); sentiment differs by {np.median(apart):.3f} (median), "
            f"{apart.max():.3f} (largest)"
        )


def by_size(run: Callable[[int], object], size: int, _: Sequence[str]) -> None:
    """Run all texts in batches of one size, whichever texts are asked for."""
    run(size)


def pipeline(folder: Path, posts: Sequence[str]) -> float:
    """What a plain pipeline of the same architecture does, with random weights."""
    import torch
    import transformers

    torch.set_num_threads(2)
    config = transformers.BertConfig(**json.loads((folder / "config.json").read_text()))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    network = transformers.BertForSequenceClassification(config).eval()
    run = transformers.pipeline("text-classification", model=network, tokenizer=tokenizer)
    return rate(lambda some: run(list(some), batch_size=16), posts)


def memory() -> float:
    """Resident memory of this process in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return peak()


def peak() -> float:
    """Largest resident memory so far in MB."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (1024 * 1024 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
