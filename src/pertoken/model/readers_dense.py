"""Readers of dense decoders with grouped-query attention: Llama and its relatives, Gemma, DeciLM, nemotron-nas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from pertoken.model.attention import GroupedQuery
from pertoken.model.base import Attention
from pertoken.model.feedforward import Dense, FeedForward
from pertoken.model.fields import Fields
from pertoken.model.model import Block
from pertoken.model.recurrent import Replaced
from pertoken.model.shapes import (
    Shapes,
    finish,
    gated_dense,
    grouped_query,
    head_width,
    layer,
    layer_count,
    next_token_layers,
    window_of,
)

ATTENTION_TYPES = ("full_attention", "sliding_attention", "attention")


@dataclass(frozen=True)
class Habits:
    """What a model class fixes and its config does not say.

    Parameters
    ----------
    family : str
        Name for reports.
    qkv_bias : bool or None
        Biases of query, key, value; None: as ``attention_bias`` says.
    out_bias : bool
        ``attention_bias`` also puts one on the output.
    qk_norm : bool
        Norms of query and key heads.
    norms : int
        Norms of one layer.
    tie : bool
        Default of ``tie_word_embeddings``.
    windows : str
        Which layers slide when ``layer_types`` is absent: none, all, switch (``use_sliding_window``, the layers from
        ``max_window_layers`` on), even (every second, the first one too) or pattern (all but every n-th).
    """

    family: str
    qkv_bias: bool | None = None
    out_bias: bool = True
    qk_norm: bool = False
    norms: int = 2
    tie: bool = False
    windows: str = "none"


LLAMA = Habits("llama")
HABITS: dict[str, Habits] = {
    "llama": LLAMA,
    "yi": replace(LLAMA, family="yi"),
    "mistral": Habits("mistral", qkv_bias=False, windows="all"),
    "ministral": Habits("mistral", qkv_bias=False, windows="all"),
    "qwen2": Habits("qwen", qkv_bias=True, out_bias=False, windows="switch"),
    "qwen3": Habits("qwen", qk_norm=True, windows="switch"),
    "mimo": Habits("mimo", out_bias=False, windows="switch"),
    "phi3": Habits("phi", qkv_bias=False, windows="all"),
    "gemma": Habits("gemma", tie=True),
    "gemma2": Habits("gemma", norms=4, tie=True, windows="even"),
    "gemma3": Habits("gemma", norms=4, qk_norm=True, tie=True, windows="pattern"),
}


def biases(f: Fields, habits: Habits) -> tuple[bool, bool]:
    """Whether query, key and value have biases, and whether the output has one."""
    stated = f.flag("attention_bias")
    first = stated if habits.qkv_bias is None else habits.qkv_bias
    return first, stated and habits.out_bias and habits.qkv_bias is None


def _stated_windows(f: Fields, count: int, window: int | None) -> list[int | None] | None:
    kinds = f.kinds("layer_types", count, ATTENTION_TYPES)
    if kinds is None:
        return None
    if "sliding_attention" in kinds and not f.has("sliding_window"):
        raise f.fail("sliding_window", "layer_types has sliding_attention layers: add the window, in tokens")
    return [window if kind == "sliding_attention" else None for kind in kinds]


def layer_windows(f: Fields, habits: Habits, count: int) -> list[int | None]:
    """The window of each layer [token]; None sees all."""
    window = window_of(f)
    stated = _stated_windows(f, count, window)
    if stated is not None:
        return stated
    if habits.windows == "even":
        return [window if i % 2 == 0 else None for i in range(count)]
    if habits.windows == "pattern":
        every = f.whole_or(6, "default of the model class", "sliding_window_pattern", "_sliding_window_pattern")
        return [window if (i + 1) % every else None for i in range(count)]
    if habits.windows == "switch":
        first = f.maybe("max_window_layers", low=0)
        on = f.flag("use_sliding_window")
        return [window if on and i >= (first or 0) else None for i in range(count)]
    return [window if habits.windows == "all" else None] * count


def check_activation(f: Fields) -> None:
    """Refuse activations whose block is not the gated one that the readers here assume."""
    name = f.text("hidden_activation", f.text("hidden_act", "silu"))
    if name not in ("silu", "swish", "gelu", "gelu_pytorch_tanh", "gelu_new", "gelu_fast", "swiglu"):
        field = "hidden_activation" if f.has("hidden_activation") else "hidden_act"
        raise f.fail(field, "the feed-forward block it belongs to is not known; known are silu and gelu")


def read_dense(f: Fields, habits: Habits) -> Shapes:
    """Standard decoder: attention and a gated feed-forward block in every layer."""
    check_activation(f)
    hidden, count = f.whole("hidden_size"), layer_count(f)
    qkv, out = biases(f, habits)
    block = gated_dense(f, hidden, bias=f.flag("mlp_bias"))
    found: list[Block] = []
    for window in layer_windows(f, habits, count):
        attention = grouped_query(f, hidden, window=window, bias=qkv, out_bias=out, qk_norm=habits.qk_norm)
        found.append(layer(attention, block, habits.norms))
    predicted = f.maybe("num_nextn_predict_layers", low=0, high=100) or 0
    full = grouped_query(f, hidden, bias=qkv, out_bias=out, qk_norm=habits.qk_norm)
    return finish(f, found, habits.family, habits.tie, mtp=next_token_layers(predicted, full, block, hidden))


def read_deci(f: Fields) -> Shapes:
    """DeciLM: the number of key-value heads differs from layer to layer."""
    hidden, count = f.whole("hidden_size"), layer_count(f)
    heads = f.whole("num_attention_heads")
    per_layer = f.wholes("num_key_value_heads_per_layer", count, low=1)
    if per_layer is None:
        raise f.fail("num_key_value_heads_per_layer", "add the key-value heads of each layer, or block_configs")
    width, block = head_width(f, hidden, heads), gated_dense(f, hidden)
    wrong = [n for n in per_layer if heads % n]
    if wrong:
        raise f.fail("num_key_value_heads_per_layer", f"{wrong[0]} in it must divide the {heads} query heads")
    return finish(f, [layer(GroupedQuery(hidden, heads, n, width), block) for n in per_layer], "decilm")


def _searched_attention(f: Fields, part: Fields, hidden: int, heads: int) -> Attention | None:
    if part.flag("no_op"):
        return None
    if part.flag("replace_with_linear"):
        return Replaced(hidden)
    if part.has("mamba") or part.has("llama4"):
        raise f.fail("block_configs", "an attention of kind mamba or llama4 in it cannot be read here")
    group = part.whole("n_heads_in_group")
    if heads % group:
        raise part.fail("n_heads_in_group", f"it must divide the {heads} query heads: correct the config")
    window = part.maybe("window_length")
    bias = f.flag("attention_bias")
    return GroupedQuery(hidden, heads, heads // group, head_width(f, hidden, heads), window, bias=bias, out_bias=bias)


def _searched_feedforward(f: Fields, part: Fields, hidden: int) -> FeedForward | None:
    if part.flag("no_op"):
        return None
    if part.flag("replace_with_linear"):
        return Dense(hidden, hidden // 2, gated=False)  # one hidden x hidden matrix has as many elements and products
    if part.has("moe"):
        raise f.fail("block_configs", "an ffn with moe in it cannot be read here")
    if part.has("intermediate_size"):
        return Dense(hidden, part.whole("intermediate_size"))
    # the model class rounds 2/3 of the multiple up to the next 256
    inner = int(2 * part.number("ffn_mult", 1e-3, 1e3) * hidden / 3)
    return Dense(hidden, -(-inner // 256) * 256)


def read_searched(f: Fields) -> Shapes:
    """nemotron-nas: every layer has an attention and a feed-forward of its own, either may be left out."""
    hidden, count = f.whole("hidden_size"), layer_count(f)
    heads, found = f.whole("num_attention_heads"), []
    for row in f.rows("block_configs", count) or ():
        holder = Fields({"block": row}, f.owner, f.assumed).part("block")
        attention, ffn = (holder.part("attention"), holder.part("ffn")) if holder else (None, None)
        if attention is None or ffn is None:
            raise f.fail("block_configs", "each item must be a table with attention and ffn: correct the config")
        parts = _searched_attention(f, attention, hidden, heads), _searched_feedforward(f, ffn, hidden)
        found.append(layer(*parts, sum(p is not None for p in parts)))
    if not found:
        raise f.fail("block_configs", "add the list of layers: the shapes stand nowhere else")
    return finish(f, found, "nemotron")


def dense_reader(habits: Habits) -> Callable[[Fields], Shapes]:
    """The reader of one class."""
    return lambda f: read_dense(f, habits)
