"""Small configs in the form of published ones, one for each family, made by hand for tests."""

from __future__ import annotations

import copy
from typing import Any

Config = dict[str, Any]

COMMON: Config = {
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "intermediate_size": 512,
    "vocab_size": 1000,
    "max_position_embeddings": 4096,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
LATENT: Config = {
    "q_lora_rank": 64,
    "kv_lora_rank": 32,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 16,
    "first_k_dense_replace": 1,
    "moe_layer_freq": 1,
    "n_routed_experts": 8,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 64,
    "topk_method": "noaux_tc",
    "num_nextn_predict_layers": 1,
}
INDEX: Config = {"index_n_heads": 4, "index_head_dim": 16, "index_topk": 128}
DELTA: Config = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 32,
    "linear_value_head_dim": 32,
    "linear_conv_kernel_dim": 4,
    "mamba_ssm_dtype": "float32",
    "attn_output_gate": True,
    "layer_types": ["linear_attention", "linear_attention", "linear_attention", "full_attention"],
    "mtp_num_hidden_layers": 1,
}
MAMBA: Config = {
    "mamba_num_heads": 8,
    "mamba_head_dim": 16,
    "n_groups": 2,
    "ssm_state_size": 16,
    "conv_kernel": 4,
    "use_conv_bias": True,
    "mamba_ssm_cache_dtype": "float32",
    "mlp_hidden_act": "relu2",
    "hybrid_override_pattern": "M*E-",
    "n_routed_experts": 8,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 64,
    "moe_shared_expert_intermediate_size": 128,
    "moe_latent_size": 64,
    "num_nextn_predict_layers": 1,
    "mtp_hybrid_override_pattern": "*E",
}
BLOCK = {
    "attention": {"n_heads_in_group": 4, "no_op": False, "replace_with_linear": False, "window_length": None},
    "ffn": {"ffn_mult": 2.0, "no_op": False, "replace_with_linear": False},
}


def _without(*names: str, **more: Any) -> Config:
    return {**{key: value for key, value in COMMON.items() if key not in names}, **more}


FAMILIES: dict[str, Config] = {
    "llama": {**COMMON, "model_type": "llama", "architectures": ["LlamaForCausalLM"]},
    "mistral": {**COMMON, "model_type": "mistral", "sliding_window": 1024},
    "qwen2": {**COMMON, "model_type": "qwen2", "use_sliding_window": False, "max_window_layers": 2},
    "qwen3": {**COMMON, "model_type": "qwen3", "attention_bias": False, "sliding_window": None},
    "mimo": {**COMMON, "model_type": "mimo", "attention_bias": True, "num_nextn_predict_layers": 1},
    "phi3": {**COMMON, "model_type": "phi3", "sliding_window": 2047},
    "gemma2": _without("hidden_act", model_type="gemma2", hidden_activation="gelu_pytorch_tanh", sliding_window=1024),
    "gemma3": {
        "model_type": "gemma3",
        "torch_dtype": "bfloat16",
        "text_config": _without("hidden_act", "torch_dtype", model_type="gemma3_text", sliding_window=512),
        "vision_config": {"model_type": "siglip_vision_model"},
    },
    "deci": _without("num_key_value_heads", model_type="deci", num_key_value_heads_per_layer=[4, 2, 1, 4]),
    "nemotron-nas": _without(
        "intermediate_size",
        "num_key_value_heads",
        model_type="nemotron-nas",
        block_configs=[
            BLOCK,
            {**BLOCK, "attention": {"n_heads_in_group": None, "no_op": True}},
            {**BLOCK, "attention": {"no_op": False, "replace_with_linear": True}},
            {**BLOCK, "ffn": {"no_op": False, "replace_with_linear": True}},
        ],
    ),
    "bloom": {
        "model_type": "bloom", "n_embed": 256, "num_attention_heads": 8, "n_layer": 4, "vocab_size": 1000,
        "seq_length": 2048, "torch_dtype": "bfloat16",
    },
    "gptj": {
        "model_type": "gptj", "n_embd": 256, "n_head": 8, "n_layer": 4, "n_positions": 2048, "vocab_size": 1000,
        "tie_word_embeddings": False, "torch_dtype": "float16",
    },
    "opt": {
        "model_type": "opt", "hidden_size": 256, "num_attention_heads": 8, "num_hidden_layers": 4, "ffn_dim": 1024,
        "max_position_embeddings": 2048, "vocab_size": 1000, "word_embed_proj_dim": 256, "torch_dtype": "float16",
    },
    "falcon": {
        "model_type": "falcon", "hidden_size": 256, "num_attention_heads": 8, "num_hidden_layers": 4,
        "multi_query": True, "new_decoder_architecture": False, "parallel_attn": True, "bias": False,
        "vocab_size": 1000, "torch_dtype": "bfloat16",
    },
    "mixtral": {**COMMON, "model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2},
    "qwen3_moe": {
        **COMMON, "model_type": "qwen3_moe", "num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 64,
        "decoder_sparse_step": 1, "mlp_only_layers": [0],
    },
    "gpt_oss": {
        **COMMON, "model_type": "gpt_oss", "num_local_experts": 8, "num_experts_per_tok": 2, "sliding_window": 128,
        "attention_bias": True, "layer_types": ["sliding_attention", "full_attention"] * 2,
    },
    "llama4": {
        "model_type": "llama4",
        "text_config": {
            **COMMON, "model_type": "llama4_text", "interleave_moe_layer_step": 2, "intermediate_size_mlp": 1024,
            "num_local_experts": 8, "num_experts_per_tok": 1, "attention_chunk_size": 1024,
        },
    },
    "minimax_m2": {
        **COMMON, "model_type": "minimax_m2", "num_local_experts": 8, "num_experts_per_tok": 2, "use_qk_norm": True,
        "qk_norm_type": "per_layer", "use_routing_bias": True, "shared_intermediate_size": 0, "use_mtp": True,
    },
    "deepseek_v3": {**COMMON, **LATENT, "model_type": "deepseek_v3"},
    "deepseek_v32": {**COMMON, **LATENT, **INDEX, "model_type": "deepseek_v32"},
    "glm_moe_dsa": {
        **COMMON, **LATENT, **INDEX, "model_type": "glm_moe_dsa",
        "indexer_types": ["full", "full", "shared", "shared"],
        "mlp_layer_types": ["dense", "sparse", "sparse", "sparse"],
    },
    "deepseek_v4": {
        **COMMON, **LATENT, **INDEX, "model_type": "deepseek_v4", "num_key_value_heads": 1, "o_groups": 4,
        "o_lora_rank": 32, "sliding_window": 128, "hc_mult": 4, "num_hash_layers": 1, "expert_dtype": "fp4",
        "compress_ratios": [0, 4, 128, 4, 0], "quantization_config": {"quant_method": "fp8"},
    },
    "qwen3_5": {"model_type": "qwen3_5", "text_config": {**COMMON, **DELTA, "model_type": "qwen3_5_text"}},
    "nemotron_h": {**COMMON, **MAMBA, "model_type": "nemotron_h"},
}  # fmt: skip


def config(family: str, **changes: Any) -> Config:
    """A copy of one config; ``changes`` replace fields, and a value of ... removes one."""
    made = copy.deepcopy(FAMILIES[family])
    for name, value in changes.items():
        if value is ...:
            made.pop(name, None)
        else:
            made[name] = value
    return made
