"""The closed form against the simulator on shipped lengths: the bounds of docs/simulate.md."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pertoken.serving.operating import operate
from pertoken.serving.workload import Workload
from pertoken.simulate.compiled import COMPILED
from tests.test_benchmarks import load

pytestmark = pytest.mark.skipif(not COMPILED, reason="the interpreter takes minutes for so many requests")
REFEREE = load("referee")
OPEN = [
    ("8B", "even", 0.2), ("8B", "even", 0.8), ("8B", "azure-2023-code", 0.5), ("8B", "azure-2023-code", 0.8),
    ("70B", "azure-2023-conversation", 0.8), ("70B", "azure-2023-code", 0.5), ("235B", "azure-2023-code", 0.8),
]  # fmt: skip


@pytest.mark.parametrize(("case", "lengths", "load"), OPEN)
@pytest.mark.parametrize("engine", ["vllm", "sglang", "trtllm"])
def test_mean_ttft_and_shares_of_the_bill_agree_below_80_per_cent_load(
    case: str, lengths: str, load: float, engine: str
) -> None:
    made, drawn = REFEREE.deployment(case, engine), REFEREE.lengths(lengths)
    most = operate(made.deployment, Workload(lengths=drawn, goals=made.goals)).most_rate
    found = REFEREE.compare(made.deployment, drawn, Workload(lengths=drawn, rps=load * most))
    assert abs(found["ttft"].difference) < 0.10
    assert abs(found["tpot"].difference) < 0.12
    assert abs(found["input"].difference) < 0.05


@pytest.mark.parametrize(
    ("case", "lengths"), [("8B", "azure-2023-code"), ("70B", "even"), ("235B", "azure-2023-conversation")]
)
@pytest.mark.parametrize("users", [8, 32, 128])
def test_throughput_of_closed_loops_agrees(case: str, lengths: str, users: int) -> None:
    made, drawn = REFEREE.deployment(case), REFEREE.lengths(lengths)
    found = REFEREE.compare(made.deployment, drawn, Workload(lengths=drawn, concurrency=users), 10_000, 2)
    assert abs(found["rate"].difference) < 0.03


def test_another_load_does_not_agree() -> None:
    """Negative control: the bound tells 60% from 80% load."""
    made, drawn = REFEREE.deployment("8B"), REFEREE.lengths("azure-2023-code")
    most = operate(made.deployment, Workload(lengths=drawn, goals=made.goals)).most_rate
    found = REFEREE.compare(made.deployment, drawn, Workload(lengths=drawn, rps=0.8 * most), 10_000, 2)
    other = operate(made.deployment, Workload(lengths=drawn, rps=0.6 * most))
    assert abs(other.ttft_s / found["ttft"].simulated - 1.0) > 0.10


@pytest.mark.parametrize("lengths", ["azure-2023-conversation", "even"])
def test_a_memory_full_of_whole_answers_agrees(lengths: str) -> None:
    """TensorRT-LLM sets the cache of a whole answer aside, in both; those that are served are longer than those that are sent."""
    made, drawn = REFEREE.deployment("full", "trtllm"), REFEREE.lengths(lengths)
    d, workload = made.deployment, Workload(lengths=drawn, concurrency=256)
    found = REFEREE.compare(d, drawn, workload, 6000, 2)
    assert abs(found["rate"].difference) < 0.02
    assert abs(found["ttft"].difference) < 0.08
    assert operate(d, workload).bound == "KV memory"
    other = REFEREE.compare(replace(d, profile=replace(d.profile, reserves=False)), drawn, workload, 6000, 2)
    assert found["ttft"].simulated > 1.3 * other["ttft"].simulated, "negative control: block by block more are admitted"
