r"""Who pays for a step: the fair share of each token in an operation that a batch shares.

The players are tokens. Scale the batch by :math:`\tau` from 0 to 1; the operation takes
:math:`t(\tau) = \max(w(\tau) + \tau b, \tau F)` seconds, where w is what is read however few tokens come (weights, or the
cache of one sequence), b what each token adds to the memory traffic and F its arithmetic, all in seconds at the
operation's own rates. It is bound by memory up to :math:`\tau^*`; integrating what a token adds along the way gives

.. math:: w(\tau^*) + \tau^* b + (1 - \tau^*) F = t(1)

which is exact, never negative, and the limit of the Shapley value for small tokens.

References
----------
.. [1] Billera, Heath and Raanan 1978, "Internal telephone billing rates"; Mirman and Tauman 1982 (non-atomic shares).
.. [2] Mirman, Samet and Tauman 1983 (shared and fixed costs).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Number = Any
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Phases:
    """An operation's seconds by what bound it along the way; they sum to its time.

    Parameters
    ----------
    fixed, moved, computed : float or ndarray
        Reading what is read however few tokens come; what tokens move themselves; their arithmetic [s].
    """

    fixed: Number
    moved: Number
    computed: Number

    @property
    def total(self) -> Number:
        """The operation's time [s]."""
        return self.fixed + self.moved + self.computed


def crossover(fixed: Number, moved: Number, compute: Number, shape: Callable[[Number], Number] | None = None) -> Number:
    """The scale of the batch up to which the operation is bound by memory: 1 if it always is.

    Parameters
    ----------
    fixed, moved, compute : float or ndarray
        Seconds of the whole batch for w, b and F [s].
    shape : callable, optional
        ``w(tau) / w(1)``, concave and rising from 0 (experts that a batch touches); constant if None.
    """
    surplus = compute - moved
    bound = fixed >= surplus
    if not isinstance(bound, np.ndarray) and (bound or shape is None):
        return 1.0 if bound else fixed / surplus
    safe = np.where(bound, 1.0, surplus)
    if shape is None:
        return np.where(bound, 1.0, fixed / safe)
    low, high = np.zeros_like(safe), np.ones_like(safe)
    for _ in range(40):  # concave against a line through 0: one crossing above 0, below it memory is the larger
        middle = (low + high) / 2
        memory = fixed * shape(middle) >= middle * safe
        low, high = np.where(memory, middle, low), np.where(memory, high, middle)
    return np.where(bound, 1.0, low)


def phases(fixed: Number, moved: Number, compute: Number, shape: Callable[[Number], Number] | None = None) -> Phases:
    """Split ``max(fixed + moved, compute)`` by what bound the operation while its batch grew.

    Parameters
    ----------
    fixed, moved, compute : float or ndarray
        Seconds of the whole batch for w(1), b and F [s].
    shape : callable, optional
        As in `crossover`.
    """
    scale = crossover(fixed, moved, compute, shape)
    if isinstance(scale, float) and scale == 1.0:
        return Phases(fixed, moved, 0.0)
    bound = scale >= 1.0
    # w(tau*) is written as tau* (F - b), its value at the crossing, so the three sum exactly however tau* was found
    first = np.where(bound, fixed, scale * (compute - moved))
    return Phases(first, scale * moved, np.where(bound, 0.0, (1.0 - scale) * compute))


def unlike(fixed: Number, moved: Array, compute: Array, shape: Callable[[Number], Number] | None = None) -> Array:
    """What each of several unlike tokens owes: an equal part of what is read anyway, its own traffic and arithmetic.

    Parameters
    ----------
    fixed : float
        Seconds of what is read however few tokens come [s].
    moved, compute : ndarray, shape (tokens,)
        Seconds of each token's own traffic and arithmetic [s].
    shape : callable, optional
        As in `crossover`.

    Returns
    -------
    ndarray, shape (tokens,)
        Shares; they sum to the operation's time [s].
    """
    bound = phases(fixed, moved.sum(), compute.sum(), shape)
    parts = [
        whole * own / own.sum() if own.sum() > 0 else 0.0 * own
        for whole, own in ((bound.moved, moved), (bound.computed, compute))
    ]
    found: Array = bound.fixed / moved.size + parts[0] + parts[1]
    return found
