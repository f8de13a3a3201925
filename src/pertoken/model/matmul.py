"""One weight matrix and what multiplying by it costs."""

from __future__ import annotations

from dataclasses import dataclass

ROLES = ("attention", "feedforward", "experts", "router", "head", "embedding")


@dataclass(frozen=True)
class Matmul:
    """A (m, k) x (k, n) product with a weight of k x n elements: 2 m k n FLOP.

    Parameters
    ----------
    name : str
        What the matrix does, such as ``qkv`` or ``gate_up``.
    k, n : int
        Rows and columns on one rank.
    role : str
        Group of weights that share a precision, one of ``ROLES``.
    """

    name: str
    k: int
    n: int
    role: str

    @property
    def parameters(self) -> int:
        """Weight elements."""
        return self.k * self.n
