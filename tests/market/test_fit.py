"""The least distortion at equal revenue: as good as a linear program, and as anything on a grid."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import linprog

import pertoken as pt
from pertoken.errors import PertokenError
from pertoken.market.costs import RequestCosts
from pertoken.market.fairness import Fairness, fairness
from pertoken.market.fit import FORMS, counts, fitted, ladder, least_moved
from pertoken.market.tariff import Prices, Requests, Tariff, Tier

TRACES = ("azure-2023-conversation", "azure-2023-code", "mooncake-conversation")


def drawn(seed: int, n: int = 300, cached: bool = True) -> tuple[Requests, np.ndarray]:
    """Requests, and costs that grow faster than their tokens."""
    random = np.random.default_rng(seed)
    inputs, outputs = np.ceil(random.lognormal(7, 1.2, n)), np.ceil(random.lognormal(5, 1, n))
    found = np.floor(inputs * random.uniform(0, 0.9, n) * cached)
    cost = 1e-7 * ((inputs - found) * (1 + inputs / 4e4) + outputs * (3 + inputs / 2e4)) * random.uniform(0.9, 1.1, n)
    return Requests(inputs, outputs, found), cost


def program(columns: np.ndarray, cost: np.ndarray) -> float:
    """The least share moved by a linear program: excess and shortfall of each request, prices of 0 or more."""
    x, c = columns / columns.sum(axis=0), cost / cost.sum()
    n, k = x.shape
    rows = sparse.hstack([sparse.csr_matrix(x), -sparse.eye(n), sparse.eye(n)])
    equal = sparse.csr_matrix(np.concatenate([np.ones(k), np.zeros(2 * n)]))
    found = linprog(
        np.concatenate([np.zeros(k), np.full(2 * n, 0.5)]),
        A_eq=sparse.vstack([rows, equal]).tocsr(),
        b_eq=np.append(c, 1.0),
    )
    return float(found.fun)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(4))
def test_the_fit_is_that_of_a_linear_program(form: str, seed: int) -> None:
    requests, cost = drawn(seed)
    columns, _ = counts(requests, form, float(np.median(requests.input)))
    used = columns[:, columns.sum(axis=0) > 0]
    prices, moved = least_moved(columns, cost)
    least = program(used, cost)
    assert least - 1e-9 <= moved <= least + 5e-6
    assert (prices >= 0).all()
    assert (columns @ prices).sum() == pytest.approx(cost.sum(), rel=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_many_requests_are_fitted_to_some_of_them_and_judged_on_all(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    requests, cost = drawn(7, 20_000)
    whole = fitted(requests, cost, form)
    monkeypatch.setattr("pertoken.market.fit.MOST", 5000)
    part = fitted(requests, cost, form)
    paid = part.tariff.charge(requests)
    assert paid.sum() == pytest.approx(cost.sum(), rel=1e-9)
    assert part.moved == pytest.approx(np.abs(paid - cost).sum() / 2 / cost.sum(), rel=1e-9)
    assert whole.moved <= part.moved * (1 + 1e-5) and part.moved < 1.03 * whole.moved


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_nothing_on_a_grid_moves_less(seed: int, a: float, b: float) -> None:
    """Any revenue shares of prices, rescaled to equal revenue, move at least as much as the fitted ones."""
    requests, cost = drawn(seed, 60)
    columns, _ = counts(requests, "cached")
    _, moved = least_moved(columns, cost)
    for mix in (
        (a, b, 1 - a),
        (b, a, 0.5),
        *((i / 6, j / 6, max(0.0, 1 - (i + j) / 6)) for i in range(7) for j in range(7)),
    ):
        if sum(mix) > 0:
            share = columns / columns.sum(axis=0) @ (np.array(mix) / sum(mix))
            assert moved <= np.abs(share - cost / cost.sum()).sum() / 2 + 5e-6


def test_the_first_guess_is_not_the_fit() -> None:
    """Negative control: equal shares of revenue move more."""
    requests, cost = drawn(3)
    columns, _ = counts(requests, "cached")
    _, moved = least_moved(columns, cost)
    share = (columns / columns.sum(axis=0)).mean(axis=1)
    assert np.abs(share - cost / cost.sum()).sum() / 2 > moved + 0.05


@pytest.mark.parametrize(
    "tariff",
    [
        Tariff(Prices(1e-6, 4e-6)), Tariff(Prices(1e-6, 4e-6, cached=1e-7)), Tariff(Prices(1e-6, 4e-6, 2e-7, request=1e-3)),
        Tariff(Prices(1e-6, 4e-6, 1e-7), (Tier(2000.0, Prices(2e-6, 8e-6, 2e-7)),)),
    ],
)  # fmt: skip
def test_costs_that_are_a_tariff_are_found_again(tariff: Tariff) -> None:
    requests, _ = drawn(5, 2000)
    cost = tariff.charge(requests)
    form = "cliff" if tariff.tiers else "fee"
    columns, names = counts(requests, form, 2000.0)
    prices, moved = least_moved(columns, cost)
    assert moved < 1e-5
    found = dict(zip(names, prices, strict=True))
    assert found["input"] == pytest.approx(1e-6, rel=1e-2)
    assert found["output"] == pytest.approx(4e-6, rel=1e-2)


@pytest.mark.parametrize("trace", TRACES)
def test_more_prices_move_no_more_on_real_traces(trace: str) -> None:
    cost = pt.price("llama-3.1-70b", on="8xh100-sxm", dtype="fp8", trace=trace, rate="rent:2.50")
    costs = RequestCosts(cost)
    each = costs.of(costs.own)
    found = {fit.form: fit for fit in ladder(costs.own, each)}
    assert found["one"].moved >= found["flat"].moved >= found.get("cached", found["flat"]).moved - 1e-6
    base = found.get("cached", found["flat"]).moved
    assert all(found[form].moved <= base + 1e-6 for form in ("fee", "cliff", "marginal"))
    for fit in found.values():
        fair = fairness(costs.own, each, fit.tariff.charge(costs.own))
        assert fair.moved == pytest.approx(fit.moved, abs=1e-9)
        assert fit.tariff.charge(costs.own).sum() == pytest.approx(each.sum(), rel=1e-9)


def test_chat_is_served_honestly_by_two_prices_and_repeated_prompts_are_not() -> None:
    moved = {}
    for trace in TRACES:
        costs = RequestCosts(pt.price("llama-3.1-70b", on="8xh100-sxm", dtype="fp8", trace=trace, rate="rent:2.50"))
        moved[trace] = fitted(costs.own, costs.of(costs.own), "flat").moved
    assert moved["azure-2023-conversation"] < 0.03 and moved["azure-2023-code"] < 0.03
    assert moved["mooncake-conversation"] > 5 * moved["azure-2023-conversation"]


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 40))
def test_transfers_add_up_to_nothing(seed: int, n: int) -> None:
    requests, cost = drawn(seed, n)
    fair = fairness(requests, cost, Tariff(Prices(1e-6, 3e-6, 1e-7)).charge(requests))
    assert abs(fair.transfer.sum()) <= 1e-9 * fair.total
    assert fair.charge.sum() == pytest.approx(fair.total, rel=1e-12)
    assert 0 <= fair.moved < 1
    for by in ("input", "output"):
        groups = fair.groups(by)
        assert sum(g.requests for g in groups) == n
        assert sum(g.cost for g in groups) == pytest.approx(fair.total, rel=1e-12)
        assert sum(g.transfer for g in groups) == pytest.approx(0.0, abs=1e-9 * fair.total)
        assert all(a.high <= b.low for a, b in pairwise(groups))


def test_a_lorenz_curve_bends_by_what_is_moved() -> None:
    requests, cost = drawn(1, 5000)
    fair = fairness(requests, cost, Tariff(Prices(1e-6, 3e-6)).charge(requests))
    x, y = fair.lorenz(4000)
    assert (x[0], y[0], x[-1]) == (0.0, 0.0, 1.0) and y[-1] == pytest.approx(1.0)
    assert np.all(np.diff(y) >= -1e-12) and np.all(y <= x + 1e-12)
    assert (x - y).max() == pytest.approx(fair.moved, abs=1e-3)
    honest = Fairness(requests, cost, cost)
    assert honest.moved == 0.0 and np.allclose(*honest.lorenz())


def test_bad_forms_and_free_tariffs_are_refused() -> None:
    requests, cost = drawn(0, 5)
    with pytest.raises(PertokenError, match="tariff form 'x' is unknown"):
        fitted(requests, cost, "x")
    with pytest.raises(PertokenError, match="charges nothing"):
        fairness(requests, cost, np.zeros(5))
    with pytest.raises(PertokenError, match="costs nothing"):
        fairness(requests, cost * 0.0, cost)
    with pytest.raises(PertokenError, match="count nothing"):
        least_moved(np.zeros((5, 2)), cost)
