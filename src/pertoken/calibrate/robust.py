r"""Robust least squares with a prior, for a handful of parameters: soft-L1 on residuals, Gaussian on parameters.

.. math:: \sum_i 2 (\sqrt{1 + (r_i/\sigma)^2} - 1) n_i + \sum_j ((\theta_j - \theta_j^0)/\tau_j)^2

Gauss and Newton's steps on reweighted residuals, halved until the sum falls. A parameter that no row moves stays at its
prior; a row far off pulls like its distance, not like its square.

References
----------
.. [1] Triggs et al. 2000, Bundle Adjustment, section 3.3 (robust cost functions and their weights).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
MOST_TURNS = 25
STEP = 0.01  # of a parameter, in units of its prior's spread, to take slopes over


@dataclass(frozen=True)
class Prior:
    """What is known of the parameters before any row.

    Parameters
    ----------
    mean, spread, low, high : ndarray
        Centre, standard deviation and bounds of each.
    """

    mean: Array
    spread: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class Fit:
    """A minimum.

    Parameters
    ----------
    theta, error : ndarray
        Parameters and their standard errors.
    residual, slope, weight : ndarray
        Residuals there, their derivatives, and the weight left to each over sigma squared.
    """

    theta: Array
    error: Array
    residual: Array
    slope: Array
    weight: Array
    _normal: Array

    def without(self, rows: NDArray[np.bool_], prior: Prior) -> Array:
        """Parameters with some residuals left out: one step of Gauss and Newton from the minimum."""
        slope, weight = self.slope[rows], self.weight[rows]
        normal = self._normal - slope.T @ (weight[:, None] * slope)
        step = np.linalg.solve(normal, slope.T @ (weight * self.residual[rows]))
        return np.asarray(np.clip(self.theta + step, prior.low, prior.high))


def solve(residuals: Callable[[Array], Array], prior: Prior, sigma: float, share: Array) -> Fit:
    """Minimise.

    Parameters
    ----------
    residuals : callable
        Parameters to residuals; may hold NaN where the model has no answer, which then count for nothing.
    prior : Prior
        Where to begin, and what holds back.
    sigma : float
        Residual up to which a row counts in full.
    share : ndarray
        Weight of each residual; those of one row share 1.
    """
    theta = prior.mean.copy()
    here = _filled(residuals(theta), share)
    for _ in range(MOST_TURNS):
        slope, weight, normal = _linear(residuals, theta, here, prior, sigma, share)
        pull = slope.T @ (weight * here) + (theta - prior.mean) / prior.spread**2
        step = -np.linalg.solve(normal, pull)
        before = _cost(theta, here, prior, sigma, share)
        for _ in range(6):
            tried = np.clip(theta + step, prior.low, prior.high)
            there = _filled(residuals(tried), share)
            if _cost(tried, there, prior, sigma, share) <= before:
                break
            step = step / 4.0
        else:
            break
        moved = float(np.max(np.abs(tried - theta) / prior.spread))
        theta, here = tried, there
        if moved < 1e-5:
            break
    slope, weight, normal = _linear(residuals, theta, here, prior, sigma, share)
    freedom = max(1.0, float(share.sum()) - theta.size)
    left = float(np.sqrt((weight * here**2).sum() / freedom))  # in units of sigma: 1 where rows scatter as expected
    error = np.sqrt(np.diag(np.linalg.inv(normal))) * max(1.0, left)
    return Fit(theta, error, here, slope, weight, normal)


def _filled(residual: Array, share: Array) -> Array:
    return np.where(np.isfinite(residual) & (share > 0), residual, 0.0)


def _cost(theta: Array, residual: Array, prior: Prior, sigma: float, share: Array) -> float:
    robust = 2.0 * (np.sqrt(1.0 + (residual / sigma) ** 2) - 1.0) * share
    return float(robust.sum() + (((theta - prior.mean) / prior.spread) ** 2).sum())


def _linear(
    residuals: Callable[[Array], Array], theta: Array, here: Array, prior: Prior, sigma: float, share: Array
) -> tuple[Array, Array, Any]:
    """Slopes, weights over sigma squared, and the normal matrix."""
    columns = []
    for j, spread in enumerate(prior.spread):
        size = STEP * spread * (1.0 if theta[j] + STEP * spread <= prior.high[j] else -1.0)
        moved = theta.copy()
        moved[j] += size
        columns.append((_filled(residuals(moved), share) - here) / size)
    slope = np.stack(columns, axis=1)
    weight = share / np.sqrt(1.0 + (here / sigma) ** 2) / sigma**2
    return slope, weight, slope.T @ (weight[:, None] * slope) + np.diag(prior.spread**-2.0)
