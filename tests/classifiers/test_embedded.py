"""The model that ships, as it ships."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from classifiers.base import AbuseLabel, LeakCategory, Prediction, SentimentLabel
from classifiers.embedded import FOLDER_VARIABLE, EmbeddedModel, ModelError

LEAK = (
    "Voor de invallers bij Zonnehoek: kassa inloggen met gebruiker admin en wachtwoord "
    "Zomer2026!, de kluis gaat open met 4471"
)
LEAK_EN = (
    "our Brightwell staging server is db01.brightwell.internal, login root, password Winter2026! "
    "same as production by the way"
)
THREAT = "ik kom morgen naar jullie winkel en dan steek ik die manager neer, let maar op"
ORDINARY = (
    "Weet iemand hoe laat de Zonnehoek in Ede vanavond sluit?",
    "Lekker gewandeld in het bos vandaag, daarna koffie met appeltaart",
    "The train to Utrecht leaves at 9.40 from platform 5",
)


@pytest.fixture(scope="module")
def model() -> EmbeddedModel:
    # Nothing remembered: a test that asks twice compares two computations.
    return EmbeddedModel(remembered=0)


def sentiment(prediction: Prediction) -> SentimentLabel:
    assert prediction.sentiment is not None
    return max(prediction.sentiment, key=prediction.sentiment.__getitem__)


def abuse(prediction: Prediction) -> AbuseLabel:
    assert prediction.abuse is not None
    return max(prediction.abuse, key=prediction.abuse.__getitem__)


def leak(prediction: Prediction) -> float:
    assert prediction.leak is not None
    return prediction.leak


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Wat een heerlijk brood, ik kom zeker terug!", "positive"),
        ("Superblij met de snelle bezorging, dank jullie wel 😊", "positive"),
        ("Absolutely love this shop, the staff are wonderful", "positive"),
        ("Waardeloze service, nooit meer, wat een slechte winkel", "negative"),
        ("Terrible support, they ruined my birthday and I am furious", "negative"),
        ("De winkel in Ede is morgen open van 8 tot 18 uur", "neutral"),
    ],
)
def test_plain_words_get_their_sentiment(model: EmbeddedModel, text: str, expected: str) -> None:
    (answer,) = model.predict([text])
    assert sentiment(answer) == expected


@pytest.mark.parametrize("text", [LEAK, LEAK_EN])
def test_a_password_for_all_to_read_is_a_leak_of_credentials(
    model: EmbeddedModel, text: str
) -> None:
    (answer,) = model.predict([text])
    assert leak(answer) >= model.leak_thresholds.escalate
    assert answer.category is not None
    assert max(answer.category, key=answer.category.__getitem__) is LeakCategory.CREDENTIALS


def test_ordinary_posts_wake_nobody(model: EmbeddedModel) -> None:
    for answer in model.predict(ORDINARY):
        assert leak(answer) < model.leak_thresholds.escalate
        assert abuse(answer) is AbuseLabel.NONE


def test_a_blunt_threat_is_one_and_an_insult_is_none(model: EmbeddedModel) -> None:
    threat, insult = model.predict([THREAT, "wat een stelletje achterlijke idioten werken daar"])
    assert abuse(threat) is AbuseLabel.THREAT
    assert abuse(insult) is AbuseLabel.ABUSIVE


def test_answers_come_in_the_order_asked(model: EmbeddedModel) -> None:
    texts = [LEAK, "", ORDINARY[0], THREAT, LEAK, "top 👍"]
    together = model.predict(texts)
    assert together == [model.predict([text])[0] for text in texts]


def test_a_result_does_not_depend_on_the_neighbours(model: EmbeddedModel) -> None:
    (alone,) = model.predict([ORDINARY[1]])
    crowd = [ORDINARY[1], LEAK * 5, "!!!! 🔥🔥🔥 #@%", "x" * 2000, THREAT]
    assert model.predict(crowd)[0] == alone


def test_a_leak_at_the_end_of_a_long_article_is_seen(model: EmbeddedModel) -> None:
    filler = "De gemeente Ede vergadert woensdag over de nieuwe fietsbrug en het groen eromheen. "
    for repeats in (10, 60, 2000):
        answer, plain = model.predict([filler * repeats + LEAK, filler * repeats])
        assert leak(answer) >= model.leak_thresholds.escalate
        assert leak(plain) < model.leak_thresholds.escalate


def test_nothing_said_is_neutral_and_no_leak(model: EmbeddedModel) -> None:
    for answer in model.predict(["", "   \n", "\u200b\ufeff", "\x00\x01"]):
        assert sentiment(answer) is SentimentLabel.NEUTRAL
        assert leak(answer) == 0.0
        assert abuse(answer) is AbuseLabel.NONE


def test_no_texts_give_no_answers(model: EmbeddedModel) -> None:
    assert model.predict([]) == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=st.text(alphabet=st.characters(), max_size=300))
def test_any_text_gets_probabilities(model: EmbeddedModel, text: str) -> None:
    (answer,) = model.predict([text])
    assert 0.0 <= leak(answer) <= 1.0
    for scores in (answer.sentiment, answer.category, answer.abuse):
        assert scores is not None
        assert sum(scores.values()) == pytest.approx(1.0)
    assert set(answer.category or ()) == set(LeakCategory) - {LeakCategory.NONE}


def test_the_same_text_gets_the_same_scores_from_another_load(model: EmbeddedModel) -> None:
    texts = [LEAK, THREAT, *ORDINARY]
    assert EmbeddedModel(model.folder, threads=1).predict(texts) == model.predict(texts)


def test_the_version_is_that_of_the_folder(model: EmbeddedModel) -> None:
    config = json.loads((model.folder / "config.json").read_text(encoding="utf-8"))
    assert model.version == config["model_version"]
    assert model.version.startswith("merkwacht-")


def test_the_folder_is_small_enough_to_ship(model: EmbeddedModel) -> None:
    files = list(model.folder.iterdir())
    assert (model.folder / "README.md").is_file()
    assert sum(file.stat().st_size for file in files) < 40_000_000


def test_an_operator_can_name_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "elsewhere"))
    with pytest.raises(ModelError, match=r"elsewhere: no config\.json there; install merkwacht"):
        EmbeddedModel()


def test_a_folder_of_another_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    with pytest.raises(ModelError, match="not one of ours"):
        EmbeddedModel(tmp_path)
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match="cannot be read"):
        EmbeddedModel(tmp_path)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_a_damaged_file_is_named_before_it_is_used(
    model: EmbeddedModel, tmp_path: Path, name: str
) -> None:
    shutil.copytree(model.folder, tmp_path / "copy")
    damaged = tmp_path / "copy" / name
    damaged.write_bytes(damaged.read_bytes()[:-100])
    with pytest.raises(ModelError, match=f"{name} is not the file"):
        EmbeddedModel(tmp_path / "copy").predict(["hallo"])
    damaged.unlink()
    with pytest.raises(ModelError, match=f"{name}: No such file"):
        EmbeddedModel(tmp_path / "copy").predict(["hallo"])


def test_labels_in_another_order_are_refused(model: EmbeddedModel, tmp_path: Path) -> None:
    config = json.loads((model.folder / "config.json").read_text(encoding="utf-8"))
    config["heads"]["abuse"]["id2label"] = {"0": "threat", "1": "abusive", "2": "none"}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelError, match="head abuse has labels"):
        EmbeddedModel(tmp_path)


def test_sizes_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="max_tokens"):
        EmbeddedModel(max_tokens=64)
    with pytest.raises(ValueError, match="threads"):
        EmbeddedModel(threads=0)
