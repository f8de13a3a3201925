r"""From steps to a steady state, in closed form.

The engine decodes its running requests every step and prefills prompts in chunks. Let y be the requests that it finishes
per step, I' and O - 1 a request's fresh input tokens and decode steps. On average a step prefills x = y I' tokens, but in
chunks of C, so a share f = x / C of steps is mixed and the mean step takes (1 - f) T_0 + f T_1 [1]_. Smooth mixing (x
tokens in every step) would hide prefill under the weight read. Where an engine does not mix, decodes wait for such steps.

A request never waits for its own prefill while it decodes: of the others' share of the load, g, mixed steps carry
B_1 = g B_0 decoding sequences where pure ones carry B_0. For a lone request g = 0: it decodes in pure steps only.

Given a concurrency, Little's law N = rate x (TTFT + (O - 1) TPOT) fixes y. Given a rate, requests in the system are taken
as Poisson, so the engine is busy a share u = 1 - exp(-N) of the time and its batch is that of busy moments.

References
----------
.. [1] Agrawal et al. 2024, arXiv:2403.02310 (chunked prefill).
.. [2] Little 1961, doi:10.1287/opre.9.3.383. Kleinrock 1975, Queueing Systems I (M/G/1 wait, M/G/infinity).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pertoken.engine.deployment import Deployment
from pertoken.engine.roofline import Timed, total_seconds
from pertoken.engine.step import Decode, Prefill, Step
from pertoken.serving.lengths import Moments
from pertoken.serving.workload import Goals

Number = Any
TINY = 1e-12


@dataclass(frozen=True)
class StepKind:
    """One of the two kinds of step: pure decode, or mixed with a prompt chunk.

    Parameters
    ----------
    share : float or ndarray
        Share of steps that are of this kind.
    ops : list of Timed
        Its operations.
    seconds : float or ndarray
        Its time [s].
    """

    share: Number
    step: Step
    ops: list[Timed]
    seconds: Number


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

    @property
    def rate(self) -> Number:
        """Requests per second of one lane, idle time included [1/s]."""
        return self.busy * self.finished / self.step_s


def chunks(deployment: Deployment, moments: Moments) -> Number:
    """Chunks into which a mean prompt is cut."""
    return np.maximum(1.0, moments.fresh / deployment.profile.token_budget.value)


def prompt_budget(deployment: Deployment, moments: Moments, finished: Number) -> Number:
    """Tokens of a step's budget that decoding leaves to prompts [token]."""
    beside = finished * moments.decoded * moments.width if deployment.profile.mixed else 0.0
    return np.maximum(deployment.profile.token_budget.value - beside, 1.0)


def steady(deployment: Deployment, moments: Moments, finished: Number) -> Steady:
    """The steady state at y = ``finished`` requests per step.

    Parameters
    ----------
    deployment : Deployment
        What serves.
    moments : Moments
        Averages of the lengths.
    finished : float or ndarray
        Requests finished per step.
    """
    decoded, fresh = moments.decoded, moments.fresh
    budget = prompt_budget(deployment, moments, finished)
    parts = np.maximum(1.0, fresh / budget)
    prefilled = finished * fresh
    apart = not deployment.profile.mixed
    # prompts apart from decodes: at most every other step is theirs, until they fill the budget; a step that decodes has
    # at least one sequence, so with few of them (none, where a request has one output token) more are theirs
    least_apart = prefilled / np.maximum(1.0 - finished * decoded, 0.5)
    due = np.maximum(prefilled, np.minimum(least_apart, budget)) if apart else prefilled
    chunk = np.maximum(due, np.minimum(fresh, budget))
    mixed = prefilled / chunk
    others = np.clip(1.0 - 1.0 / (finished * (decoded + parts)), 0.0, 1.0)
    beside = np.zeros_like(others) if apart else others
    weight = np.maximum(1.0 - mixed + mixed * beside, TINY)
    pure_batch = finished * decoded / weight
    pure = _kind(deployment, 1.0 - mixed, Step(_decodes(moments, pure_batch)))
    new = np.minimum(fresh, chunk)
    context = np.maximum(moments.prior + (fresh - new) / 2.0, 0.0)
    prefill = Prefill(chunk / new, new, context, np.minimum(moments.cached, context))
    both = _kind(deployment, mixed, Step(_decodes(moments, beside * pure_batch), prefill, finished / mixed))
    step_s = (1.0 - mixed) * pure.seconds + mixed * both.seconds
    waiting = (1.0 - mixed) * pure.seconds + mixed * others * both.seconds
    per_decode = np.where(decoded > 0, waiting / weight, 0.0)  # where nothing decodes there is no time to ask for
    tpot = per_decode / moments.accepted
    load = prefilled / budget
    wait = others * mixed * parts * both.seconds * moments.spread / (2.0 * np.maximum(1.0 - load, TINY))
    profile = deployment.profile
    held = (profile.look_steps.value - 1.0) / 2.0 + profile.wait_steps.value
    wait = wait + others * held * pure.seconds  # an idle engine looks at once
    service = parts * both.seconds
    resident = finished / step_s * (decoded * per_decode + service)
    occupancy = resident / cache_slots(deployment, moments)
    return Steady(finished, (pure, both), step_s, tpot, wait + service, wait, pure_batch, resident, occupancy, load)


