"""Readers of the first generation of open decoders: BLOOM, GPT-J, OPT, Falcon."""

from __future__ import annotations

from pertoken.model.attention import GroupedQuery
from pertoken.model.feedforward import Dense
from pertoken.model.fields import Fields
from pertoken.model.shapes import Shapes, finish, head_width, layer, layer_count

# a layer norm has a weight and a bias: two vectors of the width each


def read_bloom(f: Fields) -> Shapes:
    """BLOOM: multi-head attention, biases everywhere, a norm after the embedding."""
    hidden, heads = f.whole("hidden_size", "n_embed"), f.whole("num_attention_heads", "n_head")
    attention = GroupedQuery(hidden, heads, heads, head_width(f, hidden, heads), bias=True, out_bias=True)
    block = Dense(hidden, 4 * hidden, gated=False, bias=True)
    layers = [layer(attention, block, 4)] * layer_count(f)
    return finish(_with_context(f, 2048), layers, "bloom", True, final_norms=4)


def _with_context(f: Fields, default: int) -> Fields:
    """The same fields, with the class's context where the config has none (its positions are not learned)."""
    if any(f.has(name) for name in ("max_position_embeddings", "n_positions", "seq_length")):
        return f
    f.assume(f"the longest sequence is not in the config: {default} tokens, as the model was trained")
    return Fields({**f.table, "max_position_embeddings": default}, f.owner, f.assumed)


def read_gptj(f: Fields) -> Shapes:
    """GPT-J: attention without, feed-forward with biases, side by side after one norm; a head with a bias."""
    hidden, heads = f.whole("n_embd", "hidden_size"), f.whole("n_head", "num_attention_heads")
    attention = GroupedQuery(hidden, heads, heads, head_width(f, hidden, heads))
    block = Dense(hidden, f.maybe("n_inner") or 4 * hidden, gated=False, bias=True)
    layers = [layer(attention, block, 2)] * layer_count(f)
    return finish(f, layers, "gptj", False, final_norms=2, extra=f.whole("vocab_size"))


def read_opt(f: Fields) -> Shapes:
    """OPT: multi-head attention, biases everywhere, learned positions (two more than the longest sequence)."""
    hidden, heads = f.whole("hidden_size"), f.whole("num_attention_heads")
    bias = f.flag("enable_bias", True)
    if not f.flag("layer_norm_elementwise_affine", True):
        raise f.fail("layer_norm_elementwise_affine", "norms without weights are not known here")
    attention = GroupedQuery(hidden, heads, heads, head_width(f, hidden, heads), bias=bias, out_bias=bias)
    block = Dense(hidden, f.whole("ffn_dim"), gated=False, bias=bias)
    width = f.maybe("word_embed_proj_dim") or hidden
    if width != hidden:
        raise f.fail("word_embed_proj_dim", f"only embeddings as wide as hidden_size ({hidden}) are known here")
    positions = (f.whole("max_position_embeddings") + 2) * hidden
    final = 2 if f.flag("do_layer_norm_before", True) and not f.flag("_remove_final_layer_norm") else 0
    layers = [layer(attention, block, 4)] * layer_count(f)
    return finish(f, layers, "opt", True, final_norms=final, extra=positions)


def read_falcon(f: Fields) -> Shapes:
    """Falcon: one key-value head (7B), or groups (40B, 180B: the new architecture); feed-forward beside attention."""
    hidden, heads = f.whole("hidden_size"), f.whole("num_attention_heads", "n_head")
    new = f.flag("new_decoder_architecture")
    if new or (f.has("n_head_kv") and not f.flag("multi_query")):
        kv_heads = f.whole("num_kv_heads", "n_head_kv")
    else:
        kv_heads = 1 if f.flag("multi_query", True) else heads
    if heads % kv_heads:
        raise f.fail("num_kv_heads", f"it must divide the {heads} query heads: correct the config")
    bias = f.flag("bias")
    attention = GroupedQuery(hidden, heads, kv_heads, head_width(f, hidden, heads), bias=bias, out_bias=bias)
    block = Dense(hidden, f.maybe("ffn_hidden_size") or 4 * hidden, gated=False, bias=bias)
    single = f.flag("parallel_attn", True) and not new
    layers = [layer(attention, block, 2 if single else 4)] * layer_count(f)
    return finish(_with_context(f, 2048), layers, "falcon", True, final_norms=2)
