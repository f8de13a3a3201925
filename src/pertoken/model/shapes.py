"""What a reader of a config hands back, and the pieces that many readers share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pertoken.model.attention import GroupedQuery
from pertoken.model.base import Attention
from pertoken.model.feedforward import Dense, Experts, FeedForward
from pertoken.model.fields import MOST_LAYERS, Fields
from pertoken.model.model import Block


@dataclass(frozen=True)
class Shapes:
    """Layers one by one, in order, and what stands around them; fields as in `Model`."""

    layers: tuple[Block, ...]
    hidden: int
    vocab: int
    context_limit: int
    tied: bool
    family: str
    extra: int = 0
    mtp: tuple[Block, ...] = ()


def grouped(layers: Sequence[Block]) -> tuple[Block, ...]:
    """Equal layers counted together, in order of first appearance."""
    counts: dict[Block, int] = {}
    for layer in layers:
        counts[layer] = counts.get(layer, 0) + layer.count
    return tuple(Block(n, b.attention, b.feedforward, b.norms, b.extra) for b, n in counts.items())


def layer(attention: Attention | None, feedforward: FeedForward | None, norms: int = 2, extra: int = 0) -> Block:
    """One layer."""
    return Block(1, attention, feedforward, norms, extra)


def layer_count(f: Fields) -> int:
    """Layers of the model."""
    return f.whole("num_hidden_layers", "n_layer", high=MOST_LAYERS)


def context_limit(f: Fields) -> int:
    """Longest sequence [token]."""
    return f.whole("max_position_embeddings", "n_positions", "seq_length")


def tied(f: Fields, default: bool | None) -> bool:
    """Whether the head is the embedding; ``default`` is that of the model class, None when it is not known."""
    if not f.has("tie_word_embeddings"):
        if default is None:
            raise f.fail("tie_word_embeddings", "say true or false: whether the head is the input embedding")
        share = "the embedding also serves as the head" if default else "the head has weights of its own"
        f.assume(f"tie_word_embeddings is not in the config: {share} (default of the model class)")
    return f.flag("tie_word_embeddings", default or False)


def key_value_heads(f: Fields, heads: int) -> int:
    """Key-value heads; absent means one for each query head (documented in all model classes that have the field)."""
    found = f.maybe("num_key_value_heads")
    if found is None:
        f.assume(
            f"num_key_value_heads is not in the config: one for each of {heads} query heads (default of the class)"
        )
        return heads
    return found


def head_width(f: Fields, hidden: int, heads: int) -> int:
    """Width of a head: stated, or hidden / heads, which model classes without the field define."""
    found = f.maybe("head_dim", "attention_head_dim")
    if found is None:
        if hidden % heads:
            raise f.fail("head_dim", f"hidden_size {hidden} is not a multiple of {heads} heads: add head_dim")
        return hidden // heads
    return found


def finish(
    f: Fields,
    layers: Sequence[Block],
    family: str,
    tie: bool | None = False,
    *,
    final_norms: int = 1,
    extra: int = 0,
    mtp: Sequence[Block] = (),
) -> Shapes:
    """Put together what all decoders have."""
    hidden = f.whole("hidden_size", "n_embed", "n_embd")
    return Shapes(
        layers=tuple(layers),
        hidden=hidden,
        vocab=f.whole("vocab_size"),
        context_limit=context_limit(f),
        tied=tied(f, tie),
        family=family,
        extra=final_norms * hidden + extra,
        mtp=tuple(mtp),
    )


def next_token_layers(count: int, attention: Attention, feedforward: FeedForward, hidden: int) -> tuple[Block, ...]:
    """Multi-token-prediction layers: a layer, a projection of two hidden vectors to one, and three more norms."""
    return tuple(layer(attention, feedforward, 5, 2 * hidden * hidden) for _ in range(count))


def experts(
    f: Fields,
    hidden: int,
    count: int,
    active: int,
    inner: int,
    *,
    shared: int = 0,
    shared_gate: bool = False,
    gated: bool = True,
    bias: bool = False,
    latent: int | None = None,
    router_extra: int = 0,
    hashed: bool = False,
) -> Experts:
    """Routed experts, with a sentence that names the fields when more are active than there are."""
    if active > count:
        raise f.fail("num_experts_per_tok", f"it must be at most the {count} experts of a layer: correct the config")
    return Experts(hidden, count, active, inner, gated, bias, shared, shared_gate, latent, router_extra, hashed)


def window_of(f: Fields, name: str = "sliding_window") -> int | None:
    """The sliding window, or None when there is none or it is as long as the longest sequence."""
    window = f.maybe(name, low=0)
    return window if window and window < context_limit(f) else None


def grouped_query(
    f: Fields, hidden: int, *, window: int | None = None, bias: bool = False, out_bias: bool = False,
    qk_norm: bool = False, gate: bool = False, sinks: bool = False,
) -> GroupedQuery:  # fmt: skip
    """Grouped-query attention from the usual fields."""
    heads = f.whole("num_attention_heads", "n_head")
    kv_heads = key_value_heads(f, heads)
    if heads % kv_heads:
        raise f.fail("num_key_value_heads", f"it must divide the {heads} query heads: correct the config")
    width = head_width(f, hidden, heads)
    return GroupedQuery(hidden, heads, kv_heads, width, window, gate, bias, out_bias, qk_norm, sinks)


def gated_dense(f: Fields, hidden: int, *names: str, bias: bool = False) -> Dense:
    """A gated feed-forward block."""
    return Dense(hidden, f.whole(*(names or ("intermediate_size",))), gated=True, bias=bias)
