"""Whatever a config holds, only a `PertokenError` with a sentence comes out."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pertoken.errors import PertokenError
from pertoken.model.huggingface import checkpoint_from_config
from tests.model.configs import FAMILIES, config

DEEP: list[Any] = []
DEEP.append(DEEP)  # holds itself
ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2, 3, 7, 10**9, 10**400, -(10**400), 0.5, 1.0, -0.0, float("nan"), float("inf"), 1e400,
    "", "1", "bfloat16", "\x00", "x" * 5000, "layers.1", [], [0], [1, 2, 3], ["full_attention"], [[]], {}, {"a": None},
    {"num_bits": 4}, {1: 2}, (1, 2), b"x", DEEP,
]  # fmt: skip
FIELDS = [
    *sorted({key for table in FAMILIES.values() for key in (*table, *table.get("text_config", {}))}),
    "quantization_config", "quant_algo", "exclude_modules", "config_groups", "kv_cache_scheme", "no_rope_layers",
    "layers_block_type", "num_nextn_predict_layers", "llm_config", "dtype", "sliding_window_pattern",
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.sampled_from(ODD),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)


def only_sentences(table: Any, quant: Any = None, name: str = "x") -> None:
    try:
        found = checkpoint_from_config(table, name=name, quant=quant)
    except PertokenError as error:
        assert 20 < len(str(error)) < 600
        return
    assert found.precision is not None or "--dtype" in found.unstated


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    family=st.sampled_from(sorted(FAMILIES)),
    changes=st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(ODD) | JSON, min_size=1, max_size=3),
    inside=st.booleans(),
)
@example(family="llama", changes={"hidden_size": 10**400}, inside=False)
@example(family="nemotron-nas", changes={"block_configs": [[DEEP]] * 4}, inside=False)
@example(family="nemotron_h", changes={"hybrid_override_pattern": "M" * 20_000}, inside=False)
def test_mutated_configs(family: str, changes: dict[str, Any], inside: bool) -> None:
    table = config(family)
    target = table["text_config"] if inside and "text_config" in table else table
    target.update(changes)
    only_sentences(table)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(table=st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=8), JSON, max_size=8), quant=JSON)
def test_random_tables(table: dict[str, Any], quant: Any) -> None:
    only_sentences(table, quant)


SCHEME = st.fixed_dictionaries(
    {},
    optional={
        "quant_method": st.sampled_from(
            ["fp8", "modelopt", "awq", "gptq", "mxfp4", "compressed-tensors", "bitsandbytes"]
        )
        | st.sampled_from(ODD),
        "quant_algo": st.sampled_from(["FP8", "NVFP4", "MIXED_PRECISION", "W4A16_AWQ"]) | st.sampled_from(ODD),
        "exclude_modules": st.lists(st.text(max_size=30) | st.sampled_from(["re:.*(", "model.layers.99999999999*"])),
        "modules_to_not_convert": JSON,
        "quantized_layers": JSON,
        "config_groups": JSON,
        "kv_cache_scheme": JSON,
        "kv_cache_quant_algo": JSON,
        "bits": st.sampled_from(ODD),
        "load_in_4bit": st.sampled_from(ODD),
        "ignore": JSON,
    },
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(family=st.sampled_from(["llama", "deepseek_v4", "qwen3_moe", "nemotron_h"]), scheme=SCHEME, beside=st.booleans())
def test_mutated_schemes(family: str, scheme: dict[str, Any], beside: bool) -> None:
    if beside:
        only_sentences(config(family), {"quantization": scheme})
    else:
        only_sentences(config(family, quantization_config=scheme))


def test_the_input_is_not_changed() -> None:
    for family in FAMILIES:
        table = config(family)
        before = copy.deepcopy(table)
        checkpoint_from_config(table, name=family)
        assert table == before
