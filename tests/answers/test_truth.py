"""What the answers rest on: counts by hand, money that adds up, limits, and controls that must fail."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import pertoken as pt
from pertoken.answers.batch import by_batch
from pertoken.answers.counts import batch_of, counts, looking_back
from pertoken.answers.money import at_rate
from pertoken.answers.position import doubles
from pertoken.answers.traffic import at_tenth, mixes
from pertoken.answers.transfers import Requests, requests
from pertoken.report.curve import Curve
from pertoken.serving.lengths import Lengths
from tests.answers.cases import CASES, answers, asked, cost

DENSE = {"layers": 80, "heads": 64, "dim": 128}  # of Llama 3.1 70B


def test_flop_and_bytes_are_those_counted_by_hand() -> None:
    c = cost("70b")
    each, model, lengths = counts(c), c.deployment.model, c.workload.lengths
    head = model.embedding_parameters
    pairs = float((lengths.input * (lengths.input + 1) / 2).sum() / lengths.input.sum())
    own = 4 * DENSE["heads"] * DENSE["dim"] * DENSE["layers"]
    assert each["input"].attention_flop == pytest.approx(own * pairs, rel=1e-6)
    assert each["input"].flop == pytest.approx(2 * (model.matmul_parameters - head) + own * pairs, rel=1e-3)
    steps = lengths.output - 1
    context = float((steps * (lengths.input + (steps - 1) / 2)).sum() / lengths.output.sum())
    assert each["output"].kv_bytes == pytest.approx(80 * 2 * 8 * 128 * 2 * context, rel=0.01)
    back = looking_back(c, each["input"])
    assert back.share == pytest.approx(own * pairs / each["input"].flop, rel=0.02)
    assert back.equals == pytest.approx(2 * (model.matmul_parameters - head) / own, rel=0.01)


def test_alone_an_output_token_reads_all_weights() -> None:
    c = cost("8b alone")
    found = by_batch(c)
    weights = 2.0 * c.deployment.model.matmul_parameters
    assert found.batch[0] == pytest.approx(1.0)
    assert found.weights[0] == pytest.approx(weights, rel=0.02)
    # the cache read is nobody else's, so it does not fall with the batch; the weight read does
    assert np.ptp(found.kv) < 1e-6 * found.kv[0]
    assert (np.diff(found.weights) < 0).all()


def test_the_batch_of_equal_cost_is_that() -> None:
    for name in CASES:
        found = answers(name)[2]
        if "equal_at" in found.figures:
            b = by_batch(cost(name))
            at = found.figures["equal_at"].value
            assert float(np.interp(at, b.batch, b.ratio)) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("name", ["70b", "latent experts", "windows and experts", "linear attention", "one window"])
def test_prompts_cost_what_the_flat_sentences_say(name: str) -> None:
    curve, figures = Curve(cost(name)), answers(name)[3].figures
    for key, times in (("flat_off_from", 1.1), ("flat_doubles_at", 2.0)):
        if key in figures:
            n = np.array([figures[key].value])
            assert curve.means("input", n)[0] / curve.flat["input"] == pytest.approx(times, rel=0.01)
    if "flat_doubles_at" not in figures:
        assert doubles(curve) is None
        assert curve.means("input", np.array([float(curve.limit)]))[0] < 2 * curve.flat["input"]


@pytest.mark.parametrize(
    "name", ["70b", "8b alone", "latent experts", "windows and experts", "state space at a load", "no rent"]
)
def test_requests_add_up_to_the_bill_and_transfers_to_nothing(name: str) -> None:
    c = cost(name)
    found = requests(c)
    unit = c.rate.usd_per_second if c.rate else 1.0
    assert found.cost.mean() == pytest.approx(c.accelerator_s_per_request.value * unit, rel=2e-3)
    assert found.charged.sum() == pytest.approx(found.cost.sum(), rel=1e-9)
    assert 0 <= found.moved < 1


def test_a_request_costs_the_sum_of_its_positions() -> None:
    c = pt.price("llama-3.1-8b", on="1xh100-sxm", input="uniform:100-900", output="uniform:2-300", rate="rent:2")
    found = requests(c)
    for i in (0, found.cost.size // 2, found.cost.size - 1):
        m, o = int(found.input[i]), int(found.output[i])
        own = c.at(input=np.arange(1, m + 1)).value.sum() + c.at(input=m, output=np.arange(1, o + 1)).value.sum()
        assert found.cost[i] == pytest.approx(own, rel=2e-3)


def test_equal_requests_move_nothing_and_unlike_ones_do() -> None:
    n = np.full(4, 100.0)
    assert Requests(n, n, n, n).moved == pytest.approx(0.0)
    steep = Requests(np.array([1.0, 2.0]), np.ones(2), np.array([1.0, 4.0]), np.ones(2))
    assert steep.moved > 0.05, "negative control: a quadratic cost must move money"
    assert steep.charged[0] > steep.cost[0] and steep.charged[1] < steep.cost[1]


@pytest.mark.parametrize("name", [n for n in CASES if "rent" in asked(n).rates])
def test_tokens_and_idle_time_pay_the_rent(name: str) -> None:
    c = at_rate(cost(name), asked(name).rates["rent"])
    figures = answers(name)[5].figures
    paid = sum(
        c.bill.tokens[k] * getattr(c.usd, k).value for k in ("input", "cached", "output") if c.bill.tokens[k] > 0
    )
    assert paid + c.bill.idle_usd == pytest.approx(c.bill.usd, rel=1e-9)
    hour = (
        figures["input_an_hour"].value * figures["input"].value
        + figures["output_an_hour"].value * figures["output"].value
    )
    assert hour + figures.get("idle", figures["rent"]).value * ("idle" in figures) == pytest.approx(
        c.bill.usd, rel=1e-6
    )


def test_electricity_is_joules_times_their_price() -> None:
    for name in ("70b", "cpu without a rent", "latent experts"):
        figures = answers(name)[6].figures
        for kind in ("input", "output"):
            joules = figures[f"{kind}_joules"].value
            assert figures[kind].value == pytest.approx(joules / 3.6e6 * figures["electricity"].value * 1e6, rel=1e-6)


def test_a_tenth_of_the_time_and_a_tenth_of_the_requests_cost_the_same_in_all() -> None:
    for name in ("70b", "latent experts", "linear attention"):
        cases, refused = at_tenth(cost(name))
        assert not refused and list(cases) == ["full", "utilisation 0.1", "load 0.1"]
        full, idle, few = cases.values()
        assert idle.utilisation == pytest.approx(0.1 * full.utilisation)
        assert few.requests_per_s == pytest.approx(0.1 * few.operating.most_rate)
        assert idle.per_request.value == pytest.approx(10 * full.per_request.value, rel=1e-6)
        assert few.per_request.value == pytest.approx(idle.per_request.value, rel=1e-3)
        assert few.operating.state.batch < 0.2 * full.operating.state.batch
        # the same FLOP in the same paid time, whichever way the tenth comes about
        assert few.mfu * few.utilisation == pytest.approx(idle.mfu * idle.utilisation, rel=0.02)
        assert few.ratio > full.ratio, "a thin batch makes output the dearer"


def test_a_load_without_a_meaning_is_refused_with_the_reason() -> None:
    cases, refused = at_tenth(cost("cpu without a rent"))
    assert "no load meets the goals" in refused
    assert list(cases) == ["as asked", "utilisation 0.1"]


def test_more_input_makes_a_request_dearer_and_its_batch_smaller() -> None:
    found, refused = mixes(cost("70b"))
    assert not refused and [m.ratio for m in found] == [1, 3, 5, 10, 30, 100]
    assert (np.diff([m.request for m in found]) > 0).all()
    assert (np.diff([m.cost.operating.state.batch for m in found]) < 0).all()
    for m in found:
        assert 0 < m.input_share < 1
        assert m.cost.tokens_per_request["input"] == pytest.approx(m.ratio * m.cost.tokens_per_request["output"])


def test_ratios_beyond_the_limit_are_left_out_with_the_reason() -> None:
    found, refused = mixes(cost("state space at a load"))
    assert len(found) == 5 and "takes at most 8,192" in refused[0]
    assert "Left out from a ratio of 100 on" in answers("state space at a load")[8].text


def test_a_longer_traffic_makes_the_quadratic_part_larger() -> None:
    c = cost("8b alone")
    shares = []
    for factor in (1.0, 4.0):
        lengths = Lengths(np.minimum(c.workload.lengths.input * factor, 60_000), c.workload.lengths.output)
        other = pt.price("llama-3.1-8b", on="1xh100-sxm", workload=replace(c.workload, lengths=lengths))
        shares.append(looking_back(other, counts(other)["input"]).share)
    assert shares[1] > 2 * shares[0]
    assert batch_of(c).attention
