"""Cuts the vocabulary of multilingual-e5-small to Dutch and English: a third of the parameters.

The released encoder knows 250,037 pieces of a hundred languages, four fifths of its parameters.
What stays are the pieces of the tokenizer that comes with Merkwacht's model; rows of the embedding
matrix follow them in order. Dutch and English texts are cut into the same pieces as before and get
the same vectors; other languages are spelled in smaller pieces.
"""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

log = logging.getLogger(__name__)

ENCODER = "intfloat/multilingual-e5-small"
OUR_TOKENIZER = Path(__file__).parent.parent / "model" / "tokenizer.json"
_ROWS = "embeddings.word_embeddings.weight"
_FILES = ("config.json", "model.safetensors", "tokenizer.json")


class TrimmingError(Exception):
    """An encoder that cannot be cut; the message says why."""


def base_folder(encoder: str, scratch: Path) -> Path:
    """Return a folder with a cut encoder to train from.

    Args:
        encoder: a folder that holds one already, a folder with the whole encoder, or its hub id.
        scratch: where a cut one is written, as ``base/``; used again when it is there.

    Raises:
        TrimmingError: the encoder lacks pieces or files.
        OSError: the hub cannot be reached.
    """
    ours = _pieces(OUR_TOKENIZER)
    folder = Path(encoder).expanduser()
    if not folder.is_dir():
        from huggingface_hub import snapshot_download  # noqa: PLC0415 - not for folders

        log.info("fetching %s", encoder)
        folder = Path(snapshot_download(encoder, allow_patterns=list(_FILES)))  # nosec B615 # chosen by who trains
    if _pieces(folder / "tokenizer.json") == ours:
        return folder
    cut = scratch / "base"
    if not (cut / "model.safetensors").exists():
        trim(folder, OUR_TOKENIZER, cut)
    return cut


def trim(whole: Path, tokenizer: Path, output: Path) -> None:
    """Write the encoder in ``whole`` with the vocabulary of ``tokenizer`` to ``output``.

    Raises:
        TrimmingError: a file is missing, or a piece of ``tokenizer`` is unknown to the encoder.
    """
    for name in _FILES:
        if not (whole / name).is_file():
            raise TrimmingError(f"{whole} has no {name}; a whole encoder in transformers format")
    at = {piece: row for row, piece in enumerate(_pieces(whole / "tokenizer.json"))}
    wanted = _pieces(tokenizer)
    missing = [piece for piece in wanted if piece not in at]
    if missing:
        raise TrimmingError(
            f"{whole}: {len(missing)} of {len(wanted)} pieces are unknown to it, {missing[0]!r} "
            "for one; it needs the vocabulary of XLM-RoBERTa"
        )
    weights = load_file(whole / "model.safetensors")
    # Checkpoints of bare encoders and of larger models name their tensors alike but for a prefix.
    rows = next((name for name in weights if name.endswith(_ROWS)), None)
    if rows is None:
        raise TrimmingError(f"{whole}: model.safetensors has no {_ROWS}")
    weights[rows] = weights[rows][np.array([at[piece] for piece in wanted])]
    output.mkdir(parents=True, exist_ok=True)
    config: dict[str, Any] = json.loads((whole / "config.json").read_text(encoding="utf-8"))
    config["vocab_size"] = len(wanted)
    (output / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    shutil.copyfile(tokenizer, output / "tokenizer.json")
    settings = tokenizer.with_name("tokenizer_config.json")
    if settings.exists():
        shutil.copyfile(settings, output / "tokenizer_config.json")
    # Last: its presence says that the folder is whole.
    save_file(weights, output / "model.safetensors", metadata={"format": "pt"})
    log.info("cut %d pieces to %d", len(at), len(wanted))


def _pieces(tokenizer: Path) -> list[str]:
    """The pieces of a vocabulary in order of their ids.

    Raises:
        TrimmingError: there is no such file, or it is of another kind.
    """
    try:
        content = json.loads(tokenizer.read_text(encoding="utf-8"))
        return [str(piece) for piece, _ in content["model"]["vocab"]]
    except FileNotFoundError:
        raise TrimmingError(f"{tokenizer} is missing") from None
    except (KeyError, TypeError, ValueError) as error:
        raise TrimmingError(f"{tokenizer} is no SentencePiece (Unigram) tokenizer") from error
