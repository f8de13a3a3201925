"""Lengths of requests, and the moments through which they enter.

Lengths enter the closed form through moments [1]_: with I input and O output tokens, prefill attends
E[I^2] / (2 E[I]) pairs per token and decode sees a mean context of about E[I O + O^2 / 2] / E[O] (exactly, a request
has O - 1 decode steps, from context I on).

References
----------
.. [1] Agrawal et al. 2024, arXiv:2403.02310 (chunked prefill).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pertoken.errors import PertokenError

Number = Any
Array = NDArray[np.float64]

MOST_TOKENS = 1e9  # of one request's input or output


@dataclass(frozen=True)
class Lengths:
    """Input and output lengths of requests: equal weights, one entry a request (or one for fixed lengths).

    Parameters
    ----------
    input, output : ndarray, shape (requests,)
        Tokens of each request; every request has at least one of each [token].
    origin : str
        Where the lengths come from, for the receipt.
    found : ndarray, shape (requests,), optional
        Input tokens of each request found in the prefix cache, where that is known request by request [token].
    """

    input: Array
    output: Array
    origin: str = "given"
    found: Array | None = None

    def __post_init__(self) -> None:
        for name, values in (("input", self.input), ("output", self.output)):
            if values.ndim != 1 or not values.size or values.shape != self.input.shape:
                raise PertokenError(f"{name} lengths need one value for each request; got shape {values.shape}")
            wrong = ~(np.isfinite(values) & (values >= 1) & (values <= MOST_TOKENS))
            if wrong.any():
                first = values[wrong][0]
                raise PertokenError(
                    f"{name} length {first:g} is out of range; it must be from 1 to 1,000,000,000 tokens"
                )
        if self.found is not None and not (
            self.found.shape == self.input.shape and ((self.found >= 0) & (self.found <= self.input)).all()
        ):
            raise PertokenError(
                "cached tokens are part of a request's input; give one value from 0 to it for each request"
            )

    @classmethod
    def fixed(cls, input_tokens: float, output_tokens: float) -> Lengths:
        """Every request alike."""
        return cls(np.array([float(input_tokens)]), np.array([float(output_tokens)]))

    @property
    def longest(self) -> float:
        """Most tokens of one request, input and output together [token]."""
        return float((self.input + self.output).max())

    def moments(self, cached: float = 0.0, contexts: int = 1) -> Moments:
        """The averages that the closed form needs.

        Parameters
        ----------
        cached : float
            Share of the input found in the prefix cache, where ``found`` does not say it; at least one token of each prompt is
            computed.
        contexts : int
            Groups of equal weight into which decode contexts are binned (1 suffices where cost is linear in context).
        """
        found = np.minimum(self.input * cached if self.found is None else self.found, self.input - 1.0)
        fresh = self.input - found
        pairs = fresh * found + fresh * (fresh + 1.0) / 2.0
        return Moments(
            input=float(self.input.mean()),
            output=float(self.output.mean()),
            fresh=float(fresh.mean()),
            fresh_squared=float((fresh**2).mean()),
            prior=float(pairs.mean() / fresh.mean()) - (float(fresh.mean()) + 1.0) / 2.0,
            contexts=self._decode_contexts(contexts),
            whole=float(((self.input + self.output) * self.output).sum() / self.output.sum()),
        )

    def _decode_contexts(self, groups: int) -> tuple[float, ...]:
        """Mean context of decode steps, in groups of equal weight from short to long [token]."""
        steps = np.maximum(self.output - 1.0, 0.0)
        if not steps.sum():
            return (float(self.input.mean()),)
        if groups == 1:
            return (float((steps * (self.input + (steps - 1.0) / 2.0)).sum() / steps.sum()),)
        at = (np.arange(groups) + 0.5) / groups
        context = (self.input[:, None] + at * steps[:, None] - 0.5).ravel()
        weight = np.repeat(steps, groups)
        order = np.argsort(context, kind="stable")
        context, weight = context[order], weight[order]
        upto = np.concatenate(([0.0], np.cumsum(weight)))
        mass = np.concatenate(([0.0], np.cumsum(weight * context)))
        edges = np.linspace(0.0, upto[-1], groups + 1)
        return tuple(np.diff(np.interp(edges, upto, mass)) / np.diff(edges))


@dataclass(frozen=True)
class Moments:
    """Averages over requests; each may be an array of scenarios.

    Parameters
    ----------
    input, output : float or ndarray
        Mean tokens of a request [token].
    fresh, fresh_squared : float or ndarray
        Mean, and mean square, of the input tokens not found in the prefix cache.
    prior : float or ndarray
        Positions before a prompt's own chunk such that visible pairs per fresh token come out right, were every prompt
        of mean length and computed in one chunk [token].
    contexts : tuple of float or ndarray
        Decode contexts, groups of equal weight [token].
    whole : float or ndarray
        Mean tokens of input and output of a request that is served, each counted for as many steps as it takes [token].
    width, accepted : float or ndarray
        Tokens of a sequence that a decode step handles, and those that it emits; more than 1 with speculative decoding.
    """

    input: Number
    output: Number
    fresh: Number
    fresh_squared: Number
    prior: Number
    contexts: tuple[Number, ...]
    whole: Number
    width: Number = 1.0
    accepted: Number = 1.0

    @classmethod
    def fixed(cls, input_tokens: Number, output_tokens: Number, cached: Number = 0.0) -> Moments:
        """Requests all alike; arguments may be arrays of scenarios (models linear in context only)."""
        found = np.minimum(input_tokens * cached, input_tokens - 1.0)
        fresh = input_tokens - found
        context = input_tokens + np.maximum(output_tokens - 2.0, 0.0) / 2.0
        return cls(input_tokens, output_tokens, fresh, fresh**2, found, (context,), input_tokens + output_tokens)

    @property
    def cached(self) -> Number:
        """Mean input tokens found in the prefix cache [token]."""
        return self.input - self.fresh

    @property
    def spread(self) -> Number:
        """Mean square of fresh input over the square of its mean [1]."""
        return self.fresh_squared / self.fresh**2

    @property
    def decoded(self) -> Number:
        """Mean decode steps of a request: its first output token comes from prefill [step]."""
        return (self.output - 1.0) / self.accepted

    @property
    def later(self) -> Number:
        """Mean output tokens of a request after its first [token]."""
        return self.output - 1.0

    @property
    def context(self) -> Number:
        """Mean decode context [token]."""
        return sum(self.contexts) / len(self.contexts)
