r"""The steady state of a lane, in closed form, and the limits that a workload may meet.

y requests finish per step. Given a concurrency, Little's law N = rate x (outside + TTFT + (O - 1) TPOT) fixes y [1]_;
saturated, y is the largest at which no limit is passed; a rate is y per step over the step's time, in the share of time in
which the lane works. What steps hold and what a request sees of them is in `lane`.

References
----------
.. [1] Little 1961, doi:10.1287/opre.9.3.383.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pertoken.engine.deployment import Deployment
from pertoken.serving.lane import Lane, StepKind
from pertoken.serving.lengths import Moments
from pertoken.serving.mixing import Pace
from pertoken.serving.workload import Goals

Number = Any
START = -1.4  # log odds of a fifth, where searches begin: near most answers


@dataclass(frozen=True)
class Steady:
    """The steady state of one lane (one batch in flight).

    Parameters
    ----------
    finished : float or ndarray
        Requests finished per step, y.
    kinds : tuple of StepKind
        Pure and mixed steps.
    step_s, tpot_s, ttft_s, wait_s : float or ndarray
        Mean step, time per output token, time to first token in the engine, and the wait that is part of it [s].
    batch : float or ndarray
        Mean sequences that decode in a step that decodes.
    resident : float or ndarray
        Requests that hold cache.
    kv_occupancy : float or ndarray
        Share of the lane's cache in use.
    prefill_load : float or ndarray
        Share of the token budget that prefill needs.
    busy : float or ndarray
        Share of time in which the lane works.
    pace : Pace, optional
        How requests come.
    """

    finished: Number
    kinds: tuple[StepKind, StepKind]
    step_s: Number
    tpot_s: Number
    ttft_s: Number
    wait_s: Number
    batch: Number
    resident: Number
    kv_occupancy: Number
    prefill_load: Number
    busy: Number = 1.0
    pace: Pace | None = None

    @property
    def rate(self) -> Number:
        """Requests per second of one lane, idle time included [1/s]."""
        return self.busy * self.finished / self.step_s


def steady(
    deployment: Deployment, moments: Moments, finished: Number, pace: Pace | None = None, busy: Number | None = None
) -> Steady:
    """The steady state at y = ``finished`` requests per step.

    Parameters
    ----------
    deployment : Deployment
        What serves.
    moments : Moments
        Averages of the lengths.
    finished : float or ndarray
        Requests finished per step.
    pace : Pace, optional
        How requests come; a closed loop if None.
    busy : float or ndarray, optional
        Share of time in which the lane works, where it is known.
    """
    pace = pace or closed_pace(deployment, moments)
    lane = Lane(deployment, moments, finished, pace, busy)
    wait, service, prefill = lane.first()
    per_decode = lane.later()
    resident = finished / lane.step_s * (moments.decoded * per_decode + prefill)
    return Steady(
        finished, (lane.pure, lane.both), lane.step_s, per_decode / moments.accepted, wait + service, wait, lane.batch,
        resident, resident / cache_slots(deployment, moments), finished * moments.fresh / lane.budget, lane.busy, pace,
    )  # fmt: skip


def closed_pace(deployment: Deployment, moments: Moments) -> Pace:
    """Each of a fixed number of requests follows an answer, and is outside the engine in between."""
    return Pace.of(deployment, moments, deployment.profile.request_delay.value)


def open_pace(deployment: Deployment, moments: Moments) -> Pace:
    """Requests come at random times, whatever becomes of others."""
    return Pace.of(deployment, moments, np.inf)


def cache_slots(deployment: Deployment, moments: Moments) -> Number:
    """Requests whose cache one lane can hold: of mean context, or whole where the engine sets that aside."""
    found = (moments.whole,) if deployment.profile.reserves else moments.contexts
    held = [deployment.sequence_bytes(n) for n in found]
    return deployment.cache_capacity / deployment.split.pp / (sum(held) / len(held))


def most_resident(deployment: Deployment, moments: Moments) -> Number:
    """Requests that one lane can serve at once: by cache, and by the engine's limit."""
    return np.minimum(cache_slots(deployment, moments), deployment.profile.max_sequences.value)


