"""A Model is shapes: what every token passes through. It knows no precision, hardware or price."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pertoken.errors import PertokenError
from pertoken.model.attention import Attention, check_positive
from pertoken.model.feedforward import FeedForward
from pertoken.model.precision import Precision

Number = Any


@dataclass(frozen=True)
class Block:
    """``count`` equal layers; either part may be absent (hybrids, pruned models).

    Parameters
    ----------
    count : int
        How many layers of this kind the model has.
    attention, feedforward : Attention, FeedForward or None
        What a layer holds.
    norms : int
        Norm vectors of the width ``hidden`` in one layer.
    extra : int
        Further parameters of one layer (hyper-connections, gates).
    """

    count: int
    attention: Attention | None = None
    feedforward: FeedForward | None = None
    norms: int = 2
    extra: int = 0

    def parameters(self, hidden: int, active: bool = False) -> int:
        """Parameters of one layer, or those that one token uses."""
        total = self.norms * hidden + self.extra + (self.attention.parameters if self.attention else 0)
        if self.feedforward is None:
            return total
        return total + (self.feedforward.active_parameters if active else self.feedforward.parameters)


@dataclass(frozen=True)
class Model:
    """Layer shapes of a decoder.

    Parameters
    ----------
    name : str
        Catalog name, or the file it came from.
    hidden, vocab : int
        Width and vocabulary.
    blocks : tuple of Block
        Layers, equal ones grouped.
    context_limit : int
        Longest sequence [token].
    tied : bool
        The output head is the input embedding.
    mtp : tuple of Block
        Multi-token-prediction layers: part of the file, not of a plain forward pass.
    extra : int
        Further parameters (final norm, position embeddings, projections around the embedding).
    family : str
        Family for reports, such as ``llama``.
    """

    name: str
    hidden: int
    vocab: int
    blocks: tuple[Block, ...]
    context_limit: int
    tied: bool = False
    mtp: tuple[Block, ...] = ()
    extra: int = 0
    family: str = ""

    def __post_init__(self) -> None:
        check_positive(self, "hidden", "vocab", "context_limit")
        if not self.blocks or self.layers > 10_000:
            raise PertokenError(f"{self.name} has {self.layers} layers; a model has 1 to 10,000")

    @property
    def layers(self) -> int:
        """Layers of a forward pass."""
        return sum(b.count for b in self.blocks)

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the input embedding."""
        return self.vocab * self.hidden

    def _sum(self, active: bool) -> int:
        heads = 1 if self.tied else 2
        layers = sum(b.count * b.parameters(self.hidden, active) for b in self.blocks)
        return heads * self.embedding_parameters + layers + self.extra

    @property
    def parameters(self) -> int:
        """All parameters, embedding and head included once each, without multi-token-prediction layers."""
        return self._sum(active=False)

    @property
    def active_parameters(self) -> int:
        """Parameters one token uses, embedding and head included (as vendors count)."""
        return self._sum(active=True)

    @property
    def mtp_parameters(self) -> int:
        """Parameters of the multi-token-prediction layers."""
        return sum(b.count * b.parameters(self.hidden) for b in self.mtp)

    @property
    def matmul_parameters(self) -> int:
        """Active parameters without the input embedding, which is looked up, not multiplied: N in 2 N FLOP a token."""
        return self.active_parameters - (0 if self.tied else self.embedding_parameters)

    def cache_bytes(self, context: Number, kv: float, tp: int = 1) -> Number:
        """Cache bytes that one sequence of ``context`` tokens holds on one rank [byte]."""
        held = [b.count * b.attention.held_bytes(context, kv, tp) for b in self.blocks if b.attention]
        return sum(held) if held else 0.0 * context

    @property
    def linear_in_context(self) -> bool:
        """Whether every layer's cost is linear in the context."""
        return all(b.attention.linear_in_context for b in self.blocks if b.attention)


@dataclass(frozen=True)
class Checkpoint:
    """A model as published: its shapes, the formats of its weights, and where that was read.

    Parameters
    ----------
    model : Model
        The shapes.
    precision : Precision or None
        Formats the checkpoint states; None when it states none and one must be asked for.
    origin : str
        What was read: a catalog entry's source, or a file.
    unstated : str
        Sentence saying what the precision question is, when ``precision`` is None.
    published : tuple of (float, float, bool) or None
        Published total and active parameters, and whether they are exact.
    assumed : tuple of str
        What the reader had to assume.
    """

    model: Model
    precision: Precision | None
    origin: str
    unstated: str = ""
    published: tuple[float | None, float | None, bool] | None = None
    assumed: tuple[str, ...] = ()
