"""Attention as it is not: a cache cut to a budget, and grouped-query attention with an indexer. For counterfactuals.

References
----------
.. [1] Zhang et al. 2023, arXiv:2306.14048 (H2O, eviction). Li et al. 2024, arXiv:2404.14469 (SnapKV, cut after prefill).
.. [2] DeepSeek-AI 2025, arXiv:2512.02556 (sparse attention with an indexer).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from pertoken.model.attention import Attention, GroupedQuery, Indexer, Latent, visible_pairs
from pertoken.model.matmul import Matmul
from pertoken.model.model import Model

Number = Any
# shapes of the indexer of DeepSeek-V3.2, taken for any model
INDEXER_HEADS, INDEXER_DIM = 64, 128
_INDEXER = Indexer(INDEXER_HEADS, INDEXER_DIM, 2048)


def kept(new: Number, context: Number, budget: int) -> Number:
    """Positions that new tokens find in a cache cut to ``budget``: a prompt is attended to in full, decoding is not."""
    return np.where(np.asarray(new) > 1.0, context, np.minimum(context, budget))


@dataclass(frozen=True)
class EvictedQuery(GroupedQuery):
    """Grouped-query attention whose cache keeps ``budget`` positions of a sequence once its prompt is read [1]_."""

    budget: int = 1

    def flop(self, new: Number, context: Number, tp: int = 1) -> Number:
        return super().flop(new, kept(new, context, self.budget), tp)

    def read_bytes(self, new: Number, context: Number, kv: float, tp: int = 1) -> Number:
        return super().read_bytes(new, kept(new, context, self.budget), kv, tp)

    def held_bytes(self, context: Number, kv: float, tp: int = 1) -> Number:
        return super().held_bytes(np.minimum(context, self.budget), kv, tp)

    @property
    def linear_in_context(self) -> bool:
        return False


@dataclass(frozen=True)
class EvictedLatent(Latent):
    """Latent attention whose cache keeps ``budget`` positions of a sequence once its prompt is read [1]_."""

    budget: int = 1

    def flop(self, new: Number, context: Number, tp: int = 1) -> Number:
        return super().flop(new, kept(new, context, self.budget), tp)

    def read_bytes(self, new: Number, context: Number, kv: float, tp: int = 1) -> Number:
        return super().read_bytes(new, kept(new, context, self.budget), kv, tp)

    def written_bytes(self, new: Number, kv: float, tp: int = 1) -> Number:
        return super().held_bytes(new, kv, tp)

    def held_bytes(self, context: Number, kv: float, tp: int = 1) -> Number:
        return super().held_bytes(np.minimum(context, self.budget), kv, tp)

    @property
    def linear_in_context(self) -> bool:
        return False


@dataclass(frozen=True)
class SparseQuery(GroupedQuery):
    """Grouped-query attention to the ``indexer.top_k`` positions that an indexer picks for each token [2]_."""

    indexer: Indexer = _INDEXER

    def projections(self, tp: int = 1) -> tuple[Matmul, ...]:
        index = self.indexer
        return (
            *super().projections(tp),
            Matmul("indexer_query", self.hidden, index.heads * index.head_dim, "attention"),
            Matmul("indexer_key", self.hidden, index.head_dim + index.heads, "attention"),
        )

    @property
    def reach(self) -> int | None:
        return self.indexer.top_k

    def flop(self, new: Number, context: Number, tp: int = 1) -> Number:
        pairs = visible_pairs(new, context, self.indexer.top_k)
        scores = self.indexer.flop(visible_pairs(new, context, None))
        return 4.0 * self._heads(tp)[0] * self.head_dim * pairs + scores

    def read_bytes(self, new: Number, context: Number, kv: float, tp: int = 1) -> Number:
        # each new token gathers its own top k; a chunk never reads more than the whole context once
        picked = np.minimum(new * np.minimum(context, self.indexer.top_k), context) + new
        return self._position_bytes(kv, tp) * picked + self.indexer.position_bytes * (context + new)

    def written_bytes(self, new: Number, kv: float, tp: int = 1) -> Number:
        return self.held_bytes(new, kv, tp)

    def held_bytes(self, context: Number, kv: float, tp: int = 1) -> Number:
        return super().held_bytes(context, kv, tp) + self.indexer.position_bytes * context

    @property
    def linear_in_context(self) -> bool:
        return False


def recast(attention: Attention, kind: type[Any], **more: Any) -> Any:
    """The same shapes as another kind of attention."""
    return kind(**{f.name: getattr(attention, f.name) for f in fields(attention)}, **more)  # type: ignore[arg-type]


def with_attention(model: Model, change: Callable[[Attention], Attention]) -> Model:
    """The model with the attention of every layer replaced."""
    blocks = tuple(replace(b, attention=change(b.attention)) if b.attention else b for b in model.blocks)
    return replace(model, blocks=blocks)
