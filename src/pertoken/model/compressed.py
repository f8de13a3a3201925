# ruff: noqa: ARG002 - one signature for all kinds; not every kind needs all of it
"""Compressed attention of DeepSeek-V4: one shared key-value vector a position, old positions pooled into entries.

References
----------
.. [1] DeepSeek-AI 2026, DeepSeek-V4: Towards Highly Efficient Million-Token Context Intelligence, arXiv:2606.19348.
.. [2] Reference inference code published with the weights (inference/model.py: Attention, Compressor, Indexer).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pertoken.errors import PertokenError
from pertoken.model.attention import Indexer
from pertoken.model.base import Attention, Number, check_positive, split_heads, visible_pairs
from pertoken.model.matmul import Matmul

STATE_BYTES = 4.0  # the compressor keeps the values and scores of its open windows in fp32 [2]


@dataclass(frozen=True)
class Compressed(Attention):
    """Multi-query attention over a sliding window and over entries that pool ``ratio`` positions each [1]_.

    Keys and values are one vector of ``head_dim``, shared by all heads and replicated on every rank. With an indexer
    a query reads the best ``top_k`` entries, without one all. The output passes a low-rank projection in groups.

    Parameters
    ----------
    hidden, heads, head_dim : int
        Shapes.
    rope : int
        Part of ``head_dim`` that carries position; its cache stays in half precision.
    q_rank, o_groups, o_rank : int
        Rank of the query compression; groups and rank of the output projection.
    window : int
        Positions attended to uncompressed, itself included [token].
    ratio : int
        Positions in one entry [token]; 0: the window is all there is.
    overlapping : bool
        Each entry also pools the positions of the one before it, with projections twice as wide.
    indexer : Indexer or None
        Picks the entries to read.
    """

    kind: ClassVar[str] = "latent"
    hidden: int
    heads: int
    head_dim: int
    rope: int
    q_rank: int
    o_groups: int
    o_rank: int
    window: int
    ratio: int = 0
    overlapping: bool = False
    indexer: Indexer | None = None

    def __post_init__(self) -> None:
        check_positive(self, "hidden", "heads", "head_dim", "rope", "q_rank", "o_groups", "o_rank", "window")
        if self.ratio:
            check_positive(self, "ratio")
        if self.rope > self.head_dim or self.heads % self.o_groups or (self.indexer and not self.ratio):
            raise PertokenError(
                f"compressed attention with {self.rope} of {self.head_dim} rotated, {self.heads} heads in"
                f" {self.o_groups} groups and ratio {self.ratio} does not fit together; correct the config"
            )

    @property
    def _series(self) -> int:
        return 2 if self.overlapping else 1

    def projections(self, tp: int = 1) -> tuple[Matmul, ...]:
        heads, groups = split_heads(self.heads, tp, "attention heads"), split_heads(self.o_groups, tp, "output groups")
        found = [
            Matmul("qkv_down", self.hidden, self.q_rank + self.head_dim, "attention"),
            Matmul("q_up", self.q_rank, heads * self.head_dim, "attention"),
            # each group multiplies its own heads: k is one group's width, n all groups' ranks
            Matmul(
                "attention_out_down", self.heads // self.o_groups * self.head_dim, groups * self.o_rank, "attention"
            ),
            Matmul("attention_out", groups * self.o_rank, self.hidden, "attention"),
        ]
        if self.ratio:
            found.append(Matmul("compressor", self.hidden, 2 * self._series * self.head_dim, "attention"))
        if self.indexer:
            keys = 2 * self._series * self.indexer.head_dim + self.indexer.heads
            found.append(Matmul("indexer_query", self.q_rank, self.indexer.heads * self.indexer.head_dim, "attention"))
            found.append(Matmul("indexer_key", self.hidden, keys, "attention"))
        return tuple(found)

    @property
    def other_parameters(self) -> int:
        norms = self.q_rank + self.head_dim + self.heads  # norms of query and key-value, one sink a head
        pooled = (self.head_dim if self.ratio else 0) + (self.indexer.head_dim if self.indexer else 0)
        return norms + pooled * (self.ratio * self._series + 1)  # position biases and a norm of each compressor

    def flop(self, new: Number, context: Number, tp: int = 1) -> Number:
        heads = split_heads(self.heads, tp, "attention heads")
        pairs = visible_pairs(new, context, self.window)
        if self.ratio:
            reach = self.indexer.top_k * self.ratio if self.indexer else None
            pairs = pairs + visible_pairs(new, context, reach) / self.ratio
        total = 4.0 * heads * self.head_dim * pairs
        if self.indexer:
            total = total + self.indexer.flop(visible_pairs(new, context, None) / self.ratio)
        return total

    def _entry_bytes(self, kv: float) -> float:
        return (self.head_dim - self.rope) * kv + self.rope * max(kv, 2.0)

    def _pooled_bytes(self, kv: float) -> float:
        """Bytes that pooled entries and their indexer keys come to per position of context [byte]."""
        if not self.ratio:
            return 0.0
        return (self._entry_bytes(kv) + (self.indexer.position_bytes if self.indexer else 0.0)) / self.ratio

    def read_bytes(self, new: Number, context: Number, kv: float, tp: int = 1) -> Number:
        near = self._entry_bytes(kv) * (np.minimum(context, self.window) + new)
        if not self.ratio:
            return near
        entries = context / self.ratio
        if self.indexer is None:
            return near + self._entry_bytes(kv) * entries
        # each new token gathers its own entries; a chunk never reads more than all of them once
        picked = np.minimum(new * np.minimum(entries, self.indexer.top_k), entries)
        return near + self._entry_bytes(kv) * picked + self.indexer.position_bytes * (context + new) / self.ratio

    def written_bytes(self, new: Number, kv: float, tp: int = 1) -> Number:
        return (self._entry_bytes(kv) + self._pooled_bytes(kv)) * new

    def held_bytes(self, context: Number, kv: float, tp: int = 1) -> Number:
        return (
            self._entry_bytes(kv) * np.minimum(context, self.window)
            + self._pooled_bytes(kv) * context
            + self._open_bytes
        )

    @property
    def _open_bytes(self) -> float:
        """Values and scores of the windows that are not full yet [2]_ [byte]."""
        width = (self.head_dim if self.ratio else 0) + (self.indexer.head_dim if self.indexer else 0)
        return 2.0 * STATE_BYTES * self.ratio * self._series**2 * width

    def tile(self, tp: int = 1) -> float:
        return float(split_heads(self.heads, tp, "attention heads"))

    @property
    def reach(self) -> int | None:
        if not self.ratio:
            return self.window
        return self.window + self.indexer.top_k if self.indexer else None

    @property
    def linear_in_context(self) -> bool:
        return False
