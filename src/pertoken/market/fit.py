r"""The tariff of a given form that moves least revenue between requests, at equal revenue.

With what a price counts in the columns of X, each scaled to sum to 1, and costs c that sum to 1, revenue shares q >= 0 of sum 1
minimise

    (1/2) sum_i |x_i q - c_i|,

the share of revenue moved. It is a linear program; here the absolute value is smoothed to sqrt(r^2 + eps^2) and q >= 0 kept by a
logarithmic barrier, both narrowed step by step with Newton's method [1]_. What is found is within n eps + k mu of the least: a
few parts in a million. Of twice `MOST` requests and more, prices are those of a sample spread evenly by input length, scaled to
the revenue of all; what they move is always that of all.

References
----------
.. [1] Boyd and Vandenberghe 2004, Convex Optimization, chapters 10 and 11.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pertoken.errors import PertokenError
from pertoken.market.tariff import Prices, Requests, Tariff, Tier
from pertoken.serving.lengths import Array

STAGES = 16  # each narrows the smoothing and the barrier
NARROW = 0.4
MOST_STEPS = 30  # of Newton in a stage
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)  # of input lengths, where a tier may begin
SAMPLE = 20_000  # requests on which thresholds are compared
MOST = 50_000  # requests to which prices are fitted, at least

TIERED = {"cliff": "a tier for the whole request", "marginal": "a tier for the tokens beyond"}
FORMS = {
    "one": "one price for all tokens",
    "flat": "a price each of input and output",
    "cached": "and one of cached input",
    "fee": "and a fee for a request",
    **TIERED,
}


@dataclass(frozen=True)
class Fitted:
    """A fitted tariff.

    Parameters
    ----------
    form : str
        One of ``FORMS``.
    tariff : Tariff
        Its prices.
    moved : float
        Share of revenue that it moves [1].
    """

    form: str
    tariff: Tariff
    moved: float


def least_moved(columns: Array, cost: Array) -> tuple[Array, float]:
    """Prices that move least revenue.

    Parameters
    ----------
    columns : ndarray, shape (requests, prices)
        What each price counts.
    cost : ndarray, shape (requests,)
        What each request costs [$].

    Returns
    -------
    prices, moved : ndarray, float
        Prices of 0 or more whose revenue is the sum of costs [$], and the share of it that they move [1].
    """
    sums = columns.sum(axis=0)
    used = np.flatnonzero(sums > 0)
    if not used.size:
        raise PertokenError("the tariff's prices count nothing in these requests; give another form")
    x, c = columns[:, used] / sums[used], cost / cost.sum()
    q = np.full(used.size, 1.0 / used.size)
    smooth, barrier = 1.0 / c.size, 1e-2
    for _ in range(STAGES):
        q = _narrowed(x, c, q, smooth, barrier)
        smooth, barrier = smooth * NARROW, barrier * NARROW
    prices = np.zeros(sums.size)
    prices[used] = q * cost.sum() / sums[used]
    return prices, float(np.abs(x @ q - c).sum()) / 2.0


def _narrowed(x: Array, c: Array, q: Array, smooth: float, barrier: float) -> Array:
    """Newton's steps at one width of smoothing and barrier; q stays inside the simplex."""
    k = q.size

    def value(at: Array) -> float:
        return float(np.sqrt((x @ at - c) ** 2 + smooth**2).sum() - barrier * np.log(at).sum())

    now = value(q)
    for _ in range(MOST_STEPS if k > 1 else 0):
        r = x @ q - c
        s = np.sqrt(r**2 + smooth**2)
        slope = x.T @ (r / s) - barrier / q
        bend = (x * (smooth**2 / s**3)[:, None]).T @ x + np.diag(barrier / q**2)
        system = np.block([[bend, np.ones((k, 1))], [np.ones((1, k)), np.zeros((1, 1))]])
        step = np.linalg.lstsq(system, np.append(-slope, 0.0), rcond=None)[0][:k]
        step -= step.mean()  # the sum of q stays 1 to rounding
        gain = -float(slope @ step)
        falling = step < 0
        length = min(1.0, 0.95 * float((q[falling] / -step[falling]).min())) if falling.any() else 1.0
        while length > 1e-10 and value(q + length * step) > now - 1e-4 * length * gain:
            length /= 2.0
        if length <= 1e-10 or gain < 1e-12:
            break
        q = q + length * step
        now = value(q)
    found: Array = q / q.sum()
    return found


