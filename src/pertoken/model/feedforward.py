"""Feed-forward kinds: a dense block, or experts of which a few are active for a token.

References
----------
.. [1] Shazeer et al. 2017, arXiv:1701.06538 (mixture of experts).
.. [2] DeepSeek-V3 2024, arXiv:2412.19437 (shared experts, fine-grained routing).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from pertoken.errors import PertokenError
from pertoken.model.attention import check_positive
from pertoken.model.matmul import Matmul

Number = Any


class FeedForward(ABC):
    """What one feed-forward layer does to each token."""

    hidden: int

    @abstractmethod
    def projections(self, tp: int = 1) -> tuple[Matmul, ...]:
        """Matmuls that every token passes, on one rank (routed experts are not among them)."""

    @property
    @abstractmethod
    def parameters(self) -> int:
        """Parameters of one layer, whole."""

    @property
    @abstractmethod
    def active_parameters(self) -> int:
        """Parameters that one token uses."""


def split_width(width: int, tp: int) -> int:
    """Columns on one rank; engines pad to the next whole number."""
    return -(-width // tp)


@dataclass(frozen=True)
class Dense(FeedForward):
    """Two or three matrices: (gate and) up, down.

    Parameters
    ----------
    hidden, inner : int
        Widths.
    gated : bool
        True for SwiGLU and its like: gate and up.
    bias : bool
        Biases on all matrices.
    """

    hidden: int
    inner: int
    gated: bool = True
    bias: bool = False

    def __post_init__(self) -> None:
        check_positive(self, "hidden", "inner")

    def projections(self, tp: int = 1) -> tuple[Matmul, ...]:
        inner = split_width(self.inner, tp)
        up = Matmul("gate_up" if self.gated else "up", self.hidden, (2 if self.gated else 1) * inner, "feedforward")
        return (up, Matmul("down", inner, self.hidden, "feedforward"))

    @property
    def parameters(self) -> int:
        biases = (2 if self.gated else 1) * self.inner + self.hidden if self.bias else 0
        return sum(m.parameters for m in self.projections()) + biases

    @property
    def active_parameters(self) -> int:
        return self.parameters


@dataclass(frozen=True)
class Experts(FeedForward):
    """Routed experts [1]_, optionally with shared ones [2]_ and a latent width between router and experts.

    Parameters
    ----------
    experts, active : int
        Experts in the layer and experts a token uses.
    inner : int
        Width of one expert.
    gated, bias : bool
        As in `Dense`.
    shared_inner : int
        Width of the shared experts together; 0 for none.
    shared_gate : bool
        The shared expert's output is scaled by a learned scalar (Qwen).
    latent : int or None
        Experts work at this width, with a projection down and up around them (Nemotron 3); None: at ``hidden``.
    router_extra : int
        Parameters of the router beside its matrix (bias, score correction).
    hashed : bool
        A table by token picks the experts; the router's matrix still weighs them (first layers of DeepSeek-V4).
    """

    hidden: int
    experts: int
    active: int
    inner: int
    gated: bool = True
    bias: bool = False
    shared_inner: int = 0
    shared_gate: bool = False
    latent: int | None = None
    router_extra: int = 0
    hashed: bool = False

    def __post_init__(self) -> None:
        check_positive(self, "hidden", "experts", "active", "inner")
        if self.active > self.experts:
            raise PertokenError(f"{self.active} active experts of {self.experts}: at most all of them can be active")

    @property
    def width(self) -> int:
        """Width at which the experts work."""
        return self.latent or self.hidden

    @property
    def expert_matmuls(self) -> tuple[Matmul, ...]:
        """The matrices of one expert, whole."""
        up = Matmul("expert_up", self.width, (2 if self.gated else 1) * self.inner, "experts")
        return (up, Matmul("expert_down", self.inner, self.width, "experts"))

    @property
    def expert_parameters(self) -> int:
        """Parameters of one routed expert."""
        biases = (2 if self.gated else 1) * self.inner + self.width if self.bias else 0
        return sum(m.parameters for m in self.expert_matmuls) + biases

    def projections(self, tp: int = 1) -> tuple[Matmul, ...]:
        found = [Matmul("router", self.hidden, self.experts, "router")]
        if self.latent:
            found.append(Matmul("latent_down", self.hidden, self.latent, "feedforward"))
            found.append(Matmul("latent_up", self.latent, self.hidden, "feedforward"))
        if self.shared_inner:
            shared = Dense(self.hidden, self.shared_inner, self.gated)
            found += [Matmul(f"shared_{m.name}", m.k, m.n, m.role) for m in shared.projections(tp)]
        return tuple(found)

    @property
    def _always(self) -> int:
        shared = self.hidden if self.shared_gate else 0
        return sum(m.parameters for m in self.projections()) + shared + self.router_extra

    @property
    def parameters(self) -> int:
        return self._always + self.experts * self.expert_parameters

    @property
    def active_parameters(self) -> int:
        return self._always + self.active * self.expert_parameters

    def touched(self, tokens: Number, evenness: float = float("inf")) -> Number:
        """Experts that at least one of ``tokens`` uses [expert].

        ``E (1 - (1 - k/E)^m)`` where all are equally popular. Where popularity has a beta distribution of mean k/E and
        first shape a (``evenness``), ``E (1 - ((b + (a-1)/2) / (b + m + (a-1)/2))^a)`` with b = a (E-k)/k: exact for one
        token and for a = 1, else by Tricomi's ratio of gamma functions.
        """
        spare = (self.experts - self.active) / self.active
        if not np.isfinite(evenness) or not spare:
            return self.experts * (1.0 - np.power(1.0 - self.active / self.experts, tokens))
        b = evenness * spare + (evenness - 1.0) / 2.0
        return self.experts * (1.0 - (b / (b + tokens)) ** evenness)
