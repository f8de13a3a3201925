"""Readers of hybrids: Qwen3-Next, Qwen3.5 and 3.6 (gated delta), Nemotron-H and Nemotron 3 (Mamba-2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pertoken.model.base import Attention
from pertoken.model.feedforward import Dense, FeedForward
from pertoken.model.fields import MOST_LAYERS, Fields
from pertoken.model.model import Block
from pertoken.model.readers_moe import qwen_feedforwards
from pertoken.model.recurrent import Recurrent
from pertoken.model.shapes import (
    Shapes,
    experts,
    finish,
    gated_dense,
    grouped_query,
    layer,
    layer_count,
    next_token_layers,
)

STATE_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
LETTERS = {"M": "mamba", "*": "attention", "E": "moe", "-": "mlp"}


def _state_bytes(f: Fields, name: str) -> float:
    if not f.has(name):
        f.assume(f"{name} is not in the config: the recurrent state is taken as float32, 4 bytes an element")
        return 4.0
    stated = f.text(name)
    if stated not in STATE_BYTES:
        raise f.fail(name, f"it must be one of {', '.join(STATE_BYTES)}")
    return STATE_BYTES[stated]


def read_gated_delta(f: Fields, hidden: int) -> Recurrent:
    """Gated delta rule: a key x value state for each value head, behind a short convolution."""
    key_heads, value_heads = f.whole("linear_num_key_heads"), f.whole("linear_num_value_heads")
    key_dim, value_dim = f.whole("linear_key_head_dim"), f.whole("linear_value_head_dim")
    keys, values = key_heads * key_dim, value_heads * value_dim
    return Recurrent(
        hidden=hidden,
        heads=key_heads,
        in_width=2 * keys + 2 * values + 2 * value_heads,  # q, k, v, output gate, decay and step of each head
        inner=values,
        state=value_heads * key_dim * value_dim,
        conv_channels=2 * keys + values,
        conv_width=f.whole("linear_conv_kernel_dim", high=1000),
        extra=2 * value_heads + value_dim,
        state_bytes=_state_bytes(f, "mamba_ssm_dtype"),
    )


def _linear_layers(f: Fields, count: int) -> list[bool]:
    kinds = f.kinds("layer_types", count, ("linear_attention", "full_attention"))
    every = f.maybe("full_attention_interval")
    if kinds is not None:
        return [kind == "linear_attention" for kind in kinds]
    if every is None:
        raise f.fail("layer_types", "add the kind of each layer, or full_attention_interval")
    return [(i + 1) % every != 0 for i in range(count)]


def read_qwen_hybrid(f: Fields) -> Shapes:
    """Qwen3-Next, Qwen3.5: linear attention, and every n-th layer gated full attention; dense or with experts."""
    hidden, count = f.whole("hidden_size"), layer_count(f)
    bias = f.flag("attention_bias")
    gate = f.flag("attn_output_gate", True)
    full = grouped_query(f, hidden, gate=gate, qk_norm=True, bias=bias, out_bias=bias)
    linear = _linear_layers(f, count)
    delta = read_gated_delta(f, hidden) if any(linear) else None
    blocks: list[FeedForward] = [gated_dense(f, hidden)] * count if not f.has("num_experts") else []
    blocks = blocks or qwen_feedforwards(f, hidden, count, f.maybe("decoder_sparse_step") or 1)
    layers = [layer(delta if is_linear else full, b) for is_linear, b in zip(linear, blocks, strict=True)]
    steps = f.maybe("mtp_num_hidden_layers", "num_nextn_predict_layers", low=0, high=100) or 0
    return finish(f, layers, "qwen", mtp=next_token_layers(steps, full, blocks[-1], hidden))


def read_mamba(f: Fields, hidden: int) -> Recurrent:
    """Mamba-2: a head_dim x state matrix for each head, behind a short convolution."""
    heads, width = f.whole("mamba_num_heads"), f.whole("mamba_head_dim")
    groups, state = f.whole("n_groups"), f.whole("ssm_state_size")
    inner = heads * width
    channels = inner + 2 * groups * state
    biases = (channels if f.flag("use_conv_bias", True) else 0) + (hidden if f.flag("mamba_proj_bias") else 0)
    return Recurrent(
        hidden=hidden,
        heads=heads,
        in_width=inner + channels + heads,
        inner=inner,
        state=inner * state,
        conv_channels=channels,
        conv_width=f.whole("conv_kernel", high=1000),
        extra=3 * heads + inner + biases,
        state_bytes=_state_bytes(f, "mamba_ssm_cache_dtype"),
    )


def _kinds(f: Fields, pattern: str, types: str) -> list[str] | None:
    """Layer kinds from a list of words or from a text of letters."""
    if f.has(types):
        return f.kinds(types, None, LETTERS.values())
    if not f.has(pattern):
        return None
    letters = f.text(pattern)
    wrong = sorted(set(letters) - set(LETTERS))
    if wrong or len(letters) > MOST_LAYERS:
        raise f.fail(pattern, f"it must be at most {MOST_LAYERS:,} of the letters {' '.join(LETTERS)}")
    return [LETTERS[letter] for letter in letters]


def _gated(f: Fields) -> bool:
    activation = f.text("mlp_hidden_act", "relu2")
    if activation not in ("relu2", "silu"):
        raise f.fail("mlp_hidden_act", "the feed-forward block it belongs to is not known; known are relu2 and silu")
    return activation == "silu"


def _feedforward(f: Fields, hidden: int, kind: str) -> FeedForward:
    bias, gated = f.flag("mlp_bias"), _gated(f)
    if kind == "mlp":
        return Dense(hidden, f.whole("intermediate_size"), gated, bias)
    routed = f.whole("n_routed_experts")
    shared = (f.maybe("n_shared_experts", low=0, high=10_000) or 0) * f.whole("moe_shared_expert_intermediate_size")
    active, inner = f.whole("num_experts_per_tok"), f.whole("moe_intermediate_size")
    latent = f.maybe("moe_latent_size")
    return experts(
        f, hidden, routed, active, inner, shared=shared, gated=gated, bias=bias, latent=latent, router_extra=routed
    )


def read_nemotron_h(f: Fields) -> Shapes:
    """Nemotron-H and Nemotron 3: each layer is one thing, a state space, attention, a dense block or experts."""
    hidden = f.whole("hidden_size")
    kinds = _kinds(f, "hybrid_override_pattern", "layers_block_type")
    if not kinds:
        raise f.fail("hybrid_override_pattern", "add it, or layers_block_type: what each layer is")
    stated = f.maybe("num_hidden_layers", high=MOST_LAYERS)
    if stated not in (None, len(kinds)):
        raise f.fail("num_hidden_layers", f"it must be {len(kinds)}, the layers of the pattern: correct the config")
    bias = f.flag("attention_bias")
    makers: dict[str, Callable[[], Attention | FeedForward]] = {
        "mamba": lambda: read_mamba(f, hidden),
        "attention": lambda: grouped_query(f, hidden, bias=bias, out_bias=bias),
        "moe": lambda: _feedforward(f, hidden, "moe"),
        "mlp": lambda: _feedforward(f, hidden, "mlp"),
    }
    predicted = _kinds(f, "mtp_hybrid_override_pattern", "mtp_layers_block_type") or []
    made = {kind: makers[kind]() for kind in sorted({*kinds, *predicted})}

    def block(kind: str) -> Block:
        part = made[kind]
        return layer(part, None, 1) if isinstance(part, Attention) else layer(None, part, 1)

    steps = f.maybe("num_nextn_predict_layers", low=0, high=100) or 0
    mtp = [block(kind) for _ in range(steps) for kind in predicted]
    if mtp:  # the projection of two vectors to one, and its norms, stand before the first of them
        mtp[0] = replace(mtp[0], norms=4, extra=2 * hidden * hidden)
    return finish(f, [block(kind) for kind in kinds], "nemotron", mtp=mtp)
