"""Writes ``tiny-hub/``: the smallest sequence-classification model that tells words apart.

Run with the ``train`` extra installed: ``python tests/classifiers/data/make_tiny_hub.py``.
The graph averages the rows of a table over the words of a text; the row of a word is its opinion.
"""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WORDS = {
    "<pad>": (0.0, 0.0, 0.0),
    "<unk>": (0.0, 1.0, 0.0),
    "slecht": (6.0, 0.0, 0.0),
    "waardeloos": (8.0, 0.0, 0.0),
    "vandaag": (0.0, 2.0, 0.0),
    "goed": (0.0, 0.0, 6.0),
    "prachtig": (0.0, 0.0, 8.0),
}
FOLDER = Path(__file__).parent / "tiny-hub"


def graph() -> onnx.ModelProto:
    """ids, mask -> the mean row of the words that the mask leaves."""
    table = np.array(list(WORDS.values()), dtype=np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["weight"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["weight", "last"], ["column"]),
        helper.make_node("Mul", ["rows", "column"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "words"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["weight", "words"], ["count"], keepdims=1),
        helper.make_node("Max", ["count", "one"], ["divisor"]),
        helper.make_node("Div", ["sum", "divisor"], ["logits"]),
    ]
    ids = ("batch", "words")
    return helper.make_model(
        helper.make_graph(
            nodes,
            "tiny",
            [
                helper.make_tensor_value_info(name, TensorProto.INT64, ids)
                for name in ("input_ids", "attention_mask")
            ],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("batch", 3))],
            [
                numpy_helper.from_array(table, "table"),
                numpy_helper.from_array(np.array([-1], dtype=np.int64), "last"),
                numpy_helper.from_array(np.array([1], dtype=np.int64), "words"),
                numpy_helper.from_array(np.array([1.0], dtype=np.float32), "one"),
            ],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )


def main() -> None:
    """Write the folder."""
    FOLDER.mkdir(exist_ok=True)
    onnx.save(graph(), FOLDER / "model.onnx")
    vocabulary = {word: index for index, word in enumerate(WORDS)}
    files = {
        "config.json": {
            "model_type": "bert",
            "architectures": ["BertForSequenceClassification"],
            "hidden_size": 12,
            "num_attention_heads": 1,
            "num_hidden_layers": 1,
            "vocab_size": len(WORDS),
            "max_position_embeddings": 32,
            "id2label": {"0": "Negative", "1": "Neutral", "2": "Positive"},
            "label2id": {"Negative": 0, "Neutral": 1, "Positive": 2},
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "pad_token": "<pad>",
            "unk_token": "<unk>",
            "model_max_length": 32,
            "model_input_names": ["input_ids", "attention_mask"],
        },
        "tokenizer.json": {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [
                {
                    "id": index,
                    "content": word,
                    "single_word": False,
                    "lstrip": False,
                    "rstrip": False,
                    "normalized": False,
                    "special": True,
                }
                for index, word in enumerate(("<pad>", "<unk>"))
            ],
            "normalizer": {"type": "Lowercase"},
            "pre_tokenizer": {"type": "Whitespace"},
            "post_processor": None,
            "decoder": None,
            "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"},
        },
    }
    for name, content in files.items():
        (FOLDER / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
