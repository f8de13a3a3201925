"""What each request costs, by its own lengths: positions of the fair share added up, and made to meet the bill exactly.

The n-th input token costs more the more it attends to, and an output token the longer its context; so a request owes

    sum over its uncached input positions + load of its cached tokens + its first output token + sum over decode contexts

in the batch of the operating point (`Cost.at`). Positions sum to the fair share up to the curvature of the maximum; a factor for
each kind of token closes that gap over the operating point's own lengths, and idle time is spread by what a request owes while
the machine works. So the costs of all requests of a trace are its bill.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pertoken.attribution.crossing import grid
from pertoken.cost import Cost
from pertoken.errors import PertokenError
from pertoken.market.tariff import Requests, from_lengths
from pertoken.serving.lengths import Array

POINTS = 2000  # positions at which a curve is asked for; between them it is straight
MOST_TOKENS = 20_000_000  # longest request that a table of sums is made for


@dataclass(frozen=True)
class RequestCosts:
    """Costs of requests in the batch of an operating point.

    Parameters
    ----------
    cost : Cost
        The operating point; needs a rate.
    """

    cost: Cost

    def __post_init__(self) -> None:
        if self.cost.rate is None:
            raise PertokenError(self.cost.rate_missing)

    @cached_property
    def own(self) -> Requests:
        """The requests of the operating point itself."""
        workload = self.cost.workload
        return from_lengths(workload.lengths, workload.cached)

    @property
    def usd_per_request(self) -> float:
        """The bill over the requests that it is for, idle time included [$]."""
        return self.cost.bill.usd / (self.cost.requests_per_s * self.cost.bill.period_s)

    @cached_property
    def factors(self) -> dict[str, float]:
        """By kind of token, what closes the gap between the sum over positions and the fair share [1]."""
        raw = self._raw(self.own)
        tokens, each = self.cost.tokens_per_request, self.cost.usd
        found = {}
        for name, sums in raw.items():
            owed = tokens[name] * getattr(each, name).value
            found[name] = owed / float(sums.mean()) if sums.any() and owed > 0 else 1.0
        return found

    @cached_property
    def idle_factor(self) -> float:
        """The bill over what tokens owe, with which idle time is spread [1]."""
        busy = sum(float(sums.mean()) * self.factors[name] for name, sums in self._raw(self.own).items())
        return self.usd_per_request / busy

    def by_kind(self, requests: Requests) -> dict[str, Array]:
        """Of each request what its input, cached and output tokens cost, idle time included [$]."""
        return {name: sums * (self.factors[name] * self.idle_factor) for name, sums in self._raw(requests).items()}

    def of(self, requests: Requests) -> Array:
        """What each request costs [$]."""
        kinds = self.by_kind(requests)
        found: Array = kinds["input"] + kinds["cached"] + kinds["output"]
        return found

    def _raw(self, requests: Requests) -> dict[str, Array]:
        """Sums over positions, before they are made to meet the bill [$]."""
        inputs, output, cached = (
            np.rint(np.broadcast_to(x, requests.input.shape)).astype(np.int64)
            for x in (requests.input, requests.output, requests.cached)
        )
        prompts, contexts = self._tables(int(inputs.max(initial=1)), int((inputs + output).max(initial=1)))
        first = float(self.cost.at(output=1, input=1).value)
        later = contexts[np.maximum(inputs + output - 2, inputs - 1)] - contexts[np.maximum(inputs - 1, 0)]
        return {
            "input": prompts[inputs] - prompts[cached],
            "cached": cached * self.cost.usd.cached.value,
            "output": np.where(output > 0, first + later, 0.0),
        }

    def _tables(self, longest_input: int, longest: int) -> tuple[Array, Array]:
        """Sums over the first n input positions, and over decode contexts up to n [$]."""
        limit = self.cost.deployment.model.context_limit
        if max(longest, longest_input) > min(limit, MOST_TOKENS):
            raise PertokenError(
                f"a request of {longest:,} tokens of input and output is longer than the {min(limit, MOST_TOKENS):,} that"
                f" {self.cost.deployment.model.name} takes; leave it out"
            )
        prompts = _sums(longest_input, lambda n: self.cost.at(input=n).value)
        if longest < 3 or not float(self.cost.operating.moments.decoded) > 0:  # no output token after a request's first
            return prompts, np.zeros(longest + 1)
        return prompts, _sums(longest - 2, lambda n: self.cost.at(output=2.0, input=n).value)


def _sums(longest: int, curve: Any) -> NDArray[np.float64]:
    """Sums of a curve over whole positions 1 to n, for n from 0 to ``longest``."""
    at = grid(float(max(longest, 1)), POINTS)
    each = np.interp(np.arange(1.0, longest + 1.0), at, np.broadcast_to(curve(at), at.shape))
    return np.concatenate(([0.0], np.cumsum(each)))
