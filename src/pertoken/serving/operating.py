"""The operating point: where a workload puts a deployment, with what binds it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pertoken.engine.deployment import Deployment
from pertoken.errors import PertokenError
from pertoken.serving.lengths import Moments
from pertoken.serving.steady import (
    Steady,
    busy_share,
    in_system,
    least_finished,
    most_finished,
    most_resident,
    prompt_budget,
    solve,
    steady,
    strain,
)
from pertoken.serving.workload import Goals, Workload
from pertoken.units import format_seconds

Number = Any
CONTEXT_GROUPS = 8  # bins of decode context where cost is not linear in it


@dataclass(frozen=True)
class Operating:
    """A steady state, and how it came about.

    Parameters
    ----------
    state : Steady
        One lane.
    moments : Moments
        Averages of the lengths.
    lanes_busy : float
        Share of lanes that have work at all (fewer requests than lanes leave some idle).
    concurrency : float
        Requests in flight in all, waiting ones included.
    bound : str
        What keeps throughput from being higher.
    most_rate : float
        Highest rate that meets the goals [request/s]; NaN when none does.
    delay_s : float
        What a request spends outside the engine before its first token [s].
    """

    state: Steady
    moments: Moments
    lanes_busy: float
    concurrency: float
    bound: str
    most_rate: float
    delay_s: float

    @property
    def ttft_s(self) -> float:
        """Time to first token as a user sees it [s]."""
        return float(self.state.ttft_s) + self.delay_s

    @property
    def tpot_s(self) -> float:
        """Time per output token after the first [s]; NaN where no request has a second one."""
        return float(self.state.tpot_s) if self.moments.later > 0 else math.nan


def workload_moments(deployment: Deployment, workload: Workload) -> Moments:
    """Moments of the lengths, with contexts binned where the model needs it.

    Raises
    ------
    PertokenError
        When a request is longer than the model's context limit.
    """
    longest, limit = workload.lengths.longest, deployment.model.context_limit
    if longest > limit:
        raise PertokenError(
            f"the longest request has {longest:,.0f} tokens of input and output, and {deployment.model.name} takes at most"
            f" {limit:,}; use shorter --input or --output"
        )
    return workload.lengths.moments(workload.cached, 1 if deployment.model.linear_in_context else CONTEXT_GROUPS)


def _worst(limits: dict[str, Number]) -> Number:
    return np.maximum.reduce(np.broadcast_arrays(*limits.values()))


def _ends(deployment: Deployment, moments: Moments) -> tuple[Number, Number, Number]:
    """Least and most y to search, and the y at which the token budget is full."""
    low = least_finished(deployment, moments)
    most = most_finished(deployment, moments)  # a prompt longer than the budget and no answer: one request fills it
    return low, np.maximum(most * (1.0 - 1e-9), low), np.maximum(most, low * (1.0 + 1e-6))


def saturated(deployment: Deployment, moments: Moments, goals: Goals) -> Number:
    """y of the highest throughput within goals, memory and budget; the least y where even that breaks one."""
    low, high, ceiling = _ends(deployment, moments)

    def excess(finished: Number) -> Number:
        return np.log(_worst(strain(deployment, goals, steady(deployment, moments, finished))))

    return solve(excess, low, high, ceiling)


def at_concurrency(deployment: Deployment, moments: Moments, in_flight: Number, tolerance: float = 1e-12) -> Steady:
    """The state with ``in_flight`` requests in a lane; what memory, slots and budget do not take waits outside.

    With r = y / y_max the share of the token budget in use, a the time a request spends in service and k that of waiting
    at r = 0, both in steps, Little's law reads N = a y + k y / (1 - r): a quadratic in y. As a and k hardly move with y,
    solving it again and again settles in a few rounds.

    Parameters
    ----------
    in_flight : float or ndarray
        Requests per lane, at least 1.
    tolerance : float
        Relative change of y at which to stop.
    """
    low, high, ceiling = _ends(deployment, moments)
    most = most_resident(deployment, moments)
    asked = in_flight / ceiling
    finished = np.clip(low * in_flight / (1.0 + low * asked), low, high)
    for _ in range(100):
        state = steady(deployment, moments, finished)
        served = (moments.later * state.tpot_s + state.ttft_s - state.wait_s) / state.step_s
        waited = state.wait_s / state.step_s * np.maximum(1.0 - finished / ceiling, 0.0)
        total = served + waited + asked
        root = 2.0 * in_flight / (total + np.sqrt(np.maximum(total**2 - 4.0 * served * asked, 0.0)))
        wanted = np.clip(np.minimum(root, most / served), low, high)
        if np.all(np.abs(wanted / finished - 1.0) < tolerance):
            return state
        finished = wanted

    def excess(finished: Number) -> Number:
        state = steady(deployment, moments, finished)
        return np.log(np.maximum(in_system(state, moments) / in_flight, state.resident / most))

    # where prompts starve decodes, a rises with the load as the wait does, and the rounds above run in circles
    return steady(deployment, moments, solve(excess, low, high, ceiling, tolerance=tolerance))


def at_rate(deployment: Deployment, moments: Moments, rate: Number) -> Steady:
    """The state at ``rate`` requests per second and lane, its busy share and queueing included."""
    low, high, ceiling = _ends(deployment, moments)

    def state_at(finished: Number) -> Steady:
        state = steady(deployment, moments, finished)
        return replace(state, busy=busy_share(in_system(state, moments)))

    state = state_at(solve(lambda y: np.log(np.maximum(state_at(y).rate, 1e-300) / rate), low, high, ceiling))
    # near an empty system y is all but constant; the busy share then follows from the rate itself
    busy = np.minimum(1.0, rate * state.step_s / state.finished)
    budget = prompt_budget(deployment, moments, state.finished)
    mixed = state.kinds[1].seconds
    # the prompts ahead of a Poisson arrival (Pollaczek and Khinchine), each served in steps of the whole budget
    load = np.minimum(rate * moments.fresh / budget * mixed, 1.0 - 1e-9)
    service = np.maximum(1.0, moments.fresh / budget) * mixed
    ahead = load / (1.0 - load) * service * moments.spread / 2.0
    wait = ahead + busy * state.step_s / 2.0  # and the step under way
    return replace(state, busy=busy, ttft_s=state.ttft_s - state.wait_s + wait, wait_s=wait)


def _binding(limits: dict[str, Number], goal_free: str) -> str:
    name = max(limits, key=lambda key: float(limits[key]))
    return name if float(limits[name]) > 0.999 else goal_free


def operate(deployment: Deployment, workload: Workload, moments: Moments | None = None) -> Operating:
    """Find the operating point of a workload, or of ``moments`` that differ from its own (speculative decoding).

    Raises
    ------
    PertokenError
        When no load meets the goals, or the rate asked for is beyond what the deployment can serve.
    DoesNotFit
        When weights and one request do not fit the memory.
    """
    deployment.check_fit(workload.lengths.longest)
    moments = moments or workload_moments(deployment, workload)
    lanes, delay = deployment.split.lanes, deployment.profile.request_delay.value
    best = steady(deployment, moments, saturated(deployment, moments, workload.goals))
    limits = strain(deployment, workload.goals, best)
    reachable = float(_worst(limits)) <= 1.0015  # a lone prompt that fills the token budget is at 1 / 0.999
    most = lanes * float(best.rate) if reachable else float("nan")
    if workload.mode == "saturated":
        if not reachable:
            _refuse_goals(workload, best, delay)
        return Operating(
            best, moments, 1.0, lanes * float(in_system(best, moments)), _binding(limits, "batch"), most, delay
        )
    if workload.mode == "concurrency":
        return _closed(deployment, workload, moments, most)
    if workload.mode == "load" and not reachable:
        _refuse_goals(workload, best, delay)
    rate = workload.amount if workload.mode == "rps" else workload.amount * most
    return _open(deployment, moments, rate, most)


def _closed(deployment: Deployment, workload: Workload, moments: Moments, most: float) -> Operating:
    lanes = deployment.split.lanes
    in_flight = max(1.0, workload.amount / lanes)
    state = at_concurrency(deployment, moments, in_flight)
    outside = in_flight - float(in_system(state, moments))
    wait = max(0.0, outside) * float(state.step_s / state.finished)
    state = replace(state, ttft_s=state.ttft_s + wait, wait_s=state.wait_s + wait)
    limits = strain(deployment, Goals(), state)
    bound = _binding(
        {key: limits[key] for key in ("KV memory", "max sequences", "token budget")}, "concurrency asked for"
    )
    return Operating(
        state,
        moments,
        min(1.0, workload.amount / lanes),
        workload.amount,
        bound,
        most,
        deployment.profile.request_delay.value,
    )


def _open(deployment: Deployment, moments: Moments, rate: float, most: float) -> Operating:
    lanes = deployment.split.lanes
    hardest = steady(deployment, moments, saturated(deployment, moments, Goals()))
    ceiling = lanes * float(hardest.rate)
    if rate > ceiling * 1.0001:
        raise PertokenError(
            f"{rate:g} requests/s is more than the {ceiling:.4g} that {deployment.accelerators}x{deployment.accelerator.name}"
            " can serve of these lengths; lower --rps or add accelerators"
        )
    state = at_rate(deployment, moments, rate / lanes)
    crowd = rate * float(moments.later * state.tpot_s + state.ttft_s)
    return Operating(state, moments, 1.0, crowd, "request rate", most, deployment.profile.request_delay.value)


def _refuse_goals(workload: Workload, best: Steady, delay: float) -> None:
    goals = workload.goals
    raise PertokenError(
        f"no load meets the goals: alone in the system a request has a TTFT of {format_seconds(float(best.ttft_s) + delay)} and a"
        f" TPOT of {format_seconds(float(best.tpot_s))}, and the goals are {format_seconds(goals.ttft)} and"
        f" {format_seconds(goals.tpot)}; raise --ttft or --tpot, or use more or faster accelerators"
    )