def cache_slots(deployment: Deployment, moments: Moments) -> Number:
    """Requests whose cache one lane can hold: of mean context, or whole where the engine sets that aside."""
    whole = (moments.input + moments.output,)
    held = [deployment.sequence_bytes(n) for n in (whole if deployment.profile.reserves else moments.contexts)]
    return deployment.cache_capacity / deployment.split.pp / (sum(held) / len(held))


def most_resident(deployment: Deployment, moments: Moments) -> Number:
    """Requests that one lane can serve at once: by cache, and by the engine's limit."""
    return np.minimum(cache_slots(deployment, moments), deployment.profile.max_sequences.value)


def _decodes(moments: Moments, batch: Number) -> tuple[Decode, ...]:
    return tuple(Decode(batch / len(moments.contexts), context, moments.width) for context in moments.contexts)


def _kind(deployment: Deployment, share: Number, step: Step) -> StepKind:
    ops = deployment.run(step)
    return StepKind(share, step, ops, total_seconds(ops))


def least_finished(deployment: Deployment, moments: Moments) -> Number:
    """y of a single request in the system."""
    return 1.0 / (moments.decoded + chunks(deployment, moments))


def most_finished(deployment: Deployment, moments: Moments) -> Number:
    """y at which prefill and decode fill the token budget."""
    return deployment.profile.token_budget.value / (moments.fresh + moments.decoded * moments.width)


def in_system(state: Steady, moments: Moments) -> Number:
    """Requests in the lane while it works, waiting ones included (Little's law [2]_)."""
    return state.finished / state.step_s * (moments.later * state.tpot_s + state.ttft_s)


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
    function: Callable[[Number], Number], low: Number, high: Number, ceiling: Number, guess: Number = None,
    tolerance: float = 1e-10,
) -> Number:  # fmt: skip
    """Where a rising function crosses 0 between ``low`` and ``high``, both above 0; the nearer end if it does not.

    Secant steps held inside a bracket that every value narrows. They are taken on log(x / (ceiling - x)), in which the
    logarithm of a queue is all but linear, far from saturation and near it. Arguments may be arrays.

    Parameters
    ----------
    function : callable
        Rising.
    low, high, ceiling : float or ndarray
        Ends of the search, and a value above both where the function goes to infinity.
    guess : float or ndarray, optional
        Where to begin; else at the lower end.
    tolerance : float
        Largest value of the function that counts as 0.
    """

    def odds(y: Number) -> Number:
        return np.log(y / (ceiling - y))

    first, last = np.broadcast_arrays(odds(np.asarray(low, dtype=float)), odds(np.maximum(low, high)))
    left, right = first, last
    x = first if guess is None else np.clip(odds(guess / (1.0 + guess / ceiling)), first, last)
    before, value_before = x, np.zeros_like(x)
    for turn in range(100):
        value = function(ceiling / (1.0 + np.exp(-x)))
        left, right = np.where(value < 0, x, left), np.where(value > 0, x, right)
        done = ((x >= last) & (value <= 0)) | ((x <= first) & (value >= 0)) | (right - left < 1e-14)
        done |= np.abs(value) < tolerance
        if np.all(done):
            break
        moved = x - before
        slope = np.where(moved == 0, 1.0, (value - value_before) / np.where(moved == 0, 1.0, moved)) if turn else 1.0
        target = x - value / np.clip(slope, 0.2, 1e6)
        # a step out of the bracket halves it instead, unless to an end that was never tried; so does every other after nine
        inside = (
            ((target > left) | (left == first)) & ((target < right) | (right == last)) & (turn < 9 or turn % 2 == 1)
        )
        target = np.clip(np.where(inside, target, (left + right) / 2.0), left, right)
        before, value_before, x = x, value, np.where(done, x, target)
    return ceiling / (1.0 + np.exp(-x))


def busy_share(crowd: Number) -> Number:
    """u with u = 1 - exp(-u a): share of time with at least one request, a the requests in a working lane.

    Parameters
    ----------
    crowd : float or ndarray
        a; 0 is returned up to 1.
    """
    crowd = np.maximum(crowd, 1.0)
    u = -np.expm1(-crowd) * np.minimum(1.0, 2.0 * (crowd - 1.0))
    for _ in range(60):  # Newton on a concave function from above its root or below: converges monotonically
        value = u + np.expm1(-u * crowd)
        slope = 1.0 - crowd * np.exp(-u * crowd)
        before, u = u, np.clip(u - value / np.where(np.abs(slope) > TINY, slope, 1.0), 0.0, 1.0)
        if np.all(np.abs(u - before) <= 1e-15):
            break
    return u
