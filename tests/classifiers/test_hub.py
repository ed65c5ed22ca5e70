"""A model from a folder of the hub's format, run without PyTorch."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from classifiers.base import AbuseLabel, SentimentLabel
from classifiers.embedded import ModelError
from classifiers.hub import HubModel, meanings

TINY = Path(__file__).parent / "data" / "tiny-hub"


@pytest.fixture(scope="module")
def tiny() -> HubModel:
    return HubModel(TINY, "sentiment", threads=1)


@pytest.fixture
def variant(tmp_path: Path) -> Callable[..., Path]:
    """A copy of the tiny model with another configuration."""

    def make(**changes: object) -> Path:
        folder = tmp_path / "variant"
        shutil.copytree(TINY, folder, dirs_exist_ok=True)
        path = folder / "config.json"
        config = json.loads(path.read_text(encoding="utf-8")) | changes
        path.write_text(json.dumps(config), encoding="utf-8")
        return folder

    return make


def labels(*names: str) -> dict[int, str]:
    return dict(enumerate(names))


def test_texts_are_judged_in_the_order_given(tiny: HubModel) -> None:
    answers = tiny.predict(["prachtig goed", "slecht waardeloos", "vandaag", "prachtig goed"])
    best = [max(a.sentiment, key=a.sentiment.__getitem__) for a in answers if a.sentiment]
    assert best == ["positive", "negative", "neutral", "positive"]


def test_scores_are_probabilities_and_other_heads_stay_empty(tiny: HubModel) -> None:
    (answer,) = tiny.predict(["goed"])
    assert answer.sentiment is not None
    assert sum(answer.sentiment.values()) == pytest.approx(1.0)
    assert [answer.leak, answer.category, answer.abuse] == [None, None, None]


def test_a_text_scores_the_same_alone_and_among_others(tiny: HubModel) -> None:
    (alone,) = tiny.predict(["vandaag goed"])
    among = tiny.predict(["slecht " * 30, "vandaag goed", "prachtig"])
    assert among[1] == alone


def test_a_text_longer_than_the_model_can_take_is_cut(tiny: HubModel) -> None:
    (answer,) = tiny.predict(["goed " * 32 + "slecht " * 500])
    assert answer.sentiment is not None
    assert answer.sentiment[SentimentLabel.POSITIVE] > 0.9


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet=st.characters(), max_size=60))
def test_no_text_is_refused(tiny: HubModel, text: str) -> None:
    (answer,) = tiny.predict([text])
    assert answer.sentiment is not None
    assert sum(answer.sentiment.values()) == pytest.approx(1.0)


def test_a_lone_surrogate_and_an_empty_text_are_no_trouble(tiny: HubModel) -> None:
    assert len(tiny.predict(["\ud83d goed", "", "\x00"])) == 3
    assert tiny.predict([]) == []


def test_the_version_follows_the_configuration(variant: Callable[..., Path]) -> None:
    first = HubModel(variant(), "sentiment").version
    second = HubModel(variant(max_position_embeddings=16), "sentiment").version
    assert first.rpartition("@")[0] == second.rpartition("@")[0]
    assert first != second


def test_stars_become_sentiments() -> None:
    stars = labels("1 star", "2 stars", "3 stars", "4 stars", "5 stars")
    assert meanings("m", "sentiment", stars, None) == [
        "negative", "negative", "neutral", "positive", "positive",
    ]  # fmt: skip


def test_common_names_of_abuse_are_understood() -> None:
    assert meanings("m", "abuse", labels("not-offensive", "offensive"), None) == [
        AbuseLabel.NONE,
        AbuseLabel.ABUSIVE,
    ]
    assert meanings("m", "abuse", labels("Non Toxic", "hate", "threat"), None) == [
        AbuseLabel.NONE,
        AbuseLabel.ABUSIVE,
        AbuseLabel.THREAT,
    ]


def test_numbered_labels_are_refused_with_the_way_out() -> None:
    with pytest.raises(ModelError, match=r'LABEL_0.*labels = \{"LABEL_0" = "negative"'):
        meanings("m", "sentiment", labels("LABEL_0", "LABEL_1"), None)


def test_stars_say_nothing_about_abuse() -> None:
    with pytest.raises(ModelError, match="1 star"):
        meanings("m", "abuse", labels("1 star", "2 stars"), None)


def test_an_explicit_mapping_decides(variant: Callable[..., Path]) -> None:
    folder = variant(id2label={"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"})
    turned = {"LABEL_0": "positive", "LABEL_1": "neutral", "LABEL_2": "negative"}
    (answer,) = HubModel(folder, "sentiment", labels=turned).predict(["slecht"])
    assert answer.sentiment is not None
    assert answer.sentiment[SentimentLabel.POSITIVE] > 0.9


@pytest.mark.parametrize(
    ("mapping", "complaint"),
    [
        ({"LABEL_0": "negative"}, "missing: LABEL_1"),
        ({"LABEL_0": "negative", "LABEL_1": "positive", "LABEL_9": "neutral"}, "unknown: LABEL_9"),
        ({"LABEL_0": "bad", "LABEL_1": "positive"}, "LABEL_0 mean for sentiment is unknown"),
        ({"LABEL_0": "positive", "LABEL_1": "positive"}, "nothing to choose from"),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused(mapping: dict[str, str], complaint: str) -> None:
    with pytest.raises(ModelError, match=complaint):
        meanings("m", "sentiment", labels("LABEL_0", "LABEL_1"), mapping)


def test_a_mapping_may_serve_the_other_head(variant: Callable[..., Path]) -> None:
    folder = variant(id2label={"0": "threat", "1": "clean", "2": "insult"})
    (answer,) = HubModel(folder, "abuse").predict(["slecht"])
    assert answer.abuse is not None
    assert answer.abuse[AbuseLabel.THREAT] > 0.9
    assert answer.sentiment is None


def test_labels_that_hold_at_once_still_add_up(variant: Callable[..., Path]) -> None:
    folder = variant(
        problem_type="multi_label_classification",
        id2label={"0": "toxic", "1": "insult", "2": "threat"},
    )
    (rude, threat) = HubModel(folder, "abuse").predict(["waardeloos", "prachtig"])
    assert rude.abuse is not None
    assert threat.abuse is not None
    assert sum(rude.abuse.values()) == pytest.approx(1.0)
    assert max(rude.abuse, key=rude.abuse.__getitem__) is AbuseLabel.ABUSIVE
    assert max(threat.abuse, key=threat.abuse.__getitem__) is AbuseLabel.THREAT


def test_several_sentiments_at_once_are_refused(variant: Callable[..., Path]) -> None:
    folder = variant(problem_type="multi_label_classification")
    with pytest.raises(ModelError, match="several labels at a time"):
        HubModel(folder, "sentiment").predict(["goed"])


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="PyTorch is installed")
def test_without_graph_and_without_torch_the_error_names_the_extra(
    variant: Callable[..., Path],
) -> None:
    folder = variant()
    (folder / "model.onnx").unlink()
    with pytest.raises(ModelError, match=r"pip install '\.\[torch\]'"):
        HubModel(folder, "sentiment").predict(["goed"])


def test_a_damaged_graph_is_named(variant: Callable[..., Path]) -> None:
    folder = variant()
    (folder / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(ModelError, match=r"model\.onnx cannot be loaded"):
        HubModel(folder, "sentiment").predict(["goed"])


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a model transformers can read"):
        HubModel(tmp_path, "sentiment").predict(["goed"])


def test_a_missing_folder_is_no_hub_id(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        HubModel(tmp_path / "absent", "sentiment").predict(["goed"])


def test_a_head_we_do_not_have_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="sentiment or abuse"):
        HubModel(TINY, "leak")  # type: ignore[arg-type]


def test_a_text_without_readable_characters_is_neutral(tiny: HubModel) -> None:
    for text in ("", " \n\x00", "\ud83d"):
        (answer,) = tiny.predict([text])
        assert answer.sentiment is not None
        assert answer.sentiment[SentimentLabel.NEUTRAL] == 1.0


@pytest.mark.parametrize(
    ("stars", "meant"),
    [
        (("1 star", "2 stars"), "negative positive"),
        (("1 ster", "2 sterren", "3 sterren"), "negative neutral positive"),
        (("4", "3", "2", "1"), "positive positive negative negative"),
    ],
)
def test_stars_mean_what_they_mean_among_as_many(stars: tuple[str, ...], meant: str) -> None:
    assert meanings("m", "sentiment", labels(*stars), None) == meant.split()


@pytest.mark.parametrize("stars", [("1 star", "5 stars"), ("2 stars", "3 stars"), ("0", "1")])
def test_stars_of_an_unknown_scale_are_asked_about(stars: tuple[str, ...]) -> None:
    with pytest.raises(ModelError, match="sentiment_labels = "):
        meanings("m", "sentiment", labels(*stars), None)


def test_kinds_of_abuse_need_no_label_for_none_where_none_may_hold() -> None:
    names = labels("toxic", "insult")
    assert meanings("m", "abuse", names, None, independent=True) == ["abusive", "abusive"]
    with pytest.raises(ModelError, match="nothing to choose from"):
        meanings("m", "abuse", names, None)


def test_a_model_that_gives_a_number_is_refused(variant: Callable[..., Path]) -> None:
    with pytest.raises(ModelError, match="a number instead of labels"):
        HubModel(variant(id2label={"0": "positive"}), "sentiment").predict(["goed"])


def test_a_graph_of_another_model_is_told_at_once(variant: Callable[..., Path]) -> None:
    stars = {str(number): f"{number + 1} stars" for number in range(5)}
    with pytest.raises(ModelError, match="5 labels; do weights and config"):
        HubModel(variant(id2label=stars), "sentiment").version  # noqa: B018 - loads it


def test_code_that_comes_with_a_model_is_not_run(variant: Callable[..., Path]) -> None:
    folder = variant(
        model_type="of-its-own",
        auto_map={
            "AutoConfig": "evil.Config",
            "AutoModelForSequenceClassification": "evil.Model",
        },
    )
    mark = folder / "ran"
    (folder / "evil.py").write_text(f"import pathlib\npathlib.Path({str(mark)!r}).touch()\n")
    with pytest.raises(ModelError, match="not a model transformers can read"):
        HubModel(folder, "sentiment").predict(["goed"])
    assert not mark.exists()


def test_offline_a_hub_id_says_what_to_copy_where(tmp_path: Path) -> None:
    script = (
        "from classifiers.hub import HubModel\n"
        "from classifiers.embedded import ModelError\n"
        "import sys\n"
        "try:\n"
        "    HubModel('merkwacht/no-such-model', 'sentiment').version\n"
        "except ModelError as error:\n"
        "    sys.exit(str(error))\n"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    for word in (
        "merkwacht/no-such-model",
        "HF_HUB_OFFLINE is set",
        "tokenizer",
        "model.safetensors",
    ):
        assert word in done.stderr
    assert "Traceback" not in done.stderr
