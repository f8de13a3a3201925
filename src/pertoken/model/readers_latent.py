"""Readers of models with latent or compressed attention: DeepSeek-V2 to V4, Kimi-K2, GLM-5."""

from __future__ import annotations

from dataclasses import replace

from pertoken.errors import PertokenError
from pertoken.model.attention import Indexer, Latent
from pertoken.model.compressed import Compressed
from pertoken.model.feedforward import Experts, FeedForward
from pertoken.model.fields import Fields
from pertoken.model.model import Block
from pertoken.model.shapes import Shapes, experts, finish, gated_dense, layer, layer_count, next_token_layers

MOST_PREDICTED = 100


def read_indexer(f: Fields) -> Indexer | None:
    """The indexer of sparse variants; None without ``index_topk``."""
    if not f.has("index_topk"):
        return None
    return Indexer(f.whole("index_n_heads"), f.whole("index_head_dim"), f.whole("index_topk"))


def read_latent_attention(f: Fields, hidden: int) -> Latent:
    """Multi-head latent attention."""
    if f.flag("attention_bias"):
        raise f.fail("attention_bias", "latent attention with biases is not known here")
    return Latent(
        hidden,
        f.whole("num_attention_heads"),
        f.maybe("q_lora_rank"),
        f.whole("kv_lora_rank"),
        f.whole("qk_nope_head_dim"),
        f.whole("qk_rope_head_dim"),
        f.whole("v_head_dim"),
        read_indexer(f),
    )


def routed_experts(f: Fields, hidden: int) -> Experts:
    """Experts of DeepSeek's kind: small shared ones, and a score correction where the router has no loss of its own."""
    routed, inner = f.whole("n_routed_experts", "num_experts"), f.whole("moe_intermediate_size")
    shared = (f.maybe("n_shared_experts", low=0, high=10_000) or 0) * inner
    corrected = f.text("topk_method", "greedy") == "noaux_tc"
    active = f.whole("num_experts_per_tok")
    return experts(f, hidden, routed, active, inner, shared=shared, router_extra=routed if corrected else 0)


def _sparse_layers(f: Fields, count: int) -> list[bool]:
    kinds = f.kinds("mlp_layer_types", count, ("dense", "sparse"))
    first = f.maybe("first_k_dense_replace", low=0) or 0
    every = f.maybe("moe_layer_freq") or 1
    if kinds is not None:
        return [kind == "sparse" for kind in kinds]
    return [i >= first and i % every == 0 for i in range(count)]


def _indexer_kinds(f: Fields, count: int) -> list[str]:
    """Whether a layer has an indexer of its own (full) or takes the choice of the one before it (shared)."""
    kinds = f.kinds("indexer_types", count, ("full", "shared"))
    if kinds is None and any(f.has(name) for name in ("index_topk_freq", "index_topk_pattern")):
        raise f.fail("indexer_types", "index_topk_freq or index_topk_pattern is there: add the kind of each layer")
    return kinds or ["full"] * count


def read_deepseek(f: Fields) -> Shapes:
    """DeepSeek-V2, V3, V3.2, Kimi-K2, GLM-5: latent attention, dense layers first, then experts."""
    hidden, count = f.whole("hidden_size"), layer_count(f)
    f.kinds("layer_types", count, ("deepseek_sparse_attention", "full_attention"))
    attention = read_latent_attention(f, hidden)
    shared = replace(attention, indexer=None, top_k=attention.indexer.top_k) if attention.indexer else attention
    sparse = _sparse_layers(f, count)
    routed = routed_experts(f, hidden) if any(sparse) else None
    dense = gated_dense(f, hidden) if not all(sparse) else None
    f.maybe("intermediate_size")
    found: list[Block] = []
    for is_sparse, kind in zip(sparse, _indexer_kinds(f, count), strict=True):
        block: FeedForward | None = routed if is_sparse else dense
        found.append(layer(attention if kind == "full" else shared, block))
    last = routed or dense
    steps = f.maybe("num_nextn_predict_layers", low=0, high=MOST_PREDICTED) or 0
    mtp = next_token_layers(steps, attention, last, hidden) if last else ()
    return finish(f, found, "deepseek", mtp=mtp)


def _compressed_attention(f: Fields, hidden: int, ratio: int) -> Compressed:
    indexer = None
    if ratio == 4:  # the reference code gives the indexer and overlapping windows to this ratio alone
        indexer = Indexer(f.whole("index_n_heads"), f.whole("index_head_dim"), f.whole("index_topk"))
    heads, groups = f.whole("num_attention_heads"), f.whole("o_groups")
    width, rope = f.whole("head_dim"), f.whole("qk_rope_head_dim")
    if f.whole("num_key_value_heads") != 1:
        raise f.fail("num_key_value_heads", "compressed attention has one shared key-value head: it must be 1")
    try:
        return Compressed(
            hidden, heads, width, rope, f.whole("q_lora_rank"), groups, f.whole("o_lora_rank"),
            f.whole("sliding_window"), ratio, ratio == 4, indexer,
        )  # fmt: skip
    except PertokenError as error:
        raise f.fail("o_groups", str(error)) from error


def _ratios(f: Fields, count: int, steps: int) -> list[int]:
    """Positions an entry pools in each layer, those of the multi-token-prediction layers last."""
    ratios = f.wholes("compress_ratios")
    if ratios is None:
        raise f.fail("compress_ratios", "add the compression of each layer: 0, 4 or 128")
    if len(ratios) not in (count, count + steps) or set(ratios) - {0, 4, 128}:
        raise f.fail(
            "compress_ratios", f"it must have 0, 4 or 128 for each of {count} layers and {steps} predicted ones"
        )
    return ratios


def read_deepseek_v4(f: Fields) -> Shapes:
    """DeepSeek-V4: compressed attention, experts everywhere, several residual streams mixed around each part."""
    hidden, count = f.whole("hidden_size"), layer_count(f)
    steps = f.maybe("num_nextn_predict_layers", low=0, high=MOST_PREDICTED) or 0
    ratios = _ratios(f, count, steps)
    streams = f.whole("hc_mult", high=64)
    mixing = 2 * ((2 + streams) * streams * (streams * hidden + 1) + 3)  # around attention and around feed-forward
    kinds = {ratio: _compressed_attention(f, hidden, ratio) for ratio in sorted(set(ratios))}
    routed = routed_experts(f, hidden)
    by_table = f.maybe("num_hash_layers", low=0, high=count) or 0
    table = f.whole("vocab_size") * routed.active  # the experts of each token of the vocabulary
    hashed = replace(routed, hashed=True, router_extra=table)
    found = [
        layer(kinds[ratio], hashed if i < by_table else routed, extra=mixing) for i, ratio in enumerate(ratios[:count])
    ]
    ends = streams * streams * hidden + streams + 1  # the streams are joined once more before the head
    mtp: tuple[Block, ...] = ()
    if steps and len(ratios) > count:
        predicted = next_token_layers(steps, kinds[ratios[-1]], routed, hidden)
        mtp = tuple(replace(b, extra=b.extra + mixing + ends) for b in predicted)
    f.assume(
        "compressed attention is counted after the published reference code: entries per token as positions / ratio,"
        " without the compressor's reads of its open windows and the work of mixing residual streams"
    )
    return finish(f, found, "deepseek", extra=ends, mtp=mtp)
