"""Models as transformers saves them, run by PyTorch and by their own graph. Needs the extra `torch`."""

from __future__ import annotations

import json
import pickle
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from classifiers.base import AbuseLabel, SentimentLabel
from classifiers.embedded import ModelError
from classifiers.hub import HubModel

torch = pytest.importorskip("torch", reason="needs the extra torch")
transformers = pytest.importorskip("transformers")

TINY = Path(__file__).parent / "data" / "tiny-hub"
TEXTS = ["prachtig goed", "slecht waardeloos", "vandaag", "", "goed " * 100]

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Saves a small random BERT the way anybody would."""

    def make(labels: Mapping[int, str], *, graph: bool = False, **changes: Any) -> Path:
        torch.manual_seed(7)
        config = transformers.BertConfig(
            vocab_size=7,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=32,
            id2label=dict(labels),
            label2id={label: index for index, label in labels.items()},
            **changes,
        )
        network = transformers.BertForSequenceClassification(config).eval()
        with torch.no_grad():
            network.classifier.weight.mul_(40)  # random weights are undecided otherwise
        folder = tmp_path / f"model-{len(list(tmp_path.iterdir()))}"
        network.save_pretrained(folder)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(TINY / name, folder / name)
        if graph:
            _export(network, folder / "onnx" / "model.onnx")
        return folder

    return make


def _export(network: Any, path: Path) -> None:
    """A graph as the usual tools write it: it wants token types, which the tokenizer does not give."""
    path.parent.mkdir()
    names = ["input_ids", "attention_mask", "token_type_ids"]
    example = (torch.ones((1, 4), dtype=torch.int64),) * 3
    axes = {name: {0: "batch", 1: "length"} for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own: about tracing, and about itself
        torch.onnx.export(
            network,
            example,
            str(path),
            input_names=names,
            output_names=["logits"],
            dynamic_axes=axes,
            dynamo=False,
        )


def labels(*names: str) -> dict[int, str]:
    return dict(enumerate(names))


def sentiments(folder: Path, **options: Any) -> list[dict[SentimentLabel, float]]:
    answers = HubModel(folder, "sentiment", **options).predict(TEXTS)
    return [dict(answer.sentiment or {}) for answer in answers]


def test_graph_and_weights_give_the_same_scores(save: Save) -> None:
    names = labels("Negative", "Neutral", "Positive")
    by_torch = sentiments(save(names))
    by_graph = sentiments(save(names, graph=True))
    for one, other in zip(by_torch, by_graph, strict=True):
        assert one == pytest.approx(other, abs=1e-4)
    assert len({max(each, key=each.__getitem__) for each in by_torch}) > 1, "not one answer for all"


def test_numbered_labels_follow_the_mapping(save: Save) -> None:
    folder = save(labels("LABEL_0", "LABEL_1", "LABEL_2"))
    turns = {"LABEL_0": "positive", "LABEL_1": "neutral", "LABEL_2": "negative"}
    straight = {"LABEL_0": "negative", "LABEL_1": "neutral", "LABEL_2": "positive"}
    one, other = sentiments(folder, labels=turns), sentiments(folder, labels=straight)
    for turned, plain in zip(one, other, strict=True):
        assert turned[SentimentLabel.POSITIVE] == pytest.approx(plain[SentimentLabel.NEGATIVE])


def test_labels_without_meaning_are_refused_with_the_way_out(save: Save) -> None:
    with pytest.raises(ModelError, match=r"LABEL_0, LABEL_1 mean.*sentiment_labels = \{"):
        sentiments(save(labels("LABEL_0", "LABEL_1")))


@pytest.mark.parametrize(
    ("count", "meant"), [(2, "-+"), (3, "-0+"), (4, "--++"), (5, "--0++")], ids=str
)
def test_stars_add_up_to_sentiments(save: Save, count: int, meant: str) -> None:
    stars = labels(*(f"{n} star{'s' if n > 1 else ''}" for n in range(1, count + 1)))
    names = {"-": "negative", "0": "neutral", "+": "positive"}
    folder = save(stars)
    mapping = {label: names[sign] for label, sign in zip(stars.values(), meant, strict=True)}
    assert sentiments(folder) == sentiments(folder, labels=mapping)
    assert all(sum(each.values()) == pytest.approx(1.0) for each in sentiments(folder))


def test_labels_that_hold_at_once_serve_abuse(save: Save) -> None:
    toxic = labels("toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate")
    folder = save(toxic, problem_type="multi_label_classification")
    for answer in HubModel(folder, "abuse").predict(TEXTS):
        assert answer.abuse is not None
        assert sum(answer.abuse.values()) == pytest.approx(1.0)
        assert set(answer.abuse) == set(AbuseLabel)


def test_only_kinds_of_abuse_are_enough_where_none_may_hold(save: Save) -> None:
    folder = save(labels("toxic", "insult"), problem_type="multi_label_classification")
    (answer,) = HubModel(folder, "abuse").predict(["vandaag"])
    assert answer.abuse is not None
    assert answer.abuse[AbuseLabel.THREAT] == 0.0
    assert 0.0 < answer.abuse[AbuseLabel.NONE] < 1.0


def test_a_pickle_is_never_opened(save: Save, tmp_path: Path) -> None:
    folder = save(labels("negative", "positive"))
    (folder / "model.safetensors").unlink()
    mark = tmp_path / "opened"
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Touch(mark)))
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        sentiments(folder)
    assert not mark.exists()


class _Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_damaged_weights_are_named(save: Save) -> None:
    folder = save(labels("negative", "positive"))
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelError, match="no weights that can be read"):
        sentiments(folder)


def test_weights_trained_further_are_another_version(save: Save) -> None:
    folder = save(labels("negative", "positive"))
    before = HubModel(folder, "sentiment").version
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    assert HubModel(folder, "sentiment").version != before


def test_a_model_without_token_types_is_not_given_any(save: Save, tmp_path: Path) -> None:
    config = transformers.DistilBertConfig(
        vocab_size=7,
        dim=16,
        n_layers=1,
        n_heads=2,
        hidden_dim=32,
        max_position_embeddings=32,
        id2label=labels("negative", "positive"),
    )
    folder = tmp_path / "distil"
    transformers.DistilBertForSequenceClassification(config).save_pretrained(folder)
    shutil.copy(TINY / "tokenizer.json", folder)
    names = ["input_ids", "token_type_ids", "attention_mask"]
    tokenizer = json.loads((TINY / "tokenizer_config.json").read_text())
    tokenizer["model_input_names"] = names
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    assert len(sentiments(folder)) == len(TEXTS)
