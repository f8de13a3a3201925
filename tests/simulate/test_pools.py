"""Separate pools, and money and energy of a run."""

from __future__ import annotations

import numpy as np
import pytest

from pertoken.errors import PertokenError
from pertoken.money.energy import board
from pertoken.money.rate import Rate, rent
from pertoken.money.site import Site
from pertoken.serving.lengths import Lengths
from pertoken.simulate import run as running
from pertoken.simulate.bill import Billed
from pertoken.simulate.cluster import Cluster
from pertoken.simulate.pools import simulate_pools
from pertoken.simulate.run import simulate
from pertoken.simulate.traffic import open_loop
from tests.simulate.test_engine import deployment

LENGTHS = Lengths(np.array([300.0, 900.0]), np.array([1.0, 80.0]))


def test_pools_answer_all_and_add_up() -> None:
    d, t = deployment(), open_loop(LENGTHS, 20.0, 1500, 1)
    found = simulate_pools(d, t, Cluster(2), Cluster(1))
    whole = found.whole
    assert whole.done.all()
    assert (whole.last >= whole.first).all()
    assert sum(whole.accelerator_s.values()) == pytest.approx(whole.paid_accelerator_s, rel=1e-9)
    assert found.decode is not None
    parts = found.prefill.paid_accelerator_s + found.decode.paid_accelerator_s
    assert parts == pytest.approx(whole.paid_accelerator_s, rel=1e-12)
    assert whole.paid_accelerator_s == pytest.approx(3 * max(whole.end, found.prefill.end), rel=1e-6)
    assert whole.tokens["output"] == found.prefill.tokens["output"] + found.decode.tokens["output"]
    course = whole.timeline
    assert course.output.sum() * course.width == pytest.approx(whole.tokens["output"], rel=0.01)
    assert course.busy.mean() == pytest.approx(whole.utilisation, rel=1e-6)
    moved = d.sequence_bytes(t.input[t.output > 1].astype(float)).sum() * d.split.tp
    assert found.moved_bytes == pytest.approx(float(moved))
    assert found.decode.counts["prefilled"] == 0
    with pytest.raises(PertokenError, match="leave --crowd out"):
        simulate_pools(d, t, Cluster(crowd=3), Cluster())


def test_a_run_that_is_ended_early_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "SLICE", 100)
    monkeypatch.setattr(running, "SMALL", 100)

    def stop(share: float) -> None:
        if share > 0.3:
            raise KeyboardInterrupt

    d = deployment(max_sequences=16)
    found = simulate_pools(d, open_loop(LENGTHS, 20.0, 1500, 1), Cluster(2), Cluster(1), board(d.accelerator), stop)
    whole = found.whole
    assert whole.partial
    assert 0 < whole.done.sum() < 1000
    billed = Billed(whole, rent(2.5), board(d.accelerator), Site())
    assert abs(billed.residual) <= 1e-9 * billed.bill


def test_a_decode_pool_without_work_is_paid_for() -> None:
    single = Lengths(np.array([300.0]), np.array([1.0]))
    found = simulate_pools(deployment(), open_loop(single, 5.0, 50, 1), Cluster(1), Cluster(3)).whole
    assert found.paid_accelerator_s == pytest.approx(4 * found.end, rel=1e-6)
    assert found.tokens["output"] == 50


@pytest.mark.parametrize("rate", [rent(2.5), Rate(1e-4, "electricity", "power", 1e-7, 700.0)])
def test_requests_and_idle_time_pay_the_bill(rate: Rate) -> None:
    d = deployment(max_sequences=16)
    draw = board(d.accelerator)
    found = simulate(d, open_loop(LENGTHS, 8.0, 800, 2), None, draw)
    billed = Billed(found, rate, draw, Site())
    assert found.joules.sum() == pytest.approx(found.energy, rel=1e-7)
    assert billed.bill > 0
    assert abs(billed.residual) <= 1e-9 * billed.bill
