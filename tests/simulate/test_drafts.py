"""Speculative decoding in the simulator: what steps emit, against theory and the closed form."""

from __future__ import annotations

import numpy as np
import pytest

from pertoken.errors import PertokenError
from pertoken.scenario import price
from pertoken.simulate.accepting import accept_of, mean_of, steps_of
from pertoken.simulate.cluster import Cluster
from pertoken.simulate.run import Run
from pertoken.simulation import Case
from pertoken.whatif.ask import ask
from tests.simulate.test_engine import TICK, speculating, traffic

KNOBS = {"model": "llama-3.1-8b", "on": "1xh100-sxm", "input": "1024", "output": "512", "requests": 1500}


def policy(accepted: float, seed: int = 1):
    run = Run(speculating(accepted), traffic(1, 4, 0.1), Cluster(accepted=accepted, seed=seed), None, TICK)
    return run.policy


@pytest.mark.parametrize(("accept", "drafts", "mean"), [(0.0, 3, 1.0), (0.5, 1, 1.5), (0.8, 4, 3.3616), (1.0, 4, 5.0)])
def test_mean_tokens_of_a_step_are_those_of_theory(accept: float, drafts: int, mean: float) -> None:
    assert mean_of(accept, drafts) == pytest.approx(mean)
    assert mean_of(accept_of(mean, drafts), drafts) == pytest.approx(mean)


@pytest.mark.parametrize("accepted", [1.25, 2.5, 4.0])
def test_steps_of_long_answers_have_mean_and_spread_of_truncated_geometric_numbers(accepted: float) -> None:
    p, tokens, count = policy(accepted), 400, 2000
    steps = np.array([steps_of(p, i, 0, tokens) for i in range(count)])
    each = tokens / steps
    k = np.arange(p.width)
    weight = np.append(p.accept ** k[:-1] * (1 - p.accept), p.accept ** k[-1])
    variance = float(weight @ (k + 1) ** 2) - accepted**2
    assert each.mean() == pytest.approx(
        accepted, rel=4 * np.sqrt(variance / tokens / accepted / count) + accepted / tokens
    )
    assert steps.std() == pytest.approx(np.sqrt(variance * tokens / accepted**3), rel=0.1)  # of a renewal process
    assert each.mean() != pytest.approx(accepted * 1.05, rel=0.01)


def test_a_step_emits_at_least_one_token_and_at_most_all_drafts() -> None:
    p = policy(2.5)
    for left in (1, 2, 7, 100):
        drawn = [steps_of(p, i, again, left) for i in range(200) for again in (0, 1)]
        assert max(drawn) <= left
        assert min(drawn) >= -(-left // p.width)


def test_neighbours_and_seeds_draw_apart() -> None:
    drawn = [[steps_of(policy(2.5, seed), i, 0, 300) for i in range(50)] for seed in (1, 2)]
    assert drawn[0] != drawn[1]
    assert abs(np.corrcoef(drawn[0][:-1], drawn[0][1:])[0, 1]) < 0.5


@pytest.mark.parametrize("accepted", [1.5, 2.5, 4.0])
@pytest.mark.parametrize("concurrency", [8, 64])
def test_agrees_with_the_closed_form(accepted: float, concurrency: int) -> None:
    run = Case.of({**KNOBS, "concurrency": concurrency, "speculative": accepted}).run()
    plain = price("llama-3.1-8b", on="1xh100-sxm", input="1024", output="512", concurrency=concurrency)
    (asked,) = ask(plain, [f"speculative:{accepted}"])
    assert asked.after is not None
    expected = asked.after.cost
    d = run.document
    assert d["tpot_s"]["mean"] == pytest.approx(expected.operating.tpot_s, rel=0.04)
    assert d["rate"]["answered_per_s"] == pytest.approx(expected.requests_per_s, rel=0.04)
    assert abs(run.billed.residual) < 1e-9 * run.billed.bill
    assert d["tpot_s"]["mean"] < 0.9 * plain.operating.tpot_s


def test_the_same_seed_gives_the_same_times_and_another_does_not() -> None:
    given = {**KNOBS, "requests": 200, "rps": 5, "speculative": 2.5}
    one, again, other = (Case.of({**given, "seed": seed}).run().document for seed in (3, 3, 4))
    assert one == again
    assert one["e2e_s"] != other["e2e_s"]


@pytest.mark.parametrize("given", [0.5, 17, "many", float("nan")])
def test_other_numbers_are_a_sentence(given) -> None:
    with pytest.raises(PertokenError, match="--speculative is"):
        Case.of({**KNOBS, "speculative": given})


def test_it_is_listed_as_assumed_and_written_to_the_scenario() -> None:
    run = Case.of({**KNOBS, "requests": 50, "speculative": 2.5}).run()
    assert any("drafts a step" in line for line in run.assumed)
    assert run.scenario["speculative"] == 2.5