def counts(requests: Requests, form: str, above: float = 0.0) -> tuple[Array, tuple[str, ...]]:
    """What each price of a form counts, and which price it is (``tier.`` before those of the tier)."""
    r = requests
    cached = np.broadcast_to(r.cached, r.input.shape)
    kinds = {"input": r.input - cached, "cached": cached, "output": r.output}
    if form == "one":
        return r.tokens[:, None], ("all",)
    if form in ("flat", "cached", "fee"):
        if form == "flat" or not cached.any():
            kinds = {"input": r.input, "output": r.output}
        if form == "fee":
            kinds["request"] = np.ones_like(r.input)
    else:
        kinds = _split(kinds, r, above, form == "marginal")
        if not cached.any():
            kinds = {name: n for name, n in kinds.items() if not name.endswith("cached")}
    return np.stack(list(kinds.values()), axis=1), tuple(kinds)


def _split(kinds: Mapping[str, Array], r: Requests, above: float, marginal: bool) -> dict[str, Array]:
    """Counts below and beyond a threshold: by the request's input, or token by token, cached ones first."""
    if not marginal:
        beyond = r.input > above
        parts = [(name, n * ~beyond, n * beyond) for name, n in kinds.items()]
    else:
        ends = np.cumsum(np.stack([0.0 * r.input, kinds["cached"], kinds["input"], kinds["output"]]), axis=0)
        low = np.diff(np.minimum(ends, above), axis=0)
        parts = [(name, low[i], kinds[name] - low[i]) for i, name in enumerate(("cached", "input", "output"))]
    return {name: low for name, low, _ in parts} | {f"tier.{name}": high for name, _, high in parts}


def tariff_from(prices: Mapping[str, float], above: float = 0.0, marginal: bool = False) -> Tariff:
    """A tariff of fitted prices."""

    def read(start: str) -> Prices:
        one = prices.get(f"{start}all")
        return Prices(
            prices.get(f"{start}input", one or 0.0), prices.get(f"{start}output", one or 0.0),
            prices.get(f"{start}cached"), None, prices.get("request", 0.0),
        )  # fmt: skip

    tiers = (Tier(above, read("tier.")),) if any(name.startswith("tier.") for name in prices) else ()
    return Tariff(read(""), tiers, marginal)


def fitted(requests: Requests, cost: Array, form: str) -> Fitted:
    """The tariff of a form that moves least revenue.

    Parameters
    ----------
    requests : Requests
        Token counts.
    cost : ndarray
        What each request costs [$].
    form : str
        One of ``FORMS``. A tier begins at one of the quantiles ``THRESHOLDS`` of the input lengths.
    """
    if form not in FORMS:
        raise PertokenError(f"tariff form {str(form)[:40]!r} is unknown; use one of {', '.join(FORMS)}")
    above = _threshold(requests, cost, form) if form in TIERED else 0.0
    columns, names = counts(requests, form, above)
    if cost.size < 2 * MOST:
        found, moved = least_moved(columns, cost)
    else:
        part = _spread(requests, MOST)
        found, _ = least_moved(columns[part], cost[part])
        paid = columns @ found
        scale = float(cost.sum() / paid.sum())
        found, moved = found * scale, float(np.abs(paid * scale - cost).sum() / cost.sum()) / 2.0
    prices = dict(zip(names, map(float, found), strict=True))
    return Fitted(form, tariff_from(prices, above, form == "marginal"), moved)


def _spread(requests: Requests, most: int) -> NDArray[np.intp]:
    """Requests spread evenly by input length, at least ``most`` of them where there are so many."""
    order = np.argsort(requests.input, kind="stable")
    return order[:: max(1, order.size // most)]


def _threshold(requests: Requests, cost: Array, form: str) -> float:
    """Where a tier moves least, on a sample spread evenly over the requests by length."""
    part = _spread(requests, SAMPLE)
    cached = np.broadcast_to(requests.cached, requests.input.shape)
    few = Requests(requests.input[part], requests.output[part], cached[part])
    candidates = sorted({float(np.ceil(x)) for x in np.quantile(few.input, THRESHOLDS)})
    return min(candidates, key=lambda above: least_moved(counts(few, form, above)[0], cost[part])[1])


def ladder(requests: Requests, cost: Array, forms: Sequence[str] = tuple(FORMS)) -> list[Fitted]:
    """Fitted tariffs of all forms that differ here, from few prices to many."""
    cached = bool(np.any(requests.cached))
    return [fitted(requests, cost, form) for form in forms if cached or form != "cached"]
