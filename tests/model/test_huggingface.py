"""Shapes read from configs: each family's own habits, and refusals that name the field."""

from __future__ import annotations

from typing import Any

import pytest

from pertoken.errors import PertokenError
from pertoken.model.attention import ChunkedQuery, GroupedQuery, Latent, Recurrent, Replaced
from pertoken.model.compressed import Compressed
from pertoken.model.feedforward import Dense, Experts
from pertoken.model.huggingface import checkpoint_from_config
from pertoken.model.model import Block, Model
from tests.model.configs import COMMON, FAMILIES, config


def read(family: str, **changes: Any) -> Model:
    return checkpoint_from_config(config(family, **changes), name=family).model


def nested(family: str, **changes: Any) -> Model:
    made = config(family)
    made["text_config"].update(changes)
    return checkpoint_from_config(made, name=family).model


def attentions(model: Model) -> list[Any]:
    return [block.attention for block in model.blocks]


@pytest.mark.parametrize("family", list(FAMILIES))
def test_every_family_loads(family: str) -> None:
    model = checkpoint_from_config(config(family), name=family).model
    assert model.layers == 4
    assert model.family
    assert model.parameters >= model.active_parameters > 0


def test_llama_is_counted_by_hand() -> None:
    model = read("llama")
    layer = 256 * (8 + 2 + 2) * 32 + 8 * 32 * 256 + 3 * 256 * 512 + 2 * 256
    assert model.parameters == 2 * 1000 * 256 + 4 * layer + 256
    assert model.blocks == (Block(4, GroupedQuery(256, 8, 2, 32), Dense(256, 512), 2, 0),)


def test_head_dim_is_not_width_over_heads() -> None:
    assert attentions(read("llama", head_dim=64))[0].head_dim == 64
    assert attentions(read("llama", head_dim=...))[0].head_dim == 32


def test_biases_and_norms() -> None:
    assert attentions(read("qwen2"))[0].bias and not attentions(read("qwen2"))[0].out_bias
    assert attentions(read("llama", attention_bias=True))[0].out_bias
    assert not attentions(read("mimo"))[0].out_bias
    assert attentions(read("qwen3"))[0].qk_norm


def test_windows() -> None:
    assert [a.window for a in attentions(read("mistral"))] == [1024]
    assert [a.window for a in attentions(read("mistral", sliding_window=None))] == [None]
    assert [a.window for a in attentions(read("mistral", sliding_window=4096))] == [None]  # as long as the longest
    assert {(b.attention.window, b.count) for b in read("gemma2").blocks if isinstance(b.attention, GroupedQuery)} == {
        (1024, 2),
        (None, 2),
    }
    switched = read("qwen2", use_sliding_window=True, sliding_window=512)
    assert sorted((b.attention.window or 0, b.count) for b in switched.blocks) == [(0, 2), (512, 2)]  # type: ignore[union-attr]
    assert [b.count for b in nested("gemma3", num_hidden_layers=12).blocks] == [10, 2]


def test_per_layer_heads() -> None:
    assert sorted(a.kv_heads for a in attentions(read("deci"))) == [1, 2, 4]


def test_searched_layers() -> None:
    model = read("nemotron-nas")
    kinds = [type(b.attention) for b in model.blocks]
    assert kinds == [GroupedQuery, type(None), Replaced, GroupedQuery]
    inner = model.blocks[0].feedforward
    assert isinstance(inner, Dense) and inner.inner == 512  # 2 x 2 x 256 / 3 = 341, up to the next 256
    assert model.blocks[2].attention.parameters == 256 * 256  # type: ignore[union-attr]


def test_expert_layers() -> None:
    found = [b.feedforward for b in read("qwen3_moe").blocks]
    assert [type(f) for f in found] == [Dense, Experts]
    llama4 = nested("llama4")
    assert {type(b.feedforward) for b in llama4.blocks} == {Dense, Experts}
    chunked = sum(b.count for b in llama4.blocks if isinstance(b.attention, ChunkedQuery))
    assert chunked == 3
    routed = next(b.feedforward for b in llama4.blocks if isinstance(b.feedforward, Experts))
    assert (routed.inner, routed.shared_inner) == (512, 512)


def test_latent_layers_and_predicted_ones() -> None:
    model = read("deepseek_v3")
    assert [(type(b.feedforward), b.count) for b in model.blocks] == [(Dense, 1), (Experts, 3)]
    assert isinstance(model.blocks[0].attention, Latent)
    predicted = model.mtp[0]
    assert model.mtp_parameters == predicted.parameters(256)
    assert predicted.extra == 2 * 256 * 256
    assert not read("deepseek_v3", num_nextn_predict_layers=0).mtp