def least_finished(deployment: Deployment, moments: Moments) -> Number:
    """y of a single request in the system."""
    return 1.0 / (moments.decoded + np.maximum(1.0, moments.fresh / deployment.profile.token_budget.value))


def most_finished(deployment: Deployment, moments: Moments) -> Number:
    """y at which prefill and decode fill the token budget."""
    return deployment.profile.token_budget.value / (moments.fresh + moments.decoded * moments.width)


def in_system(state: Steady, moments: Moments) -> Number:
    """Requests in the lane while it works, waiting ones included (Little's law [2]_)."""
    return state.finished / state.step_s * (moments.later * state.tpot_s + state.ttft_s)


def beyond(deployment: Deployment, state: Steady, moments: Moments, in_flight: Number) -> Number:
    """What requests wait because more are in flight than are in the lane or on their way to it [s]."""
    served = in_system(state, moments) * state.busy + state.rate * deployment.profile.request_delay.value
    return np.maximum(in_flight - served, 0.0) * state.step_s / state.finished


def strain(deployment: Deployment, goals: Goals, state: Steady) -> dict[str, Number]:
    """How near each limit is: 1 when it binds.

    Parameters
    ----------
    deployment, goals, state
        What serves, what was promised, and the state to judge.
    """
    return {
        "KV memory": state.kv_occupancy,
        "TPOT goal": state.tpot_s / goals.tpot,
        "TTFT goal": (state.ttft_s + deployment.profile.request_delay.value) / goals.ttft,
        "max sequences": state.resident / deployment.profile.max_sequences.value,
        "token budget": state.prefill_load / 0.999,
    }


def solve(
    function: Callable[[Number], Number], low: Number, high: Number, ceiling: Number, tolerance: float = 1e-10
) -> Number:
    """Where a rising function crosses 0 between ``low`` and ``high``, both above 0; the nearer end if it does not.

    Where it jumps over 0, the side below is returned.

    Secant steps held inside a bracket that every value narrows. They are taken on log(x / (ceiling - x)), in which the
    logarithm of a queue is all but linear, far from saturation and near it. Arguments may be arrays.

    Parameters
    ----------
    function : callable
        Rising.
    low, high, ceiling : float or ndarray
        Ends of the search, and a value above both where the function goes to infinity.
    tolerance : float
        Largest value of the function that counts as 0. After a value that a secant step will bring below it, that step is
        the last, and where it leads is not looked at.
    """

    def odds(y: Number) -> Number:
        return np.log(y / (ceiling - y))

    first, last = np.broadcast_arrays(odds(np.asarray(low, dtype=float)), odds(np.maximum(low, high)))
    left, right = first, last
    x = np.minimum(np.maximum(START, first), last)
    before, value_before = x, np.ones_like(x)
    for turn in range(100):
        value = function(ceiling / (1.0 + np.exp(-x)))
        left, right = np.where(value < 0, x, left), np.where(value > 0, x, right)
        close = right - left < 1e-12
        done = ((x >= last) & (value <= 0)) | ((x <= first) & (value >= 0)) | close | (np.abs(value) < tolerance)
        x = np.where(close & (value > tolerance), left, x)
        if np.all(done):
            break
        moved = x - before
        slope = np.where(moved == 0, 1.0, (value - value_before) / np.where(moved == 0, 1.0, moved)) if turn else 1.0
        slope = np.minimum(np.maximum(slope, 0.2), 1e6)
        target = x - value / slope
        # a step out of the bracket halves it instead, unless to an end that was never tried; so does every other after nine
        inside = (
            ((target > left) | (left == first)) & ((target < right) | (right == last)) & (turn < 9 or turn % 2 == 1)
        )
        target = np.minimum(np.maximum(np.where(inside, target, (left + right) / 2.0), left), right)
        # secants that cut a small value a hundredfold will cut it more with the next step, which nobody needs to look at
        last_step = inside & (np.abs(value) < np.minimum(1e4 * tolerance, 0.01 * np.abs(value_before)))
        before, value_before, x = x, value, np.where(done, x, target)
        if np.all(done | last_step):
            break
    return ceiling / (1.0 + np.exp(-x))
