r"""Robust linear least squares on relative residuals, with standard errors, for measurements with a few disturbed ones.

Minimises :math:`\sum_i \rho((x_i b - y_i) / (y_i \sigma))` with Huber's :math:`\rho` by reweighting, :math:`\sigma` from the
median absolute residual. Standard errors are Huber's. Columns that the rows cannot tell apart share their effect, and
have no standard error.

References
----------
.. [1] Huber 1981, Robust Statistics, equation 6.5 (covariance of the estimate).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pertoken.errors import PertokenError

Array = NDArray[np.float64]
HUBER = 1.345  # of sigma: 95% as efficient as least squares where errors are normal
TURNS = 50
LEAST_SIGMA = 1e-4  # of a measurement: clocks are no better
SAME = 1e-6  # singular values below it, of the largest, are of columns that cannot be told apart
Z90 = 1.6448536269514722


@dataclass(frozen=True)
class Line:
    """A fitted linear form.

    Parameters
    ----------
    names : tuple of str
        Of the coefficients.
    value : ndarray
        Coefficients.
    covariance : ndarray
        Of them.
    told : ndarray of bool
        Which of them the rows tell from the others.
    sigma : float
        Relative error of a measurement [1].
    rows, rank : int
        Measurements, and coefficients or sums of them that they tell apart.
    """

    names: tuple[str, ...]
    value: Array
    covariance: Array
    told: NDArray[np.bool_]
    sigma: float
    rows: int
    rank: int

    def error(self, name: str) -> float:
        """Standard error of a coefficient; NaN where the rows do not tell it."""
        i = self.names.index(name)
        return math.sqrt(max(0.0, float(self.covariance[i, i]))) if self.told[i] else math.nan

    def __getitem__(self, name: str) -> float:
        return float(self.value[self.names.index(name)])

    def at(self, *columns: Any) -> tuple[float, float, float]:
        """Value and 90% interval at one row of columns."""
        x = np.array([float(c) for c in columns])
        value, spread = float(x @ self.value), math.sqrt(max(0.0, float(x @ self.covariance @ x)))
        wide = Z90 * widening(self.rows - self.rank)
        return value, value - wide * spread, value + wide * spread


def widening(freedom: int) -> float:
    """The 95% quantile of Student's t over the normal's, to first orders in 1/freedom [1]."""
    n = max(1, freedom)
    return 1.0 + (Z90**2 + 1.0) / (4.0 * n) + (5 * Z90**4 + 16 * Z90**2 + 3.0) / (96.0 * n * n)


def fit(columns: dict[str, Array], y: Array) -> Line:
    """Fit ``y`` by a sum of columns, each measurement to the same share of its size.

    Parameters
    ----------
    columns : dict of str to ndarray
        By name of the coefficient.
    y : ndarray
        Measured, all above 0.

    Raises
    ------
    PertokenError
        When there are fewer measurements than coefficients that they tell apart, or none.
    """
    if y.size < 2 or not np.all(y > 0):
        raise PertokenError(f"{y.size} measurements are too few to fit; let the probe send more requests")
    names, x = tuple(columns), np.stack(list(columns.values()), axis=1) / y[:, None]
    size = np.linalg.norm(x, axis=0)
    kept = size > 0
    x = x[:, kept] / size[kept]
    weight, b = np.ones(y.size), np.zeros(x.shape[1])
    for _ in range(TURNS):
        root = np.sqrt(weight)
        new = np.linalg.lstsq(x * root[:, None], root, rcond=SAME)[0]
        residual = 1.0 - x @ new
        sigma = _sigma(residual, int(np.linalg.matrix_rank(x, tol=SAME)))
        weight = np.minimum(1.0, HUBER * sigma / np.maximum(np.abs(residual), 1e-300))
        moved, b = float(np.max(np.abs(new - b))), new
        if moved < 1e-10:
            break
    told, covariance = _spread(x, residual, sigma)
    value, whole, known = np.zeros(size.size), np.zeros((size.size, size.size)), np.zeros(size.size, dtype=bool)
    value[kept], known[kept] = b / size[kept], told
    whole[np.ix_(kept, kept)] = covariance / np.outer(size[kept], size[kept])
    return Line(names, value, whole, known, sigma, y.size, int(np.linalg.matrix_rank(x, tol=SAME)))


def _sigma(residual: Array, rank: int) -> float:
    """Robust scale of residuals, corrected for what the fit took."""
    freedom = max(1, residual.size - rank)
    return max(LEAST_SIGMA, 1.4826 * float(np.median(np.abs(residual))) * math.sqrt(residual.size / freedom))


def _spread(x: Array, residual: Array, sigma: float) -> tuple[NDArray[np.bool_], Array]:
    """Which coefficients are told apart, and Huber's covariance."""
    _, singular, rows = np.linalg.svd(x, full_matrices=False)
    full = singular > SAME * singular[0]
    lost = np.sum(rows[~full] ** 2, axis=0) if (~full).any() else np.zeros(x.shape[1])
    inverse = (rows[full].T / singular[full] ** 2) @ rows[full]
    scaled = residual / sigma
    psi, inside = np.clip(scaled, -HUBER, HUBER), float(np.mean(np.abs(scaled) <= HUBER))
    freedom = max(1, residual.size - int(full.sum()))
    scale = float(np.sum(psi**2)) / freedom * sigma**2 / max(inside, 0.1) ** 2
    return lost < SAME, scale * inverse
