"""How a model is split over accelerators, and what its ranks must say to each other.

References
----------
.. [1] Shoeybi et al. 2019, arXiv:1909.08053 (tensor parallel). Thakur et al. 2005, doi:10.1177/1094342005051521 (collectives).
.. [2] DeepSeek 2025, open-infra-index, day 6 (attention data parallel with expert parallel).
"""

from __future__ import annotations

from dataclasses import dataclass

from pertoken.errors import PertokenError
from pertoken.model.feedforward import Experts
from pertoken.model.model import Model


@dataclass(frozen=True)
class Split:
    """Ranks of each kind; accelerators = tp x pp x dp.

    Parameters
    ----------
    tp, pp, dp : int
        Tensor, pipeline and data parallel size.
    ep : int
        Ranks over which a layer's experts are spread. Up to ``tp`` they are the tensor-parallel ranks; above it the
        data-parallel lanes share one set of experts [2]_.
    """

    tp: int = 1
    pp: int = 1
    ep: int = 1
    dp: int = 1

    def __post_init__(self) -> None:
        for name in ("tp", "pp", "ep", "dp"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 100_000:
                raise PertokenError(f"--{name} is {value!r}; it must be a whole number from 1 to 100,000")
        if self.ep > self.tp and (self.ep % self.tp or self.dp % (self.ep // self.tp)):
            raise PertokenError(
                f"--ep {self.ep} does not fit tp {self.tp} x dp {self.dp}; use a divisor of tp, or a multiple of tp that"
                f" divides {self.tp * self.dp}"
            )
        if self.ep <= self.tp and self.tp % self.ep:
            raise PertokenError(f"--ep {self.ep} does not divide tp {self.tp}; use one of its divisors, or tp x dp")

    @property
    def accelerators(self) -> int:
        """Accelerators in all."""
        return self.tp * self.pp * self.dp

    @property
    def lanes(self) -> int:
        """Batches in flight at once: one for each pipeline stage of each data-parallel rank."""
        return self.pp * self.dp

    @property
    def pool(self) -> int:
        """Data-parallel lanes whose tokens meet in one set of experts."""
        return max(1, self.ep // self.tp)

    @property
    def expert_ranks(self) -> int:
        """Ranks that hold one set of experts between them."""
        return max(self.tp, self.ep)

    @property
    def expert_split(self) -> int:
        """Ranks over which one expert's matrices are split."""
        return max(1, self.tp // self.ep)

    def __str__(self) -> str:
        parts = [f"{name}{getattr(self, name)}" for name in ("tp", "pp", "ep", "dp") if getattr(self, name) > 1]
        return " ".join(parts) or "tp1"


def divides(model: Model, tp: int) -> bool:
    """Whether every layer's heads can be split over ``tp`` ranks."""
    try:
        for block in model.blocks:
            if block.attention:
                block.attention.projections(tp)
    except PertokenError:
        return False
    return True


def check_split(model: Model, split: Split) -> None:
    """Raise a sentence when the model cannot be split so."""
    if not divides(model, split.tp):
        able = [tp for tp in (1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 24, 32, 64) if divides(model, tp)]
        raise PertokenError(
            f"tensor parallel {split.tp} does not divide the attention heads of {model.name}; use --tp with one of {able}"
        )
    if split.pp > model.layers:
        raise PertokenError(f"--pp {split.pp} is more than the {model.layers} layers of {model.name}; use fewer stages")
    experts = [b.feedforward.experts for b in model.blocks if isinstance(b.feedforward, Experts)]
    if split.ep > 1 and not experts:
        raise PertokenError(f"--ep {split.ep} needs experts, and {model.name} is dense; leave --ep out")
    if experts and split.ep > min(experts):
        raise PertokenError(
            f"--ep {split.ep} is more than the {min(experts)} experts of {model.name}; use at most that"
        )


def default_split(
    model: Model, accelerators: int, domain: int, tp: int | None, pp: int | None, ep: int | None, dp: int | None
) -> Split:
    """Fill in what was not given: tensor parallel within the link domain, the rest data parallel.

    Raises
    ------
    PertokenError
        When the sizes given do not multiply to the accelerators.
    """
    given = (tp or 1) * (pp or 1) * (dp or 1)
    if given > accelerators or accelerators % given:
        raise PertokenError(
            f"tp {tp or 1} x pp {pp or 1} x dp {dp or 1} = {given} does not divide {accelerators} accelerators; use sizes"
            " whose product does"
        )
    rest = accelerators // given
    if tp is None:
        tp = max(t for t in range(1, rest + 1) if rest % t == 0 and t <= max(domain, 1) and divides(model, t))
        rest //= tp
    if dp is None:
        dp, rest = rest, 1
    if pp is None:
        pp, rest = rest, 1
    if rest > 1:
        raise PertokenError(f"tp {tp} x pp {pp} x dp {dp} uses {tp * pp * dp} of {accelerators} accelerators; use all")
    return Split(tp, pp, ep or 1, dp)
