"""The operating point: where a workload puts a deployment, with what binds it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from pertoken.engine.deployment import Deployment
from pertoken.errors import PertokenError
from pertoken.serving.lengths import Moments
from pertoken.serving.mixing import Pace
from pertoken.serving.steady import (
    Steady,
    beyond,
    closed_pace,
    in_system,
    least_finished,
    most_finished,
    most_resident,
    open_pace,
    solve,
    steady,
    strain,
)
from pertoken.serving.workload import Goals, Workload
from pertoken.units import format_seconds

Number = Any
ROUNDS = 60  # of a search for requests in flight
MANY = 64  # scenarios, of which the slowest are then settled apart
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


def saturated(deployment: Deployment, moments: Moments, goals: Goals, pace: Pace | None = None) -> Number:
    """y of the highest rate within goals, memory and budget; the least y where even that breaks one."""
    low, high, ceiling = _ends(deployment, moments)
    pace = pace or open_pace(deployment, moments)

    def excess(finished: Number) -> Number:
        return np.log(_worst(strain(deployment, goals, steady(deployment, moments, finished, pace))))

    return solve(excess, low, high, ceiling)


def at_concurrency(deployment: Deployment, moments: Moments, in_flight: Number, tolerance: float = 1e-12) -> Steady:
    """The state with ``in_flight`` requests in a lane; what memory, slots and budget do not take waits outside.

    Each of N requests is outside the engine for `Profile.request_delay` between an answer and the next, so by Little's law
    y is what is left of N in the engine over the steps that a request is there.

    Parameters
    ----------
    in_flight : float or ndarray
        Requests per lane, at least 1.
    tolerance : float
        Relative change of y at which to stop.
    """
    pace = closed_pace(deployment, moments)
    low, high, ceiling = _ends(deployment, moments)
    finished, prompt = low, moments.fresh * pace.token_s
    once = pace.hold + pace.read_s + prompt
    for _ in range(3):  # with a step taken as the read of weights and its prompts
        steps = moments.decoded + once / (pace.read_s + finished * prompt)
        finished = 1.0 / np.cbrt((steps / in_flight) ** 3 + 1.0 / ceiling**3)
    state, busy = _settled(deployment, moments, pace, in_flight, np.clip(finished, low, high), tolerance)
    for _ in range(4):
        before = busy
        busy, _inside_now = _inside(state, busy, in_flight)
        if np.all(busy == before):
            break
    return replace(state, busy=busy)


def _settled(
    deployment: Deployment, moments: Moments, pace: Pace, in_flight: Number, finished: Number, tolerance: float
) -> tuple[Steady, Number]:
    """The state that Little's law asks for, and the share of time in which the lane works.

    With r = y / y_max the share of the token budget in use, a the steps that a request spends in service and k those of
    waiting at r = 0, N = a y + k y / (1 - r): a quadratic in y. As a and k hardly move with y, solving it again and again
    settles in a few rounds; secant steps on what is left help where they move. The last few of many scenarios go on alone.
    """
    low, high, ceiling = _ends(deployment, moments)
    most, busy = most_resident(deployment, moments), np.ones_like(finished)
    before, gap_before = finished, 0.0
    for turn in range(ROUNDS):
        state = steady(deployment, moments, finished, pace)
        busy, inside = _inside(state, busy, in_flight)
        waited = state.wait_s / state.step_s
        served = in_system(state, moments) / finished - waited
        total = served + waited * np.maximum(1.0 - finished / ceiling, 0.0) + inside / ceiling
        root = 2.0 * inside / (total + np.sqrt(np.maximum(total**2 - 4.0 * served * inside / ceiling, 0.0)))
        gap = np.log(np.clip(np.minimum(root, finished * most / state.resident), low, high) / finished)
        if np.all(np.abs(gap) < tolerance) and turn > 1:  # the busy share needs a round to follow
            return state, busy
        moved = np.log(finished / before)
        slope = np.where(moved == 0.0, -1.0, (gap - gap_before) / np.where(moved == 0.0, 1.0, moved))
        before, gap_before = finished, gap
        finished = np.clip(finished * np.exp(gap / np.clip(-slope, 0.2, 5.0)), low, high)
        left = gap * gap >= tolerance * np.abs(moved)  # each round multiplies what is left by about gap / moved
        if np.size(finished) > MANY and np.count_nonzero(left) < np.size(finished) / 4:
            some, n = [picked(x, left) for x in (moments, pace)], np.broadcast_to(in_flight, left.shape)[left]
            finished[left] = _settled(deployment, some[0], some[1], n, finished[left], tolerance)[0].finished
            state = steady(deployment, moments, finished, pace)
            return state, _inside(state, busy, in_flight)[0]
    # where prompts starve decodes the rounds above may run in circles
    return _bracketed(deployment, moments, pace, in_flight, tolerance)


def picked(averages: Any, which: Any) -> Any:
    """Some scenarios of `Moments` or a `Pace` whose fields are arrays of them."""

    def some(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(some(x) for x in value)
        return np.broadcast_to(value, which.shape)[which] if isinstance(value, np.ndarray) else value

    return type(averages)(**{f.name: some(getattr(averages, f.name)) for f in fields(averages)})


def _bracketed(
    deployment: Deployment, moments: Moments, pace: Pace, in_flight: Number, tolerance: float
) -> tuple[Steady, Number]:
    """The same inside a bracket."""

    def here(state: Steady) -> tuple[Number, Number]:
        busy, inside = np.ones_like(state.finished), in_flight
        for _ in range(20):
            busy, inside = _inside(state, busy, in_flight)
        return busy, inside

    def excess(finished: Number) -> Number:
        state = steady(deployment, moments, finished, pace)
        return np.log(np.maximum(in_system(state, moments) / here(state)[1], state.resident / most))

    low, high, ceiling = _ends(deployment, moments)
    most = most_resident(deployment, moments)
    state = steady(deployment, moments, solve(excess, low, high, ceiling, tolerance=tolerance), pace)
    return state, here(state)[0]


def _inside(state: Steady, busy: Number, in_flight: Number) -> tuple[Number, Number]:
    """A better estimate of the busy share, and the requests in the engine while it works.

    Two steps of Newton's towards 1 - busy = (outside x busy / N)^N, from above the root of a convex function.
    """
    hold = state.pace.hold if state.pace else 0.0
    outside = hold * state.finished / state.step_s  # in a lane that always works
    if not np.any(outside > 0.0):
        return 1.0, in_flight
    busy = np.minimum(busy, in_flight / outside)  # no more can be outside than there are
    for _ in range(2):
        idle = np.exp(in_flight * np.log(outside * busy / in_flight))
        busy = busy - (busy - 1.0 + idle) / (1.0 + in_flight * idle / busy)
    return busy, np.maximum(in_flight / busy - outside, 1.0)


def at_rate(deployment: Deployment, moments: Moments, rate: Number) -> Steady:
    """The state at ``rate`` requests per second and lane, its busy share and queueing included."""
    low, high, ceiling = _ends(deployment, moments)
    pace = open_pace(deployment, moments)

    def excess(finished: Number) -> Number:
        return np.log(np.maximum(steady(deployment, moments, finished, pace).rate, 1e-300) / rate)

    finished = solve(excess, low, high, ceiling)
    state = steady(deployment, moments, _captured(deployment, moments, excess, finished, pace), pace)
    # near an empty system y is all but constant; the busy share then follows from the rate itself
    busy = np.minimum(1.0, rate * state.step_s / state.finished)
    return steady(deployment, moments, state.finished, pace, busy)


def _captured(
    deployment: Deployment, moments: Moments, excess: Callable[[Number], Number], finished: Number, pace: Pace
) -> Number:
    """A lower y that meets a rate too, where steps jump at the most sequences that a graph replays.

    An engine that fills up comes to the lower state first and stays there.
    """
    captured = deployment.profile.graph_sequences.value

    def beyond_graphs(y: Number) -> Number:
        return np.log(np.maximum(steady(deployment, moments, y, pace).batch * moments.width, 1e-300) / captured)

    above = beyond_graphs(finished) > 0 if captured and deployment.launches_s else False
    if not np.any(above):
        return finished
    low, high, ceiling = _ends(deployment, moments)
    edge = np.maximum(solve(beyond_graphs, low, high, ceiling) * (1.0 - 1e-9), low)
    lower = solve(excess, low, edge, ceiling)
    return np.where(above & (excess(lower) > -1e-6), lower, finished)


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
    pace = open_pace(deployment, moments)
    best = steady(deployment, moments, saturated(deployment, moments, workload.goals, pace), pace)
    limits = strain(deployment, workload.goals, best)
    reachable = float(_worst(limits)) <= 1.0015  # a lone prompt that fills the token budget is at 1 / 0.999
    most = lanes * float(best.finished / best.step_s) if reachable else float("nan")
    if workload.mode == "saturated":
        if not reachable:
            _refuse_goals(workload, best, delay)
        crowd = lanes * float(in_system(best, moments) + delay * best.finished / best.step_s)
        return Operating(replace(best, busy=1.0), moments, 1.0, crowd, _binding(limits, "batch"), most, delay)
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
    wait = float(beyond(deployment, state, moments, in_flight))
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
    pace = open_pace(deployment, moments)
    hardest = steady(deployment, moments, saturated(deployment, moments, Goals(), pace), pace)
    ceiling = lanes * float(hardest.finished / hardest.step_s)
    if rate > ceiling * 1.0001:
        raise PertokenError(
            f"{rate:g} requests/s is more than the {ceiling:.4g} that {deployment.accelerators}x{deployment.accelerator.name}"
            " can serve of these lengths; lower --rps or add accelerators"
        )
    state = at_rate(deployment, moments, rate / lanes)
    crowd = rate * (float(moments.later * state.tpot_s + state.ttft_s) + deployment.profile.request_delay.value)
    return Operating(state, moments, 1.0, crowd, "request rate", most, deployment.profile.request_delay.value)


def _refuse_goals(workload: Workload, best: Steady, delay: float) -> None:
    goals = workload.goals
    raise PertokenError(
        f"no load meets the goals: alone in the system a request has a TTFT of {format_seconds(float(best.ttft_s) + delay)} and a"
        f" TPOT of {format_seconds(float(best.tpot_s))}, and the goals are {format_seconds(goals.ttft)} and"
        f" {format_seconds(goals.tpot)}; raise --ttft or --tpot, or use more or faster accelerators"
    )
