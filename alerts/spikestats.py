"""Tail probabilities of over-dispersed counts: the arithmetic below the spike detector.

Counts of public posts vary more than a Poisson law allows, because a day has its mood: the rate
itself fluctuates. A gamma-distributed rate makes the counts negative binomial, with variance
``mean + dispersion * mean**2``. Everything here is a pure function of its arguments, cheap enough
to be asked at every bucket, and holds for means from almost nothing to very many.
"""

from __future__ import annotations

import math

_ERFC_LIMIT = 25.0
"""Beyond this many standard deviations erfc loses digits; the asymptotic series is exact enough."""
_NEAR_MEAN = 1e-3
"""Relative distance to the mean within which the saddle-point correction is 0/0: left out."""


def surprise(value: float, mean: float, dispersion: float) -> float:
    """How unlikely it is to count ``value`` or more: ``-log10 P(Y >= value)``; 0 up to the mean.

    Signed root of the deviance with the Lugannani-Rice correction and half a count of continuity:
    within a few per cent of the exact logarithm wherever it matters, at a constant price.

    Args:
        value: what was counted; need not be whole.
        mean: what was expected, above 0.
        dispersion: relative variance of the rate, 0 for Poisson.
    """
    counted = value - 0.5
    if counted <= mean:
        return 0.0
    variance = mean + dispersion * mean * mean
    root, scaled = _signed_root(counted, mean, dispersion)
    if abs(counted - mean) > _NEAR_MEAN * math.sqrt(variance) and scaled / root > 0:
        root += math.log(scaled / root) / root
    return max(0.0, -_log10_normal_tail(root))


def _signed_root(counted: float, mean: float, dispersion: float) -> tuple[float, float]:
    """Signed root of the deviance, and the saddle point scaled to match it near the mean."""
    over = counted - mean
    # As logarithms of 1 + x: at a million and more, those of the counts themselves would cancel out.
    if dispersion > 0:
        ratio = math.log1p(over / (mean * (1 + dispersion * counted)))
        shrink = math.log1p(dispersion * over / (1 + dispersion * mean)) / dispersion
        spread = counted * (1 + dispersion * counted)
    else:
        ratio = math.log1p(over / mean)
        shrink = over
        spread = counted
    deviance = max(0.0, 2 * (counted * ratio - shrink))
    root = math.copysign(math.sqrt(deviance), over)
    # The lattice form 2 sinh(s/2) of the saddle point belongs to whole counts.
    scaled = 2 * math.sinh(max(-300.0, min(300.0, ratio / 2))) * math.sqrt(spread)
    return root, scaled


def _log10_normal_tail(root: float) -> float:
    if root < _ERFC_LIMIT:
        return math.log10(0.5 * math.erfc(root / math.sqrt(2)))
    natural = -root * root / 2 - math.log(root * math.sqrt(2 * math.pi)) - 1 / (root * root)
    return natural / math.log(10)


def upper_quantile(mean: float, dispersion: float, deviations: float) -> float:
    """The count that lies ``deviations`` normal deviations up (Wilson-Hilferty), at least 1."""
    shape = mean / (1 + dispersion * mean)
    cube = 1 - 1 / (9 * shape) + deviations / (3 * math.sqrt(shape))
    return max(1.0, math.ceil(mean * max(0.0, cube) ** 3))