def test_shared_indexers() -> None:
    model = read("glm_moe_dsa")
    own = sum(b.count for b in model.blocks if b.attention.indexer)  # type: ignore[union-attr]
    assert own == 2
    taken = next(b.attention for b in model.blocks if not b.attention.indexer)  # type: ignore[union-attr]
    assert taken.reach == 128
    with pytest.raises(PertokenError, match="indexer_types"):
        read("glm_moe_dsa", indexer_types=..., index_topk_freq=4)


def test_compressed_layers() -> None:
    model = read("deepseek_v4")
    kinds = [b.attention for b in model.blocks]
    assert all(isinstance(a, Compressed) for a in kinds)
    assert [a.ratio for a in kinds] == [0, 4, 128]
    assert kinds[1].indexer and not kinds[2].indexer
    assert model.blocks[0].feedforward.hashed  # type: ignore[union-attr]
    with pytest.raises(PertokenError, match="compress_ratios"):
        read("deepseek_v4", compress_ratios=[0, 4, 8, 4, 0])


def test_hybrids() -> None:
    qwen = nested("qwen3_5")
    assert [(type(b.attention), b.count) for b in qwen.blocks] == [(Recurrent, 3), (GroupedQuery, 1)]
    nemotron = read("nemotron_h")
    parts = [(type(b.attention), type(b.feedforward)) for b in nemotron.blocks]
    none = type(None)
    assert parts == [(Recurrent, none), (GroupedQuery, none), (none, Experts), (none, Dense)]
    routed = next(b.feedforward for b in nemotron.blocks if isinstance(b.feedforward, Experts))
    assert routed.width == 64 and not routed.gated
    half = nested("qwen3_5", mamba_ssm_dtype="bfloat16").blocks[0].attention
    assert half.state_bytes == 2.0  # type: ignore[union-attr]


def test_vision_parts_are_left_out_and_said() -> None:
    read_in = checkpoint_from_config(config("gemma3"), name="gemma")
    assert any("text part" in sentence for sentence in read_in.assumed)


def test_defaults_of_a_class_are_said() -> None:
    found = checkpoint_from_config(config("llama", tie_word_embeddings=..., num_key_value_heads=...), name="x")
    assert len([s for s in found.assumed if "default" in s]) == 2
    assert not found.model.tied


def test_an_unknown_kind_with_standard_fields_is_read_and_said() -> None:
    found = checkpoint_from_config({**COMMON, "model_type": "newcomer"}, name="x")
    assert any("newcomer" in sentence for sentence in found.assumed)
    assert found.model.parameters == read("llama").parameters


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_experts", 8),
        ("state_size", 16),
        ("kv_lora_rank", 512),
        ("compress_ratios", [4]),
        ("moe_intermediate_size", 64),
        ("hidden_act", "relu"),
        ("tie_word_embeddings", None),
        ("intermediate_size", None),
    ],
)
def test_an_unknown_kind_with_unknown_structure_is_refused(field: str, value: object) -> None:
    with pytest.raises(PertokenError, match=field):
        checkpoint_from_config({**COMMON, "model_type": "newcomer", field: value}, name="x")


def test_fields_a_known_kind_does_not_know_are_said() -> None:
    found = checkpoint_from_config(config("llama", num_local_experts=8), name="x")
    assert any("num_local_experts" in sentence for sentence in found.assumed)


def test_the_architecture_helps_when_the_kind_does_not() -> None:
    found = checkpoint_from_config(
        config("deepseek_v4", model_type="odd", architectures=["DeepseekV4ForCausalLM"]), name="x"
    )
    assert isinstance(found.model.blocks[0].attention, Compressed)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hidden_size", "4096"),
        ("hidden_size", 10**400),
        ("num_hidden_layers", 1e400),
        ("num_hidden_layers", 10_001),
        ("num_attention_heads", True),
        ("num_key_value_heads", 3),
        ("head_dim", -1),
        ("vocab_size", float("nan")),
        ("vocab_size", [1, 2]),
        ("intermediate_size", {"a": 1}),
        ("tie_word_embeddings", "yes"),
        ("torch_dtype", 5),
        ("torch_dtype", "float3"),
        ("max_position_embeddings", None),
        ("text_config", 3),
        ("model_type", 3),
    ],
)
def test_a_wrong_field_is_named(field: str, value: object) -> None:
    with pytest.raises(PertokenError, match=field) as caught:
        checkpoint_from_config(config("llama", **{field: value}), name="x")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("junk", [{}, [], None, 3, "x"])
def test_no_table_is_refused(junk: object) -> None:
    with pytest.raises(PertokenError, match="config must be a table"):
        checkpoint_from_config(junk, name="x")  # type: ignore[arg-type]
