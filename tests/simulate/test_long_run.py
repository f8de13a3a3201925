"""The long-run marginal is what the simulator's machine takes longer for a few requests more of a class."""

from __future__ import annotations

import numpy as np
import pytest

from pertoken.attribution.batch import total
from pertoken.attribution.position import Positions, positions
from pertoken.engine.deployment import Deployment
from pertoken.serving.operating import operate
from pertoken.serving.workload import Workload
from pertoken.simulate.run import simulate
from pertoken.simulate.traffic import Traffic
from tests import maker

BASE, OTHER = (200, 400), (200, 800)
COUNT, MORE = 6000, 600


def seconds(d: Deployment, others: int) -> float:
    """From the first step to the last answer of requests that all wait at the start, those of the other class among them."""
    kinds = np.zeros(COUNT + others, dtype=int)
    kinds[np.linspace(0, kinds.size - 1, others).astype(int)] = 1
    inputs, outputs = (np.where(kinds, OTHER[i], BASE[i]).astype(np.int32) for i in (0, 1))
    records = simulate(d, Traffic(np.zeros(kinds.size), inputs, outputs, "all at once"))
    return float(np.max(records.arrival + records.ttft + records.tpot * (outputs - 1)))


def request(found: Positions, given: int, made: int) -> float:
    inputs = total(found.input(np.arange(1.0, given + 1)))
    outputs = total(found.output(np.arange(1.0, made + 1), float(given)))
    return float(np.sum(inputs) + np.sum(outputs))


@pytest.mark.parametrize(
    ("bound", "d"),
    [
        ("max sequences", maker.deploy(engine=maker.profile(max_sequences=100))),
        ("KV memory", maker.deploy(on=maker.accelerator(memory=6e9))),
    ],
)
def test_a_few_requests_more_take_their_long_run_cost_in_the_simulator(bound: str, d: Deployment) -> None:
    op = operate(d, Workload(input=BASE[0], output=BASE[1]))
    assert op.bound == bound
    found = positions(d, op, "long-run")
    added = (seconds(d, MORE) - seconds(d, 0)) / MORE
    assert added == pytest.approx(request(found, *OTHER), rel=0.1)
    # negative control: the short-run marginal leaves out what they keep others from
    assert abs(request(positions(d, op, "marginal"), *OTHER) / added - 1.0) > 0.15
