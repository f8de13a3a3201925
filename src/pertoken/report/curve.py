"""Cost against position: the figures behind ``pertoken curve`` and its charts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pertoken.attribution.at import At, read_positions
from pertoken.attribution.batch import PARTS
from pertoken.attribution.crossing import ATTENTION, PRODUCTS, first, grid, input_flop, mean_upto, share
from pertoken.attribution.position import positions
from pertoken.cost import Cost
from pertoken.serving.lengths import Array
from pertoken.units import MILLION

USUAL = (1, 11, 100, 1000, 10_001, 100_000)  # the questions people ask, and round figures between
OFF = 0.1  # a flat price this far from the truth is worth a sentence


@dataclass(frozen=True)
class Curve:
    """Cost of the n-th token for one case.

    Parameters
    ----------
    cost : Cost
        The operating point.
    view, who : str
        As of `Cost.at`.
    asked : tuple of int
        Positions to show; empty for the usual ones up to the context limit.
    """

    cost: Cost
    view: str = "fair"
    who: str = "reader"
    asked: tuple[int, ...] = ()

    @property
    def limit(self) -> int:
        """The model's context limit [token]."""
        return self.cost.deployment.model.context_limit

    @property
    def before(self) -> int:
        """Input tokens in front of the output: the traffic's mean [token]."""
        return max(1, min(round(float(self.cost.operating.moments.input)), self.limit - 1))

    @property
    def decodes(self) -> bool:
        """Whether this traffic has output tokens beyond each request's first."""
        return bool(self.cost.operating.moments.decoded > 0)

    def last(self, token: str) -> int:
        """The last position of a kind of token; without decode steps, the first output token."""
        if token == "output" and not self.decodes:
            return 1
        return self.limit if token == "input" else self.limit - self.before

    def shown(self, token: str) -> Array:
        """Positions to show of a kind of token."""
        last = self.last(token)
        if not self.asked:
            return np.array(sorted({n for n in USUAL if n <= last} | {last}), dtype=float)
        every: Array = read_positions("--positions", sorted(set(self.asked)), float(self.limit))
        return every[every <= last]

    def at(self, token: str, n: Array) -> At:
        """Cost per million tokens at positions of one kind of token."""
        where = {"input": n} if token == "input" else {"output": n, "input": self.before}
        return self.cost.at(**where, view=self.view, who=self.who).per_million

    @cached_property
    def flat(self) -> dict[str, float]:
        """The one price for all positions: the traffic's mean by the fair share [$ or accelerator-s per million]."""
        unit = self.cost.rate.usd_per_second if self.cost.rate else 1.0
        s = self.cost.accelerator_s
        return {"input": s.input.value * MILLION * unit, "output": s.output.value * MILLION * unit}

    @property
    def cumulative(self) -> bool:
        """Whether a prompt costs the sum over its positions whatever comes behind it: not where occupants pay."""
        return self.who == "reader"

    def means(self, token: str, n: Array) -> Array:
        """Mean cost of the tokens up to each position: what a prompt or an answer of that length costs a token.

        Of a `cumulative` curve only; else NaN.
        """
        if not self.cumulative:
            return np.full(n.shape, np.nan)
        every = np.unique(np.concatenate((grid(float(self.last(token)), 2000), n, np.minimum(n + 1, self.last(token)))))
        if token == "output":  # the first one is prefill's, so the curve jumps behind it
            every = np.unique(np.concatenate((every, [1.0, min(2.0, self.last(token))])))
        found: Array = np.interp(n, every, mean_upto(every, np.asarray(self.at(token, every).value)))
        return found

    def off(self, token: str) -> dict[str, Any]:
        """Lengths at which the truth is over 10% below and above a flat price, and how far off it is at the last [1]."""
        if not self.cumulative:
            return dict.fromkeys(("below_upto", "above_from", "at_last"))
        n = grid(float(self.last(token)), 2000)
        ratio = self.means(token, n) / self.flat[token] - 1.0
        below, above = np.flatnonzero(ratio < -OFF), np.flatnonzero(ratio > OFF)
        return {
            "below_upto": int(n[below[-1]]) if below.size else None,
            "above_from": int(n[above[0]]) if above.size else None,
            "at_last": float(ratio[-1]),
        }

    @cached_property
    def overtakes(self) -> dict[str, int | None]:
        """Positions (of an output token: contexts) from which the reader's attention is the larger part; None: never."""
        read = positions(self.cost.deployment, self.cost.operating, self.view)

        def time(names: tuple[str, ...], against: tuple[str, ...], of: Any) -> Any:
            return lambda n: share(of(n), names) - share(of(n), against)

        def flop(n: Array) -> Any:
            attention, rest = input_flop(read.batch, n)
            return attention - rest

        def inputs(n: Array) -> Any:
            return read.input(n)

        def outputs(context: Array) -> Any:
            return read.output(2.0, context)

        others = tuple(part for part in PARTS if part not in ATTENTION)
        limit, longest = float(self.limit), max(1.0, self.limit - 2.0)
        later = {
            "output_kv_over_weights": first(time(("kv",), ("weights",), outputs), longest) if self.decodes else None,
            "output_attention_over_rest": first(time(ATTENTION, others, outputs), longest) if self.decodes else None,
        }
        return {
            "input_flop": first(flop, limit),
            "input_time": first(time(ATTENTION, PRODUCTS, inputs), limit),
            "input_attention_over_rest": first(time(ATTENTION, others, inputs), limit),
            **later,
        }
