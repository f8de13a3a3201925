# ruff: noqa: ARG002 - one signature for all kinds; not every kind needs all of it
"""What all attention kinds share: the class they are cases of, and how heads, windows and checks are counted.

References
----------
.. [1] Pope et al. 2022, arXiv:2211.05102 (grouped-query cache and its sharding).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from pertoken.errors import PertokenError
from pertoken.model.matmul import Matmul

Number = Any  # float or numpy array


def check_positive(owner: object, *names: str) -> None:
    """Raise a sentence when a field of ``owner`` is not a positive whole number."""
    for name in names:
        value = getattr(owner, name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 10**9:
            kind = type(owner).__name__
            raise PertokenError(f"{kind}.{name} is {value!r}; it must be a whole number from 1 to 999,999,999")


def split_heads(heads: int, tp: int, what: str) -> int:
    """Heads on one rank; every rank holds the same number.

    Raises
    ------
    PertokenError
        When ``tp`` does not divide ``heads``.
    """
    if heads % tp:
        fits = [d for d in range(1, heads + 1) if heads % d == 0 and d <= 128]
        raise PertokenError(f"tensor parallel {tp} does not divide the {heads} {what}; use --tp with one of {fits}")
    return heads // tp


def split_kv_heads(kv_heads: int, tp: int) -> int:
    """Key-value heads on one rank: at least one, replicated when there are more ranks than heads [1]_."""
    if kv_heads >= tp:
        return split_heads(kv_heads, tp, "key-value heads")
    if tp % kv_heads:
        fits = [d for d in range(1, kv_heads + 1) if kv_heads % d == 0]
        raise PertokenError(
            f"tensor parallel {tp} is not a multiple of the {kv_heads} key-value heads; use --tp with one of {fits}"
            f" or a multiple of {kv_heads}"
        )
    return 1


def visible_pairs(new: Number, context: Number, window: int | None) -> Number:
    """Query-key pairs of ``new`` tokens after ``context`` positions, each seeing at most ``window`` with itself.

    Parameters
    ----------
    new, context : float or ndarray
        New tokens and tokens already in the cache [token].
    window : int or None
        Positions a token attends to, itself included [token]; None sees all.
    """
    if window is None:
        return new * (context + (new + 1) / 2)

    def below(x: Number) -> Number:
        short = np.minimum(x, window)
        return short * (short + 1) / 2 + (x - short) * window

    return below(context + new) - below(context)


class Attention(ABC):
    """What one attention layer does to the tokens of one sequence."""

    kind: ClassVar[str]  # which measured efficiency applies: grouped, latent or linear
    hidden: int

    @abstractmethod
    def projections(self, tp: int = 1) -> tuple[Matmul, ...]:
        """Weight-carrying matmuls of one layer on one rank."""

    @property
    @abstractmethod
    def other_parameters(self) -> int:
        """Parameters that are in no matmul (biases, norms, convolutions)."""

    @abstractmethod
    def flop(self, new: Number, context: Number, tp: int = 1) -> Number:
        """FLOP of scores and mixing for ``new`` tokens of one sequence at ``context`` [FLOP]."""

    @abstractmethod
    def read_bytes(self, new: Number, context: Number, kv: float, tp: int = 1) -> Number:
        """Cache bytes read by ``new`` tokens of one sequence, ``kv`` bytes an element [byte]."""

    @abstractmethod
    def written_bytes(self, new: Number, kv: float, tp: int = 1) -> Number:
        """Cache bytes written for ``new`` tokens [byte]."""

    @abstractmethod
    def held_bytes(self, context: Number, kv: float, tp: int = 1) -> Number:
        """Cache bytes a sequence of ``context`` tokens occupies [byte]."""

    def tile(self, tp: int = 1) -> float:
        """What fills a tile of the kernel: the head width, or for latent attention the heads on a rank."""
        return float(getattr(self, "head_dim", 128))

    @property
    def reach(self) -> int | None:
        """Most positions that a token attends to; None for all of them."""
        return None

    def expand_flop(self, new: Number, context: Number, cached: Number, tp: int = 1) -> Number:
        """Those of `flop` that expand ``cached`` positions of the context once more [FLOP]."""
        return 0.0

    @property
    def parameters(self) -> int:
        """Parameters of one layer's attention, whole."""
        return sum(m.parameters for m in self.projections()) + self.other_parameters

    @property
    def linear_in_context(self) -> bool:
        """Whether the mean context says all (no window, no top-k)."""
        return True
