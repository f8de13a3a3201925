"""Counts of a forward pass: limits, theory, brute force, and that ranks sum to the whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pertoken.engine.deployment import Deployment
from pertoken.engine.ops import ExpertsOp
from pertoken.engine.parallel import Split
from pertoken.engine.step import Decode, Prefill, Step
from pertoken.engine.work import Work
from pertoken.model.attention import ChunkedQuery, GroupedQuery, Indexer
from pertoken.model.base import visible_pairs
from pertoken.model.feedforward import Experts
from tests import maker

# every rank multiplies by the whole of these, as engines do
REPLICATED = {"router", "qkv_down", "indexer_query", "indexer_key"}


def work(deployment: Deployment, step: Step, leave: set[str] = frozenset()) -> Work:  # type: ignore[assignment]
    ops = [op for op in deployment.run(step) if op.name not in leave]
    return sum((op.count * op.work for op in ops), Work())


def decode(sequences: float, context: float) -> Step:
    return Step((Decode(sequences, context),))


def norms(model: object) -> int:
    return sum(b.count * b.norms * model.hidden for b in model.blocks) + model.extra  # type: ignore[attr-defined]


@pytest.mark.parametrize("make", [maker.llama_2_7b, maker.llama_3_70b, maker.dense])
def test_decode_flop_tend_to_2n(make: object) -> None:
    model = make()  # type: ignore[operator]
    attended = 4.0 * 128 * model.blocks[0].attention.heads * model.layers  # each token sees itself
    counted = work(maker.bare(model), decode(1.0, 0.0)).flop
    assert counted == pytest.approx(2.0 * (model.matmul_parameters - norms(model)) + attended, rel=1e-12)
    assert counted == pytest.approx(2.0 * model.matmul_parameters, rel=1e-3)


@pytest.mark.parametrize("name", sorted(maker.KINDS))
def test_decode_flop_tend_to_2n_for_every_kind(name: str) -> None:
    model = maker.KINDS[name]()
    counted = work(maker.bare(model), decode(1.0, 0.0), {"decode_attention"}).flop
    small = sum(b.count * b.attention.other_parameters for b in model.blocks if b.attention) + norms(model)
    assert counted == pytest.approx(2.0 * (model.matmul_parameters - small), rel=1e-12)


def test_2n_leaves_the_input_embedding_out() -> None:
    model = maker.dense()
    wrong = 2.0 * model.active_parameters  # negative control: the embedding is looked up, not multiplied
    assert work(maker.bare(model), decode(1.0, 0.0)).flop < 0.95 * wrong


def test_llama_2_7b_has_its_published_parameters() -> None:
    model = maker.llama_2_7b()
    assert model.parameters == 6_738_415_616
    assert model.matmul_parameters == 6_738_415_616 - 32_000 * 4096


def test_llama_3_70b_has_its_published_parameters_and_cache() -> None:
    model = maker.llama_3_70b()
    assert model.parameters == 70_553_706_496
    assert model.cache_bytes(1.0, 2.0) == 327_680
    assert model.cache_bytes(1.0, 1.0) == 163_840


def test_latent_cache_is_576_elements_a_layer_on_every_rank() -> None:
    model = maker.latent()
    assert model.cache_bytes(1.0, 2.0) == 4 * 576 * 2
    assert model.cache_bytes(1.0, 2.0, tp=8) == model.cache_bytes(1.0, 2.0)


def test_weights_are_read_once_a_step_whatever_the_batch() -> None:
    model = maker.dense()
    whole = 2.0 * (model.matmul_parameters - norms(model))
    for batch in (1.0, 7.0, 256.0):
        assert work(maker.bare(model), decode(batch, 100.0)).weight_bytes == pytest.approx(whole, rel=1e-12)


def test_flop_and_cache_bytes_scale_with_the_batch() -> None:
    one, many = (work(maker.bare(), decode(batch, 100.0)) for batch in (1.0, 12.0))
    assert many.flop == pytest.approx(12 * one.flop, rel=1e-12)
    assert many.kv_bytes == pytest.approx(12 * one.kv_bytes, rel=1e-12)


def test_prefill_in_chunks_counts_what_one_pass_does() -> None:
    d = maker.bare()
    whole = work(d, Step((), Prefill(1.0, 4096.0, 0.0), 1.0))
    chunks = sum((work(d, Step((), Prefill(1.0, 1024.0, 1024.0 * i), i == 3)) for i in range(4)), Work())
    assert chunks.flop == pytest.approx(whole.flop, rel=1e-12)
    assert chunks.weight_bytes == pytest.approx(4 * whole.weight_bytes, rel=1e-12)


def test_prefill_needs_the_head_only_for_the_last_token() -> None:
    d = maker.bare()
    ops = {op.name: op for op in d.run(Step((), Prefill(1.0, 4096.0, 0.0), 1.0))}
    assert ops["head"].work.flop == 2.0 * 2048 * 32_000
    assert ops["head"].input_tokens == 0.0
    assert ops["head"].output_tokens == 1.0


@pytest.mark.parametrize("name", sorted(maker.KINDS))
@pytest.mark.parametrize("tp", [2, 4, 8])
def test_ranks_sum_to_the_whole_in_flop_and_weights(name: str, tp: int) -> None:
    step = Step((Decode(16.0, 700.0),), Prefill(1.0, 300.0, 200.0), 1.0)
    leave = REPLICATED | ({"decode_attention", "prefill_attention"} if name == "sparse" else set())
    whole = work(maker.bare(maker.KINDS[name]()), step, leave)
    rank = work(maker.bare(maker.KINDS[name](), Split(tp=tp)), step, leave)
    assert tp * rank.flop == pytest.approx(whole.flop, rel=1e-12)
    assert tp * rank.weight_bytes == pytest.approx(whole.weight_bytes, rel=1e-12)


@pytest.mark.parametrize(("tp", "copies"), [(2, 1), (8, 1), (16, 2)])
def test_grouped_cache_is_split_by_heads_and_then_replicated(tp: int, copies: int) -> None:
    model = maker.dense()
    assert tp * model.cache_bytes(1000.0, 2.0, tp) == copies * model.cache_bytes(1000.0, 2.0)


def test_replicated_latent_is_read_by_every_rank() -> None:
    one = work(maker.bare(maker.latent()), decode(4.0, 900.0)).kv_bytes
    assert work(maker.bare(maker.latent(), Split(tp=8)), decode(4.0, 900.0)).kv_bytes == one


def test_expert_parallel_ranks_sum_to_the_pool() -> None:
    model, step = maker.moe(), decode(10.0, 100.0)
    one = next(op for op in maker.bare(model).run(decode(80.0, 100.0)) if op.name == "experts")
    rank = next(op for op in maker.bare(model, Split(dp=8, ep=8)).run(step) if op.name == "experts")
    assert 8 * rank.work.flop == pytest.approx(one.work.flop, rel=1e-12)
    assert 8 * rank.work.weight_bytes == pytest.approx(one.work.weight_bytes, rel=1e-12)
    assert 8 * rank.work.activation_bytes == pytest.approx(one.work.activation_bytes, rel=1e-12)


def test_stored_weights_sum_to_the_model() -> None:
    model = maker.dense()
    assert maker.bare(model).weight_bytes == pytest.approx(2.0 * model.parameters, rel=1e-12)
    tp = maker.bare(model, Split(tp=8)).weight_bytes
    assert 8 * tp == pytest.approx(2.0 * model.parameters, rel=1e-3)  # norms are on every rank
    assert 2 * maker.bare(model, Split(pp=2)).weight_bytes >= 2.0 * model.parameters


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 60), st.integers(0, 90), st.one_of(st.none(), st.integers(1, 70)))
def test_visible_pairs_equal_a_count_by_loops(new: int, context: int, window: int | None) -> None:
    pairs = sum(
        1
        for query in range(context, context + new)
        for key in range(query + 1)
        if window is None or key > query - window
    )
    assert visible_pairs(new, context, window) == pairs


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 60), st.integers(0, 90), st.integers(1, 40))
def test_chunked_pairs_equal_a_count_by_loops(new: int, context: int, window: int) -> None:
    layer = ChunkedQuery(64, 2, 2, 32, window=window)
    pairs = sum(query % window + 1 for query in range(context, context + new))
    assert layer.flop(new, context) == pytest.approx(4.0 * 2 * 32 * pairs)


def test_a_window_reads_no_more_than_itself() -> None:
    layer = GroupedQuery(64, 2, 1, 32, window=128)
    assert layer.read_bytes(1.0, 1e6, 2.0) == layer.read_bytes(1.0, 128.0, 2.0)
    assert layer.held_bytes(1e6, 2.0) == 2 * 32 * 2.0 * 128


def test_latent_crossover_is_at_171_new_tokens() -> None:
    layer, far = maker.deepseek_attention(), 1e9
    new = np.arange(1.0, 400.0)
    pairs = visible_pairs(new, far, None)
    absorbed = 2.0 * 128 * (2 * 512 + 64) * pairs
    expanded = 2.0 * 128 * (128 + 64 + 128) * pairs + 2.0 * 512 * 128 * (128 + 128) * far
    assert np.allclose(layer.flop(new, far), np.minimum(absorbed, expanded), rtol=1e-12)
    assert new[expanded < absorbed][0] == 171.0
    assert layer.expand_flop(170.0, far, 10.0) == 0.0
    assert layer.expand_flop(171.0, far, 10.0) == 2.0 * 512 * 128 * 256 * 10.0


def test_top_k_limits_pairs_but_the_indexer_scores_all() -> None:
    layer = maker.deepseek_attention(indexer=Indexer(64, 128, 2048))
    more = layer.flop(1.0, 100_000.0) - layer.flop(1.0, 50_000.0)
    assert more == 2.0 * 64 * 128 * 50_000.0


@pytest.mark.parametrize(("experts", "active", "tokens"), [(8, 2, 3), (64, 6, 10), (128, 8, 40), (256, 8, 1)])
def test_experts_touched_agree_with_random_routing(experts: int, active: int, tokens: int) -> None:
    random = np.random.default_rng(7)
    drawn = random.random((2000, tokens, experts)).argpartition(active - 1, axis=-1)[..., :active]
    counts = np.array([len(np.unique(d)) for d in drawn])
    layer = Experts(64, experts, active, 32)
    assert layer.touched(tokens) == pytest.approx(counts.mean(), abs=5 * counts.std() / 2000**0.5 + 1e-9)


@pytest.mark.parametrize(("experts", "active", "tokens"), [(8, 2, 3), (128, 8, 40), (256, 8, 64)])
@pytest.mark.parametrize("evenness", [1.0, 3.0])
def test_experts_of_unequal_popularity_touched_agree_with_random_ones(
    experts: int, active: int, tokens: int, evenness: float
) -> None:
    random = np.random.default_rng(3)
    p = random.beta(evenness, evenness * (experts - active) / active, size=(20_000, experts))
    expected = (1.0 - (1.0 - p) ** tokens).sum(axis=1).mean()
    layer = Experts(64, experts, active, 32)
    assert layer.touched(tokens, evenness) == pytest.approx(expected, rel=0.01)
    assert layer.touched(tokens, evenness) < layer.touched(tokens)
    assert layer.touched(1.0, evenness) == pytest.approx(active, rel=0.03 if evenness > 1 else 1e-9)
    assert layer.touched(tokens, 1e6) == pytest.approx(layer.touched(tokens), rel=1e-2)


@pytest.mark.parametrize("groups", [2, 8, 32])
def test_the_busiest_rank_touches_as_many_experts_as_the_largest_of_random_counts(groups: int) -> None:
    op = next(
        op for op in maker.bare(maker.moe(experts=256), Split(dp=groups, ep=groups)).plan if op.group == "experts"
    )
    assert isinstance(op, ExpertsOp)
    held, random = op.experts.experts // groups, np.random.default_rng(5)
    for q in (0.2, 0.5, 0.9):
        counts = random.binomial(held, q, size=(20_000, groups)).max(axis=1).mean()
        ahead = float(op._most(q * op.experts.experts))
        assert ahead == pytest.approx(counts / (held * q), rel=0.08)
    assert float(op._most(float(op.experts.experts))) == 1.0


def test_one_token_touches_its_experts_and_many_touch_all() -> None:
    layer = Experts(64, 32, 4, 32)
    assert layer.touched(1.0) == pytest.approx(4.0)
    assert layer.touched(1e4) == pytest.approx(32.0)
