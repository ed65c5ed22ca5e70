"""How decisions are set after training: on made-up logits whose best answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from classifiers.training.data import UNKNOWN
from classifiers.training.measure import abusive_bias, sentiment_bias, temperature, threat_bias


def logits(labels: np.ndarray, rng: np.random.Generator, strength: float = 2.0) -> np.ndarray:
    """Scores of a model that is right most of the time."""
    return rng.normal(size=(len(labels), 3)) + strength * np.eye(3)[labels]


def test_a_label_that_is_said_too_seldom_is_raised_and_one_said_too_often_is_lowered():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 3000)
    skewed = logits(labels, rng) + np.array([-0.8, 0.0, 0.6])
    negative, neutral, positive = sentiment_bias(skewed, list(labels), ["tweets"] * 3000)
    assert neutral == 0.0
    assert negative == pytest.approx(0.8, abs=0.25)
    assert positive == pytest.approx(-0.6, abs=0.25)


def test_what_is_balanced_stays_as_it_is():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 3, 3000)
    bias = sentiment_bias(logits(labels, rng), list(labels), ["tweets"] * 3000)
    assert max(map(abs, bias)) <= 0.21


def test_posts_without_a_label_and_sets_without_all_labels_have_no_say():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, 3000)
    scores = logits(labels, rng)
    sets = np.array(["tweets"] * 1500 + ["reviews"] * 1500)
    known = labels.copy()
    known[1500:] = np.where(labels[1500:] == 1, UNKNOWN, labels[1500:])
    scores[1500:] += np.array([5.0, 0.0, 0.0])
    assert max(map(abs, sentiment_bias(scores, list(known), list(sets)))) <= 0.3


def test_abuse_that_is_said_too_seldom_is_raised():
    rng = np.random.default_rng(4)
    labels = rng.choice(3, size=3000, p=[0.7, 0.25, 0.05])
    timid = logits(labels, rng, strength=3.0) - np.array([0.0, 1.5, 0.0])
    assert abusive_bias(timid, list(labels), ["posts"] * 3000) >= 0.5


def test_threats_are_lowered_until_few_harmless_posts_are_called_one():
    rng = np.random.default_rng(5)
    harmless = rng.normal(size=(10_000, 3))
    bias = threat_bias(harmless, per_thousand=3.0)
    called = (harmless + np.array([0.0, 0.0, bias])).argmax(axis=1) == 2
    assert 0.002 <= called.mean() <= 0.003


def test_the_temperature_undoes_overconfidence():
    rng = np.random.default_rng(6)
    labels = rng.integers(0, 3, 4000)
    honest = logits(labels, rng)
    assert temperature(3 * honest, list(labels)) == pytest.approx(
        3 * temperature(honest, list(labels)), rel=0.05
    )
