"""Readers of expert models with grouped-query attention: Mixtral, Qwen, gpt-oss, Llama 4, MiniMax."""

from __future__ import annotations

from pertoken.model.attention import ChunkedQuery
from pertoken.model.feedforward import Dense, Experts, FeedForward
from pertoken.model.fields import Fields
from pertoken.model.readers_dense import HABITS, Habits, biases, check_activation, layer_windows
from pertoken.model.shapes import (
    Shapes,
    experts,
    finish,
    gated_dense,
    grouped_query,
    layer,
    layer_count,
)

MIXTRAL = Habits("mistral", qkv_bias=False, windows="all")


def read_mixtral(f: Fields) -> Shapes:
    """Mixtral: experts in every layer."""
    check_activation(f)
    hidden, count = f.whole("hidden_size"), layer_count(f)
    routed = f.whole("num_local_experts")
    block = experts(f, hidden, routed, f.whole("num_experts_per_tok"), f.whole("intermediate_size"))
    layers = [layer(grouped_query(f, hidden, window=w), block) for w in layer_windows(f, MIXTRAL, count)]
    return finish(f, layers, "mistral")


def qwen_experts(f: Fields, hidden: int) -> Experts:
    """Experts of Qwen models, with a gated shared expert when there is one."""
    shared = f.maybe("shared_expert_intermediate_size", low=0) or 0
    routed, active = f.whole("num_experts", "num_local_experts"), f.whole("num_experts_per_tok")
    return experts(f, hidden, routed, active, f.whole("moe_intermediate_size"), shared=shared, shared_gate=shared > 0)


def qwen_feedforwards(f: Fields, hidden: int, count: int, step: int = 1) -> list[FeedForward]:
    """The feed-forward of each layer: experts in every ``step``-th one but for ``mlp_only_layers``."""
    only = f.wholes("mlp_only_layers") or []
    sparse = [i not in only and (i + 1) % step == 0 for i in range(count)]
    routed = qwen_experts(f, hidden) if any(sparse) else None
    dense = gated_dense(f, hidden) if not all(sparse) else None
    return [part for is_sparse in sparse if (part := routed if is_sparse else dense)]


def read_qwen_moe(f: Fields, habits: Habits) -> Shapes:
    """Qwen2-MoE and Qwen3-MoE."""
    check_activation(f)
    hidden, count = f.whole("hidden_size"), layer_count(f)
    qkv, out = biases(f, habits)
    f.maybe("intermediate_size")
    step = f.whole_or(1, "default of the model class", "decoder_sparse_step")
    windows, blocks = layer_windows(f, habits, count), qwen_feedforwards(f, hidden, count, step)
    layers = [
        layer(grouped_query(f, hidden, window=w, bias=qkv, out_bias=out, qk_norm=habits.qk_norm), b)
        for w, b in zip(windows, blocks, strict=True)
    ]
    return finish(f, layers, "qwen")


def read_qwen2_moe(f: Fields) -> Shapes:
    """Qwen2-MoE: biases of query, key and value."""
    return read_qwen_moe(f, HABITS["qwen2"])


def read_qwen3_moe(f: Fields) -> Shapes:
    """Qwen3-MoE: norms of query and key."""
    return read_qwen_moe(f, HABITS["qwen3"])


def read_gpt_oss(f: Fields) -> Shapes:
    """gpt-oss: sinks, biases everywhere, every second layer slides."""
    hidden, count = f.whole("hidden_size"), layer_count(f)
    routed, bias = f.whole("num_local_experts", "num_experts"), f.flag("attention_bias", True)
    active = f.whole("num_experts_per_tok", "experts_per_token")
    block = experts(f, hidden, routed, active, f.whole("intermediate_size"), bias=True, router_extra=routed)
    layers = [
        layer(grouped_query(f, hidden, window=w, bias=bias, out_bias=bias, sinks=True), block)
        for w in layer_windows(f, Habits("gpt-oss", windows="even"), count)
    ]
    return finish(f, layers, "gpt-oss")


def _full_layers(f: Fields, count: int) -> list[bool]:
    """Which Llama 4 layers see everything: those without rotation."""
    kinds = f.kinds("layer_types", count, ("full_attention", "chunked_attention"))
    if kinds is not None:
        return [kind == "full_attention" for kind in kinds]
    rotated = f.wholes("no_rope_layers", high=1)
    if rotated:  # the field's name notwithstanding, 1 marks the layers that do rotate
        if len(rotated) != count:
            raise f.fail("no_rope_layers", f"it must have one item for each of {count:,} layers: correct the config")
        return [not flag for flag in rotated]
    every = f.whole_or(4, "default of the model class", "no_rope_layer_interval")
    return [(i + 1) % every == 0 for i in range(count)]


def read_llama4(f: Fields) -> Shapes:
    """Llama 4: chunked local layers, every fourth sees all; experts in every n-th layer, with a shared one."""
    check_activation(f)
    hidden, count = f.whole("hidden_size"), layer_count(f)
    bias = f.flag("attention_bias")
    inner, step = f.whole("intermediate_size"), f.whole("interleave_moe_layer_step")
    dense = Dense(hidden, f.whole("intermediate_size_mlp"))
    routed = experts(f, hidden, f.whole("num_local_experts"), f.whole("num_experts_per_tok"), inner, shared=inner)
    stated = f.wholes("moe_layers")
    full = grouped_query(f, hidden, bias=bias, out_bias=bias)
    size = f.maybe("attention_chunk_size")
    local = full
    if size:
        local = ChunkedQuery(hidden, full.heads, full.kv_heads, full.head_dim, size, bias=bias, out_bias=bias)
    layers = []
    for i, sees_all in enumerate(_full_layers(f, count)):
        sparse = i in stated if stated else (i + 1) % step == 0
        layers.append(layer(full if sees_all else local, routed if sparse else dense))
    return finish(f, layers, "llama")


def read_minimax(f: Fields) -> Shapes:
    """MiniMax-M2: experts everywhere, norms over all query and all key heads together."""
    hidden, count = f.whole("hidden_size"), layer_count(f)
    kinds = f.wholes("attn_type_list", count)
    if kinds is not None and set(kinds) != {1}:
        raise f.fail("attn_type_list", "only full attention (1) is known here")
    if f.maybe("shared_intermediate_size", low=0):
        raise f.fail("shared_intermediate_size", "shared experts of MiniMax are not known here; 0 is")
    attention = grouped_query(f, hidden)
    norms = 0
    if f.flag("use_qk_norm"):
        kind = f.text("qk_norm_type", "per_layer")
        if kind != "per_layer":
            raise f.fail("qk_norm_type", "only per_layer is known here")
        norms = (attention.heads + attention.kv_heads) * attention.head_dim
    routed = f.whole("num_local_experts", "num_experts")
    correction = routed if f.flag("use_routing_bias") else 0
    active, inner = f.whole("num_experts_per_tok"), f.whole("intermediate_size")
    block = experts(f, hidden, routed, active, inner, router_extra=correction)
    if f.flag("use_mtp"):
        f.assume("use_mtp is true, but the published weights hold no multi-token-prediction layers: none are counted")
    return finish(f, [layer(attention, block, extra=norms)] * count, "minimax")
