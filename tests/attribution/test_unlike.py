"""Unlike tokens of one operation: the fair share against Shapley's value, standing alone, and marginals."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pertoken.attribution.shares import unlike

SECONDS = st.floats(0.0, 10.0)


def seconds(fixed: float, moved: np.ndarray, compute: np.ndarray) -> float:
    """The operation's time for some tokens; none take no time."""
    return max(fixed + moved.sum(), compute.sum()) if moved.size else 0.0


def along(fixed: float, moved: np.ndarray, compute: np.ndarray, order: np.ndarray) -> np.ndarray:
    """What each token adds as they come in an order."""
    upto = np.maximum(fixed + np.cumsum(moved[order]), np.cumsum(compute[order]))
    found = np.empty(order.size)
    found[order] = np.diff(upto, prepend=0.0)
    return found


def shapley(fixed: float, moved: np.ndarray, compute: np.ndarray) -> np.ndarray:
    """Mean over all orders."""
    return np.mean([along(fixed, moved, compute, np.array(o)) for o in permutations(range(moved.size))], axis=0)


def sampled(fixed: float, moved: np.ndarray, compute: np.ndarray, orders: int, seed: int) -> np.ndarray:
    """Mean over random orders, each forwards and backwards and turned round so that every token has every place alike."""
    n = moved.size
    drawn = np.random.default_rng(seed).permuted(np.tile(np.arange(n), (orders, 1)), axis=1)
    found = np.zeros(n)
    for k in range(n):
        for turned in (np.roll(drawn, k, axis=1), np.roll(drawn, k, axis=1)[:, ::-1]):
            upto = np.maximum(fixed + np.cumsum(moved[turned], axis=1), np.cumsum(compute[turned], axis=1))
            added = np.diff(upto, prepend=0.0, axis=1)
            found += np.bincount(turned.ravel(), added.ravel(), n)
    return found / (2 * n * orders)


def batch(n: int, seed: int = 1) -> tuple[float, np.ndarray, np.ndarray]:
    """Unlike tokens that together take about as long whatever n; arithmetic binds from about half the batch on."""
    random = np.random.default_rng(seed)
    return 1.0, random.uniform(0.2, 1.0, n) / n, random.uniform(1.0, 4.0, n) / n


@pytest.mark.parametrize("n", range(1, 9))
@pytest.mark.parametrize(("fixed", "moved", "compute"), [(3.0, 1.0, 2.0), (1.0, 0.5, 4.0), (0.0, 1.0, 3.0)])
def test_identical_tokens_owe_shapleys_value_exactly(n: int, fixed: float, moved: float, compute: float) -> None:
    each = np.full(n, moved / n), np.full(n, compute / n)
    if n < 8:
        assert unlike(fixed, *each) == pytest.approx(shapley(fixed, *each), rel=1e-12)
    one = along(fixed, *each, np.arange(n)).sum() / n  # all orders are alike: each token owes the mean
    assert unlike(fixed, *each) == pytest.approx(np.full(n, one), rel=1e-12)


def test_unlike_tokens_approach_shapleys_value_as_one_over_n() -> None:
    """Brute force to 8 players: the mean error of a share, over the mean share, times n stays put."""
    errors = {}
    for n in (2, 4, 8):
        gaps = []
        for seed in range(3 if n == 8 else 12):
            game = batch(n, seed)
            gaps.append(np.abs(unlike(*game) - shapley(*game)).mean() * n / seconds(*game))
        errors[n] = np.mean(gaps)
    assert 0 < errors[8] < errors[4] < errors[2] < 0.2
    assert errors[8] * 8 < 1.5 * errors[2] * 2


def test_beyond_eight_players_random_orders_agree() -> None:
    """Monte Carlo: the gap stays within a constant over n, and sampling noise, by two halves of the orders, below that."""
    for n in (8, 16, 32, 64):
        game = batch(n)
        halves = [sampled(*game, 3000, seed) for seed in (7, 8)]
        scale = n / seconds(*game)  # shares over the mean share
        noise = np.abs(halves[0] - halves[1]).mean() * scale / 2.0
        gap = np.abs(unlike(*game) - np.mean(halves, axis=0)).mean() * scale
        assert noise < 0.01 / n, (n, noise * n)
        assert gap < 0.03 / n, (n, gap * n)
    equal = np.full(n, seconds(*game) / n)  # negative control: equal shares are not Shapley's
    assert np.abs(equal - halves[0]).mean() * scale > 3.0 / n


@settings(max_examples=300, deadline=None)
@given(SECONDS, st.lists(st.tuples(SECONDS, SECONDS), min_size=1, max_size=12))
def test_shares_of_unlike_tokens_sum_to_the_time(fixed: float, tokens: list[tuple[float, float]]) -> None:
    moved, compute = np.array(tokens).T
    shares = unlike(fixed, moved, compute)
    assert shares.sum() == pytest.approx(seconds(fixed, moved, compute), rel=1e-9, abs=1e-12)
    assert shares.min() >= 0.0


@settings(max_examples=300, deadline=None)
@given(st.floats(0.01, 10.0), st.lists(st.tuples(SECONDS, SECONDS), min_size=1, max_size=12))
def test_no_token_owes_more_than_alone_where_one_alone_is_bound_by_memory(
    fixed: float, tokens: list[tuple[float, float]]
) -> None:
    moved, compute = np.array(tokens).T
    compute = np.minimum(compute, fixed + moved)  # as every operation that carries weights is
    shares = unlike(fixed, moved, compute)
    for i in range(moved.size):
        assert shares[i] <= seconds(fixed, moved[i : i + 1], compute[i : i + 1]) * (1 + 1e-9) + 1e-12


def test_without_that_a_token_can_owe_more_than_alone() -> None:
    """Negative control: one whose arithmetic binds alone helps to pay for a read that it would not have waited for."""
    moved, compute = np.zeros(2), np.array([2.0, 100.0])
    assert unlike(1.0, moved, compute)[0] > 1.2 * seconds(1.0, moved[:1], compute[:1])


def left_out(fixed: float, moved: np.ndarray, compute: np.ndarray) -> np.ndarray:
    """What the operation takes less without each token."""
    whole = seconds(fixed, moved, compute)
    return np.array([whole - seconds(fixed, np.delete(moved, i), np.delete(compute, i)) for i in range(moved.size)])


def test_leave_one_out_does_not_add_up() -> None:
    """Negative control: charging each token what its absence would save leaves most of the time unpaid."""
    game = 3.0, np.array([0.1, 0.3, 0.2, 0.4]), np.array([0.2, 0.1, 0.9, 0.3])
    assert left_out(*game).sum() < 0.5 * seconds(*game)
    assert unlike(*game).sum() == pytest.approx(seconds(*game), rel=1e-12)


def test_a_marginal_alone_is_no_floor() -> None:
    """A batch of unlike tokens that arithmetic binds: those that compute much owe less than they add."""
    n = 100
    moved, compute = np.zeros(2 * n), np.concatenate((np.full(n, 0.1), np.zeros(n)))
    shares, marginal = unlike(5.0, moved, compute), left_out(5.0, moved, compute)
    assert np.all(shares[:n] < 0.9 * marginal[:n])
    assert np.all(shares[n:] > marginal[n:])
    assert shares.sum() == pytest.approx(seconds(5.0, moved, compute), rel=1e-12)
