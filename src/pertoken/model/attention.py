# ruff: noqa: ARG002 - one signature for all kinds; not every kind needs all of it
"""Attention kinds: each is one small class that counts FLOP and cache bytes of one layer.

Every method takes floats or numpy arrays. ``tp`` is the tensor-parallel size; counts are those of one rank.

References
----------
.. [1] Pope et al. 2022, arXiv:2211.05102 (grouped-query cache and its sharding).
.. [2] DeepSeek-V2 2024, arXiv:2405.04434 (multi-head latent attention, absorbed form).
.. [3] DeepSeek-V3.2-Exp 2025 (sparse attention with an indexer).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pertoken.errors import PertokenError
from pertoken.model.base import Attention, Number, check_positive, split_heads, split_kv_heads, visible_pairs
from pertoken.model.matmul import Matmul
from pertoken.model.recurrent import Recurrent, Replaced

__all__ = [
    "Attention",
    "ChunkedQuery",
    "GroupedQuery",
    "Indexer",
    "Latent",
    "Number",
    "Recurrent",
    "Replaced",
    "check_positive",
    "split_heads",
    "split_kv_heads",
    "visible_pairs",
]


@dataclass(frozen=True)
class GroupedQuery(Attention):
    """Multi-head, grouped-query or multi-query attention, with or without a sliding window.

    Parameters
    ----------
    hidden, heads, kv_heads, head_dim : int
        Shapes; ``head_dim`` is never assumed to be hidden / heads.
    window : int or None
        Positions attended to, itself included [token].
    gate : bool
        A second query-sized projection gates the output (Qwen3-Next, Qwen3.5).
    bias, out_bias, qk_norm, sinks : bool
        Small parameter groups: bias of q, k, v; of the output; norms of q and k; one sink logit a head.
    shares_cache : bool
        The layer reads another layer's cache and has no key or value projection of its own.
    """

    kind: ClassVar[str] = "grouped"
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    window: int | None = None
    gate: bool = False
    bias: bool = False
    out_bias: bool = False
    qk_norm: bool = False
    sinks: bool = False
    shares_cache: bool = False

    def __post_init__(self) -> None:
        check_positive(self, "hidden", "heads", "kv_heads", "head_dim")
        if self.window is not None:
            check_positive(self, "window")
        if self.heads % self.kv_heads:
            raise PertokenError(f"{self.heads} query heads are not a multiple of {self.kv_heads} key-value heads")

    def _heads(self, tp: int) -> tuple[int, int]:
        return split_heads(self.heads, tp, "attention heads"), split_kv_heads(self.kv_heads, tp)

    def projections(self, tp: int = 1) -> tuple[Matmul, ...]:
        heads, kv_heads = self._heads(tp)
        kv = 0 if self.shares_cache else 2 * kv_heads
        queries = heads * (2 if self.gate else 1)
        return (
            Matmul("qkv", self.hidden, (queries + kv) * self.head_dim, "attention"),
            Matmul("attention_out", heads * self.head_dim, self.hidden, "attention"),
        )

    @property
    def other_parameters(self) -> int:
        kv = 0 if self.shares_cache else 2 * self.kv_heads
        biases = (self.heads + kv) * self.head_dim if self.bias else 0
        biases += self.hidden if self.out_bias else 0
        norms = 2 * self.head_dim if self.qk_norm else 0
        return biases + norms + (self.heads if self.sinks else 0)

    def flop(self, new: Number, context: Number, tp: int = 1) -> Number:
        heads, _ = self._heads(tp)
        return 4.0 * heads * self.head_dim * visible_pairs(new, context, self.window)

    @property
    def reach(self) -> int | None:
        return self.window

    def _position_bytes(self, kv: float, tp: int) -> float:
        return 2.0 * self._heads(tp)[1] * self.head_dim * kv

    def _seen(self, context: Number) -> Number:
        return context if self.window is None else np.minimum(context, self.window)

    def read_bytes(self, new: Number, context: Number, kv: float, tp: int = 1) -> Number:
        return self._position_bytes(kv, tp) * (self._seen(context) + new)

    def written_bytes(self, new: Number, kv: float, tp: int = 1) -> Number:
        return 0.0 * new if self.shares_cache else self._position_bytes(kv, tp) * new

    def held_bytes(self, context: Number, kv: float, tp: int = 1) -> Number:
        return 0.0 * context if self.shares_cache else self._position_bytes(kv, tp) * self._seen(context)

    @property
    def linear_in_context(self) -> bool:
        return self.window is None


@dataclass(frozen=True)
class ChunkedQuery(GroupedQuery):
    """Grouped-query attention inside fixed chunks of ``window`` positions (Llama 4's local layers)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "window")

    @property
    def _size(self) -> int:
        return self.window or 1

    def flop(self, new: Number, context: Number, tp: int = 1) -> Number:
        def below(x: Number) -> Number:
            whole, rest = np.floor_divide(x, self._size), np.mod(x, self._size)
            return whole * self._size * (self._size + 1) / 2 + rest * (rest + 1) / 2

        return 4.0 * self._heads(tp)[0] * self.head_dim * (below(context + new) - below(context))

    def _seen(self, context: Number) -> Number:
        return np.mod(context, self._size)

    def held_bytes(self, context: Number, kv: float, tp: int = 1) -> Number:
        return self._position_bytes(kv, tp) * np.minimum(context, self._size)


@dataclass(frozen=True)
class Indexer:
    """The small attention that picks the top ``k`` positions for a sparse one [3]_; fp8 keys with 4 bytes of scale."""

    heads: int
    head_dim: int
    top_k: int

    def __post_init__(self) -> None:
        check_positive(self, "heads", "head_dim", "top_k")

    @property
    def position_bytes(self) -> float:
        """Bytes of one indexer key [byte]."""
        return self.head_dim + 4.0

    def flop(self, pairs: Number) -> Number:
        """FLOP to score ``pairs`` query-key pairs [FLOP]."""
        return 2.0 * self.heads * self.head_dim * pairs


@dataclass(frozen=True)
class Latent(Attention):
    """Multi-head latent attention [2]_: one compressed vector a position for all heads, replicated on every rank.

    Parameters
    ----------
    q_rank : int or None
        Rank of the query compression; None when queries come straight from the hidden state.
    kv_rank, nope, rope, value : int
        Rank of the latent; head sizes without and with position, and of the value.
    indexer : Indexer or None
        Present in sparse variants (DeepSeek-V3.2, GLM-5).
    top_k : int or None
        Positions read when the layer takes the choice of an earlier layer's indexer and has none itself (GLM-5.2).
    """

    kind: ClassVar[str] = "latent"
    hidden: int
    heads: int
    q_rank: int | None
    kv_rank: int
    nope: int
    rope: int
    value: int
    indexer: Indexer | None = None
    top_k: int | None = None

    def __post_init__(self) -> None:
        check_positive(self, "hidden", "heads", "kv_rank", "nope", "rope", "value")
        for name in ("q_rank", "top_k"):
            if getattr(self, name) is not None:
                check_positive(self, name)

    def projections(self, tp: int = 1) -> tuple[Matmul, ...]:
        heads = split_heads(self.heads, tp, "attention heads")
        query = heads * (self.nope + self.rope)
        latent = self.kv_rank + self.rope
        down: tuple[Matmul, ...]
        if self.q_rank is None:
            down = (Matmul("qkv_down", self.hidden, query + latent, "attention"),)
        else:
            down = (
                Matmul("qkv_down", self.hidden, self.q_rank + latent, "attention"),
                Matmul("q_up", self.q_rank, query, "attention"),
            )
        return (
            *down,
            Matmul("kv_up", self.kv_rank, heads * (self.nope + self.value), "attention"),
            Matmul("attention_out", heads * self.value, self.hidden, "attention"),
            *self._indexer_projections(),
        )

    def _indexer_projections(self) -> tuple[Matmul, ...]:
        if self.indexer is None:
            return ()
        source = self.q_rank or self.hidden
        return (
            Matmul("indexer_query", source, self.indexer.heads * self.indexer.head_dim, "attention"),
            Matmul("indexer_key", self.hidden, self.indexer.head_dim + self.indexer.heads, "attention"),
        )

    @property
    def other_parameters(self) -> int:
        norms = (self.q_rank or 0) + self.kv_rank
        return norms + (2 * self.indexer.head_dim if self.indexer else 0)

    def tile(self, tp: int = 1) -> float:
        return self.heads / tp

    @property
    def reach(self) -> int | None:
        return self.indexer.top_k if self.indexer else self.top_k

    def flop(self, new: Number, context: Number, tp: int = 1) -> Number:
        """The cheaper of the absorbed form and, when dense, the expanded one (below about 171 new tokens: absorbed)."""
        heads = split_heads(self.heads, tp, "attention heads")
        pairs = visible_pairs(new, context, self.reach)
        absorbed = 2.0 * heads * (2 * self.kv_rank + self.rope) * pairs
        if self.indexer is not None:
            return absorbed + self.indexer.flop(visible_pairs(new, context, None))
        if self.top_k is not None:
            return absorbed
        expand = 2.0 * self.kv_rank * heads * (self.nope + self.value) * context
        expanded = 2.0 * heads * (self.nope + self.rope + self.value) * pairs + expand
        return np.minimum(absorbed, expanded)

    def expand_flop(self, new: Number, context: Number, cached: Number, tp: int = 1) -> Number:
        if self.reach is not None:
            return 0.0 * cached
        heads, pairs = split_heads(self.heads, tp, "attention heads"), visible_pairs(new, context, None)
        expand = 2.0 * self.kv_rank * heads * (self.nope + self.value)
        saved = 2.0 * heads * (2 * self.kv_rank - self.nope - self.value) * pairs
        return np.where(expand * context < saved, expand * cached, 0.0)

    def _position_bytes(self, kv: float) -> float:
        return (self.kv_rank + self.rope) * kv

    def read_bytes(self, new: Number, context: Number, kv: float, tp: int = 1) -> Number:
        if self.reach is None:
            return self._position_bytes(kv) * (context + new)
        # each new token gathers its own top k; a chunk never reads more than the whole context once
        picked = np.minimum(new * np.minimum(context, self.reach), context) + new
        keys = self.indexer.position_bytes if self.indexer else 0.0
        return self._position_bytes(kv) * picked + keys * (context + new)

    def written_bytes(self, new: Number, kv: float, tp: int = 1) -> Number:
        return self.held_bytes(new, kv, tp)

    def held_bytes(self, context: Number, kv: float, tp: int = 1) -> Number:
        index = self.indexer.position_bytes if self.indexer else 0.0
        return (self._position_bytes(kv) + index) * context

    @property
    def linear_in_context(self) -> bool:
        return self.reach is None
