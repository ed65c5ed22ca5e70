"""What a sensitivity stands for, in one line with its measured cost: for ``check``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from alerts.spikes import FALSE_ALARMS
from classifiers.base import LeakThresholds
from classifiers.embedded import EmbeddedModel, OperatingPoint
from monitor.app import leak_thresholds
from monitor.config import BrandOptions, ClassifierOptions


def describe(options: ClassifierOptions) -> str:
    """Say which thresholds are in use and what they were measured to do.

    Raises:
        ModelError: the model's description cannot be read.
    """
    model = EmbeddedModel(options.model)
    thresholds = leak_thresholds(options, model)
    point = model.operating_points[options.leak_sensitivity]
    if thresholds == point.thresholds:
        return f"leaks: {options.leak_sensitivity}, {_pair(thresholds)}: {_cost(point)}"
    return (
        f"leaks: thresholds of your own, {_pair(thresholds)}: not measured; "
        f"{options.leak_sensitivity}, {_pair(point.thresholds)}: {_cost(point)}"
    )


def describe_spikes(brands: Sequence[BrandOptions]) -> Iterator[str]:
    """Say what each sensitivity in use was measured to ring for nothing."""
    for sensitivity in dict.fromkeys(brand.sensitivity for brand in brands):
        names = ", ".join(brand.name for brand in brands if brand.sensitivity is sensitivity)
        cost = FALSE_ALARMS[sensitivity]
        yield (
            f"spikes: {sensitivity.value} ({names}): rings for nothing {_short(cost.mean)} times a "
            f"month in the mean, {_short(cost.worst)} where counts waver most (measured on "
            "simulated quiet series, for each series)"
        )


def _pair(thresholds: LeakThresholds) -> str:
    return (
        f"people are woken from {_short(thresholds.escalate)}, "
        f"review from {_short(thresholds.review)}"
    )


def _cost(point: OperatingPoint) -> str:
    if not point.recall:
        return "not measured for this model"
    return (
        f"of 1,000 ordinary posts {_short(point.escalated_per_thousand)} wake people and "
        f"{_short(point.reviewed_per_thousand)} go to review; {point.recall:.0%} of leaks wake "
        f"people, {point.recall_with_review:.0%} are at least reviewed "
        "(measured on posts the model never learned from)"
    )


def _short(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")
