"""Cutting the vocabulary of an encoder."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from classifiers.training.trimming import OUR_TOKENIZER, TrimmingError, base_folder, trim

ROWS = "embeddings.word_embeddings.weight"
FOREIGN = ["▁собака", "▁犬", "▁chien"]


@pytest.fixture
def whole(tmp_path):
    """An encoder with a larger vocabulary than ours, in another order; vectors two wide."""
    folder = tmp_path / "whole"
    folder.mkdir()
    content = json.loads(OUR_TOKENIZER.read_text(encoding="utf-8"))
    ours = content["model"]["vocab"]
    content["model"]["vocab"] = [*ours[:4], *[[p, -9.0] for p in FOREIGN], *ours[4:]]
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "config.json").write_text('{"vocab_size": 250037, "model_type": "bert"}')
    size = len(content["model"]["vocab"])
    rows = np.arange(2 * size, dtype=np.float32).reshape(size, 2)
    save_file({ROWS: rows, "other": np.ones(3, np.float32)}, folder / "model.safetensors")
    return folder


def test_each_piece_keeps_its_vector(whole, tmp_path):
    trim(whole, OUR_TOKENIZER, tmp_path / "cut")

    weights = load_file(tmp_path / "cut" / "model.safetensors")
    cut = Tokenizer.from_file(str(tmp_path / "cut" / "tokenizer.json"))
    before = {p: i for i, (p, _) in enumerate(_vocabulary(whole))}
    for piece in ("▁winkel", "▁password", "<s>", "é"):
        row = weights[ROWS][cut.token_to_id(piece)]
        assert row.tolist() == [2 * before[piece], 2 * before[piece] + 1]
    assert weights["other"].tolist() == [1, 1, 1]
    settings = json.loads((tmp_path / "cut" / "config.json").read_text())
    assert settings == {"vocab_size": len(weights[ROWS]), "model_type": "bert"}
    assert not set(FOREIGN) & {p for p, _ in _vocabulary(tmp_path / "cut")}


def test_a_cut_encoder_is_taken_as_it_is_and_a_whole_one_is_cut_once(whole, tmp_path):
    cut = base_folder(str(whole), tmp_path / "work")
    written = (cut / "model.safetensors").stat().st_mtime_ns

    assert base_folder(str(cut), tmp_path / "elsewhere") == cut
    assert base_folder(str(whole), tmp_path / "work") == cut
    assert (cut / "model.safetensors").stat().st_mtime_ns == written


def test_an_encoder_without_our_pieces_is_refused(whole, tmp_path):
    content = json.loads((whole / "tokenizer.json").read_text(encoding="utf-8"))
    content["model"]["vocab"] = content["model"]["vocab"][:5000]
    (whole / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")

    with pytest.raises(TrimmingError, match="needs the vocabulary of XLM-RoBERTa"):
        trim(whole, OUR_TOKENIZER, tmp_path / "cut")


def test_a_folder_without_weights_is_refused(whole, tmp_path):
    (whole / "model.safetensors").unlink()

    with pytest.raises(TrimmingError, match=r"has no model\.safetensors"):
        trim(whole, OUR_TOKENIZER, tmp_path / "cut")


def _vocabulary(folder):
    return json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
