"""Many scenarios on one deployment in one call: every figure is an array, with the breakdown by operation kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pertoken.attribution.ledger import Entry, by_token, ledger
from pertoken.cost import Cost
from pertoken.engine.deployment import Deployment
from pertoken.errors import PertokenError
from pertoken.money.rate import Rate
from pertoken.serving.lengths import Array, Moments
from pertoken.serving.operating import at_concurrency
from pertoken.serving.steady import Steady, beyond, most_finished, most_resident
from pertoken.units import MILLION

POINTS = 160  # batches of one deployment
TOLERANCE = 1e-6  # relative error of the requests in flight in a sweep


@dataclass(frozen=True)
class Sweep:
    """Answers of a sweep, one element a scenario.

    Parameters
    ----------
    state : Steady
        Steady states of one lane.
    entries : list of Entry
        Seconds by token, part and operation in the mean step.
    per_million : mapping of str to ndarray
        Dollars per million ``input`` and ``output`` tokens [$].
    ttft_s, tpot_s : ndarray
        Latencies [s].
    output_tok_per_s : ndarray
        Throughput of the whole deployment.
    """

    state: Steady
    entries: list[Entry]
    per_million: Mapping[str, Array]
    ttft_s: Array
    tpot_s: Array
    output_tok_per_s: Array


def sweep(deployment: Deployment, input_tokens: Any, output_tokens: Any, concurrency: Any, rate: Rate) -> Sweep:
    """Price fixed lengths at given concurrencies, all at once.

    Parameters
    ----------
    deployment : Deployment
        A model linear in its context (no window, no top-k: their contexts need a distribution).
    input_tokens, output_tokens : array_like
        Lengths of the requests, at least 1 [token].
    concurrency : array_like
        Requests in flight, at least one a lane.
    rate : Rate
        Price of accelerator time.

    Returns
    -------
    Sweep
        Arrays of the broadcast shape of the arguments.
    """
    if not deployment.model.linear_in_context:
        raise PertokenError(f"{deployment.model.name} attends to a window or a top k; price its scenarios one by one")
    arrays = np.broadcast_arrays(*(np.asarray(x, dtype=float) for x in (input_tokens, output_tokens, concurrency)))
    for name, values in zip(("input", "output", "concurrency"), arrays, strict=True):
        if not (np.isfinite(values) & (values >= 1)).all():
            raise PertokenError(f"a sweep's {name} has a value that is not a number of at least 1")
    inputs, outputs, in_flight = arrays
    lanes = deployment.split.lanes
    moments = Moments.fixed(inputs, outputs)
    state = at_concurrency(deployment, moments, np.maximum(in_flight / lanes, 1.0), TOLERANCE)
    entries = ledger(state)
    totals = by_token(entries)
    unit = deployment.split.tp / state.finished * MILLION * rate.usd_per_second
    waiting = beyond(deployment, state, moments, in_flight / lanes)
    return Sweep(
        state,
        entries,
        {"input": totals["input"] * unit / inputs, "output": totals["output"] * unit / outputs},
        state.ttft_s + waiting + deployment.profile.request_delay.value,
        state.tpot_s,
        lanes * np.minimum(in_flight / lanes, 1.0) * state.rate * outputs,
    )


def batches(cost: Cost) -> tuple[Array, dict[str, Array]]:
    """Batches from one sequence to the most that fit, and what tokens of each kind cost there [$ or s per million].

    Parameters
    ----------
    cost : Cost
        Model, machine and lengths; its own traffic does not matter.
    """
    batch, _, state, kept = by_batch(cost)
    return batch[kept], {name: value[kept] for name, value in per_million(cost, state).items()}


def by_batch(cost: Cost) -> tuple[Array, Array, Steady, NDArray[np.bool_]]:
    """Batches, requests in flight, the states, and which are reached: where the token budget is full, more requests wait."""
    d, moments = cost.deployment, cost.operating.moments
    most = float(most_resident(d, moments))
    in_flight = np.geomspace(1.0, max(most, 1.0), POINTS)
    state = at_concurrency(d, moments, in_flight)
    # where the token budget is full, more requests in flight wait and the batch stays
    kept = np.concatenate(([True], np.diff(state.finished) > 1e-6 * state.finished[1:]))
    kept &= state.finished < most_finished(d, moments) * (1.0 - 1e-6)
    return np.broadcast_to(state.batch, kept.shape) * d.split.lanes, in_flight * d.split.lanes, state, kept


def per_million(cost: Cost, state: Any) -> dict[str, Array]:
    """Fair shares of input and output in states that are arrays, idle time left out [$ or s per million]."""
    totals, tokens = by_token(ledger(state)), cost.tokens_per_request
    unit = cost.deployment.split.tp * MILLION * (cost.rate.usd_per_second if cost.rate else 1.0)
    return {name: np.asarray(totals[name] * unit / state.finished / tokens[name]) for name in ("input", "output")}
